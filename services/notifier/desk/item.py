"""One task: what it is about, who did what so far, and the steps that may follow.

The one rule it protects: a step is taken once, by somebody who may know of the task, and is judged where it is written.
What the page offers is a convenience; what it refuses is told in words.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from nats.errors import Error as NatsError
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.pages import PageError
from services.chassis.vault.keys import VaultError
from services.notifier.desk import lists
from services.notifier.desk.site import Visit
from services.notifier.desk.words import line, named
from services.notifier.tasks import acting, findings, kinds, letters, life
from services.notifier.tasks.life import ACKNOWLEDGED, DECLINED, MEANS, NotPossible
from services.reading.speaking import Language
from services.reading.visible import Row

WITH_LETTER = frozenset({"apology", "compensation"})
REASON_LIMIT = 1_000


async def show(request: Request) -> Response:
    """The page of a task."""
    visit = await Visit.of(request)
    return await _page(visit, await _seen(visit))


async def act(request: Request) -> Response:
    """Takes a step; then the page again, which says that it was taken, or why not."""
    visit = await Visit.of(request)
    form = await visit.sent()
    row = await _seen(visit)
    step = request.path_params["step"]
    if step not in STEPS:
        raise PageError(HTTPStatus.NOT_FOUND, "not_found")
    try:
        await STEPS[step](visit, row["key"], form)
    except NotPossible as refused:
        said = named(visit.speaker, "refused", refused.code)
        return await _page(visit, row, said if said != refused.code else str(refused), HTTPStatus.CONFLICT)
    except (TimeoutError, NatsError):
        # Intake does not answer. The same finding sent again stands once.
        return await _page(visit, row, visit.speaker.say("refused.not_now"), HTTPStatus.SERVICE_UNAVAILABLE)
    return visit.go("tasks", row["key"], done=step)


async def letter(request: Request) -> Response:
    """The letter of apology, to be printed. Asked for by a form: reading who somebody is stands on record."""
    visit = await Visit.of(request)
    form = await visit.sent()
    row = await _seen(visit)
    language: Language = "en" if form.get("language") == "en" else "ko"
    now = await visit.site.clock.now()
    try:
        content = await letters.apology(visit.ledger, visit.site.vault, now, visit.actor, row["key"], language)
    except NotPossible as refused:
        return await _page(visit, row, named(visit.speaker, "refused", refused.code), HTTPStatus.CONFLICT)
    except VaultError:
        return await _page(visit, row, visit.speaker.say("refused.sealed"), HTTPStatus.CONFLICT)
    disposition = f'attachment; filename="letter-{row["key"][:8]}.pdf"'
    return Response(content, media_type="application/pdf", headers={"Content-Disposition": disposition})


async def _seen(visit: Visit) -> Row:
    row = await lists.one(visit.site.pool, visit.caller, visit.tenant, visit.request.path_params["key"])
    if row is None:
        raise PageError(HTTPStatus.NOT_FOUND, "no_task")
    return row


async def _page(visit: Visit, row: Row, refused: str = "", status: int = HTTPStatus.OK) -> Response:
    says, now, speaker = visit.site.sayings.of(visit.tenant.id), await visit.site.clock.now(), visit.speaker
    steps = await visit.site.pool.fetch(
        "select * from read.task_steps where tenant = $1 and key = $2 order by number", visit.tenant.id, row["key"]
    )
    done = visit.request.query_params.get("done", "")
    remedy = says.get(row["remedy"] or "", {}).get(visit.language, "")
    return visit.page(
        "item",
        status,
        row=row,
        line=line(row, speaker, says, now),
        remedy=remedy,
        payments=await _payments(visit, row),
        steps=[(speaker.when(step["at"]), step, _detail(visit, step)) for step in steps],
        offers=_offers(row, "approver" in visit.actor.roles or await _stands_in(visit, row["key"])),
        outcomes=kinds.of(row["task"]).outcomes if row["remedy_key"] is None else (),
        reasons=DECLINED,
        means=MEANS,
        words=ACKNOWLEDGED,
        letter=row["task"] in WITH_LETTER and row["readable"],
        limit=REASON_LIMIT,
        largest=life.MOST,
        refused=refused,
        done=done if done in STEPS else "",
    )


async def _payments(visit: Visit, row: Row) -> list[tuple[Any, str, str]]:
    """What was paid in the case by the same clause and taken back since, or covers this, as far as the reader may know
    of it: when, by what, and the key of its task."""
    if row["remedy_key"] is None:
        return []
    steps = await visit.site.pool.fetch(
        'select s.* from read.tasks t join read.task_steps s using (key) where t.tenant = $1 and t."case" = $2'
        " and t.remedy = $3 and t.key <> $4 and s.step = 'issued' and ($5::text is null and t.state = 'kept'"
        " or t.key = $5) order by s.at, t.key",
        *(visit.tenant.id, row["case"], row["remedy"], row["key"], row["covered_by"]),
    )
    known = [await lists.one(visit.site.pool, visit.caller, visit.tenant, step["key"]) for step in steps]
    return [
        (visit.speaker.when(step["at"]), _detail(visit, step), step["key"])
        for step, seen in zip(steps, known, strict=True)
        if seen is not None
    ]


def _detail(visit: Visit, step: Any) -> str:
    parts = [visit.speaker.amount(step["amount"], step["currency"] or "KRW")] if step["amount"] is not None else []
    parts += [named(visit.speaker, "code", step["code"])] if step["code"] else []
    parts += [step["voucher"]] if step["voucher"] else []
    return ", ".join(parts)


async def _stands_in(visit: Visit, key: str) -> bool:
    """Whether the reader acts as audit in the place of an approver."""
    ledger = visit.site.ledger()
    if "audit" not in visit.actor.roles or ledger is None:
        return False
    item, _ = await acting.look(ledger, await visit.site.clock.now(), visit.tenant.id, key)
    return item.for_audit


def _offers(row: Row, approver: bool) -> list[str]:
    """The steps that may follow on the state that the task is in, of those that this role takes."""
    state, wants = row["state"], row["wants"]
    if row["remedy_key"] is None:
        return ["done"] if state == "assigned" else []
    found = []
    if approver and state == "assigned":
        found += ["find"] if "finding" in wants else []
        found += ["amount"] if "amount" in row["needs"] else []
        found += ["approve"] if not wants else []
        found += ["decline"]
    found += ["separate"] if approver and state == "covered" else []
    found += ["issue"] if state == "approved" else []
    found += ["acknowledge"] if state in ("issued", "kept") else []
    return found


async def _find(visit: Visit, key: str, form: FormData) -> None:
    finding = str(form.get("finding", ""))
    if finding not in ("confirmed", "dismissed"):
        raise NotPossible("unknown_code", "Say whether there was a just reason.")
    reason = str(form.get("reason", "")).replace("\r\n", "\n").strip()[:REASON_LIMIT] or None
    now, site = await visit.site.clock.now(), visit.site
    why = reason if finding == "dismissed" else None
    await findings.find(visit.ledger, site.nc, now, visit.actor, key, finding, why)  # type: ignore[arg-type]


def typed_amount(text: str) -> int:
    """An amount as people type it, with or without commas. Raises NotPossible."""
    typed = text.replace(",", "").strip()
    if not (typed.isascii() and typed.isdigit() and 0 < int(typed[:12]) <= life.MOST):
        raise NotPossible("wrong_amount", "Type an amount in whole units of the currency.")
    return int(typed)


async def _amount(visit: Visit, key: str, form: FormData) -> None:
    amount = typed_amount(str(form.get("amount", "")))
    await acting.enter_amount(visit.ledger, await visit.site.clock.now(), visit.actor, key, amount)


async def _approve(visit: Visit, key: str, form: FormData) -> None:
    await acting.approve(visit.ledger, await visit.site.clock.now(), visit.actor, key)


async def _decline(visit: Visit, key: str, form: FormData) -> None:
    now = await visit.site.clock.now()
    await acting.decline(visit.ledger, now, visit.actor, key, str(form.get("reason", "")))


async def _separate(visit: Visit, key: str, form: FormData) -> None:
    await acting.separate(visit.ledger, await visit.site.clock.now(), visit.actor, key)


async def _issue(visit: Visit, key: str, form: FormData) -> None:
    now, voucher = await visit.site.clock.now(), str(form.get("voucher", "")).strip() or None
    await acting.issue(visit.ledger, now, visit.actor, key, str(form.get("means", "")), voucher)


async def _acknowledge(visit: Visit, key: str, form: FormData) -> None:
    now = await visit.site.clock.now()
    await acting.acknowledge(visit.ledger, now, visit.actor, key, str(form.get("word", "")))


async def _finish(visit: Visit, key: str, form: FormData) -> None:
    now = await visit.site.clock.now()
    await acting.finish(visit.ledger, now, visit.actor, key, str(form.get("outcome", "")))


STEPS: dict[str, Callable[[Visit, str, FormData], Awaitable[None]]] = {
    "find": _find,
    "amount": _amount,
    "approve": _approve,
    "decline": _decline,
    "separate": _separate,
    "issue": _issue,
    "acknowledge": _acknowledge,
    "done": _finish,
}
"""The steps that a form may ask for."""
