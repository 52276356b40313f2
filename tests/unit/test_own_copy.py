"""A person's copy without a server: both languages say the same, and how long a case is kept."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from services.chassis.settings import ROOT
from services.chassis.vault import PERSON_FIELDS
from services.chassis.vault.blind_index import same_name
from services.chassis.vault.purposes import purposes
from services.intake import retention
from services.intake.api.answers import Remedy
from services.intake.subject_access.dossier import FINDINGS, MINE
from services.intake.subject_access.words import TEXTS, Words
from services.reading.speaking import LANGUAGES, catalogue
from services.rules.instants import instant
from services.rules.tenants import parse

SEOUL = parse((ROOT / "deploy" / "tenants.yaml").read_bytes())["seoul"]


def leaves(texts: Any, path: str = "") -> Iterator[str]:
    """The dotted name of every text."""
    if isinstance(texts, str):
        yield path
    else:
        for name, below in texts.items():
            yield from leaves(below, f"{path}.{name}")


def test_both_languages_say_the_same_things() -> None:
    korean, english = (set(leaves(catalogue(TEXTS, language))) for language in LANGUAGES)
    assert korean == english


def test_every_role_that_may_read_every_detail_and_every_state_has_a_name() -> None:
    for language in LANGUAGES:
        known = catalogue(TEXTS, language)
        assert {role for one in purposes().values() for role in one.roles} - known["roles"].keys() == set()
        assert set(PERSON_FIELDS) == known["fields"].keys()
        assert {*get_args(Remedy.model_fields["state"].annotation), "sent"} - known["states"].keys() == set()


def test_what_has_no_name_stands_for_itself() -> None:
    words = Words("ko", SEOUL)
    assert (words.called("roles", "gardener"), words.page_word("means", "pigeon")) == ("gardener", "pigeon")
    assert (words.purpose("erase"), words.purpose("nothing")) == ("지워 달라는 요구에 따라 지웠습니다.", "nothing")


def test_no_finding_counts_as_the_persons_words() -> None:
    assert not MINE & FINDINGS


@pytest.mark.parametrize(
    ("last", "kind", "petition", "ends"),
    [
        # By the Korean date: the last hours of a year in Greenwich are the next year in Seoul.
        ("2026-12-31T23:59:59+09:00", "inquiry", True, "2030-01-01"),
        ("2026-12-31T23:59:59+00:00", "inquiry", True, "2031-01-01"),
        ("2026-03-01T00:00:00+09:00", "corruption_report", True, "2037-01-01"),
        ("2026-03-01T00:00:00+09:00", "commendation", True, "2028-01-01"),
        ("2026-03-01T00:00:00+09:00", None, False, "2028-01-01"),
        ("2026-03-01T00:00:00+09:00", None, True, "2030-01-01"),
    ],
)
def test_until_when_a_case_is_kept(last: str, kind: str | None, petition: bool, ends: str) -> None:
    period = retention.rules().of_case("seoul", kind, petition)
    assert retention.ends(instant(last), period, SEOUL.zone).isoformat() == ends


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("홍길동", "홍 길동", True),
        ("HONG Gildong", "hong gildong", True),
        ("홍길동", "홍길순", False),
        ("", "", False),
        ("--", "!!", False),
    ],
)
def test_a_name_is_compared_however_it_is_written(one: str, other: str, same: bool) -> None:
    assert same_name(one, other) is same
