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
TAKEN_BACK = ("correction", "corrections", "compensation_withdrawn", "fact_voided")
"""What goes out where a message turned out to be wrong."""
CITY = "anseong"
"""Whose report the demo ends with, and whose messages where it sent some."""


async def chosen(pool: asyncpg.Pool) -> dict[str, str]:
    """The key of the first message that went out by each template of SAMPLES, of CITY where it sent one, and about a
    case of which nothing was taken back, so that its page says what the message says."""
    rows = await pool.fetch(
        "select distinct on (template) template, key from read.notices n where template = any($1::text[])"
        " and audience = 'citizen' and state in ('sent', 'delivered') order by template, tenant <> $2,"
        ' exists (select from read.notices later where (later.tenant, later."case") = (n.tenant, n."case")'
        " and later.template = any($3::text[])), settled_at, key",
        list(SAMPLES),
        CITY,
        list(TAKEN_BACK),
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
    style = (
        "body{max-width:40rem;margin:1.5rem auto;padding:0 1rem;font:1rem/1.55 sans-serif;background:#f2f6f8}"
        "h1{font-size:1.375rem}h2{font-size:.9375rem;color:#4a5a66;margin:0 0 .5rem}h3{font-size:1rem;margin:0 0 .5rem}"
        "article{background:#fff;border:1px solid #c8d4db;border-radius:10px;padding:.875rem 1.125rem;margin:0 0 1rem}"
        "pre{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;margin:0}"
    )
    return (
        '<!doctype html><html lang="ko"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Messages of the demo</title>'
        f"<style>{style}</style></head><body><main><h1>Messages of the demo</h1>{''.join(parts)}</main></body></html>\n"
    )
