"""What the charters say at the door, clause by clause: refused, marked, and what is asked for."""

from typing import Any

import pytest

from contracts.events import part, published_model
from services.chassis.settings import ROOT
from services.intake.admission import judge
from services.rules.instants import instant
from services.rules.tenants import parse

TENANTS = parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
MORNING = instant("2026-11-02T10:00:00+09:00")
FULL = {"name": "홍길동", "address": "중구 1", "mobile": "010-0000-0001"}
COMPLAINT = {"channel": "visit", "kind": "inquiry", "title": "가로등"}
MEMO = {"caller": "홍길동", "phone": "02-000-0000", "matter": "가로등", "taken_by": "k-1", "reply_wanted": True}


def said(tenant: str, type: str, **data: Any) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(code of the refusal, marks, details asked for)."""
    judgement = judge(TENANTS[tenant], type, part(type, published_model(type).model_validate(data)), MORNING)
    return judgement.refused, judgement.marks, judgement.asks


def complained(tenant: str, **applicant: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return said(tenant, "complaint.received", **COMPLAINT, applicant=applicant)


def test_seoul_anonymous_registers_nobody_without_name_and_address() -> None:
    """A missing telephone alone is asked for, never refused."""
    assert complained("seoul", **FULL)[0] == ""
    assert complained("seoul", name="홍길동", address="중구 1")[0] == ""
    for missing in ("name", "address"):
        refused, _, asks = complained("seoul", **{name: value for name, value in FULL.items() if name != missing})
        assert (refused, asks) == ("anonymous", ("name", "address", "phone"))
        assert complained("seoul", **{**FULL, missing: "  "})[0] == "anonymous"


@pytest.mark.parametrize(
    "name", ["익명", "무명씨", "아무개", "익 명", "ㅇㅇㅇ", "ㅎㄱㄷ", "OOO", "123", "...", "Anonymous", "N/A", "!?"]
)
def test_seoul_anonymous_takes_a_word_in_the_place_of_a_name_for_none(name: str) -> None:
    assert complained("seoul", **{**FULL, "name": name})[0] == "anonymous"


@pytest.mark.parametrize("name", ["홍길동", "김", "이이", "남궁민수", "Ana", "Li", "Bjørk", "阮文", "테스"])
def test_seoul_anonymous_lets_short_and_foreign_names_in(name: str) -> None:
    assert complained("seoul", **{**FULL, "name": name})[0] == ""


def test_yeonje_identified_asks_and_refuses_nobody() -> None:
    assert complained("yeonje", **FULL) == ("", (), ())
    for applicant in ({}, {"name": "익명", "address": "중구 1", "phone": "02-000-0000"}, {"name": "홍길동"}):
        assert complained("yeonje", **applicant) == ("", ("incomplete",), ("name", "address", "contact"))


@pytest.mark.parametrize("tenant", ["anseong", "mapo"])
def test_phone_memo_asks_for_what_a_note_lacks(tenant: str) -> None:
    """anseong-phone-memo, mapo-phone-memo: caller, matter, number and who took it; a visit needs none of that."""
    asks = ("caller", "phone", "matter", "taken_by")
    assert said(tenant, "callback.requested", via="phone", memo=MEMO) == ("", (), ())
    for name in asks:
        memo = {field: value for field, value in MEMO.items() if field != name}
        assert said(tenant, "callback.requested", via="phone", memo=memo) == ("", ("incomplete",), asks)
        assert said(tenant, "callback.requested", via="visit", memo=memo)[1] == ()


def test_miryang_any_office_takes_a_petition_anywhere() -> None:
    data = {**COMPLAINT, "applicant": FULL}
    assert said("miryang", "complaint.received", **data, office="삼랑진읍")[:2] == ("", ("taken_anywhere",))
    assert said("miryang", "complaint.received", **data)[:2] == ("", ())
