"""Three nats-servers, and the one that leads CASES is killed under load.

Goal: publishers are answered again within fifteen seconds, and the auditor finds nothing. `make cluster` does more.
"""

from pathlib import Path

import pytest

from services.cli.auditing.audit import in_words
from tests.power import cluster


@pytest.mark.timeout(240)
async def test_the_leader_is_killed(tmp_path: Path) -> None:
    cases, report, answered = await cluster.run(tmp_path, 3, ["kill"])
    print(cases, answered)
    assert not report.violations, "\n".join(in_words(report))
    assert cases[0].waited_seconds < cluster.BACK_SECONDS
    assert answered > 100
