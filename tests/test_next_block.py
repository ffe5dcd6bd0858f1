"""Liquidations of the next block follow the chain's rules for each account, in the chain's order (B11)."""

import os
import random
from fractions import Fraction
from functools import cmp_to_key
from hashlib import sha256
from typing import Any

import pytest
from scenario_cases import state, walked

from dydx_perf import Book, Chain, InputError, Market, StaleError, Subaccount, UnknownSubaccountError
from dydx_perf.exact import liquidation as rules
from dydx_perf.exact.margin import is_liquidatable, notional, subaccount_risk
from dydx_perf.generated import generated_accounts
from dydx_perf.next_block import NextLiquidation, liquidation_info, next_liquidations

DEEP = os.environ.get("DYDX_PERF_EXAMPLES") == "deep"


def fallen(count: int = 400, *, indexed: bool = True, keep: int = 70) -> Book:
    """Generated accounts after a fall of all markets."""
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=count, max_positions=9 * count, indexed=indexed)
    generated_accounts(chain, count, seed=3).load_into(book)
    book.apply_block(
        price_integers={m.ticker: max(m.oracle_price.integer * keep // 100, 1) for m in chain}, basis="sample"
    )
    return book


def by_the_rules(book: Book, name: tuple[str, int]) -> dict[int, tuple[Any, ...]]:
    """What the chain's rules give for each position of an account, in plain integers."""
    account = book.subaccount(name)
    perpetuals = {m.perpetual_id: m.perpetual for m in book.chain}
    found = {}
    for position in account.state.perpetual_positions:
        case = rules.Liquidation(
            perpetuals, account.state, position.perpetual_id, book.chain.parameters.liquidations
        )
        order = rules.liquidation_order(case)
        fund = rules.insurance_fund_delta(case, order.is_buy, order.base_quantums, order.subticks)
        worth = notional(perpetuals[position.perpetual_id], order.base_quantums)
        found[position.perpetual_id] = (
            order.is_buy, order.base_quantums, order.subticks,
            Fraction(*order.distance_from_oracle_price), worth, fund,
        )  # fmt: skip
    return found


@pytest.mark.parametrize("indexed", [True, False])
def test_every_possible_order_is_the_chains(indexed: bool) -> None:
    """Side, size, limit, distance, notional and fund of each position of each liquidatable account."""
    book = fallen(indexed=indexed)
    found = next_liquidations(book, max_attempts=1_000)
    expected = {
        (*name, perpetual_id): order
        for name in book.liquidatable()
        for perpetual_id, order in by_the_rules(book, name).items()
    }
    assert len(expected) > 50
    assert {
        (o.address, o.number, o.perpetual_id): (
            o.is_buy, o.base_quantums, o.subticks, o.distance, o.quote_quantums, o.fund_delta,
        )
        for o in found.orders
    } == expected  # fmt: skip
    assert found.refused == ()
    assert found.is_whole
    assert found.candidates == found.liquidatable == found.attempts == len(book.liquidatable())
    held = {name: len(book.subaccount(name).positions) for name in book.liquidatable()}
    assert all(o.is_certain == (held[o.address, o.number] == 1) for o in found.orders)


@pytest.mark.parametrize("seed", range(100 if DEEP else 5))
@pytest.mark.parametrize("wild", [False, True])
def test_accounts_of_any_size_are_as_the_rules_say(seed: int, wild: bool) -> None:
    """Past 128 bits, too; where the rules refuse a position its refusal is told."""
    model = walked(seed, 40, wild=wild, indexed=bool(seed % 2))
    perpetuals = {m.perpetual_id: m.perpetual for m in model.chain}
    config = model.chain.parameters.liquidations
    found = next_liquidations(model.book)
    orders = {(o.address, o.number, o.perpetual_id): o for o in found.orders}
    refused = {(r.address, r.number, r.market) for r in found.refused}
    seen = 0
    for name, account in model.accounts.items():
        held = state(model.chain, account)
        if not is_liquidatable(subaccount_risk(perpetuals, held)):
            continue
        for position in held.perpetual_positions:
            if not position.quantums:
                continue
            seen += 1
            case = rules.Liquidation(perpetuals, held, position.perpetual_id, config)
            ticker = model.chain[position.perpetual_id].ticker
            try:
                expected = rules.liquidation_order(case)
                fund = rules.insurance_fund_delta(
                    case, expected.is_buy, expected.base_quantums, expected.subticks
                )
            except Exception:  # noqa: BLE001 - whatever the rules say no with
                assert (*name, ticker) in refused
                continue
            order = orders[(*name, position.perpetual_id)]
            assert (order.is_buy, order.base_quantums, order.subticks, order.fund_delta) == (
                expected.is_buy, expected.base_quantums, expected.subticks, fund,
            )  # fmt: skip
            assert order.distance == Fraction(*expected.distance_from_oracle_price)
    assert seen == len(orders) + len(refused)


def test_orders_stand_in_the_chains_order() -> None:
    """Largest distance first, then largest size, then smallest digest; compared pair by pair."""
    orders = next_liquidations(fallen(), max_attempts=1_000).orders

    def compare(one: NextLiquidation, other: NextLiquidation) -> int:
        if one.distance != other.distance:
            return -1 if one.distance > other.distance else 1
        if one.quote_quantums != other.quote_quantums:
            return -1 if one.quote_quantums > other.quote_quantums else 1
        return -1 if one.digest < other.digest else 1

    shuffled = random.Random(1).sample(orders, len(orders))
    assert tuple(sorted(shuffled, key=cmp_to_key(compare))) == orders


def test_equal_orders_are_told_apart_by_their_digest() -> None:
    """Twins of one account: same distance, same size."""
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=9, max_positions=9, indexed=True)
    price = chain["BTC-USD"].oracle_price.decimal
    for number in range(9):
        book.add(Subaccount(chain, "dydx1twin", number, usdc=-price * 99 // 100, positions={"BTC-USD": 1}))
    found = next_liquidations(book)
    assert len({order.distance for order in found.orders}) == 1
    digests = [order.digest for order in found.orders]
    assert digests == sorted(digests)
    assert digests == [sha256(liquidation_info(o.address, o.number, 0)).digest() for o in found.orders]
    assert [o.number for o in found.orders] != sorted(o.number for o in found.orders)


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        (("abc", 5, 300), b"\x0a\x07\x0a\x03abc\x10\x05\x10\xac\x02"),
        (("abc", 0, 0), b"\x0a\x05\x0a\x03abc"),
        (("a" * 130, 127, 128), b"\x0a\x87\x01\x0a\x82\x01" + b"a" * 130 + b"\x10\x7f\x10\x80\x01"),
    ],
)
def test_what_is_hashed_is_the_protocol_buffer(name: tuple[str, int, int], encoded: bytes) -> None:
    """By hand, from the format's own description."""
    assert liquidation_info(*name) == encoded


def test_a_long_list_is_tried_from_a_random_place() -> None:
    """The chance of each, and bounds on what is tried; with the generator given, the very selection."""
    book = fallen()
    names = book.liquidatable()
    whole = next_liquidations(book, max_attempts=1_000)
    some = next_liquidations(book, max_attempts=7)
    assert not some.is_whole
    assert some.chance == Fraction(7, len(names))
    assert some.orders == whole.orders
    for offset in range(len(names)):

        def intn(count: int, offset: int = offset) -> int:
            return offset % count

        chosen = next_liquidations(book, candidates=names, max_attempts=7, intn=intn)
        tried = [names[(offset + i) % len(names)] for i in range(7)]
        assert {(o.address, o.number) for o in chosen.orders} == set(tried)
        assert all(o.is_certain for o in chosen.orders)
        for order in chosen.orders:
            account = book.subaccount((order.address, order.number)).state
            ids = [p.perpetual_id for p in account.perpetual_positions]
            assert order.perpetual_id == rules.position_to_liquidate(ids, (), offset % len(ids))
        low, high = some.attempted_notional
        assert low <= sum(order.quote_quantums for order in chosen.orders) <= high
        for fund in {order.fund for order in chosen.orders}:
            paid = sum(max(-o.fund_delta, 0) for o in chosen.orders if o.fund == fund)
            assert paid <= some.fund_losses[fund]


def test_the_fund_is_asked_for_what_it_may_lose() -> None:
    """Cross markets share one fund, an isolated one has its own; a balance tells the headroom."""
    book = fallen(keep=40)
    found = next_liquidations(book, fund_balances={"insurance_fund": 5, "insurance_fund:33": 9})
    assert found.fund_losses["insurance_fund"] > 5
    assert found.headroom["insurance_fund"] == 5 - found.fund_losses["insurance_fund"]
    assert found.headroom["insurance_fund:33"] == 9
    chain = Chain.sample("v9")
    isolated = next(market for market in chain if market.is_isolated)
    small = Book(chain, max_subaccounts=1, max_positions=1, indexed=True)
    value = isolated.oracle_price.decimal * 1000
    small.add(Subaccount(chain, "dydx1alone", 0, usdc=-int(value), positions={isolated.ticker: 1000}))
    (order,) = next_liquidations(small).orders
    assert order.fund == f"insurance_fund:{isolated.perpetual_id}"


def test_who_is_safe_by_now_uses_up_its_place() -> None:
    """A list of the past: skipped, counted, and never an order; an inactive book cannot match."""
    book = fallen()
    low = book.liquidatable()[:3]
    safe = [name for name in book if name not in set(book.liquidatable())][:4]
    found = next_liquidations(book, candidates=[*safe, *low])
    assert (found.candidates, found.liquidatable, found.attempts) == (7, 3, 7)
    assert {(o.address, o.number) for o in found.orders} == set(low)
    ticker = found.orders[0].market
    assert all(o.is_matchable for o in found.orders)
    book.chain[ticker].set_order_book(status="PAUSED")
    for order in next_liquidations(book, candidates=low).orders:
        assert order.is_matchable == (order.market != ticker)
    with pytest.raises(UnknownSubaccountError):
        next_liquidations(book, candidates=[("nobody", 0)])


def test_wrong_questions_are_refused() -> None:
    book = fallen()
    for argument, given in {
        "max_attempts": -1, "fund_balances": {"insurance_fund": -1}, "intn": 3,
    }.items():  # fmt: skip
        with pytest.raises(InputError) as refused:
            next_liquidations(book, **{argument: given})  # type: ignore[arg-type]
        assert refused.value.argument.startswith(argument)
    with pytest.raises(InputError):
        next_liquidations(book, intn=lambda count: count)
    book.chain["BTC-USD"].set_oracle_price("1")
    with pytest.raises(StaleError):
        next_liquidations(book)
    assert isinstance(book.chain["BTC-USD"], Market)
