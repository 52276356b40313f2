"""What people are written, in plain Korean and English.

The one rule: a template takes named values from an allow-list and nothing else. No value can bring in markup, a line
break, a hidden character or a further placeholder, and nothing that a citizen wrote is ever repeated.

`catalogue` reads the texts, ours and those of a city; `words` makes words of values; `telephone` fits a message to the
bytes of the networks; `lint` renders everything with hostile values.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.notifier.texts.catalogue import LANGUAGES, SPARE, Catalogue, Template, catalogue, of_tenant
from services.notifier.texts.telephone import LMS_BYTES, SMS_BYTES, Message, sms_text
from services.notifier.texts.words import date_text, fill, missing, plain, said
from services.rules.instants import Instant
from services.rules.tenants import Tenant

__all__ = [
    "ITEMS",
    "LANGUAGES",
    "LMS_BYTES",
    "SMS_BYTES",
    "Message",
    "Template",
    "catalogue",
    "date_text",
    "of_tenant",
    "plain",
    "render",
    "sms_text",
]

ITEMS = 20
"""So many things one message lists; of the others it says how many they are."""
_SIGNATURE, _ITEMS = "{signature}", "{items}"


def render(template: str, language: str, tenant: Tenant, values: Mapping[str, Any], now: Instant) -> Message:
    """The message of a template, in the words of the tenant. Raises ValueError where its first line lacks a value,
    naming it but no value.

    `values` are the arguments of the ledger (instants, amounts, codes; `items`, the arguments of each thing that one
    message lists, with its `template`) and what is added at the attempt (`receipt`, `contact`, `link` and the like); a
    missing one leaves its line out. `now` tells whether a date needs its year.
    """
    texts = of_tenant(language, tenant.id)
    city = tenant.name_ko if language == "ko" else tenant.name_en
    filled = said({**values, "city": city}, texts, tenant, now)
    chosen = texts.template(template, values.get("promise"))
    subject, first = fill(chosen.subject, filled), fill(chosen.lines[0], filled)
    if first is None or subject is None:
        lacking = missing(chosen.lines[0] + chosen.subject, filled)
        raise ValueError(f"template {template} cannot be sent without {lacking}")
    lines: list[str] = []
    spare: set[int] = set()
    for line in chosen.lines:
        if line == _ITEMS:
            lines += _items(chosen, values.get("items") or (), texts, tenant, now)
            continue
        for part in texts.signature if line == _SIGNATURE else (line,):
            whole = fill(part, filled)
            if whole is not None:
                if any(name in part for name in SPARE):
                    spare.add(len(lines))
                lines.append(whole)
    return Message(subject, tuple(lines), frozenset(spare))


def _items(
    chosen: Template, items: Sequence[Mapping[str, Any]], texts: Catalogue, tenant: Tenant, now: Instant
) -> Iterator[str]:
    for item in items[:ITEMS]:
        filled = said({**item, "news": item.get("template")}, texts, tenant, now)
        whole = fill(chosen.each.get(item.get("template", ""), chosen.each["default"]), filled)
        if whole is not None:
            yield whole
    if len(items) > ITEMS:
        yield chosen.each["more"].replace("{more}", str(len(items) - ITEMS))
