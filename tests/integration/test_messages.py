"""What people are written, on real servers: every message that a charter wants, in its words, and not too many."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest
import test_notifier
import yaml
from nats.aio.client import Client
from test_notifier import AFTER_HOLD, DUE, EMAIL, MOBILE, NOW, OWED, RUN, World, _lose_ledger, _none, working

from services.chassis import clock
from services.chassis.health import Health
from services.chassis.links import Link, Signer
from services.chassis.settings import ROOT, Settings
from services.rules.instants import DAY, HOUR, MINUTE, Instant, instant

Eventually = Callable[..., Awaitable[Any]]
gateway, world = test_notifier.gateway, test_notifier.world  # fixtures
PUBLIC = "https://minwon.example"
RECEIPT = "000000012-3"
OTHER = RUN | {"promise": "anseong-direction"}
STAFF = {
    "kim": {"name": "김담당", "phone": "02-000-0001", "email": "kim@city.example"},
    "park": {"name": "박과장", "phone": "02-000-0002", "email": "park@city.example"},
    "choi": {"name": "최감사", "phone": "02-000-0003", "email": "choi@city.example"},
}


@pytest.fixture
async def told(
    world: World,
    settings: Callable[..., Settings],
    connect: Callable[[str], Awaitable[Client]],
    tmp_path: Path,
) -> Callable[..., Any]:
    """told(**policy): the notifier at work, with links and such a policy for messages."""
    nc = await connect("notifier")

    def at_work(**policy: Any) -> Any:
        tenants = yaml.safe_load((ROOT / "deploy" / "tenants.yaml").read_bytes())
        for fields in tenants.values():
            fields["messages"] = {"audit": "choi", **policy}
        file = tmp_path / "tenants.yaml"
        file.write_text(json.dumps(tenants), encoding="utf-8")
        return working(world, settings("notifier", tenants_file=file, public_url=PUBLIC), nc, Health("notifier"))

    return at_work


@pytest.fixture
async def running(world: World, told: Callable[..., Any]) -> AsyncIterator[World]:
    async with told():
        yield world


async def opened(world: World, case: str = "c1", receipt: str = RECEIPT, **more: Any) -> None:
    """A case of the one citizen, with the officer kim in charge."""
    person = await world.person(mobile=MOBILE, email=EMAIL)
    await world.pool.execute("INSERT INTO intake.cases VALUES ($1, $2, 'web', $3)", world.tenant, case, receipt)
    await world.fact("complaint.received", {"kind": "inquiry", **person, **more}, case)


async def assigned(world: World, case: str = "c1") -> None:
    await world.fact("complaint.assigned", {"department": "토지과", "officer": "kim", "approver": "park"}, case)


async def staffed(world: World, *names: str) -> None:
    """Staff whom the log describes: park heads the department, kim works below."""
    for name in names:
        async with world.pool.acquire() as conn, conn.transaction():
            await world.vault.seal_staff(cast(asyncpg.Connection, conn), world.tenant, name, STAFF[name])
        described = {"staff": name, "department": "감사과" if name == "choi" else "토지과", "has_email": True}
        more = {"kim": {"superior": "park"}, "park": {"head": True}}.get(name, {})
        await world.fact("staff.described", described | more, "_all")


async def asked_for(world: World, code: str, clause: str, case: str = "c1") -> None:
    """What sla_timer writes where a clause wants a message about the last fact."""
    cause = {"source": "web", "id": f"e{world._numbers['fact']}"}
    data = {"promise": clause, "occurrence": f"web/{cause['id']}", "code": code, "cause": cause}
    await world.decide("notice.requested", data, case)


async def sealed(world: World, text: str, ref: str | None = None) -> str:
    async with world.pool.acquire() as conn, conn.transaction():
        return await world.vault.seal_text(cast(asyncpg.Connection, conn), world.tenant, ref, text)


def sent(world: World, means: str = "sms") -> list[str]:
    """The texts that a gateway took, in their order."""
    return [line["text"] for line in world.gateway.texts() if line["means"] == means]


def to(world: World, staff: str) -> list[tuple[str, str]]:
    """(subject, text) of the mails to a member of staff."""
    address = STAFF[staff]["email"]
    return [(line["subject"], line["text"]) for line in world.gateway.texts() if line["to"] == address]


async def states(world: World, *templates: str) -> list[tuple[str, str | None]]:
    rows = await world.pool.fetch(
        "SELECT state, reason FROM notifier.notices WHERE template = ANY($1::text[]) ORDER BY number", list(templates)
    )
    return [(row["state"], row["reason"]) for row in rows]


# The clauses that want a message: anseong-result-sms, mapo-home-visit, mapo-rejection-notice, mapo-real-name,
# seoul-extension-notice, seoul-real-name, yeonje-identified


async def test_anseong_sends_a_result_by_text_to_whoever_wanted_mail(running: World, eventually: Eventually) -> None:
    await opened(running, notify_by="email")
    await running.fact("complaint.completed", {"outcome": "answered", "by": "kim"})
    await asked_for(running, "result_sms", "anseong-result-sms")
    await eventually(running.quiet, 60)
    (text,) = sent(running)
    assert text == f"[안성시] 민원 처리가 끝났습니다. 결과: 답변 완료. 접수번호 {RECEIPT}"
    assert len([mail for mail in sent(running, "email") if "민원 처리가 끝났습니다" in mail]) == 1


async def test_mapo_leaves_the_name_and_number_of_who_came_home(running: World, eventually: Eventually) -> None:
    running.tenant = "mapo"
    await staffed(running, "park")
    await opened(running)
    await running.fact("visit.home_visited", {"officer": "park"})
    await asked_for(running, "home_visit", "mapo-home-visit")
    await eventually(running.quiet, 60)
    assert sent(running)[-1].split("\n")[:3] == [
        "[마포구] 댁을 찾아뵌 직원의 이름과 연락처를 남깁니다.",
        "방문 직원 토지과 박과장 02-000-0002",
        f"접수번호 {RECEIPT}",
    ]


async def test_mapo_refuses_with_the_law_the_reason_and_the_ways_against_it(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    running.tenant = "mapo"
    await opened(running, kind="statutory")
    told = {"reason": "도로에 접한 너비가\r\n모자랍니다.", "remedies": "이의신청(60일 이내)\n행정심판(90일 이내)"}
    refs = {f"{name}_ref": await sealed(running, text) for name, text in told.items()}
    await running.fact("complaint.rejected", {"law": "건축법 제11조 제4항", **refs})
    await asked_for(running, "rejection", "mapo-rejection-notice")
    await eventually(running.quiet, 60)
    assert sent(running)[-1].split("\n")[1:5] == [
        "근거 법령: 건축법 제11조 제4항",
        "이유: 도로에 접한 너비가; 모자랍니다.",
        "불복하시는 방법: 이의신청(60일 이내); 행정심판(90일 이내)",
        "통지를 받은 날부터 60일 안에 이의를 신청하실 수 있습니다.",
    ]
    readings = await pool.fetch("SELECT purpose, kind FROM vault.access WHERE kind = 'text'")
    assert [tuple(row) for row in readings] == [("office_reasons:rejection", "text")] * 2
    assert "너비" not in repr([dict(row) for row in await pool.fetch("TABLE notifier.notices")])


@pytest.mark.parametrize(
    ("city", "signature"),
    [
        ("seoul", ["담당 토지과 김담당 02-000-0001", "결재 토지과 박과장 02-000-0002"]),
        (
            "mapo",
            ["담당 토지과 김담당 02-000-0001", "전자우편 kim@city.example", "상급자 토지과 박과장 02-000-0002"],
        ),
        ("anseong", ["담당 토지과 김담당 02-000-0001"]),
    ],
)
async def test_a_city_names_who_answers_as_its_charter_says(
    running: World, eventually: Eventually, city: str, signature: list[str]
) -> None:
    """seoul-real-name and mapo-real-name: on each of the papers that the clause names."""
    running.tenant = city
    await staffed(running, "kim", "park")
    await opened(running)
    await assigned(running)
    await running.fact("complaint.supplement_requested", {"respond_by": "2026-03-20", "dispatched_at": DUE})
    extended = {"ground": "cooperation", "amount": 5, "unit": "days"}
    await running.fact("complaint.extended", extended)
    cause = {"source": "web", "id": f"e{running._numbers['fact']}"}
    await running.decide("deadline.moved", {**RUN, "promise": "statutory-period", "cause": cause})
    await eventually(running.quiet, 60)
    await running.fact("complaint.completed", {"outcome": "granted", "by": "kim"})
    await running.fact("complaint.reopened", {})
    await running.fact("complaint.rejected", {"law": "민원처리법 제27조"})
    await asked_for(running, "signed_document", f"{city}-real-name")
    await eventually(running.quiet, 60)
    papers = [
        text
        for text in sent(running)
        if any(word in text for word in ("보완이 필요", "연장되어", "처리가 끝났", "받아들일 수 없"))
    ]
    assert len(papers) == 4
    for paper in papers:
        assert paper.split("\n")[-len(signature) :] == signature
    assert [state for state, _ in await states(running, "signed_document")] == []


async def test_seoul_tells_the_reason_and_the_length_of_an_extension(running: World, eventually: Eventually) -> None:
    running.tenant = "seoul"
    await opened(running, notify_by="email", language="en")
    reason = {"reason_ref": await sealed(running, "The ministry must answer first.")}
    await running.fact("complaint.extended", {"ground": "cooperation", "amount": 5, "unit": "days", **reason})
    cause = {"source": "web", "id": f"e{running._numbers['fact']}"}
    await running.decide("deadline.moved", {**RUN, "promise": "seoul-statutory-period", "cause": cause})
    await asked_for(running, "extension", "seoul-extension-notice")
    await eventually(running.quiet, 60)
    assert sent(running, "email")[-1].split("\n")[:3] == [
        "[Seoul] We need 5 day(s) more for your petition and will answer by Thu 12 March, 6:00 pm.",
        "Reason: other agencies must take part.",
        "In detail: The ministry must answer first.",
    ]


async def test_yeonje_asks_for_what_is_missing(running: World, eventually: Eventually) -> None:
    running.tenant = "yeonje"
    await opened(running, has_name=True, has_address=False)
    await asked_for(running, "details_missing", "yeonje-identified")
    await eventually(running.quiet, 60)
    assert sent(running)[-1].split("\n")[:2] == [
        "[연제구] 접수하신 민원에 저희가 알아야 할 정보가 빠져 있습니다.",
        "알려 주실 것: 주소.",
    ]


# Links


async def test_messages_lead_to_the_case_and_to_the_survey(
    running: World, eventually: Eventually, settings: Callable[..., Settings], pool: asyncpg.Pool
) -> None:
    await opened(running, notify_by="email")
    await pool.execute("INSERT INTO intake.link_epochs VALUES ($1, 'c1', 3)", running.tenant)
    await running.fact("complaint.completed", {"outcome": "answered", "by": "kim"})
    await eventually(running.quiet, 60)
    _, result = sent(running, "email")
    follow, survey = (line.rpartition(" ")[2] for line in result.split("\n") if PUBLIC in line)
    assert survey == f"{follow}/survey"
    address, _, last = follow.rpartition("/")
    assert address == f"{PUBLIC}/ko/anseong/p"
    link = Link.parse(last)
    assert link is not None
    key = settings("notifier").pages_key_file
    assert key is not None
    assert (link.receipt, Signer.of_file(key).holds(link, "anseong", "c1", 3)) == (RECEIPT, True)


async def test_a_short_text_stays_short_without_its_link(running: World, eventually: Eventually) -> None:
    await opened(running)
    await running.fact("complaint.completed", {"outcome": "answered", "by": "kim"})
    await eventually(running.quiet, 60)
    receipt, result = (line for line in running.gateway.texts() if line["means"] == "sms")
    assert (receipt["kind"], receipt["text"]) == ("SMS", f"[안성시] 민원이 접수되었습니다. 접수번호 {RECEIPT}")
    assert (result["kind"], PUBLIC in result["text"]) in (("SMS", False), ("LMS", True))


# Not a flood


async def test_what_one_event_broke_is_one_message(running: World, eventually: Eventually, pool: asyncpg.Pool) -> None:
    await opened(running)
    for run in (RUN, OTHER):
        await running.decide("deadline.breached", run)
        await running.decide("remedy.proposed", OWED | {"key": run["promise"], "incident": run["promise"]})
    await eventually(running.quiet, 60)
    await clock.step(pool, AFTER_HOLD)
    await eventually(running.quiet, 60)
    assert sent(running)[1:] == [
        "\n".join(
            (
                "[안성시] 약속한 것을 지키지 못했습니다. 진심으로 사과드립니다.",
                "약속: 문의하신 내용에 답변. 기한: 3월 12일(목) 오후 6시까지.",
                "20,000원 상당의 보상을 드립니다. 따로 신청하지 않으셔도 됩니다.",
                "약속: 처리 방향을 전화로 알림. 기한: 3월 12일(목) 오후 6시까지.",
                f"접수번호 {RECEIPT}",
                *[line for line in sent(running)[1].split("\n") if PUBLIC in line],
            )
        )
    ]
    assert await states(running, "breach", "compensation") == [("suppressed", "merged")] * 4
    assert await states(running, "breaches") == [("sent", "http_200")]
    events = [one for one in await running._stored("NOTICES", "notices.>") if one["type"] == "notice.suppressed"]
    whole = await pool.fetchval("SELECT key FROM notifier.notices WHERE template = 'breaches'")
    assert {(one["data"]["outcome"], one["data"]["into"]) for one in events} == {("merged", whole)}
    await running.told()  # each as its contract says

    # One of the two turns out to have been kept: that one is corrected, and what was owed for it is taken back.
    later = "2026-03-12T19:30:00+09:00"  # so that both are folded before either goes
    await running.decide("breach.retracted", RUN, time=later)
    await running.decide("remedy.withdrawn", OWED | {"key": RUN["promise"], "incident": RUN["promise"]}, time=later)
    await eventually(running.quiet, 60)
    await clock.step(pool, instant(later))
    await eventually(running.quiet, 60)
    assert sent(running)[2].split("\n")[:4] == [
        "[안성시] 기한을 지키지 못했다는 앞선 안내를 바로잡습니다. 혼란을 드려 죄송합니다.",
        "늦게 전해진 기록으로 제때 지킨 것이 확인되었습니다: 문의하신 내용에 답변.",
        "이에 따라 앞서 안내한 보상은 드리지 않게 되었습니다.",
        f"접수번호 {RECEIPT}",
    ]
    assert await states(running, "correction", "compensation_withdrawn") == [("suppressed", "merged")] * 2
    assert await states(running, "corrections") == [("sent", "http_200")]


async def test_what_is_taken_back_in_time_is_left_out_of_what_is_told_together(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await opened(running)
    for run in (RUN, OTHER):
        await running.decide("deadline.breached", run)
    await eventually(running.quiet, 60)
    night = instant("2026-03-12T22:00:00+09:00")
    await pool.execute("UPDATE notifier.notices SET release_at = $1 WHERE template = 'breach'", night)
    await clock.step(pool, night)
    await eventually(running.quiet, 60)
    assert await states(running, "breaches") == [("held", None)]  # until morning
    await running.decide("breach.retracted", RUN)
    await eventually(running.quiet, 60)
    await clock.step(pool, night + 11 * HOUR)
    await eventually(running.quiet, 60)
    assert "처리 방향을 전화로 알림" in sent(running)[1]
    assert "문의하신 내용에 답변" not in sent(running)[1]
    assert await states(running, "correction") == []

    again = {"occurrence": "e2", "due": "2026-03-13T21:00:00+09:00"}
    await running.decide("deadline.breached", RUN | again, cause=0)
    await running.decide("deadline.breached", OTHER | again, cause=0)
    await eventually(running.quiet, 60)
    await clock.step(pool, night + DAY)
    await eventually(running.quiet, 60)
    assert (await states(running, "breaches"))[1:] == [("held", None)]
    await running.decide("breach.retracted", RUN | {"occurrence": "e2"})
    await running.decide("breach.retracted", OTHER | {"occurrence": "e2"})
    await eventually(running.quiet, 60)
    assert (await states(running, "breaches"))[1:] == [("suppressed", "retracted")]


async def test_nobody_is_woken_at_night_but_by_what_they_did_themselves(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await clock.step(pool, instant("2026-03-10T23:30:00+09:00"))
    await opened(running)
    await assigned(running)
    await eventually(running.quiet, 60)
    assert len(sent(running)) == 1
    assert await states(running, "receipt", "progress") == [("sent", "http_200"), ("held", None)]
    await clock.step(pool, instant("2026-03-11T07:59:59+09:00"))
    await eventually(running.quiet, 60)
    assert len(sent(running)) == 1
    await clock.step(pool, instant("2026-03-11T08:00:00+09:00"))
    await eventually(running.quiet, 60)
    assert "정해졌습니다" in sent(running)[1]


async def test_more_news_than_a_day_holds_comes_together_in_the_morning(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    """Over all cases of one person; what somebody must know goes all the same."""
    await opened(running)
    await opened(running, "c2", "000000013-1")
    for case in ("c1", "c2", "c1", "c2", "c1"):
        await running.fact("complaint.suspended", {"ground": "hearing"}, case)
        await eventually(running.quiet, 60)
    await running.fact("complaint.completed", {"outcome": "answered", "by": "kim"}, "c2")
    await eventually(running.quiet, 60)
    assert Counter(await states(running, "progress")) == {("sent", "http_200"): 3, ("held", None): 2}
    assert len(sent(running)) == 6
    await clock.step(pool, instant("2026-03-11T09:00:00+09:00"))
    await eventually(running.quiet, 60)
    assert sent(running)[6].split("\n")[:3] == [
        "[안성시] 민원 소식 2건을 모아 알려드립니다.",
        f"접수번호 {RECEIPT}: 민원 처리 기간의 계산이 잠시 멈추었습니다.",
        "접수번호 000000013-1: 민원 처리 기간의 계산이 잠시 멈추었습니다.",
    ]
    assert Counter(await states(running, "progress")) == {("sent", "http_200"): 3, ("suppressed", "in_digest"): 2}
    assert len(sent(running)) == 7


async def test_a_city_may_have_it_otherwise(world: World, told: Callable[..., Any], eventually: Eventually) -> None:
    await clock.step(world.pool, instant("2026-03-10T23:30:00+09:00"))
    async with told(quiet=None, daily=None):
        await opened(world)
        for _ in range(9):
            await world.fact("complaint.suspended", {"ground": "hearing"})
        await eventually(world.quiet, 60)
        assert len(sent(world)) == 10


# The ladder


async def climb(world: World, eventually: Eventually) -> Instant:
    """A warned and broken promise, up to the next digest of the staff; when that was."""
    await staffed(world, "kim", "park", "choi")
    await opened(world)
    await assigned(world)
    await world.decide("deadline.warned", OTHER | {"due": "2026-03-10T12:00:00+09:00"})
    await world.decide("deadline.warned", RUN)
    await world.decide("deadline.breached", OTHER | {"due": "2026-03-10T12:00:00+09:00"})
    await eventually(world.quiet, 60)
    assert [subject for subject, _ in to(world, "kim")] == ["[안성시] 기한 임박: c1"]
    assert "3월 10일(화) 오후 12시" in to(world, "kim")[0][1]
    await clock.step(world.pool, instant("2026-03-10T13:00:00+09:00"))
    await eventually(world.quiet, 60)
    return instant("2026-03-11T08:30:00+09:00")


async def test_a_warning_goes_to_the_officer_and_a_breach_to_head_and_audit(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    morning = await climb(running, eventually)
    await clock.step(pool, morning - MINUTE)
    await eventually(running.quiet, 60)
    assert (len(to(running, "kim")), to(running, "park")) == (1, [])
    await clock.step(pool, morning)
    await eventually(running.quiet, 60)
    assert to(running, "kim")[1][1].startswith("민원 c1의 기한이 다가옵니다.")
    ((subject, text),) = to(running, "park")
    assert subject == "[안성시] 기한 넘김: c1"
    assert "홍길동" not in text
    assert to(running, "choi") == []
    # Eight working hours after the hour that the slowest system has: from 13:00 of the 10th to 12:00 of the 11th. Then
    # the digest of the 12th.
    await clock.step(pool, instant("2026-03-11T12:00:00+09:00"))
    await eventually(running.quiet, 60)
    assert to(running, "choi") == []
    await clock.step(pool, instant("2026-03-12T08:30:00+09:00"))
    await eventually(running.quiet, 60)
    assert [subject for subject, _ in to(running, "choi")] == ["[안성시] 기한이 지나도 처리되지 않음: c1"]


async def test_what_is_kept_late_does_not_reach_audit_and_a_breach_that_was_none_is_taken_back(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    morning = await climb(running, eventually)
    await clock.step(pool, morning)
    await eventually(running.quiet, 60)
    await running.decide("deadline.met", OTHER)
    await running.decide("breach.retracted", OTHER)
    await eventually(running.quiet, 60)
    await clock.step(pool, morning + 2 * DAY)
    await eventually(running.quiet, 60)
    assert await states(running, "escalation_unanswered") == [("suppressed", "answered")]
    assert [subject for subject, _ in to(running, "park")] == ["[안성시] 기한 넘김: c1", "[안성시] 기한 넘김 정정: c1"]
    assert to(running, "choi") == []


async def test_a_broken_measure_is_in_the_heads_digest_and_a_grievance_in_that_of_audit(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await staffed(running, "kim", "park", "choi")
    rang = {"promise": "anseong-phone-rings", "occurrence": "call-centre/e9"}
    at = "2026-03-10T09:20:00+09:00"
    await opened(running)
    await assigned(running)
    await opened(running, "c2", "000000013-1", kind="service_grievance")
    await assigned(running, "c2")
    for case in ("c1", "c2"):
        await running.decide("measure.breached", rang, case, time=at)
    await eventually(running.quiet, 60)
    await clock.step(pool, instant("2026-03-11T08:30:00+09:00"))
    await eventually(running.quiet, 60)
    ((subject, text),) = to(running, "park")
    assert subject == "[안성시] 약속과 다른 응대: c1"
    assert text.split("\n")[:3] == [
        "민원 c1에서 약속한 기준이 지켜지지 않았습니다.",
        "약속: 전화벨이 세 번 울리기 전에 받음.",
        "때: 3월 10일(화) 오전 9시 20분.",
    ]
    assert [subject for subject, _ in to(running, "choi")] == ["[안성시] 약속과 다른 응대: c2"]
    assert to(running, "kim") == []
    # The call was counted wrongly: who was told is told so, once.
    await running.decide("measure.retracted", rang, time=at)
    await eventually(running.quiet, 60)
    await clock.step(pool, instant("2026-03-12T08:30:00+09:00"))
    await eventually(running.quiet, 60)
    assert [subject for subject, _ in to(running, "park")][1:] == ["[안성시] 약속과 다른 응대 정정: c1"]
    assert len(to(running, "choi")) == 1


async def test_the_digest_of_a_member_of_staff_is_one_mail(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await staffed(running, "kim", "park")
    for number in range(3):
        await opened(running, f"c{number}", f"00000002{number}-0")
        await assigned(running, f"c{number}")
        await running.decide("deadline.breached", RUN | {"due": "2026-03-10T12:00:00+09:00"}, f"c{number}")
    await clock.step(pool, instant("2026-03-10T14:00:00+09:00"))
    await eventually(running.quiet, 60)
    await clock.step(pool, instant("2026-03-11T08:30:00+09:00"))
    await eventually(running.quiet, 60)
    ((subject, text),) = to(running, "park")
    assert subject == "[안성시] 약속 알림 3건"
    assert text == (
        "약속 알림 3건입니다.\n"
        "기한 넘김: c0, 문의하신 내용에 답변, 3월 10일(화) 오후 12시까지\n"
        "기한 넘김: c1, 문의하신 내용에 답변, 3월 10일(화) 오후 12시까지\n"
        "기한 넘김: c2, 문의하신 내용에 답변, 3월 10일(화) 오후 12시까지\n"
    )


async def test_nobody_to_tell_is_loud(
    running: World, eventually: Eventually, capsys: pytest.CaptureFixture[str]
) -> None:
    await opened(running)
    await running.decide("deadline.warned", RUN)
    await eventually(running.quiet, 60)
    assert await states(running, "warning") == [("failed", "nobody")]
    assert capsys.readouterr().err.count('"event":"nobody_to_escalate_to"') == 1
    # Where there is nobody on a rung, whoever stands above is told.
    await staffed(running, "park")
    await opened(running, "c2", "000000014-9")
    await running.fact("complaint.assigned", {"department": "토지과", "officer": "unknown"}, "c2")
    await running.decide("deadline.warned", RUN | {"due": "2026-03-10T12:00:00+09:00"}, "c2")
    await eventually(running.quiet, 60)
    assert [subject for subject, _ in to(running, "park")] == ["[안성시] 기한 임박: c2"]


async def test_a_case_that_is_over_is_no_matter_for_audit(
    running: World, eventually: Eventually, pool: asyncpg.Pool
) -> None:
    await climb(running, eventually)
    await running.fact("complaint.withdrawn", {})
    await eventually(running.quiet, 60)
    await clock.step(pool, NOW + 3 * DAY)
    await eventually(running.quiet, 60)
    assert await states(running, "escalation_unanswered") == [("suppressed", "closed")]


# Lost and worked out anew

_LEDGER = (
    "SELECT key, case_id, audience, template, version, language, promise, means, state, reason, attempts, topic, "
    "arguments, cause, recipient, retracted, part_of, rung, only_by, bundle FROM notifier.notices ORDER BY key"
)


@pytest.mark.parametrize("before_the_attempt", [False, True])
async def test_what_was_told_together_is_known_again_and_nothing_goes_twice(
    world: World, told: Callable[..., Any], eventually: Eventually, pool: asyncpg.Pool, before_the_attempt: bool
) -> None:
    """A digest for a citizen, one for an officer and an apology for two promises; the ledger is lost after they
    went, or after their members were told and before they went. What the head is to be told waits for the next day, as
    it did."""
    at = instant("2026-03-11T09:00:00+09:00")
    async with told(daily=1):
        await staffed(world, "kim", "park")
        await opened(world)
        await opened(world, "c2", "000000013-1")
        for case in ("c1", "c2"):
            await assigned(world, case)
            await world.decide("deadline.warned", RUN, case)
        for run in (RUN, OTHER):
            await world.decide("deadline.breached", run | {"due": "2026-03-11T08:00:00+09:00"})
        await eventually(world.quiet, 60)
        if before_the_attempt:
            await world.gateway.stop()
        await clock.step(pool, at)
        if before_the_attempt:
            gone = "SELECT count(*) = 3 FROM notifier.notices WHERE state IN ('pending', 'sending')"
            await eventually(lambda: pool.fetchval(gone), 60)
            await eventually(lambda: pool.fetchval("SELECT unpublished = 0 FROM read.notifier"), 60)
        else:
            await eventually(world.quiet, 60)
    before, record = await pool.fetch(_LEDGER), world.gateway.record()
    events = await world._stored("NOTICES", "notices.>")
    wholes = {row["part_of"] for row in before} - {None}
    assert len(wholes) == 3
    assert {line["key"] for line in record} & wholes == (set() if before_the_attempt else wholes)
    await _lose_ledger(pool)
    if before_the_attempt:
        await world.gateway.start()
    async with told(daily=1):
        await eventually(world.quiet, 60)
        await eventually(lambda: _none(pool, "notifier.recovery"), 60)
        await eventually(world.quiet, 60)  # what was made anew at the end of it is delivered
        after, events_after, record_after = (
            await pool.fetch(_LEDGER),
            await world._stored("NOTICES", "notices.>"),
            world.gateway.record(),
        )
        await clock.step(pool, at + DAY - 30 * MINUTE)
        await eventually(world.quiet, 60)
        assert [subject for subject, _ in to(world, "park")] == ["[안성시] 약속 알림 2건"]
    again = Counter(line["key"] for line in world.gateway.record())
    assert set(again.values()) == {1}
    assert {key for key in again if key in wholes} == wholes
    if before_the_attempt:
        assert Counter(row["state"] for row in after) == Counter(
            "sent" if row["state"] in ("pending", "sending") else row["state"] for row in before
        )
    else:
        assert after == before
        assert record_after == record
        assert events_after == events


async def test_what_waits_for_the_digest_waits_on_after_a_loss(
    world: World, told: Callable[..., Any], eventually: Eventually, pool: asyncpg.Pool
) -> None:
    """The citizen had as many messages that day as the city sends in one; the two that wait come together, although
    the ledger was lost meanwhile."""
    async with told(daily=1):
        await opened(world)
        await opened(world, "c2", "000000013-1")
        for case in ("c1", "c2"):
            await assigned(world, case)
        await eventually(world.quiet, 60)
        assert await states(world, "progress") == [("held", None)] * 2
    before = len(sent(world))
    await _lose_ledger(pool)
    await clock.step(pool, NOW + HOUR)
    async with told(daily=1):
        await eventually(world.quiet, 60)
        await eventually(lambda: _none(pool, "notifier.recovery"), 60)
        assert await states(world, "progress") == [("held", None)] * 2
        assert len(sent(world)) == before
        await clock.step(pool, instant("2026-03-11T09:00:00+09:00"))
        await eventually(world.quiet, 60)
        assert await states(world, "progress") == [("suppressed", "in_digest")] * 2
        assert await states(world, "digest") == [("sent", "http_200")]
