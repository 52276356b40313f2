"""Places in a list, for whoever goes on from there.

The one rule it protects: a cursor says where to go on and nothing else. Who may see what is asked anew for every page,
so a cursor that was made up leads nowhere that its maker could not go.
"""

import base64
import binascii
from http import HTTPStatus

import orjson

from services.chassis.http import Problem

_LONGEST = 300


def cursor(*place: str | int) -> str:
    """An opaque text for a place."""
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode().rstrip("=")


def place(text: str, *kinds: type) -> list[str | int]:
    """The place in a cursor, whose parts must be of these kinds. Raises Problem 422."""
    try:
        if len(text) > _LONGEST:
            raise ValueError("longer than any that was given out")
        content = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not isinstance(content, list) or [type(part) for part in content] != list(kinds):
            raise ValueError("not a place")
        if any(isinstance(part, int) and not 0 <= part < 2**62 for part in content):
            raise ValueError("not a number of ours")
        if any(isinstance(part, str) and ("\x00" in part or len(part) > 100) for part in content):
            raise ValueError("not a text of ours")
    except (ValueError, binascii.Error):
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "wrong_cursor",
            "This is no cursor of ours. Send the one that came with the page before, as it was.",
            "/cursor",
        ) from None
    return content
