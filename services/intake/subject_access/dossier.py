"""What is kept of a person, gathered: details and texts from the vault, the course of their cases, messages, money,
who read it, and how long it stays.

The one rule it protects: a text is told where the person's own key seals it, or where it came in a case of theirs
before anybody knew whose it was. What a finding says of an officer, what complains of the one who asks, and the cases
of others are left out as if they were not there.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contracts.events import PII_FIELDS
from services.chassis.vault import Connection, Erased, Vault, VaultError, Wanted
from services.chassis.vault.purposes import purposes
from services.intake import retention
from services.intake.pages.words import EVENTS
from services.intake.subject_access.held import (
    Details,
    Happening,
    Held,
    HeldCase,
    Kept,
    Message,
    Owed,
    Purpose,
    Reading,
    Text,
)
from services.intake.subject_access.whom import Asker, Part, Person, parts_of
from services.intake.subject_access.words import Words
from services.reading import visibility, visible
from services.reading.visible import Row
from services.rules.discretion import FAULTS
from services.rules.instants import Instant, of_datetime, text
from services.rules.tenants import Tenant

PAGE = 20
"""Cases in one answer of the API."""
MINE = frozenset({"complaint.received", "callback.requested", "fault.reported", "survey.answered"})
"""Events whose texts are the person's own words; those of all others are the office's about their petition."""
FINDINGS = frozenset({"fault.confirmed", "fault.dismissed"})
"""Their texts are about an officer."""


async def gather(
    conn: Connection,
    vault: Vault,
    tenant: Tenant,
    asker: Asker,
    person: Person,
    words: Words,
    now: Instant,
    begin: int = 0,
    most: int | None = None,
) -> tuple[Held, bool] | None:
    """What is kept of a person, of `most` cases from the one at `begin` on (default all), and whether more follow; None
    where whoever asks may know of nothing. Raises NotAllowed, MasterKeyMissing."""
    parts = await parts_of(conn, asker, person)
    if not parts:
        return None
    end = len(parts) if most is None else begin + most
    page = parts[begin:end]
    hidden = await visible.hidden(conn, asker.caller, [part.name for part in page])
    told = _Telling(conn, vault, tenant, asker, words, hidden, person.erased)
    cases = [await told.case(part) for part in page]
    held = Held(
        tenant=tenant.id,
        city=words.city,
        as_of=text(now, tenant.zone),
        says=words.say("held.says"),
        erased=person.erased,
        cases=cases,
        readings=await told.readings(),
        purposes=_purposes(words),
        notes=words.notes,
    )
    return held, len(parts) > end


class _Telling:
    """The cases of one document; what was told of is kept in `_refs`, whose readings are told at its end."""

    def __init__(
        self,
        conn: Connection,
        vault: Vault,
        tenant: Tenant,
        asker: Asker,
        words: Words,
        hidden: Mapping[str, frozenset[str]],
        erased: bool,
    ) -> None:
        self._conn = conn
        self._vault = vault
        self._tenant = tenant
        self._asker = asker
        self._words = words
        self._hidden = hidden
        self._erased = erased
        self._refs: list[str] = []

    async def case(self, part: Part) -> HeldCase:
        """What is kept of a person in one case."""
        hidden = self._hidden.get(part.name, frozenset())
        facts = [visible.plain(row) for row in await self._conn.fetch(_FACTS, self._tenant.id, part.name)]
        shown = [fact for fact in facts if not visibility.tells_of(hidden, fact) and _is_settled(fact)]
        # What was done to a whole case, such as its erasure, stands on record under the name of the case.
        self._refs += [*part.refs, part.name] if part.petitioner or self._erased else part.refs
        row, ours = part.row or {}, part.petitioner
        kind = row.get("kind") if ours else None
        return HeldCase(
            case=part.name,
            receipt=row.get("receipt"),
            petitioner=ours,
            kind=kind,
            says=self._words.kind(kind) if kind else None,
            opened_at=self._at(row["opening"]["at"]) if ours and row.get("opening") else None,
            closed=row.get("closed") if ours else None,
            details=await self._details(part, facts),
            texts=await self._texts(part, shown),
            history=[self._happening(fact) for fact in shown if fact["sequence"] is not None] if ours else [],
            messages=await self._messages(part.name) if ours else [],
            owed=await self._owed(part.name, hidden) if ours else [],
            kept=self._kept(row, facts) if facts else None,
        )

    async def readings(self) -> list[Reading]:
        """Who read what was told of, day by day."""
        rows = await self._conn.fetch(_READINGS, self._tenant.id, self._refs, self._tenant.zone.key)
        return [
            Reading(
                first=self._at(of_datetime(row["first"])) or "",
                last=self._at(of_datetime(row["last"])) or "",
                role=row["role"],
                role_says=self._words.called("roles", row["role"]),
                purpose=row["purpose"],
                says=self._words.purpose(row["purpose"]),
                what=row["what"].removeprefix("refused."),
                refused=row["what"].startswith("refused."),
                times=row["times"],
            )
            for row in rows
        ]

    async def _details(self, part: Part, facts: Sequence[Row]) -> list[Details]:
        told = {fact["data"].get("subject_ref"): (fact["occurred"], fact["arrival"]) for fact in facts}
        asker = self._asker
        wanted = [Wanted(asker.tenant, ref, asker.purpose) for ref in part.refs]
        found = await self._vault.read_people(self._conn, wanted, asker.reader)
        for one in found:
            if isinstance(one, VaultError) and not isinstance(one, Erased):
                raise one
        known = {ref: one for ref, one in zip(part.refs, found, strict=True) if isinstance(one, dict) and one}
        in_order = sorted(known, key=lambda ref: told.get(ref, (0, 0)))
        return [Details(at=self._at(told.get(ref, (None, 0))[0]), **known[ref]) for ref in in_order]

    async def _texts(self, part: Part, facts: Sequence[Row]) -> list[Text]:
        sealed = await self._conn.fetch(_TEXTS, self._tenant.id, part.name, list(part.refs), part.petitioner)
        there = {row["text_ref"] for row in sealed}
        texts = []
        for fact in facts:
            for field, ref in _references(fact):
                if ref in there and fact["type"] not in FINDINGS:
                    texts += await self._text(fact, field, ref)
        return texts

    async def _text(self, fact: Row, field: str, ref: str) -> list[Text]:
        asker = self._asker
        try:
            words = await self._vault.read_text(self._conn, asker.tenant, ref, asker.purpose, asker.reader)
        except Erased:  # between the list and the reading
            return []
        self._refs.append(ref)
        return [
            Text(
                at=self._at(fact["occurred"]) or "",
                type=fact["type"],
                says=self._words.word(EVENTS, fact["type"]),
                by="you" if fact["type"] in MINE else "office",
                field=field,
                voided=fact["voided"],
                text=words,
            )
        ]

    def _happening(self, fact: Row) -> Happening:
        data = fact["data"]
        return Happening(
            at=self._at(fact["occurred"]) or "",
            type=fact["type"],
            says=self._words.word(EVENTS, fact["type"]),
            where=data.get("to_agency") or data.get("to_department") or data.get("department"),
            voided=fact["voided"],
        )

    async def _messages(self, case: str) -> list[Message]:
        rows = await self._conn.fetch(
            'select template, means, state, settled_at from read.notices where tenant = $1 and "case" = $2'
            " and audience = 'citizen' and state in ('sent', 'unknown', 'failed') order by settled_at, template",
            self._tenant.id,
            case,
        )
        return [
            Message(
                at=self._at(row["settled_at"]),
                template=row["template"],
                says=self._words.page_word("messages", row["template"]),
                means=row["means"],
                state=row["state"],
            )
            for row in rows
        ]

    async def _owed(self, case: str, hidden: frozenset[str]) -> list[Owed]:
        rows = await self._conn.fetch(
            'select * from read.case_remedies where tenant = $1 and "case" = $2 order by at, key', self._tenant.id, case
        )
        return [
            Owed(
                remedy=row["remedy"],
                amount=row["amount"],
                currency=row["currency"],
                state=row["payment"] or ("withdrawn" if row["withdrawn"] else "proposed"),
            )
            for row in map(visible.plain, rows)
            if not visibility.tells_of(hidden, row)
        ]

    def _kept(self, row: Row, facts: Sequence[Row]) -> Kept:
        """By the newest kind that was told, as retention counts it."""
        petition = any(fact["type"] == "complaint.received" for fact in facts)
        told = sorted(
            (fact for fact in facts if fact["type"] in ("complaint.received", "complaint.classified")),
            key=lambda fact: (fact["occurred"], fact["arrival"]),
        )
        kinds = [fact["data"]["kind"] for fact in told if "kind" in fact["data"]]
        period = retention.rules().of_case(self._tenant.id, kinds[-1] if kinds else None, petition)
        until = None
        if row.get("closed") or not petition:
            until = retention.ends(max(fact["recorded"] for fact in facts), period, self._tenant.zone).isoformat()
        return Kept(years=period.years, says=self._words.kept(period), until=until)

    def _at(self, moment: Instant | None) -> str | None:
        return None if moment is None else text(moment, self._tenant.zone)


def _is_settled(fact: Row) -> bool:
    """Whether it can be told: of a fault that is not on record nobody can say yet from whom it is hidden."""
    return fact["sequence"] is not None or fact["type"] not in FAULTS


def _references(fact: Row) -> Iterator[tuple[str, str]]:
    """(field as it was published, reference) of each text of a fact, in the order of the contract."""
    for pii in PII_FIELDS.get(fact["type"], ()):
        found: Any = fact["data"]
        for step in pii.ref_path.split("."):
            found = found.get(step) if isinstance(found, dict) else None
        if pii.mark.kind == "text" and isinstance(found, str):
            yield pii.path, found


def _purposes(words: Words) -> list[Purpose]:
    return [
        Purpose(purpose=name, says=one.says[words.language], roles=sorted(one.roles))
        for name, one in purposes().items()
        if one.person or one.text or one.lookup
    ]


_FACTS = """
select r.source, r.id, r.type, r.occurred, r.recorded, r.arrival, f.sequence, coalesce(f.voided, false) as voided,
    convert_from(r.bodies[1], 'UTF8')::jsonb -> 'data' as data
from intake.reservations r
left join read.case_facts f on f.tenant = r.tenant and f."case" = r.case_id and f.source = r.source and f.id = r.id
where r.tenant = $1 and r.case_id = $2 order by f.sequence nulls last, r.arrival
"""
_TEXTS = """
select text_ref from vault.texts t where t.tenant = $1 and t.case_id = $2 and case
    when t.person is null then $4
    else t.person = (select s.person from vault.subjects s where s.tenant = $1 and s.subject_ref = ($3::text[])[1]) end
"""
_READINGS = """
select split_part(reader, '/', 1) as role, split_part(purpose, ':', 1) as purpose, kind as what, min(at) as first,
    max(at) as last, count(*) as times
from vault.access where tenant = $1 and ref = any($2::text[])
group by split_part(reader, '/', 1), split_part(purpose, ':', 1), kind, (at at time zone $3)::date
order by first, role, purpose, what
"""
