"""The report of a year as a value: what its page, its PDF and its table all show.

The one rule: whole numbers alone; shares are worked out where they are shown, and rounded down. A number that is None
is withheld, since it could point to a person (`withheld`).
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from services.rules.instants import Instant

Group = Literal["deadlines", "measures", "law"]
MONTHS = range(1, 13)


class Tally(msgspec.Struct, frozen=True):
    """Of one promise: how often it was kept and broken, how often it runs yet or has still to be judged, and how often
    it no longer applied. A measure of the law is not counted where it was kept."""

    kept: int = 0
    broken: int = 0
    open: int = 0
    void: int = 0

    @property
    def all(self) -> int:
        """Every case of it."""
        return self.kept + self.broken + self.open + self.void

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.kept + other.kept, self.broken + other.broken, self.open + other.open, self.void + other.void)


class Place(msgspec.Struct, frozen=True):
    """What was judged of the promise in one department ("": the case lay with none yet), by month and in the year.
    None: withheld."""

    department: str
    months: tuple[Tally | None, ...]
    year: Tally


class Values(msgspec.Struct, frozen=True):
    """The numbers of a measure: how many, the middle one, the one that nine in ten do not exceed; or, of what is yes or
    no, how often it was yes. Seconds or counts, as the field's name says."""

    field: str
    count: int
    middle: int | None = None
    ninth: int | None = None
    yes: int | None = None


class Line(msgspec.Struct, frozen=True):
    """One promise: `months` are twelve. `judged`: it is counted how often it was kept. `retracted`: breaches that
    turned out to be none."""

    promise: str
    group: Group
    section: str
    says: Mapping[str, str]
    judged: bool
    months: tuple[Tally, ...]
    year: Tally
    retracted: int
    places: tuple[Place, ...]
    values: Values | None = None


class Amends(msgspec.Struct, frozen=True):
    """What was owed for broken promises: how often it was proposed, how often an approver declined it, how often the
    amount is still to be said; owed and paid in whole units of the currency."""

    proposed: int = 0
    declined: int = 0
    unsaid: int = 0
    owed: int = 0
    paid: int = 0

    def __add__(self, other: "Amends") -> "Amends":
        return Amends(*(one + more for one, more in zip(_parts(self), _parts(other), strict=True)))


def _parts(amends: Amends) -> tuple[int, ...]:
    return (amends.proposed, amends.declined, amends.unsaid, amends.owed, amends.paid)


class Owing(msgspec.Struct, frozen=True):
    """What was owed for one thing: a promise or a department."""

    name: str
    amends: Amends


class Compensation(msgspec.Struct, frozen=True):
    """What was owed and paid in the year. `promises` by the clause that was broken ("": a fault that was confirmed);
    `withdrawn` counts what was proposed and then no longer owed."""

    currency: str
    year: Amends
    withdrawn: int
    months: tuple[Amends, ...]
    promises: tuple[Owing, ...]
    departments: tuple[Owing, ...]


class Handling(msgspec.Struct, frozen=True):
    """How long petitions took from receipt to answer: how many, and the middle one in minutes of elapsed time; None
    where there are none."""

    name: str
    count: int
    minutes: int | None


class Times(msgspec.Struct, frozen=True):
    """Handling times of the year, by month, kind of petition and department."""

    year: Handling
    months: tuple[Handling, ...]
    kinds: tuple[Handling, ...]
    departments: tuple[Handling, ...]


class Answers(msgspec.Struct, frozen=True):
    """Answers to one question: how many of each score from 1 to 5. None: withheld, or too few."""

    name: str
    scores: tuple[int, ...] | None

    @property
    def count(self) -> int:
        """How many answered."""
        return sum(self.scores or ())

    @property
    def hundredths(self) -> int | None:
        """The average, in hundredths, rounded down; None without answers."""
        points = sum(score * count for score, count in enumerate(self.scores or (), 1))
        return 100 * points // self.count if self.count else None

    @property
    def satisfied(self) -> int:
        """How many gave 4 or 5."""
        return sum((self.scores or ())[3:])


class Question(msgspec.Struct, frozen=True):
    """What was answered to one question."""

    question: str
    year: Answers
    months: tuple[Answers, ...]
    departments: tuple[Answers, ...]


class Survey(msgspec.Struct, frozen=True):
    """What the petitioners of closed cases said: of the `closed` ones `answered` were answered for, by the month of
    closing too."""

    closed: int
    answered: int
    months: tuple[tuple[int, int], ...]
    questions: tuple[Question, ...]


class Duty(msgspec.Struct, frozen=True):
    """A duty of the city: what is wanted, from when and by when, and how it stands.

    `state`: open, suspended, met, broken or void as of a run; planned where its year has not come; waiting where what
    begins it has not happened. `met_at` is when it was done, in time or not.
    """

    promise: str
    says: Mapping[str, str]
    wants: tuple[str, ...]
    state: str
    begins: Instant | None = None
    due: Instant | None = None
    met_at: Instant | None = None


class Report(msgspec.Struct, frozen=True):
    """How a city kept its charter in a year, as known at `as_of`. `stuck` cases could not be judged and are counted
    nowhere."""

    tenant: str
    year: int
    as_of: Instant
    charter: str
    name: Mapping[str, str]
    lines: tuple[Line, ...]
    duties: tuple[Duty, ...]
    compensation: Compensation
    times: Times
    survey: Survey
    cases: int
    stuck: int
