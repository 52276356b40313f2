"""One seeded history: two of each service on a log, a database and gateways in memory, while everything around them
fails; then peace, and what must hold afterwards.

The one rule: what is expected follows from the log of facts and ticks alone, by the pure fold and a notifier that
nothing ever disturbed.
"""

import asyncio
import hashlib
import json
import random as randoms
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import asyncpg
import simulated_database as database
from simulated_database import Database, Pool
from simulated_log import EPOCH, Connection, Log, Trouble
from simulated_loop import SimulatedLoop
from simulated_process import CURRENT, Process

from contracts.streams import PARTITIONS, cases_subject, partition
from services.chassis.health import Health
from services.chassis.settings import Settings
from services.chassis.tasks import end
from services.notifier import app as notifier
from services.notifier import pacing
from services.notifier.gateways import Answer, Found, Letter, Outcome, Told
from services.notifier.tasks import charters
from services.rules.facts import Fact, decode_event
from services.rules.fold import REVISIONS, evolve
from services.rules.instants import Instant, of_datetime
from services.rules.rulebook import Library, Rulebook
from services.rules.state import Case, Decision, Rules
from services.rules.world import Partition
from services.sla_timer import app as sla_timer
from services.sla_timer import store

TENANT = "haneul"
HOME = partition(TENANT, TENANT)
LANES = (HOME, (HOME + 1) % PARTITIONS)
SERVICES = ("sla_timer", "notifier")
STORM_SECONDS = 20.0
PEACE_SECONDS = 240.0
LOOK_SECONDS = 0.25
FLAWED_EACH = 3
"""In one history of so many the first revision of the rules has a flaw."""
FILES = {
    "charters/haneul-1.yaml": b"""
tenant: haneul
version: "1"
name: {ko: "\xed\x95\x98\xeb\x8a\x98\xec\x8b\x9c", en: Haneul}
in_force: 2026-01-01
calendar: haneul
currency: KRW
promises:
  - id: answer
    kind: deadline
    says: {ko: "\xeb\x8b\xb5", en: An answer}
    start: [{"on": complaint.received}]
    within: {amount: 15, unit: seconds}
    until: [{"on": complaint.completed}]
    warn: {amount: 4, unit: seconds}
    suspends: exact
  - id: callback
    kind: deadline
    says: {ko: "\xec\xa0\x84\xed\x99\x94", en: A call}
    start: [{"on": callback.requested}]
    within: {amount: 5, unit: seconds}
    until: [{"on": callback.made}]
    ends: never
  - id: word
    kind: recurring
    says: {ko: "\xec\x86\x8c\xec\x8b\x9d", en: News}
    start: [{"on": complaint.received}]
    every: {amount: 9, unit: seconds}
    until: [{"on": complaint.progress_notified}]
remedies:
  - id: voucher
    says: {ko: "\xeb\xb3\xb4\xec\x83\x81", en: A voucher}
    "on": [{breach: any}]
    amount: 10000
    tasks: [apology]
  - id: amends
    says: {ko: "\xeb\xb0\xb0\xec\x83\x81", en: Amends}
    "on": [{breach: [callback, word], needs: [finding]}]
    amount: 5000
    tasks: [consultation]
    find_within: {amount: 6, unit: seconds}
""",
    "calendars/haneul-1.yaml": b"""
calendar: haneul
version: "1"
zone: Asia/Seoul
from: 2026-01-01
horizon: 2026-12-31
hours: {office: {mon-fri: ["09:00-18:00"]}}
""",
}
TENANTS = f"""
{TENANT}:
  name_ko: 하늘시
  name_en: Haneul
  zone: Asia/Seoul
  calendar: haneul
  administrator: administration
  sources: {{desk: {{reports_within_seconds: 3}}}}
  sms_sender: "000-000-0001"
  email_sender: petition@haneul.example
  messages: {{quiet: null, daily: null, officers_at: null, audit_after_hours: null}}
"""


@cache
def library() -> Library:
    """The files above, parsed once."""
    return Library(FILES)


class Clock:
    """The clock of every process: simulated time."""

    async def now(self) -> Instant:
        """The present instant."""
        return int((EPOCH.timestamp() + asyncio.get_running_loop().time()) * 1_000_000)

    async def wait(self, until: Instant | None) -> None:
        """Sleeps until then, at most a second."""
        seconds = 1.0 if until is None else (until - await self.now()) / 1e6
        await asyncio.sleep(min(max(seconds, 0.001), 1.0))


class Vault:
    """Knows everybody. What the real one does is tested elsewhere."""

    async def tenant_keys(self, *_: Any) -> None:
        """Nothing to make."""

    async def carry_out(self, *_: Any) -> None:
        """Nobody was erased."""

    async def read_people(self, _: Any, wanted: Sequence[Any], __: Any) -> list[dict[str, str]]:
        """A number that is nobody's."""
        return [{"name": "-", "mobile": "010-0000-0000"} for _ in wanted]

    async def read_staffs(self, _: Any, wanted: Sequence[Any], __: Any) -> list[dict[str, str]]:
        """The same."""
        return [{"name": "-", "email": "staff@haneul.example"} for _ in wanted]


class Gateway:
    """A gateway that keeps what it took, and may fail, be slow, or take a message and not say so."""

    rate = 0.0
    together = 32
    finds = True
    reports = False

    def __init__(self, means: str, city: "City", taken: Counter[str]) -> None:
        self.name = self.means = means
        self._city = city
        self.taken = taken

    async def send(self, letters: Sequence[Letter]) -> list[Answer]:
        """One attempt at each."""
        return await asyncio.gather(*map(self._send, letters))

    async def _send(self, letter: Letter) -> Answer:
        process, random = CURRENT.get(), self._city.random
        await process.gate()
        luck = random.random() if self._city.stormy else 1.0
        if luck < 0.05:
            return Answer(Outcome.UNREACHABLE, "down")
        if luck < 0.15:
            return Answer(Outcome.DEFERRED, "busy")
        if luck < 0.2:
            await asyncio.sleep(5)
            return Answer(Outcome.UNANSWERED, "silent")
        self.taken[letter.key] += 1
        await process.gate()
        return Answer(Outcome.UNANSWERED, "silent") if luck < 0.3 else Answer(Outcome.ACCEPTED, "ok")

    async def find(self, letter: Letter, since: Instant) -> Told:
        """Whether it took a message."""
        await CURRENT.get().gate()
        if self._city.stormy and self._city.random.random() < 0.2:
            return Told(Found.UNREACHABLE)
        return Told(Found.TAKEN if self.taken[letter.key] else Found.NOT_TAKEN)


class City:
    """The whole system of one seed. `violations` is what did not hold, in words; `mended` how many cases were stuck
    until the second revision of the rules.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.random = Random(seed)
        self._instances = self.random.choice((1, 2))
        self.stormy = True
        self.violations: list[str] = []
        self.events = 0
        self.mended = 0
        self.faults: Counter[str] = Counter()
        self._tenants = folder / "tenants.yaml"
        self._tenants.write_text(TENANTS, encoding="utf-8")
        self._processes: dict[str, Process] = {}
        self._mend_at = self.random.uniform(2.0, STORM_SECONDS)
        self._facts = 0
        self._cases: list[str] = []

    async def run(self) -> None:
        """The history: a storm, peace, and the reckoning."""
        loop = asyncio.get_running_loop()
        self.log = Log(self.random, loop.time)
        self.database = Database(self.random)
        self.taken: Counter[str] = Counter()
        database.SIMULATED_TIME[:] = [lambda: EPOCH + timedelta(seconds=loop.time())]
        self._enact()
        for name in self._names():
            self._start(name)
        storm = asyncio.ensure_future(self._storm())
        await self._publish()
        storm.cancel()
        with suppress(asyncio.CancelledError):
            await storm
        await self._make_peace()
        await self._settle()
        await self._kill_all()
        await self._reckon()

    async def _kill_all(self) -> None:
        for process in self._processes.values():
            await process.kill()

    async def stop(self) -> None:
        """Ends every process, and whatever else still runs."""
        await self._kill_all()
        await end(asyncio.all_tasks() - {asyncio.current_task()})

    # -- the services

    def _names(self) -> list[str]:
        return [f"{service}-{number}" for service in SERVICES for number in range(1, self._instances + 1)]

    def _start(self, name: str) -> None:
        service = name.partition("-")[0]
        work = self._sla_timer if service == "sla_timer" else self._notifier
        self._processes[name] = Process(name, self.random, lambda: work(self._settings(service)))

    def _settings(self, service: str) -> Settings:
        return Settings(nats_url="", database_url="", service=service, tenants_file=self._tenants)

    async def _sla_timer(self, settings: Settings) -> None:
        process = CURRENT.get()
        nc, pool = Connection(self.log, process), Pool(self.database, process)
        start: Callable[..., list[asyncio.Task[None]]] = sla_timer._start
        await asyncio.gather(*start(settings, nc, pool, Clock(), Health("sla_timer")))

    async def _notifier(self, settings: Settings) -> None:
        process = CURRENT.get()
        gateways = [Gateway(means, self, self.taken) for means in ("sms", "email")]
        await self._notify(settings, Connection(self.log, process), Pool(self.database, process), gateways)

    async def _notify(self, settings: Settings, nc: Connection, pool: Pool, gateways: list[Gateway]) -> None:
        working = notifier.Notifier(
            settings,
            cast(asyncpg.Pool, pool),
            cast(Any, nc),
            cast(Any, Clock()),
            cast(Any, gateways),
            Health("notifier"),
        )
        await working.run()

    # -- what publishers say

    def _enact(self) -> None:
        for type, name in (
            ("rules", ""),
            ("calendar", "calendars/haneul-1.yaml"),
            ("charter", "charters/haneul-1.yaml"),
        ):
            data: dict[str, Any] = {"revision": 1, "applies": "new_cases", "version": "1"}
            if name:
                data |= {"calendar": "haneul", "sha256": hashlib.sha256(FILES[name]).hexdigest()}
            for lane in LANES:
                self._append(lane, "_all", f"{type}.enacted", f"{type}-1", EPOCH - timedelta(days=30), data)

    def _append(self, lane: int, case: str, type: str, id: str, time: datetime, data: dict[str, Any]) -> None:
        recorded = datetime.fromisoformat(self.log.time())
        body = {
            "specversion": "1.0",
            "id": id,
            "source": "desk",
            "type": type,
            "subject": case,
            "time": min(time, recorded).isoformat(),
            "recordedtime": recorded.isoformat(),
            "tenant": TENANT,
            "case": case,
            "data": data,
        }
        self.log.append(cases_subject(lane, TENANT, type), json.dumps(body).encode())
        self.events += 1

    async def _publish(self) -> None:
        """Facts in any order: in time, late, early, twice, and taken back."""
        random = self.random
        for number in range(random.randint(3, 6)):
            self._cases.append(_case_in(random.choice(LANES), number))
        while asyncio.get_running_loop().time() < STORM_SECONDS:
            case = random.choice(self._cases)
            type = random.choices(list(FACTS), [weight for weight, _ in FACTS.values()])[0]
            self._state(case, type, late=random.choice((0, 0, 0, 1, 4, 9)))
            await asyncio.sleep(random.uniform(0.1, 1.6))
            self._mend(asyncio.get_running_loop().time())

    def _mend(self, now: float) -> None:
        """Enacts the second revision, once its time has come."""
        if now >= self._mend_at:
            self._mend_at = float("inf")
            self._enact_second("rules-2")

    def _enact_second(self, id: str) -> None:
        recorded = datetime.fromisoformat(self.log.time())
        for lane in LANES:
            self._append(lane, "_all", "rules.enacted", id, recorded, {"revision": 2})

    def _state(self, case: str, type: str, late: float) -> None:
        self._facts += 1
        id, data = f"f{self._facts}", dict(FACTS[type][1])
        if type == "fact.voided":
            data |= {"source": "desk", "id": f"f{self.random.randint(1, self._facts)}"}
        if type in ("complaint.received", "callback.requested"):
            data["subject_ref"] = f"ref-{case}"
        if self.stormy and self.random.random() < 0.08:
            id = f"f{self.random.randint(1, self._facts)}"  # a name that may be taken
        time = datetime.fromisoformat(self.log.time()) - timedelta(seconds=late)
        self._append(partition(TENANT, case), case, type, id, time, data)

    # -- what goes wrong

    async def _storm(self) -> None:
        faults: dict[str, Callable[[], Coroutine[None, None, None]]] = {
            "kill": self._kill,
            "freeze": self._freeze,
            "log down": self._log_down,
            "database down": self._database_down,
            "consumers deleted": self._forget,
            "bad network": self._bad_network,
            "lost commits": self._lost_commits,
        }
        running: set[asyncio.Task[None]] = set()
        try:
            while True:
                await asyncio.sleep(self.random.uniform(0.3, 3.0))
                name = self.random.choice(list(faults))
                self.faults[name] += 1
                running.add(asyncio.ensure_future(faults[name]()))
        finally:
            for task in sorted(running, key=lambda task: task.get_name()):
                with suppress(asyncio.CancelledError):
                    await task

    async def _kill(self) -> None:
        name = self.random.choice(self._names())
        process = self._processes[name]
        if process.dead:
            return
        await process.kill()
        self.database.close_sessions(process)
        await asyncio.sleep(self.random.uniform(0.1, 4.0))
        self._start(name)

    async def _freeze(self) -> None:
        process = self._processes[self.random.choice(self._names())]
        process.freeze()
        silent = self.random.choice((0.5, 2.0, 7.0, 12.0))
        idle, busy = database.IDLE_SECONDS, database.IDLE_IN_TRANSACTION_SECONDS
        await asyncio.sleep(min(silent, idle))
        if silent > idle:
            self.database.close_sessions(process, idle=True)
            await asyncio.sleep(min(silent, busy) - idle)
        if silent > busy:
            self.database.close_sessions(process)
            await asyncio.sleep(silent - busy)
        process.thaw()

    async def _log_down(self) -> None:
        self.log.down = True
        await asyncio.sleep(self.random.uniform(0.2, 4.0))
        self.log.down = False
        self.log.restarts += 1

    async def _database_down(self) -> None:
        self.database.down = True
        self.database.close_sessions()
        await asyncio.sleep(self.random.uniform(0.2, 3.0))
        self.database.down = False

    async def _forget(self) -> None:
        self.log.forget_consumers()

    async def _bad_network(self) -> None:
        self.log.trouble = Trouble(*(self.random.choice((0.0, 0.05, 0.3)) for _ in Trouble._fields))
        await asyncio.sleep(self.random.uniform(0.5, 5.0))
        self.log.trouble = Trouble()

    async def _lost_commits(self) -> None:
        self.database.lost_commit = 0.3
        await asyncio.sleep(self.random.uniform(0.5, 3.0))
        self.database.lost_commit = 0.0

    # -- peace

    async def _make_peace(self) -> None:
        self.stormy = False
        self.log.down = self.database.down = False
        self.log.trouble, self.database.lost_commit = Trouble(), 0.0
        self._mend(STORM_SECONDS)
        # That a delivery was lost is seen by the next one, which a lane without cases would not have.
        self._enact_second("rules-2-again")
        for case in self._cases:
            self._state(case, "complaint.completed", late=0)
            self._state(case, "callback.made", late=0)

    async def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() + PEACE_SECONDS
        while loop.time() < limit:
            await asyncio.sleep(LOOK_SECONDS)
            for process in self._processes.values():
                failure = process.failure()
                if failure is not None:
                    raise failure
            assert not self.database.uncovered, self.database.uncovered
            if not self._unsettled():
                return
        self.violations.append(f"not settled after {PEACE_SECONDS:.0f} s of peace: {self._unsettled()}")

    def _unsettled(self) -> str:
        """What is still to be done; nothing where all is quiet."""
        one = self.database.engine.execute
        if self.database.engine.in_transaction:
            return "a transaction is open"
        for lane in LANES:
            prefix = f"cases.{lane}."
            last = next(row.sequence for row in reversed(self.log.streams["CASES"]) if row.subject.startswith(prefix))
            sequence = one("select sequence from sla_timer__partitions where partition = ?", (lane,)).fetchone()[0]
            if sequence != last:
                return f"lane {lane} stands at {sequence} of {last}"
        now = (EPOCH.timestamp() + asyncio.get_running_loop().time()) * 1e6
        if one("select count(*) from sla_timer__cases where next_at < ?", (now,)).fetchone()[0]:
            return "an instant that has passed is not decided"
        if one("select count(*) from read__fold_position where decisions > sent").fetchone()[0]:
            return "decisions are not published"
        held, overdue, waiting, unpublished = one(
            "select next_release, next_overdue, open_notices, unpublished from read__notifier, read__tasks_overdue"
        ).fetchone()
        positions = dict(one("select log, sequence from notifier__position").fetchall())
        for name, position in positions.items():
            # The notifier stands at the last entry of the stream, whatever its subject.
            if position != len(self.log.streams[name]):
                return f"the notifier stands at {position} in {name}"
        if held is not None or overdue is not None or waiting or unpublished:
            return (
                f"the notifier has {waiting} open, {unpublished} unpublished, the next release at {held}, "
                f"the next task due at {overdue}"
            )
        return ""

    # -- the reckoning

    async def _reckon(self) -> None:
        if self.violations:
            return
        self._reckon_decisions()
        self._reckon_ticks()
        await self._reckon_messages()

    def _reckon_decisions(self) -> None:
        for lane in LANES:
            expected, cases = self._folded(lane)
            published = [
                json.loads(row.data) for row in self.log.streams["SLA"] if row.subject.startswith(f"sla.{lane}.")
            ]
            found = [_said(event) for event in published]
            if [event["id"] for event in published] != [f"{lane}-{n}" for n in range(1, len(published) + 1)]:
                self.violations.append(f"lane {lane}: the numbers of the decisions on SLA are not 1, 2, 3 ...")
            if found != expected:
                place = next(
                    (n for n, pair in enumerate(zip(found, expected, strict=False)) if pair[0] != pair[1]),
                    min(len(found), len(expected)),
                )
                self.violations.append(
                    f"lane {lane}: decision {place + 1} is {found[place : place + 1]}, by the log it is "
                    f"{expected[place : place + 1]}"
                )
            kept = {
                (row[0], row[1]): row[2]
                for row in self.database.engine.execute(
                    "select tenant, case_id, state from sla_timer__cases where partition = ?", (lane,)
                )
            }
            if kept != {key: store._encode(case) for key, case in cases.items()}:
                self.violations.append(f"lane {lane}: the projection is not the fold of the log")
            if any(case.stuck for case in cases.values()):
                self.violations.append(f"lane {lane}: a case is stuck in spite of the second revision")

    def _folded(self, lane: int) -> tuple[list[tuple[str, ...]], dict[tuple[str, str], Any]]:
        world = Partition(Rulebook(library()), lane)
        decided = []
        for row in self.log.streams["CASES"]:
            if not row.subject.startswith(f"cases.{lane}."):
                continue
            event = decode_event(row.data)
            if event.id == "rules-2":
                self.mended += sum(bool(case.stuck) for case in world.cases.values())
            decided += world.take(event, row.sequence)
        said = [
            (one.case, one.decision.kind, one.decision.promise, one.decision.occurrence, str(one.decision.due or ""))
            for one in decided
        ]
        return said, world.cases

    def _reckon_ticks(self) -> None:
        """Time never runs ahead of the clock, nor back."""
        for lane in LANES:
            last = 0
            for row in self.log.streams["CASES"]:
                if row.subject == f"cases.{lane}.clock":
                    to = of_datetime(datetime.fromisoformat(json.loads(row.data)["data"]["to"]))
                    if to <= last:
                        self.violations.append(f"lane {lane}: the tick at {row.sequence} goes back in time")
                    if to > (EPOCH.timestamp() + row.stored_at) * 1_000_000:
                        self.violations.append(f"lane {lane}: the tick at {row.sequence} runs ahead of the clock")
                    last = to

    async def _reckon_messages(self) -> None:
        """The ledger wants what an undisturbed notifier wants, and everybody heard of it."""
        storm = self.database
        self.database = calm = Database(self.random)  # where sessions go that are opened from here on
        process = Process("calm", self.random, lambda: self._undisturbed(calm))
        loop = asyncio.get_running_loop()
        limit = loop.time() + PEACE_SECONDS
        while self._unsettled_calm(calm) and loop.time() < limit:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(LOOK_SECONDS)
        await process.kill()
        # A correction follows only where the wrong word had gone out, and what is let go at once is told as one:
        # both are a matter of time.
        wanted = (
            "select key, template, audience from notifier__notices "
            "where template not in ('correction', 'corrections', 'fact_voided', 'compensation_withdrawn', "
            "'escalation_withdrawn', 'escalation_measure_withdrawn', 'breaches', 'officer_digest') order by key"
        )
        here, there = (each.engine.execute(wanted).fetchall() for each in (storm, calm))
        if here != there:
            self.violations.append(f"messages: {sorted(set(here) ^ set(there))[:3]} are wanted in one ledger alone")
        tasks = (
            "select key, state, amount, due, at_fault, finding, finding_by, finding_event from notifier__tasks "
            "order by key"
        )
        here, there = (each.engine.execute(tasks).fetchall() for each in (storm, calm))
        if here != there:
            self.violations.append(f"tasks: {sorted(set(here) ^ set(there), key=str)[:3]} differ between the ledgers")
        # The order of the movements of a remedy is told; that of remedies among each other is not.
        book = "select key, entry, cause, debit, credit, amount, day from notifier__book order by key, number"
        here, there = (each.engine.execute(book).fetchall() for each in (storm, calm))
        if here != there:
            self.violations.append(
                f"the book: {sorted(set(here) ^ set(there), key=str)[:3]} differ between the ledgers"
            )
        sent = {row[0] for row in storm.engine.execute("select key from notifier__notices where state = 'sent'")}
        if sent - set(self.taken):
            self.violations.append(
                f"messages said to be sent that no gateway took: {sorted(sent - set(self.taken))[:3]}"
            )
        repeated = {
            row[0] for row in storm.engine.execute("select key from notifier__attempts where repeated = 1").fetchall()
        }
        twice = {key for key, times in self.taken.items() if times > 1}
        if twice - repeated:
            self.violations.append(f"messages sent twice without a word of it: {sorted(twice - repeated)[:3]}")
        results = Counter(
            (event["type"], event["data"]["key"])
            for row in self.log.streams["NOTICES"]
            if row.subject.startswith("notices.")
            for event in [json.loads(row.data)]
            if event["type"] in ("notice.sent", "notice.failed", "notice.suppressed")
        )
        if any(times > 1 for times in results.values()):
            self.violations.append("NOTICES tells a result twice")

    async def _undisturbed(self, calm: Database) -> None:
        """Wants what is to be sent, and sends nothing: which messages are wanted does not depend on it."""
        process = CURRENT.get()
        silent = Log(self.random, self.log.now)
        silent.streams["CASES"], silent.streams["SLA"] = self.log.streams["CASES"], self.log.streams["SLA"]
        await self._notify(self._settings("notifier"), Connection(silent, process), Pool(calm, process), [])

    def _unsettled_calm(self, calm: Database) -> bool:
        positions = dict(calm.engine.execute("select log, sequence from notifier__position").fetchall())
        if calm.engine.in_transaction:
            return True
        held, overdue = calm.engine.execute(
            "select next_release, next_overdue from read__notifier, read__tasks_overdue"
        ).fetchone()
        at_end = all(position == len(self.log.streams[name]) for name, position in positions.items())
        return not at_end or held is not None or overdue is not None


FACTS: dict[str, tuple[int, dict[str, Any]]] = {
    "complaint.received": (5, {"channel": "web", "kind": "inquiry", "has_mobile": True, "notify_by": "sms"}),
    "complaint.progress_notified": (4, {"by": "sms"}),
    "complaint.completed": (3, {"outcome": "answered", "by": "o1"}),
    "complaint.suspended": (2, {"ground": "outage"}),
    "complaint.resumed": (2, {"ground": "outage"}),
    "complaint.reopened": (1, {}),
    "callback.requested": (4, {"via": "phone", "memo": {"reply_wanted": True}}),
    "callback.made": (4, {"by": "o1", "reached": True}),
    "fault.reported": (1, {"promise": "word", "ground": "standard", "officer": "o2"}),
    "fault.confirmed": (1, {"about": "callback", "ground": "standard", "by": "o3"}),
    "fault.dismissed": (1, {"about": "callback", "ground": "standard", "by": "o4"}),
    "fact.voided": (2, {"code": "typing_error"}),
}
"""What publishers say: how often, and with which data."""


def flawed(case: Case, clock: Instant, rules: Rules, cause: Fact | None) -> tuple[Case, list[Decision]]:
    """The first revision of a city that needs a second one: it fails on cases that were reopened."""
    if any(fact.type == "complaint.reopened" for fact in case.facts):
        raise ZeroDivisionError
    return evolve(case, clock, rules, cause)


def _case_in(lane: int, number: int) -> str:
    return next(case for n in range(10_000) if partition(TENANT, case := f"c{number}-{n}") == lane)


def _said(event: dict[str, Any]) -> tuple[str, ...]:
    data = event["data"]
    due = data.get("due")
    return (
        event["case"],
        event["type"],
        data.get("promise", ""),
        data.get("occurrence", ""),
        "" if due is None else str(of_datetime(datetime.fromisoformat(due))),
    )


def simulate(seed: int, folder: Path) -> City:
    """The history of a seed, after its reckoning. Raises Hangs where everything waits for ever."""
    loop = SimulatedLoop()
    city = City(seed, folder)
    simulated = SimpleNamespace(monotonic=loop.time)
    randoms.seed(seed)
    revisions = {"1": flawed if seed % FLAWED_EACH == 0 else evolve, "2": evolve}
    with (
        patch.dict(REVISIONS, revisions),
        patch("services.chassis.outbox.time", simulated),
        patch("services.chassis.health.time", simulated),
        patch("services.notifier.delivery.time", simulated),
        patch("services.notifier.guard.time", simulated),
        patch("services.chassis.postgres.connect", lambda _: database.connect(city.database)),
        patch.object(sla_timer, "LANES", LANES),
        patch.object(sla_timer, "Library", lambda _: library()),
        patch.object(sla_timer.files, "read", dict),
        patch.object(notifier, "PARTITIONS", max(LANES) + 1),
        patch("services.notifier.recovery.PARTITIONS", max(LANES) + 1),
        patch.object(pacing.files, "read", lambda: FILES),
        # What is cached of these files is not what others in this process read.
        patch.object(charters, "_library", library),
        patch.object(charters, "named", charters.named.__wrapped__),
        patch.object(charters, "ends_of_lateness", charters.ends_of_lateness.__wrapped__),
        patch.object(notifier, "open_vault", lambda _: Vault()),
    ):
        try:
            loop.run_until_complete(city.run())
        finally:
            loop.run_until_complete(city.stop())
            loop.close()
    return city
