"""Pacing: when a message may go, so that nobody is woken at night or buried under news.

The one rule: a message waits, a decision never does. How long follows from the policy of the tenant alone, which is
data (`services/rules/tenants.py`); what follows here is pure.
"""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import NamedTuple

from contracts import files
from services.rules import instants
from services.rules.calendar import Calendar, OutOfCalendar
from services.rules.instants import HOUR, Instant
from services.rules.rulebook import Library
from services.rules.tenants import Messages, Tenant

OFFICE = "office"
"""The weekly hours of every calendar, in which ladders climb."""


class Wait(NamedTuple):
    """Until when a message waits, and whether it then goes together with all others to the same person."""

    until: Instant
    gathers: bool


class Pace:
    """The policy of one tenant on its calendar. Days that are closed by decision later are not known here: a digest
    then comes on a day off, a ladder climbs a day early."""

    def __init__(self, tenant: Tenant, calendar: Calendar) -> None:
        self.tenant = tenant
        self._policy: Messages = tenant.messages
        self._calendar = calendar

    def cap(self, template: str) -> int | None:
        """How many messages a citizen may have been sent in a day before this one has to wait; None: any number."""
        return None if template in self._policy.beyond_daily else self._policy.daily

    def for_citizen(self, template: str, now: Instant, today: int = 0) -> Wait | None:
        """What a message to a citizen waits for who was sent `today` already today; None: it may go."""
        policy, cap = self._policy, self.cap(template)
        if cap is not None and today >= cap:
            return Wait(self._next(now, policy.digest_at), True)
        if policy.quiet is None or template in policy.never_quiet:
            return None
        morning = self._quiet_until(now, *policy.quiet)
        return None if morning is None else Wait(morning, False)

    def for_officer(self, template: str, due: Instant | None, now: Instant) -> Wait | None:
        """What a message to staff waits for: their digest, unless a warning would come too late with it."""
        if self._policy.officers_at is None:
            return None
        digest = self._next_working(now, self._policy.officers_at)
        if template == "warning" and due is not None and due <= digest:
            return None
        return Wait(digest, True)

    def after_working_hours(self, moment: Instant, hours: int) -> Instant:
        """The instant by which so many working hours have passed."""
        try:
            return self._calendar.at(self._calendar.worked(moment) + hours * HOUR)
        except OutOfCalendar:
            return moment + hours * HOUR

    def midnight(self, now: Instant) -> Instant:
        """When the present day began where the tenant is."""
        return instants.midnight(instants.local(now, self.tenant.zone).date(), self.tenant.zone)

    def _quiet_until(self, now: Instant, begins: time, ends: time) -> Instant | None:
        local = instants.local(now, self.tenant.zone)
        clock = local.time()
        if begins <= ends:
            return self._at(local, ends) if begins <= clock < ends else None
        if clock >= begins:
            return self._at(local + timedelta(days=1), ends)
        return self._at(local, ends) if clock < ends else None

    def _next(self, now: Instant, at: time) -> Instant:
        """The next time of day after now, today or tomorrow."""
        local = instants.local(now, self.tenant.zone)
        today = self._at(local, at)
        return today if today > now else self._at(local + timedelta(days=1), at)

    def _next_working(self, now: Instant, at: time) -> Instant:
        found = self._next(now, at)
        try:
            day = self._calendar.ordinal(found)
            days = self._calendar.roll(day) - day
        except OutOfCalendar:
            return found
        return self._at(instants.local(found, self.tenant.zone) + timedelta(days=days), at)

    def _at(self, day: datetime, clock: time) -> Instant:
        return instants.of_datetime(datetime.combine(day.date(), clock, tzinfo=self.tenant.zone))


def of(tenants: Mapping[str, Tenant]) -> dict[str, Pace]:
    """The policy of each tenant on the newest version of its calendar. Raises NotEnacted."""
    library = Library(files.read())
    calendars = {one.id: library.newest_calendar(one.calendar)[1] for one in tenants.values()}
    return {
        name: Pace(tenants[name], library.compiled(calendar, calendar.hours[OFFICE]))
        for name, calendar in calendars.items()
    }
