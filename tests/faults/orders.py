"""Orders for failpoints: each is given in a file and carried out once, by the first process that comes by.

The one rule: an order that was not carried out is a failure of the test, never a success.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Orders:
    """The folder that GIHAN_FAILPOINTS_FOLDER names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def give(self, service: str, name: str, action: str) -> None:
        """Orders `action` at the failpoint `name` of a service, once."""
        order = self.folder / service / name
        order.parent.mkdir(parents=True, exist_ok=True)
        order.with_name(f"{name}.struck").unlink(missing_ok=True)
        new = order.with_name(f"{name}.new")
        new.write_text(action, encoding="ascii")
        new.rename(order)

    def struck(self, service: str, name: str) -> bool:
        """Whether the order was carried out."""
        return (self.folder / service / f"{name}.struck").exists()

    async def wait(self, service: str, name: str, limit_seconds: float = 30.0) -> None:
        """Waits until the order was carried out, and forgets it. Fails where nobody comes by."""
        struck = self.folder / service / f"{name}.struck"
        loop = asyncio.get_running_loop()
        limit = loop.time() + limit_seconds
        while not struck.exists():
            assert loop.time() < limit, f"nobody came by {name} of {service} within {limit_seconds:.0f} s"
            await asyncio.sleep(0.02)
        struck.unlink()

    def clear(self) -> None:
        """Takes every order back."""
        for order in self.folder.glob("*/*"):
            order.unlink(missing_ok=True)


@contextmanager
def allowed(folder: Path) -> Iterator[Orders]:
    """Whatever is started inside the block obeys the orders in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIHAN_FAILPOINTS_FOLDER", str(folder))
        patch.setenv("GIHAN_FAILPOINTS_ALLOWED", "yes")
        yield Orders(folder)
