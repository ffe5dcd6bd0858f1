"""A book of 100,000 accounts: what a price costs per holder, a scan per position, a load, a snapshot."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from books import ACCOUNTS, CHECKED, book, empty_book, given, plain, plain_markets, plain_risk

from dydx_perf import Book

PRICE = "One price of a book of 100,000 accounts, per holder of the market"
SCAN = "Every account of that book anew, per position"
ACCOUNT = "One account of that book"
WHOLE = "The whole book"
HOLDERS = "a holder"


def check(held: Book) -> str:
    """Compare accounts, figure by figure, with plain integers."""
    markets = plain_markets(held.chain)
    for row in range(0, ACCOUNTS, ACCOUNTS // CHECKED):
        risk = held[given().addresses[row], 0]
        assert (risk.nc, risk.imr, risk.mmr) == plain_risk(plain()[row], markets), row
    return "exact"


def alternating(held: Book, ticker: str) -> Callable[[], object]:
    """Set the price of a market to and fro by a hundredth of a percent."""
    price = held.chain[ticker].perpetual.price
    prices = cycle((price + price // 10_000 + 1, price))
    return lambda: held.apply_block(price_integers={ticker: next(prices)})


@pytest.mark.parametrize("place", [0, 1, 10])
def test_price(place: int, row: Any) -> None:
    """Through the public door: the chain's own price, every holder, every crossing."""
    held = book()
    ticker = held.chain.tickers[place]
    count = held.holders(ticker)
    step = alternating(held, ticker)
    step()
    answers = f"{check(held)}; {count:,} holders"
    row(
        PRICE, f"Book, market {place + 1} by size", HOLDERS, step, count, answers, ours=place == 0, goal_ns=10
    )


def test_price_in_plain_objects(row: Any) -> None:
    """A dictionary of objects, the holders of the largest market computed anew."""
    markets = plain_markets(book().chain)
    holders = [account for account in plain().values() if 0 in account.positions][:2_000]
    liquidatable: set[int] = set()

    def run() -> None:
        for account in holders:
            nc, _, mmr = plain_risk(account, markets)
            if mmr > nc:
                liquidatable.add(id(account))
            else:
                liquidatable.discard(id(account))

    row(PRICE, "dictionary of Python objects", HOLDERS, run, len(holders), "exact")


def test_funding(row: Any) -> None:
    """A funding index moves every holder's collateral."""
    held = book()
    ticker = held.chain.tickers[0]
    index = held.chain[ticker].funding_index
    indices = cycle((index + 1_000, index))

    def run() -> None:
        held.apply_block(funding_indices={ticker: next(indices)})

    row(PRICE, "Book, a funding index instead", HOLDERS, run, held.holders(ticker), check(held))


def test_scan(row: Any) -> None:
    """Every row anew from its inputs, in C, one thread, no vector instructions of our own."""
    held = book()
    positions = held.used["positions"]
    held.rescan()
    row(SCAN, "Book.rescan()", "a position", held.rescan, positions, check(held), ours=True, goal_ns=10)


def test_scan_in_plain_objects(row: Any) -> None:
    """The same in a dictionary of objects."""
    markets = plain_markets(book().chain)
    some = list(plain().values())[:2_000]
    count = sum(len(account.positions) for account in some)

    def run() -> None:
        for account in some:
            plain_risk(account, markets)

    row(SCAN, "dictionary of Python objects", "a position", run, count, "exact")


def test_block(row: Any) -> None:
    """All 300 prices at once, then whoever crossed; the chain's Python objects take their part of it."""
    held = book()
    before = {market.ticker: market.perpetual.price for market in held.chain}
    blocks = cycle(({ticker: price + price // 2_000 + 1 for ticker, price in before.items()}, before))

    def run() -> None:
        held.apply_block(price_integers=next(blocks))

    row(WHOLE, "a block of 300 prices", "a block", run, 1, check(held))


def test_read(row: Any) -> None:
    held = book()
    handles = [held.handle((address, 0)) for address in given().addresses[:1_000]]

    def run() -> None:
        for handle in handles:
            held[handle]

    row(ACCOUNT, "book[handle]", "a call", run, len(handles), "exact", ours=True)
    assert held[handles[0]] == held[given().addresses[0], 0]


def test_update(row: Any) -> None:
    held = book()
    ticker = held.chain.tickers[0]
    key = held.handle((given().addresses[0], 0))
    before = held[key]
    sizes = cycle(("0.5", "0.25"))

    def run() -> None:
        held.update(key, positions={ticker: next(sizes)})

    row(ACCOUNT, "book.update(handle, positions=...)", "a call", run, 1, "exact")
    original = plain()[0].positions.get(0)
    restored = 0 if original is None else original.quantums
    held._store.update(held._store.slot(key), plain()[0].usdc, [(0, restored, 0, 0, 0)], -1, 1, False)
    held.catch_up()
    assert held[key] == before


def test_at_risk(row: Any) -> None:
    held = book()
    riskiest = held.at_risk(20)
    assert riskiest[0].risk.nc * riskiest[1].risk.mmr <= riskiest[1].risk.nc * riskiest[0].risk.mmr
    row(WHOLE, "at_risk(20)", "a call", lambda: held.at_risk(20), 1, "exact")


def test_load(row: Any) -> None:
    """From NumPy columns into a book that is there already; its memory is told beside."""
    columns = given().columns
    needed = Book.memory_needed(max_subaccounts=ACCOUNTS, max_positions=len(given().account), max_markets=364)
    books = [empty_book() for _ in range(12)]
    made: list[Book] = []

    def run() -> None:
        held = books.pop() if books else empty_book()
        held.load_columns(given().addresses, given().numbers, given().usdc, **columns)
        made[:] = [held]

    each = f"{needed.per_subaccount} B an account, {needed.per_position} B a position"
    told = f"{each}, {needed.total / 2**20:.0f} MiB in all"
    row(WHOLE, "load of 100,000 accounts", "a load", run, 1, told, ours=True, goal_ns=0.2e9)
    check(made[0])


@pytest.mark.parametrize("way", ["save", "restore"])
def test_snapshot(way: str, row: Any, tmp_path: Path) -> None:
    held, path = book(), tmp_path / "book"
    held.save(path)
    twin = Book.restore(path)
    assert twin.to_bytes() == held.to_bytes()
    run = {"save": lambda: held.save(path), "restore": lambda: Book.restore(path)}[way]
    row(WHOLE, way, "a call", run, 1, "equal to the last bit", goal_ns=1e9)
