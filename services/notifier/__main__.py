"""`python -m services.notifier` runs the notifier. The one rule: everything it needs comes from the environment."""

import gc

gc.disable()  # importing makes much and drops little: the collector finds nothing, and is on again once all stands

from services.chassis.http import run  # noqa: E402
from services.notifier.app import make_app  # noqa: E402

if __name__ == "__main__":
    run("notifier", make_app)
