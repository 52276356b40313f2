"""The catalogue: what people are written, in plain Korean and English.

The one rule: a template takes named values from an allow-list and nothing else. No value can bring in
markup, a line break, a hidden character or a further placeholder, and nothing that a citizen wrote is ever
repeated.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

LANGUAGES = ("ko", "en")
SMS_BYTES = 90
LMS_BYTES = 2_000
"""Limits of the Korean networks for a short and a long text message, in bytes of CP949."""

VALUE_CHARACTERS = 60
"""No value is longer: names of departments are cut, so that no text can outgrow a long message."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_UNWANTED = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_CP949 = str.maketrans({"—": "-", "–": "-", "₩": "￦", "\u00a0": " "})
_WEEKDAYS = {"ko": "월화수목금토일", "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")}
_MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)


class Message(NamedTuple):
    """A text ready to be sent: a subject for e-mail, the lines of the body, and the values that were put into them."""

    subject: str
    lines: tuple[str, ...]
    values: Mapping[str, str] = {}


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message: its subject, and lines that are left out where a value is missing."""

    subject: str
    lines: list[str]


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All texts of one language."""

    language: str
    version: int
    templates: dict[str, Template]
    spans: dict[str, str]
    words: dict[str, dict[str, str]]


@cache
def catalogue(language: str) -> Catalogue:
    """The texts of a language. Raises ValueError, naming file and template, for a placeholder nobody can
    fill.
    """
    path = Path(__file__).parent / "texts" / f"{language}.yaml"
    found = msgspec.convert(yaml.safe_load(path.read_bytes()), Catalogue)
    for name, template in found.templates.items():
        for text in (template.subject, *template.lines):
            unknown = set(_PLACEHOLDER.findall(text)) - _FILLERS.keys()
            if unknown:
                raise ValueError(f"{path.name}: template {name} uses {sorted(unknown)}; take one of {sorted(_FILLERS)}")
    return found


def render(template: str, language: str, tenant: Tenant, values: Mapping[str, Any], now: Instant) -> Message:
    """The message of a template. Raises ValueError where its first line lacks a value, naming it but no
    value.

    `values` are the arguments of the ledger (instants, amounts, codes) and what the vault and intake add
    (`receipt`, `contact`); a missing one leaves its line out. `now` tells whether a date needs its year.
    """
    texts = catalogue(language)
    city = tenant.name_ko if language == "ko" else tenant.name_en
    said = {
        name: _FILLERS[name](value, texts, tenant, now)
        for name, value in {**values, "city": city}.items()
        if name in _FILLERS and value is not None
    }
    filled = {name: value for name, value in said.items() if value}
    chosen = texts.templates[template]
    lines = [line for line in (_fill(line, filled) for line in chosen.lines) if line is not None]
    first, subject = _fill(chosen.lines[0], filled), _fill(chosen.subject, filled)
    if first is None or subject is None:
        missing = sorted(set(_PLACEHOLDER.findall(chosen.lines[0] + chosen.subject)) - filled.keys())
        raise ValueError(f"template {template} cannot be sent without {missing}")
    return Message(subject, tuple(lines), filled)


def sms_text(message: Message) -> tuple[str, str]:
    """The kind (SMS or LMS) and the text of a message for a telephone. Raises ValueError where it is too
    long.

    Only what CP949 can write is left, since a gateway would send question marks or nothing.
    """
    text = " ".join(message.lines).translate(_CP949)
    text = text.encode("cp949", "ignore").decode("cp949")
    size = len(text.encode("cp949"))
    if size > LMS_BYTES:
        raise ValueError(f"a text of {size} bytes is longer than the {LMS_BYTES} that a long message holds")
    return ("SMS" if size <= SMS_BYTES else "LMS"), text


def date_text(moment: Instant, language: str, tenant: Tenant, now: Instant) -> str:
    """An instant as people say it where the tenant is: midnight is the end of the day before, so it has no
    hour.
    """
    local = instants.local(moment, tenant.zone)
    ends_day = (local.hour, local.minute) == (0, 0)
    day = (local - timedelta(minutes=1) if ends_day else local).date()
    other_year = day.year != instants.local(now, tenant.zone).year
    weekday = _WEEKDAYS[language][day.weekday()]
    if language == "ko":
        year = f"{day.year}년 " if other_year else ""
        said = f"{year}{day.month}월 {day.day}일({weekday})"
        return said if ends_day else f"{said} {_korean_hour(local.hour, local.minute)}"
    said = f"{weekday} {day.day} {_MONTHS[day.month - 1]}{f' {day.year}' if other_year else ''}"
    half = "am" if local.hour < 12 else "pm"
    return said if ends_day else f"{said}, {local.hour % 12 or 12}:{local.minute:02d} {half}"


def _korean_hour(hour: int, minute: int) -> str:
    said = f"{'오전' if hour < 12 else '오후'} {hour % 12 or 12}시"
    return f"{said} {minute}분" if minute else said


def _fill(text: str, filled: Mapping[str, str]) -> str | None:
    """The text with its values put in once (a value is never read as a template), or None where one is
    missing.
    """
    if any(name not in filled for name in _PLACEHOLDER.findall(text)):
        return None
    return _PLACEHOLDER.sub(lambda match: filled[match[1]], text)


def plain(value: object) -> str:
    """A value as one harmless line: normalised, without controls, line breaks or direction marks, and cut."""
    text = unicodedata.normalize("NFC", str(value))
    text = "".join(" " if character in "\t\r\n" else character for character in text)
    text = "".join(character for character in text if unicodedata.category(character) not in _UNWANTED)
    return " ".join(text.split())[:VALUE_CHARACTERS]


def _name(value: Any, texts: Catalogue, tenant: Tenant, now: Instant) -> str:
    return plain(value)


def _date(value: Any, texts: Catalogue, tenant: Tenant, now: Instant) -> str:
    return date_text(value, texts.language, tenant, now)


def _amount(value: Any, texts: Catalogue, tenant: Tenant, now: Instant) -> str:
    amount, currency = value
    if texts.language == "ko" and currency == "KRW":
        return f"{amount:,}원"
    return f"{amount:,} {plain(currency)}"


def _span(value: Any, texts: Catalogue, tenant: Tenant, now: Instant) -> str:
    number, unit = str(value).split()
    return texts.spans[unit].replace("{n}", number)


def _word(of: str) -> "Filler":
    def fill(value: Any, texts: Catalogue, tenant: Tenant, now: Instant) -> str:
        words = texts.words[of]
        return words.get(value) or words.get("default", "")

    return fill


Filler = Callable[[Any, Catalogue, Tenant, Instant], str]

_FILLERS: dict[str, Filler] = {
    "city": _name,
    "receipt": _name,
    "case": _name,
    "contact": _name,
    "objection_days": _name,
    "due": _date,
    "respond_by": _date,
    "amount": _amount,
    "length": _span,
    "outcome": _word("outcome"),
    "ground": _word("ground"),
    "state": _word("state"),
    "promise": _word("promise"),
}
"""Every placeholder that a template may hold, and how its value becomes words."""
