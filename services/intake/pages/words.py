"""What pages say: the texts of both languages, dates, amounts and shares as citizens read them.

The one rule: a share is told only of enough cases to mean something, and never rounded up to a perfection that it is
not.
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
ENOUGH = 10
"""Of fewer cases no share is told: one more would change it by more than ten in a hundred."""

_DAYS = {"ko": "월화수목금토일", "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")}
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


class Moment(NamedTuple):
    """An instant for people and, as RFC 3339, for machines."""

    text: str
    iso: str


TEXTS = Path(__file__).parent / "texts"


@cache
def catalogue(language: Language, folder: Path = TEXTS) -> Mapping[str, Mapping[str, Any]]:
    """The texts of a language, by page and name."""
    found: dict[str, dict[Any, Any]] = yaml.safe_load((folder / f"{language}.yaml").read_bytes())
    return {page: {str(name): text for name, text in texts.items()} for page, texts in found.items()}


class Speaker:
    """One language and one time zone, with the texts of a folder."""

    def __init__(self, language: Language, zone: ZoneInfo, folder: Path = TEXTS) -> None:
        self.language = language
        self.zone = zone
        self._texts = catalogue(language, folder)

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

    def span(self, amount: int, unit: str) -> str:
        """A length of time in one of the units of a handling period."""
        korean, english = _UNITS[unit]
        return f"{amount}{korean}" if self.language == "ko" else f"{amount} {english}{'' if amount == 1 else 's'}"

    def share(self, of: str, kept: int, total: int) -> str:
        """How many of how many, as a share where there are enough of them; `of` names the texts."""
        percent = self.percent(kept, total)
        if percent is None:
            return self.say(f"charter.{of}few", kept=kept, total=total)
        return self.say(f"charter.{of}rate", percent=percent[:-1], kept=kept, total=total)

    def percent(self, part: int, total: int) -> str | None:
        """A share such as 92.3%, rounded down; None of too few."""
        if total < ENOUGH:
            return None
        tenths = 1000 * part // total
        return f"{tenths // 10}%" if tenths % 10 == 0 else f"{tenths // 10}.{tenths % 10}%"


_UNITS: Words = {
    "hours": ("시간(근무시간)", "working hour"),
    "days": ("일", "day"),
    "weeks": ("주", "week"),
    "months": ("개월", "month"),
    "years": ("년", "year"),
}

EVENTS, GROUNDS = rules_words.EVENTS, rules_words.GROUNDS
