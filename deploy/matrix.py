"""docs/permissions.md: who may publish and hear what on NATS, a cell for each user and subject.

The one rule it protects: a right that somebody gets or loses shows in a table that is reviewed, and a test tries each
of its cells on a real server.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from contracts.streams import STREAMS
from deploy import permissions
from deploy.permissions import Permissions, inbox_prefix
from services.chassis.settings import ROOT
from services.rules.tenants import Tenant, parse

DOCUMENT = ROOT / "docs" / "permissions.md"
COMMAND = "python -m deploy.matrix"
PUBLISHER, OTHER = ("seoul", "kiosk"), ("seoul", "web")
"""A publishing system and another one of its city: what holds for these two holds for all, as all are made alike."""

_OF_A_STREAM = (
    *(f"STREAM.{verb}" for verb in ("CREATE", "UPDATE", "INFO", "DELETE", "PURGE", "SNAPSHOT", "RESTORE")),
    *("STREAM.MSG.GET", "STREAM.MSG.DELETE", "CONSUMER.CREATE", "CONSUMER.NAMES"),
)
_OF_A_CONSUMER = ("CREATE", "DURABLE.CREATE", "INFO", "DELETE", "MSG.NEXT")
_HEAD = """# Who may say and hear what on NATS

Made by `python -m deploy.matrix` from `deploy/permissions.py`; a test tries each cell on a real nats-server. P: may
publish, S: may subscribe, empty: the server refuses. `publisher` is `seoul/kiosk` and stands for every publishing
system; what is another one's is here `seoul/web`. A publisher is besides in an account of its own
(`deploy/nats.py`), so that what it may publish reaches ours, and nothing else does.
"""


class Row(NamedTuple):
    """A subject, and what each user may do with it: "", "P", "S" or "PS"."""

    subject: str
    cells: Mapping[str, str]


def users(tenants: Mapping[str, Tenant]) -> dict[str, Permissions]:
    """The users of the matrix: all of ours, and one publisher."""
    name = permissions.publisher(*PUBLISHER)
    return {user: may for user, may in permissions.table(tenants).items() if not may.publisher or user == name}


def subjects(names: Iterator[str]) -> Iterator[str]:
    """One subject for each kind of thing that somebody could want to say or hear."""
    yield from (f"cases.0.seoul.{type}" for type in ("complaint.received", "rules.enacted", "charter.enacted"))
    yield from ("cases.0.clock", "mark.intake.i0", "mark.intake.provision-seoul")
    yield from ("sla.0.seoul.deadline.breached", "mark.sla.0", "notices.0.seoul.notice.sent", "mark.notices.0")
    for tenant, source in (PUBLISHER, OTHER, ("mapo", "kiosk")):
        yield from (f"{kind}.{tenant}.{source}" for kind in ("door", "import", "receipts", "feed", "dead"))
        # Personal data may not be left lying: only types without any are let into INBOX.
        yield from (f"inbox.{tenant}.{source}.{type}" for type in ("call.answered", "complaint.received"))
    yield from ("intake.present.i0", "intake.gone.i0", "intake.i0.seoul.kiosk", "intake.>")
    yield from (">", "cases.>", "sla.>", "notices.>", "inbox.>", "door.>", "import.>", "receipts.>", "feed.>", "dead.>")
    yield from (f"{inbox_prefix(name)}.reply" for name in names)
    yield from ("_INBOX.reply", "_INBOX.>", "$SYS.REQ.SERVER.PING", "$SYS.>", "$JS.>")
    yield from ("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.ACCOUNT.PURGE.GIHAN")
    for stream in (stream.name for stream in STREAMS):
        yield from (f"$JS.API.{request}.{stream}" for request in _OF_A_STREAM)
        for consumer in dict.fromkeys(("c", *(permissions.consumer(*names) for names in (PUBLISHER, OTHER)))):
            if consumer == "c" or stream == "RECEIPTS":
                yield from (f"$JS.API.CONSUMER.{request}.{stream}.{consumer}" for request in _OF_A_CONSUMER)
                yield f"$JS.ACK.{stream}.{consumer}.1.2.3.4.5"
        yield from (f"$JS.SNAPSHOT.{kind}.{stream}.x" for kind in ("ACK", "RESTORE"))


def matrix(tenants: Mapping[str, Tenant]) -> list[Row]:
    """Every subject with what each user may do."""
    named = users(tenants)
    rows = []
    for subject in subjects(iter(named)):
        cells = {}
        for user, may in named.items():
            publish = "*" not in subject and ">" not in subject and _allowed(subject, may.publish)
            cells[user] = ("P" if publish else "") + ("S" if _allowed(subject, may.subscribe) else "")
        rows.append(Row(subject, cells))
    return rows


def _allowed(subject: str, forms: tuple[str, ...]) -> bool:
    return any(_covers(form.split("."), subject.split(".")) for form in forms)


def _covers(form: list[str], subject: list[str]) -> bool:
    """Whether every subject that the second one stands for is among those of the first."""
    for place, part in enumerate(form):
        if part == ">":
            return len(subject) > place
        if place >= len(subject) or subject[place] == ">" or part not in ("*", subject[place]):
            return False
    return len(form) == len(subject)


def document(tenants: Mapping[str, Tenant]) -> str:
    """The whole page."""
    rows = matrix(tenants)
    columns = list(rows[0].cells)
    heads = ["publisher" if column == permissions.publisher(*PUBLISHER) else column for column in columns]
    lines = ["| subject | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| `{row.subject}` | " + " | ".join(row.cells[column] for column in columns) + " |" for row in rows]
    return _HEAD + "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(parse((ROOT / "deploy" / "tenants.yaml").read_bytes())), encoding="utf-8")
    sys.exit(0)
