"""The register of publishers' keys: which public keys stand for which publishing system, since when and until when.

The one rule it protects: at most two keys of a system are live, so that one can be replaced without a gap and a
forgotten third one cannot exist. A key that was revoked stays in the register and never comes back.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from contracts.nkeys import Nkey
from deploy.permissions import publisher
from deploy.secret_files import write_secret
from services.chassis.logs import OperatorError, error_code

REGISTER = "publishers.json"
"""Name of the file in a data folder."""
LIVE = 2
"""How many keys of a system may let it in at a time."""


class PublisherError(OperatorError):
    """A key cannot be made or revoked as asked; says why and what to do."""


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """A public key of a publishing system. Instants are RFC 3339 with an offset."""

    nkey: str
    created: str
    revoked: str | None = None


class Register:
    """The keys of all publishing systems, in a file of a data folder. Only `save` writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._keys = msgspec.json.decode(path.read_bytes(), type=dict[str, list[Key]]) if path.exists() else {}
        except (OSError, msgspec.MsgspecError) as error:
            raise PublisherError(f"{path} cannot be read ({error_code(error)}). Restore it from a backup.") from None

    def save(self) -> None:
        """Writes the register, whole or not at all."""
        write_secret(self._path, msgspec.json.format(msgspec.json.encode(dict(sorted(self._keys.items())))))

    def keys(self, tenant: str, source: str) -> list[Key]:
        """All keys that a system ever had, the oldest first."""
        return list(self._keys.get(f"{tenant}/{source}", ()))

    def live(self, tenant: str, source: str) -> list[Key]:
        """Its keys that let it in."""
        return [key for key in self.keys(tenant, source) if key.revoked is None]

    def by_user(self) -> Mapping[str, list[str]]:
        """The live public keys by the NATS user that they stand for."""
        names = [name.split("/") for name in self._keys]
        return {publisher(tenant, source): [k.nkey for k in self.live(tenant, source)] for tenant, source in names}

    def add(self, tenant: str, source: str, now: str) -> Nkey:
        """A further key. Raises PublisherError where two are live already."""
        if len(self.live(tenant, source)) >= LIVE:
            raise PublisherError(
                f"{tenant}/{source} has two live keys. Have the system use the newer one, revoke the older with "
                f"`gihan publisher revoke {tenant} {source}`, and try again."
            )
        made = Nkey.new()
        self._keys.setdefault(f"{tenant}/{source}", []).append(Key(made.public, now))
        return made

    def revoke(self, tenant: str, source: str, now: str, *, everything: bool = False) -> list[str]:
        """Revokes the older of two live keys, or with `everything` whatever is live; returns the public keys."""
        live = self.live(tenant, source)
        gone = {key.nkey for key in (live if everything else live[:-1])}
        self._keys[f"{tenant}/{source}"] = [
            msgspec.structs.replace(key, revoked=now) if key.nkey in gone else key for key in self.keys(tenant, source)
        ]
        return sorted(gone)
