"""Citizens' pages without a server: what they say, what they sign, and what a charter has them ask for."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from services.chassis.links import Link, Signer
from services.intake import admission
from services.intake.pages.filing import KINDS, asked_by
from services.intake.pages.words import LANGUAGES, TEXTS, Language, Speaker
from services.intake.reserve import receipt_number
from services.notifier import texts as messages
from services.reading.speaking import catalogue, preferred
from services.rules import tenants as tenants_file
from services.rules.instants import instant

ROOT = Path(__file__).parents[2]
SEOUL = ZoneInfo("Asia/Seoul")
TENANTS = tenants_file.parse((ROOT / "deploy" / "tenants.yaml").read_bytes())
KOREAN, ENGLISH = Speaker("ko", SEOUL), Speaker("en", SEOUL)
RECEIPT = receipt_number(123)


def leaves(texts: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text with its dotted name."""
    if isinstance(texts, str):
        yield path, texts
    else:
        for name, below in texts.items():
            yield from leaves(below, f"{path}.{name}")


def test_both_languages_say_the_same_things() -> None:
    """No text is missing in one language, and none lacks a value that the other tells."""
    korean, english = (dict(leaves(catalogue(TEXTS, language))) for language in LANGUAGES)
    assert korean.keys() == english.keys()
    values = {
        name: (set(re.findall(r"{(\w+)}", korean[name])), set(re.findall(r"{(\w+)}", english[name]))) for name in korean
    }
    # A Korean line needs no unit where the English one says it.
    assert {name: pair for name, pair in values.items() if pair[0] != pair[1]} == {}


def test_every_text_that_a_template_names_is_there() -> None:
    """Names that templates put together out of parts are looked up by the browser tests."""
    known = dict(leaves(catalogue(TEXTS, "ko")))
    for template in (ROOT / "services/intake/pages/templates").glob("*.html"):
        for name in re.findall(r"""\bt\(["']([a-z_.]+)["'][,)]""", template.read_text()):
            assert f".{name}" in known, f"{template.name}: {name}"


def test_every_message_to_a_citizen_has_a_name_on_the_page_that_tells_of_it() -> None:
    officers = ("escalation", "warning", "officer_digest")
    sent = {name for name in messages.catalogue("ko").templates if not name.startswith(officers)}
    assert {"receipt", "corrections"} <= sent
    for language in LANGUAGES:
        assert sent - catalogue(TEXTS, language)["messages"].keys() == set()


@pytest.mark.parametrize(
    ("moment", "ends", "korean", "english"),
    [
        ("2026-11-05T09:30:00+09:00", False, "2026년 11월 5일(목) 09:30", "Thu 5 November 2026, 09:30"),
        (
            "2026-11-11T00:00:00+09:00",
            True,
            "2026년 11월 10일(화) 자정(24:00)",
            "the end of Tue 10 November 2026 (24:00)",
        ),
        ("2026-11-11T00:00:00+09:00", False, "2026년 11월 11일(수) 00:00", "Wed 11 November 2026, 00:00"),
        (
            "2026-12-31T15:00:00+00:00",
            True,
            "2026년 12월 31일(목) 자정(24:00)",
            "the end of Thu 31 December 2026 (24:00)",
        ),
        ("2026-11-05T09:30:00.000001+09:00", True, "2026년 11월 5일(목) 09:30", "Thu 5 November 2026, 09:30"),
    ],
)
def test_instants_in_words(moment: str, ends: bool, korean: str, english: str) -> None:
    assert KOREAN.when(instant(moment), ends).text == korean
    assert ENGLISH.when(instant(moment), ends).text == english


@pytest.mark.parametrize(
    ("kept", "total", "said"),
    [
        (1, 1, "Kept 1 of 1. Too few to speak of a share."),
        (9, 9, "Kept 9 of 9. Too few to speak of a share."),
        (10, 10, "100% kept (10 of 10)"),
        (9, 10, "90% kept (9 of 10)"),
        (9999, 10_000, "99.9% kept (9999 of 10000)"),
        (99_999, 100_000, "99.9% kept (99999 of 100000)"),
        (0, 12, "0% kept (0 of 12)"),
        (2, 30, "6.6% kept (2 of 30)"),
    ],
)
def test_few_are_called_few_and_nothing_is_rounded_up(kept: int, total: int, said: str) -> None:
    assert ENGLISH.share("", kept, total) == said


def test_a_link_opens_its_case_alone() -> None:
    """Whatever in it is changed, and whatever it is held against, it does not hold."""
    signer, now = Signer(b"k" * 32), instant("2026-11-02T10:00:00+09:00")
    text = signer.link("seoul", "c-1", RECEIPT, 0)
    link = Link.parse(text)
    assert link is not None
    assert (link.receipt, link.expires) == (RECEIPT, None)
    assert signer.holds(link, "seoul", "c-1", 0)
    assert not signer.holds(link, "mapo", "c-1", 0)
    assert not signer.holds(link, "seoul", "c-2", 0)
    assert not signer.holds(link, "seoul", "c-1", 1)
    assert not Signer(b"l" * 32).holds(link, "seoul", "c-1", 0)

    short = Link.parse(signer.link("seoul", "c-1", RECEIPT, 0, now))
    assert short is not None
    assert signer.holds(short, "seoul", "c-1", 0)
    assert not short.over(now - 1_000_000)
    assert short.over(now)
    assert not signer.holds(short._replace(expires=None), "seoul", "c-1", 0)
    assert not signer.holds(short._replace(expires=(short.expires or 0) + 3600), "seoul", "c-1", 0)
    assert not signer.holds(link._replace(mac="é"), "seoul", "c-1", 0)


@pytest.mark.parametrize(
    "text",
    ["", ".", "a", "a.", ".mac", "a-b-c.mac", "-.mac", "A.mac", "é.mac", "zzzzzzzzzzz.mac", "٣.mac", "1" * 60 + ".mac"],
)
def test_what_is_no_link(text: str) -> None:
    assert Link.parse(text) is None


def test_a_form_is_good_for_one_thing_in_one_browser() -> None:
    signer = Signer(b"k" * 32)
    mine, other = signer.visitor(), signer.visitor()
    assert signer.knows(mine)
    assert not signer.knows(mine[:-1] + ("A" if mine[-1] != "A" else "B"))
    assert not signer.knows("")
    form = signer.form("file", "seoul", mine)
    name = signer.name_of(form, "file", "seoul", mine)
    assert name
    assert form.startswith(name)
    assert signer.name_of(form, "file", "seoul", other) is None
    assert signer.name_of(form, "file", "mapo", mine) is None
    assert signer.name_of(form, "follow", "seoul", mine) is None
    assert signer.name_of("web-1." + form.partition(".")[2], "file", "seoul", mine) is None
    assert signer.name_of("", "file", "seoul", mine) is None
    assert signer.name_of("é.é", "file", "seoul", mine) is None


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "ko"),
        ("ko-KR,ko;q=0.9,en;q=0.8", "ko"),
        ("en-GB,en;q=0.9,ko;q=0.8", "en"),
        ("fr,en;q=0.5", "en"),
        ("fr", "ko"),
        ("ko;q=0,en;q=0.1", "en"),
        ("en;q=x, ko", "ko"),
        (";;;=,", "ko"),
    ],
)
def test_the_language_that_a_browser_wants(accepted: str, language: Language) -> None:
    assert preferred(accepted) == language


@pytest.mark.parametrize(
    ("tenant", "required"),
    [("seoul", {"name", "address"}), ("anseong", set())],
)
def test_the_form_asks_for_what_the_charter_wants(tenant: str, required: set[str]) -> None:
    """Seoul registers nothing without a name and an address, and asks for a telephone too; Anseong demands nothing."""
    charter = admission.charter_of(TENANTS[tenant], instant("2026-11-02T10:00:00+09:00"))
    for kind in KINDS:
        asked = asked_by(charter, kind)
        assert asked.required == required, kind
        assert ("phone" in asked.wanted) == (tenant == "seoul"), kind
