"""nkeys: how a system proves to NATS who it is, without a password that could be read on the way or in a file.

The one rule: a server is told the public key alone. The seed stays with whoever signs, and is never sent.
"""

import base64
import binascii
import secrets
import struct
from dataclasses import dataclass, field
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED, _USER = 18 << 3, 20 << 3
"""The first five bits of an encoded key say what it is: they are why seeds begin with S and users with U."""
_BYTES = 32


@dataclass(frozen=True, slots=True)
class Nkey:
    """A user's key pair: Ed25519, written as NATS writes it (base32 with a kind in front and a CRC-16 behind)."""

    public: str
    """What the server is told, such as UDXU4R..."""
    seed: str = field(repr=False)
    """What is kept secret, such as SUACSS..."""

    @classmethod
    def new(cls) -> Self:
        """A key pair of 256 random bits."""
        return cls._of(secrets.token_bytes(_BYTES))

    @classmethod
    def of_seed(cls, seed: str) -> Self:
        """The key pair of a user's seed. Raises ValueError, which does not repeat it."""
        raw = _decoded(seed)
        if raw is None or len(raw) != _BYTES + 2 or (raw[0] & 0xF8, (raw[0] & 7) << 5 | raw[1] >> 3) != (_SEED, _USER):
            raise ValueError("this is not the seed of a NATS user: it begins with SU and has 58 letters and digits")
        return cls._of(raw[2:])

    @classmethod
    def _of(cls, raw: bytes) -> Self:
        public = Ed25519PrivateKey.from_private_bytes(raw).public_key().public_bytes_raw()
        head = bytes([_SEED | _USER >> 5, (_USER & 31) << 3])
        return cls(_encoded(bytes([_USER]) + public), _encoded(head + raw))

    def signature(self, nonce: str) -> bytes:
        """The answer to a server's nonce, in base64, as a client library's signature callback gives it."""
        raw = _decoded(self.seed)
        assert raw is not None
        return base64.b64encode(Ed25519PrivateKey.from_private_bytes(raw[2:]).sign(nonce.encode()))


def is_seed(text: str) -> bool:
    """Whether a text is a user's seed, and not a password."""
    try:
        Nkey.of_seed(text)
    except ValueError:
        return False
    return True


def is_public(text: str) -> bool:
    """Whether a text is a user's public key, check digits and all."""
    raw = _decoded(text)
    return raw is not None and len(raw) == _BYTES + 1 and raw[0] == _USER


def _encoded(raw: bytes) -> str:
    return base64.b32encode(raw + struct.pack("<H", binascii.crc_hqx(raw, 0))).decode().rstrip("=")


def _decoded(text: str) -> bytes | None:
    """The bytes without their check sum; None where that is wrong."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        return None
    return raw[:-2] if raw[-2:] == struct.pack("<H", binascii.crc_hqx(raw[:-2], 0)) else None
