"""Addresses of the chain: bech32 with the prefix ``dydx``, of 20 bytes, so 43 characters.

The checksum finds any four wrong characters, and all but one in a thousand million of what else goes wrong.
"""

from __future__ import annotations

import re

from dydx_perf.errors import InputError

__all__ = ["address_of", "checked_address", "is_address"]

PREFIX = "dydx"
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
ADDRESS = re.compile(f"{PREFIX}1([{ALPHABET}]{{38}})", re.ASCII)
EXPANDED = [ord(letter) >> 5 for letter in PREFIX] + [0] + [ord(letter) & 31 for letter in PREFIX]
ALLOWED = "a dYdX address: dydx1 and 38 characters with the right checksum"


def checksum(values: list[int]) -> int:
    """Return bech32's checksum of groups of 5 bits; 1 for a whole address."""
    total = 1
    for value in values:
        top = total >> 25
        total = (total & 0x1FFFFFF) << 5 ^ value
        for place, factor in enumerate(GENERATOR):
            if top >> place & 1:
                total ^= factor
    return total


def is_address(text: object) -> bool:
    """Tell whether a text is an address, its checksum included, in the chain's lower case."""
    match = ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return False
    return checksum(EXPANDED + [ALPHABET.index(letter) for letter in match[1]]) == 1


def address_of(account: bytes) -> str:
    """Return the address of an account's 20 bytes."""
    bits = int.from_bytes(account, "big")
    values = [bits >> 5 * place & 31 for place in range(31, -1, -1)]  # 160 bits are 32 times five
    rest = checksum([*EXPANDED, *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [rest >> 5 * place & 31 for place in range(5, -1, -1)]
    return f"{PREFIX}1" + "".join(ALPHABET[value] for value in values)


def checked_address(argument: str, address: object) -> str:
    """Return an address when it is one."""
    if not isinstance(address, str) or not is_address(address):
        raise InputError(argument, address, ALLOWED)
    return address
