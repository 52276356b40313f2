"""Putting a dead letter right without an editor."""

import json

import pytest

from services.cli.dead import changed

EVENT = json.dumps({"id": "x", "data": {"kind": "inquiri", "a/b": 1, "list": [{"c": 1}]}}).encode()


def test_fields_are_set_and_taken_out() -> None:
    content = changed(EVENT, ["/data/kind=inquiry", "/data/amount=3", "/data/a~1b=text", "/data/who={}"], ["/id"])
    assert json.loads(content) == {
        "data": {"kind": "inquiry", "amount": 3, "a/b": "text", "who": {}, "list": [{"c": 1}]}
    }


@pytest.mark.parametrize(
    ("content", "changes", "without", "told"),
    [
        (b"{", ["/a=1"], [], "not JSON"),
        (EVENT, ["/data/kind"], [], "POINTER=VALUE"),
        (EVENT, ["data=1"], [], "begins with /"),
        (EVENT, ["/data/nobody/name=1"], [], "no object there"),
        (EVENT, ["/data/list/0=1"], [], "no object there"),
        (EVENT, [], ["/data/absent"], "no such field"),
    ],
)
def test_what_cannot_be_done_is_said_without_a_word_of_the_letter(
    content: bytes, changes: list[str], without: list[str], told: str
) -> None:
    with pytest.raises(ValueError, match=told) as raised:
        changed(content, changes, without)
    assert "inquiri" not in str(raised.value)
