"""An order previewed: both of the chain's verdicts, then what is read of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain as chained

import pytest
from accounts import SIZES, accounts, chain

from dydx_perf import FeeTier, Order, Subaccount
from dydx_perf.exact.update import COLLAT_CHECK, MATCH
from dydx_perf.exact.whatif import fill_update, matched_fill, outcome, resting_fill

PREVIEWED = 64
TIER = FeeTier("1", 0, 0, 0, 100, 500)
GOALS_NS = {4: 1_000}


def question(account: Subaccount) -> Order:
    """An order of about a tenth of the account's largest position, at the oracle price or a little off it."""
    position = max(account.positions.values(), key=lambda p: abs(p.notional))
    pair = position.market.clob_pair
    steps = max(abs(position.quantums) // 10 // pair.step_base_quantums, 1)
    tick = position.market.tick_size
    price = max(position.market.oracle_price.decimal // tick * tick, tick)
    size = position.market.step_size * steps
    return Order(position.ticker, account.number % 2 == 0, size=size, limit_price=price)


def plain(account: Subaccount, order: Order) -> tuple[str, str]:
    """Both results by plain integers, the account's state made anew as a caller of them would."""
    placed = order.in_market(account.chain[order.ticker])
    perpetuals = {p.market.perpetual_id: p.market.perpetual for p in account.positions.values()}
    number, state = placed.market.perpetual_id, account.state
    asked = (perpetuals[number], order.is_buy, placed.base_quantums)
    rests = fill_update(number, resting_fill(*asked, placed.subticks, TIER.maker_fee_ppm, 0))
    matches = fill_update(number, matched_fill(*asked, placed.fill_subticks, TIER.taker_fee_ppm, 0))
    return (
        outcome(perpetuals, state, rests, COLLAT_CHECK).result,
        outcome(perpetuals, state, matches, MATCH).result,
    )


@pytest.fixture(params=SIZES)
def asked(request, monkeypatch):
    """Accounts of one size with a question each, their chain with one fee tier."""
    monkeypatch.setattr(chain(), "parameters", replace(chain().parameters, fee_tiers=(TIER,)))
    return request.param, [(account, question(account)) for account in accounts(request.param)[:PREVIEWED]]


def section(size: int) -> str:
    return f"An order previewed, account of {size} positions, risk known"


def test_preview(asked, row):
    """`Subaccount.preview()` of an order that was asked about before, which is what a moving price asks."""
    size, cases = asked
    for account, order in cases:
        answer = account.preview(order)
        assert (answer.entering_book.result, answer.matching.result) == plain(account, order)
    turns = tuple(chained(cases, cases))

    def run() -> None:
        for account, order in turns:
            _ = account.preview(order).passes

    goal = GOALS_NS.get(size)
    name = "Subaccount.preview(), passes read"
    row(section(size), name, "a call", run, len(turns), "exact", ours=True, goal_ns=goal)


def test_new_order(asked, row):
    """The order is made for the question: its texts become integers, too."""
    size, cases = asked
    given = [
        (account, order.ticker, order.is_buy, str(order.size), str(order.limit_price))
        for account, order in cases
    ]

    def run() -> None:
        for account, ticker, is_buy, amount, price in given:
            _ = account.preview(Order(ticker, is_buy, size=amount, limit_price=price)).passes

    row(section(size), "the same, the order made from text", "a call", run, len(given), "exact")


def test_all_read(asked, row):
    """Both verdicts with their risks and fees, as objects."""
    size, cases = asked

    def run() -> None:
        for account, order in cases:
            answer = account.preview(order)
            _ = answer.entering_book, answer.matching

    row(section(size), "the same, both verdicts with risks and fees read", "a call", run, len(cases), "exact")


def test_liquidation_prices(asked, row):
    """All liquidation prices after the match: the state is made by plain integers first."""
    size, cases = asked

    def run() -> None:
        for account, order in cases:
            _ = account.preview(order).liquidation_prices

    row(section(size), "the same, all liquidation prices read", "a call", run, len(cases), "exact")


def test_plain(asked, row):
    """Both results without the kernel."""
    size, cases = asked

    def run() -> None:
        for account, order in cases:
            plain(account, order)

    row(section(size), "dydx_perf.exact, plain Python", "a call", run, len(cases), "exact")
