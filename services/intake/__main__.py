"""Runs intake: `python -m services.intake`. The one rule: all it is told comes from the environment."""

from services.chassis.http import serve
from services.chassis.logs import configure
from services.chassis.settings import Settings
from services.intake.app import build_app

if __name__ == "__main__":
    settings = Settings.from_env("intake")
    configure(settings.service, settings.log_level)
    serve(build_app(settings), settings)
