"""`make simulation [SEED=n] [SEEDS=n]`: simulated histories, one a seed.

The one rule: a seed that fails is printed with the command that repeats it, step for step.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from simulated_city import simulate

from services.chassis import logs


def prepare() -> None:
    """Of a process that runs histories: no log, and what was imported is never looked through for garbage."""
    logs.configure("simulation", "critical")
    gc.freeze()
    gc.set_threshold(50_000)


def of_seed(seed: int) -> tuple[int, list[str], int, int, Counter[str]]:
    """(seed, violations, facts published, cases that were stuck and mended, faults by name)."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            city = simulate(seed, Path(folder))
        except Exception as error:
            return seed, [f"{type(error).__name__}: {error}"], 0, 0, Counter()
    return seed, city.violations, city.events, city.mended, city.faults


def main() -> int:
    """Runs the seeds on all cores; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    asked = parser.parse_args()
    began = time.monotonic()
    failed, events, mended, faults = 0, 0, 0, Counter[str]()
    with ProcessPoolExecutor(initializer=prepare) as pool:
        for seed, violations, published, cases, met in pool.map(
            of_seed, range(asked.seed, asked.seed + asked.seeds), chunksize=10
        ):
            events += published
            mended += cases
            faults += met
            if violations:
                failed += 1
                sys.stdout.write(f"seed {seed}: {'; '.join(violations)}\n")
                sys.stdout.write(f"  again: make simulation SEED={seed} SEEDS=1\n")
    sys.stdout.write(
        f"{asked.seeds} histories, {events} facts, {faults.total()} faults "
        f"({', '.join(f'{name} {times}' for name, times in sorted(faults.items()))}), {mended} cases mended, "
        f"{failed} failed, "
        f"{time.monotonic() - began:.0f} s\n"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
