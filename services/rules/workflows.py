"""Workflows: the steps that a case of one kind walks through, in their order.

The one rule: a step that was taken cannot be undone, so that one too soon or too late is a broken measure, never a
refusal; a fact that comes late and puts it in order takes the measure back.
"""

from collections.abc import Sequence
from typing import Final

from services.rules.charter import Petition, Workflow
from services.rules.demands import matches
from services.rules.effective import key_of, moment_of
from services.rules.facts import Fact
from services.rules.scan import Scan
from services.rules.state import Finding

OUT_OF_ORDER: Final = "step_out_of_order"


def watch(scan: Scan, fact: Fact) -> None:
    """Judges the first event of each kind against the steps of the workflows that the case walks."""
    moment = moment_of(fact)
    walked = scan.charter.walking.get(fact.type, ())
    before = [
        other
        for other in scan.facts
        if walked and moment_of(other) <= moment and other is not fact and not scan.verdicts.get(key_of(other))
    ]
    for workflow in walked:
        if _out_of_order(workflow, fact, before, scan.petition):
            key = f"step:{workflow.id}:{key_of(fact)}"
            scan.find(Finding("measure.breached", key, fact.time, workflow.id, key_of(fact), code=OUT_OF_ORDER))


def _out_of_order(workflow: Workflow, fact: Fact, before: Sequence[Fact], petition: Petition) -> bool:
    """Whether a step that must come before is not there, or one that comes after was there already. Of facts of the
    same moment none is too late for another."""
    first, types = workflow.steps[0], [step.type for step in workflow.steps]
    if not any(matches(first, other.type, other.data, petition) for other in before):
        return False  # it is no case of this kind, or not yet
    earlier = {other.type for other in before if moment_of(other) < moment_of(fact)}
    if fact.type in earlier:
        return False  # done again, as after an objection
    there = {other.type for other in before}
    place = types.index(fact.type)
    return not set(types[:place]) - workflow.optional <= there or any(type in earlier for type in types[place + 1 :])
