"""Cases and staff, as far as messages need them, and who stands on which rung of the ladder.

The one rule: nothing personal; of a person there is what the facts say beside it, and a name is an id.
"""

from collections.abc import Collection, Mapping

import msgspec

from services.notifier.ledger.transaction import CaseKey, Row, Transaction
from services.notifier.notices import RUNGS, CaseView, Event
from services.rules import instants
from services.rules.instants import Instant


class Cases(Transaction):
    """The rows of cases, tenants and staff."""

    async def views(self, cases: Collection[CaseKey]) -> dict[CaseKey, CaseView]:
        """The views of cases; an empty one where nothing is known."""
        found: dict[CaseKey, CaseView] = {case: CaseView() for case in cases}
        rows = await self.connection.fetch(
            "SELECT c.* FROM unnest($1::text[], $2::text[]) AS wanted (tenant, case_id) "
            "JOIN notifier.cases c USING (tenant, case_id)",
            [tenant for tenant, _ in cases],
            [case for _, case in cases],
        )
        for row in rows:
            found[row["tenant"], row["case_id"]] = msgspec.json.decode(row["view"], type=CaseView)
        return found

    async def save_views(self, views: Mapping[CaseKey, CaseView]) -> None:
        """Writes views back."""
        await self.connection.execute(
            "INSERT INTO notifier.cases SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[]) "
            "ON CONFLICT (tenant, case_id) DO UPDATE SET view = excluded.view",
            [tenant for tenant, _ in views],
            [case for _, case in views],
            [msgspec.json.encode(view).decode() for view in views.values()],
        )

    async def goes_live(self, fact: Event) -> None:
        """Keeps since when a tenant is live: the first charter that its log enacts says so."""
        live = instants.instant(fact.data.get("go_live") or fact.time)
        await self.connection.execute(
            "INSERT INTO notifier.tenants (tenant, live_since) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            fact.tenant,
            live,
        )

    async def live_since(self) -> dict[str, Instant]:
        """Since when each tenant is live."""
        rows = await self.connection.fetch("SELECT tenant, live_since FROM notifier.tenants")
        return {row["tenant"]: row["live_since"] for row in rows}

    async def describe_staff(self, fact: Event) -> None:
        """Keeps of a member of staff what is not personal."""
        await self.connection.execute(
            "INSERT INTO notifier.staff (tenant, staff, department, has_email, superior, head) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, staff) DO UPDATE SET department = "
            "excluded.department, has_email = excluded.has_email, superior = excluded.superior, head = excluded.head",
            fact.tenant,
            fact.data["staff"],
            fact.data["department"],
            bool(fact.data.get("has_email")),
            fact.data.get("superior"),
            bool(fact.data.get("head")),
        )

    async def staff(self, tenant: str, staff: str | None) -> Row | None:
        """What is known of a member of staff, or None."""
        return await self.connection.fetchrow(
            "SELECT * FROM notifier.staff WHERE tenant = $1 AND staff = $2", tenant, staff
        )

    async def staffs(self, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """What is known of many, by tenant and id; who is not known is left out."""
        rows = await self.connection.fetch(
            "SELECT s.* FROM unnest($1::text[], $2::text[]) AS wanted (tenant, staff) "
            "JOIN notifier.staff s USING (tenant, staff)",
            [tenant for tenant, _ in wanted],
            [staff for _, staff in wanted],
        )
        return {(row["tenant"], row["staff"]): row for row in rows}

    async def on_rung(self, row: Row, view: CaseView) -> str | None:
        """The member of staff who is told: whoever stands on the rung, or above it where nobody there has mail."""
        tenant, officer = row["tenant"], await self.staff(row["tenant"], view.officer)
        for rung in RUNGS[RUNGS.index(row["rung"]) :]:
            found = None
            if rung == "officer":
                found = officer
            elif rung == "audit":
                found = await self.staff(tenant, self.tenants[tenant].messages.audit)
            elif officer is not None and officer["superior"]:
                found = await self.staff(tenant, officer["superior"])
            else:
                found = await self._head_of(tenant, view.department or (officer["department"] if officer else None))
            if found is not None and found["has_email"]:
                name: str = found["staff"]
                return name
        return None

    async def _head_of(self, tenant: str, department: str | None) -> Row | None:
        return await self.connection.fetchrow(
            "SELECT * FROM notifier.staff WHERE tenant = $1 AND department = $2 AND head "
            "ORDER BY has_email DESC, staff LIMIT 1",
            tenant,
            department,
        )
