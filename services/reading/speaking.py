"""How pages say things: the texts of a language, dates and amounts as people read them.

The one rule it protects: a date is told with its day of the week and in the tenant's zone, and midnight as the end of
the day before wherever something ends then.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import yaml

from services.rules import instants
from services.rules.explaining import words as rules_words
from services.rules.explaining.words import Words
from services.rules.instants import SECOND, Instant

Language = Literal["ko", "en"]
LANGUAGES: tuple[Language, ...] = ("ko", "en")

_DAYS = {"ko": "월화수목금토일", "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")}
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


class Moment(NamedTuple):
    """An instant for people and, as RFC 3339, for machines."""

    text: str
    iso: str


@cache
def catalogue(folder: Path, language: Language) -> Mapping[str, Mapping[str, Any]]:
    """The texts of a language in a folder, by page and name."""
    path = folder / f"{language}.yaml"
    found: dict[str, dict[Any, Any]] = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    return {page: {str(name): text for name, text in texts.items()} for page, texts in found.items()}


class Speaker:
    """One language and one time zone, with the texts of a folder."""

    def __init__(self, folder: Path, language: Language, zone: ZoneInfo) -> None:
        self.language = language
        self.zone = zone
        self._texts = catalogue(folder, language)

    def say(self, name: str, **values: object) -> str:
        """A text by its dotted name, with its values in it. Raises KeyError where it has none."""
        text: Any = self._texts
        for part in name.split("."):
            text = text[part]
        return str(text).format_map(values)

    def word(self, of: Words, code: str) -> str:
        """A word of the rules, capitalised as a line of its own."""
        said = of.get(code, (code, code))[0 if self.language == "ko" else 1]
        return said[:1].upper() + said[1:]

    def kind(self, kind: str) -> str:
        """What a kind of petition is called."""
        return self.word(rules_words.VALUES, kind)

    def when(self, moment: Instant, ends: bool = False) -> Moment:
        """An instant in words. Where something ends, midnight is the end of the day before."""
        at = instants.local(-(-moment // SECOND) * SECOND if ends else moment, self.zone)
        iso = instants.text(moment, self.zone)
        day = (at - timedelta(seconds=1)).date() if ends else at.date()
        weekday = _DAYS[self.language][day.weekday()]
        whole = ends and (at.hour, at.minute, at.second) == (0, 0, 0)
        clock = f"{at:%H:%M}"
        if self.language == "ko":
            said = f"{day.year}년 {day.month}월 {day.day}일({weekday})"
            return Moment(f"{said} 자정(24:00)" if whole else f"{said} {clock}", iso)
        said = f"{weekday} {day.day} {_MONTHS[day.month - 1]} {day.year}"
        return Moment(f"the end of {said} (24:00)" if whole else f"{said}, {clock}", iso)

    def amount(self, amount: int, currency: str) -> str:
        """An amount of money."""
        return f"{amount:,}원" if self.language == "ko" and currency == "KRW" else f"{amount:,} {currency}"


def preferred(accepted: str) -> Language:
    """The language that a browser wants most among ours (RFC 9110, 12.5.4), Korean where it names none."""
    wanted: list[tuple[float, str]] = []
    for part in accepted.split(","):
        name, _, quality = part.strip().partition(";q=")
        try:
            wanted.append((float(quality or 1), name.partition("-")[0].lower()))
        except ValueError:
            continue
    ranked = sorted(wanted, key=lambda one: -one[0])
    return next((one for quality, name in ranked for one in LANGUAGES if name == one and quality > 0), LANGUAGES[0])
