"""What intake's judge lets in, and with which code and pointer it refuses the rest."""

import copy
import json
import re
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.events import FACTS
from services.chassis.settings import Settings
from services.intake.api.document import document
from services.intake.app import build_app
from services.intake.judge import Import, Judged, Publisher, Refusal, _careful_head, _quick_head, judge
from services.intake.parsing import _carefully, _quickly, parse
from services.intake.reserve import receipt_number
from services.rules.instants import instant
from services.rules.tenants import Source, Tenant

SEOUL = Tenant(
    id="seoul",
    name_ko="서울특별시",
    name_en="Seoul",
    zone=ZoneInfo("Asia/Seoul"),
    calendar="kr",
    administrator="administration",
    sources={"web": Source(), "administration": Source()},
)
TENANTS = {"seoul": SEOUL, "mapo": Tenant(**{f: getattr(SEOUL, f) for f in SEOUL.__struct_fields__} | {"id": "mapo"})}
NOW = instant("2026-03-12T10:00:00+09:00")
WEB = Publisher("seoul", "web")
ADMINISTRATION = Publisher("seoul", "administration")

COMPLAINT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "E-1",
    "source": "web",
    "type": "complaint.received",
    "subject": "C-1",
    "time": "2026-03-12T09:59:00+09:00",
    "tenant": "seoul",
    "data": {
        "channel": "web",
        "kind": "inquiry",
        "title": "가로등이 꺼졌습니다",
        "applicant": {"name": "홍길동", "address": "서울시 중구 1", "mobile": "010-0000-0001"},
    },
}
OUTAGE: dict[str, Any] = {
    **COMPLAINT,
    "source": "administration",
    "type": "outage.declared",
    "subject": "seoul",
    "data": {"system": "portal", "from": "2026-03-12T09:00:00+09:00", "until": "2026-03-12T11:00:00+09:00"},
}
CLOSED: dict[str, Any] = {**COMPLAINT, "type": "complaint.withdrawn", "data": {}}


def changed(event: dict[str, Any], **members: Any) -> bytes:
    """The event with some members set, or left out where None; `data__x` reaches into data."""
    event = copy.deepcopy(event)
    for name, value in members.items():
        inside = event["data"] if name.startswith("data__") else event
        inside[name.removeprefix("data__")] = value
        if value is None:
            del inside[name.removeprefix("data__")]
    return json.dumps(event).encode()


def look(raw: bytes, publisher: Publisher = WEB) -> Judged:
    return judge(parse(raw), publisher, TENANTS, NOW)


def refused(raw: bytes, publisher: Publisher = WEB) -> tuple[str, str | None]:
    with pytest.raises(Refusal) as caught:
        look(raw, publisher)
    return caught.value.code, caught.value.pointer


def test_a_good_event_is_read_with_ids_in_lower_case() -> None:
    event = look(json.dumps(COMPLAINT).encode())
    assert (event.key, event.case, event.opens, event.municipal) == (("seoul", "web", "e-1"), "c-1", True, False)
    assert event.time == instant("2026-03-12T09:59:00+09:00")


BAD_TEXTS: list[tuple[str, bytes, str, str | None]] = [
    ("not UTF-8", b'{"id": "\xff"}', "not_utf8", None),
    ("not JSON", b'{"id": ', "not_json", None),
    ("empty", b"", "not_json", None),
    ("a name twice", b'{"id": "a", "id": "b"}', "duplicate_key", None),
    ("a name twice, deep", b'{"data": {"x": 1, "x": 2}}', "duplicate_key", None),
    ("a name twice, once in other signs", b'{"id": "a", "\\u0069d": "b"}', "duplicate_key", None),
    ("a name twice, beside one apart from its colon", b'{"id": "a", "id": "b", "type" : 1}', "duplicate_key", None),
    ("a name twice, beside a text with a colon", b'{"id": ":", "id": "\\":", "c": 1}', "duplicate_key", None),
    ("NaN", b'{"data": {"period": NaN}}', "not_a_number", None),
    ("infinite", b'{"data": {"period": 1e999}}', "not_a_number", "/data/period"),
    ("too large a number", b'{"data": {"rings": 99999999999999999999}}', "not_a_number", "/data/rings"),
    ("thousands of digits", b'{"id": ' + b"9" * 5000 + b"}", "not_json", None),
    ("NUL", b'{"data": {"title": "a\\u0000"}}', "bad_text", "/data/title"),
    ("half a pair", b'{"data": {"title": "a\\ud800"}}', "bad_text", "/data/title"),
    ("half a pair in a name", b'{"data": {"a\\ud800": 1}}', "bad_text", "/data"),
    ("deep", b"[" * 50 + b"]" * 50, "too_deep", "/" + "/".join("0" * 17)),
    ("very deep", b"[" * 100_000, "not_json", None),
    ("large", changed(COMPLAINT, data__text="가" * 30_000), "too_large", None),
]


@pytest.mark.parametrize(("raw", "code", "pointer"), [b[1:] for b in BAD_TEXTS], ids=[b[0] for b in BAD_TEXTS])
def test_bad_texts(raw: bytes, code: str, pointer: str | None) -> None:
    assert refused(raw) == (code, pointer)


def test_a_good_event_is_read_quickly() -> None:
    for raw in (json.dumps(COMPLAINT), json.dumps([COMPLAINT, CLOSED], ensure_ascii=False, separators=(",", ":"))):
        assert _quickly(raw.encode()) == json.loads(raw)


_PIECES = st.sampled_from(
    [
        *'{}[]:," \\\t\n',
        *('"a"', '"a":', '"b" :', '"\\u0061":', '":"', '"\\":"', '{"a":1,', '"a":2}', '[{"c":[', "]}]"),
        *(
            "\\u0000",
            "\\ud83d\\ude00",
            "\\ud800",
            "\ufeff",
            "가",
            "null",
            "true",
            "NaN",
            "1",
            "-0",
            "0.5",
            "1e3",
            "1e400",
        ),
        *("9007199254740991", "9007199254740992", "-9007199254740993", "18446744073709551616"),
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["a", '":', " :"]),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=2), inside, max_size=4),
    max_leaves=12,
)
_WRITTEN = st.builds(
    lambda value, ascii, separators: json.dumps(value, ensure_ascii=ascii, separators=separators),
    _VALUES,
    st.booleans(),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,", " : ")]),
)


@given(_WRITTEN | st.lists(_PIECES, max_size=14).map("".join))
@example('{"a":1,"a":2,"b" :3}')
@example("[" * 17 + "]" * 17)
def test_what_is_read_quickly_is_what_is_read_carefully(text: str) -> None:
    """The quick way may give up on a text, and never lets one in, or reads one, that the careful way would not."""
    raw = text.encode(errors="surrogatepass")
    value = _quickly(raw)
    if value is not None:
        assert repr(value) == repr(_carefully(raw))


_ODD = st.sampled_from(
    [
        *(
            None,
            1,
            True,
            1.5,
            [],
            {},
            ["a"],
            {"a": 1},
            "",
            "1.0",
            "a",
            "A-1",
            "_all",
            "a b",
            "a\nb",
            "c-1\n",
            "\u212a1",
        ),
        *("x.y", "Complaint.received", "complaint.received\n", "fact.voided", "x" * 64, "x" * 65),
        *("application/json", "text/plain", "urn:gihan:complaint.received:1", "urn:gihan:complaint.received:2"),
        *("2026-03-12T09:59:00+09:00", "2026-03-12t00:59:00z", "2026-03-12T09:59:00"),
        *("2026-02-30T09:59:00Z", "1969-12-31T23:59:59Z"),
    ]
)
_NAMES = [*COMPLAINT, "datacontenttype", "dataschema", "홍길동", "recordedtime"]


@given(st.dictionaries(st.sampled_from(_NAMES), _ODD, max_size=3), st.sets(st.sampled_from([*COMPLAINT]), max_size=1))
def test_an_envelope_read_quickly_is_one_read_carefully(odd: dict[str, Any], absent: set[str]) -> None:
    """The quick way may give up on an envelope, and never lets one in, or reads one, that the careful way would not."""
    value = {
        name: part for name, part in ({**COMPLAINT, "id": "e-1", "subject": "c-1"} | odd).items() if name not in absent
    }
    head = _quick_head(value)
    if head is not None:
        assert head == _careful_head(value)


def test_a_good_envelope_is_read_quickly() -> None:
    event = {**COMPLAINT, "id": "e-1", "subject": "c-1", "datacontenttype": "application/json"}
    head = _quick_head(event)
    assert head is not None
    assert (head.id, head.source, head.tenant, head.subject) == ("e-1", "web", "seoul", "c-1")
    assert (head.type, head.time.isoformat()) == ("complaint.received", "2026-03-12T09:59:00+09:00")
    assert head.data == COMPLAINT["data"]
    del event["subject"]
    assert _quick_head(event) == _careful_head(event)
    for odd in ({"subject": "c-1\nx"}, {"id": "E-1"}, {"dataschema": "urn:gihan:complaint.received:1"}, {"data": None}):
        assert _quick_head({**event, **odd}) is None


BAD_EVENTS: list[tuple[str, bytes, Publisher, str, str | None]] = [
    ("no object", b'"x"', WEB, "model_type", ""),
    ("no id", changed(COMPLAINT, id=None), WEB, "missing", "/id"),
    ("a strange id", changed(COMPLAINT, id="a b"), WEB, "value_error", "/id"),
    ("an id of our own kind", changed(COMPLAINT, subject="_all"), WEB, "value_error", "/subject"),
    ("a field too many", changed(COMPLAINT, 홍길동="x"), WEB, "extra_forbidden", ""),
    ("a field too many in data", changed(COMPLAINT, data__홍길동="x"), WEB, "extra_forbidden", "/data"),
    ("an extension of ours", changed(COMPLAINT, recordedtime=COMPLAINT["time"]), WEB, "extra_forbidden", ""),
    ("no offset", changed(COMPLAINT, time="2026-03-12T09:59:00"), WEB, "value_error", "/time"),
    ("unknown tenant", changed(COMPLAINT, tenant="atlantis"), WEB, "unknown_tenant", "/tenant"),
    ("another tenant", changed(COMPLAINT, tenant="mapo"), WEB, "wrong_tenant", "/tenant"),
    ("another source", changed(COMPLAINT, source="kiosk"), WEB, "wrong_source", "/source"),
    ("unknown type", changed(COMPLAINT, type="complaint.exploded"), WEB, "unknown_type", "/type"),
    ("a decision", changed(COMPLAINT, type="deadline.breached"), WEB, "unknown_type", "/type"),
    ("a tick", changed(COMPLAINT, type="clock.advanced"), WEB, "unknown_type", "/type"),
    (
        "a coming version",
        changed(COMPLAINT, dataschema="urn:gihan:complaint.received:9"),
        WEB,
        "unknown_version",
        "/dataschema",
    ),
    ("no channel", changed(COMPLAINT, data__channel=None), WEB, "missing", "/data/channel"),
    ("unknown channel", changed(COMPLAINT, data__channel="telepathy"), WEB, "literal_error", "/data/channel"),
    ("no person", changed(COMPLAINT, data__applicant="홍길동"), WEB, "model_type", "/data/applicant"),
    ("a later hour", changed(COMPLAINT, time="2026-03-12T10:05:01+09:00"), WEB, "time_in_future", "/time"),
    ("long ago", changed(COMPLAINT, time="2026-02-10T09:59:59+09:00"), WEB, "too_old", "/time"),
    ("the tenant as a case", changed(COMPLAINT, subject="seoul"), WEB, "wrong_subject", "/subject"),
    ("no case", changed(CLOSED, subject=None), WEB, "missing", "/subject"),
    ("not the administrator", changed(OUTAGE, source="web"), WEB, "not_administrator", "/type"),
    ("another subject", changed(OUTAGE, subject="c-1"), ADMINISTRATION, "wrong_subject", "/subject"),
]


@pytest.mark.parametrize(
    ("raw", "publisher", "code", "pointer"), [b[1:] for b in BAD_EVENTS], ids=[b[0] for b in BAD_EVENTS]
)
def test_bad_events(raw: bytes, publisher: Publisher, code: str, pointer: str | None) -> None:
    assert refused(raw, publisher) == (code, pointer)


def test_a_refusal_repeats_nothing_that_was_sent() -> None:
    secret = "홍길동 010-0000-0001"
    raws = [
        changed(COMPLAINT, data__channel=secret),
        changed(COMPLAINT, data__applicant=secret),
        changed(COMPLAINT, data__departments=[secret]),
        changed(COMPLAINT, id=secret),
        changed(COMPLAINT, time=secret),
        changed(COMPLAINT, **{secret: 1}),
        changed(COMPLAINT, data__period={secret: secret}),
        json.dumps({secret: {secret: "\x00"}}).encode(),
    ]
    for raw in raws:
        with pytest.raises(Refusal) as caught:
            look(raw)
        said = f"{caught.value.code} {caught.value.detail} {caught.value.pointer} {caught.value}"
        assert "홍길동" not in said
        assert "0001" not in said


@pytest.mark.parametrize("time", ["2026-03-12T10:05:00+09:00", "2026-02-10T10:00:00+09:00", "2026-03-12T01:00:00Z"])
def test_the_limits_of_time_are_let_in(time: str) -> None:
    assert look(changed(COMPLAINT, time=time)).time == instant(time)


def test_an_opening_without_a_subject_gets_the_same_one_each_time() -> None:
    first, again = look(changed(COMPLAINT, subject=None)), look(changed(COMPLAINT, subject=None))
    other = look(changed(COMPLAINT, subject=None, id="e-2"))
    assert first.case == again.case != other.case
    assert first.case.startswith("complaint-")


def test_the_administrator_speaks_for_the_municipality() -> None:
    for raw in (json.dumps(OUTAGE).encode(), changed(OUTAGE, subject=None)):
        event = look(raw, ADMINISTRATION)
        assert (event.case, event.municipal) == ("seoul", True)


def test_the_content_does_not_depend_on_how_it_was_written() -> None:
    spaced = json.dumps(dict(reversed(COMPLAINT.items())), indent=4, ensure_ascii=False).encode()
    assert look(spaced).content == look(json.dumps(COMPLAINT).encode()).content
    assert look(changed(COMPLAINT, data__urgent=True)).content != look(spaced).content


def test_a_case_that_is_brought_over_may_be_of_any_age_and_is_marked() -> None:
    old = json.dumps({**COMPLAINT, "time": "2019-01-02T09:00:00+09:00"}).encode()
    assert refused(old) == ("too_old", "/time")
    assert look(old, Import("seoul", "web")).imported
    assert not look(json.dumps(COMPLAINT).encode()).imported
    # It is the source that brings it over: another one's cases are not its to bring, nor is what has not happened yet.
    assert refused(old, Import("seoul", "kiosk")) == ("wrong_source", "/source")
    ahead = json.dumps({**COMPLAINT, "time": "2036-01-02T09:00:00+09:00"}).encode()
    assert refused(ahead, Import("seoul", "web")) == ("time_in_future", "/time")


@pytest.mark.parametrize(("number", "receipt"), [(1, "000000001-3"), (572, "000000572-4"), (123456789, "123456789-4")])
def test_receipt_numbers(number: int, receipt: str) -> None:
    assert receipt_number(number) == receipt


def test_the_check_digit_finds_wrong_and_swapped_digits() -> None:
    receipt = receipt_number(204_813_597)
    digits, check = receipt.split("-")
    for place, digit in enumerate(digits):
        for other in "0123456789".replace(digit, ""):
            assert receipt_number(int(digits[:place] + other + digits[place + 1 :]))[-1] != check
    for place in range(8):
        swapped = digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]
        assert receipt_number(int(swapped))[-1] != check


def test_the_openapi_document_stands_on_the_contract() -> None:
    content = document(build_app(Settings(nats_url="", database_url="", service="intake")))
    schemas = content["components"]["schemas"]
    assert set(FACTS) <= set(schemas)
    references = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(content))
    assert set(references) <= set(schemas)
    body = content["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]
    one, several = (body["examples"][name]["value"] for name in ("complaint", "array"))
    assert [look(json.dumps(e).encode()).type for e in (one, *several)] == [
        "complaint.received",
        "complaint.received",
        "complaint.completed",
    ]
