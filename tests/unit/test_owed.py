"""What is owed and paid of remedies, worked out from their decisions and from what people did; by hand."""

import pytest

from services.cli.accounts import Accounts, Said, Step, Sums
from services.cli.remedies import compared

SCOPE = ("seoul", "c1", "seoul-remedy-money")
PROPOSED = ("remedy.proposed", 5_000)
OPEN = ("remedy.proposed", None)
WITHDRAWN = ("remedy.withdrawn", 5_000)


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
    decisions: list[tuple[str, tuple[str, int | None]]],
    steps: list[Step],
    proposed: int,
    withdrawn: int,
    declined: int,
    paid: int,
) -> None:
    said = [
        Said(id, cause, kind, "k", SCOPE, "late", amount) for cause, (id, (kind, amount)) in enumerate(decisions, 1)
    ]
    assert Accounts(said, {"k": steps}).of["k"].sums == Sums(proposed, withdrawn, declined, paid)


def by(cause: int, *said: str) -> list[Said]:
    """Decisions of one step: `+a` proposes five thousand under the name a, `-a` takes that back. Their ids are 1+a."""
    kinds = {"+": "remedy.proposed", "-": "remedy.withdrawn"}
    return [Said(f"{cause}{one}", cause, kinds[one[0]], one[1:], SCOPE, "", 5_000) for one in said]


def paid(id: str, *steps: str) -> list[Step]:
    return [Step(id, step, 5_000) for step in (*steps, "approved", "issued")]


def test_what_was_paid_under_one_name_is_not_owed_under_the_next_nor_the_one_after() -> None:
    said = [*by(1, "+a"), *by(2, "+b", "-a"), *by(3, "-b", "+c")]
    accounts = Accounts(said, {"a": paid("1+a")}).of
    assert {key: (one.sums.owed, one.sums.open, one.sums.paid) for key, one in accounts.items()} == {
        "a": (5_000, 0, 5_000),
        "b": (0, 0, 0),
        "c": (0, 0, 0),
    }
    assert (accounts["b"].is_covered, accounts["c"].covered_by) == (False, "a")
    assert accounts["b"].sums == Sums(5_000, withdrawn=5_000)


def test_what_was_not_paid_covers_nothing_and_one_payment_covers_one() -> None:
    renamed = [*by(1, "+a"), *by(2, "+b", "+c", "-a")]
    assert [one.sums.open for one in Accounts(renamed, {}).of.values()] == [0, 5_000, 5_000]
    assert [one.sums.open for one in Accounts(renamed, {"a": paid("1+a")}).of.values()] == [0, 0, 5_000]


def test_another_step_or_another_promise_is_another_incident() -> None:
    apart = Accounts([*by(1, "+a"), *by(2, "-a"), *by(3, "+b")], {"a": paid("1+a")})
    assert apart.of["b"].sums.open == 5_000
    first, second = (one._replace(promise=name) for one, name in zip(by(1, "+a") + by(2, "+b"), "xy", strict=True))
    assert Accounts([first, second, *by(2, "-a")], {"a": paid("1+a")}).of["b"].sums.open == 5_000
    assert Accounts([first, second._replace(promise=""), *by(2, "-a")], {"a": paid("1+a")}).of["b"].sums.open == 0


def test_a_payment_goes_back_to_the_remedy_that_it_was_made_for() -> None:
    said = [*by(1, "+a"), *by(2, "+b", "-a"), *by(3, "+a")]
    accounts = Accounts(said, {"a": paid("1+a")})
    assert accounts.of["b"].sums == Sums(5_000)
    restored = Accounts([*said[:3], *by(3, "+a", "-b"), *by(4, "+b", "-a")], {"a": paid("1+a")})
    assert [one.sums.open for one in restored.of.values()] == [0, 0]
    both = Accounts(said, {"a": paid("1+a"), "b": paid("2+b")})
    assert (both.of["b"].sums, both.twice) == (Sums(5_000, paid=5_000), {})


def test_who_pays_both_names_has_paid_twice_unless_somebody_told_them_apart() -> None:
    said = [*by(1, "+a"), *by(2, "+b", "-a")]
    assert Accounts(said, {"a": paid("1+a"), "b": paid("2+b")}).twice == {"b": "a"}
    apart = Accounts(said, {"a": paid("1+a"), "b": paid("2+b", "separated")})
    assert (apart.twice, apart.of["b"].sums) == ({}, Sums(5_000, paid=5_000))


def test_sums_add_up() -> None:
    sums = Sums(proposed=30_000, withdrawn=10_000, declined=5_000, paid=10_000)
    assert (sums.owed, sums.open) == (15_000, 5_000)


def test_a_difference_is_named_by_its_remedy() -> None:
    assert compared({"a": Sums(5_000), "b": Sums()}, {"a": Sums(5_000)}) == []
    [said] = compared({"a": Sums(5_000, paid=5_000)}, {"a": Sums(5_000)})
    assert said == (
        "a: the book says proposed 5,000, withdrawn 0, declined 0, paid 5,000, covered 0; "
        "the logs say proposed 5,000, withdrawn 0, declined 0, paid 0, covered 0"
    )
    assert len(compared({}, {"c": Sums(1)})) == 1
