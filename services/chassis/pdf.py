"""Documents as PDF: a page in the tenant's language, with a font that holds Korean and a text that can be read out.

The one rule: the same content gives the same bytes. Nothing in a document depends on the time of day, on the machine or
on chance; what it is dated, its content says.
"""

import logging
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from fpdf import FPDF

FONT = "NanumGothic"
logging.getLogger("fontTools.subset").setLevel(logging.ERROR)  # it warns of tables that a document has no use for
_PACKAGE = "koreanize_matplotlib"
"""The wheel that carries the font. It is looked for and never imported: its code wants a plotting library."""


class FontMissing(Exception):
    """The font of documents is not installed."""


class Document(FPDF):
    """An A4 document that is being written, in millimetres. Use `set_font(FONT, style, points)`, style "" or "B".

    `language` is "ko" or "en", which readers and programs that read aloud go by. Raises FontMissing.
    """

    def __init__(self, language: str, title: str, author: str) -> None:
        super().__init__(format="A4", unit="mm")
        fonts = _fonts()
        self.add_font(FONT, "", fonts / f"{FONT}.ttf")
        self.add_font(FONT, "B", fonts / f"{FONT}Bold.ttf")
        self.set_font(FONT, size=11)
        self.set_lang(language)
        self.set_title(title)
        self.set_author(author)
        self.set_producer("Gihan")
        self.set_creation_date(datetime(2000, 1, 1, tzinfo=UTC))
        self.set_margins(25, 25)
        self.set_auto_page_break(True, 25)

    def written(self) -> bytes:
        """The finished document."""
        return bytes(self.output())


def _fonts() -> Path:
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise FontMissing(
            "The font of letters and reports is not installed: run `pip install --no-deps -r requirements-fonts.txt`."
        )
    return Path(found.submodule_search_locations[0]) / "fonts"
