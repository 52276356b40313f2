"""`python -m tests.bench.lanes FIRST LAST`: sla_timer with some of the partitions.

A process takes every partition that nobody holds. For a fair half of them each, two processes are told which.
"""

import sys

from services.chassis.http import run
from services.sla_timer import app

if __name__ == "__main__":
    app.LANES = range(int(sys.argv[1]), int(sys.argv[2]) + 1)
    run("sla_timer", app.build_app)
