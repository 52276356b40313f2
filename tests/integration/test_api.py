"""The API with a running city behind it: what is filed, read, listed and told, and what is told to nobody else."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from api_world import APPLICANT, COMPLAINT, MONDAY, World, start
from nats.aio.client import Client

from contracts.events import FACTS
from services.chassis import clock
from services.chassis.settings import Settings
from services.chassis.vault import Vault
from services.intake import keys
from services.intake.api import examples
from services.intake.api.resources import BODIES
from services.rules.instants import instant
from services.rules.tenants import Tenant

CLERK = {"roles": ["clerk"], "department": "도로과", "staff": "k-7"}
OTHER = {"roles": ["clerk"], "department": "세무과", "staff": "k-9"}
AUDIT = {"roles": ["audit"], "department": "감사과", "staff": "k-20"}


@pytest.fixture
async def world(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, tmp_path: Path
) -> AsyncIterator[World]:
    """A running city."""
    async with AsyncExitStack() as stack:
        yield await start(stack, settings, tenants, nc, pool, tmp_path)


async def filed(world: World, case: str, source: str = "web", **data: Any) -> dict[str, Any]:
    """A complaint on record."""
    answer = await world.ask(source, "POST", "/v1/complaints", json={**COMPLAINT, "case": case, **data})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def said(world: World, case: str, type: str, source: str = "web", **data: Any) -> str:
    """An event of a case on record; its id."""
    event = {"specversion": "1.0", "source": source, "type": type, "subject": case, "tenant": "seoul", "time": MONDAY}
    event |= {"id": f"{type.replace('.', '-')}-{case}-{source}".replace("_", "-"), "data": data}
    answer = await world.ask(source, "POST", "/v1/events", json=event)
    assert answer.status_code == 200, answer.text
    return str(event["id"])


async def assigned(world: World, case: str, department: str, officer: str) -> None:
    await said(world, case, "complaint.assigned", department=department, officer=officer)


async def test_a_complaint_is_filed_once_and_read_with_its_dates(world: World) -> None:
    """201 with receipt and place; the same key again gets the same answer, with other content 422; then its case."""
    key = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
    first = await world.ask("web", "POST", "/v1/complaints", json=COMPLAINT, headers=key)
    again = await world.ask("web", "POST", "/v1/complaints", json=COMPLAINT, headers=key)
    assert (first.status_code, first.json()) == (201, again.json())
    case, receipt = first.json()["case"], first.json()["receipt"]
    assert first.headers["location"] == f"/v1/cases/{case}"
    other = await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, "title": "다른 일"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    bare = await world.ask("web", "POST", "/v1/complaints", json=COMPLAINT, headers={"Idempotency-Key": "no, \x7f"})
    assert (bare.status_code, bare.json()["code"]) == (400, "wrong_key")

    await world.folded()
    found = await world.ask("web", "GET", f"/v1/cases/{case.upper()}")
    body = found.json()
    assert (body["case"], body["receipt"], body["state"], body["kind"]) == (case, receipt, "open", "inquiry")
    period = next(run for run in body["deadlines"] if run["promise"] == "statutory-period")
    # Seven working days, the day of receipt the first (Monday 2 November to Tuesday 10 November, 24:00).
    assert (period["state"], period["by"], period["promised"], period["due"]) == (
        "open",
        "law",
        "2026-11-11T00:00:00+09:00",
        "2026-11-11T00:00:00+09:00",
    )
    types = [entry["type"] for entry in body["history"]["items"]]
    assert (types[0], "deadline.started" in types) == ("complaint.received", True)
    assert body["history"]["items"][0]["data"] == {"channel": "web", "kind": "inquiry"}
    for personal in (*APPLICANT.values(), "가로등", "_ref"):
        assert personal not in found.text

    assert (await world.ask("web", "GET", period["explain"])).status_code == 200
    unchanged = await world.ask("web", "GET", f"/v1/cases/{case}", headers={"If-None-Match": found.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    english = await world.ask("web", "GET", f"/v1/cases/{case}", headers={"Accept-Language": "en"})
    assert english.json()["deadlines"][0]["says"] != body["deadlines"][0]["says"]


async def test_a_batch_of_a_thousand_is_answered_one_by_one(world: World) -> None:
    head = {"specversion": "1.0", "source": "web", "tenant": "seoul", "time": MONDAY, "type": "complaint.received"}
    events = [{**head, "id": f"b-{n}", "data": COMPLAINT} for n in range(1_000)]
    events[17] = {**events[17], "type": "complaint.unheard"}
    answer = await world.ask("web", "POST", "/v1/events", json=events, headers={"Accept-Language": "ko"})
    statuses = [row["status"] for row in answer.json()]
    assert statuses == ["accepted"] * 17 + ["refused"] + ["accepted"] * 982
    assert answer.json()[17]["detail"] == "그런 종류의 이벤트는 없습니다."
    many = await world.ask("web", "POST", "/v1/events", json=[*events, events[0]])
    assert (many.status_code, many.json()["code"]) == (422, "wrong_number")


async def test_problems_point_at_the_body_and_speak_the_language_of_the_reader(world: World) -> None:
    """Pointers are those of the resource, not of the event it becomes; no value comes back."""
    wrong = {**COMPLAINT, "channel": "비둘기 010-1234-5678", "time": "yesterday"}
    for language, detail in (
        ("ko-KR,ko;q=0.9,en;q=0.8", "시각은 2026-03-12T18:00:00+09:00과 같이"),
        ("en", "write a time as RFC 3339"),
        ("", "write a time as RFC 3339"),
    ):
        answer = await world.ask("web", "POST", "/v1/complaints", json=wrong, headers={"Accept-Language": language})
        body = answer.json()
        assert (answer.status_code, body["pointer"]) == (422, "/time")
        assert detail in body["detail"]
        assert "비둘기" not in answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["content-language"] == ("ko" if language.startswith("ko") else "en")
    answer = await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, "channel": "dove"})
    assert (answer.status_code, answer.json()["pointer"], answer.json()["code"]) == (422, "/channel", "literal_error")
    answer = await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, "case": "_all"})
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/case")
    # Seoul registers nothing without a name and an address.
    answer = await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, "applicant": {}})
    assert (answer.status_code, answer.json()["code"]) == (422, "anonymous")


@pytest.mark.parametrize("time", [None, 7, "", "soon", ["2026-11-02T10:00:00+09:00"], {}])
async def test_a_time_that_is_none_is_refused_before_anything_is_kept(world: World, time: Any) -> None:
    answer = await world.ask("web", "POST", "/v1/complaints", json={**COMPLAINT, "case": "t-1", "time": time})
    assert (answer.status_code, answer.json()["pointer"]) == (422, "/time"), answer.text
    assert await world.pool.fetchval("select count(*) from intake.reservations where case_id = 't-1'") == 0


async def test_appointments_callbacks_faults_and_commendations_become_events(world: World) -> None:
    """Each is on record as the event of its type, and may be read as a case."""
    at = "2026-11-03T14:00:00+09:00"
    booked = await world.ask("desk", "POST", "/v1/appointments", json={"at": at, "officer": "k-7", "case": "v-1"})
    assert booked.status_code == 201
    asked = await world.ask(
        "desk",
        "POST",
        "/v1/callbacks",
        json={
            "via": "phone",
            "case": "cb-1",
            "memo": {"caller": "홍길동", "phone": "02-000-0000", "reply_wanted": True},
        },
    )
    assert asked.status_code == 201
    later = {"wanted_at": "2026-11-02T15:00:00+09:00"}
    assert (await world.ask("desk", "POST", "/v1/callbacks/cb-1/rescheduled", json=later)).status_code == 201
    made = await world.ask("desk", "POST", "/v1/callbacks/cb-1/made", json={"by": "k-7", "reached": True})
    assert made.status_code == 201
    praise = await world.ask(
        "web",
        "POST",
        "/v1/commendations",
        json={"channel": "web", "title": "고맙습니다", "applicant": APPLICANT, "case": "p-1"},
    )
    assert praise.status_code == 201
    await filed(world, "f-1")
    fault = await world.ask("web", "POST", "/v1/cases/f-1/faults", json={"ground": "late", "text": "늦었습니다"})
    assert fault.status_code == 201

    gone = await world.ask("desk", "DELETE", "/v1/appointments/v-1", headers={"Idempotency-Key": '"once"'})
    again = await world.ask("desk", "DELETE", "/v1/appointments/v-1", headers={"Idempotency-Key": '"once"'})
    assert (gone.status_code, gone.json()) == (200, again.json())
    twice = await world.ask("desk", "DELETE", "/v1/appointments/v-1")
    assert (twice.status_code, twice.json()["code"]) == (404, "unknown_appointment")

    rows = await world.pool.fetch('select "case", type, data from read.case_facts order by sequence')
    assert [(row["case"], row["type"]) for row in rows] == [
        ("v-1", "appointment.booked"),
        ("cb-1", "callback.requested"),
        ("cb-1", "callback.rescheduled"),
        ("cb-1", "callback.made"),
        ("p-1", "complaint.received"),
        ("f-1", "complaint.received"),
        ("f-1", "fault.reported"),
        ("v-1", "appointment.cancelled"),
    ]
    assert '"kind": "commendation"' in rows[4]["data"]


async def test_lists_go_on_from_a_cursor_and_never_show_what_is_anothers(world: World) -> None:
    for number in range(7):
        await filed(world, f"w-{number}")
    await filed(world, "d-1", "desk")
    await assigned(world, "w-2", "도로과", "k-7")
    await said(world, "w-3", "complaint.completed", outcome="answered", by="k-7")
    await world.folded()

    pages, cursor = [], None
    while True:
        query = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = (await world.ask("web", "GET", "/v1/cases", params=query)).json()
        pages.append([row["case"] for row in page["items"]])
        cursor = page.get("next")
        if cursor is None:
            break
    assert pages == [["w-6", "w-5", "w-4"], ["w-3", "w-2", "w-1"], ["w-0"]]

    async def cases(**query: Any) -> list[str]:
        answer = await world.ask("web", "GET", "/v1/cases", params=query)
        assert answer.status_code == 200, answer.text
        return [row["case"] for row in answer.json()["items"]]

    assert await cases(state="closed") == ["w-3"]
    assert await cases(state="open") == ["w-6", "w-5", "w-4", "w-2", "w-1", "w-0"]
    assert await cases(department="도로과") == await cases(officer="k-7") == ["w-2"]
    assert await cases(promise="statutory-period", due_before="2026-11-11T00:00:01+09:00", limit=2) == ["w-6", "w-5"]
    assert await cases(promise="statutory-period", due_before="2026-11-11T00:00:00+09:00") == []
    assert await cases(state="late") == await cases(kind="disclosure") == await cases(receipt="nothing") == []
    receipt = (await world.ask("web", "GET", "/v1/cases/w-5")).json()["receipt"]
    assert await cases(receipt=receipt) == ["w-5"]
    for wrong in ("x", "eyJ9", "W10", "WyIxIiwyXQ", "W1siYSJdXQ"):
        answer = await world.ask("web", "GET", "/v1/cases", params={"cursor": wrong})
        assert (answer.status_code, answer.json()["code"]) == (422, "wrong_cursor")

    assert (await world.ask("desk", "GET", "/v1/cases/w-1")).json()["code"] == "unknown_case"
    assert [row["case"] for row in (await world.ask("desk", "GET", "/v1/cases")).json()["items"]] == ["d-1"]
    assert (await world.ask("miryang", "GET", "/v1/cases")).json()["items"] == []


async def test_a_department_reads_its_own_cases(world: World) -> None:
    await filed(world, "w-1")
    await filed(world, "w-2", departments=["도로과", "공원과"])
    await assigned(world, "w-1", "도로과", "k-7")
    await world.folded()

    async def seen(who: dict[str, Any]) -> list[str]:
        return [row["case"] for row in (await world.staff(who, "GET", "/v1/cases")).json()["items"]]

    # What nobody has yet is seen by the departments that the petition names.
    assert await seen(CLERK) == ["w-2", "w-1"]
    assert await seen(OTHER) == []
    assert await seen(AUDIT) == ["w-2", "w-1"]
    assert (await world.staff(OTHER, "GET", "/v1/cases/w-1")).status_code == 404
    await said(world, "w-1", "complaint.transferred", to_department="세무과", reason="소관")
    assert (await seen(CLERK), await seen(OTHER)) == (["w-2"], ["w-1"])
    # What came for an officer is that officer's, and the department's once it is known.
    callback = {"via": "visit", "officer": "k-7", "memo": {"reply_wanted": True}, "case": "cb-1"}
    assert (await world.ask("desk", "POST", "/v1/callbacks", json=callback)).status_code == 201
    assert await seen(CLERK) == ["cb-1", "w-2"]
    assert await seen({**CLERK, "staff": "k-8"}) == ["w-2"]
    await world.pool.execute("insert into notifier.staff values ('seoul', 'k-7', '도로과', false)")
    assert await seen({**CLERK, "staff": "k-8"}) == ["cb-1", "w-2"]
    # A clerk states what happens in the own department's cases, as the system `desk`; a finding is not a clerk's.
    completed = {"specversion": "1.0", "id": "e-1", "source": "desk", "type": "complaint.completed", "time": MONDAY}
    completed |= {"subject": "w-1", "tenant": "seoul", "data": {"outcome": "answered", "by": "k-9"}}
    refused = await world.staff(CLERK, "POST", "/v1/events", json=completed)
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown_case")
    assert (await world.staff(OTHER, "POST", "/v1/events", json=completed)).status_code == 200
    # Staff share a source, but neither what they published nor their keys.
    assert (await world.staff(OTHER, "GET", "/v1/events/desk/e-1")).status_code == 200
    assert (await world.staff(CLERK, "GET", "/v1/events/desk/e-1")).status_code == 404
    key = {"Idempotency-Key": '"1"'}
    answers = [await world.staff(who, "POST", "/v1/complaints", json=COMPLAINT, headers=key) for who in (CLERK, OTHER)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["case"] != answers[1].json()["case"]
    finding = {**completed, "id": "e-2", "type": "fault.dismissed", "data": {"ground": "late", "reason": "태풍"}}
    refused = await world.staff(OTHER, "POST", "/v1/events", json=[finding])
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    approver = {**OTHER, "roles": ["clerk", "approver"]}
    assert (await world.staff(approver, "POST", "/v1/events", json=[finding])).json()[0]["status"] == "accepted"


async def test_who_is_complained_of_does_not_see_it(world: World) -> None:
    """Neither the departments that it names, nor whoever had the case that it is about; not even where it is theirs."""
    await filed(world, "w-1")
    await assigned(world, "w-1", "도로과", "k-7")
    kinds = ("corruption_report", "grievance", "service_grievance", "handling_grievance")
    for kind in kinds:
        case = kind.replace("_", "-")
        await filed(world, f"{case}-1", kind=kind, about="w-1")
        await assigned(world, f"{case}-1", "도로과", "k-8")
        await filed(world, f"{case}-2", kind=kind, departments=["세무과"])
        await assigned(world, f"{case}-2", "세무과", "k-9")
        await filed(world, f"{case}-3", kind=kind)
    await world.folded()

    async def seen(who: dict[str, Any]) -> set[str]:
        """What is listed, after a look at each by its name."""
        listed = {row["case"] for row in (await world.staff(who, "GET", "/v1/cases")).json()["items"]}
        for case in every:
            for path in (f"/v1/cases/{case}", f"/v1/cases/{case}/history"):
                assert (await world.staff(who, "GET", path)).status_code == (200 if case in listed else 404)
        return listed

    every = {f"{kind.replace('_', '-')}-{number}" for kind in kinds for number in (1, 2, 3)}
    assert await seen(CLERK) == {"w-1"}
    assert await seen(OTHER) == set()
    assert await seen(AUDIT) == {*every, "w-1"}
    # Nor an auditor who had the case complained of, nor one of a department that is named.
    assert await seen({**AUDIT, "staff": "k-7"}) == {"w-1", *(case for case in every if not case.endswith("-1"))}
    assert await seen({**AUDIT, "department": "세무과"}) == {
        "w-1",
        *(case for case in every if not case.endswith("-2")),
    }
    # Reclassified it stays what it was to those whom it names.
    await said(world, "grievance-2", "complaint.classified", kind="inquiry")
    assert await seen(OTHER) == set()


async def test_a_fault_is_hidden_from_whom_it_names_with_all_that_follows(world: World) -> None:
    await filed(world, "w-1")
    await assigned(world, "w-1", "도로과", "k-7")
    await world.pool.execute(
        "insert into notifier.staff values ('seoul', 'k-7', '도로과', false), ('seoul', 'k-30', '공원과', false)"
    )
    report = await said(world, "w-1", "fault.reported", "desk", ground="unkind", via="phone", officer="k-7")
    await said(world, "w-1", "fault.confirmed", "desk", about=report, ground="unkind", via="phone")
    await world.folded()

    async def told(who: dict[str, Any] | str) -> tuple[bool, bool]:
        """Whether the case may be read, and whether anything in it tells of the fault."""
        if isinstance(who, str):
            answer = await world.ask(who, "GET", "/v1/cases/w-1")
        else:
            answer = await world.staff(who, "GET", "/v1/cases/w-1")
        return answer.status_code == 200, "fault" in answer.text

    assert await told(AUDIT) == (True, True)
    assert await told(CLERK) == (True, False)  # the officer's own department
    assert await told({**CLERK, "staff": "k-8", "roles": ["head"]}) == (True, False)
    assert await told({**AUDIT, "staff": "k-7"}) == (True, False)
    assert await told("web") == (True, False)  # the owner, which did not report it
    # Something did follow, or hiding it would show nothing.
    assert await world.pool.fetchval("select count(*) from read.case_decisions where data::text like '%fault%'") > 0
    await said(world, "w-1", "complaint.transferred", to_department="공원과", reason="소관")
    assert await told({**CLERK, "department": "공원과", "staff": "k-31"}) == (True, True)
    void = {"specversion": "1.0", "id": "void-1", "source": "desk", "type": "fact.voided", "subject": "w-1"}
    void |= {"tenant": "seoul", "time": MONDAY, "data": {"source": "desk", "id": report, "code": "typing_error"}}
    assert (await world.ask("desk", "POST", "/v1/events", json=void)).status_code == 200
    await world.folded()
    assert await told("web") == (True, False)
    assert "void-1" in (await world.staff(AUDIT, "GET", "/v1/cases/w-1")).text
    assert "void-1" not in (await world.ask("web", "GET", "/v1/cases/w-1")).text


async def test_keys_are_two_at_most_and_over_when_revoked(world: World) -> None:
    async with world.pool.acquire() as connection:
        second = await keys.issue(connection, "seoul", "web", instant(MONDAY))
        with pytest.raises(keys.WrongKey, match="two live keys"):
            await keys.issue(connection, "seoul", "web", instant(MONDAY))
        first = keys.digest(world.keys["web"]).hex()[:12]
        await keys.revoke(connection, "seoul", "web", first, instant(MONDAY))
        with pytest.raises(keys.WrongKey, match="no live key"):
            await keys.revoke(connection, "seoul", "web", first, instant(MONDAY))
        assert [key.revoked is None for key in await keys.listed(connection, "seoul", "web")].count(True) == 1
    refused = await world.ask("web", "GET", "/v1/cases")
    assert (refused.status_code, refused.json()["code"]) == (401, "unknown_key")
    world.keys["web"] = second
    assert (await world.ask("web", "GET", "/v1/cases")).status_code == 200


async def test_a_token_that_is_not_right_counts_for_nothing(world: World) -> None:
    for claims in (
        {"iss": "https://sign-on.elsewhere.example"},
        {"aud": "another"},
        {"exp": 1},
        {"nbf": 4_000_000_000},
        {"tenant": "../seoul"},
        {"tenant": None},
        {"staff": "k 7"},
        {"department": "02-1234-5678 9"},
        {"sub": None},
    ):
        answer = await world.staff({**CLERK, **claims}, "GET", "/v1/cases")
        assert (answer.status_code, answer.json()["code"]) == (401, "wrong_token"), claims


async def test_tokens_of_other_hands_and_roles(world: World) -> None:
    """Signed by nobody, by another, or by a secret; without a role or a department."""
    from joserfc import jwt
    from joserfc.jwk import ECKey, OctKey

    right = world.token(**CLERK)
    head, body, _ = right.split(".")
    claims = {"iss": "x", **CLERK}
    other = jwt.encode({"alg": "ES256", "kid": "k1"}, claims, ECKey.generate_key("P-256"))
    secret = jwt.encode({"alg": "HS256", "kid": "k1"}, claims, OctKey.generate_key(256))
    for token in (f"{head}.{body}.", f"eyJhbGciOiJub25lIn0.{body}.", other, secret, right[:-4] + "AAAA", "eyJ.e.e"):
        answer = await world.http.get("/v1/cases", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "wrong_token")
    for wrong, code in (({"roles": ["king"]}, "not_allowed"), ({"roles": ["clerk"]}, "no_department")):
        answer = await world.staff(wrong, "GET", "/v1/cases")
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    for method, path in (
        ("POST", "/v1/complaints"),
        ("GET", "/v1/cases"),
        ("GET", "/v1/cases/x"),
        ("POST", "/v1/check"),
    ):
        stranger = await world.staff({**CLERK, "tenant": "atlantis"}, method, path, json=COMPLAINT)
        assert (stranger.status_code, stranger.json()["code"]) == (403, "unknown_tenant")


async def test_earlier_cases_of_a_petitioner_are_found_on_record(
    world: World, settings: Callable[..., Settings]
) -> None:
    """For staff, of those that they may read; every question leaves a record, and no system may ask."""
    for case in ("e-1", "e-2", "e-3", "e-4"):
        await filed(world, case)
    await filed(world, "e-5", applicant={"name": "김철수", "address": "서울시 중구 2", "mobile": "010-0000-0002"})
    for case in ("e-1", "e-4", "e-5"):
        await assigned(world, case, "도로과", "k-7")
    await assigned(world, "e-2", "세무과", "k-9")
    answer = await world.staff(CLERK, "GET", "/v1/cases/e-4/earlier")
    assert [row["case"] for row in answer.json()["items"]] == ["e-1"]
    everything = await world.staff(AUDIT, "GET", "/v1/cases/e-4/earlier")
    assert [row["case"] for row in everything.json()["items"]] == ["e-3", "e-2", "e-1"]
    assert (await world.staff(OTHER, "GET", "/v1/cases/e-4/earlier")).status_code == 404
    assert (await world.ask("web", "GET", "/v1/cases/e-4/earlier")).status_code == 403
    records = await world.pool.fetch("select reader, purpose, kind, ref from vault.access order by number")
    assert [tuple(row) for row in records] == [
        ("clerk/k-7@127.0.0.1", "handle:repeats", "case", "e-4"),
        ("audit/k-20@127.0.0.1", "confidential_report:repeats", "case", "e-4"),
    ]
    keys = settings("intake").vault_keys
    assert keys is not None
    async with world.pool.acquire() as connection:
        assert await Vault(keys).verify_access_chain(connection, "seoul") is None


async def test_who_filed_a_confidential_case_shows_in_no_list_of_repeats(world: World) -> None:
    """Neither from the confidential case, nor from one that the same person filed under their name."""
    await filed(world, "c-1")
    await filed(world, "c-2", kind="corruption_report")
    await filed(world, "c-3")
    for case in ("c-1", "c-2", "c-3"):
        await assigned(world, case, "도로과", "k-7")
    assert (await world.staff(CLERK, "GET", "/v1/cases/c-2")).status_code == 200  # it lies with that department
    refused = await world.staff(CLERK, "GET", "/v1/cases/c-2/earlier")
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    listed = await world.staff(CLERK, "GET", "/v1/cases/c-3/earlier")
    assert [row["case"] for row in listed.json()["items"]] == ["c-1"]
    for case, earlier in (("c-2", ["c-1"]), ("c-3", ["c-2", "c-1"])):
        listed = await world.staff(AUDIT, "GET", f"/v1/cases/{case}/earlier")
        assert [row["case"] for row in listed.json()["items"]] == earlier
    records = await world.pool.fetch("select reader, purpose, kind, ref from vault.access order by number")
    assert [tuple(row) for row in records] == [
        ("clerk/k-7@127.0.0.1", "handle:repeats", "refused.case", "c-2"),
        ("clerk/k-7@127.0.0.1", "handle:repeats", "case", "c-3"),
        ("audit/k-20@127.0.0.1", "confidential_report:repeats", "case", "c-2"),
        ("audit/k-20@127.0.0.1", "confidential_report:repeats", "case", "c-3"),
    ]


async def test_every_example_of_the_document_is_accepted(world: World) -> None:
    await clock.step(world.pool, instant("2026-11-03T10:00:00+09:00"))
    for path, example in examples.RESOURCES.items():
        FACTS[BODIES[path]].model_validate({"kind": "commendation", **example} if path == "commendations" else example)
        case = "callbacks-1" if "callbacks" in path else "complaints-1"
        body = example if "{case}" in path else {**example, "case": f"{path}-1"}
        answer = await world.ask("web", "POST", f"/v1/{path.format(case=case)}", json=body)
        assert answer.status_code == 201, (path, answer.text)
    later = {"time": "2026-11-02T10:00:00+09:00"}
    events = [{**examples.COMPLAINT_EVENT, **later}, {**examples.COMPLETED_EVENT, **later}]
    assert [row["status"] for row in (await world.ask("web", "POST", "/v1/events", json=events)).json()] == [
        "accepted",
        "accepted",
    ]


async def test_the_reference_is_a_page_without_anything_from_outside(world: World) -> None:
    for path in ("/docs", "/docs/events"):
        page = await world.http.get(path)
        assert page.status_code == 200
        assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'")
        assert len(page.headers.get_list("content-security-policy")) == 1
        links = re.findall(r'(?:src|href)="([^"#]+)', page.text)
        assert all(link.startswith("/") for link in links), links
        assert "<script" not in page.text
        for link in set(links):
            assert (await world.http.get(link)).status_code == 200
    assert "POST /v1/complaints" in (await world.http.get("/docs")).text
    for type in FACTS:
        assert f'id="{type}"' in (await world.http.get("/docs/events")).text
    assert (await world.http.get("/openapi.json")).json()["openapi"].startswith("3.1")


async def test_who_asks_too_much_is_told_how_long_to_wait(
    settings: Callable[..., Settings], tenants: dict[str, Tenant], nc: Client, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    """By rate and by requests under way, each caller by itself."""
    async with AsyncExitStack() as stack:
        limits = {"http_rate": 1.0, "http_concurrency": 1}
        world = await start(stack, settings, tenants, nc, pool, tmp_path, **limits)
        answers = await asyncio.gather(*(world.ask("web", "POST", "/v1/complaints", json=COMPLAINT) for _ in range(20)))
        taken = [answer for answer in answers if answer.status_code == 201]
        held = [answer for answer in answers if answer.status_code == 429]
        assert (bool(taken), bool(held), len(taken) + len(held)) == (True, True, 20)
        assert {answer.json()["code"] for answer in held} <= {"too_many_at_once", "too_many_requests"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in held)
        assert (await world.ask("desk", "GET", "/v1/cases")).status_code == 200
