"""What a tenant's charter itself says to an event that comes in: let in, or refused before anything is stored.

The one rule: which details are there is told to the rules as yes or no; no detail itself leaves this module.
"""

import unicodedata
from collections.abc import Iterable
from functools import cache

import msgspec

from contracts import files
from contracts.events import PII_FIELDS, Parted
from services.rules import admission
from services.rules.admission import Judgement
from services.rules.charter import Charter
from services.rules.facts import Data
from services.rules.instants import Instant, local
from services.rules.rulebook import Library
from services.rules.tenants import Tenant

_TEXTS = {type: dict.fromkeys((pii.path for pii in fields), "a-text") for type, fields in PII_FIELDS.items()}
"""By type, a reference for every text that there may be: which one, no charter asks."""
_NOBODY = frozenset(
    "익명 무명 무명씨 가명 아무개 모름 미상 불명 없음 비공개 시민 민원인".split()  # noqa: SIM905 - words are read as words
    + "anonymous anon unknown none null na noname nobody citizen test xxx asdf".split()  # noqa: SIM905
)
"""What people write who do not want to be named."""


def judge(tenant: Tenant, type: str, parted: Parted, time: Instant) -> Judgement:
    """What the charter in force at the time says to an event with this data."""
    charter = charter_of(tenant, time)
    if charter is None or type not in charter.admitting:
        return Judgement()
    # As the log would have it: the same words of a charter are read here and by the fold.
    values = parted.stored(subject_ref=None, text_refs=_TEXTS[type])
    if values.get("has_name") and _is_nobody(parted.personal.person["name"]):
        values["has_name"] = False
    return admission.judge(charter, type, msgspec.convert(values, Data, strict=False))


def _is_nobody(name: str) -> bool:
    """Whether a name names nobody: a word such as those, no letter at all, bare consonants, or one letter thrice."""
    letters = unicodedata.normalize("NFKC", name).casefold()
    if not letters.isalpha():
        letters = "".join(character for character in letters if character.isalpha())
    if not letters or letters in _NOBODY or (len(letters) > 2 and len(set(letters)) == 1):
        return True
    # Hangul letters that make no syllable stand between U+1100 and U+11FF after normalisation.
    return all("\u1100" <= letter <= "\u11ff" for letter in letters)


def prepare(tenants: Iterable[str]) -> None:
    """Reads the charters of these tenants now: it takes a third of a second, for which first complaints would wait."""
    for tenant in tenants:
        _versions(tenant)


def charter_of(tenant: Tenant, time: Instant) -> Charter | None:
    """The charter in force at an instant; before the first one came into force, the first."""
    versions = _versions(tenant.id)
    if len(versions) < 2:
        return versions[0] if versions else None
    day = local(time, tenant.zone).date()
    return ([charter for charter in versions if charter.in_force <= day] or versions[:1])[-1]


@cache
def _versions(tenant: str) -> list[Charter]:
    return [charter for _, charter in library().charters_of(tenant)]


@cache
def library() -> Library:
    """The charters, calendars and laws that came with this program."""
    return Library(files.read())
