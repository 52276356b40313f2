"""The reservation: one PostgreSQL transaction that decides a batch of events and keeps them, sealed, before the log.

The one rule it protects: an event is kept at most once, and what is kept is exactly what will be appended. Whoever
reads these rows later (a repeat, the sweeper of a dead instance) needs nothing that lived in memory.
"""

import hmac
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import orjson

from contracts.envelope import UPCASTERS, Accepted, Refused, schema_name
from contracts.events import (
    TENANT_WIDE,
    FactVoided,
    FaultConfirmed,
    StaffDescribed,
)
from contracts.streams import PARTITIONS, cases_subject
from services.chassis.broker import BATCH_LIMIT
from services.chassis.failpoints import failpoint
from services.chassis.vault import Connection, Person, Sealing, TenantKeys, Vault, content_hash, make_confidential
from services.chassis.vault.keys import columns
from services.intake.judge import Judged, Refusal
from services.rules.instants import Instant, text
from services.rules.routing import route
from services.rules.tenants import Tenant

Key = tuple[str, str, str]
"""(tenant, source, id) of an event."""
CaseKey = tuple[str, str]
"""(tenant, case)."""

CONFIDENTIAL_KINDS = ("corruption_report", "service_grievance", "handling_grievance")
"""Kinds of petition whose author, and what they wrote, stay sealed from the office complained of."""
CONFIDENTIAL_TYPES = ("fault.reported",)

_COLUMNS = (
    *("tenant", "source", "id", "type", "case_id", "officer", "person", "content_hash", "occurred", "recorded"),
    *("subjects", "bodies", "subject_ref", "waited", "instance", "batch", "place"),
)
_DAMM = (
    "0317598642",
    "7092154863",
    "4206871359",
    "1750983426",
    "6123045978",
    "3674209581",
    "5869720134",
    "8945362017",
    "9438617205",
    "2581436790",
)


class Pending(Exception):
    """The same event is on its way into the log already; ask again in a moment."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What a source is told on RECEIPTS of an event that had to wait."""

    tenant: str
    answer: Accepted | Refused


@dataclass(slots=True)
class Batch:
    """What a reservation decided: an answer for each event, and the messages to append, in order."""

    answers: dict[Key, Accepted | Refusal | Pending] = field(default_factory=dict)
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    """For those that waited: refused ones count at once, accepted ones when the log has them."""
    left: set[CaseKey] = field(default_factory=set)
    """Opened cases of which facts still wait, since the batch was full."""


@dataclass(slots=True)
class _Case:
    owner: str | None = None
    receipt: str | None = None
    subject_ref: str | None = None
    notify_by: str | None = None
    language: str | None = None
    confidential: bool = False
    person: Person | None = None
    changed: bool = False


@dataclass(slots=True)
class _Fact:
    """What is known of a fact that another one names."""

    case: str
    type: str
    officer: str | None


@dataclass(slots=True)
class _Entry:
    """A new event on its way through the reservation."""

    event: Judged
    waits: bool
    opening: bool
    officer: str | None
    routes: list[str] | None
    details: dict[str, str]
    """Of a person, to seal. A blank one counts only where it says that a detail is to be taken out."""
    person: Person | None = None
    subject_ref: str | None = None
    subjects: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)


def copies(event: Judged) -> int:
    """How many messages an event may become, at most."""
    if event.type in TENANT_WIDE or event.type == "fact.voided":
        return PARTITIONS
    return 2 if isinstance(event.data, FaultConfirmed) else 1


def receipt_number(number: int) -> str:
    """A receipt number: nine digits and Damm's check digit, which finds a wrong or a swapped digit."""
    digits = f"{number:09d}"
    check = 0
    for digit in digits:
        check = int(_DAMM[check][int(digit)])
    return f"{digits}-{check}"


async def reserve(
    conn: Connection,
    vault: Vault,
    tenants: Mapping[str, Tenant],
    events: Sequence[Judged],
    opened: set[CaseKey],
    now: Instant,
    instance: str,
    number: int,
) -> Batch:
    """Decides `events` (each key once) and the waiting facts of the cases `opened` before, in one transaction.

    What is to be appended is stamped with `instance`, batch `number` and place. Nothing is kept if it raises.
    """
    async with conn.transaction():
        return await _Reservation(conn, vault, tenants, now, instance, number).run(events, opened)


class _Reservation:
    """One reservation. What it looks up it looks up key by key (`lateral`): left to itself the planner reads a whole
    table for a batch as long as that is of middling size, or holds all that waits against all cases.
    """

    def __init__(
        self,
        conn: Connection,
        vault: Vault,
        tenants: Mapping[str, Tenant],
        now: Instant,
        instance: str,
        number: int,
    ) -> None:
        self._conn = conn
        self._vault = vault
        self._tenants = tenants
        self._now = now
        self._now_in: dict[str, str] = {}
        self._stamp = (instance, number)
        self._batch = Batch()
        self._sealing = Sealing()
        self._cases: dict[CaseKey, _Case] = {}
        self._facts: dict[tuple[str, str], _Fact] = {}
        self._refers = False
        self._opened: set[CaseKey] = set()
        self._keys: dict[str, TenantKeys] = {}
        self._amended: list[tuple[Person, str, str]] = []
        self._confided: set[CaseKey] = set()

    async def run(self, events: Sequence[Judged], opened: set[CaseKey]) -> Batch:
        # The lock on a case keeps its opening and the facts before it apart, whichever instance they come to.
        await self._lock_cases(sorted({(e.tenant.id, e.case) for e in events} | opened))
        fresh = await self._answer_known(events)
        await self._load_facts(fresh)
        # Within a batch the opening goes first, so that what came beside it need not wait.
        entries = [e for e in (self._decide(event) for event in sorted(fresh, key=lambda e: not e.opens)) if e]
        await self._number_cases()
        await self._seal(entries)
        await self._write(entries, opened | self._opened)
        return self._batch

    async def _lock_cases(self, wanted: list[CaseKey]) -> None:
        """Locks every case that is named here, for which a row is made where it has none."""
        made = await self._conn.fetch(
            "insert into intake.cases (tenant, case_id) select * from unnest($1::text[], $2::text[])"
            " on conflict do nothing returning tenant, case_id",
            *columns(wanted, 2),
        )
        self._cases = {(row["tenant"], row["case_id"]): _Case() for row in made}
        if known := [case for case in wanted if case not in self._cases]:
            rows = await self._conn.fetch(
                "select c.* from unnest($1::text[], $2::text[]) as w(tenant, case_id) cross join lateral ("
                "select * from intake.cases c where c.tenant = w.tenant and c.case_id = w.case_id for update) c",
                *columns(known, 2),
            )
            for r in rows:
                self._cases[r["tenant"], r["case_id"]] = _Case(
                    *(r["owner"], r["receipt"], r["subject_ref"], r["notify_by"], r["language"], r["confidential"])
                )

    async def _answer_known(self, events: Sequence[Judged]) -> list[Judged]:
        """Answers those that were received before; returns the others."""
        rows = await self._conn.fetch(
            "select w.*, r.person, r.content_hash, f.status, f.case, f.receipt, r.refusal"
            " from unnest($1::text[], $2::text[], $3::text[]) as w(tenant, source, id) cross join lateral ("
            "select * from intake.reservations r"
            " where r.tenant = w.tenant and r.source = w.source and r.id = w.id limit 1) r cross join lateral ("
            "select * from read.event_fate f"
            " where f.tenant = w.tenant and f.source = w.source and f.id = w.id limit 1) f",
            *columns([e.key for e in events], 3),
        )
        known = {(r["tenant"], r["source"], r["id"]): r for r in rows}
        self._keys = await self._vault.tenant_keys(self._conn, {e.tenant.id for e in events})
        if known:
            people = await self._vault.keys_of_people(
                self._conn, [(r["tenant"], r["person"]) for r in rows if r["person"] is not None]
            )
            for event in events:
                if row := known.get(event.key):
                    self._batch.answers[event.key] = self._known_answer(event, row, people)
        return [event for event in events if event.key not in known]

    def _known_answer(
        self, event: Judged, row: asyncpg.Record, people: dict[tuple[str, uuid.UUID], bytes]
    ) -> Accepted | Refusal | Pending:
        tenant_key = self._keys[event.tenant.id].seal
        key = tenant_key if row["person"] is None else people.get((event.tenant.id, row["person"]))
        # Once key or hash are erased nothing can be compared, and whatever comes gets the first answer.
        if key is not None and row["content_hash"] is not None:
            same = hmac.compare_digest(content_hash(key, event.content), row["content_hash"])
            if not same:
                return Refusal(
                    "other_content",
                    "This id was used before, with other content. Give a new event a new id.",
                    "/id",
                    HTTPStatus.CONFLICT,
                )
        if row["status"] == "pending":
            return Pending()
        if row["status"] == "refused":
            return refusal_of(row["refusal"])
        return _accepted(event.source, event.id, row["case"], row["receipt"], waits=row["status"] == "waiting")

    async def _load_facts(self, events: Sequence[Judged]) -> None:
        """Looks up the facts that others name: those taken back, and the faults that findings are about."""
        voided = [(e.tenant.id, e.data.source, e.data.id) for e in events if isinstance(e.data, FactVoided)]
        about = [
            (e.tenant.id, e.case, e.data.about) for e in events if isinstance(e.data, FaultConfirmed) and e.data.about
        ]
        self._refers = bool(voided or about)
        if self._refers:
            rows = await self._conn.fetch(
                "select tenant, source, id, type, case_id, officer from intake.reservations"
                " join unnest($1::text[], $2::text[], $3::text[]) as w(tenant, source, id) using (tenant, source, id)"
                " where refusal is null"
                " union select tenant, source, id, type, case_id, officer from intake.reservations"
                " join unnest($4::text[], $5::text[], $6::text[]) as w(tenant, case_id, id)"
                " using (tenant, case_id, id) where type = 'fault.reported' and refusal is null",
                *([v[i] for v in voided] for i in range(3)),
                *([a[i] for a in about] for i in range(3)),
            )
            for r in rows:
                self._remember((r["tenant"], r["source"], r["id"]), r["case_id"], r["type"], r["officer"])

    def _remember(self, key: Key, case: str, type: str, officer: str | None) -> None:
        fact = _Fact(case, type, officer)
        self._facts[key[0], f"{key[1]}|{key[2]}"] = fact
        if type == "fault.reported":
            self._facts[key[0], f"{case}|about|{key[2]}"] = fact

    def _decide(self, event: Judged) -> _Entry | None:
        """What becomes of a new event, apart from sealing it; a refused one is answered and dropped."""
        case = self._cases[event.tenant.id, event.case]
        owned = case.owner
        try:
            waits = self._admit(event, case)
            officer, routes = self._officer(event), self._routes(event)
        except Refusal as refusal:
            self._batch.answers[event.key] = refusal
            return None
        if not waits:
            said = vars(event.data)
            for name in ("notify_by", "language"):
                if (value := said.get(name)) is not None:
                    setattr(case, name, value)
                    case.changed = True
            if said.get("kind") in CONFIDENTIAL_KINDS and not case.confidential:
                case.confidential, case.changed = True, True
                self._confided.add((event.tenant.id, event.case))
        if self._refers:
            self._remember(event.key, event.case, event.type, officer)
        opening = owned is None and case.owner is not None
        details = event.parted.personal.person
        if event.type != "applicant.updated":
            details = {field: value for field, value in details.items() if value}
        return _Entry(event, waits, opening, officer, routes, details)

    def _admit(self, event: Judged, case: _Case) -> bool:
        """Whether the event must wait for the opening of its case. Raises Refusal where it may not report on it."""
        if event.municipal:
            return False
        if case.owner is None:
            if not event.opens:
                return True
            case.owner, case.changed = event.source, True
            self._opened.add((event.tenant.id, event.case))
            return False
        if not _may_report(event.tenant, event.source, case.owner):
            raise refusal_of("other_source")
        return False

    def _officer(self, event: Judged) -> str | None:
        officer: str | None = vars(event.data).get("officer")
        if officer is None and isinstance(event.data, FaultConfirmed):
            fault = self._facts.get((event.tenant.id, f"{event.case}|about|{event.data.about}"))
            return fault.officer if fault else None
        return officer

    def _routes(self, event: Judged) -> list[str] | None:
        """Of fact.voided: the cases to which the fact taken back went."""
        if not isinstance(event.data, FactVoided):
            return None
        fact = self._facts.get((event.tenant.id, f"{event.data.source}|{event.data.id}"))
        if fact is None:
            raise Refusal("unknown_fact", "There is no such fact to take back: look at source and id.", "/data/id")
        if fact.case != event.case:
            raise Refusal("other_case", "That fact is of another case: name that case as the subject.", "/subject")
        went = route(fact.type, event.tenant.id, fact.case, {"officer": fact.officer})
        return list(dict.fromkeys(case for _, case in went))

    async def _number_cases(self) -> None:
        cases = [self._cases[key] for key in sorted(self._opened)]
        if cases:
            rows = await self._conn.fetch(
                "select nextval('intake.receipt_numbers') as number from generate_series(1, $1)", len(cases)
            )
            for case, row in zip(cases, rows, strict=True):
                case.receipt = receipt_number(row["number"])

    async def _seal(self, entries: Sequence[_Entry]) -> None:
        """Moves personal data into the vault and builds the bytes of every copy, which hold references only."""
        await self._load_people(entries)
        strangers = [e for e in entries if e.details and not self._amends(e)]
        if strangers:
            people = await self._vault.people(self._conn, [(e.event.tenant.id, e.details) for e in strangers])
            for entry, person in zip(strangers, people, strict=True):
                entry.person = person
        for entry in entries:
            case = self._cases[entry.event.tenant.id, entry.event.case]
            if entry.details:
                entry.person = case.person if self._amends(entry) else entry.person
                assert entry.person is not None
                entry.subject_ref = self._sealing.person(
                    entry.person, entry.details, entry.event.case, case.confidential
                )
                if entry.event.type == "applicant.updated" and not entry.waits:
                    self._amended.append((entry.person, entry.subject_ref, case.subject_ref or ""))
            elif entry.event.parted.personal.texts:
                entry.person = case.person
            if isinstance(entry.event.data, StaffDescribed):
                await self._vault.seal_staff(
                    self._conn, entry.event.tenant.id, entry.event.data.staff, entry.event.parted.personal.staff
                )
            self._write_bodies(entry, case)
            if entry.subject_ref and not entry.waits and (case.subject_ref is None or _of_applicant(entry)):
                case.subject_ref, case.person, case.changed = entry.subject_ref, entry.person, True

    async def _load_people(self, entries: Sequence[_Entry]) -> None:
        cases = {
            (e.event.tenant.id, e.event.case): self._cases[e.event.tenant.id, e.event.case]
            for e in entries
            if e.event.parted.personal.texts or e.event.parted.personal.person
        }
        if refs := [(tenant, case.subject_ref) for (tenant, _), case in cases.items() if case.subject_ref]:
            known = await self._vault.people_of(self._conn, refs)
            for (tenant, _), case in cases.items():
                if case.subject_ref:
                    case.person = known.get((tenant, case.subject_ref))

    def _amends(self, entry: _Entry) -> bool:
        """Whether an entry changes details of the person that its case has already (or will have, in this batch)."""
        case = self._cases[entry.event.tenant.id, entry.event.case]
        return entry.event.type == "applicant.updated" and case.person is not None

    def _write_bodies(self, entry: _Entry, case: _Case) -> None:
        event, tenant = entry.event, entry.event.tenant
        refs: dict[str, str] = {}
        if entry.event.parted.personal.texts:
            owner = entry.person or self._keys[tenant.id].seal
            confidential = case.confidential or event.type in CONFIDENTIAL_TYPES
            refs = {
                path: self._sealing.text(tenant.id, owner, words, event.case, confidential)
                for path, words in entry.event.parted.personal.texts.items()
            }
        data = event.parted.stored(subject_ref=entry.subject_ref, text_refs=refs)
        if entry.officer and isinstance(event.data, FaultConfirmed):
            data["officer"] = entry.officer
        version = UPCASTERS.current(event.type)
        stored: dict[str, Any] = {
            "specversion": "1.0",
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "subject": event.case,
            "time": event.stated_time,
            "tenant": tenant.id,
            **({"dataschema": schema_name(event.type, version)} if version > 1 else {}),
            "recordedtime": self._recorded(tenant.zone),
            **({"routes": entry.routes} if entry.routes is not None else {}),
            **({"imported": True} if event.imported else {}),
            # The citizen holds this number: it must outlive the database.
            **({"receipt": case.receipt} if entry.opening else {}),
            "data": data,
        }
        for number, name in route(event.type, tenant.id, event.case, data, entry.routes):
            entry.subjects.append(cases_subject(number, tenant.id, event.type))
            stored["case"] = name
            entry.bodies.append(orjson.dumps(stored))

    def _recorded(self, zone: ZoneInfo) -> str:
        if zone.key not in self._now_in:
            self._now_in[zone.key] = text(self._now, zone)
        return self._now_in[zone.key]

    async def _write(self, entries: Sequence[_Entry], opened: set[CaseKey]) -> None:
        await self._sealing.write(self._conn)
        for person, ref, base in self._amended:
            await self._vault.complete_person(self._conn, person, ref, base)
        for tenant, name in sorted(self._confided):
            await make_confidential(self._conn, tenant, name)
        await failpoint("reserve.after_vault")
        rows = []
        for entry in entries:
            event = entry.event
            stamp = (None, None, None) if entry.waits else (*self._stamp, len(self._batch.messages))
            key = entry.person.key if entry.person else self._keys[event.tenant.id].seal
            facts = (event.type, event.case, entry.officer, entry.person.id if entry.person else None)
            kept = (content_hash(key, event.content), event.time, self._now, entry.subjects, entry.bodies)
            rows.append((*event.key, *facts, *kept, entry.subject_ref, entry.waits, *stamp))
            if not entry.waits:
                self._batch.messages += zip(entry.subjects, entry.bodies, strict=True)
            receipt = self._cases[event.tenant.id, event.case].receipt
            self._batch.answers[event.key] = _accepted(event.source, event.id, event.case, receipt, entry.waits)
        if rows:
            await self._conn.copy_records_to_table("reservations", schema_name="intake", columns=_COLUMNS, records=rows)
            await failpoint("reserve.after_reservations")
        await self._release(opened)
        await self._write_cases()
        if self._batch.messages:
            await self._conn.execute(
                "insert into intake.batches values ($1, $2, $3)", *self._stamp, len(self._batch.messages)
            )

    async def _release(self, opened: set[CaseKey]) -> None:
        """Lets the facts that waited for these cases follow, in the order of their arrival, while there is room."""
        if not opened:
            return
        rows = await self._conn.fetch(
            "select r.* from unnest($1::text[], $2::text[]) as w(tenant, case_id) cross join lateral ("
            "select * from intake.reservations r where r.tenant = w.tenant and r.case_id = w.case_id"
            " and instance is null and refusal is null order by arrival limit $3) r order by arrival limit $3",
            [tenant for tenant, _ in opened],
            [case for _, case in opened],
            BATCH_LIMIT + 1,
        )
        placed: list[tuple[str, str, str, int]] = []
        refused: list[Key] = []
        for row in rows:
            key = (row["tenant"], row["source"], row["id"])
            case = self._cases[row["tenant"], row["case_id"]]
            if self._batch.left or len(self._batch.messages) + len(row["bodies"]) > BATCH_LIMIT:
                self._batch.left.add((row["tenant"], row["case_id"]))
            elif case.owner and _may_report(self._tenants[row["tenant"]], row["source"], case.owner):
                placed.append((*key, len(self._batch.messages)))
                self._batch.messages += zip(row["subjects"], row["bodies"], strict=True)
                await self._take_over(row, case)
                answer = _accepted(row["source"], row["id"], row["case_id"], case.receipt, waits=False)
                self._batch.notices.append(Notice(row["tenant"], answer))
            else:
                refused.append(key)
                refusal = refusal_of("other_source")
                refusal.id = row["id"]
                self._batch.notices.append(Notice(row["tenant"], refused_answer(refusal, row["source"])))
        if rows:
            await self._conn.executemany(
                "update intake.reservations set instance = $5, batch = $6, place = $4"
                " where tenant = $1 and source = $2 and id = $3",
                [(*row, *self._stamp) for row in placed],
            )
            await self._conn.executemany(
                "update intake.reservations set refusal = 'other_source' where tenant = $1 and source = $2 and id = $3",
                refused,
            )

    async def _take_over(self, row: asyncpg.Record, case: _Case) -> None:
        """What a fact that waited says of its case, which was not known when it came."""
        if row["type"] not in ("applicant.updated", "complaint.classified"):
            return
        data = orjson.loads(row["bodies"][0])["data"]
        if data.get("kind") in CONFIDENTIAL_KINDS:
            case.confidential = True
            await make_confidential(self._conn, row["tenant"], row["case_id"])
        case.notify_by = data.get("notify_by", case.notify_by)
        case.language = data.get("language", case.language)
        case.changed = True
        if ref := row["subject_ref"]:
            people = await self._vault.people_of(self._conn, [(row["tenant"], ref)])
            if person := people.get((row["tenant"], ref)):
                await self._vault.complete_person(self._conn, person, ref, case.subject_ref or "")
                case.subject_ref = ref

    async def _write_cases(self) -> None:
        changed = [
            (*key, case.owner, case.receipt, case.subject_ref, case.notify_by, case.language, case.confidential)
            for key, case in self._cases.items()
            if case.changed
        ]
        if changed:
            await self._conn.execute(
                # They are all there: said so, each is found by its key.
                "insert into intake.cases"
                " (tenant, case_id, owner, receipt, subject_ref, notify_by, language, confidential)"
                " select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
                " $7::text[], $8::bool[]) on conflict (tenant, case_id) do update set owner = excluded.owner,"
                " receipt = excluded.receipt, subject_ref = excluded.subject_ref, notify_by = excluded.notify_by,"
                " language = excluded.language, confidential = excluded.confidential",
                *columns(changed, 8),
            )


def refusal_of(code: str) -> Refusal:
    """The refusal that a row keeps by its code alone: a fact whose case turned out to be another source's."""
    detail = "This case belongs to another source: only its owner and the tenant's partners may report on it."
    return Refusal(code, detail, "/subject", HTTPStatus.FORBIDDEN)


def refused_answer(refusal: Refusal, source: str) -> Refused:
    """A refusal in the form in which publishers are told."""
    return Refused(
        status="refused",
        source=source,
        id=refusal.id,
        code=refusal.code,
        pointer=refusal.pointer and refusal.pointer[:200],
        detail=refusal.detail[:500],
    )


def _accepted(source: str, id: str, case: str, receipt: str | None, waits: bool) -> Accepted:
    return Accepted(status="waiting" if waits else "accepted", source=source, id=id, case=case, receipt=receipt)


def _may_report(tenant: Tenant, source: str, owner: str) -> bool:
    return source == owner or source in tenant.partners


def _of_applicant(entry: _Entry) -> bool:
    return entry.event.type in ("complaint.received", "applicant.updated")
