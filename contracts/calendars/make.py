"""Makes a calendar file: every public holiday of a country written out, by date and by name.

The one rule: this tool only proposes. What counts is the file, read by a person and enacted by its hash; the
services never call the `holidays` package, which may change its mind from one release to the next.

    python contracts/calendars/make.py kr 2020 2028 > contracts/calendars/kr.yaml
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import holidays


@dataclass(frozen=True)
class Profile:
    """What a calendar file needs beside its dates.

    `names` mends holiday names, part by part, in Korean and in English; where the package has no Korean names
    (`korean` is false), it gives the Korean name of each English one.
    """

    country: str
    version: str
    zone: str
    hours: str
    subdivision: str | None = None
    korean: bool = True
    names: Mapping[str, str] = field(default_factory=dict)


PROFILES = {
    "kr": Profile(
        country="KR",
        version="2026.1",
        zone="Asia/Seoul",
        hours='{office: {mon-fri: ["09:00-12:00", "13:00-18:00"]}}',
        # The words of the Rules on Public Holidays, where the package has others.
        names={"신정연휴": "신정", "대체 휴일": "대체공휴일", "Alternative holiday": "Substitute holiday"},
    ),
    "us-ma": Profile(
        country="US",
        subdivision="MA",
        version="2017.1",
        zone="America/New_York",
        hours='{office: {mon-fri: ["08:30-17:00"]}}',
        korean=False,
        names={
            "New Year's Day": "새해 첫날",
            "Martin Luther King Jr. Day": "마틴 루서 킹 기념일",
            "Washington's Birthday": "워싱턴 탄생일",
            "Patriots' Day": "애국자의 날",
            "Memorial Day": "전몰장병 추모일",
            "Independence Day": "독립기념일",
            "Labor Day": "노동절",
            "Columbus Day": "콜럼버스의 날",
            "Veterans Day": "재향군인의 날",
            "Thanksgiving Day": "추수감사절",
            "Christmas Day": "성탄절",
            "(observed)": "대체휴일",
        },
    ),
}


def calendar_file(name: str, first: int, last: int) -> str:
    """The text of a calendar file that covers the years `first` to `last`, both included.

    Raises KeyError for a name without a profile.
    """
    profile = PROFILES[name]
    years = range(first, last + 1)
    english = holidays.country_holidays(profile.country, subdiv=profile.subdivision, years=years, language="en_US")
    korean = (
        holidays.country_holidays(profile.country, subdiv=profile.subdivision, years=years, language="ko")
        if profile.korean
        else english
    )
    lines = [
        f"calendar: {name}",
        f'version: "{profile.version}"',
        f"zone: {profile.zone}",
        f"from: {first}-01-01",
        f"horizon: {last}-12-31",
        f"hours: {profile.hours}",
        "closures:",
    ]
    for day in sorted(english):
        ko = _mended(korean[day], profile.names)
        en = _mended(english[day], profile.names if profile.korean else {})
        lines.append(f'  {day}: {{ko: "{ko}", en: "{en}"}}')
    lines.append("openings: {}")
    return "\n".join(lines) + "\n"


def _mended(name: str, names: Mapping[str, str]) -> str:
    for part, better in names.items():
        name = name.replace(part, better)
    return name.replace("; ", " · ")


if __name__ == "__main__":
    sys.stdout.write(calendar_file(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
