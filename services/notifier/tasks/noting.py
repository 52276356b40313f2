"""What the facts of a case change in the rows of its tasks: findings, who is named in it, and what is done by now.

The one rule: it follows from the facts as folded so far, whatever the row said before; a fact that is taken back takes
with it what it had ended.
"""

from typing import TYPE_CHECKING

from services.notifier.notices import CaseView
from services.notifier.tasks import charters, noted, rows
from services.notifier.tasks.rows import Row

if TYPE_CHECKING:
    from services.notifier.ledger import CaseKey, Work

OPEN = ("held", "assigned")


async def note(work: "Work", case: "CaseKey", view: CaseView) -> None:
    """Brings the rows of a case to what its facts say."""
    if not view.noted:
        return
    for row in await work.connection.fetch(
        "SELECT * FROM notifier.tasks WHERE tenant = $1 AND case_id = $2 ORDER BY key", *case
    ):
        at_fault = noted.at_fault(view.noted, case[1], row["officer"])
        if at_fault != tuple(row["at_fault"]):
            await work.connection.execute(
                "UPDATE notifier.tasks SET at_fault = $2 WHERE key = $1", row["key"], list(at_fault)
            )
        if "finding" in row["needs"]:
            await _find(work, row, view)
        elif row["remedy_key"] is None and not charters.of_duty(row["charter"], row["promise"]):
            await _end(work, row, view)


async def _find(work: "Work", row: Row, view: CaseView) -> None:
    """What is found, by whom, and the fact that says it."""
    found = noted.finding(view.noted, charters.names_of(row["charter"], row["promise"]))
    said = (None, None, None) if found is None else (found[1].finding, found[1].by, found[0])
    if said != (row["finding"], row["finding_by"], row["finding_event"]):
        await work.connection.execute(
            "UPDATE notifier.tasks SET finding = $2, finding_by = $3, finding_event = $4 WHERE key = $1",
            *(row["key"], *said),
        )


async def _end(work: "Work", row: Row, view: CaseView) -> None:
    """What a fact ends is done; what it had ended before it was taken back is to be done again."""
    ending = noted.ending(view.noted, row["task"], row["occurrence"], row["proposed_at"] or 0)
    if row["state"] in OPEN and ending is not None:
        await end(work, row["key"], *ending, view)
    elif row["state"] == "done" and row["finding_event"] is not None and ending is None:
        again = await work.connection.fetchrow(
            "UPDATE notifier.tasks SET state = CASE revision WHEN 0 THEN 'held' ELSE 'assigned' END, "
            "finding_by = NULL, finding_event = NULL WHERE key = $1 RETURNING *",
            row["key"],
        )
        assert again is not None
        source, _, id = row["finding_event"].partition("/")
        data = rows.data_of_task(work, again) | {"fact": {"source": source, "id": id}}
        turns = noted.turns(view.noted, row["finding_event"])
        work.tell(again, "task.reopened", rows.id_by_fact(again, "reopened", row["finding_event"], turns), data)


async def end(work: "Work", key: str, fact: str, outcome: str, view: CaseView) -> None:
    """A task is done, as a fact (source/id) says, unless somebody has ended it before."""
    source, _, id = fact.partition("/")
    row = await work.connection.fetchrow(
        "UPDATE notifier.tasks SET state = 'done', finding_by = $2, finding_event = $3 "
        "WHERE key = $1 AND state = ANY($4::text[]) RETURNING *",
        *(key, source, fact, list(OPEN)),
    )
    if row is not None:
        data = rows.data_of_task(work, row) | {"by": source, "outcome": outcome, "fact": {"source": source, "id": id}}
        work.tell(row, "task.done", rows.id_by_fact(row, "done", fact, noted.turns(view.noted, fact)), data)
