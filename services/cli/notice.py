"""`gihan notice`: messages as they will read, and whether all of them are fit to be sent.

The one rule: nothing is sent and nobody is looked up; the people in a preview do not exist.
"""

import json
from typing import Annotated, Any

import typer

from services.cli.errors import plain_errors
from services.cli.options import AsJson
from services.cli.running import read_tenants
from services.notifier import texts
from services.notifier.texts import lint as linting

app = typer.Typer(no_args_is_help=True, help="Messages: how they read, and whether they are fit to be sent.")


@app.command()
def preview(
    template: Annotated[str | None, typer.Argument(help="Which message; default all.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose; default the first city.")] = None,
    language: Annotated[str, typer.Option(help="ko or en.")] = "ko",
    promise: Annotated[str, typer.Option(help="The promise that it is about.")] = "statutory-period",
    as_json: AsJson = False,
) -> None:
    """Shows messages with invented values: the mail, and what a telephone is sent, with its kind and bytes."""
    with plain_errors():
        shown = previews(template, tenant, language, promise)
    if as_json:
        print(json.dumps(shown, ensure_ascii=False))
        return
    for one in shown:
        print(f"== {one['template']}\n{one['subject']}\n", *one["lines"], sep="\n")
        print(f"\n-- {one['kind']}, {one['bytes']} bytes\n{one['text']}\n")


def previews(template: str | None, tenant: str | None, language: str, promise: str) -> list[dict[str, Any]]:
    """A message each. Raises ValueError for what is not there."""
    tenants = read_tenants()
    city = tenants.get(tenant or next(iter(tenants)))
    if city is None:
        raise ValueError(f"There is no city {tenant!r}; take one of {', '.join(sorted(tenants))}.")
    if language not in texts.LANGUAGES:
        raise ValueError(f"There are no messages in {language!r}; take one of {', '.join(texts.LANGUAGES)}.")
    templates = texts.of_tenant(language, city.id).templates
    if template is not None and template not in templates:
        raise ValueError(f"There is no message {template!r}; take one of {', '.join(sorted(templates))}.")
    values = dict(linting.PLAIN) | {"promise": promise}
    shown = []
    for name in [template] if template else templates:
        items = [{**values, "template": one} for one in templates[name].each if one not in ("default", "more")]
        told = values | ({"items": items, "count": len(items)} if items else {})
        message = texts.render(name, language, city, told, linting.NOW)
        kind, text = texts.sms_text(message)
        shown.append(
            {
                "template": name,
                "subject": message.subject,
                "lines": list(message.lines),
                "kind": kind,
                "bytes": len(text.encode("cp949")),
                "text": text,
            }
        )
    return shown


@app.command()
def lint(as_json: AsJson = False) -> None:
    """Renders every message of every city with values that try to be more than values; ends with 1 where one is not
    fit to be sent."""
    with plain_errors():
        wrong = list(linting.lint(read_tenants()))
    if as_json:
        print(json.dumps([one._asdict() for one in wrong], ensure_ascii=False))
    else:
        for one in wrong:
            print(f"{one.tenant} {one.language} {one.template} with {one.values}: {one.says}")
        if not wrong:
            print("Every message is fit to be sent.")
    raise typer.Exit(1 if wrong else 0)
