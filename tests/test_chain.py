"""Markets and the chain that holds them: what they take and refuse, and that a refusal changes nothing."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dydx_perf import Chain, FeeTier, InputError, Market, ProtocolParameters, Subaccount, UnknownMarketError
from dydx_perf.chain import Chain as ChainOfModule
from dydx_perf.parameters import GENESIS_LIQUIDATIONS
from dydx_perf.units import to_decimal

BTC: dict[str, Any] = {
    "ticker": "BTC-USD",
    "perpetual_id": 0,
    "atomic_resolution": -10,
    "price_exponent": -5,
    "oracle_price": "67012.5",
    "initial_margin_ppm": 20_000,
    "maintenance_fraction_ppm": 600_000,
    "step_base_quantums": 1_000_000,
    "subticks_per_tick": 100_000,
}
LINK: dict[str, Any] = {
    "ticker": "LINK-USD",
    "perpetual_id": 2,
    "atomic_resolution": -6,
    "price_exponent": -9,
    "oracle_price": "17.5",
    "initial_margin_ppm": 100_000,
    "maintenance_fraction_ppm": 500_000,
    "open_interest": 2_000_000_000_000,  # 2,000,000 LINK
    "open_interest_lower_cap": 20_000_000_000_000,
    "open_interest_upper_cap": 50_000_000_000_000,
    "clob_pair_id": 7,
    "impact_notional": 5_000_000_000,
    "default_funding_ppm": 100,
    "status": "CANCEL_ONLY",
}
MARKET_PROPERTIES = [name for name in dir(Market) if isinstance(getattr(Market, name), property)]
CHAIN_PROPERTIES = [name for name in dir(Chain) if isinstance(getattr(Chain, name), property)]


def market(**changes: Any) -> Market:
    return Market(**{**BTC, **changes})


def chain(**changes: Any) -> Chain:
    return Chain([market(), Market(**LINK)], **changes)


def seen(chain: Chain) -> tuple[Any, ...]:
    """Return all that can be seen of a chain, and of an account that the kernels value on it."""
    account = Subaccount(
        chain, "dydx1example", usdc="25000", positions={"BTC-USD": "0.8", "LINK-USD": "-500"}
    )
    risk = account.risk
    return (
        {name: getattr(chain, name) for name in CHAIN_PROPERTIES},
        [{name: getattr(one, name) for name in MARKET_PROPERTIES} for one in chain],
        (chain.parameters, chain.description),
        (risk.nc, risk.imr, risk.mmr, risk.height, risk.basis, risk.time),
    )


# --- what a market is ---


def test_a_market_says_what_it_was_given() -> None:
    link = Market(**LINK)
    assert (link.ticker, link.perpetual_id, link.clob_pair_id) == ("LINK-USD", 2, 7)
    assert (link.atomic_resolution, link.price_exponent) == (-6, -9)
    assert link.oracle_price.integer == 17_500_000_000
    assert link.oracle_price.decimal == Decimal("17.5")
    assert link.open_interest == 2_000_000_000_000
    assert (link.initial_margin_ppm, link.maintenance_fraction_ppm) == (100_000, 500_000)
    assert (link.impact_notional, link.default_funding_ppm, link.status) == (
        5_000_000_000,
        100,
        "CANCEL_ONLY",
    )
    assert (link.is_isolated, market(market_type="isolated").is_isolated) == (False, True)
    assert (link.height, link.basis) == (None, "estimate")


def test_a_market_derives_what_people_read() -> None:
    """Fractions, step and tick are the exact products of ppm and powers of ten."""
    btc, link = market(), Market(**LINK)
    assert (btc.step_size, btc.tick_size) == (Decimal("0.0001"), Decimal("1"))
    assert (btc.initial_margin_fraction, btc.maintenance_margin_fraction) == (
        Decimal("0.02"),
        Decimal("0.012"),
    )
    assert btc.clob_pair_id == btc.perpetual_id
    # 2,000,000 LINK at 17.5 are 35 million USDC, halfway between the caps: halfway from 10 % to 100 %.
    assert link.open_interest_notional == 35_000_000_000_000
    assert link.scaled_initial_margin_ppm == 550_000
    assert btc.scaled_initial_margin_ppm == btc.initial_margin_ppm


@given(st.integers(1, 2**64 - 1), st.integers(-32, 32))
@example(1, -32)
@example(2**64 - 1, 32)
def test_every_price_the_chain_can_hold_comes_back(integer: int, exponent: int) -> None:
    """Price integer to Decimal, into a market, and out again: the same integer."""
    priced = market(price_exponent=exponent, oracle_price=to_decimal(integer, exponent))
    assert priced.oracle_price.integer == integer
    priced.set_oracle_price_integer(2**64 - integer)
    assert priced.oracle_price.decimal == to_decimal(2**64 - integer, exponent)


WRONG_INTEGERS = [1.0, True, "1", None, Decimal(1)]
BOUNDS: dict[str, tuple[int | None, int | None]] = {
    "perpetual_id": (0, 2**32 - 1),
    "clob_pair_id": (0, 2**32 - 1),
    "atomic_resolution": (-32, 32),
    "price_exponent": (-32, 32),
    "initial_margin_ppm": (0, 1_000_000),
    "maintenance_fraction_ppm": (0, 1_000_000),
    "open_interest": (0, None),
    "open_interest_lower_cap": (0, 2**64 - 1),
    "open_interest_upper_cap": (0, 2**64 - 1),
    "funding_index": (None, None),
    "default_funding_ppm": (-(2**31), 2**31 - 1),
    "step_base_quantums": (1, 2**64 - 1),
    "subticks_per_tick": (1, 2**32 - 1),
    "quantum_conversion_exponent": (-32, 32),
    "impact_notional": (0, 2**64 - 1),
    "height": (0, 2**62),
}
OPTIONAL_INTEGERS = {"clob_pair_id", "height"}
WRONG_PRICES: list[Any] = [
    67012.5,
    0,
    "0",
    "0.000000",
    "-1",
    Decimal("-0.5"),
    "NaN",
    Decimal("NaN"),
    "Infinity",
    Decimal("Infinity"),
    "",
    " 1",
    "1,000",
    "0x10",
    "١",  # an Arabic digit
    "1e1000",
    "1" * 101,
    "1" * 100_000,
    "67012.512345",  # a sixth decimal
    "184467440737095.51616",  # 2**64 at this exponent
    10**30,
    True,
    None,
    b"1",
    [],
]
WRONG_BASES: list[Any] = ["live", "", 0, True, b"chain", ["chain"], "Chain"]
WRONG_ARGUMENTS: list[tuple[str, Any]] = [
    *((name, value) for name in BOUNDS for value in WRONG_INTEGERS if (name, value) != ("height", None)),
    *((name, low - 1) for name, (low, _) in BOUNDS.items() if low is not None),
    *((name, high + 1) for name, (_, high) in BOUNDS.items() if high is not None),
    *(("oracle_price", value) for value in WRONG_PRICES),
    *(("ticker", value) for value in ["", "X" * 65, None, 5, b"BTC-USD", ["BTC-USD"]]),
    *(("market_type", value) for value in ["CROSS", "", None, 1, ["cross"]]),
    *(("status", value) for value in ["active", "", "STATUS_ACTIVE", None, 1, ["ACTIVE"]]),
    *(("basis", value) for value in [*WRONG_BASES, None, "chain"]),
]
WRONG_ARGUMENTS = [
    (name, value) for name, value in WRONG_ARGUMENTS if not (value is None and name in OPTIONAL_INTEGERS)
]


def shown(value: object) -> str:
    return f"{value!r:.30}"


@pytest.mark.parametrize(("argument", "value"), WRONG_ARGUMENTS, ids=shown)
def test_a_wrong_argument_of_a_market_is_refused_by_name(argument: str, value: Any) -> None:
    """The error names the argument, carries the value, and says what is allowed."""
    with pytest.raises(InputError) as refused:
        market(**{argument: value})
    assert refused.value.argument == argument
    assert refused.value.value is value
    assert refused.value.allowed
    assert len(str(refused.value)) < 250


def test_the_table_of_wrong_arguments_has_every_argument() -> None:
    named = {name for name, _ in WRONG_ARGUMENTS}
    assert named == set(Market.__init__.__kwdefaults__) | set(BTC)  # type: ignore[arg-type]


@pytest.mark.parametrize("argument", [name for name in BOUNDS if name not in ("height", "price_exponent")])
def test_the_bounds_themselves_are_taken(argument: str) -> None:
    """Both ends of each range are allowed, and no end where there is none."""
    lowest, highest = BOUNDS[argument]
    for value in (-(10**40) if lowest is None else lowest, 10**40 if highest is None else highest):
        taken = market(
            **{argument: value, **({"open_interest_upper_cap": 2**64 - 1} if "cap" in argument else {})}
        )
        assert taken.basis == "estimate"


def test_reversed_caps_are_refused_and_an_upper_cap_of_zero_is_none() -> None:
    with pytest.raises(InputError) as refused:
        market(open_interest_lower_cap=6, open_interest_upper_cap=5)
    assert (refused.value.argument, refused.value.value) == ("open_interest_lower_cap", 6)
    assert market(open_interest_lower_cap=6).perpetual.open_interest_upper_cap == 0
    assert market(open_interest_lower_cap=5, open_interest_upper_cap=5).perpetual.open_interest_lower_cap == 5


# --- where its values are from ---


@pytest.mark.parametrize(
    ("source", "height", "basis"),
    [
        ({}, None, "estimate"),
        ({"height": 7}, 7, "estimate"),
        ({"height": 7, "basis": "chain"}, 7, "chain"),
        ({"basis": "sample"}, None, "sample"),
        ({"height": 0, "basis": "sample"}, 0, "sample"),
    ],
)
def test_a_market_keeps_the_source_it_was_given(source: Any, height: int | None, basis: str) -> None:
    taken = market(**source)
    assert (taken.height, taken.basis) == (height, basis)


SETTERS: dict[str, tuple[Any, ...]] = {
    "set_oracle_price": ("67013",),
    "set_oracle_price_integer": (6_701_300_000,),
    "set_funding_index": (-5,),
    "set_open_interest": (8,),
}
TIER = {
    "initial_margin_ppm": 50_000,
    "maintenance_fraction_ppm": 700_000,
    "open_interest_lower_cap": 1,
    "open_interest_upper_cap": 2,
}


def change(one: Market, setter: str, **source: Any) -> None:
    if setter == "set_liquidity_tier":
        one.set_liquidity_tier(**TIER, **source)
    else:
        getattr(one, setter)(*SETTERS[setter], **source)


@pytest.mark.parametrize("setter", [*SETTERS, "set_liquidity_tier"])
@pytest.mark.parametrize(
    ("source", "height", "basis"),
    [
        ({"height": 9}, 7, "chain"),  # the other inputs are still of block 7
        ({"height": 5}, 5, "chain"),
        ({}, None, "estimate"),
        ({"height": 9, "basis": "estimate"}, 7, "estimate"),
        ({"basis": "sample"}, None, "sample"),
    ],
)
def test_a_market_is_as_old_and_as_weak_as_the_worst_of_its_inputs(
    setter: str, source: Any, height: int | None, basis: str
) -> None:
    """By default a change with a height is the chain's, one without is an estimate."""
    one = market(height=7, basis="chain")
    change(one, setter, **source)
    assert (one.height, one.basis) == (height, basis)


def test_an_estimate_is_the_chains_again_when_each_input_came_from_it() -> None:
    one = market()
    for setter in ("set_oracle_price", "set_funding_index", "set_open_interest"):
        change(one, setter, height=9)
        assert (one.height, one.basis) == (None, "estimate")
    change(one, "set_liquidity_tier", height=9)
    assert (one.height, one.basis) == (9, "chain")


def test_setters_set_what_they_say_and_nothing_else() -> None:
    one = market()
    for setter in [*SETTERS, "set_liquidity_tier"]:
        change(one, setter)
    assert one.oracle_price.integer == 6_701_300_000
    assert (one.funding_index, one.open_interest) == (-5, 8)
    assert (one.initial_margin_ppm, one.maintenance_fraction_ppm) == (50_000, 700_000)
    assert (one.perpetual.open_interest_lower_cap, one.perpetual.open_interest_upper_cap) == (1, 2)
    untouched = set(MARKET_PROPERTIES) - {
        "oracle_price",
        "funding_index",
        "open_interest",
        "open_interest_notional",
        "initial_margin_ppm",
        "initial_margin_fraction",
        "scaled_initial_margin_ppm",
        "maintenance_fraction_ppm",
        "maintenance_margin_fraction",
        "perpetual",
    }
    assert {name: getattr(one, name) for name in untouched} == {
        name: getattr(market(), name) for name in untouched
    }


WRONG_CHANGES: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    *(("set_oracle_price", (value,), {}, "oracle_price") for value in WRONG_PRICES),
    *(("set_oracle_price_integer", (value,), {}, "price") for value in [0, -1, 2**64, 1.0, "1", True, None]),
    *(("set_funding_index", (value,), {}, "funding_index") for value in WRONG_INTEGERS),
    *(("set_open_interest", (value,), {}, "open_interest") for value in [-1, *WRONG_INTEGERS]),
    *(
        ("set_liquidity_tier", (), {**TIER, name: value}, name)
        for name in TIER
        for value in [-1, (BOUNDS[name][1] or 0) + 1, *WRONG_INTEGERS]
    ),
    ("set_liquidity_tier", (), {**TIER, "open_interest_lower_cap": 3}, "open_interest_lower_cap"),
    *(
        (setter, given, {"height": height}, "height")
        for setter, given in SETTERS.items()
        for height in (-1, "1")
    ),
    *(
        (setter, given, {"basis": basis}, "basis")
        for setter, given in SETTERS.items()
        for basis in WRONG_BASES
    ),
    *((setter, given, {"basis": "chain"}, "basis") for setter, given in SETTERS.items()),
]


@pytest.mark.parametrize(("setter", "given", "named", "argument"), WRONG_CHANGES, ids=shown)
def test_a_refused_change_of_a_market_changes_nothing(
    setter: str, given: tuple[Any, ...], named: dict[str, Any], argument: str
) -> None:
    """Every property of chain and markets, and the risk that the kernels see, stay as they were."""
    held = chain(height=5, time="noon")
    before = seen(held)
    with pytest.raises(InputError) as refused:
        getattr(held["BTC-USD"], setter)(*given, **named)
    assert refused.value.argument == argument
    assert seen(held) == before


# --- the chain ---


def test_the_order_book_and_the_type_of_a_market_can_change_and_its_risk_inputs_do_not() -> None:
    """What is not named stays; a wrong value is refused by name and changes nothing."""
    one = market(height=7, basis="chain")
    before = one.perpetual
    one.set_order_book(status="FINAL_SETTLEMENT", subticks_per_tick=7)
    assert (one.status, one.clob_pair.subticks_per_tick) == ("FINAL_SETTLEMENT", 7)
    one.set_order_book(step_base_quantums=3, quantum_conversion_exponent=-8)
    pair = one.clob_pair
    assert (pair.step_base_quantums, pair.quantum_conversion_exponent, pair.status) == (
        3,
        -8,
        "FINAL_SETTLEMENT",
    )
    for name, value in {
        "step_base_quantums": 0,
        "subticks_per_tick": 2**32,
        "quantum_conversion_exponent": 33,
        "status": "OPEN",
    }.items():
        with pytest.raises(InputError, match=name):
            one.set_order_book(**{name: value})  # type: ignore[arg-type]
    assert one.clob_pair == pair
    one.set_market_type("isolated")
    assert one.is_isolated
    with pytest.raises(InputError, match="market_type"):
        one.set_market_type("both")  # type: ignore[arg-type]
    one.set_market_type("cross")
    assert (replace(one.perpetual, clob_pair=before.clob_pair), one.height) == (before, 7)


def test_a_chain_finds_its_markets_by_ticker_and_by_perpetual_id() -> None:
    held = chain()
    assert held["LINK-USD"] is held[2]
    assert held.tickers == ("BTC-USD", "LINK-USD")
    assert [one.ticker for one in held] == ["BTC-USD", "LINK-USD"]
    assert (len(held), "BTC-USD" in held, 2 in held) == (2, True, True)
    assert Chain is ChainOfModule


@pytest.mark.parametrize(
    "key", ["DOGE-USD", "btc-usd", "", 1, -1, 10**30, None, True, 0.0, 2.0, ("BTC-USD",), [], {}]
)
def test_an_unknown_market_is_named_and_is_not_in_the_chain(key: Any) -> None:
    """True and 2.0 are no perpetual ids, though they equal one; what has no hash is not found either."""
    held = chain()
    assert key not in held
    with pytest.raises(UnknownMarketError) as unknown:
        held[key]
    assert unknown.value.market is key


def test_a_market_can_be_added_later_and_an_account_sees_it() -> None:
    held = Chain([market()])
    held.add(Market(**LINK))
    account = Subaccount(held, "dydx1example", usdc="0", positions={"LINK-USD": "2"})
    assert account.risk.nc == 35_000_000
    held["LINK-USD"].set_oracle_price("20")
    assert account.risk.nc == 40_000_000


@pytest.mark.parametrize(
    ("added", "argument"),
    [
        (market(perpetual_id=5), "ticker"),
        (market(ticker="BTC-EUR"), "perpetual_id"),
        ("BTC-USD", "market"),
        (None, "market"),
        (Chain([market(ticker="ETH-USD", perpetual_id=1)])["ETH-USD"], "market"),
    ],
    ids=["ticker twice", "perpetual twice", "text", "None", "of another chain"],
)
def test_a_refused_market_leaves_the_chain_as_it_was(added: Any, argument: str) -> None:
    held = chain()
    before = seen(held)
    with pytest.raises(InputError) as refused:
        held.add(added)
    assert refused.value.argument == argument
    assert seen(held) == before


def test_a_chain_that_was_refused_keeps_none_of_its_markets() -> None:
    """A market that should have been in a chain that never came to be can still go into another."""
    btc, other = market(), Market(**LINK)
    for rest in ([market(perpetual_id=5)], [other, other], [market(ticker="X")], ["LINK-USD"], [None]):
        with pytest.raises(InputError):
            Chain([btc, *rest])  # type: ignore[list-item]
    assert len(Chain([btc, other])) == 2


@pytest.mark.parametrize(
    ("named", "argument"),
    [
        ({"markets": 5}, "markets"),
        ({"markets": "BTC-USD"}, "markets"),
        ({"markets": [market(), {}]}, "markets[1]"),
        ({"parameters": {}}, "parameters"),
        ({"height": -1}, "height"),
        ({"height": 1.0}, "height"),
        ({"height": True}, "height"),
        ({"height": 2**62 + 1}, "height"),
        ({"description": None}, "description"),
        ({"without_price": "BTC-USD"}, "without_price"),
        ({"without_price": [1]}, "without_price[0]"),
    ],
)
def test_a_wrong_argument_of_a_chain_is_refused_by_name(named: dict[str, Any], argument: str) -> None:
    with pytest.raises(InputError) as refused:
        Chain(**named)
    assert refused.value.argument == argument


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: ProtocolParameters(min_num_votes_per_sample=-1), "min_num_votes_per_sample"),
        (lambda: ProtocolParameters(funding_rate_clamp_factor_ppm=6.0), "funding_rate_clamp_factor_ppm"),
        (lambda: ProtocolParameters(liquidations=None), "liquidations"),
        (lambda: ProtocolParameters(fee_tiers=[]), "fee_tiers"),
        (lambda: ProtocolParameters(fee_tiers=(1,)), "fee_tiers"),
        (lambda: FeeTier(1, 0, 0, 0, 0, 0), "name"),
        (lambda: FeeTier("1", -1, 0, 0, 0, 0), "absolute_volume_requirement"),
        (lambda: FeeTier("1", 0, 2**32, 0, 0, 0), "total_volume_share_requirement_ppm"),
        (lambda: FeeTier("1", 0, 0, 0, -(2**31) - 1, 0), "maker_fee_ppm"),
        (lambda: FeeTier("1", 0, 0, 0, 0, True), "taker_fee_ppm"),
    ],
)
def test_wrong_protocol_parameters_are_refused_by_name(make: Any, argument: str) -> None:
    with pytest.raises(InputError) as refused:
        make()
    assert refused.value.argument == argument


def test_the_default_parameters_are_those_of_the_mainnet_genesis() -> None:
    parameters = Chain().parameters
    assert (parameters.funding_rate_clamp_factor_ppm, parameters.premium_vote_clamp_factor_ppm) == (
        6_000_000,
        60_000_000,
    )
    assert parameters.min_num_votes_per_sample == 15
    assert parameters.liquidations is GENESIS_LIQUIDATIONS
    assert parameters.fee_tiers == ()


# --- several prices, and blocks ---


def test_several_prices_are_set_together() -> None:
    held = chain()
    held.set_oracle_prices({"BTC-USD": "70000", "LINK-USD": Decimal("18.25")}, height=9)
    assert [str(one.oracle_price.decimal) for one in held] == ["70000.00000", "18.250000000"]
    held.set_oracle_prices({})
    assert held["BTC-USD"].oracle_price.integer == 7_000_000_000


@pytest.mark.parametrize(
    ("prices", "named", "argument"),
    [
        *(
            ({"BTC-USD": "1", "LINK-USD": wrong}, {}, "prices['LINK-USD']")
            for wrong in (0, "-1", 1.5, "NaN", None)
        ),
        ({"BTC-USD": "1"}, {"height": -1}, "height"),
        ({"BTC-USD": "1"}, {"height": 1.5}, "height"),
        ({"BTC-USD": "1"}, {"basis": "live"}, "basis"),
        ({"BTC-USD": "1"}, {"basis": "chain"}, "basis"),
        ([("BTC-USD", "1")], {}, "prices"),
        (None, {}, "prices"),
        ("BTC-USD", {}, "prices"),
    ],
    ids=shown,
)
def test_one_refused_price_leaves_all_prices_as_they_were(prices: Any, named: Any, argument: str) -> None:
    held = chain(height=5)
    before = seen(held)
    with pytest.raises(InputError) as refused:
        held.set_oracle_prices(prices, **named)
    assert refused.value.argument == argument
    assert seen(held) == before


def test_one_unknown_market_leaves_all_prices_as_they_were() -> None:
    held = chain()
    before = seen(held)
    with pytest.raises(UnknownMarketError, match="DOGE-USD"):
        held.set_oracle_prices({"BTC-USD": "1", "DOGE-USD": "1"})
    assert seen(held) == before


def test_a_block_confirms_every_input_but_makes_no_estimate_the_chains() -> None:
    held = Chain([market(height=3, basis="chain"), Market(**LINK)], height=3)
    assert (held.height, held.time, held.basis) == (3, None, "estimate")
    held.set_block(11, "2025-12-08T16:12:01Z")
    assert (held.height, held.time, held.basis) == (11, "2025-12-08T16:12:01Z", "estimate")
    assert [(one.height, one.basis) for one in held] == [(11, "chain"), (11, "estimate")]
    account = Subaccount(held, "dydx1example", usdc="5", positions={"BTC-USD": "1"}, height=11)
    assert (account.risk.height, account.risk.basis, account.risk.time) == (11, "chain", held.time)


@pytest.mark.parametrize("height", [None, -1, 2**62 + 1, 1.0, "5", True])
def test_a_wrong_block_changes_nothing(height: Any) -> None:
    held = chain(height=5, time="noon")
    before = seen(held)
    with pytest.raises(InputError) as refused:
        held.set_block(height, "later")
    assert (refused.value.argument, refused.value.value) == ("height", height)
    assert seen(held) == before


def test_a_chain_is_as_weak_as_its_weakest_market() -> None:
    """An empty chain is no evidence of anything unless its block is known."""
    strong = market(height=3, basis="chain")
    assert Chain([strong]).basis == "chain"
    held = Chain([Market(**LINK, basis="sample"), market(height=3, basis="chain")], height=3)
    assert held.basis == "sample"
    assert (Chain().basis, Chain(height=1).basis) == ("estimate", "chain")


def test_a_chain_tells_in_its_repr_what_it_is() -> None:
    assert (
        repr(chain(height=5, description="by hand"))
        == "Chain(2 markets, basis='estimate', height=5, 'by hand')"
    )
    assert repr(Chain()) == "Chain(0 markets, basis='estimate')"
    assert repr(market()) == "Market('BTC-USD', oracle_price='67012.50000', basis='estimate')"


def test_a_market_without_a_price_is_unknown_until_it_is_added() -> None:
    """Nobody who holds it is shown as safe: the account is refused."""
    held = Chain([market()], without_price=["LINK-USD", "DOGE-USD"])
    assert held.without_price == ("LINK-USD", "DOGE-USD")
    assert "LINK-USD" not in held
    with pytest.raises(UnknownMarketError, match="LINK-USD"):
        Subaccount(held, "dydx1example", usdc="1000000", positions={"LINK-USD": "-1"})
    held.add(Market(**LINK))
    assert held.without_price == ("DOGE-USD",)
    assert Subaccount(held, "dydx1example", usdc="0", positions={"LINK-USD": "2"}).risk.nc == 35_000_000
