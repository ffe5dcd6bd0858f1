"""The indexed book of 10,000 to a million accounts: ticks calm and crashing, scans, changes.

By default up to 100,000. A million, in some three minutes more, on a machine that does nothing else:

    DYDX_PERF_BENCH_ACCOUNTS="10000 100000 1000000" make bench ARGS="-k test_indexed"
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from itertools import cycle, islice
from random import Random
from typing import Any

import numpy as np
import pytest
from conditions import numba_is_there
from large_books import MARKETS, book, columns

from dydx_perf import Book
from dydx_perf.exact.margin import is_liquidatable, subaccount_risk
from dydx_perf.exact.state import AssetPosition, PerpetualPosition, SubaccountState
from dydx_perf.ext.indexed_memory import scan_paths
from dydx_perf.scan import scan

SIZES = [int(size) for size in os.environ.get("DYDX_PERF_BENCH_ACCOUNTS", "10000 100000").split()]
SAMPLE = 200
POPULARITY = [1 / (n + 1) for n in range(MARKETS)]
TOP = 0
TICK = "Prices through apply_block, {:,} accounts"
BY_POPULARITY = "market by popularity, 10 bp"
#: share of the first price after each tick of a crash
CRASH = [0.7 ** (tick / 100) for tick in range(1, 101)]


@pytest.fixture(scope="module", params=SIZES)
def accounts(request: pytest.FixtureRequest) -> Iterator[int]:
    """How many; the books of one size are gone before those of the next are made."""
    yield request.param
    held.cache_clear()


@cache
def held(accounts: int, indexed: bool = True) -> Book:
    """A book that the tests of one size share; prices come back after each."""
    return book(accounts, indexed=indexed)


class Flags:
    """Who is liquidatable by all edges told so far."""

    def __init__(self, of: Book) -> None:
        self.book = of
        self.flagged = np.zeros(of.capacity["subaccounts"], bool)
        self.edges = self.most = 0
        for name in of.liquidatable():
            self.flagged[of.handle(name) & 0xFFFFFFFF] = True

    def take(self, crossings: Any) -> None:
        """Take over the edges of a call."""
        edges = crossings.edges
        self.flagged[edges["handle"] & 0xFFFFFFFF] = edges["below"]
        self.edges += len(edges)
        self.most = max(self.most, len(edges))

    def check(self) -> str:
        """Compare with exact figures of everybody, and a sample of these with plain integers."""
        figures = scan(self.book)
        below = (figures.mmr > figures.nc) & (figures.mmr > 0)
        told = self.flagged[figures.handle & 0xFFFFFFFF]
        assert (told == below).all()
        perpetuals = {market.perpetual_id: market.perpetual for market in self.book.chain}
        for row in range(0, len(below), max(1, len(below) // SAMPLE)):
            account = self.book.subaccount(int(figures.handle[row]))
            state = SubaccountState(
                (AssetPosition(0, account.usdc_quantums),),
                tuple(
                    PerpetualPosition(p.market.perpetual_id, p.quantums, p.funding_index, 0)
                    for p in account.positions.values()
                ),
                {},
            )
            assert is_liquidatable(subaccount_risk(perpetuals, state)) == below[row]
        return f"exact; {self.edges:,} crossings, at most {self.most:,} a call"


def moved(of: Book, market: int, share: float) -> dict[str, int]:
    ticker = f"M{market}-USD"
    return {ticker: max(1, round(of.chain[ticker].perpetual.price * (1 + share)))}


Prices = Iterator[dict[str, int]]


def top(of: Book, rng: Random, scale: float, count: int) -> Prices:
    """The largest market, from its price of now."""
    return (moved(of, TOP, rng.gauss(0, scale)) for _ in range(count))


def fixed(of: Book, rng: Random, shares: list[float]) -> Prices:
    """The largest market at shares of its first price."""
    start = of.chain[f"M{TOP}-USD"].perpetual.price
    return ({f"M{TOP}-USD": max(1, round(start * share))} for share in shares)


def popular(of: Book, rng: Random, low: float, high: float, count: int) -> Prices:
    """One market by popularity, moves between two sizes."""
    for _ in range(count):
        scale = 10 ** rng.uniform(np.log10(low), np.log10(high))
        yield moved(of, rng.choices(range(MARKETS), POPULARITY)[0], rng.gauss(0, scale))


def block(of: Book, rng: Random, scale: float, count: int) -> Prices:
    """All markets at once."""
    for _ in range(count):
        prices: dict[str, int] = {}
        for market in range(MARKETS):
            prices |= moved(of, market, rng.gauss(0, scale))
        yield prices


SEQUENCES: dict[str, Callable[[Book, Random], Prices]] = {
    "largest market, 1 bp": partial(top, scale=0.0001, count=1_500),
    "largest market, 10 bp": partial(top, scale=0.001, count=1_500),
    BY_POPULARITY: partial(popular, low=0.001, high=0.001, count=5_000),
    "largest market, 1 %": partial(top, scale=0.01, count=150),
    "largest market, ±20 %": partial(fixed, shares=[0.8, 1.0, 1.2, 1.0] * 8),
    "market by popularity, 1 bp to 20 %": partial(popular, low=0.0001, high=0.2, count=600),
    "crash: largest market -30 % in 100 ticks": partial(fixed, shares=CRASH),
    "crash, and back in 100 ticks": partial(fixed, shares=[*CRASH, *CRASH[::-1]]),
    "block of 300 prices, 5 bp": partial(block, scale=0.0005, count=30),
    "block of 300 prices, 50 bp": partial(block, scale=0.005, count=20),
    "block of 300 prices, 5 %": partial(block, scale=0.05, count=10),
}


def clear(of: Book) -> None:
    """Let the index finish, as idle time would."""
    while not of.tend(100_000):
        pass


@pytest.mark.parametrize("name", SEQUENCES)
def test_ticks(name: str, accounts: int, tail: Any) -> None:
    """Single ticks follow one another without idle time; between blocks there is some, as on the chain."""
    of = held(accounts)
    before = {market.ticker: market.perpetual.price for market in of.chain}
    flags = Flags(of)
    found: list[Any] = []

    def calls() -> Iterator[Callable[[], object]]:
        for prices in SEQUENCES[name](of, Random(accounts)):
            yield lambda prices=prices: found.append(of.apply_block(price_integers=prices))  # type: ignore[misc]
            flags.take(found.pop())
            if name.startswith("block"):
                clear(of)

    gc.collect()
    gc.freeze()
    tail(TICK.format(accounts), name, calls(), flags.check)
    gc.unfreeze()
    of.apply_block(price_integers=before)
    clear(of)


def test_ticks_of_the_plain_book(accounts: int, tail: Any) -> None:
    """Every holder of the market computed anew."""
    of = held(accounts, indexed=False)

    def calls() -> Iterator[Callable[[], object]]:
        for prices in islice(SEQUENCES[BY_POPULARITY](of, Random(accounts)), 300):
            yield lambda prices=prices: of.apply_block(price_integers=prices)  # type: ignore[misc]

    tail(TICK.format(accounts), f"plain book, {BY_POPULARITY}", calls(), lambda: "exact")


# ---- everybody's verdict


def float_inputs(accounts: int) -> tuple[Any, ...]:
    """Columns as floats, and value and margin of one quantum per market."""
    given, chain = columns(accounts), held(accounts).chain
    unit = np.array([m.perpetual.price * 10.0 ** (m.price_exponent + m.atomic_resolution + 6) for m in chain])
    margin = np.array([m.initial_margin_ppm * m.maintenance_fraction_ppm / 1e12 for m in chain])
    return (
        given.usdc.astype(float),
        given.account,
        given.perpetual_id,
        given.quantums.astype(float),
        unit,
        margin,
    )


def numpy_verdicts(usdc: Any, account: Any, market: Any, quantums: Any, unit: Any, margin: Any) -> Any:
    value = quantums * unit[market]
    slack = value - np.abs(value) * margin[market]
    return usdc + np.bincount(account, slack, len(usdc)) < 0


def verdict_loop(usdc, account, market, quantums, unit, margin):  # type: ignore[no-untyped-def]
    slack = usdc.copy()
    for i in range(len(account)):
        value = quantums[i] * unit[market[i]]
        slack[account[i]] += value - abs(value) * margin[market[i]]
    return slack < 0


@pytest.mark.parametrize("path", scan_paths())
def test_scan(path: str, accounts: int, row: Any) -> None:
    """The certified scan of a tick that crosses too many triggers; everybody who is in doubt by integers."""
    of = book(accounts, indexed=True, scan_path=path)
    section = f"The verdict of {accounts:,} accounts"
    positions = of.used["positions"]
    flags = Flags(of)
    flags.take(of.apply_block(price_integers=moved(of, TOP, -0.2)))
    answers = f"{flags.check()}; {positions:,} positions"
    row(section, f"scan, {path}", "a scan", of._store.scan_rows, 1, answers, ours=path == scan_paths()[0])


@pytest.mark.parametrize("way", ["NumPy float64", "Numba float64"])
def test_verdicts_in_float(way: str, accounts: int, row: Any) -> None:
    if way.startswith("Numba") and not numba_is_there():
        return
    compute = numpy_verdicts
    if way.startswith("Numba"):
        from numba import njit

        compute = njit(verdict_loop)
    inputs = float_inputs(accounts)
    found = compute(*inputs)
    wrong = int((found != numpy_verdicts(*inputs)).sum())
    section = f"The verdict of {accounts:,} accounts"
    row(section, way, "a scan", lambda: compute(*inputs), 1, f"not exact; {int(found.sum()) + wrong} flagged")


def test_plain_book_rescan(accounts: int, row: Any) -> None:
    of = held(accounts, indexed=False)
    section = f"The verdict of {accounts:,} accounts"
    row(section, "plain Book.rescan(), all figures", "a scan", of.rescan, 1, "exact")


def test_indexed_and_hostile(accounts: int, row: Any) -> None:
    """Everybody with a position within five quantums of zero: each scan computes them in integers."""
    accounts = min(accounts, 100_000)
    of = book(accounts, indexed=True)
    figures = scan(of)
    rng = np.random.default_rng(3)
    store = of._store
    store.begin()
    for handle, nc, mmr in zip(figures.handle.tolist(), figures.nc, figures.mmr, strict=True):
        slot = store.slot(handle)
        usdc, _, height, basis = store.inputs(slot)
        if mmr:
            store.update(slot, usdc + int(mmr - nc) + int(rng.integers(-5, 6)), [], height, basis, False)
    store.finish()
    store.end()
    flags = Flags(of)
    flags.take(of.apply_block(price_integers=moved(of, TOP, 0.0)))
    answers = f"{flags.check()}; all within the bound"
    section = f"The verdict of {accounts:,} accounts, hostile"
    row(section, "scan, everybody on the line", "a scan", store.scan_rows, 1, answers, ours=True)


# ---- changes of one account


@pytest.mark.parametrize("kind", ["deposit", "resize", "flip", "open and close"])
@pytest.mark.parametrize("door", ["Book.update()", "the store, without the face"])
def test_change(kind: str, door: str, accounts: int, row: Any) -> None:
    """Random accounts, no two in a row near one another in memory; every view is in step after each."""
    of = held(accounts)
    store = of._store
    rng = Random(accounts)
    changes = []
    while len(changes) < 2_000:
        slot = rng.randrange(accounts)
        usdc, rows, _, _ = store.inputs(slot)
        if not rows:
            continue
        market, quantums, index, _, _ = rng.choice(rows)
        new = (market, 2 * quantums, index, 0, 0), (market, quantums, index, 0, 0)
        if kind == "flip":
            new = (market, -quantums, index, 0, 0), (market, quantums, index, 0, 0)
        elif kind == "open and close":
            free = next(
                m for m in (rng.randrange(MARKETS) for _ in range(99)) if m not in {r[0] for r in rows}
            )
            new = (free, 10**6, of.chain[f"M{free}-USD"].funding_index, 0, 0), (free, 0, 0, 0, 0)
        balances = (usdc + 10**6, usdc) if kind == "deposit" else (usdc, usdc)
        changes.append((slot, balances, [[one] for one in new] if kind != "deposit" else [[], []]))
    flags = Flags(of)
    found: list[Any] = []

    def run() -> None:
        for turn in (0, 1):
            for slot, balances, rows in changes:
                store.begin()
                store.update(slot, balances[turn], rows[turn], -1, 2, False)
                found.append(store.finish())
                store.end()
            found[:] = [crossings for crossings in found if crossings]

    def run_face() -> None:
        for turn in (0, 1):
            for slot, balances, rows in changes[:200]:
                handle = store.handle(slot)
                if kind == "deposit":
                    found.append(of.update(handle, usdc=f"{balances[turn]}e-6"))
                else:
                    market, quantums, _, _, _ = rows[turn][0]
                    ticker = f"M{market}-USD"
                    size = f"{quantums}e{of.chain[ticker].atomic_resolution}"
                    found.append(of.update(handle, positions={ticker: size}))
            found[:] = [crossings for crossings in found if crossings]

    count = len(changes)
    if door.startswith("Book"):
        run, count = run_face, 200
    section = f"One change of a random account of {accounts:,}"
    row(section, f"{kind}, {door}", "a change", run, 2 * count, "exact", ours=False)
    for crossings in found:
        flags.take(crossings)
    flags.check()


def test_funding_of_everyone(accounts: int, row: Any) -> None:
    """All 300 indices, as each hour: everybody's collateral moves."""
    of = held(accounts)
    before = {market.ticker: market.funding_index for market in of.chain}
    turns = cycle(({ticker: index + 1_000 for ticker, index in before.items()}, before))
    flags = Flags(of)
    found: list[Any] = []

    def run() -> None:
        found.append(of.apply_block(funding_indices=next(turns)))

    section = f"Everybody at once, {accounts:,} accounts"
    row(section, "funding indices of 300 markets", "a block", run, 1, "exact")
    found.append(of.apply_block(funding_indices=before))
    for crossings in found:
        flags.take(crossings)
    flags.check()
