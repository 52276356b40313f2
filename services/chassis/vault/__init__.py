"""The vault: personal data goes in sealed and comes out only with a purpose.

The one rule it protects: whoever has the database, the log or a backup reads no name, number, address or text. Read
`keys` first (what opens what), then `sealing` and `people` (how data goes in), `purposes` and `reading` (how it comes
out), `letters`, `rotation` and `erasure` (how it goes for good).
"""

from services.chassis.settings import Settings, SettingsError
from services.chassis.vault.erasure import Erasing, Erasure
from services.chassis.vault.keys import FIRST, Connection, Erased, MasterKeyMissing, TenantKeys, VaultError
from services.chassis.vault.letters import Letters
from services.chassis.vault.people import People, make_confidential
from services.chassis.vault.reading import Head, NotAllowed, Wanted
from services.chassis.vault.rotation import Rotating, Rotation
from services.chassis.vault.sealing import (
    PERSON_FIELDS,
    STAFF_FIELDS,
    Person,
    Sealing,
    content_hash,
    mask_resident_numbers,
)

__all__ = [
    "FIRST",
    "PERSON_FIELDS",
    "STAFF_FIELDS",
    "Connection",
    "Erased",
    "Erasure",
    "Head",
    "MasterKeyMissing",
    "NotAllowed",
    "Person",
    "Rotation",
    "Sealing",
    "TenantKeys",
    "Vault",
    "VaultError",
    "Wanted",
    "content_hash",
    "make_confidential",
    "mask_resident_numbers",
    "open_vault",
]


class Vault(People, Letters, Rotating, Erasing):
    """Seals, reads and forgets. The master keys lie in a folder; everything else in schema `vault`."""


def open_vault(settings: Settings) -> Vault:
    """The vault of this installation. Raises SettingsError, MasterKeyMissing and VaultError."""
    if settings.vault_keys is None:
        raise SettingsError("GIHAN_VAULT_KEYS is not set: it names the folder of the vault's master keys.")
    vault = Vault(settings.vault_keys)
    _ = vault.master.newest  # without any key nothing could be sealed: say so before anything else
    return vault
