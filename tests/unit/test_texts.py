"""The catalogue: dates as people say them, byte lengths, and values that try to be more than values."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from contracts import files
from services.chassis.settings import ROOT
from services.cli import notice
from services.cli.main import app
from services.notifier import texts
from services.notifier.texts import lint, telephone, words
from services.rules.instants import instant
from services.rules.tenants import Tenant, parse

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
    "at": instant("2026-03-10T08:42:00+09:00"),
    "respond_by": instant("2026-03-13T00:00:00+09:00"),
    "amount": [10_000, "KRW"],
    "length": "3 days",
    "objection_days": 60,
    "outcome": "granted",
    "ground": "fact_check",
    "state": "assigned",
    "promise": "statutory-period",
    "law": "건축법 제11조 제4항",
    "reason": "도로에 접한 너비가 모자랍니다.",
    "remedies": "이의신청(60일 이내)\n행정심판",
    "officer_email": "kim@anseong.example",
    "approver": "토지민원과 박과장 031-678-2100",
    "superior": "토지민원과 박과장 031-678-2100",
    "visitor": "복지과 최방문 031-678-2200",
    "asked": ["address", "contact"],
    "link": "https://minwon.example/ko/anseong/p/1jx3k.AbCdEfGhIjKlMnOpQrStUv",
    "survey": "https://minwon.example/ko/anseong/p/1jx3k.AbCdEfGhIjKlMnOpQrStUv/survey",
    "count": 2,
}
VALUES["items"] = [
    {**VALUES, "template": template}
    for template in ("breach", "compensation", "progress", "warning", "escalation", "other")
]


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
    lines = texts.catalogue(language).templates[template].lines
    assert len(message.lines) == len(lines) + 5 * ("{items}" in lines)
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
    for name, template in korean.templates.items():
        other = english.templates[name]
        assert named(template) == named(other), name
        assert template.each.keys() == other.each.keys(), name


def named(template: texts.Template) -> set[str]:
    """The placeholders of a template."""
    whole = " ".join((template.subject, *template.lines, *template.each.values()))
    return set(re.findall(r"\{([a-z_]+)\}", whole))


def test_an_apology_in_korean_reads_as_it_should() -> None:
    message = texts.render("breach", "ko", CITY, VALUES, NOW)
    assert message.subject == "[안성시] 약속한 기한을 지키지 못해 죄송합니다"
    assert message.lines == (
        "[안성시] 약속한 기한을 지키지 못했습니다. 진심으로 사과드립니다.",
        "약속: 법정 처리기간 안에 처리.",
        "기한: 3월 12일(목) 오후 6시까지.",
        "10,000원 상당의 보상을 드리겠습니다.",
        "접수번호 AS-2026-000123-7",
        "진행 상황 보기 https://minwon.example/ko/anseong/p/1jx3k.AbCdEfGhIjKlMnOpQrStUv",
        "담당 토지민원과 031-678-2114",
    )


def test_a_line_whose_value_is_missing_is_left_out() -> None:
    known = {"outcome": "answered", "receipt": None, "contact": ""}
    assert texts.render("result", "en", CITY, known, NOW).lines == (
        "[Anseong] Your petition has been dealt with.",
        "Result: answered.",
    )


def test_a_message_without_its_first_line_is_refused_by_name() -> None:
    with pytest.raises(texts.Unsayable, match="extension cannot be sent without \\['due'\\]"):
        texts.render("extension", "ko", CITY, {"length": "3 days", "ground": "bulk"}, NOW)


def test_an_unknown_promise_has_words_all_the_same() -> None:
    message = texts.render("breach", "ko", CITY, VALUES | {"promise": "sixth-city-answer"}, NOW)
    assert "약속: 행정서비스 헌장의 약속." in message.lines


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_whatever_the_office_can_break_has_words_of_its_own(language: str) -> None:
    """Not "a promise of our service charter": a head who reads a digest of them could not tell one from another."""
    for name, content in files.read().items():
        kind, _, version = name.removesuffix(".yaml").partition("/")
        if kind == "calendars":
            continue
        document = yaml.safe_load(content)
        known = texts.of_tenant(language, document.get("tenant", "seoul")).words["promise"]
        for promise in (*document["promises"], *document.get("clauses", ())):
            limits = {"limit", "within", "not_before", "after_lapses", "noted"}
            published = promise["kind"] == "measure" and not limits & promise.keys()
            judged = promise["kind"] in ("deadline", "recurring", "measure", "duty", "workflow")
            if judged and not published and "owed_by" not in promise and version != "boston-1":
                assert promise["id"] in known, f"{name}: {promise['id']} has no words in {language}"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("민원과\r\nBcc: x@example.org", "민원과 Bcc: x@example.org"),
        ("{amount} {city.__class__}", "{amount} {city.__class__}"),
        ("a\u202eb\u2066c\u200bd\x00e\x1b[31mf", "abcde[31mf"),
        ("e\u0301", "\u00e9"),
        ("가" * 500, "가" * 59 + "…"),
        ("a\ud800b\x00", "ab"),
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


def test_of_a_text_beyond_a_long_message_the_longest_lines_are_cut_and_links_never() -> None:
    link = "https://minwon.example/" + "x" * 60
    lines = ("시작", "가" * 1_500, "나" * 800, link)
    kind, text = texts.sms_text(texts.Message("", lines, spare=frozenset({3})))
    first, second, third, last = text.split("\n")
    assert (kind, first, last) == ("LMS", "시작", link)
    assert 1_990 <= len(text.encode("cp949")) <= 2_000
    assert second == "가" * (len(second) - 1) + "…"
    assert third == "나" * 800 or third == "나" * (len(third) - 1) + "…"
    many = texts.Message("", tuple("가" * 100 for _ in range(200)))
    assert len(texts.sms_text(many)[1].encode("cp949")) <= 2_000


@pytest.mark.parametrize(("link", "kept"), [("http://a.kr/" + "x" * 29, True), ("http://a.kr/" + "x" * 30, False)])
def test_a_link_stands_in_a_short_text_only_where_it_fits(link: str, kept: bool) -> None:
    # 48 bytes before it, a blank, and 41 or 42 bytes of it.
    message = texts.Message("", ("가" * 24, link), spare=frozenset({1}))
    assert texts.sms_text(message) == ("SMS", "가" * 24 + (f" {link}" if kept else ""))


def test_the_receipt_fits_a_short_message() -> None:
    kind, text = texts.sms_text(texts.render("receipt", "ko", CITY, VALUES, NOW))  # without its link, which is longer
    assert (kind, text) == ("SMS", "[안성시] 민원이 접수되었습니다. 접수번호 AS-2026-000123-7")


def test_arguments_survive_the_ledger() -> None:
    assert texts.render("breach", "ko", CITY, json.loads(json.dumps(VALUES)), NOW) == texts.render(
        "breach", "ko", CITY, VALUES, NOW
    )


# Several things in one message, and a city's own words


def test_what_one_event_broke_reads_as_one_apology() -> None:
    items = [
        {"template": "breach", "promise": "anseong-inquiry", "due": VALUES["due"]},
        {"template": "breach", "promise": "anseong-direction", "due": VALUES["due"]},
        {"template": "compensation", "amount": [20_000, "KRW"]},
    ]
    assert texts.render("breaches", "ko", CITY, {"items": items, "receipt": "R-1"}, NOW).lines == (
        "[안성시] 약속한 것을 지키지 못했습니다. 진심으로 사과드립니다.",
        "약속: 문의하신 내용에 답변. 기한: 3월 12일(목) 오후 6시까지.",
        "약속: 처리 방향을 전화로 알림. 기한: 3월 12일(목) 오후 6시까지.",
        "20,000원 상당의 보상을 드립니다. 따로 신청하지 않으셔도 됩니다.",
        "접수번호 R-1",
    )


def test_a_list_says_how_many_it_leaves_out() -> None:
    items = [{"template": "warning", "case": f"c{n}", "promise": "x", "due": VALUES["due"]} for n in range(23)]
    lines = texts.render("officer_digest", "en", CITY, {"items": items, "count": 23}, NOW).lines
    assert (lines[0], lines[-1], len(lines)) == ("23 promises to look at.", "And 3 more", 22)


def test_a_city_signs_as_its_charter_says() -> None:
    seoul, mapo = (msgspec.structs.replace(CITY, id=name) for name in ("seoul", "mapo"))
    assert texts.render("result", "ko", seoul, VALUES, NOW).lines[-2:] == (
        "담당 토지민원과 031-678-2114",
        "결재 토지민원과 박과장 031-678-2100",
    )
    assert texts.render("result", "en", mapo, VALUES, NOW).lines[-3:] == (
        "Contact: 토지민원과 031-678-2114",
        "E-mail: kim@anseong.example",
        "Superior: 토지민원과 박과장 031-678-2100",
    )


OWN = """
tenant: riverton
ko:
  promises:
    riverton-road: {breach: {subject: "길", lines: ["길을 제때 고치지 못했습니다."]}}
en:
  signature: ["Yours, {contact}"]
  templates: {receipt: {subject: "Got it", lines: ["We got it: {receipt}"]}}
"""


@pytest.fixture
def own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Tenant]]:
    """own_words(document): a city that has such a file."""
    (tmp_path / "messages").mkdir()
    monkeypatch.setenv("GIHAN_CONTRACTS", str(tmp_path))

    def city(document: str) -> Tenant:
        (tmp_path / "messages" / "riverton.yaml").write_text(document, encoding="utf-8")
        texts.of_tenant.cache_clear()
        return msgspec.structs.replace(CITY, id="riverton")

    yield city
    texts.of_tenant.cache_clear()


def test_a_city_may_say_anything_in_its_own_words(own_words: Callable[[str], Tenant]) -> None:
    city = own_words(OWN)
    assert texts.render("receipt", "en", city, VALUES, NOW).lines == ("We got it: AS-2026-000123-7",)
    assert texts.render("result", "en", city, VALUES, NOW).lines[-1] == "Yours, 토지민원과 031-678-2114"
    assert texts.render("receipt", "ko", city, VALUES, NOW) == texts.render("receipt", "ko", CITY, VALUES, NOW)
    road = VALUES | {"promise": "riverton-road"}
    assert texts.render("breach", "ko", city, road, NOW).lines == ("길을 제때 고치지 못했습니다.",)
    assert texts.render("breach", "ko", city, VALUES, NOW) == texts.render("breach", "ko", CITY, VALUES, NOW)


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        (
            "tenant: x\nko: {}\nen: {templates: {recipt: {subject: s, lines: [l]}}}",
            "no message is called \\['recipt'\\]",
        ),
        ("tenant: x\nko: {}\nen: {signature: ['{password}']}", "signature uses \\['password'\\]"),
        ("tenant: x\nko: {}\nen: {templates: {receipt: {subject: s, lines: ['{__class__}']}}}", "receipt uses"),
        ("tenant: x\nko: {}\nen: {templates: {receipt: {subject: s, lines: ['{items}']}}}", "must begin with a line"),
        ("tenant: x\nko: {}\nen: {words: {promises: {a: b}}}", "no words for \\['promises'\\]"),
        ("tenant: x\nko: {}\nen: {template: {}}", "unknown field `template`"),
        ("tenant: x\nko: {}", "missing required field `en`"),
        ("tenant: [", "riverton.yaml"),
    ],
)
def test_a_file_of_words_that_cannot_be_used_is_refused_by_name(
    own_words: Callable[[str], Tenant], document: str, wrong: str
) -> None:
    city = own_words(document)
    with pytest.raises(ValueError, match=wrong):
        texts.render("receipt", "en", city, VALUES, NOW)


# Lint and previews


def test_every_message_of_every_city_is_harmless_whatever_stands_in_it() -> None:
    tenants = parse((ROOT / "deploy" / "tenants.yaml").read_bytes()) | {"plain": CITY}
    assert list(lint.lint(tenants)) == []


def test_the_lint_sees_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way of making a value harmless is taken away, and the lint says so."""
    city = {"anseong": CITY}
    with monkeypatch.context() as broken:
        broken.setattr(words, "_UNWANTED", ())
        assert "a line is empty, breaks or hides something" in {one.says for one in lint.lint(city)}
    with monkeypatch.context() as broken:
        broken.setattr(telephone, "LMS_BYTES", 3_000)
        assert any(re.fullmatch(r"LMS of [23]\d{3} bytes", one.says) for one in lint.lint(city))
    with monkeypatch.context() as broken:
        broken.setattr(telephone, "SMS_BYTES", 200)
        assert any(one.says.startswith("SMS of ") for one in lint.lint(city))
    with monkeypatch.context() as broken:
        broken.setattr(words, "NAME_CHARACTERS", 5_000)
        broken.setattr(words.plain, "__defaults__", (5_000,))
        assert any(one.says.startswith("the subject is longer") for one in lint.lint(city))


def test_a_preview_shows_the_mail_and_the_text() -> None:
    (shown,) = notice.previews("breach", "anseong", "ko", "anseong-inquiry")
    assert shown["subject"] == "[안성시] 약속한 기한을 지키지 못해 죄송합니다"
    assert shown["lines"][1:3] == ["약속: 문의하신 내용에 답변.", "기한: 3월 12일(목) 오후 6시까지."]
    assert (shown["kind"], shown["bytes"]) == ("LMS", len(shown["text"].encode("cp949")))
    assert len(notice.previews(None, None, "en", "-")) == len(texts.catalogue("en").templates)
    for wrong in (("recipe", None, "ko"), (None, "atlantis", "ko"), (None, None, "fr")):
        with pytest.raises(ValueError, match="take one of"):
            notice.previews(*wrong, "-")


def test_the_command_ends_well() -> None:
    runner = CliRunner()
    assert runner.invoke(app, ["notice", "preview", "receipt", "--language", "en"]).stdout.startswith("== receipt\n")
    assert runner.invoke(app, ["notice", "lint"]).stdout == "Every message is fit to be sent.\n"
    assert runner.invoke(app, ["notice", "preview", "recipe"]).exit_code == 2
