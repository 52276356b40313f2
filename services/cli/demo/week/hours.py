"""The time of the made-up week: minutes from Monday 00:00, local time, and the hours of its offices.

The one rule: every moment that is worked out here lies on the grid.
"""

DAY = 24 * 60
GRID = 10
SHIFTS = ((9 * 60, 12 * 60), (13 * 60, 18 * 60))
OFFICE_DAY = 8 * 60
WEEK_ENDS = 4 * DAY + 18 * 60


def office_after(moment: int, minutes: float) -> int:
    """The minute by which `minutes` of office time have passed since `moment`, rounded up to the grid."""
    day, now = divmod(moment, DAY)
    while True:
        for opens, closes in SHIFTS if day % 7 < 5 else ():
            begin = max(now, opens)
            if begin < closes and minutes <= closes - begin:
                return day * DAY + _up(begin + minutes)
            minutes -= max(closes - begin, 0)
        day, now = day + 1, 0


def _up(minute: float) -> int:
    return -int(-minute // GRID) * GRID
