"""A case as its citizen sees it: what was promised, by when, what has happened, what is waited for, what is owed.

The one rule: no person stands here, neither who filed it nor who works on it. And a promise counts as broken only when
every system that may report late has had its time; until then it is being checked.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import asyncpg
import msgspec

from services.intake import admission
from services.intake.pages.words import EVENTS, GROUNDS, Moment, Speaker
from services.reading.explain import Explainer
from services.rules.calendar import OutOfCalendar
from services.rules.charter import Charter
from services.rules.explaining.answer import Answer, why
from services.rules.explaining.explain import Explanation
from services.rules.explaining.measured import Measured
from services.rules.explaining.text import in_words
from services.rules.facts import Fact, closes, in_effect
from services.rules.instants import SECOND, Instant
from services.rules.state import Case
from services.rules.tenants import Tenant

SHOWN = ("office", "citizen")
"""Whose deadlines a citizen is shown; what others may do or not do binds nobody here."""
YOURS = ("open", "suspended", "lapsed")
"""What a citizen still has to do, or can no longer; what was done or no longer applies asks nothing of them."""
TONES = {"met": "good", "kept": "good", "broken": "bad", "checking": "wait", "suspended": "wait", "open": "now"}
_KEYS = re.compile(r" \[[^\]]+\]")
"""Keys of facts in an explanation, which are for clerks."""


class Found(NamedTuple):
    """A case that a link or a look-up leads to."""

    tenant: Tenant
    case: str
    receipt: str
    kind: str
    subject_ref: str | None
    epoch: int


class Promise(NamedTuple):
    """A promise of the case."""

    id: str
    says: str
    badge: str
    tone: str
    due: Moment | None
    first_due: Moment | None
    met: Moment | None
    late: bool
    provisional: bool
    why: tuple[str, ...]
    if_late: tuple[str, ...]


class Owed(NamedTuple):
    """What the city owes in the case."""

    says: str
    worth: str
    state: str


class Happening(NamedTuple):
    """A line of what has happened."""

    when: Moment
    what: str
    note: str
    tone: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page of a case shows. `sorry`: a promise was broken; `checking`: it may have been, until when."""

    state: str
    received: Moment | None
    sorry: bool
    checking: Moment | None
    owed: tuple[Owed, ...]
    running: tuple[Promise, ...]
    settled: tuple[Promise, ...]
    yours: tuple[Promise, ...]
    measured: tuple[Promise, ...]
    history: tuple[Happening, ...]
    stuck: bool
    closing: str
    """Key of the fact that closed it last; empty while it is open."""


async def find(pool: asyncpg.Pool, tenant: Tenant, receipt: str) -> Found | None:
    """The case with a receipt number."""
    row = await pool.fetchrow(
        'select l."case", l.kind, s.subject_ref, coalesce(e.epoch, 0) as epoch'
        ' from read.case_list l join read.subject_refs s using (tenant, "case")'
        ' left join intake.link_epochs e on e.tenant = l.tenant and e.case_id = l."case"'
        " where l.tenant = $1 and l.receipt = $2",
        tenant.id,
        receipt,
    )
    if row is None:
        return None
    return Found(tenant, row["case"], receipt, row["kind"] or "", row["subject_ref"], row["epoch"])


async def read(pool: asyncpg.Pool, explainer: Explainer, found: Found, speaker: Speaker, now: Instant) -> Page | None:
    """What the page of a case shows at `now`, None where it is not folded yet."""
    folded = await explainer.read(found.tenant.id, found.case)
    if folded is None:
        return None
    try:
        answers = why(*folded) or ()
    except OutOfCalendar:
        answers = ()
    rows = {
        name: await pool.fetch(query, found.tenant.id, found.case)
        for name, query in (("facts", _FACTS), ("decisions", _DECISIONS), ("notices", _NOTICES), ("owed", _OWED))
    }
    told = _Telling(found, folded.case, answers, speaker, now)
    return told.page(rows["facts"], rows["decisions"], rows["notices"], rows["owed"])


_FACTS = (
    "select type, occurred, recorded, data ->> 'department' as department, data ->> 'to_department' as to_department"
    ' from read.case_facts where tenant = $1 and "case" = $2 and not voided order by occurred, sequence'
)
_DECISIONS = (
    'select kind, promise, due, at from read.decisions where tenant = $1 and "case" = $2'
    " and kind in ('deadline.breached', 'breach.retracted') order by number"
)
_NOTICES = (
    'select template, means, settled_at from read.notices where tenant = $1 and "case" = $2'
    " and audience = 'citizen' and state = 'sent' order by settled_at, template <> 'receipt', template"
)
_OWED = (
    "select r.remedy, r.amount, r.currency, r.payment, t.wants, r.at from read.case_remedies r left join read.tasks t"
    ' on t.tenant = r.tenant and t."case" = r."case" and t.incident = r.incident and t.remedy = r.remedy'
    " and t.task = 'compensation' where r.tenant = $1 and r.\"case\" = $2 and not r.withdrawn order by r.at, r.remedy"
)


class _Telling:
    """The case of one page, in one language."""

    def __init__(self, found: Found, case: Case, answers: Sequence[Answer], speaker: Speaker, now: Instant) -> None:
        self.found = found
        self.case = case
        self.answers = answers
        self.speaker = speaker
        self.now = now
        self.say = speaker.say
        self.facts = in_effect(case.facts)
        begun = self.facts[0].time if self.facts else now
        self.charter = admission.charter_of(found.tenant, begun)
        self.grace = found.tenant.reports_within_seconds * SECOND

    def page(
        self,
        facts: Iterable[asyncpg.Record],
        decisions: Iterable[asyncpg.Record],
        notices: Iterable[asyncpg.Record],
        owed: Iterable[asyncpg.Record],
    ) -> Page:
        runs = [one for one in self.answers if isinstance(one, Explanation) and one.owed_by in SHOWN]
        office = [one for one in runs if one.owed_by == "office"]
        broken = [one for one in office if one.state == "broken"]
        waiting = [one.due for one in broken if self.checked(one) and one.due is not None]
        received = next((fact for fact in self.facts if fact.type == "complaint.received"), None)
        return Page(
            state=self.state(),
            received=self.speaker.when(received.time) if received else None,
            sorry=len(broken) > len(waiting),
            checking=self.speaker.when(max(waiting) + self.grace, ends=True) if waiting else None,
            owed=tuple(self.owed(row) for row in owed if self.now >= row["at"] + self.grace),
            running=self.promises(one for one in office if one.state in ("open", "suspended")),
            settled=self.promises(one for one in office if one.state not in ("open", "suspended")),
            yours=self.promises(one for one in runs if one.owed_by == "citizen" and one.state in YOURS),
            measured=tuple(self.measured(one) for one in self.answers if isinstance(one, Measured)),
            history=self.history(facts, decisions, notices),
            stuck=bool(self.case.stuck),
            closing=next((fact.key for fact in reversed(self.facts) if closes(fact)), "") if self.case.closed else "",
        )

    def checked(self, one: Explanation) -> bool:
        """Whether a system may still report that it was in time."""
        return one.met_at is None and one.due is not None and self.now < one.due + self.grace

    def promises(self, runs: Iterable[Explanation]) -> tuple[Promise, ...]:
        return tuple(map(self.promise, sorted(runs, key=lambda one: (one.due or 0, one.promise, one.start))))

    def promise(self, one: Explanation) -> Promise:
        state = "checking" if one.state == "broken" and self.checked(one) else one.state
        when = self.speaker.when
        return Promise(
            id=one.promise,
            says=one.says[self.speaker.language],
            badge=self.say(f"badges.{state}"),
            tone=TONES.get(state, "quiet"),
            due=None if one.due is None else when(one.due, ends=True),
            first_due=None if one.first_due in (None, one.due) else when(one.first_due, ends=True),
            met=None if one.met_at is None else when(one.met_at),
            late=one.state == "broken",
            provisional=one.provisional and one.state == "open",
            why=_plain(one, self.speaker),
            if_late=remedies_of(self.charter, one.promise, self.speaker) if one.state in ("open", "suspended") else (),
        )

    def measured(self, one: Measured) -> Promise:
        said, badge = one.says[self.speaker.language], self.say(f"badges.{one.state}")
        lines = _plain(one, self.speaker)
        return Promise(
            one.promise, said, badge, TONES.get(one.state, "quiet"), None, None, None, False, False, lines, ()
        )

    def owed(self, row: asyncpg.Record) -> Owed:
        remedy = next((one for one in self.charter.remedies if one.id == row["remedy"]), None) if self.charter else None
        worth = ""
        if row["amount"] is not None:
            worth = self.say("owed.worth", amount=self.speaker.amount(row["amount"], row["currency"] or "KRW"))
        elif remedy is not None and remedy.money:
            worth = self.say("owed.amount_open")
        state = "amends"
        if row["payment"] in ("issued", "acknowledged", "kept", "covered"):
            state = "issued"
        elif row["payment"] == "declined":
            state = "declined"
        elif row["wants"] and "finding" in row["wants"]:
            state = "finding"
        elif worth:
            state = "held" if row["payment"] == "held" else "assigned"
        return Owed(remedy.says[self.speaker.language] if remedy else "", worth, self.say(f"owed.{state}"))

    def history(
        self,
        facts: Iterable[asyncpg.Record],
        decisions: Iterable[asyncpg.Record],
        notices: Iterable[asyncpg.Record],
    ) -> tuple[Happening, ...]:
        lines: list[tuple[Instant, Happening]] = []

        def add(at: Instant, what: str, note: str = "", tone: str = "") -> None:
            lines.append((at, Happening(self.speaker.when(at), what, note, tone)))

        for row in facts:
            if row["type"] in EVENTS:
                known = ""
                if row["recorded"] - row["occurred"] > 3600 * SECOND:
                    known = self.say("case.told_late", when=self.speaker.when(row["recorded"]).text)
                where = row["to_department"] or row["department"]
                what = self.speaker.word(EVENTS, row["type"])
                add(row["occurred"], f"{what}: {where}" if where else what, known)
        says = {one.promise: one.says[self.speaker.language] for one in self.answers if self.is_ours(one)}
        for row in decisions:
            if row["promise"] in says and self.now >= (row["due"] or 0) + self.grace:
                broken = row["kind"] == "deadline.breached"
                text = self.say(f"history.{'breached' if broken else 'retracted'}", promise=says[row["promise"]])
                add(row["at"], text, tone="bad" if broken else "good")
        for row in notices:
            if row["means"] in ("sms", "email", "post"):
                means, template = self.say(f"means.{row['means']}"), self.say(f"messages.{row['template']}")
                add(row["settled_at"], self.say("history.message", means=means, template=template), tone="quiet")
        return tuple(line for _, line in sorted(lines, key=lambda line: line[0]))

    def is_ours(self, one: Answer) -> bool:
        return isinstance(one, Explanation) and one.owed_by == "office"

    def state(self) -> str:
        """Where the case stands, in a sentence."""
        if self.case.closed:
            return self.say(f"states.{_end(self.facts)}")
        grounds = {
            stop.ground
            for one in self.answers
            if isinstance(one, Explanation) and one.state == "suspended"
            for stop in one.suspensions
            if stop.end is None
        }
        if grounds:
            return self.say("states.suspended", waits=", ".join(map(self.wait, sorted(grounds))))
        for fact in reversed(self.facts):
            if fact.type in ("complaint.assigned", "complaint.handed_over"):
                return self.say("states.assigned", department=fact.data.department)
            if fact.type == "complaint.transferred":
                return self.say("states.passed", department=fact.data.to_department)
        return self.say("states.received" if self.found.kind else "states.handled")

    def wait(self, ground: str) -> str:
        if ground in ("supplement", "fee"):
            return self.say(f"waits.{ground}")
        return self.say("waits.other", ground=self.speaker.word(GROUNDS, ground))


def remedies_of(charter: Charter | None, promise: str, speaker: Speaker) -> tuple[str, ...]:
    """What the charter gives when a promise is broken."""
    if charter is None:
        return ()
    return tuple(
        remedy.says[speaker.language]
        for remedy in charter.remedies
        if any(promise in trigger.breach for trigger in remedy.triggers)
    )


def _plain(one: Answer, speaker: Speaker) -> tuple[str, ...]:
    """The lines of an explanation; the promise itself stands above them already."""
    return tuple(_KEYS.sub("", line) for line in in_words(one, speaker.language).splitlines()[1:])


def _end(facts: Sequence[Fact]) -> str:
    """The name of the text for how a case ended."""
    last = next((fact for fact in reversed(facts) if closes(fact)), None)
    if last is None:
        return "closed"
    if last.type == "complaint.completed":
        return last.data.outcome or "closed"
    if last.type == "complaint.transferred":
        return "to_agency"
    return last.type.partition(".")[2]
