"""The seeds of NATS users in a data folder, and the file by which nats-server knows whom to let in.

The one rule it protects: what exists stays, so that whoever has a key keeps it; and a key that was revoked is not made
again by the next start.
"""

from collections.abc import Mapping
from pathlib import Path

from contracts.nkeys import Nkey
from deploy import nats, permissions
from deploy.publishers import REGISTER, Register
from deploy.secret_files import write_secret
from services.rules.tenants import Tenant


def seed_file(data: Path, user: str) -> Path:
    """Where the seed of a NATS user is kept, by which it comes in."""
    return data / "secrets" / "nats" / f"{user}.seed"


def make_seeds(data: Path, tenants: Mapping[str, Tenant], now: str) -> None:
    """Makes a key for each user that never had one: our own, and those of the publishing systems of the tenants' file.

    `now` is RFC 3339. The seed of a system's first key stays in the data folder until somebody hands it over; those
    made later by `gihan publisher` are nowhere but where they are needed.
    """
    (data / "secrets" / "nats").mkdir(mode=0o700, parents=True, exist_ok=True)
    register = Register(data / REGISTER)
    publishers = {permissions.publisher(*names): names for names in permissions.publishers(tenants)}
    for user in permissions.table(tenants):
        path = seed_file(data, user)
        if user in publishers:
            if not register.keys(*publishers[user]):
                write_secret(path, register.add(*publishers[user], now).seed.encode())
        elif not path.exists():
            write_secret(path, Nkey.new().seed.encode())
    register.save()


def write_users(data: Path, tenants: Mapping[str, Tenant]) -> Path:
    """Writes users.conf: our own users by their seeds, publishers by what the register lets in; returns its path."""
    (data / "nats").mkdir(exist_ok=True)
    users = permissions.table(tenants)
    live = Register(data / REGISTER).by_user()
    ours = {user: [Nkey.of_seed(seed_file(data, user).read_text()).public] for user in users if user not in live}
    path = data / "nats" / nats.USERS
    write_secret(path, nats.users_conf(users, {**ours, **live}))
    return path
