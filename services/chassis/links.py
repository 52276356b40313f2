"""Links and forms: what a page may be asked for, signed.

The one rule: whoever can show a case was given a signature over exactly that case. 128 bits of HMAC-SHA-256 cannot be
guessed; a link holds a receipt number and a signature, and nothing about a person. Raising the number of a case
(intake.link_epochs) takes back every link to it, a new key file those to all cases.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import NamedTuple

from services.chassis.clock import Instant
from services.chassis.logs import OperatorError
from services.chassis.settings import SettingsError

KEY_BYTES = 32
_MAC_BYTES = 16
_BASE = 36
_MICROSECONDS = 1_000_000
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Link(NamedTuple):
    """What a link says, before its signature is looked at: a receipt number, and until when it holds (None: for good),
    in whole seconds since 1970-01-01T00:00:00Z."""

    receipt: str
    expires: int | None
    mac: str

    @classmethod
    def parse(cls, text: str) -> "Link | None":
        """The link in the last part of an address, None where it is none."""
        head, _, mac = text.partition(".")
        number, _, expires = head.partition("-")
        if not (mac and number and len(text) <= 64 and set(number + expires) <= set(_DIGITS)):
            return None
        digits = f"{int(number, _BASE):010d}"
        if len(digits) != 10:
            return None
        return cls(f"{digits[:9]}-{digits[9]}", int(expires, _BASE) if expires else None, mac)

    def over(self, now: Instant) -> bool:
        """Whether its time has passed."""
        return self.expires is not None and now >= self.expires * _MICROSECONDS


class Signer:
    """Signs links, forms and the cookie that forms are bound to, each for its own purpose."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise OperatorError(f"The file that GIHAN_PAGES_KEY_FILE names must hold {KEY_BYTES} bytes.")
        self._key = key

    @classmethod
    def of_file(cls, path: Path) -> "Signer":
        """The signer with the key in a file. Raises OperatorError."""
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise SettingsError(f"The file named by GIHAN_PAGES_KEY_FILE cannot be read ({error.strerror}).") from None

    def link(self, tenant: str, case: str, receipt: str, epoch: int, expires: Instant | None = None) -> str:
        """The last part of the address of a case."""
        number = _base36(int(receipt.replace("-", "")))
        seconds = None if expires is None else expires // _MICROSECONDS
        head = number if seconds is None else f"{number}-{_base36(seconds)}"
        return f"{head}.{self._link_mac(tenant, case, receipt, epoch, seconds)}"

    def holds(self, link: Link, tenant: str, case: str, epoch: int) -> bool:
        """Whether we gave that link out for that case, and have not taken it back since."""
        mac = self._link_mac(tenant, case, link.receipt, epoch, link.expires)
        return hmac.compare_digest(link.mac.encode(), mac.encode())

    def visitor(self) -> str:
        """A new signed cookie, which names nobody: it ties a form to the browser that asked for it."""
        name = secrets.token_hex(16)
        return f"{name}.{self._mac('visitor', name)}"

    def knows(self, visitor: str) -> bool:
        """Whether a cookie is one of ours."""
        name, _, mac = visitor.partition(".")
        return hmac.compare_digest(mac.encode(), self._mac("visitor", name).encode())

    def form(self, *bound: str) -> str:
        """The hidden field of a form that is bound to a browser or a link, and to what it is for."""
        name = secrets.token_hex(12)
        return f"{name}.{self._mac('form', name, *bound)}"

    def name_of(self, form: str, *bound: str) -> str | None:
        """The name of a form that we gave out for just that, else None. Sent twice it is the same form."""
        name, _, mac = form.partition(".")
        return name if hmac.compare_digest(mac.encode(), self._mac("form", name, *bound).encode()) else None

    def digest(self, *parts: str) -> bytes:
        """A keyed digest, from which nobody finds the parts."""
        return hmac.digest(self._key, "\x1f".join(("digest", *parts)).encode(), "sha256")

    def _link_mac(self, tenant: str, case: str, receipt: str, epoch: int, expires: int | None) -> str:
        return self._mac("link", tenant, case, receipt, str(epoch), "" if expires is None else str(expires))

    def _mac(self, *parts: str) -> str:
        mac = hmac.digest(self._key, "\x1f".join(parts).encode("utf-8", "replace"), "sha256")[:_MAC_BYTES]
        return urlsafe_b64encode(mac).decode().rstrip("=")


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, rest = divmod(number, _BASE)
        digits = _DIGITS[rest] + digits
    return digits or "0"
