"""The demo's comparisons find what differs, and its idea of rest leaves nothing out."""

import json
from pathlib import Path
from types import SimpleNamespace
from urllib.request import url2pathname

import pytest

from services.cli.demo import compare, links
from services.cli.demo.compare import Decided
from services.cli.demo.driver import Ends, Look
from services.cli.demo.week.delivery import Delivery

STARTED = Decided(3, 1, "north", "c-1", "deadline.started", "north-callback", "1", 3600, 0)
BROKEN = Decided(3, 2, "north", "c-1", "deadline.breached", "north-callback", "1", 3600, 3600)


def test_equal_decisions_in_any_order_of_reading_have_no_difference():
    assert compare.of_decisions([STARTED, BROKEN], [BROKEN, STARTED]) == []


@pytest.mark.parametrize(
    "again",
    [
        [STARTED],
        [STARTED, BROKEN, BROKEN._replace(number=3)],
        [STARTED, BROKEN._replace(due=3601)],
        [STARTED, BROKEN._replace(at=3601)],
        [STARTED, BROKEN._replace(decision="deadline.met")],
        [STARTED._replace(number=2), BROKEN._replace(number=1)],
    ],
)
def test_a_difference_names_case_and_promise(again):
    found = compare.of_decisions([STARTED, BROKEN], again)
    assert len(found) == 1
    assert found[0].startswith("north/c-1 north-callback: live deadline.started 3-1")


def test_a_decision_of_another_case_is_two_differences():
    assert len(compare.of_decisions([STARTED], [STARTED._replace(case="c-2")])) == 2


def record(*lines: tuple[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "means": "sms", "outcome": outcome} for key, outcome in lines]


def test_messages_agree_when_each_was_taken_once():
    assert (
        compare.of_messages(["a", "b"], ["b", "a"], record(("a", "deferred"), ("a", "accepted"), ("b", "accepted")))
        == []
    )


@pytest.mark.parametrize(
    ("ledger", "notices", "lines", "words"),
    [
        (["a"], ["a"], [], "message a: sent according to the ledger, NOTICES only"),
        (["a"], [], [("a", "accepted")], "message a: sent according to the ledger, the gateways only"),
        ([], ["a"], [("a", "accepted")], "message a: sent according to NOTICES, the gateways only"),
        (["a"], ["a"], [("a", "accepted"), ("a", "duplicate")], "message a: handed to a gateway 2 times"),
        (["a"], ["a", "a"], [("a", "accepted")], "message a: 2 times on NOTICES"),
        (["a"], ["a"], [("a", "rejected")], "message a: sent according to the ledger, NOTICES only"),
    ],
)
def test_messages_that_disagree_are_named(ledger, notices, lines, words):
    assert compare.of_messages(ledger, notices, record(*lines)) == [words]


def test_a_mail_whose_answer_was_lost_may_be_handed_over_again():
    lines = record(("a", "accepted"), ("a", "duplicate"))
    assert compare.of_messages(["a"], ["a"], lines, repeated={"a"}) == []


def delivery(expect: str) -> Delivery:
    return Delivery(0, "http", "north", "web", "callback.made", "web-1", "c-1", b"{}", expect=expect)


def test_answers_other_than_expected_are_counted():
    answers = [
        (delivery("accepted"), "accepted"),
        (delivery("repeated"), "accepted"),
        (delivery("repeated"), "waiting"),
        (delivery("refused"), "refused"),
    ]
    assert compare.of_answers(answers) == []
    assert compare.of_answers([(delivery("refused"), "accepted")] * 2) == [
        "callback.made through http (ordinary): accepted, not refused, 2 times"
    ]


REST = Look(
    ends=Ends(inbox=0, cases=9, sla=5, notices=2),
    unappended=0,
    partitions=dict.fromkeys(range(16), (0, None, 0)),
    notifier_cases=9,
    notifier_sla=5,
    open_notices=0,
    next_release=None,
    unpublished=0,
)


def test_a_system_at_rest_has_nothing_unmet():
    assert REST.unmet(100) == []
    later = REST._replace(partitions=REST.partitions | {3: (9, 100, 0)}, next_release=101)
    assert later.unmet(100) == []


@pytest.mark.parametrize(
    "change",
    [
        {"ends": Ends(1, 9, 5, 2)},
        {"ends": Ends(0, 10, 5, 2)},
        {"ends": Ends(0, 9, 6, 2)},
        {"unappended": 1},
        {"partitions": dict.fromkeys(range(15), (0, None, 0))},
        {"partitions": REST.partitions | {7: (9, 99, 0)}},
        {"partitions": REST.partitions | {7: (9, None, 1)}},
        {"open_notices": 1},
        {"next_release": 100},
        {"unpublished": 1},
    ],
)
def test_whatever_is_left_to_do_is_unmet(change):
    assert len(REST._replace(**change).unmet(100)) == 1


def test_the_demo_ends_with_the_desk_its_messages_and_a_report(tmp_path: Path):
    """Messages are shown as they were taken; what stands in them is never a part of the page."""
    taken = [
        {"key": "k1", "means": "sms", "text": "접수되었습니다.\n<b>2026-04-06</b>"},
        {"key": "k2", "means": "email", "subject": "약속한 기한", "text": "지났습니다."},
        {"key": "k3", "means": "sms", "text": "another one"},
    ]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in taken))
    services = SimpleNamespace(url=lambda service: f"http://127.0.0.1/{service}")
    gihan = SimpleNamespace(desk="http://127.0.0.1:9/desk", gateway=tmp_path, services=services)
    samples = {"receipt": "k1", "breaches": "k2", "result": "lost"}
    desk, messages, report = links.show(gihan, samples)  # type: ignore[arg-type]
    assert desk.endswith("http://127.0.0.1:9/desk")
    assert report.endswith("http://127.0.0.1/intake/ko/anseong/report")
    page = Path(url2pathname(messages.split("file://")[1])).read_text()
    assert "접수되었습니다.\n&lt;b&gt;2026-04-06&lt;/b&gt;" in page
    assert "<h3>약속한 기한</h3>" in page
    assert "another one" not in page
