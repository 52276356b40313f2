"""What is owed and paid of one remedy, worked out from its decisions and from what people did; by hand."""

import pytest

from services.cli.remedies import Step, Sums, compared, of_remedy
from services.rules.state import Decision

PROPOSED = Decision("remedy.proposed", 0, amount=5_000, key="k")
OPEN = Decision("remedy.proposed", 0, key="k")
WITHDRAWN = Decision("remedy.withdrawn", 0, amount=5_000, key="k")


@pytest.mark.parametrize(
    ("decisions", "steps", "proposed", "withdrawn", "declined", "paid"),
    [
        ([("1-1", PROPOSED)], [], 5_000, 0, 0, 0),
        ([("1-1", PROPOSED), ("1-2", WITHDRAWN)], [], 5_000, 5_000, 0, 0),
        ([("1-1", PROPOSED)], [Step("1-1", "approved", 5_000), Step("1-1", "issued", 5_000)], 5_000, 0, 0, 5_000),
        # Issued, then withdrawn, then owed again: paid once, and for ever.
        (
            [("1-1", PROPOSED), ("1-2", WITHDRAWN), ("1-3", PROPOSED)],
            [Step("1-1", "approved", 5_000), Step("1-1", "issued", 5_000)],
            *(5_000, 0, 0, 5_000),
        ),
        ([("1-1", PROPOSED)], [Step("1-1", "declined", None)], 5_000, 0, 5_000, 0),
        ([("1-1", PROPOSED), ("1-2", WITHDRAWN)], [Step("1-1", "declined", None)], 5_000, 5_000, 0, 0),
        # What was said of the first time says nothing of the second.
        (
            [("1-1", PROPOSED), ("1-2", WITHDRAWN), ("1-3", PROPOSED)],
            [Step("1-1", "declined", None)],
            *(10_000, 5_000, 0, 0),
        ),
        ([("1-1", OPEN)], [], 0, 0, 0, 0),
        ([("1-1", OPEN)], [Step("1-1", "entered", 70_000), Step("1-1", "entered", 7_000)], 7_000, 0, 0, 0),
        ([("1-1", OPEN), ("1-2", WITHDRAWN)], [Step("1-1", "entered", 7_000)], 7_000, 7_000, 0, 0),
        ([("1-1", OPEN)], [Step("1-1", "approved", 15_000), Step("1-1", "issued", 15_000)], 15_000, 0, 0, 15_000),
    ],
)
def test_what_is_owed_of_a_remedy(
    decisions: list[tuple[str, Decision]],
    steps: list[Step],
    proposed: int,
    withdrawn: int,
    declined: int,
    paid: int,
) -> None:
    assert of_remedy(decisions, steps) == Sums(proposed, withdrawn, declined, paid)


def test_sums_add_up() -> None:
    sums = Sums(proposed=30_000, withdrawn=10_000, declined=5_000, paid=10_000)
    assert (sums.owed, sums.open) == (15_000, 5_000)


def test_a_difference_is_named_by_its_remedy() -> None:
    assert compared({"a": Sums(5_000), "b": Sums()}, {"a": Sums(5_000)}) == []
    [said] = compared({"a": Sums(5_000, paid=5_000)}, {"a": Sums(5_000)})
    assert said == (
        "a: the book says proposed 5,000, withdrawn 0, declined 0, paid 5,000; "
        "the logs say proposed 5,000, withdrawn 0, declined 0, paid 0"
    )
    assert len(compared({}, {"c": Sums(1)})) == 1
