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
    "Unsayable",
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


class Unsayable(ValueError):
    """A message has no words, or lacks a value that it cannot do without; names it but no value."""


def render(template: str, language: str, tenant: Tenant, values: Mapping[str, Any], now: Instant) -> Message:
    """The message of a template, in the words of the tenant. Raises Unsayable where there is no such template, or its
    first line lacks a value.

    `values` are the arguments of the ledger (instants, amounts, codes; `items`, the arguments of each thing that one
    message lists, with its `template`) and what is added at the attempt (`receipt`, `contact`, `link` and the like); a
    missing one leaves its line out. `now` tells whether a date needs its year.
    """
    texts = of_tenant(language, tenant.id)
    city = tenant.name_ko if language == "ko" else tenant.name_en
    chosen = texts.template(template, values.get("promise"))
    if chosen is None:
        raise Unsayable(f"no message is called {template}")
    whole_text = (chosen.subject, *chosen.lines, *texts.signature)
    filled = said(whole_text, {**values, "city": city}, texts, tenant, now)
    subject, first = fill(chosen.subject, filled), fill(chosen.lines[0], filled)
    if first is None or subject is None:
        lacking = missing(chosen.lines[0] + chosen.subject, filled)
        raise Unsayable(f"template {template} cannot be sent without {lacking}")
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
    return Message(subject, tuple(lines), filled, frozenset(spare))


def _items(
    chosen: Template, items: Sequence[Mapping[str, Any]], texts: Catalogue, tenant: Tenant, now: Instant
) -> Iterator[str]:
    for item in items[:ITEMS]:
        line = chosen.each.get(item.get("template", ""), chosen.each["default"])
        whole = fill(line, said((line,), {**item, "news": item.get("template")}, texts, tenant, now))
        if whole is not None:
            yield whole
    if len(items) > ITEMS:
        yield chosen.each["more"].replace("{more}", str(len(items) - ITEMS))
