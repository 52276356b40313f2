"""The contracts: models, envelope, partitions, streams and generated files, against golden bytes written by hand.

The rule under test: what other systems may rely on never changes unseen, and no personal data gets past intake.
"""

import fnmatch
import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from pydantic import ValidationError

from contracts import generate, streams
from contracts.decisions import DECISION_TYPES, DECISIONS
from contracts.envelope import (
    Contract,
    Envelope,
    StoredEnvelope,
    UnknownVersion,
    Upcasters,
    current_data,
    parse_time,
    version_of,
)
from contracts.events import (
    CLOCK_TYPE,
    FACT_TYPES,
    INBOX_TYPES,
    MUNICIPAL_TYPES,
    OPENING_TYPES,
    PII_FIELDS,
    TENANT_WIDE,
    ClockAdvanced,
    part,
    published_model,
    stored_model,
)
from contracts.notices import NOTICE_TYPES, NOTICES

GOLDEN = Path(__file__).parent.parent / "golden"
PUBLISHED = sorted((GOLDEN / "published").glob("*.json"))
LOG = sorted((GOLDEN / "events").glob("*.json"))
SEOUL = timezone(timedelta(hours=9))

WITH_PERSONAL_DATA = {
    "applicant.updated",
    "calendar.exception",
    "callback.requested",
    "complaint.extended",
    "complaint.received",
    "complaint.rejected",
    "complaint.reopened",
    "complaint.returned",
    "complaint.supplement_requested",
    "objection.extended",
    "complaint.transferred",
    "delay.explained",
    "disclosure.decided",
    "fault.confirmed",
    "fault.dismissed",
    "fault.reported",
    "force_majeure.declared",
    "force_majeure.revoked",
    "staff.described",
    "survey.answered",
}


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def written_model(type: str) -> type[Contract]:
    """The model of a type as it stands in a log."""
    if type == CLOCK_TYPE:
        return ClockAdvanced
    return {**DECISIONS, **NOTICES}.get(type) or stored_model(type)


def validator(name: str) -> Draft202012Validator:
    content = read(generate.HERE / "schemas" / f"{name}.json")
    Draft202012Validator.check_schema(content)
    return Draft202012Validator(content, format_checker=FormatChecker())


# Golden bytes


def test_there_are_golden_bytes_of_version_1_of_every_type() -> None:
    assert {path.name.removesuffix(".1.json") for path in PUBLISHED} == set(FACT_TYPES)
    assert {path.name.removesuffix(".1.json") for path in LOG} == {
        *FACT_TYPES,
        CLOCK_TYPE,
        *DECISION_TYPES,
        *NOTICE_TYPES,
    }


@pytest.mark.parametrize("path", LOG, ids=lambda path: path.stem)
def test_golden_bytes_of_the_logs_decode_and_come_back_the_same(path: Path) -> None:
    event = read(path)
    envelope = StoredEnvelope.model_validate_json(path.read_bytes())
    assert path.name == f"{envelope.type}.1.json"
    data = written_model(envelope.type).model_validate(current_data(event))
    assert data.model_dump(mode="json", exclude_unset=True) == event["data"]
    assert envelope.model_dump(mode="json", exclude_unset=True) == event


@pytest.mark.parametrize("path", LOG, ids=lambda path: path.stem)
def test_golden_bytes_of_the_logs_hold_to_the_written_schemas(path: Path) -> None:
    event = read(path)
    own = event["type"] in DECISIONS or event["type"] in NOTICES
    validator("stored/envelope").validate(event)
    validator(f"{'' if own else 'stored/'}{event['type']}.1").validate(event["data"])


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_what_is_published_becomes_what_is_stored(path: Path) -> None:
    event = read(path)
    validator("envelope").validate(event)
    validator(f"{event['type']}.1").validate(event["data"])
    envelope = Envelope.model_validate(event)
    data = published_model(envelope.type).model_validate(envelope.data)
    parted = part(envelope.type, data)
    taken = parted.personal
    stored = parted.stored(
        subject_ref="sub_golden01" if taken.person else None,
        text_refs={path: "txt_" + path.replace(".", "_") for path in taken.texts},
    )
    assert stored == read(GOLDEN / "events" / path.name)["data"]


# Personal data


def test_the_types_with_personal_data_are_these_and_none_of_them_is_let_into_inbox() -> None:
    assert {type for type, fields in PII_FIELDS.items() if fields} == WITH_PERSONAL_DATA
    assert set(INBOX_TYPES) == set(FACT_TYPES) - WITH_PERSONAL_DATA


@pytest.mark.parametrize("type", sorted(WITH_PERSONAL_DATA))
def test_the_stored_form_has_no_place_for_personal_data(type: str) -> None:
    places = set(_paths(stored_model(type)))
    assert not places & {field.path for field in PII_FIELDS[type]}
    assert "x-personal-data" not in json.dumps(stored_model(type).model_json_schema())
    assert "x-personal-data" in json.dumps(published_model(type).model_json_schema())


def _paths(model: type[Contract], before: str = "") -> list[str]:
    found = []
    for name, info in model.model_fields.items():
        found.append(f"{before}{info.alias or name}")
        if isinstance(info.annotation, type) and issubclass(info.annotation, Contract):
            found.extend(_paths(info.annotation, f"{found[-1]}."))
    return found


words = st.text(st.sampled_from("가나다라마바사아"), min_size=4, max_size=12).map(lambda text: f"비밀{text}")


@given(name=words, address=words, phone=words, title=words, matter=words, items=st.lists(words, min_size=1))
@settings(max_examples=50)
def test_no_planted_word_is_left_in_what_is_stored(
    name: str, address: str, phone: str, title: str, matter: str, items: list[str]
) -> None:
    applicant = {"name": name, "address": address, "phone": phone, "mobile": phone, "email": name}
    memo = {"caller": name, "phone": phone, "matter": matter, "reply_wanted": True}
    published: dict[str, dict[str, Any]] = {
        "complaint.received": {
            "channel": "visit",
            "kind": "other",
            "title": title,
            "text": matter,
            "applicant": applicant,
        },
        "applicant.updated": {"applicant": applicant},
        "callback.requested": {"via": "visit", "wanted_place": address, "memo": memo},
        "complaint.rejected": {"law": "민법", "reason": matter, "remedies": items},
        "staff.described": {"staff": "a1", "name": name, "department": "토지과", "phone": phone, "email": name},
    }
    for type, content in published.items():
        data = published_model(type).model_validate(content)
        parted = part(type, data)
        taken = parted.personal
        stored = parted.stored(subject_ref="sub_0001", text_refs=dict.fromkeys(taken.texts, "txt_0001"))
        assert "비밀" not in json.dumps(stored, ensure_ascii=False)
        assert "비밀" not in repr(parted)
        assert all(text.startswith("비밀") for text in (*taken.person.values(), *taken.texts.values()))


def test_the_vault_gets_each_part_by_itself() -> None:
    event = read(GOLDEN / "published" / "callback.requested.1.json")
    taken = part(event["type"], published_model(event["type"]).model_validate(event["data"])).personal
    assert taken.person == {"name": "홍길동", "phone": "031-000-0000"}
    assert taken.texts == {"memo.matter": "도로 포장 일정", "wanted_place": "집 앞 경로당"}
    event = read(GOLDEN / "published" / "complaint.supplement_requested.1.json")
    taken = part(event["type"], published_model(event["type"]).model_validate(event["data"])).personal
    assert taken.texts == {"items": "위임장\n배치도"}


def test_of_an_update_a_blank_detail_is_taken_out_and_one_left_out_stays() -> None:
    data = published_model("applicant.updated").model_validate({"applicant": {"phone": " ", "name": "홍길동"}})
    parted = part("applicant.updated", data)
    assert parted.personal.person == {"phone": "", "name": "홍길동"}
    stored = parted.stored(subject_ref="sub_0001", text_refs={})
    assert stored == {"subject_ref": "sub_0001", "has_name": True, "has_phone": False}


# Sets of types


def test_the_sets_of_types_are_of_known_types_and_agree() -> None:
    assert set(FACT_TYPES) >= OPENING_TYPES | MUNICIPAL_TYPES | TENANT_WIDE
    assert MUNICIPAL_TYPES > TENANT_WIDE
    assert not OPENING_TYPES & MUNICIPAL_TYPES


# Envelope

GOOD = {
    "specversion": "1.0",
    "id": "E-1",
    "source": "Kiosk",
    "type": "visit.guided",
    "subject": "Visit-5521",
    "time": "2026-03-12T10:20:30+09:00",
    "tenant": "Anseong",
    "data": {"seconds_to_officer": 45},
}


def test_ids_are_taken_in_lower_case() -> None:
    envelope = Envelope.model_validate(GOOD)
    assert (envelope.id, envelope.source, envelope.subject, envelope.tenant) == (
        "e-1",
        "kiosk",
        "visit-5521",
        "anseong",
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("specversion", "0.3"),
        ("id", ""),
        ("id", "_all"),
        ("id", "a" * 65),
        ("id", "홍길동"),
        ("id", "a.b"),
        ("id", "a>"),
        ("id", "line\nbreak"),
        ("id", "trailing\n"),
        ("id", 7),
        ("source", "_officer-a1"),
        ("source", "gihan/sla_timer"),
        ("type", "Complaint.Received"),
        ("type", "petition"),
        ("type", "complaint.received.v1"),
        ("subject", "_all"),
        ("subject", "two words"),
        ("time", "2026-03-12T10:20:30"),
        ("time", 1_773_278_430),
        ("tenant", "an*"),
        ("data", None),
        ("data", [1]),
        ("dataschema", "urn:gihan:visit.guided:0"),
        ("unknown", "x"),
    ],
)
def test_a_bad_envelope_is_refused_at_its_field_and_the_value_is_not_repeated(field: str, value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        Envelope.model_validate({**GOOD, field: value})
    assert {error["loc"][0] for error in refused.value.errors()} == {field}
    if isinstance(value, str) and len(value) > 2:
        assert value not in str(refused.value)


@pytest.mark.parametrize("field", [name for name in GOOD if name != "subject"])
def test_an_envelope_wants_every_field_but_the_subject(field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Envelope.model_validate({name: value for name, value in GOOD.items() if name != field})
    assert [(error["loc"], error["type"]) for error in refused.value.errors()] == [((field,), "missing")]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-12T10:20:30+09:00", datetime(2026, 3, 12, 10, 20, 30, tzinfo=SEOUL)),
        ("2026-03-12t01:20:30z", datetime(2026, 3, 12, 1, 20, 30, tzinfo=UTC)),
        ("2026-03-12T01:20:30.123456789Z", datetime(2026, 3, 12, 1, 20, 30, 123456, tzinfo=UTC)),
        ("2026-03-12T01:20:30.5Z", datetime(2026, 3, 12, 1, 20, 30, 500_000, tzinfo=UTC)),
    ],
)
def test_a_time_is_rfc_3339_with_an_offset(text: str, moment: datetime) -> None:
    assert parse_time(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-12T10:20:30",
        "2026-03-12",
        "2026-02-30T10:20:30Z",
        "2026-03-12T24:00:00Z",
        "2026-03-12T10:20:60Z",
        "1969-12-31T23:59:59Z",
        "3000-01-01T00:00:00Z",
        "2026-03-12T10:20:30+25:00",
        "2026-03-12 10:20:30Z",
        "２０２６-03-12T10:20:30Z",
        "20260312T102030Z",
        " 2026-03-12T10:20:30Z",
        "",
        None,
        True,
    ],
)
def test_what_is_no_such_time_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"RFC 3339|no such date|in the years"):
        parse_time(text)


def test_the_cloudevents_package_reads_what_is_published_as_we_do() -> None:
    for path in PUBLISHED:
        theirs = JSONFormat().read(CloudEvent, path.read_bytes())
        ours = Envelope.model_validate_json(path.read_bytes())
        assert (theirs.get_id(), theirs.get_source(), theirs.get_type()) == (ours.id, ours.source, ours.type)
        assert (theirs.get_time(), theirs.get_subject()) == (ours.time, ours.subject)
        assert (theirs.get_extension("tenant"), theirs.get_data()) == (ours.tenant, ours.data)


# Data


@pytest.mark.parametrize(
    ("type", "change", "at"),
    [
        ("complaint.received", {"channel": "carrier_pigeon"}, "channel"),
        ("complaint.received", {"title": ""}, "title"),
        ("complaint.received", {"title": "가" * 201}, "title"),
        ("complaint.received", {"text": "가" * 10_001}, "text"),
        ("complaint.received", {"text": "nul\x00"}, "text"),
        ("complaint.received", {"urgent": "yes"}, "urgent"),
        ("complaint.received", {"period": {"amount": 0, "unit": "days"}}, "period.amount"),
        ("complaint.received", {"period": {"amount": 1.5, "unit": "days"}}, "period.amount"),
        ("complaint.received", {"period": {"amount": 3, "unit": "fortnights"}}, "period.unit"),
        ("complaint.received", {"applicant": {"name": "a\r\nBcc: b"}}, "applicant.name"),
        ("complaint.received", {"applicant": {"resident_number": "1"}}, "applicant.resident_number"),
        ("complaint.received", {"departments": ["과"] * 21}, "departments"),
        ("complaint.received", {"service": "전화 010-0000-0000 홍길동"}, "service"),
        ("complaint.received", {"arrived_at": "2026-03-12"}, "arrived_at"),
        ("complaint.assigned", {"department": "hong@anseong.example"}, "department"),
        ("complaint.assigned", {"officer": "김 주무관"}, "officer"),
        ("complaint.transferred", {"to_department": "도로과"}, ""),
        ("complaint.supplement_requested", {"items": []}, "items"),
        ("complaint.supplement_requested", {"respond_by": "2026-02-30"}, "respond_by"),
        ("call.answered", {"rings": -1}, "rings"),
        ("call.answered", {"rings": True}, "rings"),
        ("call.answered", {"rings": "3"}, "rings"),
        ("call.answered", {"rings": 10**12}, "rings"),
        ("survey.published", {"where": []}, "where"),
        ("survey.published", {"url": "javascript:alert(1)"}, "url"),
        ("charter.enacted", {"sha256": "abc"}, "sha256"),
        ("calendar.exception", {"hours": ["9-13"]}, "hours.0"),
        ("outage.declared", {"until": "2026-03-11T21:59:59+09:00"}, ""),
        ("complaint.withdrawn", {"reason": "왜"}, "reason"),
    ],
)
def test_bad_data_is_refused_at_its_field(type: str, change: dict[str, Any], at: str) -> None:
    good = read(GOLDEN / "published" / f"{type}.1.json")["data"]
    with pytest.raises(ValidationError) as refused:
        published_model(type).model_validate(good | change)
    assert [".".join(map(str, error["loc"])) for error in refused.value.errors()] == [at]
    assert "input_value" not in str(refused.value)


def test_a_day_may_stand_where_an_instant_may() -> None:
    model = published_model("complaint.supplement_extended")
    assert model.model_validate({"respond_by": "2026-04-02"}).model_dump() == {"respond_by": date(2026, 4, 2)}
    instant = model.model_validate({"respond_by": "2026-04-02T18:00:00+09:00"}).model_dump()["respond_by"]
    assert instant == datetime(2026, 4, 2, 18, tzinfo=SEOUL)


def test_a_number_is_taken_as_the_text_of_a_version() -> None:
    data = {"revision": 2, "applies": "new_cases"}
    assert published_model("rules.enacted").model_validate(data).model_dump()["revision"] == "2"


# Versions


def test_old_data_is_brought_up_step_by_step_and_a_later_version_is_refused() -> None:
    upcasters = Upcasters()

    @upcasters.register("visit.guided", 1)
    def _(data: dict[str, Any]) -> dict[str, Any]:
        return {"milliseconds_to_officer": data["seconds_to_officer"] * 1000}

    @upcasters.register("visit.guided", 2)
    def _(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"guide": "unknown"}

    assert upcasters.current("visit.guided") == 3
    assert current_data(GOOD, upcasters) == {"milliseconds_to_officer": 45_000, "guide": "unknown"}
    second = GOOD | {"dataschema": "urn:gihan:visit.guided:2", "data": {"milliseconds_to_officer": 9}}
    assert current_data(second, upcasters) == {"milliseconds_to_officer": 9, "guide": "unknown"}
    with pytest.raises(UnknownVersion, match=r"visit.guided: version 4 is not known here \(current: 3\)"):
        current_data(GOOD | {"dataschema": "urn:gihan:visit.guided:4"}, upcasters)
    with pytest.raises(ValueError, match="starts from version 3, not 5"):
        upcasters.register("visit.guided", 5)(lambda data: data)


@pytest.mark.parametrize("schema", ["urn:gihan:visit.arrived:1", "https://x.example/1", "urn:gihan:visit.guided:x", 1])
def test_the_schema_of_another_type_names_no_version(schema: object) -> None:
    with pytest.raises(UnknownVersion):
        version_of(GOOD | {"dataschema": schema})


# Streams


@pytest.mark.parametrize(
    ("tenant", "case", "partition"),
    [
        ("seoul", "_all", 2),
        ("seoul", "seoul", 15),
        ("anseong", "2026-0312-0007", 6),
        ("mapo", "call-88121", 7),
        ("yeonje", "_officer-a1027", 8),
        ("miryang", "miryang", 2),
        ("boston", "101001273954", 10),
    ],
)
def test_the_partition_of_a_case_never_changes(tenant: str, case: str, partition: int) -> None:
    assert streams.partition(tenant, case) == partition


def _taken_by(subject: str) -> list[str]:
    tokens = subject.split(".")
    return [
        stream.name
        for stream in streams.STREAMS
        for form in stream.subjects
        if len(form.split(".")) == len(tokens) and all(map(fnmatch.fnmatchcase, tokens, form.split(".")))
    ]


def test_each_subject_is_taken_by_one_stream_and_a_wrong_one_by_none() -> None:
    for type in FACT_TYPES:
        assert _taken_by(streams.cases_subject(3, "seoul", type)) == ["CASES"]
        inbox = _taken_by(streams.inbox_subject("seoul", "kiosk", type))
        assert inbox == ([] if type in WITH_PERSONAL_DATA else ["INBOX"])
    for type in DECISION_TYPES:
        assert _taken_by(streams.sla_subject(3, "seoul", type)) == ["SLA"]
    for type in NOTICE_TYPES:
        assert _taken_by(streams.notices_subject(3, "seoul", type)) == ["NOTICES"]
    for subject, name in (
        (streams.clock_subject(3), "CASES"),
        (streams.intake_mark("i-1"), "CASES"),
        (streams.sla_mark(3), "SLA"),
        (streams.notices_mark(3), "NOTICES"),
        (streams.receipts_subject("seoul", "kiosk"), "RECEIPTS"),
        (streams.feed_subject("seoul", "kiosk"), "RECEIPTS"),
        (streams.dead_subject("seoul", "kiosk"), "DEAD"),
    ):
        assert _taken_by(subject) == [name]
    for wrong in ("cases.3.seoul.complaint.recieved", "cases.3.seoul.deadline.met", "sla.3.seoul.visit.arrived"):
        assert _taken_by(wrong) == []
    assert _taken_by(streams.door_subject("seoul", "kiosk")) == []


def test_the_logs_are_kept_for_ever_and_refuse_rather_than_forget() -> None:
    logs = [stream for stream in streams.STREAMS if stream.name in ("CASES", "SLA", "NOTICES")]
    assert [
        (log.max_age_seconds, log.discard, log.deny_delete, log.deny_purge, log.allow_atomic, log.max_bytes)
        for log in logs
    ] == [(0, "new", True, True, True, -1)] * 3
    inbox = next(stream for stream in streams.STREAMS if stream.name == "INBOX")
    assert (inbox.retention, inbox.discard) == ("workqueue", "new")
    assert inbox.max_bytes > 0
    assert inbox.max_msgs > 0


# Generated files


def test_the_generator_names_what_is_missing_stale_and_stray_and_mends_it(tmp_path: Path) -> None:
    wanted = {"schemas/a.1.json": "{}\n", "schemas/stored/b.1.json": "{}\n", "asyncapi.yaml": "x: 1\n"}
    generate.write(wanted, tmp_path)
    assert generate.differences(wanted, tmp_path) == []
    (tmp_path / "schemas/a.1.json").unlink()
    (tmp_path / "schemas/stored/b.1.json").write_text("edited by hand")
    (tmp_path / "schemas/c.1.json").write_text("{}")
    assert generate.differences(wanted, tmp_path) == [
        f"{tmp_path}/schemas/a.1.json: missing",
        f"{tmp_path}/schemas/stored/b.1.json: stale",
        f"{tmp_path}/schemas/c.1.json: stray, nothing generates it",
    ]
    generate.write(wanted, tmp_path)
    assert generate.differences(wanted, tmp_path) == []


def test_the_written_schemas_are_those_of_the_models() -> None:
    for name, content in generate.schemas().items():
        assert read(generate.HERE / name) == content, name


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = yaml.safe_load((generate.HERE / "asyncapi.yaml").read_text(encoding="utf-8"))
    assert document["asyncapi"] == "3.0.0"
    assert {"door", "inbox", "receipts", "feed", "sla", "notices"} <= set(document["channels"])
    assert set(document["channels"]["inbox"]["messages"]) == set(INBOX_TYPES)
    assert [stream["name"] for stream in document["x-streams"]] == [
        "CASES",
        "SLA",
        "NOTICES",
        "INBOX",
        "RECEIPTS",
        "DEAD",
    ]
    references = list(_references(document))
    assert len(references) > 400
    for reference in references:
        if reference.startswith("#/"):
            found = document
            for step in reference[2:].split("/"):
                found = found[step]
        else:
            assert (generate.HERE / reference).is_file(), reference


def _references(node: Any) -> Any:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for item in node:
            yield from _references(item)
