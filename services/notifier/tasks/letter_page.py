"""The page of the letter of apology: words of `letters.yaml` with values put in, drawn as PDF.

The one rule: the same values on the same day give the same bytes. No time of day, no random id.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec
import yaml

from services.chassis.pdf import FONT, Document
from services.notifier import texts
from services.notifier.tasks.letters import Language
from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

_PLACEHOLDER = re.compile(r"\{([a-z]+)\}")


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}):
    """The words of the letter in one language."""

    title: str
    to: str
    receipt: str
    lines: tuple[str, ...]
    contact: str
    dated: str
    sender: str


@cache
def words(language: Language) -> Words:
    """The words of a language."""
    file = Path(__file__).with_name("letters.yaml")
    return msgspec.convert(yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)[language], Words)


def letter(values: Mapping[str, str | None], tenant: Tenant, language: Language, now: Instant) -> bytes:
    """The letter of given values: name, and where they are known address, receipt, promise, due, amount and contact."""
    city = tenant.name_ko if language == "ko" else tenant.name_en
    local = instants.local(now, tenant.zone).date()
    date = f"{local.year}년 {local.month}월 {local.day}일" if language == "ko" else f"{local:%-d %B %Y}"
    known = {name: _plain(value) for name, value in {**values, "city": city, "date": date}.items() if value}
    said = words(language)
    page = Document(language, said.title, city)
    page.add_page()
    for line in (said.to, "{address}", said.receipt):
        _write(page, line, known, 11, 7)
    page.ln(14)
    _write(page, said.title, known, 16, 10, bold=True)
    page.ln(8)
    for line in said.lines:
        _write(page, line, known, 11, 8)
    page.ln(8)
    _write(page, said.contact, known, 10, 6)
    page.ln(10)
    for line in (said.dated, said.sender):
        _write(page, line, known, 12, 8, bold=line == said.sender)
    return page.written()


def _write(page: Document, line: str, known: Mapping[str, str], points: int, height: int, bold: bool = False) -> None:
    """A paragraph, unless a value of it is missing. A value is put in once and never read as a line of its own."""
    filled = _fill(line, known)
    if filled is not None:
        page.set_font(FONT, "B" if bold else "", points)
        page.multi_cell(0, height, filled, new_x="LMARGIN", new_y="NEXT")


def _fill(line: str, known: Mapping[str, str]) -> str | None:
    if any(name not in known for name in _PLACEHOLDER.findall(line)):
        return None
    return _PLACEHOLDER.sub(lambda match: known[match[1]], line)


def _plain(value: str) -> str:
    """Words without controls and hidden characters; each may be long, the whole is not cut."""
    return " ".join(texts.plain(word) for word in value.split())
