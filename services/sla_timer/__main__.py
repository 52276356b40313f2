"""`python -m services.sla_timer`: runs the service with the settings of the environment."""

import gc

gc.disable()  # importing makes much and drops little: the collector finds nothing, and is on again once all stands

from services.chassis.http import run  # noqa: E402
from services.sla_timer.app import build_app  # noqa: E402

if __name__ == "__main__":
    run("sla_timer", build_app)
