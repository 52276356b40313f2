"""Retention: personal data whose time is over is erased, by the clock, every day.

The one rule it protects: what is kept longer than `contracts/retention.yaml` says is erased without anybody asking, and
nothing of an open petition ever is.
"""

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

import asyncpg
import msgspec
import yaml

from services.chassis.clock import Clock, Instant
from services.chassis.failpoints import failpoint
from services.chassis.health import Part
from services.chassis.lease import Lease
from services.chassis.logs import OperatorError, canonical, error_code, get_logger
from services.chassis.settings import ROOT, Settings
from services.chassis.vault import Connection, Erasure, Rotation, Vault
from services.chassis.vault.keys import columns
from services.intake.erasure import carry_out
from services.rules.instants import DAY, local
from services.rules.tenants import Tenant

FILE = ROOT / "contracts" / "retention.yaml"
PURPOSE = "retain"
READER = "intake"
VISITS = "visits"
AGAIN_SECONDS = 5.0
_TOGETHER = 1_000
"""Cases erased in one transaction."""
_LONG = "set local statement_timeout = '300s'"


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A law that says for how long: in both languages, with the terms that it knows where its list is closed.

    `default`: which of them a kind of petition has is each municipality's to set.
    """

    law: dict[str, str]
    says: dict[str, str]
    terms: tuple[int, ...] = ()
    default: bool = False


class Period(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long something is kept, in whole years from the 1 January after its last fact, and by what."""

    years: int
    basis: str


class City(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a municipality sets itself, by its schedule of records."""

    petitions: dict[str, Period] = {}
    visits: Period | None = None


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The periods: by kind of petition, and for what no petition opened; and what cities set in their place."""

    sources: dict[str, Source]
    petitions: dict[str, Period]
    visits: Period
    cities: dict[str, City] = {}

    def years(self, tenant: str) -> dict[str, int]:
        """The years of a tenant by kind of petition; VISITS for what no petition opened."""
        city = self.cities.get(tenant, City())
        periods = {**self.petitions, VISITS: self.visits, **city.petitions}
        if city.visits is not None:
            periods[VISITS] = city.visits
        return {kind: period.years for kind, period in periods.items()}


class Over(NamedTuple):
    """A case whose time is over."""

    tenant: str
    case: str


@cache
def rules() -> Rules:
    """The periods in force. Raises ValueError that says what is wrong with the file."""
    found = msgspec.convert(yaml.load(FILE.read_bytes(), Loader=yaml.CSafeLoader), Rules)
    if "other" not in found.petitions:
        raise ValueError(f"{FILE.name}: petitions must say how long `other` kinds are kept")
    for kind, period in (*found.petitions.items(), (VISITS, found.visits)):
        source = found.sources.get(period.basis)
        if source is None:
            raise ValueError(f"{FILE.name}: {kind} rests on {period.basis}, which is not among the sources")
        if source.terms and period.years not in source.terms:
            raise ValueError(f"{FILE.name}: {kind}: {period.years} years are no term of {period.basis}")
    for name, city in found.cities.items():
        for period in (*city.petitions.values(), *(() if city.visits is None else (city.visits,))):
            if not period.basis or period.basis in found.sources or period.years < 1:
                raise ValueError(f"{FILE.name}: {name} must name the entry of its own schedule of records as basis")
    return found


_OVER = """
with cities as (
    select * from unnest($2::text[], $3::text[]) as c(tenant, zone)
), periods as (
    select * from unnest($4::text[], $5::text[], $6::int[]) as p(tenant, kind, years)
), last as (
    select tenant, case_id, max(recorded) as recorded from intake.reservations group by tenant, case_id
    having to_timestamp(max(recorded) / 1e6) + make_interval(years => $7) <= to_timestamp($1 / 1e6)
), told as (
    select l.tenant, l.case_id, l.recorded, bool_or(r.type = 'complaint.received') as petition,
        (array_agg(b.data ->> 'kind' order by r.occurred desc, r.arrival desc)
            filter (where b.data ? 'kind'))[1] as kind
    from last l join intake.reservations r using (tenant, case_id)
    left join lateral (select convert_from(r.bodies[1], 'UTF8')::jsonb -> 'data' as data
        where r.type in ('complaint.received', 'complaint.classified')) b on true
    where exists (select from vault.texts t where t.tenant = l.tenant and t.case_id = l.case_id)
       or exists (select from vault.subjects s where s.tenant = l.tenant and s.case_id = l.case_id
                  and coalesce(s.name, s.address, s.phone, s.mobile, s.email) is not null)
    group by l.tenant, l.case_id, l.recorded
)
select t.tenant, t.case_id from told t
left join cities c on c.tenant = t.tenant
left join read.cases r on r.tenant = t.tenant and r."case" = t.case_id
left join periods p on p.tenant = coalesce(c.tenant, '') and p.kind = case when t.petition then t.kind else 'visits' end
left join periods other on other.tenant = coalesce(c.tenant, '') and other.kind = 'other'
where (not t.petition or r.closed) and (
    date_trunc('year', to_timestamp(t.recorded / 1e6) at time zone coalesce(c.zone, 'UTC'))
    + make_interval(years => 1 + coalesce(p.years, other.years))
) at time zone coalesce(c.zone, 'UTC') <= to_timestamp($1 / 1e6)
order by t.tenant, t.case_id limit $8
"""
"""Cases whose time is over at $1: the years of the newest kind that was told have passed since the 1 January after the
last fact. Of a tenant whom nobody describes any more the general periods hold, by UTC."""


async def over(conn: Connection, tenants: Mapping[str, Tenant], now: Instant, limit: int = _TOGETHER) -> list[Over]:
    """Cases of which personal data is kept although their time is over; no more than `limit`."""
    periods = [(name, kind, years) for name in ("", *tenants) for kind, years in rules().years(name).items()]
    async with conn.transaction():
        await conn.execute(_LONG)
        rows = await conn.fetch(
            _OVER,
            now,
            list(tenants),
            [tenant.zone.key for tenant in tenants.values()],
            *columns(periods, 3),
            min(years for _, _, years in periods),
            limit,
            timeout=300,
        )
    return [Over(row["tenant"], row["case_id"]) for row in rows]


async def retain(pool: asyncpg.Pool, vault: Vault, tenants: Mapping[str, Tenant], now: Instant) -> int:
    """Erases what is past its time at `now`; of how many cases. May be broken off and repeated."""
    done = 0
    async with pool.acquire() as conn:
        while cases := await over(conn, tenants, now):
            # First on record: from the line in the ledger on it happens, whoever comes to carry it out.
            async with conn.transaction():
                await conn.execute(_LONG)
                for tenant, case in cases:
                    await vault.record(conn, tenant, READER, PURPOSE, "case.erased", case)
            await failpoint("retention.after_record")
            vault.ledger.add([Erasure(now, tenant, case=case) for tenant, case in cases])
            await failpoint("retention.after_ledger")
            async with conn.transaction():
                await conn.execute(_LONG)
                await carry_out(conn, vault)
            done += len(cases)
    return done


async def keep(
    pool: asyncpg.Pool, vault: Vault, tenants: Mapping[str, Tenant], clock: Clock, settings: Settings, part: Part
) -> None:
    """Every day, by the clock, until cancelled: master keys are rotated and what is past its time is erased."""
    done: tuple[Instant, Rotation] | None = None
    while True:
        try:
            now = await clock.now()
            if done is None or done[0] != now // DAY:
                # One instance at a time; the next one finds nothing left to do.
                async with Lease(settings, "vault/daily", part.beat):
                    rotation = await vault.rotate(pool, local(now, ZoneInfo("UTC")).date(), settings.vault_keep_days)
                    cases = await retain(pool, vault, tenants, now)
                done = now // DAY, rotation
                canonical("vault_kept", key=rotation.epoch, count=rotation.wrapped, events=cases)
            if trouble := _trouble(vault, done[1]):
                part.down(trouble)
            else:
                part.beat(master_keys=len(vault.master.epochs))
            await clock.wait((now // DAY + 1) * DAY)
        except Exception as error:  # whatever it is, tomorrow's erasures must not fall out
            said = str(error) if isinstance(error, OperatorError) else "look at the log of intake"
            part.down(f"the vault was not looked after today ({error_code(error)}): {said}")
            get_logger().error("part_failed", part=part.name, exc_info=error)
            await asyncio.sleep(AGAIN_SECONDS)


def _trouble(vault: Vault, last: Rotation) -> str | None:
    if last.epoch not in vault.master.epochs:
        return f"the master key {last.epoch}.key is gone from {vault.master.folder}: put it back at once"
    if last.unreadable:
        lost = ", ".join(f"{epoch}.key opens {keys}" for epoch, keys in last.unreadable.items())
        return f"master keys are missing from {vault.master.folder} ({lost}): put them back, or `gihan vault give-up`"
    return None
