"""Keys of the sign-on: from a file or an address, replaced while running, and gone for a while."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from services.chassis import signon
from services.chassis.http import Problem
from services.chassis.signon import Tokens

NOW = 1_800_000_000
CLAIMS = {
    **{"iss": "https://sign-on.example", "aud": ["gihan", "desk"], "sub": "K-1", "exp": NOW + 60},
    **{"tenant": "seoul", "roles": ["clerk", "head", "gardener"], "department": "도로과"},
}


def made(place: str) -> Tokens:
    return Tokens("https://sign-on.example", "gihan", place)


def signed(key: ECKey, **claims: Any) -> str:
    return jwt.encode({"alg": "ES256", "kid": key.kid}, {**CLAIMS, **claims}, key)


def keys_of(*keys: ECKey) -> str:
    return json.dumps(KeySet(list(keys)).as_dict(private=False))


async def test_the_highest_role_counts_and_ids_are_lower_case(tmp_path: Path) -> None:
    key, place = ECKey.generate_key("P-256", {"kid": "a"}), tmp_path / "keys.json"
    place.write_text(keys_of(key))
    caller = await made(str(place)).member(signed(key), NOW)
    assert caller == ("seoul", "k-1", "head", "도로과", {"clerk", "head"}, False)
    # Half a minute of difference between two clocks is let pass, not more.
    assert await made(str(place)).member(signed(key), NOW + 60 + 29)
    with pytest.raises(Problem):
        await made(str(place)).member(signed(key), NOW + 60 + 31)


async def test_a_new_key_is_looked_for_but_not_for_every_stranger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (ECKey.generate_key("P-256", {"kid": kid}) for kid in "ab")
    place = tmp_path / "keys.json"
    place.write_text(keys_of(old))
    known = made(str(place))
    await known.member(signed(old), NOW)
    place.write_text(keys_of(new))
    with pytest.raises(Problem) as refused:
        await known.member(signed(new), NOW)
    assert refused.value.status == 401
    monkeypatch.setattr(signon, "_AGAIN_SECONDS", 0.0)
    assert (await known.member(signed(new), NOW)).tenant == "seoul"
    with pytest.raises(Problem):
        await known.member(signed(old), NOW)


async def test_keys_that_cannot_be_had_are_no_fault_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """503 before the first were read; those that were read go on counting."""
    key = ECKey.generate_key("P-256", {"kid": "a"})
    answers: list[bytes | Exception] = [httpx.ConnectError("away"), b"{}", b"no json", keys_of(key).encode()]

    async def read(_: str) -> bytes:
        answer = answers.pop(0) if answers else httpx.ReadTimeout("away")
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(signon, "_read", read)
    monkeypatch.setattr(signon, "_KEYS_SECONDS", 0.0)
    known = made("https://sign-on.example/keys")
    for _ in range(3):
        with pytest.raises(Problem) as refused:
            await known.member(signed(key), NOW)
        assert (refused.value.status, refused.value.retry_after) == (503, 10)
    for _ in range(3):
        assert await known.member(signed(key), NOW)


async def test_a_token_that_was_asked_for_names_what_it_was_asked_by(tmp_path: Path) -> None:
    key, place = ECKey.generate_key("P-256", {"kid": "a"}), tmp_path / "keys.json"
    place.write_text(keys_of(key))
    assert await made(str(place)).member(signed(key, nonce="n-1"), NOW, "n-1")
    for claims in ({"nonce": "n-2"}, {}):
        with pytest.raises(Problem):
            await made(str(place)).member(signed(key, **claims), NOW, "n-1")


async def test_without_a_sign_on_no_token_counts(tmp_path: Path) -> None:
    key = ECKey.generate_key("P-256", {"kid": "a"})
    with pytest.raises(Problem) as refused:
        await Tokens(None, None, None).member(signed(key), NOW)
    assert refused.value.status == 401
