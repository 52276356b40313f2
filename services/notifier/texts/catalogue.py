"""The catalogues: all texts of a language, and where a city says it in its own words.

The one rule: a city's words are data. `contracts/messages/<tenant>.yaml` replaces templates, of all its messages or of
those about one promise, the lines of the signature, and words; what it does not name stays as it is for everybody.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

from contracts import files
from services.notifier.texts.words import FILLERS

LANGUAGES = ("ko", "en")
SPARE = ("{link}", "{survey}")
"""A line with one of these is left out of a short text in which it has no room."""
MARKS = frozenset({"signature", "items"})
"""Stand on a line of their own, for the lines of the signature and for the list of a message that tells several
things."""
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_FOLDER = Path(__file__).parent


class Template(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message: its subject, and lines that are left out where a value is missing. `each` has the line of a thing
    listed by its own template, `default` for any other and `more` for how many there are beyond."""

    subject: str
    lines: list[str]
    each: dict[str, str] = {}


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All texts of one language."""

    language: str
    version: int
    signature: list[str]
    templates: dict[str, Template]
    spans: dict[str, str]
    words: dict[str, dict[str, str]]
    promises: dict[str, dict[str, Template]] = {}

    def signed_by(self) -> frozenset[str]:
        """What the signature names."""
        return frozenset(name for line in self.signature for name in PLACEHOLDER.findall(line))

    def template(self, name: str, promise: str | None = None) -> Template | None:
        """The template of a message, in the words for its promise where there are any."""
        return self.promises.get(promise or "", {}).get(name) or self.templates.get(name)


class _Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a city says in its own words, in one language."""

    signature: list[str] | None = None
    templates: dict[str, Template] = {}
    words: dict[str, dict[str, str]] = {}
    promises: dict[str, dict[str, Template]] = {}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of `contracts/messages`."""

    tenant: str
    ko: _Own
    en: _Own


@cache
def catalogue(language: str) -> Catalogue:
    """The texts of a language as they are for everybody. Raises ValueError, naming file and template."""
    path = _FOLDER / f"{language}.yaml"
    found = msgspec.convert(yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader), Catalogue)
    _check(found, path.name)
    return found


@cache
def of_tenant(language: str, tenant: str) -> Catalogue:
    """The texts of a language in the words of a tenant. Raises ValueError, naming file and template."""
    common, document = catalogue(language), files.messages().get(tenant)
    if document is None:
        return common
    name = f"messages/{tenant}.yaml"
    try:
        content: Any = yaml.load(document, Loader=yaml.CSafeLoader)
        own: _Own = getattr(msgspec.convert(content, _File), language)
    except (msgspec.ValidationError, yaml.YAMLError) as error:
        raise ValueError(f"{name}: {error}") from None
    known = {*common.templates}
    for where in (own.templates, *own.promises.values()):
        if strange := sorted(where.keys() - known):
            raise ValueError(f"{name}: no message is called {strange}; take one of {sorted(known)}")
    if strange := sorted(own.words.keys() - common.words.keys()):
        raise ValueError(f"{name}: there are no words for {strange}; take one of {sorted(common.words)}")
    found = msgspec.structs.replace(
        common,
        signature=common.signature if own.signature is None else own.signature,
        templates=common.templates | own.templates,
        words={of: words | own.words.get(of, {}) for of, words in common.words.items()},
        promises=own.promises,
    )
    _check(found, name)
    return found


def _check(texts: Catalogue, name: str) -> None:
    """Raises ValueError for a placeholder that nobody can fill, or a list without its lines."""
    everything = [*texts.templates.items(), *(one for own in texts.promises.values() for one in own.items())]
    for template, chosen in everything:
        for text in (chosen.subject, *chosen.lines, *chosen.each.values()):
            names = set(PLACEHOLDER.findall(text))
            unknown = names - FILLERS.keys() - {"more"}
            if unknown and not (len(names) == 1 and names <= MARKS and text == f"{{{next(iter(names))}}}"):
                raise ValueError(f"{name}: template {template} uses {sorted(unknown)}; take one of {sorted(FILLERS)}")
        if not chosen.lines or set(PLACEHOLDER.findall(chosen.lines[0])) & MARKS:
            raise ValueError(f"{name}: template {template} must begin with a line of its own")
        if "{items}" in chosen.lines and not {"default", "more"} <= chosen.each.keys():
            raise ValueError(f"{name}: template {template} lists things; `each` must have `default` and `more`")
    for line in texts.signature:
        if unknown := set(PLACEHOLDER.findall(line)) - FILLERS.keys():
            raise ValueError(f"{name}: the signature uses {sorted(unknown)}; take one of {sorted(FILLERS)}")
