"""Bounces: what mail servers send back about our mails (RFC 3464).

The one rule: a mail is read as a report only where it carries the Message-ID of ours with its mark; whatever else it
says, it does nothing. What is no such report is left for people, marked as seen. Nothing of a mail is logged.
"""

import asyncio
import email
import re
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import NamedTuple

import asyncpg

from services.chassis.failpoints import failpoint
from services.chassis.health import Part
from services.chassis.logs import OperatorError, canonical
from services.notifier.gateways import Found
from services.notifier.reports import LATEST, Marks, keep

LOOK_SECONDS = 5.0
MOST_BYTES = 4 << 20
_ID = re.compile(r"<?([A-Za-z0-9_-]{1,64})\.([0-9a-f]{32})(?:@|\s*$)")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_ACTIONS = {"failed": Found.UNDELIVERED, "delivered": Found.DELIVERED}
"""The rest (delayed, relayed, expanded) is no end."""


class Bounce(NamedTuple):
    """What a mail says of one of ours, with our key and the mark that it showed."""

    key: str
    mark: str
    found: Found
    code: str


def read(content: bytes) -> Bounce | None:
    """What a mail reports; None where it is no report about a mail of ours that came to an end."""
    if len(content) > MOST_BYTES:
        return None
    try:
        mail = email.message_from_bytes(content)  # its lenient policy: hostile headers must not raise
        if mail.get_content_type() != "multipart/report":
            return None
        parts = list(mail.walk())
    except (RecursionError, ValueError, LookupError):
        return None
    ended = next((found for part in parts if (found := _end(part)) is not None), None)
    ours = next((match for text in _named(parts) if (match := _ID.match(text.strip())) is not None), None)
    return None if ended is None or ours is None else Bounce(ours[1], ours[2], *ended)


def _end(part: Message) -> tuple[Found, str] | None:
    """What became of the first recipient whose fate is told (each of our mails has one)."""
    action = str(part.get("Action", "")).split(";")[0].strip().lower()
    if action not in _ACTIONS:
        return None
    status = _STATUS.match(str(part.get("Status", "")).strip())
    return _ACTIONS[action], f"dsn_{status[0].replace('.', '_')}" if status else "dsn"


def _named(parts: list[Message]) -> Iterator[str]:
    """Everything in a report that may name the mail it is about."""
    for part in parts[1:]:
        yield str(part.get("Original-Envelope-Id", ""))
        yield str(part.get("Message-ID", ""))
        if part.get_content_type() == "text/rfc822-headers":
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes):
                yield str(email.message_from_bytes(payload).get("Message-ID", ""))


async def take(pool: asyncpg.Pool, marks: Marks, content: bytes) -> bool:
    """Keeps the report that a mail is; False where it is none about a mail of ours."""
    bounce = read(content)
    if bounce is None or not marks.fits(bounce.mark, bounce.key):
        return False
    await keep(pool, bounce.key, "email", LATEST, bounce.found, bounce.code)
    canonical("bounce_taken", key=bounce.key, outcome=bounce.found.value, code=bounce.code)
    return True


async def watch(folder: Path, pool: asyncpg.Pool, marks: Marks, part: Part) -> None:
    """Reads the mailbox (a Maildir) until cancelled. Raises OperatorError where it cannot be read."""
    while True:
        for path in await asyncio.to_thread(_new, folder):
            if await take(pool, marks, await asyncio.to_thread(path.read_bytes)):
                await failpoint("bounces.after_keeping")
                path.unlink(missing_ok=True)
            else:
                path.rename(folder / "cur" / f"{path.name}:2,S")
        part.beat()
        await asyncio.sleep(LOOK_SECONDS)


def _new(folder: Path) -> list[Path]:
    try:
        (folder / "cur").mkdir(exist_ok=True)
        return sorted(path for path in (folder / "new").iterdir() if path.is_file())
    except OSError as error:
        raise OperatorError(
            f"The mailbox that GIHAN_BOUNCES names cannot be read ({error.strerror}): it must be a Maildir, with "
            "folders new and cur that this service may write to."
        ) from None
