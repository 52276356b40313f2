"""What pages say: the texts of both languages, dates, amounts and shares as citizens read them.

The one rule: a share is told only of enough cases to mean something, and never rounded up to a perfection that it is
not.
"""

from pathlib import Path
from zoneinfo import ZoneInfo

from services.reading import speaking
from services.reading.speaking import LANGUAGES, Language, Moment
from services.rules.explaining import words as rules_words
from services.rules.explaining.words import Words

__all__ = ["EVENTS", "GROUNDS", "LANGUAGES", "Language", "Moment", "Speaker"]

TEXTS = Path(__file__).parent / "texts"
ENOUGH = 10
"""Of fewer cases no share is told: one more would change it by more than ten in a hundred."""


class Speaker(speaking.Speaker):
    """One language and one time zone, with the texts of the pages or of another folder."""

    def __init__(self, language: Language, zone: ZoneInfo, folder: Path = TEXTS) -> None:
        super().__init__(folder, language, zone)

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
