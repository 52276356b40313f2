"""Runs intake: `python -m services.intake`. The one rule: all it is told comes from the environment."""

from services.chassis.http import run
from services.intake.app import build_app

if __name__ == "__main__":
    run("intake", build_app)
