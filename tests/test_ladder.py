"""A liquidation ladder equals every account evaluated at every price in plain integers (B5)."""

import os
import random
from dataclasses import replace

import pytest
from book_model import Model
from scenario_cases import state, walked

from dydx_perf import Book, Chain, InputError, StaleError, UnknownMarketError
from dydx_perf.exact.margin import is_liquidatable, notional, subaccount_risk
from dydx_perf.generated import generated_accounts
from dydx_perf.ladder import LadderStep, liquidation_ladder, liquidation_levels

DEEP = os.environ.get("DYDX_PERF_EXAMPLES") == "deep"


def brute_force(model: Model, ticker: str, price: int) -> LadderStep:
    """Evaluate every account at a price."""
    market = model.chain[ticker]
    moved = replace(market.perpetual, price=price)
    perpetuals = {m.perpetual_id: m.perpetual for m in model.chain} | {market.perpetual_id: moved}
    sums = {True: [0, 0, 0], False: [0, 0, 0]}
    for account in model.accounts.values():
        held = account.positions.get(ticker, (0,))[0]
        if held and is_liquidatable(subaccount_risk(perpetuals, state(model.chain, account))):
            side = sums[held > 0]
            side[0] += 1
            side[1] += abs(held)
            side[2] += abs(notional(moved, held))
    return LadderStep(price, *sums[True], *sums[False])


@pytest.mark.parametrize("seed", range(200 if DEEP else 6))
@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_ladder_equals_every_account_at_every_price(seed: int, wild: bool, indexed: bool) -> None:
    """At prices near and far, at each holder's own edges and one beside them, at the ends of the domain."""
    model = walked(seed, 40, wild=wild, indexed=indexed)
    rng = random.Random(seed)
    for market in model.chain:
        levels = liquidation_levels(model.book, market.ticker)
        edges = {p for level in levels for p in (level.first_price, level.last_price) if p is not None}
        near = {edge + step for edge in edges for step in (-1, 0, 1)}
        prices = near | {1, 2**64 - 1, market.perpetual.price} | {rng.getrandbits(45) for _ in range(4)}
        asked = sorted(price for price in prices if 1 <= price < 2**64)
        ladder = liquidation_ladder(model.book, market.ticker, asked)
        assert list(ladder) == [brute_force(model, market.ticker, price) for price in asked]
    model.compare()


@pytest.mark.parametrize("seed", range(100 if DEEP else 4))
def test_levels_are_every_holder_with_its_own_interval(seed: int) -> None:
    """Who is liquidatable at a price is who has it in its interval; plain and indexed books say the same."""
    model = walked(seed + 50, 40, wild=bool(seed % 2))
    for market in model.chain:
        levels = liquidation_levels(model.book, market.perpetual_id)
        held = {
            n: a.positions[market.ticker][0]
            for n, a in model.accounts.items()
            if market.ticker in a.positions
        }
        assert {(level.address, level.number): level.quantums for level in levels} == {
            name: size for name, size in held.items() if size
        }
        for level in levels:
            account = state(model.chain, model.accounts[level.address, level.number])
            for edge in (level.first_price, level.last_price, market.perpetual.price):
                for price in (
                    [1, 2**64 - 1] if edge is None else [max(edge - 1, 1), edge, min(edge + 1, 2**64 - 1)]
                ):
                    moved = {
                        m.perpetual_id: replace(m.perpetual, price=price) if m is market else m.perpetual
                        for m in model.chain
                    }
                    inside = (
                        level.first_price is not None
                        and level.last_price is not None
                        and (level.first_price <= price <= level.last_price)
                    )
                    assert is_liquidatable(subaccount_risk(moved, account)) == inside
        sides = [level.quantums < 0 for level in levels]
        assert sides == sorted(sides)
        longs = [level.last_price for level in levels if level.quantums > 0 and level.last_price is not None]
        assert longs == sorted(longs, reverse=True)


def test_a_large_ladder_equals_the_plain_book() -> None:
    """Hundreds of holders; steps by default around the price of now."""
    ladders = []
    for indexed in (True, False):
        chain = Chain.sample("v9")
        book = Book(chain, max_subaccounts=700, max_positions=7_000, indexed=indexed)
        generated_accounts(chain, 700, seed=2).load_into(book)
        ladders.append(liquidation_ladder(book, "BTC-USD", steps=5))
        assert sum(level.quantums > 0 for level in liquidation_levels(book, "BTC-USD")) > 100
    assert ladders[0] == ladders[1]
    down, *_, up = ladders[0]
    assert down.long_notional > up.long_notional
    assert down.short_notional < up.short_notional
    assert down.price == ladders[0].oracle_price // 2
    first = ladders[0].in_units()[0]
    assert first["long_notional"] * 10**6 == down.long_notional
    assert first["price"] == Chain.sample("v9")["BTC-USD"].oracle_price.decimal / 2


def test_a_ladder_says_where_it_is_from() -> None:
    model = walked(1, 10)
    ladder = liquidation_ladder(model.book, model.chain.tickers[0], [1])
    assert (ladder.basis, len(ladder)) == ("estimate", 1)
    model.chain[model.chain.tickers[0]].set_oracle_price_integer(5)
    with pytest.raises(StaleError):
        liquidation_ladder(model.book, model.chain.tickers[0])


def test_wrong_questions_are_refused_by_name() -> None:
    book = walked(1, 5).book
    ticker = book.chain.tickers[0]
    with pytest.raises(UnknownMarketError):
        liquidation_ladder(book, "NONE-USD")
    for argument, given in {"prices": [0], "steps": 1, "reach_permille": 0}.items():
        with pytest.raises(InputError) as refused:
            liquidation_ladder(book, ticker, **{argument: given})  # type: ignore[arg-type]
        assert refused.value.argument == argument
    empty = Book(book.chain, max_subaccounts=0, max_positions=0, indexed=True)
    assert liquidation_levels(empty, ticker) == []
    assert liquidation_ladder(empty, ticker, [7]).steps == (LadderStep(7, 0, 0, 0, 0, 0, 0),)
