"""Processes that share a piece of work."""

import os
from pathlib import Path

import pytest

from services.chassis.settings import ROOT
from services.cli.workers import Ended, shared

MODULE = """
import os
from services.cli.workers import serve

async def work(given, share):
    for number in share:
        if number < 0:
            os._exit(3)
        yield [given, number, os.getpid()]

if __name__ == "__main__":
    serve(work)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "some_work.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    return "some_work"


async def test_each_share_is_done_in_a_process_of_its_own(module: str) -> None:
    answers = [answer async for answer in shared(module, "all", [[1, 2], [3, 4, 5]])]
    assert sorted(answer[:2] for answer in answers) == [["all", number] for number in (1, 2, 3, 4, 5)]
    first, second = ({pid for _, number, pid in answers if number in share} for share in ((1, 2), (3, 4, 5)))
    assert len(first) == len(second) == len(first | second) - 1


async def test_a_process_that_ends_too_soon_is_noticed_and_ends_the_others(module: str) -> None:
    pids = set[int]()

    async def take_all() -> None:
        async for _, _, pid in shared(module, "all", [[1, -1], range(10**9)]):
            pids.add(pid)

    with pytest.raises(Ended):
        await take_all()
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
