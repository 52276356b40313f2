"""Starting: a service that comes back after a crash is waited for, so it loads no more than it needs."""

import subprocess
import sys

import pytest

from services.chassis.settings import ROOT


@pytest.mark.parametrize("service", ["intake", "sla_timer", "notifier"])
def test_what_only_draws_documents_is_not_loaded_at_the_start(service: str) -> None:
    ask = f"import services.{service}.__main__, sys; print(sorted({{'fpdf', 'PIL', 'fontTools'}} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, check=True, text=True)
    assert ran.stdout == "[]\n"
