"""The letter of apology: a page to be printed, made from the vault's data when somebody asks for it, and never kept.

The one rule: the same case, texts and date give the same bytes. No time of day, no random id.
"""

from typing import Literal

from services.chassis.vault import Vault
from services.notifier.ledger import Ledger
from services.notifier.tasks.life import Actor
from services.rules.instants import Instant


async def apology(
    ledger: Ledger, vault: Vault, now: Instant, actor: Actor, key: str, language: Literal["ko", "en"]
) -> bytes:
    """A PDF (A4, tagged language, readable text) that says sorry for what the task `key` is about, to the citizen of
    the case by name and address. The reading stands in the access record under the purpose `apology`. Raises
    NotPossible, and VaultError where the person was erased or the reader may not."""
    raise NotImplementedError
