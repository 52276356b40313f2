"""The alarms: every one of them looks at a metric that a service has, and fires when and only when it should."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from services.chassis.settings import ROOT

RULES = ROOT / "deploy" / "alerts.yaml"
STORIES = Path(__file__).with_name("alerts.yaml")


def alarms() -> dict[str, str]:
    """The expression of each alarm."""
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def promtool(*arguments: str | Path) -> str:
    """What promtool prints; the test fails where it does, and is skipped aloud where there is none."""
    program = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not there: install Debian's `prometheus`, or name it in PROMTOOL")
    ended = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_every_alarm_looks_at_a_metric_that_a_service_has() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "services").glob("**/*.py"))
    known = set(re.findall(r'"(gihan_[a-z_]+)"', sources)) | {"up"}
    for alarm, expression in alarms().items():
        metrics = set(re.findall(r"\b(gihan_[a-z_]+|up)\b", expression.replace('"gihan"', "")))
        assert metrics, alarm
        assert {metric.removesuffix("_total") for metric in metrics} <= known, alarm


def test_every_alarm_has_a_story_in_which_it_fires() -> None:
    stories = yaml.safe_load(STORIES.read_text(encoding="utf-8"))["tests"]
    checks = [check for story in stories for check in story["alert_rule_test"]]
    assert {check["alertname"] for check in checks if check.get("exp_alerts")} == set(alarms())


def test_promtool_takes_the_rules() -> None:
    assert f"{len(alarms())} rules found" in promtool("check", "rules", RULES)


def test_promtool_finds_that_each_fires_when_it_should() -> None:
    assert "SUCCESS" in promtool("test", "rules", STORIES)
