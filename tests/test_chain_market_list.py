"""Chains from the indexer's market list: each text as the chain's integer, each refusal by its path (A10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dydx_perf import Chain, InputError, Market, ProtocolParameters, Subaccount, UnknownMarketError

DATA = Path(__file__).parent / "data"


def listed() -> dict[str, Any]:
    """Return a market list as REST gives it: a cross market, an isolated one, and one without a price."""
    document: dict[str, Any] = json.loads((DATA / "small_market_list.json").read_text("utf-8"))
    return document


PROPERTIES = [name for name in dir(Market) if isinstance(getattr(Market, name), property)]


def properties(chain: Chain) -> list[dict[str, Any]]:
    """Return all that can be read of the markets."""
    return [{name: getattr(one, name) for name in PROPERTIES} for one in chain]


def without(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


def test_the_indexers_texts_become_the_chains_integers() -> None:
    chain = Chain.from_indexer(listed())
    assert (chain.height, chain.time, chain.basis) == (None, None, "estimate")
    assert chain.description == "the indexer's market list"
    assert chain.parameters == ProtocolParameters()
    btc, bome = chain
    assert (btc.perpetual_id, btc.clob_pair_id, btc.atomic_resolution, btc.price_exponent) == (0, 0, -10, -5)
    assert (btc.oracle_price.integer, btc.open_interest) == (8_991_920_000, 3_817_348_000_000)
    assert (btc.initial_margin_ppm, btc.maintenance_fraction_ppm) == (20_000, 600_000)
    assert (btc.step_size, btc.tick_size, btc.status) == (Decimal("0.0001"), 1, "ACTIVE")
    assert (btc.funding_index, btc.impact_notional, btc.default_funding_ppm) == (0, 0, 0)
    assert (bome.perpetual_id, bome.price_exponent, bome.oracle_price.integer) == (35, -12, 7_500_000_000)
    assert (bome.is_isolated, bome.status, bome.default_funding_ppm) == (True, "CANCEL_ONLY", -100)
    assert bome.perpetual.open_interest_lower_cap == 500_000_000_000
    assert bome.perpetual.open_interest_upper_cap == 1_000_000_500_000
    assert bome.open_interest == 60_000_000_000


def test_the_mapping_of_tickers_itself_is_read_too() -> None:
    assert properties(Chain.from_indexer(listed()["markets"])) == properties(Chain.from_indexer(listed()))


def test_an_older_list_without_types_caps_and_default_rates_is_read() -> None:
    """They came later: all markets were cross, and nothing scaled with open interest."""
    document = listed()
    for row in document["markets"].values():
        for name in (
            "marketType",
            "openInterestLowerCap",
            "openInterestUpperCap",
            "defaultFundingRate1H",
            "ticker",
        ):
            del row[name]
    chain = Chain.from_indexer(document)
    assert [one.is_isolated for one in chain] == [False, False]
    assert [one.perpetual.open_interest_upper_cap for one in chain] == [0, 0]
    assert [one.default_funding_ppm for one in chain] == [0, 0]
    assert chain.tickers == ("BTC-USD", "BOME-USD")


@pytest.mark.parametrize("price", ["0", "0.000", None, 0, "absent"])
def test_a_market_without_a_price_is_left_out_and_its_holder_refused(price: Any) -> None:
    """Nobody who holds it is shown as safe."""
    document = listed()
    document["markets"]["NEW-USD"]["oraclePrice"] = price
    if price == "absent":
        del document["markets"]["NEW-USD"]["oraclePrice"]
    chain = Chain.from_indexer(document)
    assert chain.without_price == ("NEW-USD",)
    assert chain.tickers == ("BTC-USD", "BOME-USD")
    with pytest.raises(UnknownMarketError, match="NEW-USD"):
        Subaccount(chain, "dydx1example", usdc="1000000", positions={"NEW-USD": "1"})


@pytest.mark.parametrize(
    ("price", "exponent"),
    [
        ("89919.2", -5),
        ("89919.20000", -5),
        ("0.00001", -5),
        ("184467440737095.51615", -5),  # 2**64 - 1
        ("0.000001", -6),  # finer than usual: the price's own last digit decides
        ("12.3456789", -7),
        ("1.5e-20", -21),
        ("184467440737095.6", -1),  # fits the usual exponent no more
        ("18446744073709551615", 0),
    ],
)
def test_the_usual_exponent_is_assumed_only_where_the_price_fits(price: str, exponent: int) -> None:
    document = listed()
    document["markets"]["BTC-USD"]["oraclePrice"] = price
    btc = Chain.from_indexer(document)["BTC-USD"]
    assert btc.price_exponent == exponent
    assert btc.oracle_price.decimal == Decimal(price)


def test_risk_is_the_same_at_any_exponent() -> None:
    """Notionals come from price times 10**exponent, so a wrong assumption costs nothing there."""
    risks = []
    for exponent in (-5, -1, -12):
        one = Chain.from_indexer(listed())["BTC-USD"]
        chain = Chain(
            [
                Market(
                    "BTC-USD",
                    perpetual_id=0,
                    atomic_resolution=-10,
                    price_exponent=exponent,
                    oracle_price=one.oracle_price.decimal,
                    initial_margin_ppm=one.initial_margin_ppm,
                    maintenance_fraction_ppm=one.maintenance_fraction_ppm,
                )
            ]
        )
        account = Subaccount(chain, "dydx1example", usdc="25000", positions={"BTC-USD": "-0.8125001"})
        risks.append((account.risk.nc, account.risk.imr, account.risk.mmr))
    assert len(set(risks)) == 1


@pytest.mark.parametrize(
    ("initial", "maintenance", "fraction"),
    [
        ("0.02", "0.012", 600_000),
        ("1", "0.2", 200_000),
        ("0.000003", "0.000001000002", 333_334),
        ("0", "0", 0),
    ],
)
def test_margin_fractions_become_ppm_exactly(initial: str, maintenance: str, fraction: int) -> None:
    document = listed()
    document["markets"]["BTC-USD"] |= {
        "initialMarginFraction": initial,
        "maintenanceMarginFraction": maintenance,
    }
    btc = Chain.from_indexer(document)["BTC-USD"]
    assert btc.maintenance_fraction_ppm == fraction
    assert btc.initial_margin_fraction == Decimal(initial)
    assert btc.maintenance_margin_fraction == Decimal(maintenance)


WRONG_LISTED: list[tuple[str, Any]] = [
    *(
        ("oraclePrice", value)
        for value in [89919.2, "-1", "NaN", "", "1e400", "9" * 101, "18446744073709551616"]
    ),
    *(("oraclePrice", value) for value in [f"0.{'0' * 32}1", True, [], {}]),
    *(("clobPairId", value) for value in [None, "-1", "4294967296", "x", 1.0]),
    *(("status", value) for value in [None, "active", "STATUS_ACTIVE", 1]),
    *(("atomicResolution", value) for value in [None, -33, 33, "x", -10.0]),
    *(("quantumConversionExponent", value) for value in [None, -33]),
    *(("stepBaseQuantums", value) for value in [None, 0, -1, 2**64]),
    *(("subticksPerTick", value) for value in [None, 0, 2**32]),
    *(("initialMarginFraction", value) for value in [None, 0.02, "-0.02", "1.000001", "0.0000001", "NaN"]),
    *(("maintenanceMarginFraction", value) for value in [None, 0.012, "-0.01", "0.021", "0.012000001"]),
    *(("maintenanceMarginFraction", value) for value in ["0.0120000000001", "x"]),
    *(("openInterest", value) for value in [None, 381.7, "-1", "0.00000000001"]),
    *(("openInterestLowerCap", value) for value in ["-1", "0.0000001", 1.5]),
    *(("openInterestUpperCap", value) for value in ["-1", "18446744073709.551616"]),
    *(("marketType", value) for value in ["cross", "SPOT", 1, ""]),
    *(("defaultFundingRate1H", value) for value in ["0.0000000001", "0.000000001", 0.0, "300"]),
    *(("ticker", value) for value in ["ETH-USD", 5, ""]),
]


@pytest.mark.parametrize(("field", "value"), WRONG_LISTED)
@pytest.mark.parametrize("ticker", ["BTC-USD", "NEW-USD"])
def test_a_wrong_field_of_the_list_is_refused_by_its_path(ticker: str, field: str, value: Any) -> None:
    """Of a market with a price and of one without."""
    document = listed()
    document["markets"][ticker][field] = value
    with pytest.raises(InputError) as refused:
        Chain.from_indexer(document)
    assert refused.value.argument == f"markets['{ticker}'].{field}"
    assert refused.value.value == value
    assert refused.value.allowed
    if value is None:
        assert "missing" in str(refused.value)


def test_reversed_caps_and_ids_used_twice_are_refused_by_their_path() -> None:
    document = listed()
    document["markets"]["BOME-USD"]["openInterestLowerCap"] = "2000000"
    with pytest.raises(InputError) as refused:
        Chain.from_indexer(document)
    assert refused.value.argument == "markets['BOME-USD'].openInterestLowerCap"
    document = listed()
    document["markets"]["NEW-USD"]["clobPairId"] = "35"
    with pytest.raises(InputError) as refused:
        Chain.from_indexer(document)
    assert refused.value.argument == "markets['NEW-USD'].clobPairId"


@pytest.mark.parametrize(
    ("document", "argument"),
    [
        (None, "markets"),
        ([], "markets"),
        ("{}", "markets"),
        ({"markets": []}, "markets"),
        ({"markets": None}, "markets"),
        ({"errors": [{"msg": "Too many requests"}]}, "markets['errors']"),
        ({"BTC-USD": "89919.2"}, "markets['BTC-USD']"),
        ({5: {}}, "markets"),
        ({"": listed()["markets"]["BTC-USD"] | {"ticker": ""}}, "markets['']"),
        ({"X" * 65: without(listed()["markets"]["BTC-USD"], "ticker")}, f"markets['{'X' * 60}']"),
    ],
)
def test_what_is_no_market_list_is_refused(document: Any, argument: str) -> None:
    with pytest.raises(InputError) as refused:
        Chain.from_indexer(document)
    assert refused.value.argument == argument


# --- junk in every place ---

JUNK: list[Any] = [
    None,
    True,
    1.5,
    float("nan"),
    -1,
    10**400,
    "",
    "NaN",
    "9" * 5_000,
    "\ud800",
    b"\x05",
    [],
    [None],
    {},
    {"id": 1},
    object(),
    Decimal("sNaN"),
]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Go through every place in nested mappings and lists."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*place, key)
        yield from places(part, (*place, key))


def put(document: Any, place: tuple[Any, ...], value: Any) -> None:
    *way, last = place
    for key in way:
        document = document[key]
    document[last] = value


def test_junk_anywhere_is_read_or_refused_and_nothing_else() -> None:
    """Each value in turn is replaced by each kind of junk: a chain, or an InputError with a path."""
    refusals = []
    for place in places(listed()):
        for junk in JUNK:
            spoilt = listed()
            put(spoilt, place, junk)
            try:
                Chain.from_indexer(spoilt)
            except InputError as refused:
                refusals.append(refused)
    assert len(refusals) > 300
    assert all(refused.argument and len(str(refused)) < 600 for refused in refusals)
