"""`python -m services.sla_timer`: runs the service with the settings of the environment."""

from services.chassis.http import run
from services.sla_timer.app import build_app

if __name__ == "__main__":
    run("sla_timer", build_app)
