"""A sixth city, in another country and time zone: one charter and one calendar written here, and no line of code."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts import files
from services.cli.main import app

CHARTER = """
tenant: lisboa
version: "1"
name: {ko: 리스본, en: Lisbon}
in_force: 2026-01-01
calendar: pt-lisboa
currency: EUR
hours:
  counter: {mon-fri: ["08:30-19:30"], sat: ["09:00-13:00"]}
promises:
  - id: lisboa-answer
    section: "4"
    kind: deadline
    says: {ko: 근무일 이틀 안에 답합니다., en: An answer in two office days.}
    start: [{"on": complaint.received}]
    within: {amount: 2, unit: working_days}
    until: [{"on": complaint.completed}, {"on": complaint.rejected}]
    suspends: exact
    warn: {amount: 90, unit: working_minutes}
  - id: lisboa-callback
    section: "2"
    kind: deadline
    says: {ko: 창구 시간 두 시간 안에 전화합니다., en: A call in two hours of the counter.}
    start: [{"on": callback.requested, where: {memo.reply_wanted: true}}]
    within: {amount: 2, unit: working_hours, or_at: wanted_at}
    until: [{"on": callback.made}]
    suspends: none
    hours: counter
remedies:
  - id: lisboa-voucher
    section: "9"
    says: {ko: 지키지 못하면 15유로를 드립니다., en: Fifteen euros when we fail.}
    "on": [{breach: any, except: [lisboa-callback]}]
    amount: 15
    tasks: [apology]
"""

CALENDAR = """
calendar: pt-lisboa
version: "2026.1"
zone: Europe/Lisbon
from: 2026-01-01
horizon: 2026-12-31
hours: {office: {mon-fri: ["09:00-12:30", "14:00-17:30"]}}
closures:
  2026-12-01: {ko: 독립 회복 기념일, en: Restoration of Independence}
  2026-12-08: {ko: 성모 수태일, en: Immaculate Conception}
  2026-12-25: {ko: 성탄절, en: Christmas Day}
"""


def event(type: str, case: str, time: str, tenant: str = "lisboa", **data: object) -> str:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"{type}-{case}",
            "source": "desk",
            "type": type,
            "subject": case,
            "time": time,
            "tenant": tenant,
            "data": data,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("charters/lisboa-1.yaml", CHARTER), ("calendars/pt-lisboa.yaml", CALENDAR)):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


STORY = "\n".join(
    [
        # Saturday noon at the counter, the last Saturday of summer time: an hour is left, and one on Monday.
        event("callback.requested", "call", "2026-10-24T12:00:00+01:00", via="phone", memo={"reply_wanted": True}),
        event("callback.made", "call", "2026-10-26T09:00:00+00:00", by="maria", reached=True),
        # Monday afternoon; Tuesday is Restoration of Independence: two office days end on Thursday.
        event("complaint.received", "hole", "2026-11-30T16:00:00+00:00", channel="web", kind="inquiry"),
        event("complaint.received", "seoul-1", "2026-12-01T10:00:00+09:00", "seoul", channel="visit", kind="inquiry"),
        event("complaint.completed", "hole", "2026-12-04T10:00:00+00:00", outcome="answered", by="rui"),
    ]
)


def test_a_city_of_another_country_needs_its_files_alone(folder: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", "-", "--contracts", str(folder)], input=STORY)
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.output.splitlines()]
    assert [
        " ".join(str(row.get(name, "")) for name in ("at", "case", "decision", "promise", "due", "amount"))
        for row in found
        if row["tenant"] == "lisboa"
    ] == [
        "2026-10-24T12:00:00+01:00 call deadline.started lisboa-callback 2026-10-26T09:30:00+00:00 ",
        "2026-10-26T09:00:00+00:00 call deadline.met lisboa-callback 2026-10-26T09:30:00+00:00 ",
        "2026-11-30T16:00:00+00:00 hole deadline.started lisboa-answer 2026-12-03T16:00:00+00:00 ",
        "2026-12-03T14:30:00+00:00 hole deadline.warned lisboa-answer 2026-12-03T16:00:00+00:00 ",
        "2026-12-03T16:00:00+00:00 hole deadline.breached lisboa-answer 2026-12-03T16:00:00+00:00 ",
        "2026-12-03T16:00:00+00:00 hole remedy.proposed lisboa-answer 2026-12-03T16:00:00+00:00 15",
    ]
    # In the same file a city of the first five has its own zone, its own calendar and its law.
    statutory = next(row for row in found if row["tenant"] == "seoul" and row["promise"] == "statutory-period")
    assert statutory["due"] == "2026-12-10T00:00:00+09:00"


def test_the_folder_may_be_named_by_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIHAN_CONTRACTS", str(folder))
    assert "charters/lisboa-1.yaml" in files.read()
    listed = CliRunner().invoke(app, ["charter", "list"])
    assert "lisboa" in listed.output
    assert "seoul" in listed.output


def test_without_its_files_a_city_is_unknown_and_none_is_taken_in_its_place() -> None:
    result = CliRunner().invoke(app, ["simulate", "-"], input=STORY)
    assert result.exit_code == 2
    assert "no charter of tenant 'lisboa'" in result.output


def test_a_folder_never_says_otherwise_than_a_file_of_ours(folder: Path) -> None:
    (folder / "charters" / "seoul-1.yaml").write_text("tenant: seoul\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"charters/seoul-1\.yaml differs"):
        files.read(folder)
    with pytest.raises(ValueError, match="no folder"):
        files.read(folder / "nowhere")
