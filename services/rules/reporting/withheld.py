"""Withheld: which numbers of departments are told, so that none of them points to a person.

The one rule: nothing is told of fewer than five cases of a department, nor any number from which they could be worked
out. In a small department one case in a month is one officer, and often one neighbour of whose petition everybody
knows. The numbers of the whole city are told always; five is what Korean statistics withhold below, too.

Everybody can subtract what is told from the city's number. So departments that are small in the year are told together,
two at least; and where a month of a department is small its months are not told, nor those of one department more. Of
two rows with known sums a hidden month can only be worked out where it is nought, or all that there was in the year.
"""

from collections.abc import Mapping, Sequence

FEW = 5
"""Of fewer cases of a department nothing is told."""
OTHERS = "*"
"""What departments are called that are told together. No department is: a label has letters."""


def groups(counts: Mapping[str, int], few: int = FEW) -> dict[str, str]:
    """What each department is told as, from its cases in the year: itself, or one of the others. None is told where
    all would be others; a single department is the city."""
    there = sorted((count, name) for name, count in counts.items() if count)
    if len(there) < 2:
        return {}
    others = [row for row in there if row[0] < few]
    rest = there[len(others) :]
    while others and rest and (len(others) < 2 or sum(count for count, _ in others) < few):
        others.append(rest.pop(0))
    if not rest:
        return {}
    return {name: OTHERS for _, name in others} | {name: name for _, name in rest}


def without_months(months: Mapping[str, Sequence[int]]) -> set[str]:
    """Of departments as they are told, with their cases by month: those whose months are not."""
    found = {name for name, counts in months.items() if any(0 < count < FEW for count in counts)}
    more = sorted((sum(counts), name) for name, counts in months.items() if name not in found)
    if len(found) == 1 and more:
        found.add(more[0][1])
    return found
