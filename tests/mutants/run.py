"""`make mutants [ONLY=NN]`: breaks one guarantee after another, and sees the suite notice each.

The one rule: a mutant counts as killed only where a test that passes on the tree as it is fails on the mutant. What
cannot be applied, hangs, or dies before it comes to a test proves nothing and fails the run.

A patch begins with plain lines: the guarantee that it breaks, then `Breaks:` with the invariant, then `Killed-by:` with
each test that must see it.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import groupby
from os import environ
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SIGHT_SECONDS, LIMIT_SECONDS = 600, 180
TEST_SECONDS = 60
"""A test that takes longer on a mutant has failed: many a broken guarantee shows as waiting for ever."""


class Mutant(NamedTuple):
    """One patch: what it breaks, in words and by invariant, and the tests that must see it."""

    path: Path
    guarantee: str
    breaks: str
    killers: list[str]


class Unsound(Exception):
    """The run proves nothing; says why."""


def read(path: Path) -> Mutant:
    """A patch with its header. Raises Unsound where the header is not whole."""
    header = path.read_text(encoding="utf-8").partition("\n--- ")[0].splitlines()
    said = [line.partition(": ") for line in header if line.startswith(("Breaks: ", "Killed-by: "))]
    breaks = " ".join(value for name, _, value in said if name == "Breaks")
    killers = [value for name, _, value in said if name == "Killed-by"]
    guarantee = " ".join(line for line in header if line and not line.startswith(("Breaks: ", "Killed-by: ")))
    if not (guarantee and breaks and killers):
        raise Unsound(f"{path.name}: the header lacks the guarantee, `Breaks:` or `Killed-by:`")
    return Mutant(path, guarantee, breaks, killers)


def copied(folder: Path) -> None:
    """Every tracked file, as it is on the disk now, and the environment."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")


def applied(folder: Path, mutant: Mutant, *, back: bool = False) -> None:
    """Applies a patch, or takes it back. Raises Unsound where it does not fit."""
    command = ["git", "apply", *(["--reverse"] if back else []), str(mutant.path)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise Unsound(f"{mutant.path.name} does not fit the tree: {done.stderr.strip()}")


def tested(folder: Path, tests: Iterable[str], *options: str, mutated: bool) -> tuple[int, str]:
    """(exit code, output) of pytest on these tests."""
    # Of a mutant no bytecode is kept: it could pass for that of the file put back in the same second.
    environment = environ | ({"PYTHONDONTWRITEBYTECODE": "1"} if mutated else {})
    command = [sys.executable, "-m", "pytest", "--tb=no", "-rfE", *options, *tests]
    limit = LIMIT_SECONDS if mutated else SIGHT_SECONDS
    try:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise Unsound(f"no end after {limit} s: pytest {' '.join(tests)}") from None
    return done.returncode, done.stdout + done.stderr


def prove_sight(folder: Path, mutants: list[Mutant]) -> None:
    """Every killer passes on the tree as it is. Raises Unsound: a test that fails anyway sees nothing."""
    killers = sorted({killer for mutant in mutants for killer in mutant.killers})
    for _, tests in groupby(killers, key=lambda killer: killer.rpartition("/")[0]):  # a folder has its own conftest
        code, output = tested(folder, tests, mutated=False)
        if code:
            raise Unsound(f"blind: on the tree as it is the killers must pass\n{output}")


def killed(folder: Path, mutant: Mutant) -> bool:
    """Whether a killer fails on the mutant. Raises Unsound where none came so far as to fail."""
    applied(folder, mutant)
    try:
        code, output = tested(folder, mutant.killers, "-x", f"--timeout={TEST_SECONDS}", mutated=True)
    finally:
        applied(folder, mutant, back=True)
    if code not in (0, 1) or (code == 1 and "\nFAILED " not in output):
        raise Unsound(f"{mutant.path.name}: pytest ended with {code} and no test failed\n{output}")
    return code == 1


def line(folder: Path, mutant: Mutant) -> tuple[bool, str]:
    """Whether a mutant was killed, and its line of the table."""
    start = time.monotonic()
    try:
        dead = killed(folder, mutant)
        verdict = "<br>".join(mutant.killers) if dead else "**survived**"
    except Unsound as trouble:
        print(trouble, file=sys.stderr)
        dead, verdict = False, "**proves nothing**"
    seconds = f"{time.monotonic() - start:.0f}"
    return dead, f"| {' | '.join((mutant.path.stem, mutant.guarantee, mutant.breaks, verdict, seconds))} |"


def main() -> int:
    """Runs the mutants; 1 where one was not killed, or where the run proves nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="the mutants whose name begins so")
    asked = parser.parse_args()
    began = time.monotonic()
    alive = 0
    try:
        mutants = [read(path) for path in sorted(HERE.glob(f"{asked.only}*.patch"))]
        if not mutants:
            raise Unsound(f"no mutant begins with {asked.only}")
        with tempfile.TemporaryDirectory(prefix="gihan-mutants-") as name:
            folder = Path(name)
            copied(folder)
            prove_sight(folder, mutants)
            print(
                "| mutant | breaks the guarantee | invariant | killed by | seconds |\n|---|---|---|---|---|", flush=True
            )
            for mutant in mutants:
                dead, row = line(folder, mutant)
                alive += not dead
                print(row, flush=True)
    except Unsound as trouble:
        print(trouble, file=sys.stderr)
        return 1
    print(f"\n{len(mutants)} mutants, {len(mutants) - alive} killed, {time.monotonic() - began:.0f} s")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
