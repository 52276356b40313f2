"""The catalogue: dates as people say them, byte lengths, and values that try to be more than values."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.notifier import texts
from services.rules.instants import instant
from services.rules.tenants import Tenant

SEOUL = ZoneInfo("Asia/Seoul")
CITY = Tenant(
    id="anseong",
    name_ko="안성시",
    name_en="Anseong",
    zone=SEOUL,
    calendar="kr",
    administrator="administration",
    sms_sender="0316782114",
    email_sender="minwon@anseong.example",
)
NOW = instant("2026-03-10T09:00:00+09:00")
VALUES: dict[str, Any] = {
    "receipt": "AS-2026-000123-7",
    "contact": "토지민원과 031-678-2114",
    "case": "c-1",
    "due": instant("2026-03-12T18:00:00+09:00"),
    "respond_by": instant("2026-03-13T00:00:00+09:00"),
    "amount": [10_000, "KRW"],
    "length": "3 days",
    "objection_days": 60,
    "outcome": "granted",
    "ground": "fact_check",
    "state": "assigned",
    "promise": "statutory-period",
}


@pytest.mark.parametrize(
    ("moment", "korean", "english"),
    [
        ("2026-03-12T18:00:00+09:00", "3월 12일(목) 오후 6시", "Thu 12 March, 6:00 pm"),
        ("2026-03-12T09:30:00+09:00", "3월 12일(목) 오전 9시 30분", "Thu 12 March, 9:30 am"),
        ("2026-03-12T12:00:00+09:00", "3월 12일(목) 오후 12시", "Thu 12 March, 12:00 pm"),
        # 24:00 of the 12th: nobody reads midnight of the 13th as the end of the 12th.
        ("2026-03-13T00:00:00+09:00", "3월 12일(목)", "Thu 12 March"),
        ("2027-01-01T00:00:00+09:00", "12월 31일(목)", "Thu 31 December"),
        ("2027-01-04T10:00:00+09:00", "2027년 1월 4일(월) 오전 10시", "Mon 4 January 2027, 10:00 am"),
        ("2026-03-12T09:00:00Z", "3월 12일(목) 오후 6시", "Thu 12 March, 6:00 pm"),
    ],
)
def test_dates_are_read_as_people_say_them(moment: str, korean: str, english: str) -> None:
    assert texts.date_text(instant(moment), "ko", CITY, NOW) == korean
    assert texts.date_text(instant(moment), "en", CITY, NOW) == english


@pytest.mark.parametrize("language", texts.LANGUAGES)
@pytest.mark.parametrize("template", sorted(texts.catalogue("ko").templates))
def test_every_template_renders_whole_and_fits_a_long_message(template: str, language: str) -> None:
    message = texts.render(template, language, CITY, VALUES, NOW)
    assert len(message.lines) == len(texts.catalogue(language).templates[template].lines)
    assert not any(mark in line for line in (message.subject, *message.lines) for mark in "{}")
    _, text = texts.sms_text(message)
    assert len(text.encode("cp949")) <= 2_000


def test_both_languages_know_the_same_templates_and_words() -> None:
    korean, english = texts.catalogue("ko"), texts.catalogue("en")
    assert korean.templates.keys() == english.templates.keys()
    assert korean.spans.keys() == english.spans.keys()
    assert {name: words.keys() for name, words in korean.words.items()} == {
        name: words.keys() for name, words in english.words.items()
    }


def test_an_apology_in_korean_reads_as_it_should() -> None:
    message = texts.render("breach", "ko", CITY, VALUES, NOW)
    assert message.subject == "[안성시] 약속한 기한을 지키지 못해 죄송합니다"
    assert message.lines == (
        "[안성시] 약속한 기한을 지키지 못했습니다. 진심으로 사과드립니다.",
        "약속: 법정 처리기간 안에 처리.",
        "기한: 3월 12일(목) 오후 6시까지.",
        "10,000원 상당의 보상을 드리겠습니다.",
        "접수번호 AS-2026-000123-7",
        "담당 토지민원과 031-678-2114",
    )


def test_a_line_whose_value_is_missing_is_left_out() -> None:
    known = {"outcome": "answered", "receipt": None, "contact": ""}
    assert texts.render("result", "en", CITY, known, NOW).lines == (
        "[Anseong] Your petition has been dealt with.",
        "Result: answered.",
    )


def test_a_message_without_its_first_line_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="extension cannot be sent without \\['due'\\]"):
        texts.render("extension", "ko", CITY, {"length": "3 days", "ground": "bulk"}, NOW)


def test_an_unknown_promise_has_words_all_the_same() -> None:
    message = texts.render("breach", "ko", CITY, VALUES | {"promise": "sixth-city-answer"}, NOW)
    assert "약속: 행정서비스 헌장의 약속." in message.lines


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("민원과\r\nBcc: x@example.org", "민원과 Bcc: x@example.org"),
        ("{amount} {city.__class__}", "{amount} {city.__class__}"),
        ("a\u202eb\u2066c\u200bd\x00e\x1b[31mf", "abcde[31mf"),
        ("e\u0301", "\u00e9"),
        ("가" * 500, "가" * 60),
    ],
)
def test_a_value_stays_a_value(hostile: str, shown: str) -> None:
    message = texts.render("receipt", "ko", CITY, {"receipt": hostile}, NOW)
    assert message.lines == ("[안성시] 민원이 접수되었습니다.", f"접수번호 {shown}")


def test_what_a_telephone_cannot_show_is_left_out() -> None:
    message = texts.Message("", ("가 — 나 \U0001f600 ₩",))
    assert texts.sms_text(message) == ("SMS", "가 - 나  ￦")


@pytest.mark.parametrize(
    ("text", "kind"),
    [("가" * 45, "SMS"), ("가" * 45 + "a", "LMS"), ("a" * 90, "SMS"), ("a" * 91, "LMS"), ("가" * 1_000, "LMS")],
)
def test_short_and_long_are_told_apart_by_bytes(text: str, kind: str) -> None:
    assert texts.sms_text(texts.Message("", (text,))) == (kind, text)


def test_rarer_syllables_count_two_bytes() -> None:
    assert texts.sms_text(texts.Message("", ("똠" * 45,)))[0] == "SMS"


def test_a_text_beyond_a_long_message_is_refused() -> None:
    with pytest.raises(ValueError, match="2002 bytes"):
        texts.sms_text(texts.Message("", ("가" * 1_001,)))


def test_the_receipt_fits_a_short_message() -> None:
    kind, text = texts.sms_text(texts.render("receipt", "ko", CITY, VALUES, NOW))
    assert (kind, text) == ("SMS", "[안성시] 민원이 접수되었습니다. 접수번호 AS-2026-000123-7")


def test_arguments_survive_the_ledger() -> None:
    assert texts.render("breach", "ko", CITY, json.loads(json.dumps(VALUES)), NOW) == texts.render(
        "breach", "ko", CITY, VALUES, NOW
    )
