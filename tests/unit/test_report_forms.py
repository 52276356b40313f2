"""The forms of a report: the same numbers on page, in PDF and in the table, in two languages, and hostile names."""

import csv
import io
import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from test_page_texts import leaves
from test_reports import City
from typer.testing import CliRunner

from services.cli.main import app
from services.cli.reports import from_lines
from services.intake.pages.words import LANGUAGES, Language
from services.intake.reporting import html
from services.intake.reporting.document import document, speaker_of
from services.intake.reporting.parts import TEXTS, Bar, Plot, Table
from services.intake.reporting.printed import printed
from services.intake.reporting.table import harmless, table
from services.reading.speaking import catalogue
from services.rules.instants import instant
from services.rules.reporting.report import Report

SEOUL = ZoneInfo("Asia/Seoul")
HOSTILE = ("=1+1", '<img src=x onerror="alert(1)">', "+82", "@SUM(A1)", '","', "\u202eabc", "{{ 7*7 }}", "&amp;")


@pytest.fixture(scope="module")
def report() -> Report:
    """Two departments with seven and six calls in March, of which one and none were answered late."""
    city = City()
    for staff, department in (("k-1", "민원과"), ("k-2", "=세무과")):
        city.states("staff.described", "01-02 09:00", "seoul", staff=staff, department=department)
    for number in range(7):
        city.rings(f"a{number}", "03-04 10:00", "03-04 10:30" if number else "03-04 11:30")
    for number in range(6):
        city.rings(f"b{number}", "03-04 10:00", "03-04 10:30", officer="k-2")
    city.states("call.transferred", "03-04 10:01", "t1", wait_seconds=77, to_department="민원과")
    city.states("call.ended", "03-04 10:05", "t1", duration_seconds=60, settled_without_transfer=True)
    return city.report()


def test_both_languages_say_the_same_things() -> None:
    korean, english = (dict(leaves(catalogue(TEXTS, language))) for language in LANGUAGES)
    assert korean.keys() == english.keys()
    for name, text in korean.items():
        assert set(re.findall(r"{(\w+)}", text)) == set(re.findall(r"{(\w+)}", english[name])), name


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_number_of_the_year_is_on_the_page(report: Report, language: Language) -> None:
    page = unescape(html.whole(report, speaker_of(language, SEOUL)).decode())
    assert "12/13" in page
    assert "92.3%" in page
    assert "6/7" in page
    assert ">77<" in page
    assert ">1/1<" in page
    assert "6/6" in page
    assert "민원과" in page
    assert "=세무과" in page
    assert not re.search(r"<script| on\w+=|https?://", page)


def test_a_table_under_a_heading_of_its_name_shows_the_name_once(report: Report) -> None:
    """It keeps its caption, for whoever goes from table to table by ear."""
    page = html.whole(report, speaker_of("en", SEOUL)).decode()
    assert '<caption class="unseen">At a glance</caption>' in page
    assert "<caption>Month by month" in page


def test_a_bar_is_as_long_as_its_number() -> None:
    plot = Plot("", (Bar("a", 500, "50%"), Bar("b", None, ""), Bar("c", 1000, "100%")), 1000)
    assert [plot.length(bar) for bar in plot.bars] == [500, 0, 1000]
    assert Plot("", (Bar("a", 0, "0"),), 0).length(Bar("a", 0, "0")) == 0


def test_the_table_adds_up_and_no_cell_is_a_formula(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(table(report).decode(), newline="")))
    calls = [row for row in rows if row["name"] == "seoul-phone-callback" and row["month"] == "3"]
    counts = {(row["department"], row["number"]): row["value"] for row in calls}
    assert counts == {
        ("", "kept"): "12",
        ("", "broken"): "1",
        ("민원과", "kept"): "6",
        ("민원과", "broken"): "1",
        ("'=세무과", "kept"): "6",
    }
    assert table(report, bom=True) == "\ufeff".encode() + table(report)
    assert b"\r\n" in table(report)
    assert not table(report).replace(b"\r\n", b"").count(b"\n")


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@a", " =1", "\t=1", "\uff1d1", "|cmd", "\r=1"])
def test_what_a_spreadsheet_would_work_out_is_text(cell: str) -> None:
    assert str(harmless(cell)).startswith("'")
    assert harmless(-5) == -5
    assert harmless("민원과") == "민원과"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_department_is_a_word(report: Report, name: str) -> None:
    """On the page it is text; in the table one cell; and a document is written whatever it holds."""
    line = report.lines[0]
    places = (msgspec.structs.replace(line.places[0], department=name), *line.places[1:])
    hostile = msgspec.structs.replace(report, lines=(msgspec.structs.replace(line, places=places), *report.lines[1:]))
    page = html.whole(hostile, speaker_of("en", SEOUL)).decode()
    assert "<img" not in page
    assert ">49<" not in page
    assert f">{name}<" in unescape(page)
    cells = [row["department"] for row in csv.DictReader(io.StringIO(table(hostile).decode(), newline=""))]
    assert str(harmless(name)) in cells
    assert printed(hostile, speaker_of("en", SEOUL)).startswith(b"%PDF-")


def test_page_and_document_hold_the_same_parts(report: Report) -> None:
    for language in LANGUAGES:
        speaker = speaker_of(language, SEOUL)
        page = unescape(html.whole(report, speaker).decode())
        for section in document(report, speaker).sections:
            assert f'id="{section.name}"' in page
            for part in section.parts:
                cells = [cell for row in part.rows for cell in row] if isinstance(part, Table) else [part.caption]
                assert all(cell in page for cell in cells)


MAKE = """
import hashlib, msgspec, sys
from zoneinfo import ZoneInfo
from services.intake.reporting.document import speaker_of
from services.intake.reporting.printed import printed
from services.rules.reporting.report import Report
report = msgspec.json.decode(sys.stdin.buffer.read(), type=Report)
print(hashlib.sha256(printed(report, speaker_of("ko", ZoneInfo("Asia/Seoul")))).hexdigest())
"""


def test_the_same_report_is_the_same_document_in_another_process(report: Report) -> None:
    ran = [
        subprocess.run(
            [sys.executable, "-c", MAKE],
            input=msgspec.json.encode(report),
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert ran[0].stdout == ran[1].stdout


WEEK = str(Path(__file__).parents[1] / "golden" / "logs" / "week-1.jsonl")
THEN = ("--as-of", "2026-12-05T00:00:00+09:00", "--file", WEEK)


def test_the_command_writes_what_the_functions_make(tmp_path: Path) -> None:
    out = tmp_path / "seoul.csv"
    ran = CliRunner().invoke(app, ["report", "seoul", "--year", "2026", *THEN, "--format", "csv", "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    with Path(WEEK).open("rb") as lines:
        assert out.read_bytes() == table(from_lines(lines, "seoul", 2026, instant(THEN[1])))


def test_the_command_lists_the_duties_of_a_year() -> None:
    """Anseong's survey was to end by 30 November, and its result is to be out by 20 December, a Sunday, or not."""
    ran = CliRunner().invoke(app, ["duties", "anseong", "--year", "2026", *THEN, "--json"])
    rows = [json.loads(line) for line in ran.output.splitlines()]
    assert [(row["wants"], row["due"], row["state"]) for row in rows] == [
        (["survey.conducted"], "2026-12-01T00:00:00+09:00", "broken"),
        (["survey.published"], "2026-12-21T00:00:00+09:00", "open"),
        (["booklet.published"], "2027-01-01T00:00:00+09:00", "open"),
    ]
    spoken = CliRunner().invoke(app, ["duties", "anseong", "--year", "2026", *THEN, "--lang", "en"])
    assert "Not done" in spoken.output.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("report", "atlantis", "--year", "2026", *THEN), "no charter of atlantis"),
        (("report", "seoul", "--year", "20260", *THEN), "1970 to 2999"),
        (("report", "seoul", "--year", "2026", *THEN, "--format", "docx"), "html, pdf, csv, csv-bom, json"),
        (("report", "seoul", "--year", "2026", "--file", WEEK), "say --as-of"),
        (("report", "seoul", "--year", "2026", "--as-of", "2026-12-05"), "offset"),
        (("duties", "seoul", "--year", "2026", *THEN, "--lang", "fr"), "ko or en"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(arguments: tuple[str, ...], says: str) -> None:
    ran = CliRunner().invoke(app, list(arguments))
    assert ran.exit_code == 2
    assert says in ran.output
