"""The people of a city: its petitioners and its staff.

The one rule: nobody here exists; names are put together by chance, numbers begin with zeros, mail ends in .example.
"""

from collections.abc import Iterator
from random import Random

from services.cli.demo.week.delivery import Data
from services.rules.tenants import Tenant

FAMILY_SYLLABLES = "김이박최정강조윤장임"
GIVEN_SYLLABLES = "가나다라마바사아자차하솔별달빛"
FOREIGN_NAMES = ("Alex Sample", "Robin Example", "Kim Placeholder", "Sasha Test", "Noor Invented")
DEPARTMENTS = ("민원여권과", "건축과", "교통행정과", "환경위생과")
OFFICERS_EACH = 2
AUDIT = "감사담당관"
"""Where the ladder ends (`messages.audit` of the tenants' file)."""


class People:
    """The people of one municipality, drawn by its own chance.

    `officers` are (id, department), the heads first.
    """

    def __init__(self, random: Random, tenant: Tenant) -> None:
        self.officers = [
            (f"officer-{number:02}", department) for number, department in enumerate(DEPARTMENTS * OFFICERS_EACH, 1)
        ]
        self._random = random
        self._tenant = tenant
        self._petitioners = 0

    def staff(self) -> Iterator[Data]:
        """What staff.described says of everybody in office."""
        for place, (officer, department) in enumerate(self.officers):
            told: Data = {
                "staff": officer,
                "name": self.korean_name(),
                "department": department,
                "phone": f"000-0000-{1000 + place}",
                "email": f"{officer}@{self._tenant.id}.example",
                "head": place < len(DEPARTMENTS),
            }
            if place >= len(DEPARTMENTS):
                told["superior"] = self.officers[place % len(DEPARTMENTS)][0]
            yield told
        audit = {"name": "감사담당", "phone": "000-0000-1100", "email": f"audit@{self._tenant.id}.example"}
        yield {"staff": "audit", "department": AUDIT, "head": True, **audit}

    def petitioner(self) -> tuple[Data, bool]:
        """A citizen's details and wishes, and whether they are in English."""
        english = self._random.random() < 0.12
        self._petitioners += 1
        applicant: Data = {
            "name": self._random.choice(FOREIGN_NAMES) if english else self.korean_name(),
            "address": f"{self._tenant.name_ko} 보기로 {self._random.randint(1, 300)}",
            "phone": self.number("000-0000"),
        }
        means = ["none"]
        if self._random.random() < 0.75:
            applicant["mobile"] = self.number("010-0000")
            means += ["sms"] * 4
        if self._random.random() < 0.5:
            applicant["email"] = f"petitioner{self._petitioners:04}@{self._tenant.id}.example"
            means += ["email"] * 4
        wishes = {"notify_by": self._random.choice(means), "language": "en" if english else "ko"}
        return {"applicant": applicant, **wishes}, english

    def korean_name(self) -> str:
        """A name of three syllables."""
        given = "".join(self._random.choices(GIVEN_SYLLABLES, k=2))
        return self._random.choice(FAMILY_SYLLABLES) + given

    def number(self, prefix: str) -> str:
        """A telephone number behind a prefix that nobody has."""
        return f"{prefix}-{self._random.randrange(10_000):04}"
