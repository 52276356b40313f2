"""Runs intake: `python -m services.intake`. The one rule: all it is told comes from the environment."""

import gc

gc.disable()  # importing makes much and drops little: the collector finds nothing, and is on again once all stands

from services.chassis.http import run  # noqa: E402
from services.intake.app import build_app  # noqa: E402

if __name__ == "__main__":
    run("intake", build_app)
