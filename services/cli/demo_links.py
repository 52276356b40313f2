"""Where the demo ends: the desk, three of its messages as people read them, and the report of a city.

The one rule: a link opens what the week that was just played has made, and nothing that was written for show.
"""

import json
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

import asyncpg

from services.cli import running

SAMPLES = ("receipt", "breaches", "result")
"""The messages shown, by their templates: what is owed for a broken promise is told together with it."""
CITY = "anseong"
"""Whose report the demo ends with."""


async def chosen(pool: asyncpg.Pool) -> dict[str, str]:
    """The key of the first message that went out by each template of SAMPLES."""
    rows = await pool.fetch(
        "select distinct on (template) template, key from read.notices where template = any($1::text[])"
        " and audience = 'citizen' and state in ('sent', 'delivered') order by template, settled_at, key",
        list(SAMPLES),
    )
    return {row["template"]: row["key"] for row in rows}


def show(gihan: running.Gihan, samples: Mapping[str, str]) -> list[str]:
    """The links, a line each; writes the page of the messages beside the gateways' record."""
    lines = []
    if gihan.desk is not None:
        lines.append(f"desk       {gihan.desk}")
    if gihan.gateway is not None:
        page = gihan.gateway / "samples.html"
        page.write_text(_page(samples, _taken(gihan.gateway / "texts.jsonl")), encoding="utf-8")
        lines.append(f"messages   {page.as_uri()}")
    lines.append(f"report     {gihan.services.url('intake')}/ko/{CITY}/report")
    return lines


def _taken(path: Path) -> dict[str, Mapping[str, str]]:
    """What the gateways took, by key."""
    if not path.exists():
        return {}
    found: Iterable[Mapping[str, str]] = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return {line["key"]: line for line in found}


def _page(samples: Mapping[str, str], taken: Mapping[str, Mapping[str, str]]) -> str:
    parts = []
    for template in SAMPLES:
        if (message := taken.get(samples.get(template, ""))) is not None:
            subject = f"<h3>{escape(message['subject'])}</h3>" if message.get("subject") else ""
            parts.append(
                f"<article><h2>{escape(template)}: {escape(message['means'])}</h2>{subject}"
                f"<pre>{escape(message['text'])}</pre></article>"
            )
    style = "body{max-width:40rem;margin:2rem auto;font-family:sans-serif}pre{white-space:pre-wrap;font:inherit}"
    return (
        '<!doctype html><html lang="ko"><head><meta charset="utf-8"><title>Messages of the demo</title>'
        f"<style>{style}</style></head><body><main><h1>Messages of the demo</h1>{''.join(parts)}</main></body></html>\n"
    )
