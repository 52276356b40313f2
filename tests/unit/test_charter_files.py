"""Charter, law and calendar files: they fit their formats, name only what exists, leave out no timed promise.

The one rule: a file that does not fit is told so here, by name and field, and never at run time.
"""

import functools
import json
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel
from referencing import Registry, Resource

from contracts.events import FACTS, stored_model

CONTRACTS = Path(__file__).parents[2] / "contracts"
CHARTERS = sorted((CONTRACTS / "charters").glob("*.yaml"))
LAWS = sorted((CONTRACTS / "law").glob("*.yaml"))
CALENDARS = sorted((CONTRACTS / "calendars").glob("*.yaml"))
FORMATS = {path.name: json.loads(path.read_bytes()) for path in (CONTRACTS / "formats").glob("*.json")}
COMPUTED = {"period_days", "has_period"}

Clauses = dict[str, dict[str, Any]]


class OneKeyOnce(yaml.SafeLoader):
    """Refuses a mapping that says one thing twice; YAML itself takes the last in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"line {node.start_mark.line + 1}: a key stands twice"
        return super().construct_mapping(node, deep)


def plain(value: Any) -> Any:
    """YAML as JSON would have it: dates as text, also where they are keys."""
    if isinstance(value, Mapping):
        return {key.isoformat() if isinstance(key, date) else key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


@functools.cache
def content(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = plain(yaml.load(path.read_bytes(), OneKeyOnce))
    return loaded


def faults(file_format: str, instance: object) -> list[str]:
    registry: Registry[Any] = Registry().with_resources(
        [(f"urn:gihan:format:{name}", Resource.from_contents(schema)) for name, schema in FORMATS.items()]
        + [(name, Resource.from_contents(schema)) for name, schema in FORMATS.items()]
    )
    schema = {key: value for key, value in FORMATS[file_format].items() if key != "$id"}
    validator = Draft202012Validator(schema, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]


def promises(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content(path)["promises"]
    return found


def matches(promise: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every place in a promise that names an event."""
    if promise["kind"] == "measure":
        yield promise
    ends = promise.get("ends", [])
    for entry in (
        *promise.get("start", []),
        *promise.get("until", []),
        *promise.get("until_each", []),
        *promise.get("until_all", []),
        *promise.get("noted", []),
        *(match for year in promise.get("each_year", []) for match in year["until"]),
        *(ends if isinstance(ends, list) else []),
    ):
        if "on" in entry:
            yield entry


def has_field(model: type[BaseModel], path: str) -> bool:
    """Whether the log's form of some data has a field, named by its dotted path."""
    name, _, rest = path.partition(".")
    for field_name, info in model.model_fields.items():
        if (info.alias or field_name) != name:
            continue
        if not rest:
            return True
        kinds = (info.annotation, *get_args(info.annotation))
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        return any(has_field(kind, rest) for kind in inner)
    return False


def known(event: str, path: str) -> bool:
    """Whether a condition on an event may name a field: its own, the complaint's, or a computed one."""
    of_complaint = has_field(stored_model("complaint.received"), path)
    return path in COMPUTED or of_complaint or has_field(stored_model(event), path)


@pytest.mark.parametrize("path", CHARTERS, ids=lambda path: path.stem)
def test_a_charter_fits_its_format(path: Path) -> None:
    assert faults("charter.json", content(path)) == []
    assert path.stem == f"{content(path)['tenant']}-{content(path)['version']}"


@pytest.mark.parametrize("path", LAWS, ids=lambda path: path.stem)
def test_a_law_fits_its_format(path: Path) -> None:
    assert faults("law.json", content(path)) == []
    assert path.stem == content(path)["law"]


@pytest.mark.parametrize("path", CALENDARS, ids=lambda path: path.stem)
def test_a_calendar_fits_its_format(path: Path) -> None:
    assert faults("calendar.json", content(path)) == []
    assert path.stem == content(path)["calendar"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_a_json_schema(name: str) -> None:
    Draft202012Validator.check_schema(FORMATS[name])


@pytest.mark.parametrize(
    ("where", "wrong", "complaint"),
    [
        (("promises", 0, "untill"), [], "untill"),  # a word misspelt
        (("promises", 0, "within"), {"amount": 1, "unit": "hours"}, "hours"),  # hours of what kind
        (("promises", 0, "within"), {"amount": 1.5, "unit": "minutes"}, "1.5"),
        (("promises", 0, "says"), {"ko": "한국어만"}, "says"),  # English left out
        (("promises", 0, "start", 0), {True: "callback.requested"}, "True"),  # a bare `on` in YAML
        (("promises", 0, "until", 0, "where"), {"by": {"no": "phone"}}, "by"),
        (("remedies", 0, "amount"), 0, "0"),
        (("remedies", 0, "on", 0, "fault"), ["lateness"], "lateness"),
    ],
)
def test_a_fault_is_found_where_it_is(where: tuple[str | int, ...], wrong: Any, complaint: str) -> None:
    charter = json.loads(json.dumps(content(CONTRACTS / "charters" / "seoul-1.yaml")))
    assert faults("charter.json", charter) == []
    place = charter
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = wrong
    found = faults("charter.json", charter)
    assert any(complaint in fault for fault in found), found


def test_no_id_is_used_twice() -> None:
    ids = [row["id"] for path in (*CHARTERS, *LAWS) for row in promises(path)]
    ids += [row["id"] for path in CHARTERS for row in content(path).get("remedies", [])]
    assert sorted(ids) == sorted(set(ids))


@pytest.mark.parametrize("path", CHARTERS, ids=lambda path: path.stem)
def test_a_charter_names_only_what_exists(path: Path) -> None:
    charter = content(path)
    calendar = content(CONTRACTS / "calendars" / f"{charter['calendar']}.yaml")
    law = promises(CONTRACTS / "law" / f"{charter['law']}.yaml") if "law" in charter else []
    ids = {row["id"] for row in (*charter["promises"], *law)}
    for promise in charter["promises"]:
        assert promise.get("hours", "office") in {*calendar["hours"], *charter.get("hours", {})}, promise["id"]
        assert {entry["breach"] for entry in promise.get("start", []) if "breach" in entry} <= ids, promise["id"]
    for remedy in charter.get("remedies", []):
        for trigger in remedy["on"]:
            named = trigger.get("breach", [])
            assert {*(named if named != "any" else []), *trigger.get("except", [])} <= ids, remedy["id"]


@pytest.mark.parametrize("path", [*CHARTERS, *LAWS], ids=lambda path: path.stem)
def test_promises_name_only_events_and_fields_of_the_contract(path: Path) -> None:
    for promise in promises(path):
        for match in matches(promise):
            assert match["on"] in FACTS, f"{promise['id']}: no event {match['on']}"
            for field in match.get("where", {}):
                assert known(match["on"], field), f"{promise['id']}: {match['on']} has no {field}"
        if promise["kind"] == "measure":
            field = promise.get("field") or promise.get("since")
            if isinstance(field, str):
                assert has_field(stored_model(promise["on"]), field), promise["id"]
            continue
        within = promise.get("within", {})
        for field in {within[key] for key in ("or_at", "at", "before", "by") if key in within}:
            if field.startswith("policy."):
                continue
            events = [entry["on"] for entry in promise.get("start", []) if "on" in entry]
            assert all(has_field(stored_model(event), field) for event in events), f"{promise['id']}: {field}"


@pytest.mark.parametrize("path", CHARTERS, ids=lambda path: path.stem)
def test_remedies_name_only_fields_of_the_contract(path: Path) -> None:
    for remedy in content(path).get("remedies", []):
        for field in {field for trigger in remedy["on"] for field in trigger.get("where", {})}:
            assert known("fault.confirmed", field), f"{remedy['id']}: fault.confirmed has no {field}"


@pytest.mark.parametrize("path", CHARTERS, ids=lambda path: path.stem)
def test_a_remedy_waits_for_the_amount_that_no_file_names(path: Path) -> None:
    for remedy in content(path).get("remedies", []):
        if "amount" in remedy:
            for trigger in remedy["on"]:
                assert (remedy["amount"] is None) == ("amount" in trigger.get("needs", [])), remedy["id"]


def test_lunch_stops_no_working_hour_in_mapo() -> None:
    rows = promises(CONTRACTS / "charters" / "mapo-1.yaml")
    hours = {row["id"]: row.get("hours", "office") for row in rows if row["kind"] == "deadline"}
    staffed = {
        "mapo-visit-callback",
        "mapo-phone-callback",
        "mapo-handover",
        "mapo-first-contact",
        "mapo-late-explained",
    }
    assert {name for name, kind in hours.items() if kind == "staffed"} == staffed


@pytest.mark.parametrize("path", CHARTERS, ids=lambda path: path.stem)
def test_clauses_name_only_events_and_fields_of_the_contract(path: Path) -> None:
    charter = content(path)
    calendar = content(CONTRACTS / "calendars" / f"{charter['calendar']}.yaml")
    hours = {*calendar["hours"], *charter.get("hours", {})}
    for clause in (*charter.get("clauses", []), *charter["promises"]):
        steps = [{"on": step} if isinstance(step, str) else step for step in clause.get("steps", [])]
        assert set(clause.get("optional", [])) <= {step["on"] for step in steps}, clause["id"]
        on = clause.get("on", [])
        for match in (*steps, *(on if isinstance(on, list) else []), *clause.get("desks", [])):
            assert match["on"] in FACTS, f"{clause['id']}: no event {match['on']}"
            for field in match.get("where", {}):
                assert known(match["on"], field), f"{clause['id']}: {match['on']} has no {field}"
            assert match.get("outside", "office") in hours, clause["id"]
        assert {clause.get("outside", "office"), clause.get("hours", "office")} <= hours, clause["id"]


# The five documents, clause by clause, where the list of clauses is at hand.


@pytest.fixture(scope="module")
def clauses() -> Clauses:
    path = os.environ.get("GIHAN_CLAUSES")
    if not path:
        pytest.skip("GIHAN_CLAUSES names no list of clauses: CHARTERS WERE NOT COMPARED WITH THEIR DOCUMENTS")
    loaded = yaml.safe_load(Path(path).read_bytes())
    return {clause["id"]: clause for city in loaded.values() for clause in city["clauses"]}


def in_files() -> dict[str, dict[str, Any]]:
    rows = [
        row
        for path in CHARTERS
        for row in (*promises(path), *content(path).get("remedies", []), *content(path).get("clauses", []))
    ]
    return {row["id"]: row for row in rows if not row["id"].startswith("boston-")}


def test_every_clause_stands_in_its_charter_with_its_kind_and_section(clauses: Clauses) -> None:
    ours = in_files()
    kinds = {name: (row.get("clause") or row.get("kind", "remedy"), row["section"]) for name, row in ours.items()}
    assert kinds == {name: (clause["kind"], clause["section"]) for name, clause in clauses.items()}
    assert len(kinds) == 125


def test_every_timed_clause_is_promised(clauses: Clauses) -> None:
    ours = in_files()
    for name, clause in clauses.items():
        if clause["kind"] in ("deadline", "recurring"):
            assert name in ours, f"no charter promises {name}"
            assert (ours[name]["kind"], ours[name]["section"]) == (clause["kind"], clause["section"])


def test_every_limit_on_one_event_is_measured(clauses: Clauses) -> None:
    ours = in_files()
    words = {"<=": "at_most", "<": "below", ">=": "at_least"}
    limited = {
        name: clause
        for name, clause in clauses.items()
        if clause["kind"] == "measure" and clause.get("limit", "none") != "none"
    }
    assert len(limited) == 11
    for name, clause in limited.items():
        sign, number = clause["limit"].split()
        measured = ours[name]["on"], ours[name]["field"], ours[name]["limit"]
        assert measured == (clause["when"], clause["field"], {words[sign]: int(number)}), name


def test_spans_are_those_of_the_clauses(clauses: Clauses) -> None:
    ours = in_files()
    for name, clause in clauses.items():
        span = re.match(r"(\d+) (\w+)( or the wanted time)?$", str(clause.get("within", clause.get("every"))))
        if name not in ours or not span:
            continue
        within = ours[name].get("within") or ours[name]["every"]
        assert (within["amount"], within["unit"]) == (int(span[1]), span[2]), name
        assert ("or_at" in within) == bool(span[3]), name


def test_remedies_pay_what_the_clauses_say(clauses: Clauses) -> None:
    ours = in_files()
    # How a remedy is handed over pays nothing of its own.
    for name, clause in clauses.items():
        if clause["kind"] == "remedy" and name != "anseong-remedy-unasked":
            assert ours[name].get("amount", "none") == clause.get("amount", "none"), name
            assert ours[name]["section"] == clause["section"], name


def test_nothing_is_promised_that_no_document_says(clauses: Clauses) -> None:
    assert set(in_files()) <= set(clauses)


def test_no_sentence_is_copied(clauses: Clauses) -> None:
    theirs = {clause["says"] for clause in clauses.values()}
    assert not theirs & {text for row in in_files().values() for text in row["says"].values()}
