"""What the benchmarks rest on: events that could stand in the log, the same each time, and a guard that sees a loss."""

from collections import Counter

import msgspec
import orjson
import pytest

from contracts.envelope import StoredEnvelope
from contracts.events import stored_model
from contracts.streams import PARTITIONS, cases_subject, partition
from tests.bench.results import Bar, Figure, Outcome, Results, as_table, losses, read, write
from tests.bench.workload import Workload

RECORDED = Outcome(
    "live", "Live", "", [Figure("a", "/s", [3.0, 1.0, 2.0])], [Bar("ours / theirs", 4.0), Bar("rate", 9.0, ratio=False)]
)


def test_events_of_the_workload_are_such_as_intake_stores() -> None:
    """Every event fits the stored form of its type and lies in its partition; the log is in order of recording."""
    messages = list(Workload(cases=400).messages())
    assert [message.at for message in messages] == sorted(message.at for message in messages)
    tenants: Counter[str] = Counter()
    for message in messages:
        event = orjson.loads(message.body)
        StoredEnvelope.model_validate(event)
        if message.is_tick:
            continue
        stored_model(event["type"]).model_validate(event["data"])
        number = partition(event["tenant"], event["case"])
        assert message.subject == cases_subject(number, event["tenant"], event["type"])
        tenants[event["tenant"]] += 1
    assert set(tenants) == {"seoul", "anseong", "mapo", "yeonje", "miryang"}
    ticks = [message for message in messages if message.is_tick]
    assert len(ticks) % PARTITIONS == 0
    assert {message.at for message in messages[-PARTITIONS:]} == {messages[-1].at}


def test_a_seed_writes_the_same_bytes() -> None:
    """Another seed does not."""
    first, again, other = (list(Workload(60, seed).messages()) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("now", "lost"), [(3.0, False), (2.9, True), (8.0, False)])
def test_a_ratio_that_is_a_quarter_worse_is_a_loss(now: float, lost: bool) -> None:
    """Three of four stands; 2.9 is a loss of more than a quarter. What is no ratio is not compared."""
    found = msgspec.structs.replace(RECORDED, bars=[Bar("ours / theirs", now), Bar("rate", 1.0, ratio=False)])
    expected = [f"live: ours / theirs was 4, now {now:.3g}"] if lost else []
    assert losses([RECORDED], [found]) == expected


def test_a_ratio_that_is_no_longer_measured_is_a_loss_but_a_subject_not_asked_for_is_none() -> None:
    """Leaving a figure out must not look like keeping it."""
    without = msgspec.structs.replace(RECORDED, bars=[])
    assert losses([RECORDED], [without]) == ["live: ours / theirs was 4 and is no longer measured"]
    assert losses([RECORDED], []) == []


def test_both_sizes_are_kept_beside_each_other(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A quick run does not overwrite a full one, and a table says which bar was missed."""
    bars = [
        Bar("far", 2.0, at_least=25),
        Bar("near", 30.0, at_least=25),
        Bar("other way", 1.0, at_least=1.5, excused=True),
        Bar("lag", 1200.0, at_most=1000, unit="ms", ratio=False),
    ]
    full = Results({"cpu": "one"}, "then", False, [msgspec.structs.replace(RECORDED, bars=bars)])
    quick = msgspec.structs.replace(full, quick=True, outcomes=[])
    write(full, tmp_path)
    write(quick, tmp_path)
    assert read(tmp_path) == {"full": full, "quick": quick}
    rows = [line for line in as_table(full).splitlines() if line.startswith("| live |")]
    assert [row.split(" | ")[-1] for row in rows] == [
        "**not reached** |",
        "reached |",
        "reached |",
        "**not reached** |",
    ]
    assert "| a | 2 | 1 | 3 | /s | 3 |" in as_table(full)
