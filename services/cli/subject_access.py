"""`gihan subject-access`: the copy that a person may demand of all that is kept of them.

The one rule: what it finds goes into a file for its owner alone, never onto a screen, and stands in the access record
with who made it and how the person was known.
"""

import asyncio
import getpass
import json
import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from services.chassis.vault.purposes import reader_of
from services.cli.errors import plain_errors
from services.cli.options import AsJson, Data
from services.cli.running import read_tenants
from services.cli.vault import By, opened
from services.intake.erasure import Unknown
from services.intake.pages.words import LANGUAGES
from services.intake.subject_access import whom
from services.intake.subject_access.dossier import gather
from services.intake.subject_access.held import Held
from services.intake.subject_access.page import page
from services.intake.subject_access.whom import CHECKED, PURPOSE, Asker
from services.intake.subject_access.words import Words
from services.reading.visibility import Caller
from services.rules.tenants import Tenant

FORMS = (".html", ".json")


def subject_access(
    person: Annotated[str, typer.Argument(help="TENANT/REF, a subject_ref as events carry it; TENANT with --receipt.")],
    out: Annotated[Path, typer.Option(help="A new file: .html to print, .json for a program.")],
    checked: Annotated[str, typer.Option(help=f"How you know who asks: {', '.join(CHECKED)}.")],
    receipt: Annotated[str | None, typer.Option(help="Receipt number of a petition of the person.")] = None,
    language: Annotated[str, typer.Option(help="ko or en.")] = "ko",
    by: By = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """All that is kept of a person, in a file. Compare the name in it with the paper before you hand it over."""
    with plain_errors():
        tenant, slash, ref = person.partition("/")
        if bool(slash) == (receipt is not None):
            raise ValueError("give TENANT/REF, or TENANT and --receipt")
        if checked not in CHECKED:
            raise ValueError(f"--checked is one of {', '.join(CHECKED)}")
        if language not in LANGUAGES:
            raise ValueError("--language is ko or en")
        if out.suffix not in FORMS:
            raise ValueError(f"--out ends in {' or '.join(FORMS)}")
        city = read_tenants().get(tenant)
        if city is None:
            raise ValueError(f"there is no tenant {tenant}: {', '.join(read_tenants())}")
        reader = reader_of("operator", by or getpass.getuser(), socket.gethostname())
        asker = Asker(Caller(tenant, "", "operator", "audit"), reader, f"{PURPOSE}:{checked}")
        words = Words("ko" if language == "ko" else "en", city)
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            held = asyncio.run(_held(data, city, asker, words, ref or None, receipt))
            content = page(held, words) if out.suffix == ".html" else held.model_dump_json(exclude_none=True)
        except BaseException:
            os.close(descriptor)
            out.unlink()
            raise
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
    done = {"file": str(out), "cases": len(held.cases), "erased": held.erased}
    if as_json:
        typer.echo(json.dumps(done))
    elif held.erased:
        typer.echo(f"{out}: nothing is kept any more of this person; it says so.")
    else:
        typer.echo(f"{out}: {len(held.cases)} cases. Delete it once it is handed over.")


async def _held(
    data: Path | None, city: Tenant, asker: Asker, words: Words, ref: str | None, receipt: str | None
) -> Held:
    async with opened(data) as place, place.pool.acquire() as conn:
        if ref is not None:
            person = await whom.by_reference(conn, place.vault, asker, ref)
        else:
            person = await whom.by_receipt(conn, place.vault, asker, None, receipt or "")
        found = person and await gather(conn, place.vault, city, asker, person, words, place.now)
    if found is None:
        raise Unknown("Nobody is known by that: give TENANT/REF as an event carries it, or TENANT and --receipt.")
    return found[0]
