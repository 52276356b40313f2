"""Lint: every template of every city rendered with values that try to be more than values.

The one rule: whatever stands in a value, one harmless message comes out, within its bytes, or none because a value
that it cannot do without is missing.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from services.notifier.texts import LANGUAGES, LMS_BYTES, SMS_BYTES, Message, Unsayable, of_tenant, render, sms_text
from services.rules.instants import Instant, instant
from services.rules.tenants import Tenant

NOW = instant("2026-03-10T09:00:00+09:00")
SUBJECT_CHARACTERS = 200

_LINK = "https://minwon.example/ko/city/p/1jx3k.AbCdEfGhIjKlMnOpQrStUv"
PLAIN: Mapping[str, Any] = {
    "receipt": "202600012-7",
    "case": "2026-0310-0012",
    "contact": "토지민원과 김담당 02-000-0001",
    "officer_email": "officer@city.example",
    "approver": "토지민원과 박과장 02-000-0002",
    "superior": "토지민원과 박과장 02-000-0002",
    "visitor": "복지과 최방문 02-000-0003",
    "due": instant("2026-03-12T18:00:00+09:00"),
    "at": instant("2026-03-10T08:42:00+09:00"),
    "respond_by": instant("2026-03-21T00:00:00+09:00"),
    "amount": [10_000, "KRW"],
    "length": "3 days",
    "outcome": "answered",
    "ground": "fact_check",
    "state": "assigned",
    "promise": "statutory-period",
    "law": "건축법 제11조 제4항",
    "reason": "도로에 접한 너비가 모자랍니다.",
    "remedies": "이의신청(60일 이내)\n행정심판",
    "objection_days": 60,
    "asked": ["address", "contact"],
    "link": _LINK,
    "survey": f"{_LINK}/survey",
    "count": 3,
}
"""What messages usually hold; for previews too. Nobody in it exists."""

HOSTILE: Mapping[str, str] = {
    "line breaks": "a\r\nBcc: x@example.org\r\n\r\nb\u2028c\u2029d\x85e",
    "hidden direction": "a\u202eb\u2066c\u200bd\ufefff\u00ade",
    "placeholders": "{receipt} {items} {city.__class__} ${x} %s {{ 7*7 }}",
    "markup": "<script>alert(1)</script><img src=x onerror=y>&amp;",
    "a formula": '=HYPERLINK("http://x.example";"y")',
    "controls": "\x00\x07\x1b[31m\x7f",
    "half a character": "a\ud800b\udfffc",
    "nothing": "",
    "blanks": " \t\u3000 ",
    "very long": "긴" * 2_500,
    "one long word": "w" * 2_500,
    "what CP949 lacks": "\U0001f600\u20b9\u1e9e" * 40,
}
_TEXTS = (
    *("receipt", "case", "contact", "officer_email", "approver", "superior", "visitor"),
    *("law", "reason", "remedies"),
)


class Wrong(NamedTuple):
    """A message that would not be fit to send."""

    tenant: str
    language: str
    template: str
    values: str
    says: str


def lint(tenants: Mapping[str, Tenant]) -> Iterator[Wrong]:
    """What is wrong with the words of the cities."""
    for tenant in tenants.values():
        for language in LANGUAGES:
            try:
                templates = of_tenant(language, tenant.id).templates
            except ValueError as error:
                yield Wrong(tenant.id, language, "-", "-", str(error))
                continue
            for template in templates:
                for name, values in cases():
                    for says in _wrong(template, language, tenant, values, NOW, whole=name == "plain"):
                        yield Wrong(tenant.id, language, template, name, says)


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Values to render templates with, by what they try."""
    yield "plain", _with_items(dict(PLAIN))
    yield "none at all", {}
    for name, text in HOSTILE.items():
        yield name, _with_items({**PLAIN, **dict.fromkeys(_TEXTS, text)}, 25)
        yield f"{name}, as a code", _with_items({**PLAIN, "promise": text, "outcome": text, "asked": [text]})


def _with_items(values: dict[str, Any], number: int = 3) -> dict[str, Any]:
    kinds = ("breach", "compensation", "progress", "warning", "escalation", "whatever")
    items = [{**values, "template": kinds[place % len(kinds)]} for place in range(number)]
    return {**values, "items": items, "count": number}


def _wrong(
    template: str, language: str, tenant: Tenant, values: Mapping[str, Any], now: Instant, whole: bool
) -> Iterator[str]:
    try:
        message = render(template, language, tenant, values, now)
    except Unsayable as error:
        if whole:
            yield str(error)
        return
    for line in (message.subject, *message.lines):
        if not line.strip() or any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") for one in line):
            yield "a line is empty, breaks or hides something"
    if len(message.subject) > SUBJECT_CHARACTERS:
        yield f"the subject is longer than {SUBJECT_CHARACTERS} characters"
    if whole and any(mark in line for line in (message.subject, *message.lines) for mark in "{}"):
        yield "a placeholder is left"
    yield from _on_telephones(message)


def _on_telephones(message: Message) -> Iterator[str]:
    kind, text = sms_text(message)
    size = len(text.encode("cp949"))
    if size > (SMS_BYTES if kind == "SMS" else LMS_BYTES):
        yield f"{kind} of {size} bytes"
    links = [line for place, line in enumerate(message.lines) if place in message.spare]
    if kind == "LMS" and not all(link in text for link in links):
        yield "a link is cut"
