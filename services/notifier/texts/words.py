"""Values become words: dates as people say them, amounts, codes, and names made harmless.

The one rule: each placeholder has one way to become words, and what comes out is one line without anything hidden.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from services.rules import instants
from services.rules.instants import Instant
from services.rules.tenants import Tenant

if TYPE_CHECKING:
    from services.notifier.texts.catalogue import Catalogue

NAME_CHARACTERS = 60
"""No name is longer: that of a department is cut, so that none can push the rest out of a message."""
TEXT_CHARACTERS = 2_000
"""As long as the office's own reasons may be (the contract of events); a telephone is sent less of them."""
CUT = "…"

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_UNWANTED = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_WEEKDAYS = {"ko": "월화수목금토일", "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")}
_MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)


def said(
    lines: Iterable[str], values: Mapping[str, Any], texts: "Catalogue", tenant: Tenant, now: Instant
) -> dict[str, str]:
    """The values that these lines ask for and that are there, as words."""
    wanted = {name for line in lines for name in _PLACEHOLDER.findall(line)} & values.keys() & FILLERS.keys()
    words = {name: FILLERS[name](values[name], texts, tenant, now) for name in wanted if values[name] is not None}
    return {name: text for name, text in words.items() if text}


def fill(text: str, filled: Mapping[str, str]) -> str | None:
    """The text with its values put in once (a value is never read as a template), or None where one is missing."""
    if missing(text, filled):
        return None
    return _PLACEHOLDER.sub(lambda match: filled[match[1]], text)


def missing(text: str, filled: Mapping[str, str]) -> list[str]:
    """The placeholders of a text that have no value."""
    return sorted(set(_PLACEHOLDER.findall(text)) - filled.keys())


def plain(value: object, characters: int = NAME_CHARACTERS) -> str:
    """A value as one harmless line: normalised, without controls, line breaks or direction marks, and cut."""
    text = unicodedata.normalize("NFC", str(value)[: 8 * characters])
    text = "".join(" " if character in "\t\r\n" else character for character in text)
    text = " ".join("".join(one for one in text if unicodedata.category(one) not in _UNWANTED).split())
    return text if len(text) <= characters else text[: characters - 1].rstrip() + CUT


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
        text = f"{year}{day.month}월 {day.day}일({weekday})"
        return text if ends_day else f"{text} {_korean_hour(local.hour, local.minute)}"
    text = f"{weekday} {day.day} {_MONTHS[day.month - 1]}{f' {day.year}' if other_year else ''}"
    half = "am" if local.hour < 12 else "pm"
    return text if ends_day else f"{text}, {local.hour % 12 or 12}:{local.minute:02d} {half}"


def _korean_hour(hour: int, minute: int) -> str:
    text = f"{'오전' if hour < 12 else '오후'} {hour % 12 or 12}시"
    return f"{text} {minute}분" if minute else text


def _name(value: Any, texts: "Catalogue", tenant: Tenant, now: Instant) -> str:
    return plain(value)


def _text(value: Any, texts: "Catalogue", tenant: Tenant, now: Instant) -> str:
    """The office's own words; an item a line becomes one line."""
    return plain("; ".join(line for line in str(value).splitlines() if line.strip()), TEXT_CHARACTERS)


def _address(value: Any, texts: "Catalogue", tenant: Tenant, now: Instant) -> str:
    """Of a page; we made it, and cut it would lead nowhere."""
    return plain(value, TEXT_CHARACTERS)


def _date(value: Any, texts: "Catalogue", tenant: Tenant, now: Instant) -> str:
    return date_text(value, texts.language, tenant, now)


def _amount(value: Any, texts: "Catalogue", tenant: Tenant, now: Instant) -> str:
    amount, currency = value
    if texts.language == "ko" and currency == "KRW":
        return f"{amount:,}원"
    return f"{amount:,} {plain(currency)}"


def _span(value: Any, texts: "Catalogue", tenant: Tenant, now: Instant) -> str:
    number, unit = str(value).split()
    return texts.spans[unit].replace("{n}", number)


def _word(of: str) -> "Filler":
    def word(value: Any, texts: "Catalogue", tenant: Tenant, now: Instant) -> str:
        words = texts.words[of]
        return words.get(value) or words.get("default", "")

    return word


def _listed(value: Any, texts: "Catalogue", tenant: Tenant, now: Instant) -> str:
    """What is asked for, by name."""
    return ", ".join(word for word in (texts.words["asked"].get(one) for one in value) if word)


Filler = Callable[[Any, "Catalogue", Tenant, Instant], str]

FILLERS: dict[str, Filler] = {
    **dict.fromkeys(("city", "receipt", "case", "contact", "officer_email", "objection_days", "count"), _name),
    **dict.fromkeys(("approver", "superior", "visitor"), _name),
    **dict.fromkeys(("due", "respond_by", "at"), _date),
    **dict.fromkeys(("law", "reason", "remedies"), _text),
    **dict.fromkeys(("link", "survey"), _address),
    **{name: _word(name) for name in ("outcome", "ground", "state", "promise", "news")},
    "amount": _amount,
    "length": _span,
    "asked": _listed,
}
"""Every placeholder that a template may hold, and how its value becomes words."""
