"""Tenants: the municipalities that one Gihan serves, their publishing systems and their settings.

The one rule: what may differ between municipalities is data here or in a charter, never code.
"""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import yaml


class Source(msgspec.Struct, frozen=True):
    """A publishing system. `reports_within_seconds` is how late it may report by nature (default 0)."""

    reports_within_seconds: int = 0


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
            **fields,
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"tenant {name}: {error} is missing, unknown or of the wrong kind") from error
