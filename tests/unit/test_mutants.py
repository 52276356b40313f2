"""Mutants: each patch of tests/mutants still fits the tree, and names tests that are there.

The one rule: a mutant that does not fit proves nothing, and that is seen at once and not when somebody runs them all.
"""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATCHES = sorted((ROOT / "tests" / "mutants").glob("*.patch"))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_mutant_fits_the_tree_and_its_killers_exist(patch: Path) -> None:
    fits = subprocess.run(["git", "apply", "--check", str(patch)], cwd=ROOT, capture_output=True, text=True)
    assert fits.returncode == 0, fits.stderr
    header = patch.read_text(encoding="utf-8").partition("\n--- ")[0].splitlines()
    killers = [line.removeprefix("Killed-by: ") for line in header if line.startswith("Killed-by: ")]
    assert killers
    for killer in killers:
        file, _, test = killer.partition("::")
        assert f"def {test.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")


def test_there_are_mutants() -> None:
    assert len(PATCHES) >= 20
