"""Refused letters: each sealed under a key of its own, which is destroyed when it is settled or its time is over.

The one rule it protects: nothing happens to a letter without a record of who did it and why, and nothing of it can be
read once its key is gone.
"""

import secrets

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.chassis.vault.keys import KEY_BYTES, Connection, Erased
from services.chassis.vault.purposes import may
from services.chassis.vault.reading import NotAllowed, Reading
from services.chassis.vault.sealing import seal_bytes, unseal_bytes


class Letters(Reading):
    """Seals, opens, changes and settles refused letters."""

    async def seal_letter(self, conn: Connection, tenant: str, letter: str, content: bytes, expires: int) -> bytes:
        """Seals a refused message under a key of its own, named `letter`, which lives until the instant `expires`;
        answers the sealed bytes. One that is sealed again under its name keeps its key.
        """
        await conn.execute(
            "insert into vault.letters (tenant, letter, data_key, expires) values ($1, $2, $3, $4)"
            " on conflict (tenant, letter) do nothing",
            tenant,
            letter,
            self._wrap(secrets.token_bytes(KEY_BYTES), tenant, f"letter|{letter}"),
            expires,
        )
        key = self._letter_key(await self._wrapped(conn, tenant, letter), tenant, letter)
        return seal_bytes(AESGCM(key), f"{tenant}|{letter}|letter", content)

    async def read_letter(
        self, conn: Connection, tenant: str, letter: str, sealed: bytes, purpose: str, reader: str
    ) -> list[bytes]:
        """A refused message as it came, and what was put in its place, oldest first; on record. Raises NotAllowed, and
        Erased without its key.
        """
        async with conn.transaction():
            await self.record_letter(conn, tenant, letter, "opened", purpose, reader)
            wrapped = await self._wrapped(conn, tenant, letter)
            fixes = await conn.fetch(
                "select number, sealed from vault.letter_fixes where tenant = $1 and letter = $2 order by number",
                tenant,
                letter,
            )
        key = self._letter_key(wrapped, tenant, letter)
        return [
            unseal_bytes(key, f"{tenant}|{letter}|letter", sealed),
            *(unseal_bytes(key, f"{tenant}|{letter}|fix|{row['number']}", row["sealed"]) for row in fixes),
        ]

    async def fix_letter(
        self, conn: Connection, tenant: str, letter: str, content: bytes, purpose: str, reader: str
    ) -> None:
        """Puts other content in the place of a refused message, which is kept beside it; on record."""
        async with conn.transaction():
            await self.record_letter(conn, tenant, letter, "fixed", purpose, reader)
            key = self._letter_key(await self._wrapped(conn, tenant, letter), tenant, letter)
            number = 1 + await conn.fetchval(
                "select count(*) from vault.letter_fixes where tenant = $1 and letter = $2", tenant, letter
            )
            sealed = seal_bytes(AESGCM(key), f"{tenant}|{letter}|fix|{number}", content)
            await conn.execute("insert into vault.letter_fixes values ($1, $2, $3, $4)", tenant, letter, number, sealed)

    async def settle_letter(self, conn: Connection, tenant: str, letter: str, purpose: str, reader: str) -> None:
        """Destroys the key of a refused message, so that nobody reads it or its fixes any more; on record."""
        async with conn.transaction():
            await self.record_letter(conn, tenant, letter, "settled", purpose, reader)
            for table in ("letters", "letter_fixes"):
                await conn.execute(f"delete from vault.{table} where tenant = $1 and letter = $2", tenant, letter)  # noqa: S608

    async def record_letter(
        self, conn: Connection, tenant: str, letter: str, what: str, purpose: str, reader: str
    ) -> None:
        """Writes into the access record what somebody does with a refused message. Raises NotAllowed."""
        if not may(purpose, reader, "letter"):
            raise NotAllowed("Refused letters are for operators: contracts/purposes.yaml names who may read what.")
        await self.record(conn, tenant, reader, purpose, f"letter.{what}", letter)

    async def _wrapped(self, conn: Connection, tenant: str, letter: str) -> bytes | None:
        wrapped: bytes | None = await conn.fetchval(
            "select data_key from vault.letters where tenant = $1 and letter = $2", tenant, letter
        )
        return wrapped

    def _letter_key(self, wrapped: bytes | None, tenant: str, letter: str) -> bytes:
        if wrapped is None:
            raise Erased("no such letter: it was settled, or its thirty days are over")
        return self._unwrap(wrapped, tenant, f"letter|{letter}")
