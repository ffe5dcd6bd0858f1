"""Frames to exact integers: what a session does first with every message."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import frames
import msgspec
import orjson
import pytest
from c_door_build import c_door

from dydx_perf.ext.frame import FrameScanner
from dydx_perf.feeds.envelope import DataMessage, parse_frame
from dydx_perf.feeds.records import Record, Scales, read_data

SECTION = "Frame to exact integers"
UNIT = "a frame"
SCALES = {ticker: Scales(i, row[0], row[1]) for i, (ticker, *row) in enumerate(frames.MARKETS)}
#: name, frames, goal in ns
KINDS: dict[str, tuple[Callable[[], list[bytes]], float]] = {
    "oracle price": (frames.oracles, 350),
    "book level": (frames.levels, 350),
    "subaccount": (frames.subaccounts, 2_000),
    "book batch": (frames.book_batches, 12_000),
}


def scanner() -> FrameScanner:
    made = FrameScanner()
    for ticker, scales in SCALES.items():
        made.register_market(ticker, *scales)
    return made


def twin(data: bytes) -> list[Record]:
    """The plain records, by the full parser."""
    message = parse_frame(data)
    assert isinstance(message, DataMessage)
    return read_data(message, SCALES).records


def numbers(records: list[Any]) -> list[tuple[int | None, int | None]]:
    return [(record[7], record[8]) for record in records]


# -- what a user would write: documents, then the wanted fields of each, then exact integers


def fixed(text: str, scale: int) -> int:
    """By plain integers, digit for digit."""
    whole, _, fraction = text.partition(".")
    shift = scale - len(fraction)
    return int(whole + fraction) * 10**shift if shift >= 0 else int(whole + fraction) // 10**-shift


def by_decimal(text: str, scale: int) -> int:
    return int(Decimal(text).scaleb(scale))


def wanted(
    document: dict[str, Any], number: Callable[[str, int], int]
) -> list[tuple[int | None, int | None]]:
    """Prices and sizes of a document, as integers."""
    contents = document["contents"]
    found: list[tuple[int | None, int | None]] = []
    market = SCALES.get(document.get("id", ""))
    for element in contents if isinstance(contents, list) else [contents]:
        for ticker, row in element.get("oraclePrices", {}).items():
            found.append((number(row["oraclePrice"], -SCALES[ticker].price_exponent), None))
        for side in ("bids", "asks"):
            for price, size in element.get(side, ()):
                assert market is not None
                found.append((number(price, -market.price_exponent), number(size, -market.atomic_resolution)))
        for row in element.get("perpetualPositions", ()):
            found.append((None, number(row["size"], -SCALES[row["market"]].atomic_resolution)))
        for row in element.get("assetPositions", ()):
            size = number(row["size"], 6)
            found.append((None, -size if row["side"] == "SHORT" else size))
    return found


class Oracle(msgspec.Struct, gc=False):
    oraclePrice: str  # noqa: N815
    effectiveAtHeight: str  # noqa: N815
    marketId: int  # noqa: N815


class Position(msgspec.Struct, gc=False):
    market: str
    side: str
    status: str
    size: str
    subaccountNumber: int  # noqa: N815


class Asset(msgspec.Struct, gc=False):
    assetId: str  # noqa: N815
    side: str
    size: str
    subaccountNumber: int  # noqa: N815


class Contents(msgspec.Struct, gc=False):
    oraclePrices: dict[str, Oracle] = {}  # noqa: N815
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    perpetualPositions: list[Position] = []  # noqa: N815
    assetPositions: list[Asset] = []  # noqa: N815
    blockHeight: str = ""  # noqa: N815


class Data(msgspec.Struct, gc=False):
    type: str
    message_id: int
    channel: str
    contents: Contents | list[Contents]
    id: str = ""


TYPED = msgspec.json.Decoder(Data)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> tuple[str, list[bytes], float]:
    made, goal = KINDS[request.param]
    data = made()
    size = sum(map(len, data)) // len(data)
    return f"{SECTION}: {request.param}, {size:,} bytes", data, goal


def each(function: Callable[[bytes], object], data: list[bytes]) -> Callable[[], None]:
    turns = tuple(data)

    def run() -> None:
        for one in turns:
            function(one)

    return run


def test_scanner(row, kind):
    """The scan in a C loop, as a session's kernel makes it."""
    section, data, goal = kind
    ours = scanner()
    for one in data:
        assert ours.read(one) is not None
        assert ours.records() == twin(one)
    door = c_door().Frames(ours, data)
    row(
        section,
        "FrameScanner in C",
        UNIT,
        door.scan_all,
        len(data),
        "exact, checked whole",
        ours=True,
        goal_ns=goal,
    )


def test_orjson_exact(row, kind):
    section, data, _ = kind
    assert all(wanted(orjson.loads(one), fixed) == numbers(twin(one)) for one in data)
    run = each(lambda one: wanted(orjson.loads(one), fixed), data)
    row(section, "orjson, then int()", UNIT, run, len(data), "exact")


def test_orjson_decimal(row, kind):
    section, data, _ = kind
    assert all(wanted(orjson.loads(one), by_decimal) == numbers(twin(one)) for one in data)
    run = each(lambda one: wanted(orjson.loads(one), by_decimal), data)
    row(section, "orjson, then Decimal", UNIT, run, len(data), "exact up to 28 digits")


def test_json_exact(row, kind):
    section, data, _ = kind
    assert all(wanted(json.loads(one), fixed) == numbers(twin(one)) for one in data)
    row(
        section,
        "json, then int()",
        UNIT,
        each(lambda one: wanted(json.loads(one), fixed), data),
        len(data),
        "exact",
    )


def test_twin(row, kind):
    """What a frame costs that is handed over."""
    section, data, _ = kind
    row(section, "parse_frame and read_data", UNIT, each(twin, data), len(data), "exact, checked whole")


def test_orjson_alone(row, kind):
    section, data, _ = kind
    row(section, "orjson, no number made", UNIT, each(orjson.loads, data), len(data), "texts")


def test_msgspec_alone(row, kind):
    section, data, _ = kind
    for one in data:
        assert TYPED.decode(one).message_id == orjson.loads(one)["message_id"]
    row(section, "msgspec typed, no number made", UNIT, each(TYPED.decode, data), len(data), "texts")


def test_json_alone(row, kind):
    section, data, _ = kind
    row(section, "json, no number made", UNIT, each(json.loads, data), len(data), "texts")
