"""`python -m services.notifier` runs the notifier. The one rule: everything it needs comes from the environment."""

from services.chassis.http import run
from services.notifier.app import make_app

if __name__ == "__main__":
    run("notifier", make_app)
