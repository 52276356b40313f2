"""How the document speaks: one language, the zone of a municipality, and the words of the pages for messages.

The one rule: a code that has no word here stands for itself, so that nothing on record is left out for want of one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.chassis.vault.purposes import purposes
from services.intake.pages.words import TEXTS as PAGES
from services.intake.retention import Period, rules
from services.reading.speaking import Language, Speaker, catalogue
from services.rules.tenants import Tenant

TEXTS = Path(__file__).parent / "texts"


class Words(Speaker):
    """The words of the document."""

    def __init__(self, language: Language, tenant: Tenant) -> None:
        super().__init__(TEXTS, language, tenant.zone)
        self.city = tenant.name_ko if language == "ko" else tenant.name_en

    @property
    def notes(self) -> list[str]:
        """What everybody is told beside what is kept of them."""
        return [str(note) for note in catalogue(TEXTS, self.language)["notes"].values()]

    def called(self, group: str, code: str) -> str:
        """What a role, a state or a detail is called."""
        return _word(catalogue(TEXTS, self.language)[group], code)

    def purpose(self, name: str) -> str:
        """What a purpose is, as the closed list says it; what is done without one has a word here."""
        known = purposes().get(name)
        return self.called("acts", name) if known is None else known.says[self.language]

    def page_word(self, group: str, code: str) -> str:
        """What a message or a means is called on the pages."""
        return _word(catalogue(PAGES, self.language)[group], code)

    def kept(self, period: Period) -> str:
        """For how long and why, in a sentence."""
        source = rules().sources.get(period.basis)
        basis = period.basis if source is None else source.law[self.language]
        return self.say("held.kept", years=period.years, basis=basis)


def _word(words: Mapping[str, Any], code: str) -> str:
    return str(words.get(code, code))
