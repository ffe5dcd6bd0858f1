"""The worst of all subsets of open orders, against every subset tried."""

import itertools
import random
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from what_if_cases import everything, small_account, text

from dydx_perf import Chain, FeeTier, InputError, Order, Subaccount, UnknownMarketError
from dydx_perf.exact import worst_fills as rule
from dydx_perf.exact.whatif import Fill
from dydx_perf.exact.worst_fills import Margin, cheap_subsets, worst_fills
from dydx_perf.preview import BasketPreview

V9 = Chain.sample("v9")
TICK = Decimal("0.01")  # of SOL-USD


def resting(draw, chain, number, near):
    """A few orders around the oracle price; `near` draws them so close that roundings decide."""
    orders = []
    for _ in range(number):
        market = chain[draw.randrange(3)]
        step = market.clob_pair.step_base_quantums
        subticks = market.perpetual.price * 10
        if near:
            # where the gain at the price meets the margin: the weight of the order is about nothing
            share = Fraction(market.initial_margin_ppm, 10**6)
            share *= draw.choice([1, Fraction(market.maintenance_fraction_ppm, 10**6)])
            subticks = int(subticks * (1 + draw.choice([-1, 1]) * share)) + draw.randrange(-20, 20)
        else:
            subticks = subticks * draw.randrange(70, 130) // 100
        orders.append(
            Order(
                market.ticker,
                draw.random() < 0.5,
                size=text(step * draw.randrange(1, 40 if near else 500), -4),
                limit_price=text(max(subticks, 1), -6),
                builder_fee_ppm=draw.choice([None, 300]),
            )
        )
    return orders


@given(st.integers(0, 10**9), st.sampled_from(["much", "little", "less"]), st.integers(0, 8), st.booleans())
@settings(max_examples=120)
def test_every_subset_was_tried(seed, worth, number, near):
    """Both margins: the smallest distance is the smallest of all 2**n, and its fills lead to it."""
    draw = random.Random(seed)
    account = small_account(seed, step_worth=worth)
    orders = resting(draw, account.chain, number, near)
    before = everything(account)
    answer = account.worst_case(orders)
    assert everything(account) == before
    risks = {
        subset: filled(account, [orders[place] for place in subset])
        for count in range(number + 1)
        for subset in itertools.combinations(range(number), count)
    }
    assert answer.maintenance.bound == answer.initial.bound == 0
    assert answer.maintenance_distance == min(risk.nc - risk.mmr for risk in risks.values())
    assert answer.initial_distance == min(risk.nc - risk.imr for risk in risks.values())
    for found in (answer.maintenance, answer.initial, answer.all_filled):
        assert found.risk == filled(account, found.orders)
    assert answer.all_filled.orders == tuple(orders)
    assert answer.is_never_liquidatable is (answer.maintenance_distance >= 0)
    if answer.is_never_liquidatable:
        assert not any(risk.is_liquidatable for risk in risks.values())


def filled(account, orders):
    """Risk of a new account that has made these trades, worked out from the definition."""
    tier = account.chain.parameters.fee_tiers[0]
    held = {ticker: (p.quantums, p.quote_balance) for ticker, p in account.positions.items()}
    usdc = account.usdc_quantums
    usdc += sum(p.unsettled_funding_ppm for p in account.positions.values()) // 10**6
    for order in orders:
        market = account.chain[order.ticker]
        size = int(order.size * 10**4)
        value = int(order.limit_price * 10**6) * size // 10**4
        quantums, balance = held.get(order.ticker, (0, 0))
        held[order.ticker] = quantums + (size if order.is_buy else -size), balance
        usdc += -value if order.is_buy else value
        usdc -= -(-value * tier.maker_fee_ppm // 10**6) + -(-value * (order.builder_fee_ppm or 0) // 10**6)
    nc, imr, mmr = usdc, 0, 0
    for ticker, (quantums, balance) in held.items():
        market = account.chain[ticker]
        value = abs(quantums) * market.perpetual.price // 1000
        nc += balance + (value if quantums > 0 else -value)
        ppm = max(market.scaled_initial_margin_ppm, account.leverage_choices.get(ticker, 0))
        imr += -(-value * ppm // 10**6)
        base = -(-value * market.initial_margin_ppm // 10**6)
        mmr += -(-base * market.maintenance_fraction_ppm // 10**6)
    return account.risk.from_integers(nc, imr, mmr, None, account.risk.basis)


def test_a_grid_of_hundreds_of_orders_is_no_work():
    """Two hundred orders have more subsets than could be tried; the answer is exact all the same."""
    account = Subaccount(V9, "dydx1", usdc=50_000, positions={"SOL-USD": 100})
    price = V9["SOL-USD"].oracle_price.decimal
    ticks = [price.quantize(TICK) + number * TICK for number in range(-100, 100)]
    orders = [Order("SOL-USD", tick < price, size=50, limit_price=tick) for tick in ticks]
    answer = account.worst_case(orders)
    assert answer.maintenance.bound == 0
    sides = [[order for order in orders if order.is_buy is is_buy] for is_buy in (True, False)]
    alone = [account.worst_case(side).maintenance_distance for side in sides]
    assert answer.maintenance_distance <= min(alone)
    assert set(answer.maintenance.orders) in (set(sides[0]), set(sides[1]))


def test_the_worst_can_be_a_mixture():
    """A buy far above and a sell far below the oracle price both lose: the worst takes both."""
    account = Subaccount(V9, "dydx1", usdc=1_000)
    price = V9["SOL-USD"].oracle_price.decimal
    dear = Order.buy("SOL-USD", size=10, limit_price=(price * 2).quantize(TICK))
    cheap = Order.sell("SOL-USD", size=10, limit_price=(price / 2).quantize(TICK))
    answer = account.worst_case([dear, cheap])
    assert answer.maintenance.orders == (dear, cheap)
    assert answer.all_filled.risk == answer.maintenance.risk
    preview = account.preview([dear, cheap], fee_tier="1")
    assert isinstance(preview, BasketPreview)


def test_no_orders_leave_the_account():
    account = Subaccount(V9, "dydx1", usdc=1_000, positions={"SOL-USD": 1})
    answer = account.worst_case([])
    assert answer.maintenance.orders == ()
    assert answer.maintenance.risk == answer.initial.risk == answer.all_filled.risk == account.risk
    assert answer.maintenance.liquidation_prices == account.liquidation_prices


def test_more_subsets_than_can_be_tried_come_with_a_bound(monkeypatch):
    """Orders of no weight at all: nothing tells their subsets apart but roundings."""
    perpetual = small_account(3).chain["M1-USD"].perpetual
    margin = Margin(perpetual, 0, False)
    fraction = margin.fraction
    fills = [Fill(-1, 0, int(-perpetual.price * (1 + fraction) / 1000), 0) for _ in range(12)]
    exact = worst_fills(margin, 0, fills)
    assert exact.bound == 0
    monkeypatch.setattr(rule, "LARGEST_EFFORT", 3)
    rough = worst_fills(margin, 0, fills)
    assert rough.bound > 0
    assert rough.above - rough.bound <= exact.above <= rough.above


@given(st.lists(st.integers(0, 6), max_size=7), st.integers(0, 12))
def test_cheap_subsets_are_all_of_them(costs, budget):
    ordered = sorted((Fraction(cost), place) for place, cost in enumerate(costs))
    found = list(cheap_subsets(ordered, Fraction(budget)))
    expected = {
        subset
        for count in range(len(costs) + 1)
        for subset in itertools.combinations(range(len(costs)), count)
        if not subset or sum(costs[place] for place in subset) < budget
    }
    assert {tuple(sorted(subset)) for subset in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("orders", "argument"),
    [
        (None, "open_orders"),
        ("SOL-USD", "open_orders"),
        ([7], "open_orders[0]"),
        ([Order.buy("SOL-USD", size=1, limit_price=20, immediate_or_cancel=True)], "open_orders[0]"),
        ([Order.buy("SOL-USD", size="0.05", limit_price=20)], "open_orders[0]"),
        ([Order.buy("SOL-USD", size=1, limit_price=20, reduce_only=True)], "open_orders[0]"),
        ([Order.buy("EIGEN-USD", size=1, limit_price=3)], "open_orders"),
    ],
)
def test_orders_that_cannot_rest_are_refused(orders, argument):
    account = Subaccount(V9, "dydx1", usdc=1_000, positions={"SOL-USD": 1})
    before = everything(account)
    with pytest.raises(InputError) as refused:
        account.worst_case(orders)
    assert refused.value.argument == argument
    assert everything(account) == before


def test_isolated_markets_alone_are_fine():
    account = Subaccount(V9, "dydx1", usdc=1_000)
    order = Order.buy("EIGEN-USD", size=1, limit_price=3)
    assert account.worst_case([order]).all_filled.orders == (order,)
    with pytest.raises(InputError, match="EIGEN-USD alone"):
        account.worst_case([order, Order.buy("SOL-USD", size=1, limit_price=20)])


def test_fees_and_markets_are_checked():
    account = Subaccount(V9, "dydx1", usdc=1_000)
    order = Order.buy("SOL-USD", size=1, limit_price=20)
    dear = account.worst_case([order], fee_tier=FeeTier("x", 0, 0, 0, 10_000, 0))
    assert account.worst_case([order]).all_filled.risk.nc - dear.all_filled.risk.nc == 202_200
    with pytest.raises(InputError, match="fee_tier"):
        account.worst_case([order], fee_tier="none")
    with pytest.raises(UnknownMarketError):
        account.worst_case([Order.buy("X-USD", size=1, limit_price=1)])
