"""Parts of the document: tables, bars and sections, and how a month, a department or a time is written.

The one rule: texts are finished here; whatever form shows a part only draws it.
"""

from pathlib import Path
from typing import NamedTuple

from services.intake.pages.words import Speaker
from services.rules.reporting.report import Handling
from services.rules.reporting.withheld import OTHERS

TEXTS = Path(__file__).parent / "texts"
NOTHING = "–"
WITHHELD = "*"


class Table(NamedTuple):
    """A table: the first cell of a row is its head. `wide`: it has a column for each month."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    wide: bool = False


class Bar(NamedTuple):
    """One bar: its value (None: not told) and how it is written."""

    label: str
    value: int | None
    text: str


class Plot(NamedTuple):
    """Bars against a scale from 0 to `most`. The caption and the texts of the bars say the same in words."""

    caption: str
    bars: tuple[Bar, ...]
    most: int

    def length(self, bar: Bar) -> int:
        """How long a bar is, in thousandths."""
        return 1000 * (bar.value or 0) // max(self.most, 1)


class Section(NamedTuple):
    """A part of the document; `name` is its anchor."""

    name: str
    heading: str
    says: tuple[str, ...]
    parts: tuple[Table | Plot, ...]


class Document(NamedTuple):
    """The whole of it."""

    title: str
    says: tuple[str, ...]
    sections: tuple[Section, ...]


def place(name: str, speaker: Speaker) -> str:
    """A department as it is told."""
    if name == OTHERS:
        return speaker.say("places.others")
    return name or speaker.say("places.nobody")


def month_name(month: int, speaker: Speaker) -> str:
    """A month, 1 to 12."""
    return speaker.say(f"heads.month_{month}")


def span(row: Handling, speaker: Speaker) -> str:
    """A length of time in hours, from two days on in days."""
    if row.minutes is None:
        return NOTHING
    hours, minutes = divmod(row.minutes, 60)
    if hours < 48:
        return speaker.say("times.hours", hours=hours, minutes=minutes)
    return speaker.say("times.days", days=hours // 24, hours=hours % 24)
