"""The files that say who may read what, and for how long it is kept."""

from pathlib import Path
from typing import get_args

import pytest

from contracts.events import Kind
from services.chassis.vault import purposes as reading
from services.intake import retention

GOOD = "a: {says: {en: A., ko: 가.}, roles: [clerk], person: [name]}\n"


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (GOOD.replace("name", "blood_group"), "blood_group"),
        (GOOD.replace("person", "persons"), "persons"),
        (GOOD.replace("roles", "role"), "role"),
    ],
)
def test_a_purpose_that_opens_what_there_is_not_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, words: str
) -> None:
    (tmp_path / "purposes.yaml").write_text(file)
    monkeypatch.setattr(reading, "FILE", tmp_path / "purposes.yaml")
    with pytest.raises(ValueError, match=words):
        reading.purposes.__wrapped__()


def test_every_purpose_says_what_for_in_both_languages_and_opens_something() -> None:
    for name, purpose in reading.purposes().items():
        assert purpose.says.keys() == {"ko", "en"}, name
        assert any(purpose.fields(kind) for kind in ("person", "staff", "text", "lookup", "letter")), name


LAW = "{law: {ko: 법, en: Act}, says: {ko: 말, en: Words}, terms: [1, 3], default: true}"
PERIODS = f"sources: {{records: {LAW}}}\npetitions: {{other: {{years: 3, basis: records}}}}\n"
VISITS = "visits: {years: 1, basis: records}\n"


def rules_of(folder: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> retention.Rules:
    (folder / "retention.yaml").write_text(content)
    monkeypatch.setattr(retention, "FILE", folder / "retention.yaml")
    found: retention.Rules = retention.rules.__wrapped__()
    return found


def test_every_period_says_by_which_law_and_which_are_the_citys_to_set() -> None:
    found = retention.rules()
    for source in found.sources.values():
        assert source.law.keys() == source.says.keys() == {"ko", "en"}
    assert found.petitions["other"].years > 0
    bases = {period.basis for period in (*found.petitions.values(), found.visits)}
    assert bases == {"records"}
    assert found.sources["records"].default
    assert found.sources["records"].terms == (1, 3, 5, 10, 30)
    assert set(found.petitions) <= set(get_args(Kind))  # a kind that is spelled wrongly would be kept like any other


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (PERIODS.replace("other", "inquiry") + VISITS, "other"),
        (PERIODS.replace("years", "months") + VISITS, "months"),
        (PERIODS.replace("basis: records", "basis: custom") + VISITS, "custom"),
        (PERIODS.replace("years: 3", "years: 4") + VISITS, "4 years are no term"),
        (PERIODS + VISITS.replace("years: 1", "years: 2"), "2 years are no term"),
        (PERIODS + "visits: {years: 1}\n", "basis"),
        (PERIODS + VISITS + "cities: {mapo: {petitions: {other: {years: 7, basis: records}}}}", "mapo"),
        (PERIODS + VISITS + "cities: {mapo: {visits: {years: 0, basis: schedule}}}", "mapo"),
    ],
)
def test_a_period_without_a_ground_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        rules_of(tmp_path, monkeypatch, file)


def test_a_city_sets_its_own_periods_by_its_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = "cities: {mapo: {petitions: {statutory: {years: 7, basis: 기준표}}, visits: {years: 2, basis: 기준표}}}"
    found = rules_of(tmp_path, monkeypatch, PERIODS + VISITS + own)
    assert found.years("seoul") == {"other": 3, "visits": 1}
    assert found.years("mapo") == {"other": 3, "statutory": 7, "visits": 2}
