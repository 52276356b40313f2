"""Who may say and hear what on NATS: one table, from which the server's users are made.

The one rule it protects: allow-lists only. What is not named here is forbidden, so facts come from intake
alone (but for what provisioning enacts), decisions from sla_timer alone, and a publisher reaches its own subjects.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from contracts.events import INBOX_TYPES
from contracts.streams import (
    door_subject,
    feed_subject,
    gone_subject,
    handed_on_subject,
    inbox_subject,
    intake_mark,
    present_subject,
    receipts_subject,
)
from services.chassis.logs import OperatorError
from services.rules.tenants import Tenant

SERVICES = ("intake", "sla_timer", "notifier")

BACKED_UP = ("NOTICES", "SLA", "RECEIPTS", "DEAD", "CASES")
"""The streams of a backup, in the order in which they are taken: what follows from an entry before the entry itself."""

_AMONG_INTAKES = (present_subject("*"), gone_subject("*"), handed_on_subject("*", "*", "*"))

_ASK = ("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.*")


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a user may publish and subscribe to; `answers` lets it reply, once, to a request that reached it.

    A `publisher` is not ours: it is kept in an account of its own.
    """

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool = False
    publisher: bool = False


def publisher(tenant: str, source: str) -> str:
    """The NATS user of a publishing system."""
    return f"{tenant}.{source}"


def consumer(tenant: str, source: str) -> str:
    """The consumer of RECEIPTS by which a publishing system reads what became of its events."""
    return publisher(tenant, source).replace(".", "_")


def heard(tenant: str, source: str) -> tuple[str, str]:
    """What is told to a publishing system: receipts, and the decisions on its own cases."""
    return receipts_subject(tenant, source), feed_subject(tenant, source)


def inbox_prefix(user: str) -> str:
    """Where replies to a user go; the default prefix would let users read each other's."""
    return f"_INBOX_{user.replace('.', '_')}"


def publishers(tenants: Mapping[str, Tenant]) -> list[tuple[str, str]]:
    """(tenant, source) of every publishing system, sorted."""
    return sorted((tenant.id, source) for tenant in tenants.values() for source in tenant.sources)


def table(tenants: Mapping[str, Tenant]) -> dict[str, Permissions]:
    """Permissions by user. Raises OperatorError when two publishers would share an inbox."""
    users = {
        "operator": _user(
            "operator",
            (
                *("$JS.API.>", "$JS.ACK.>"),
                # What provisioning enacts, and the marker that closes it.
                *(f"cases.*.*.{noun}.enacted" for noun in ("rules", "calendar", "charter")),
                *(intake_mark(f"provision-{tenant}") for tenant in tenants),
            ),
            ("sla.>", "notices.>", "receipts.>", "feed.>"),
        ),
        "backup": _user("backup", _snapshot(*BACKED_UP)),
        # Puts back whole streams, and facts at the places where they stood. For `gihan restore` alone, never a service.
        "restore": _user(
            "restore",
            (
                *(f"$JS.API.STREAM.{request}.*" for request in ("INFO", "CREATE", "DELETE", "RESTORE", "MSG.GET")),
                *("$JS.SNAPSHOT.RESTORE.>", "cases.*.*.*.*", "cases.*.clock", "mark.intake.*"),
            ),
        ),
        # Dead letters: read, and given in again at the door of the source that sent them.
        "dead": _user("dead", (*_read("DEAD"), "door.*.*", "receipts.*.*")),
        # Open cases at go-live. What comes by this way is marked, so nobody else has it.
        "import": _user("import", ("import.*.*",)),
        "replay": _user("replay", _read("CASES", "SLA", "NOTICES", "RECEIPTS", "DEAD")),
        "intake": _user(
            "intake",
            # Four tokens after `cases`: every fact, and never a tick.
            (
                *("cases.*.*.*.*", "mark.intake.*", "receipts.*.*", "dead.*.*", *_read("CASES"), *_consume("INBOX")),
                *_AMONG_INTAKES,
            ),
            ("door.*.*", "import.*.*", *_AMONG_INTAKES),
            answers=True,
        ),
        "sla_timer": _user("sla_timer", ("cases.*.clock", "sla.*.*.*.*", "mark.sla.*", *_read("CASES", "SLA"))),
        "notifier": _user(
            "notifier",
            (
                *("notices.*.*.*.*", "mark.notices.*", "receipts.*.*", "feed.*.*"),
                # An approver's finding, as the source by which the desk speaks.
                "door.*.desk",
                *_read("CASES", "SLA", "NOTICES", "RECEIPTS"),
            ),
        ),
    }
    for tenant, source in publishers(tenants):
        users[publisher(tenant, source)] = _publisher(tenant, source)
    inboxes = [inbox_prefix(user) for user in users]
    for inbox in inboxes:
        if inboxes.count(inbox) > 1:
            raise OperatorError(f"Two NATS users would share the inbox {inbox}: rename a tenant or a source.")
    return users


def _user(name: str, publish: Iterable[str], subscribe: Iterable[str] = (), answers: bool = False) -> Permissions:
    return Permissions(tuple(dict.fromkeys(publish)), (f"{inbox_prefix(name)}.>", *subscribe), answers=answers)


def _publisher(tenant: str, source: str) -> Permissions:
    """Its door, its inbox for the types without personal data, and what came of it: live, or from RECEIPTS.

    The one consumer that it reads by is made for it: who makes consumers can have the server write anywhere.
    """
    name = publisher(tenant, source)
    reader = consumer(tenant, source)
    publish = (
        door_subject(tenant, source),
        *(inbox_subject(tenant, source, type) for type in INBOX_TYPES),
        f"$JS.API.CONSUMER.MSG.NEXT.RECEIPTS.{reader}",
        f"$JS.ACK.RECEIPTS.{reader}.>",
    )
    return replace(_user(name, publish, heard(tenant, source)), publisher=True)


def _read(*streams: str) -> tuple[str, ...]:
    """Reading at a position of one's own, without acknowledging anything."""
    return _ASK + tuple(
        f"$JS.API.{request}"
        for stream in streams
        for request in (
            f"STREAM.MSG.GET.{stream}",
            f"CONSUMER.CREATE.{stream}",
            f"CONSUMER.CREATE.{stream}.>",
            f"CONSUMER.INFO.{stream}.*",
            f"CONSUMER.DELETE.{stream}.*",
            f"CONSUMER.MSG.NEXT.{stream}.*",
        )
    )


def _snapshot(*streams: str) -> tuple[str, ...]:
    """Taking a copy of whole streams, and nothing else."""
    return tuple(
        f"$JS.{request}.{stream}{rest}"
        for stream in streams
        for request, rest in (("API.STREAM.INFO", ""), ("API.STREAM.SNAPSHOT", ""), ("SNAPSHOT.ACK", ".>"))
    )


def _consume(stream: str) -> tuple[str, ...]:
    """Reading through a durable consumer, and acknowledging."""
    return (*_read(stream), f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.*", f"$JS.ACK.{stream}.>")
