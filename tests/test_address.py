"""Addresses are checked to the last character."""

import hashlib
import random

import pytest

from dydx_perf.address import ALPHABET, checked_address, checksum, is_address
from dydx_perf.errors import InputError

KNOWN = "dydx1c7ptc87hkd54e3r7zjy92q29xkq7t79w64slrq"  # of the insurance fund's module account


def address_of(data: bytes) -> str:
    """Write 20 bytes as an address."""
    bits = int.from_bytes(data, "big")
    groups = [bits >> (155 - 5 * place) & 31 for place in range(32)]
    prefix = [3] * 4 + [0] + [ord(letter) & 31 for letter in "dydx"]
    rest = checksum([*prefix, *groups, *[0] * 6]) ^ 1
    return "dydx1" + "".join(
        ALPHABET[group] for group in groups + [rest >> (25 - 5 * place) & 31 for place in range(6)]
    )


def test_an_address_is_the_one_that_the_chain_derives():
    """Of the first 20 bytes of the SHA-256 of a module account's name."""
    assert address_of(hashlib.sha256(b"insurance_fund").digest()[:20]) == KNOWN
    assert checked_address("owner", KNOWN) == KNOWN


def test_any_one_to_four_wrong_characters_are_found():
    rng = random.Random(1)
    for _ in range(300):
        address = address_of(rng.randbytes(20))
        assert is_address(address)
        letters = list(address)
        for place in rng.sample(range(5, 43), rng.randint(1, 4)):
            letters[place] = rng.choice([letter for letter in ALPHABET if letter != letters[place]])
        assert not is_address("".join(letters))


@pytest.mark.parametrize(
    "text",
    [
        "", None, 5, KNOWN[:-1], KNOWN + "q", KNOWN.upper(), " " + KNOWN, KNOWN + "\n", "cosmos1" + KNOWN[5:],
        KNOWN.replace("c7", "C7"), KNOWN.replace("q", "b", 1), KNOWN.replace("7", "٧", 1),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_name(text):
    with pytest.raises(InputError) as refused:
        checked_address("owner", text)
    assert refused.value.argument == "owner"
    assert "checksum" in str(refused.value)
