"""Zones: in which zone the times of each tenant are told."""

from zoneinfo import ZoneInfo

from contracts import files
from services.rules.rulebook import Library


class Zones(dict[str, ZoneInfo]):
    """The time zone of each tenant, by its newest calendar."""

    def __init__(self, library: Library | None = None) -> None:
        super().__init__()
        self._library = library or Library(files.read())

    def __missing__(self, tenant: str) -> ZoneInfo:
        charter = self._library.charters_of(tenant)[-1][1]
        self[tenant] = zone = self._library.newest_calendar(charter.calendar)[1].zone
        return zone
