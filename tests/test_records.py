"""Records of updates: exact integers at the market's scale, or the reason why not."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from frame_cases import MARKETS, own_frames
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.errors import FrameError
from dydx_perf.feeds.envelope import DataMessage, NumberText, parse_frame
from dydx_perf.feeds.records import Reading, Record, read_data

ID = "dydx1x/0"


def message(channel: str, contents: dict[str, Any] | list[Any], id_: str = "") -> DataMessage:
    batched = isinstance(contents, list)
    return DataMessage(channel, id_, 1, "1.0.0", contents if batched else [contents], batched, None)


def read(channel: str, contents: dict[str, Any] | list[Any], id_: str = "") -> Reading:
    return read_data(message(channel, contents, id_), MARKETS)


def own(name: str) -> Reading:
    parsed = parse_frame(dict(own_frames())[name])
    assert isinstance(parsed, DataMessage)
    return read_data(parsed, MARKETS)


def refused(channel: str, contents: dict[str, Any] | list[Any], id_: str = "") -> str:
    with pytest.raises(FrameError) as error:
        read(channel, contents, id_)
    assert error.value.place is None
    return error.value.field


def level(price: Any, size: Any, ticker: str = "ETH-USD") -> Record:
    [record] = read("v4_orderbook", {"bids": [[price, size]]}, ticker).records
    return record


# -- what an update says


def test_oracle_prices_are_price_integers_of_their_markets() -> None:
    """A pair that no market has keeps its text."""
    assert own("markets:2") == Reading(
        [
            Record("oracle", 0, 0, "BTC-USD", number=0, price=9651000000, height=68120002),
            Record("oracle", 1, 1, "ETH-USD", number=1, price=3312040018, height=68120002),
            Record("oracle", 2, 46, "PEPE-USD", number=46, price=59412345678, height=68120002),
            Record("oracle", 3, 300, list(MARKETS)[-1], number=300, price=10412000000, height=68120002),
            Record(
                "oracle", 4, -1, "EUR-USD", number=1001, height=68120002, fit="unknown_market",
                texts=("1.0871", ""),
            ),
        ],
        -1,
        frozenset(),
    )  # fmt: skip


def test_levels_are_absolute_sizes_by_side() -> None:
    assert own("orderbook:3").records == [
        Record("level", 0, 0, side="bid", price=9650000000, size=4312000000),
        Record("level", 1, 0, side="ask", price=9650100000, size=0),
        Record("level", 2, 0, side="bid", price=9649900000, size=10000000000),
        Record("level", 2, 0, side="bid", price=9649800000, size=200000000),
        Record("level", 2, 0, side="ask", price=9650200000, size=31000000000),
    ]


def test_levels_of_a_snapshot_are_objects_and_read_the_same() -> None:
    assert own("orderbook:6").records == own("orderbook:1").records


def test_trades_have_their_id_side_and_type() -> None:
    assert own("trades:2").records == [
        Record("trade", 0, 0, "040f6de20000000200000001", "SELL", "LIQUIDATED", -1, 9650000000, 1000000),
        Record("trade", 0, 0, "040f6de20000000200000002", "SELL", "DELEVERAGED", -1, 9649900000, 2000000000),
        Record("trade", 1, 0, "040f6de30000000200000002", "BUY", "TWAP_SUBORDER", -1, 9650100000, 10**10),
    ]


def test_a_flip_is_two_positions_and_a_balance_takes_its_sign_from_the_side() -> None:
    """Each row has the height of its own element, wherever that stands."""
    assert own("subaccounts:3") == Reading(
        [
            Record("position", 0, 1, "ETH-USD", "LONG", "CLOSED", 0, size=0, height=68120007),
            Record("position", 0, 1, "ETH-USD", "SHORT", "OPEN", 0, size=-750000000, height=68120007),
            Record("asset", 0, -1, "USDC", "SHORT", "", 0, size=0, height=68120007),
            Record("asset", 1, -1, "USDC", "SHORT", "", 0, size=-12000001, height=68120009),
        ],
        68120009,
        frozenset({"orders"}),
    )


def test_what_no_record_is_made_of_is_said() -> None:
    assert own("subaccounts:2").also == {"orders", "fills"}
    assert own("subaccounts:4") == Reading([], 68120011, frozenset({"transfers"}))
    assert own("subaccounts:5") == Reading([], 68120012, frozenset({"tradingReward"}))
    assert own("markets:4").also == {"trading"}
    assert own("other:4") == Reading([], -1, frozenset({"other"}))
    assert read("v4_orderbook", {"bids": [], "depth": 3}, "ETH-USD").also == {"other"}


def test_heights_are_records_of_their_channel() -> None:
    assert own("block_height:2") == Reading(
        [Record("block", 0, height=68120017), Record("block", 1, height=68120018)], 68120018, frozenset()
    )


# -- numbers


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**15, places=20))
def test_a_size_is_exact_or_said_not_to_be(value: Decimal) -> None:
    exact = Fraction(value) * 10**9
    record = level("1", f"{value:f}")
    if exact.denominator > 1:
        assert (record.size, record.fit, record.texts) == (None, "inexact", ("1", f"{value:f}"))
    elif exact >= 2**63:
        assert (record.size, record.fit, record.texts) == (exact, "too_large", ("1", f"{value:f}"))
    else:
        assert (record.size, record.fit, record.texts) == (exact, "exact", ())


def test_a_negative_scale_wants_its_zeros() -> None:
    """One base quantum of PEPE is ten coins."""
    assert level("1", "120", "PEPE-USD").size == 12
    assert level("1", "125", "PEPE-USD").fit == "inexact"


def test_the_edges_of_64_bits() -> None:
    assert level("1", "9223372036.854775807").fit == "exact"
    assert level("1", "9223372036.854775808")[8:] == (
        2**63, -1, "too_large", ("1", "9223372036.854775808"),
    )  # fmt: skip
    assert level("9223372036854.775807", "1").fit == "exact"
    assert level("9223372036854.775808", "1").fit == "too_large"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2.50", 2500000000), ("25e-1", 2500000000), ("0.25E+1", 2500000000), ("+2.5", 2500000000),
        (".5", 500000000), ("2.", 2000000000), ("0", 0), ("-0", 0), ("0e-999", 0),
        (NumberText("2.5"), 2500000000), (2, 2000000000),
    ],
)  # fmt: skip
def test_every_way_to_write_a_number_is_read(text: object, size: int) -> None:
    assert level("1", text).size == size


@pytest.mark.parametrize(
    "text",
    [
        None, True, [], {}, "", "-", ".", "e5", "1e", "1e1000", "1_0", " 1", "1 ", "1\n", "NaN", "Infinity",
        "٣", "0x1", "1" * 101, "1,5", "--1",
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused_by_field(text: object) -> None:
    assert refused("v4_orderbook", {"bids": [[text, "1"]]}, "ETH-USD") == "contents.bids[0] price"
    assert refused("v4_orderbook", [{}, {"asks": [["1", text]]}], "ETH-USD") == "contents[1].asks[0] size"


ORACLE = {"oraclePrice": "1", "effectiveAtHeight": "5", "marketId": 0}
POSITION = {"market": "ETH-USD", "side": "LONG", "status": "OPEN", "size": "1", "subaccountNumber": 0}
ASSET = {"assetId": "0", "symbol": "USDC", "side": "LONG", "size": "1", "subaccountNumber": 0}
TRADE = {"id": "x", "side": "BUY", "price": "1", "size": "1", "type": "LIMIT"}


@pytest.mark.parametrize(
    ("channel", "contents", "field"),
    [
        ("v4_markets", {"oraclePrices": []}, "oraclePrices"),
        ("v4_markets", {"oraclePrices": {"X": 1}}, "oraclePrices.X"),
        ("v4_markets", {"oraclePrices": {"X": {}}}, "oraclePrices.X.oraclePrice"),
        ("v4_markets", {"oraclePrices": {"X": {**ORACLE, "oraclePrice": "0"}}}, "oraclePrices.X.oraclePrice"),
        (
            "v4_markets",
            {"oraclePrices": {"X": {**ORACLE, "oraclePrice": "-1"}}},
            "oraclePrices.X.oraclePrice",
        ),
        (
            "v4_markets",
            {"oraclePrices": {"X": {**ORACLE, "effectiveAtHeight": "-5"}}},
            "oraclePrices.X.effectiveAtHeight",
        ),
        ("v4_markets", {"oraclePrices": {"X": {**ORACLE, "marketId": "0"}}}, "oraclePrices.X.marketId"),
        ("v4_markets", {"oraclePrices": {"X": {**ORACLE, "marketId": 2**31}}}, "oraclePrices.X.marketId"),
        ("v4_orderbook", {"bids": {}}, "bids"),
        ("v4_orderbook", {"bids": [1]}, "bids[0]"),
        ("v4_orderbook", {"bids": [["1"]]}, "bids[0]"),
        ("v4_orderbook", {"bids": [["1", "-1"]]}, "bids[0] size"),
        ("v4_orderbook", {"bids": [["0", "1"]]}, "bids[0] price"),
        ("v4_trades", {"trades": [{**TRADE, "side": "LONG"}]}, "trades[0].side"),
        ("v4_trades", {"trades": [{**TRADE, "id": 5}]}, "trades[0].id"),
        ("v4_trades", {"trades": [{**TRADE, "type": 5}]}, "trades[0].type"),
        ("v4_trades", {"trades": [{**TRADE, "size": "-1"}]}, "trades[0].size"),
        (
            "v4_subaccounts",
            {"perpetualPositions": [{**POSITION, "market": ""}]},
            "perpetualPositions[0].market",
        ),
        (
            "v4_subaccounts",
            {"perpetualPositions": [{**POSITION, "side": "BUY"}]},
            "perpetualPositions[0].side",
        ),
        (
            "v4_subaccounts",
            {"perpetualPositions": [{**POSITION, "status": 1}]},
            "perpetualPositions[0].status",
        ),
        (
            "v4_subaccounts",
            {"perpetualPositions": [{**POSITION, "size": "-1"}]},
            "perpetualPositions[0].size",
        ),
        (
            "v4_subaccounts",
            {"perpetualPositions": [{**POSITION, "side": "SHORT"}]},
            "perpetualPositions[0].size",
        ),
        ("v4_subaccounts", {"assetPositions": [{**ASSET, "size": "-1"}]}, "assetPositions[0].size"),
        ("v4_subaccounts", {"assetPositions": [{**ASSET, "side": None}]}, "assetPositions[0].side"),
        (
            "v4_subaccounts",
            {"assetPositions": [{**ASSET, "subaccountNumber": True}]},
            "assetPositions[0].subaccountNumber",
        ),
        ("v4_subaccounts", {"blockHeight": 5}, "blockHeight"),
        ("v4_subaccounts", {"blockHeight": str(2**63)}, "blockHeight"),
        ("v4_block_height", {}, "blockHeight"),
    ],
)
def test_a_field_that_cannot_be_is_refused_by_its_path(
    channel: str, contents: dict[str, Any], field: str
) -> None:
    assert refused(channel, contents, "ETH-USD") == f"contents.{field}"
    assert refused(channel, [contents], "ETH-USD") == f"contents[0].{field}"


def test_what_may_be_missing_or_null() -> None:
    bare = {"market": "ETH-USD", "side": "LONG", "status": "OPEN", "size": "1"}
    [one] = read("v4_subaccounts", {"perpetualPositions": [bare]}).records
    [two] = read(
        "v4_subaccounts", {"blockHeight": None, "perpetualPositions": [{**bare, "subaccountNumber": None}]}
    ).records
    assert one == two == Record("position", 0, 1, "ETH-USD", "LONG", "OPEN", size=10**9)
    assert read("v4_trades", {"trades": [{"side": "BUY", "price": "1", "size": "1"}]}, "ETH-USD").records == [
        Record("trade", 0, 1, side="BUY", price=10**6, size=10**9)
    ]


def test_an_older_name_of_the_oracle_price_is_known() -> None:
    assert read("v4_markets", {"oraclePrices": {"ETH-USD": {"price": "2"}}}).records[0].price == 2 * 10**6


def test_an_asset_that_is_not_usdc_has_no_integer() -> None:
    [record] = read("v4_subaccounts", {"assetPositions": [{**ASSET, "assetId": "1", "symbol": "X"}]}).records
    assert (record.name, record.size, record.fit, record.texts) == ("X", None, "unknown_asset", ("", "1"))


def test_a_reading_says_whether_all_of_it_is_exact() -> None:
    assert own("orderbook:3").is_exact
    assert not own("orderbook:5").is_exact
    assert own("orderbook:5").records[0].texts == ("3311.9", "2.5")
