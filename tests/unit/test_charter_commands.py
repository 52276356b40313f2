"""`gihan charter lint` and `gihan charter diff`: each fault found where it is, each change said in words."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from contracts import files
from services.cli.charters.diff import diff
from services.cli.charters.lint import lint
from services.cli.main import app
from services.rules.charter_files import parse_charter

SHELF = files.read()
MAPO = SHELF["charters/mapo-1.yaml"]


def gihan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def base(**changes: Any) -> dict[str, Any]:
    """A charter without a fault."""
    words = {"ko": "약속", "en": "A promise."}
    start, until = [{"on": "complaint.received"}], [{"on": "complaint.completed"}]
    answer = {"id": "answer", "section": "1", "kind": "deadline", "says": words, "start": start, "until": until}
    answer |= {"within": {"amount": 3, "unit": "statutory_days"}, "suspends": "dates"}
    answer["warn"] = {"amount": 240, "unit": "working_minutes"}
    voucher = {"id": "voucher", "section": "2", "says": words, "on": [{"breach": ["answer"]}], "amount": 5000}
    content = {"tenant": "haneul", "version": "1", "name": words, "in_force": "x", "calendar": "kr", "currency": "KRW"}
    return content | {"promises": [answer], "remedies": [voucher]} | changes


def text(content: dict[str, Any]) -> bytes:
    return yaml.safe_dump(content, allow_unicode=True).replace("in_force: x", "in_force: 2026-01-01").encode()


def found(content: dict[str, Any], clauses: dict[str, str] | None = None) -> list[tuple[str, str, str]]:
    return [row[:3] for row in lint(text(content), SHELF, clauses)]


def with_promise(**changes: Any) -> dict[str, Any]:
    content = base()
    content["promises"][0] |= changes
    return content


def with_remedy(**changes: Any) -> dict[str, Any]:
    content = base()
    content["remedies"][0] |= changes
    return content


TARIFF = {"unit": "calendar_days", "rows": [{"from": 1, "each": 5000}], "at_most": 30000}


def tariff(**changes: Any) -> dict[str, Any]:
    """A remedy that pays by the day."""
    return with_remedy(
        **{"amount": None, "tariff": TARIFF, "on": [{"breach": ["answer"], "needs": ["amount"]}]} | changes
    )


def test_a_tariff_is_no_fault_and_its_change_is_told() -> None:
    assert found(tariff()) == []
    old, new = (parse_charter(text(content), {}) for content in (tariff(), tariff(tariff=TARIFF | {"at_most": 20000})))
    [change] = diff(old, new)
    assert (change.kind, change.where) == ("amount", "voucher")
    assert change.says["en"].endswith(
        "5,000 KRW a day from day 1, at most 20,000 KRW now, 5,000 KRW a day from day 1, at most 30,000 KRW before."
    )


def two(**changes: Any) -> dict[str, Any]:
    content = base()
    content["promises"].append(content["promises"][0] | {"id": "other"} | changes)
    return content


CLAUSE = {"id": "poster", "section": "3", "kind": "notice", "says": {"ko": "알림", "en": "A poster."}}
CLAUSE |= {"on": [{"on": "complaint.received"}], "notice": "progress"}


def duty(due: str = "11-30", until: str = "survey.conducted") -> dict[str, Any]:
    """The same with a survey of every year."""
    content = base()
    row = {"id": "survey", "section": "5", "kind": "duty", "says": {"ko": "조사", "en": "We ask you."}}
    content["promises"].append(row | {"each_year": [{"due": due, "until": [{"on": until}]}]})
    return content


def measured(limit: dict[str, int], **changes: Any) -> dict[str, Any]:
    content = base()
    row = {"id": "ring", "section": "6", "kind": "measure", "says": {"ko": "전화", "en": "We pick up."}}
    content["promises"].append(row | {"on": "call.answered", "field": "rings", "limit": limit} | changes)
    return content


KIND = "complaint.received"


def again(**changes: Any) -> dict[str, Any]:
    """The promise is the law's own handling period."""
    content = with_promise(start=[{"on": KIND, "where": {"has_period": True}}], within={"period": True}, **changes)
    content["promises"][0]["until"] = [
        {"on": "complaint.completed"},
        {"on": "complaint.rejected"},
        {"on": "disclosure.decided"},
    ]
    return content | {"law": "kr"}


SEVEN = {"amount": 7, "unit": "statutory_days"}


@pytest.mark.parametrize(
    "content",
    [base(), duty(), measured({"at_most": 3}), base(clauses=[CLAUSE]), again(same_as="statutory-period")],
)
def test_a_charter_without_a_fault_has_none(content: dict[str, Any]) -> None:
    assert found(content) == []


def test_what_is_due_at_once_needs_no_warning() -> None:
    assert found(with_promise(within={"amount": 0, "unit": "working_days"})) == []


def test_two_versions_of_one_day_overlap() -> None:
    other = text(base(version="2"))
    rows = lint(text(base()), {**SHELF, "charters/haneul-2.yaml": other})
    assert [(row.code, row.says) for row in rows] == [
        ("overlap", "charters/haneul-2.yaml comes into force on 2026-01-01 as well: which of them holds that day?")
    ]
    later = other.replace(b"2026-01-01", b"2026-07-01")
    assert lint(text(base()), {**SHELF, "charters/haneul-2.yaml": later}) == []


def test_a_charter_from_before_its_calendar_has_a_gap() -> None:
    early = text(base()).replace(b"in_force: 2026-01-01", b"in_force: 1999-01-01")
    assert [row[:3] for row in lint(early, SHELF)] == [("warning", "gap", "file")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (with_promise(untill=[]), ("error", "unknown_field", "answer")),
        (base(colour="blue"), ("error", "unknown_field", "file")),
        (with_remedy(sum=3), ("error", "unknown_field", "voucher")),
        (two(within=SEVEN), ("error", "contradiction", "answer")),
        (two(within=SEVEN, start=[{"on": KIND, "where": {"kind": "inquiry"}}]), ("warning", "overlap", "answer")),
        (with_promise(conflicts=[{"section": "4", "within": SEVEN}]), ("warning", "contradiction", "answer")),
        (
            with_promise(conflicts=[{"section": "4", "within": {"amount": 1, "unit": "statutory_days"}}]),
            ("error", "contradiction", "answer"),
        ),
        (with_promise(start=[{"on": "complaint.recieved"}]), ("error", "never_starts", "answer")),
        (with_promise(start=[{"on": KIND, "where": {"colour": "blue"}}]), ("error", "never_starts", "answer")),
        (with_promise(start=[{"on": KIND, "where": {"kind": "wish"}}]), ("error", "never_starts", "answer")),
        (with_promise(start=[{"breach": "nothing"}]), ("error", "never_starts", "answer")),
        (with_promise(start=[]), ("error", "never_starts", "answer")),
        (with_promise(until=[]), ("error", "never_met", "answer")),
        (with_promise(until=[{"on": "complaint.done"}]), ("error", "never_met", "answer")),
        (
            with_promise(until=[{"on": "complaint.progress_notified", "where": {"by": "pigeon"}}]),
            ("error", "never_met", "answer"),
        ),
        (
            with_promise(within={"by": "class", "table": {"simple": SEVEN}}),
            ("warning", "gap", "answer"),
        ),
        (
            with_promise(within={"by": "class", "table": {"simpel": SEVEN}, "otherwise": SEVEN}),
            ("error", "gap", "answer"),
        ),
        (with_promise(warn={"amount": 1440, "unit": "working_minutes"}), ("warning", "warns_too_early", "answer")),
        (with_promise(hours="night"), ("error", "no_hours", "answer")),
        (with_remedy(amount=None), ("error", "no_amount", "voucher")),
        (with_remedy(on=[{"breach": ["nothing"]}]), ("error", "never_starts", "voucher")),
        (with_remedy(on=[{"breach": ["answer"], "needs": ["amount"]}]), ("warning", "amount_twice", "voucher")),
        (with_remedy(tariff=TARIFF), ("error", "amount_twice", "voucher")),
        (tariff(on=[{"fault": ["late"], "needs": ["amount"]}]), ("error", "no_lateness", "voucher")),
        (tariff(on=[{"breach": "any", "needs": ["amount"]}]), ("error", "no_lateness", "voucher")),
        (tariff(tariff=TARIFF | {"rows": [{"from": 2, "each": 1}]}), ("error", "unreadable", "file")),
        (with_remedy(id="answer"), ("error", "same_id", "answer")),
        (with_remedy(on=[{"fault": ["rudeness"]}]), ("error", "never_starts", "voucher")),
        (duty(until="survey.held"), ("error", "never_met", "survey")),
        (base(clauses=[CLAUSE | {"on": [{"on": "complaint.done"}]}]), ("error", "never_starts", "poster")),
        (base(clauses=[CLAUSE | {"kind": "notice", "notice": "poem"}]), ("error", "no_words", "poster")),
        (again(), ("error", "said_again", "answer")),
        (with_promise(within=SEVEN | {"amount": "7"}), ("error", "unreadable", "file")),
        (with_promise(warn={"amount": True, "unit": "working_minutes"}), ("error", "unreadable", "file")),
        (again(same_as="nothing"), ("error", "unreadable", "file")),
        (again(same_as="statutory-progress"), ("error", "unreadable", "file")),
        (base(calendar="mars"), ("error", "no_calendar", "file")),
        (base(tenant="seoul"), ("error", "overlap", "file")),
        (base(document={"clauses": ["answer", "voucher", "greeting"]}), ("error", "no_rule", "greeting")),
    ],
)
def test_each_fault_is_named_where_it_is(content: dict[str, Any], expected: tuple[str, str, str]) -> None:
    assert found(content) == [expected]


def test_cases_that_cannot_meet_do_not_overlap() -> None:
    apart = two(within=SEVEN, start=[{"on": KIND, "where": {"kind": "inquiry"}}])
    apart["promises"][0]["start"] = [{"on": KIND, "where": {"kind": {"not": ["inquiry", "other"]}}}]
    assert found(apart) == []


def test_a_clause_that_is_conduct_needs_no_rule() -> None:
    assert found(base(), {"answer": "deadline", "politeness": "conduct"}) == []
    assert found(base(), {"politeness": "notice"}) == [("error", "no_rule", "politeness")]


def test_what_is_no_charter_is_said() -> None:
    (only,) = lint(b"tenant: [", SHELF)
    assert (only.severity, only.code) == ("error", "unreadable")
    (only,) = lint(text({"tenant": "x"}), SHELF)
    assert (only.severity, only.code) == ("error", "unreadable")
    (only,) = lint(b"a letter", SHELF)
    assert "a mapping with tenant" in only.says


@pytest.mark.parametrize(("content", "why"), [(b"[" * 100_000, "nested too deeply"), (b"tenant: [", "flow node")])
def test_a_file_that_is_no_yaml_ends_no_command_but_in_a_sentence(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "rapids-1.yaml"
    file.write_bytes(content)
    compared = gihan("charter", "diff", file, file)
    assert (compared.exit_code, why in compared.output) == (2, True), compared.output
    read = gihan("charter", "lint", file)
    assert (read.exit_code, why in read.output) == (2 if b"[[" in content else 1, True), read.output


def test_our_charters_have_no_error_and_mapo_s_document_contradicts_itself() -> None:
    result = gihan("charter", "lint", "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.output)
    assert {row["severity"] for row in rows} == {"warning"}
    (mapo,) = (row for row in rows if row["where"] == "mapo-opinion")
    assert (mapo["code"], mapo["says"]) == (
        "contradiction",
        "The document says 7 statutory days in 시정 and 3 statutory days elsewhere; kept is 3 statutory days, "
        "the stricter.",
    )


def test_lint_of_one_file_ends_with_one_where_it_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "haneul-1.yaml"
    path.write_bytes(text(with_remedy(amount=None)))
    result = gihan("charter", "lint", path)
    assert result.exit_code == 1
    assert "1 charters, 1 errors, 0 warnings" in result.output
    assert "no amount is named" in result.output
    path.write_bytes(text(base()))
    listed = tmp_path / "clauses.yaml"
    listed.write_text("[answer, voucher, greeting]", encoding="utf-8")
    assert gihan("charter", "lint", path).exit_code == 0
    assert "greeting (no_rule)" in gihan("charter", "lint", path, "--clauses", listed).output
    assert gihan("charter", "lint", tmp_path / "none.yaml").exit_code == 2


# -- diff -----------------------------------------------------------------------------------------------------


def differs(tmp_path: Path, old: dict[str, Any], new: dict[str, Any], *options: str) -> str:
    (tmp_path / "old.yaml").write_bytes(text(old))
    (tmp_path / "new.yaml").write_bytes(text(new))
    result = gihan("charter", "diff", tmp_path / "old.yaml", tmp_path / "new.yaml", *options)
    assert result.exit_code == 0, result.output
    return result.output.strip()


WORD = base()["promises"][0] | {"id": "word", "says": {"ko": "연락드립니다.", "en": "You hear from us."}}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (base(), base(), "Nothing changes for citizens."),
        (
            base(),
            with_promise(within={"amount": 2, "unit": "statutory_days"}),
            "Sooner: A promise. 2 statutory days now, 3 statutory days before. (answer)",
        ),
        (
            base(),
            with_promise(within={"amount": 1, "unit": "months"}),
            "Counted otherwise: A promise. 1 month now, 3 statutory days before. (answer)",
        ),
        (
            base(),
            with_promise(within=SEVEN),
            "Later: A promise. 7 statutory days now, 3 statutory days before. (answer)",
        ),
        (base(), base(promises=[*base()["promises"], WORD]), "New: You hear from us. (word)"),
        (base(promises=[*base()["promises"], WORD]), base(), "No longer promised: You hear from us. (word)"),
        (base(), with_remedy(amount=9000), "A promise. 9,000 KRW now, 5,000 KRW before. (voucher)"),
        (base(), base(remedies=[]), "No longer promised: A promise. (voucher)"),
        (
            base(),
            with_promise(until=[{"on": "complaint.completed"}, {"on": "complaint.rejected"}]),
            "A promise. What starts or keeps it changes (no longer: none; new: complaint.rejected). (answer)",
        ),
        (
            base(),
            with_promise(start=[{"on": KIND, "where": {"kind": ["inquiry", "other"], "urgent": {"present": True}}}]),
            "A promise. What starts or keeps it changes (no longer: complaint.received; new: complaint.received where "
            "kind is inquiry or other and urgent is given). (answer)",
        ),
        (duty("11-30"), duty("10-31"), "We ask you. Each year by 10-31 now, by 11-30 before. (survey)"),
        (
            measured({"at_most": 5}),
            measured({"at_most": 3}),
            "We pick up. It is at most 3 now, at most 5 before. (ring)",
        ),
        (
            base(),
            with_promise(suspends="none"),
            "A promise. The hours in which it counts, its pauses or its extension change. (answer)",
        ),
        (
            measured({"at_most": 5}),
            measured({"at_most": 5}, where={"line_busy": True}),
            "We pick up. How it is judged, or what is done about it, changes. (ring)",
        ),
        (
            base(),
            with_promise(owed_by="citizen"),
            "A promise. How it is judged, or what is done about it, changes. (answer)",
        ),
        (
            base(),
            with_promise(says={"ko": "약속", "en": "A word."}),
            "Said otherwise: A word. Before: A promise. (answer)",
        ),
        (base(), base(clauses=[CLAUSE]), "New: A poster. (poster)"),
        (
            base(clauses=[CLAUSE]),
            base(clauses=[CLAUSE | {"notice": "other"}]),
            "A poster. When it applies, or what is done then, changes. (poster)",
        ),
        (
            base(clauses=[CLAUSE]),
            base(clauses=[CLAUSE | {"says": {"ko": "알림", "en": "A leaflet."}}]),
            "Said otherwise: A leaflet. Before: A poster. (poster)",
        ),
        (
            base(),
            with_remedy(on=[{"breach": ["answer"], "needs": ["finding"]}]),
            "A promise. When it is given, or what comes with it, changes. (voucher)",
        ),
        (
            base(),
            base(calendar="us-ma"),
            "The calendar: us-ma now, kr before. It may move every deadline. (file)",
        ),
        (
            base(),
            base(policy={"day_end": "18:00"}),
            "The reading day_end: 18:00 now, 24:00 before. It may move every deadline. (file)",
        ),
    ],
)
def test_a_change_is_said_in_words(tmp_path: Path, old: dict[str, Any], new: dict[str, Any], said: str) -> None:
    assert differs(tmp_path, old, new) == said


@pytest.mark.parametrize(
    ("old", "new", "en", "ko"),
    [
        (
            again(),
            again(same_as="statutory-period"),
            "A promise. One with this promise of the law: statutory-period now, none before. "
            "Where two are one, missing both is owed for once. (answer)",
            "약속 같은 것으로 보는 법령의 약속: 전에는 없음, 이제는 statutory-period. "
            "하나인 둘을 어기면 보상은 한 번입니다. (answer)",
        ),
        (
            again(same_as="statutory-period"),
            again(),
            "A promise. One with this promise of the law: none now, statutory-period before. "
            "Where two are one, missing both is owed for once. (answer)",
            "약속 같은 것으로 보는 법령의 약속: 전에는 statutory-period, 이제는 없음. "
            "하나인 둘을 어기면 보상은 한 번입니다. (answer)",
        ),
    ],
)
def test_what_a_promise_is_one_with_is_said(
    tmp_path: Path, old: dict[str, Any], new: dict[str, Any], en: str, ko: str
) -> None:
    assert differs(tmp_path, old, new) == en
    assert differs(tmp_path, old, new, "--lang", "ko") == ko
    (row,) = json.loads(differs(tmp_path, old, new, "--json"))
    assert row["kind"] == "incident"


def test_what_changes_by_a_law_and_a_service_is_said(tmp_path: Path) -> None:
    said = differs(tmp_path, base(), base(law="kr", services=[{"name": "permit", "deemed_acceptance": True}]))
    assert said.splitlines() == [
        "The law: kr now, none before. It may move every deadline. (file)",
        "The time for the service permit changes. (permit)",
    ]


def test_changes_in_korean_and_as_json(tmp_path: Path) -> None:
    new = with_promise(within={"amount": 2, "unit": "statutory_days"})
    assert differs(tmp_path, base(), new, "--lang", "ko") == (
        "빨라집니다: 약속 전에는 3일(처리기간), 이제는 2일(처리기간). (answer)"
    )
    (row,) = json.loads(differs(tmp_path, base(), new, "--json"))
    assert (row["kind"], row["where"], set(row["says"])) == ("sooner", "answer", {"ko", "en"})
    assert gihan("charter", "diff", tmp_path / "old.yaml", tmp_path / "new.yaml", "--lang", "fr").exit_code == 2
