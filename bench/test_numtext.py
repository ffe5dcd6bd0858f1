"""Decimal text to an exact integer: prices and sizes as the venue writes them."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest
from c_door_build import c_door

from dydx_perf.ext.numtext import parse_fixed

SECTION = "Decimal text to integer"
UNIT = "a text"
SCALE = 10
TEXTS = 4096


def texts() -> list[str]:
    """Texts of 3 to 18 characters, prices and sizes of either sign; too many to be learnt by heart."""
    random = Random(5)
    found = []
    for _ in range(TEXTS):
        magnitude, decimals = random.randint(0, 6), random.randint(1, 9)
        whole = random.randint(10**magnitude, 10 ** (magnitude + 1) - 1) if magnitude else 0
        sign = random.choice(("", "", "-"))
        found.append(f"{sign}{whole}.{random.randint(1, 10**decimals - 1):0{decimals}d}")
    return found


def model(text: str) -> int:
    """By plain integers, digit for digit."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction) * 10 ** (SCALE - len(fraction))


def decimal_integer(text: str) -> int:
    return int(Decimal(text).scaleb(SCALE))


def float_integer(text: str) -> int:
    return round(float(text) * 10**SCALE)


def test_c(row):
    """The C function in a C loop of an outside module."""
    door = c_door().Texts([text.encode() for text in texts()], SCALE)
    assert door.values() == [model(text) for text in texts()]
    row(SECTION, "numtext_to_fixed in C", UNIT, door.parse_all, TEXTS, "exact", goal_ns=30)


def test_strtod(row):
    """What C itself offers, in double."""
    door = c_door().Texts([text.encode() for text in texts()], SCALE)
    assert door.strtod_all() == pytest.approx(sum(float(text) for text in texts()))
    row(SECTION, "strtod in C", UNIT, door.strtod_all, TEXTS, "a double")


def test_parse_fixed(row):
    """The call as it is made: text and scale."""
    turns = tuple(texts())
    assert [parse_fixed(text, SCALE) for text in turns] == [model(text) for text in turns]

    def run() -> None:
        for text in turns:
            parse_fixed(text, SCALE)

    row(SECTION, "parse_fixed(), a Python call", UNIT, run, len(turns), "exact", ours=True, goal_ns=150)


def test_decimal(row):
    turns = tuple(texts())
    assert [decimal_integer(text) for text in turns] == [model(text) for text in turns]

    def run() -> None:
        for text in turns:
            int(Decimal(text).scaleb(SCALE))

    row(SECTION, "int(Decimal(text).scaleb(n))", UNIT, run, len(turns), "exact up to 28 digits")


def test_float(row):
    turns = tuple(texts())
    wrong = sum(float_integer(text) != model(text) for text in texts())

    def run() -> None:
        for text in turns:
            round(float(text) * 10**SCALE)

    row(SECTION, "round(float(text) * 10**n)", UNIT, run, len(turns), f"{wrong} of {len(texts())} wrong")


def test_float_alone(row):
    turns = tuple(texts())

    def run() -> None:
        for text in turns:
            float(text)

    row(SECTION, "float(text), no integer made", UNIT, run, len(turns), "a double")
