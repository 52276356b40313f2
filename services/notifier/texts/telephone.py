"""A message for a telephone: whether it goes as a short or a long text, and what is left out or cut so that it fits.

The one rule: what we hand over is what arrives. Bytes are counted as the Korean networks count them (CP949), and what
that cannot write is left out by us, since a gateway would send question marks or nothing.
"""

from collections.abc import Mapping
from typing import NamedTuple

from services.notifier.texts.words import CUT

SMS_BYTES = 90
LMS_BYTES = 2_000
"""Limits of the Korean networks for a short and a long text message, in bytes of CP949."""
SHORTEST = 20
"""No line is cut below so many characters."""

_CP949 = str.maketrans({"—": "-", "–": "-", "₩": "￦", "\u00a0": " "})


class Message(NamedTuple):
    """A text ready to be sent: a subject for e-mail, the lines of the body, and the values that were put into them.
    `spare` are the places of those lines that a short text does without."""

    subject: str
    lines: tuple[str, ...]
    values: Mapping[str, str] = {}
    spare: frozenset[int] = frozenset()


def sms_text(message: Message) -> tuple[str, str]:
    """The kind (SMS or LMS) and the text of a message.

    A link stands in a short text only where it fits; a text that is short without one is not made long for it. Of a
    text that is too long the longest lines are cut, never a link.
    """
    lines = [_writable(line) for line in message.lines]
    short = " ".join(line for place, line in enumerate(lines) if place not in message.spare)
    if _bytes(short) <= SMS_BYTES:
        whole = " ".join(lines)
        return "SMS", whole if _bytes(whole) <= SMS_BYTES else short
    return "LMS", "\n".join(_fitted(lines, message.spare))


def _fitted(lines: list[str], whole: frozenset[int]) -> list[str]:
    fitted = list(lines)
    while (over := _bytes("\n".join(fitted)) - LMS_BYTES) > 0:
        cuttable = [place for place, line in enumerate(fitted) if place not in whole and len(line) > SHORTEST]
        if not cuttable:
            fitted.pop()
            continue
        longest = max(cuttable, key=lambda place: len(fitted[place]))
        # A character is at most two bytes; the mark of the cut takes two.
        keep = max(SHORTEST, len(fitted[longest]) - (over + 1) // 2 - 1)
        fitted[longest] = fitted[longest][: min(keep, len(fitted[longest]) - 2)].rstrip() + CUT
    return fitted


def _writable(line: str) -> str:
    return line.translate(_CP949).encode("cp949", "ignore").decode("cp949")


def _bytes(text: str) -> int:
    return len(text.encode("cp949"))
