"""The blind index: keyed digests by which a person is found again and nobody can be read.

The one rule it protects: without the tenant's index key a digest tells nothing, and no name or number is compared in
clear.
"""

import hmac
import re
import unicodedata
from collections.abc import Mapping

_NO_WORD, _NO_DIGIT = re.compile(r"[\W_]"), re.compile("[^0-9]")

Mark = tuple[str, bytes]
"""An entry: tenant and keyed digest."""


def marks_of(tenant: str, key: bytes, fields: Mapping[str, str]) -> list[Mark]:
    """Digests that mean one person: the name with each number; without any number, the name with the address."""
    name = _normal_text(fields.get("name", ""))
    address = _normal_text(fields.get("address", ""))
    texts = [f"number|{name}|{n}" for n in numbers_of(fields)] or ([f"address|{name}|{address}"] if address else [])
    if not name:
        return []
    return [(tenant, hmac.digest(key, f"{tenant}|{t}".encode(), "sha256")) for t in dict.fromkeys(texts)]


def number_digest(tenant: str, key: bytes, number: str) -> bytes:
    """Digest of a telephone number, however it is written."""
    return hmac.digest(key, f"{tenant}|telephone|{_normal_number(number)}".encode(), "sha256")


def same_name(one: str, other: str) -> bool:
    """Whether two names are one, however they are written; a name without a letter is nobody's."""
    return bool(_normal_text(one)) and _normal_text(one) == _normal_text(other)


def numbers_of(fields: Mapping[str, str]) -> list[str]:
    """The telephone numbers among the details of a person, in one form."""
    return [n for n in (_normal_number(fields.get(f, "")) for f in ("mobile", "phone")) if n]


def _normal_text(text: str) -> str:
    return _NO_WORD.sub("", unicodedata.normalize("NFKC", text).casefold())


def _normal_number(text: str) -> str:
    digits = _NO_DIGIT.sub("", unicodedata.normalize("NFKC", text))
    return f"0{digits.removeprefix('0082').removeprefix('82')}" if re.match(r"(00)?82", digits) else digits
