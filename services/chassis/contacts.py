"""How a contact must look for a message to reach it.

The one rule: the form that takes a contact and the gateway that uses it ask here, so that nobody is promised a message
that no gateway would take.
"""

import re
import unicodedata

_MOBILE = re.compile(r"01[016789]\d{7,8}")
_SEPARATORS = re.compile(r"[\s().-]")
_FROM_ABROAD = re.compile(r"(?:\+|00)820?")
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")


def mobile_number(text: str) -> str | None:
    """A Korean mobile number in digits as dialled at home, however it was written; None where no text reaches it."""
    bare = _SEPARATORS.sub("", unicodedata.normalize("NFKC", text))
    number = _FROM_ABROAD.sub("0", bare, count=1) if _FROM_ABROAD.match(bare) else bare
    return number if _MOBILE.fullmatch(number) else None


def takes_mail(text: str) -> bool:
    """Whether a mail can be handed over for this address: one of ASCII letters, as SMTP without extensions has it."""
    return _MAIL.fullmatch(text) is not None
