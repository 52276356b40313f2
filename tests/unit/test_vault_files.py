"""The files that say who may read what, and for how long it is kept."""

from pathlib import Path

import pytest

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


def test_a_kind_that_is_not_named_has_a_period_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert retention.rules().petitions["other"].years > 0
    (tmp_path / "retention.yaml").write_text("petitions: {inquiry: {years: 3}}\nvisits: {years: 1}\n")
    monkeypatch.setattr(retention, "FILE", tmp_path / "retention.yaml")
    with pytest.raises(ValueError, match="other"):
        retention.rules.__wrapped__()
    (tmp_path / "retention.yaml").write_text("petitions: {other: {months: 3}}\nvisits: {years: 1}\n")
    with pytest.raises(ValueError, match="months"):
        retention.rules.__wrapped__()
