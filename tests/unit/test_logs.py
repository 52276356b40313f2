"""The log: what may stand in it, and what never does."""

import json
import logging

import pytest
import structlog

from services.chassis import logs
from services.chassis.logs import OperatorError, error_code


@pytest.fixture
def lines(capsys):
    """lines() -> the log lines written so far, after configuring the log as a service does."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("intake", "info")
    logs.dropped.clear()
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_canonical_line_is_one_json_object_with_what_is_allowed(lines):
    logs.canonical("handled", tenant="seoul", case="c-1", sequence=41, outcome="accepted")
    [line] = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "handled", "level": "info", "service": "intake",
        "tenant": "seoul", "case": "c-1", "sequence": 41, "outcome": "accepted",
    }  # fmt: skip


def test_lines_of_events_handled_together_are_those_of_each(lines):
    own = [{"case": "c-1", "receipt": None}, {"case": "홍길동", "applicant": "hong"}, {"case": "c-3"}]
    common = {"tenant": "seoul", "milliseconds": 7, "name": "홍길동"}
    logs.canonical_lines("handled", common, own)
    together = lines()
    said_before = dict(logs.dropped)
    for each in own:
        logs.canonical("handled", **common, **each)
    alone = lines()
    for line in (*together, *alone):
        del line["timestamp"]
    assert together == alone
    assert [line.get("case") for line in together] == ["c-1", None, "c-3"]
    assert said_before == {"name": 1, "value": 2, "event": 0}
    logs.canonical_lines("handled", common, [])
    assert lines() == []


def test_unknown_fields_and_values_that_are_no_identifiers_are_dropped_and_counted(lines):
    logs.get_logger().info(
        "handled", applicant="hong", case="홍길동", source="Hong Gildong", where=["a", "나"], key={"이름": 1}, code=7
    )
    [line] = lines()
    assert line.keys() - {"timestamp"} == {"event", "level", "service", "code"}
    assert logs.dropped == {"name": 1, "value": 4, "event": 0}


def test_an_event_is_a_name_and_no_sentence(lines):
    logs.get_logger().info("told hong 000-0000-0000")
    assert lines()[0]["event"] == "unnamed"
    assert logs.dropped["event"] == 1


def test_an_error_shows_its_class_and_place_and_neither_text_nor_variables(lines):
    name = "홍길동"
    try:
        raise ValueError(f"bad name {name}")
    except ValueError:
        logs.get_logger().exception("failed", case="c-1")
    written = lines()
    assert written[0]["error"] == "ValueError"
    assert written[0]["where"][-1].startswith("tests/unit/test_logs.py:")
    assert name not in json.dumps(written, ensure_ascii=False)


def test_the_text_of_an_error_for_operators_is_kept(lines):
    logs.get_logger().error("failed", exc_info=OperatorError("NATS_URL is not set. Set it."))
    assert lines()[0]["error_text"] == "NATS_URL is not set. Set it."


def test_of_a_librarys_record_only_origin_and_kind_of_error_are_kept(lines):
    try:
        raise KeyError("홍길동")
    except KeyError:
        logging.getLogger("faststream").exception("cannot decode %s", "홍길동")
    logging.getLogger("uvicorn").info("quiet")
    [line] = lines()
    assert (line["event"], line["logger"], line["level"], line["error"]) == (
        "library", "faststream", "error", "KeyError",
    )  # fmt: skip
    assert "홍길동" not in json.dumps(line, ensure_ascii=False)


def test_lines_below_the_level_are_not_written(lines):
    logs.get_logger().debug("detail", case="c-1")
    logs.configure("intake", "warning")
    logs.canonical("handled", case="c-1")
    assert lines() == []


def test_a_number_of_any_size_can_be_written(lines):
    """A line must not undo the work that it tells of."""
    logs.canonical("handled", count=2**70)
    assert lines()[0]["count"] == 2**70


def test_error_code_adds_the_sqlstate():
    class Refused(Exception):
        sqlstate = "23505"

    assert error_code(Refused("Key (phone)=(000)")).endswith("Refused:23505")
    assert error_code(TimeoutError()) == "TimeoutError"
