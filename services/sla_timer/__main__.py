"""`python -m services.sla_timer`: runs the service with the settings of the environment."""

from services.chassis import logs
from services.chassis.http import serve
from services.chassis.settings import Settings
from services.sla_timer.app import build_app

if __name__ == "__main__":
    settings = Settings.from_env("sla_timer")
    logs.configure("sla_timer", settings.log_level)
    serve(build_app(settings), settings)
