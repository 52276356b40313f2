"""Keys of NATS users: written as NATS writes them, signing what it asks, and never repeated in an error."""

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from contracts.nkeys import Nkey, is_public, is_seed

# The pair that the documentation of NATS shows.
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


def test_a_known_seed_gives_the_known_public_key() -> None:
    assert Nkey.of_seed(SEED).public == PUBLIC
    assert Nkey.of_seed(SEED).seed == SEED


def test_new_keys_differ_and_are_read_back() -> None:
    one, other = Nkey.new(), Nkey.new()
    assert one != other
    assert Nkey.of_seed(one.seed) == one
    assert one.public.startswith("U")
    assert one.seed.startswith("SU")
    assert (len(one.public), len(one.seed)) == (56, 58)


def test_the_signature_is_that_of_the_public_key_over_the_nonce() -> None:
    public = Ed25519PublicKey.from_public_bytes(base64.b32decode(PUBLIC)[1:33])
    signature = base64.b64decode(Nkey.of_seed(SEED).signature("a nonce"))
    public.verify(signature, b"a nonce")
    with pytest.raises(InvalidSignature):
        public.verify(signature, b"another")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "password",
        PUBLIC,
        SEED[:-1] + "A",  # the check sum
        SEED[:-1],
        SEED.lower(),
        "SAACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",  # an account's
        "비밀번호",
    ],
)
def test_what_is_no_users_seed_is_refused_without_repeating_it(text: str) -> None:
    assert not is_seed(text)
    with pytest.raises(ValueError, match="not the seed of a NATS user") as refusal:
        Nkey.of_seed(text)
    assert not text or text not in str(refusal.value)


def test_no_key_shows_its_seed() -> None:
    assert SEED not in repr(Nkey.of_seed(SEED))


@pytest.mark.parametrize(("text", "right"), [(PUBLIC, True), (PUBLIC[:-1] + "5", False), (SEED, False), ("é", False)])
def test_a_public_key_is_told_by_its_check_sum(text: str, right: bool) -> None:
    assert is_public(text) is right
