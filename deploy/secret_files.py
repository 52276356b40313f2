"""Files that only their owner can read: passwords, keys, and what says who may come in.

The one rule it protects: such a file is written whole or not at all, and is never readable by others, not even while
it is written.
"""

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from services.chassis.logs import OperatorError, error_code


class SecretError(OperatorError):
    """A file of secrets cannot be read; names it."""


def kept_passwords(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Passwords by name, kept in a file; names that are new get new ones. Raises SecretError."""
    try:
        kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise SecretError(f"{path} cannot be read ({error_code(error)}). Restore it from a backup.") from None
    for name in names:
        kept.setdefault(name, secrets.token_urlsafe(32))
    write_secret(path, json.dumps(kept, indent=1).encode())
    return kept


def kept_password(path: Path) -> str:
    """The password in a file of its own, made when there is none. Raises SecretError."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(path, secrets.token_urlsafe(32).encode())
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SecretError(f"{path} cannot be read ({error_code(error)}). Restore it from a backup.") from None


def write_secret(path: Path, content: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # else a power cut could take the name away from what is sealed with it
    finally:
        os.close(folder)
