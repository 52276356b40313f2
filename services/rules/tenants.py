"""Tenants: the municipalities that one Gihan serves, their publishing systems and their settings.

The one rule: what may differ between municipalities is data here or in a charter, never code.
"""

from collections.abc import Mapping
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import yaml


class Source(msgspec.Struct, frozen=True):
    """A publishing system. `reports_within_seconds` is how late it may report by nature (default 0)."""

    reports_within_seconds: int = 0


class Messages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When messages go. Messages are named by their template; times of day are the tenant's own."""

    quiet: tuple[time, time] | None = (time(21), time(8))
    """From when until when no citizen is sent anything; None: at any time."""
    never_quiet: frozenset[str] = frozenset({"receipt"})
    """What goes at night too: it answers what somebody did just now."""
    daily: int | None = 5
    """So many messages a person is sent in a day; the others come together. None: as many as there are."""
    beyond_daily: frozenset[str] = frozenset(
        {
            *("receipt", "result", "rejection", "extension", "supplement", "details_missing", "fact_voided"),
            *("breach", "breaches", "correction", "corrections", "compensation", "compensation_withdrawn", "digest"),
        }
    )
    """What goes all the same, since somebody must know it or do something; the rest is news."""
    digest_at: time = time(9)
    """When a citizen's digest goes."""
    officers_at: time | None = time(8, 30)
    """When, on working days, the digest of members of staff goes; None: each message goes by itself."""
    audit: str | None = None
    """The staff id of the last rung of the ladder."""
    audit_after_hours: int | None = 8
    """After how many working hours audit is told of what was broken and is still open; None: never."""


class Tenant(msgspec.Struct, frozen=True):
    """A municipality: its names, time zone, calendar, language and who may report what."""

    id: str
    name_ko: str
    name_en: str
    zone: ZoneInfo
    calendar: str
    administrator: str
    language: str = "ko"
    backdate_days: int = 30
    sources: Mapping[str, Source] = {}
    partners: frozenset[str] = frozenset()
    desks: Mapping[str, str] = {}
    """The department that is each of the desks which its charters name, such as the duty desk."""
    go_live: str | None = None
    """RFC 3339: deadlines that were past before are shown, never messaged and never paid. Default: when the first
    charter enters the log."""
    finding_working_days: int = 5
    """By when an approver says whether there was a just reason, where the charter does not say it."""
    sms_sender: str = ""
    email_sender: str = ""
    messages: Messages = Messages()
    gateways: Mapping[str, str] = {}
    """Which gateway sends this municipality's messages, by means (sms, email); default: the one named as the means."""

    @property
    def reports_within_seconds(self) -> int:
        """The slowest of the tenant's sources, in seconds."""
        return max((source.reports_within_seconds for source in self.sources.values()), default=0)


def parse(document: bytes) -> dict[str, Tenant]:
    """Tenants by id from a YAML document. Raises ValueError that names the tenant and the field at fault."""
    content = yaml.load(document, Loader=yaml.CSafeLoader)
    if not isinstance(content, dict):
        raise ValueError("the tenants' file must be a mapping of tenant ids")
    return {name: _tenant(name, fields) for name, fields in content.items()}


def _tenant(name: str, fields: dict[str, Any]) -> Tenant:
    try:
        sources = {source: Source(**(settings or {})) for source, settings in fields.pop("sources", {}).items()}
        return Tenant(
            id=name,
            zone=ZoneInfo(fields.pop("zone")),
            sources=sources,
            partners=frozenset(fields.pop("partners", ())),
            messages=_messages(fields.pop("messages", {})),
            **fields,
        )
    except msgspec.ValidationError as error:
        raise ValueError(f"tenant {name}, messages: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"tenant {name}: {error} is missing, unknown or of the wrong kind") from error


def _messages(fields: dict[str, Any]) -> Messages:
    """Times of day are written like "08:30", the quiet ones like "21:00-08:00"."""
    whole = {name: f"{value}:00" if name.endswith("_at") and value else value for name, value in fields.items()}
    if quiet := fields.get("quiet"):
        whole["quiet"] = [f"{one}:00" for one in str(quiet).split("-")]
    return msgspec.convert(whole, Messages)
