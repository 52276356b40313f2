"""Reading the JSON text of an event, or of an array of them.

The one rule it protects: what is read quickly is what is read carefully. The quick way gives up wherever anything is
odd, and the careful one then says what is wrong and where.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, NoReturn

import orjson

from services.intake.judge import MAX_EVENT_BYTES, Refusal, known_path, too_large

MAX_DEPTH = 16

_MAX_NUMBER = 2**53
_UNKEEPABLE = re.compile("[\x00\ud800-\udfff]")
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
"""An escaped character that cannot be kept, or half of one that can."""
_APART = (b" :", b"\t:", b"\n:", b"\r:")
"""Where a colon may be that stands apart from its name."""


def parse(raw: bytes) -> Any:
    """The JSON value in `raw`: one event, or a list of them. Raises Refusal."""
    value = _quickly(raw)
    if value is None:
        value = _carefully(raw)
    if isinstance(value, dict) and len(raw) > MAX_EVENT_BYTES:
        raise too_large()
    return value


def _quickly(raw: bytes) -> dict[str, Any] | list[Any] | None:
    """What `_carefully` makes of a text in which nothing is wrong; None where something may be.

    An object that names a field twice shows in the count: outside of texts `":` ends a name, and inside them it can
    only make the count too large.
    """
    if _SUSPECT.search(raw) or any(apart in raw for apart in _APART):
        return None
    try:
        value = orjson.loads(raw)
        return value if isinstance(value, (dict, list)) and _count_members(value, 0) == raw.count(b'":') else None
    except ValueError:
        return None


def _count_members(value: dict[str, Any] | list[Any], depth: int) -> int:
    """How many members the objects in a value have. Raises ValueError where a number or the depth is beyond limits."""
    if depth == MAX_DEPTH:
        raise ValueError
    parts: Iterable[Any] = value
    count = 0
    if type(value) is dict:
        parts = value.values()
        count = len(value)
    for part in parts:
        kind = type(part)
        if kind is dict or kind is list:
            count += _count_members(part, depth + 1)
        elif (kind is int or kind is float) and not -_MAX_NUMBER < part < _MAX_NUMBER:
            raise ValueError
    return count


def _carefully(raw: bytes) -> Any:
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise _malformed("not_utf8", "The text is not UTF-8. Send JSON in UTF-8.") from None
    except (ValueError, RecursionError):
        raise _malformed("not_json", "The text is not JSON, or nested too deeply. Send a JSON document.") from None
    for path, part in _walk(value, ()):
        if isinstance(part, str):
            _check_text(part, path)
        elif isinstance(part, float) and not math.isfinite(part):
            raise _malformed("not_a_number", "A number is too large to be one.", path)
        elif isinstance(part, int) and abs(part) > _MAX_NUMBER:
            raise _malformed("not_a_number", "A whole number must lie within 2^53.", path)
    return value


def _malformed(code: str, detail: str, path: Sequence[str | int] = ()) -> Refusal:
    pointer = "".join(f"/{step}" for step in known_path(path)) or None
    return Refusal(code, detail, pointer, HTTPStatus.BAD_REQUEST)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _malformed("duplicate_key", "An object names the same field twice. Send each field once.")
    return members


def _no_constant(_: str) -> NoReturn:
    raise _malformed("not_a_number", "NaN and Infinity are not JSON. Leave the field out.")


def _walk(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value below this one, and every name of a member."""
    if len(path) > MAX_DEPTH:
        raise _malformed("too_deep", f"Values are nested more than {MAX_DEPTH} deep.", path)
    if isinstance(value, dict):
        for name, part in value.items():
            yield path, name
            yield from _walk(part, (*path, name))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _walk(part, (*path, place))
    else:
        yield path, value


def _check_text(text: str, path: Sequence[str | int]) -> None:
    if _UNKEEPABLE.search(text):
        raise _malformed("bad_text", "A text holds a character that no text can hold (NUL, half a pair).", path)
