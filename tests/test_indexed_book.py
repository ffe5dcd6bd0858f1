"""The indexed book equals the plain one and two rescans by plain integers after every change (B1-B3, B8)."""

import os
import random
from typing import Any

import numpy as np
import pytest
from book_model import Model
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf import Book, CapacityError, Chain, InputError, Position, Subaccount
from dydx_perf.ext.account_scan import Prices, count_pages, exact_scan_paths, scan_pages
from dydx_perf.ext.indexed_faults import find_fault
from dydx_perf.ext.indexed_memory import memory_needed, scan_paths
from dydx_perf.ext.names import NameTable
from dydx_perf.generated import generated_accounts

DEEP = os.environ.get("DYDX_PERF_EXAMPLES") == "deep"
SEEDS = range(100 if DEEP else 8)
STEPS = 1_000 if DEEP else 120


def sample_chain() -> Chain:
    return Chain.sample("v9")


def twins(accounts: int, seed: int) -> tuple[Book, Book]:
    """The same generated accounts in a plain and in an indexed book, each on a chain of its own."""
    books = []
    for indexed in (False, True):
        chain = sample_chain()
        book = Book(chain, max_subaccounts=accounts, max_positions=9 * accounts, indexed=indexed)
        generated_accounts(chain, accounts, seed).load_into(book)
        books.append(book)
    return books[0], books[1]


def edges(crossings: list[Any]) -> list[Any]:
    """Crossings in an order of their own: two books report the same edges in different orders."""
    return sorted((c.address, c.number, c.threshold or (0, 0), c.below, c.risk.distance) for c in crossings)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("wild", [False, True])
def test_an_indexed_book_equals_two_full_rescans(seed: int, wild: bool) -> None:
    """Figures, crossings, ranking, snapshots and the index's invariants, after any sequence of changes."""
    model = Model(seed, wild=wild, indexed=True)
    for step in range(STEPS):
        try:
            model.step()
        except BaseException as error:
            error.add_note(f"seed {seed}, step {step}")
            raise


# calm, jumps and crashes: the index alone, and scans with a backlog
REGIMES = {"calm": (0.0001, 0.001), "jumps": (0.01, 0.2), "mixed": (0.0001, 0.3)}


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("seed", range(40 if DEEP else 2))
def test_an_indexed_book_equals_the_plain_one_tick_by_tick(regime: str, seed: int) -> None:
    """Prices one by one and in blocks, funding of all, positions and balances in between."""
    random_ = random.Random(f"{regime} {seed}")
    plain, indexed = twins(1_500, seed)
    tickers = [market.ticker for market in plain.chain if not market.is_isolated]
    names = list(plain)
    for step in range(2_000 if DEEP else 150):
        scale = random_.choice(REGIMES[regime])
        chosen = random_.sample(tickers, random_.choice([1, 1, 1, 1, len(tickers)]))
        changes: dict[str, Any] = {
            "price_integers": {
                ticker: max(1, int(plain.chain[ticker].oracle_price.integer * (1 + random_.gauss(0, scale))))
                for ticker in chosen
            }
        }
        if random_.random() < 0.1:
            changes["funding_indices"] = {
                ticker: plain.chain[ticker].funding_index + random_.randrange(-(10**8), 10**8)
                for ticker in random_.sample(tickers, random_.choice([1, 4, len(tickers)]))
            }
        assert edges(plain.apply_block(**changes)) == edges(indexed.apply_block(**changes)), step
        name = random_.choice(names)
        change: dict[str, Any] = (
            {"usdc": f"{random_.randrange(-(10**9), 10**9)}e-5"}
            if random_.random() < 0.5
            else {"positions": {random_.choice(tickers): str(random_.randrange(-40, 41) * 10)}}
        )
        assert edges(plain.update(name, **change)) == edges(indexed.update(name, **change)), step
        assert plain[name] == indexed[name]
        if random_.random() < 0.2:
            indexed.tend(random_.randrange(1, 200))
        if step % 30 == 0:
            assert find_fault(indexed._store) is None
    assert {name: plain[name] for name in names} == {name: indexed[name] for name in names}
    assert sorted(plain.liquidatable()) == sorted(indexed.liquidatable())


@pytest.mark.parametrize("path", scan_paths())
def test_each_scan_gives_the_same_verdicts(path: str) -> None:
    """After a crash, by the scan of each kind of processor that this one can be."""
    chain = sample_chain()
    made = generated_accounts(chain, 3_000, seed=5)
    book = Book(chain, max_subaccounts=3_000, max_positions=27_000, indexed=True, scan_path=path)
    made.load_into(book)
    plain = Book(chain, max_subaccounts=3_000, max_positions=27_000)
    made.load_into(plain)
    fall = {market.ticker: market.oracle_price.integer * 7 // 10 for market in chain}
    assert book.apply_block(price_integers=fall)
    plain.catch_up()
    book._store.scan_rows()
    assert sorted(book.liquidatable()) == sorted(plain.liquidatable())
    assert find_fault(book._store) is None


@pytest.mark.parametrize("held", [1, 2, 3, 5, 17, 30])
@pytest.mark.parametrize("side", [1, -1])
def test_accounts_within_quantums_of_the_line_are_decided_exactly(held: int, side: int) -> None:
    """The bound's own ground: nc - mmr from -6 to 6 quantums a position, by look and by scan."""
    chain = sample_chain()
    random_ = random.Random(held * side)
    tickers = [market.ticker for market in chain if not market.is_isolated][:held]
    book = Book(chain, max_subaccounts=200, max_positions=200 * held, indexed=True)
    distances = range(-6 * held, 6 * held + 1, max(1, held // 8))
    for number, distance in enumerate(distances):
        positions = []
        for ticker in tickers:
            market = chain[ticker]
            size = random_.randrange(1, 10**11) * random_.choice([side, side, -side])
            positions.append(Position(market, quantums=size, funding_index=market.funding_index))
        account = Subaccount(chain, "dydx1edge", number, usdc="0", positions=positions)
        risk = account.risk
        account.set_usdc(f"{distance - (risk.nc - risk.mmr)}e-6")
        assert account.risk.distance == distance
        book.add(account)
        assert (("dydx1edge", number) in book.liquidatable()) == (distance < 0)
    below = {("dydx1edge", number) for number, distance in enumerate(distances) if distance < 0}
    book._store.scan_rows()
    assert set(book.liquidatable()) == below
    for ticker in tickers:  # there and back: each tick decides them anew
        price = chain[ticker].oracle_price.integer
        for moved in (price + 1, price - 1, price):
            book.apply_block(price_integers={ticker: max(1, moved)})
            assert set(book.liquidatable()) == {
                name for name in book if book[name].mmr > 0 and book[name].nc < book[name].mmr
            }
    assert set(book.liquidatable()) == below


@pytest.mark.parametrize("path", exact_scan_paths())
def test_the_exact_scan_equals_every_risk(path: str) -> None:
    """Of every account, at the prices of now and at others, page by page."""
    _, book = twins(2_000, seed=11)
    name = next(iter(book))
    book.update(name, leverage={"BTC-USD": 900_000})
    pages, rows = count_pages(book._store)
    nc, imr, mmr, unknown = (np.zeros(rows, np.int64) for _ in range(4))
    slot = np.zeros(rows, np.uint32)
    moved = np.array([market.oracle_price.integer * 11 // 10 for market in book.chain], np.uint64)
    for prices in (None, moved):
        given_prices = Prices(book._store, prices)
        assert scan_pages(book._store, given_prices, 0, pages, nc, imr, mmr, slot, unknown, path) == 1
        if prices is not None:
            book.apply_block(
                price_integers={m.ticker: int(p) for m, p in zip(book.chain, prices, strict=True)}
            )
        for row in range(rows):
            if row != unknown[0]:
                risk = book[book._store.names[int(slot[row])]]
                assert (risk.nc, risk.imr, risk.mmr) == (nc[row], imr[row], mmr[row])
    assert book._store.names[int(slot[unknown[0]])] == name


@pytest.mark.parametrize("seed", range(12))
def test_any_spread_of_positions_fits_as_promised(seed: int) -> None:
    """The last position of the promise comes in, and one more is refused with nothing changed."""
    random_ = random.Random(seed)
    chain = sample_chain()
    tickers = [market.ticker for market in chain if not market.is_isolated]
    book = Book(chain, max_subaccounts=300, max_positions=700, indexed=True)
    left = 700
    while left and len(book) < 300:
        most = random_.choice([1, 2, 5, 17, len(tickers)])
        held = min(left, random_.randint(1, most), len(tickers))
        positions = dict.fromkeys(random_.sample(tickers, held), "10")
        book.add(Subaccount(chain, "dydx1spread", len(book), usdc="1000000", positions=positions))
        left -= held
    assert find_fault(book._store) is None
    if left == 0:
        name = next(iter(book))
        free = next(t for t in tickers if t not in book.subaccount(name).positions)
        with pytest.raises(CapacityError):
            book.update(name, positions={free: "10"})
        assert find_fault(book._store) is None


def test_a_million_subaccounts_take_what_was_told() -> None:
    """Three million positions, names and index included, in less than 220 MB; nobody need take it to know."""
    assert memory_needed(1_000_000, 3_000_000, 512, 1024) < 220_000_000
    book = Book(sample_chain(), max_subaccounts=1_000, max_positions=3_000, max_markets=64, indexed=True)
    assert book.memory == memory_needed(1_000, 3_000, 64, 1024)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("max_subaccounts", -1), ("max_positions", 1.5), ("max_markets", 1 << 16), ("max_thresholds", "1")],
)
def test_a_wrong_capacity_is_refused_by_name(argument: str, value: Any) -> None:
    given_room = {"max_subaccounts": 1, "max_positions": 1, argument: value}
    with pytest.raises(InputError) as refused:
        Book(sample_chain(), indexed=True, **given_room)
    assert refused.value.argument == argument


def test_an_unknown_scan_is_refused_by_name() -> None:
    with pytest.raises(InputError) as refused:
        Book(sample_chain(), max_subaccounts=1, max_positions=1, indexed=True, scan_path="abacus")
    assert refused.value.argument == "path"


ADDRESSES = st.one_of(
    st.text(alphabet="qpzry9x8gf2tvdw0s3jn54khce6mua7l", min_size=38, max_size=38).map("dydx1".__add__),
    st.text(min_size=1, max_size=60),
    st.sampled_from(["a", "dydx1", "x" * 27, "x" * 28, "dydx1" + "b" * 38, "é" * 5]),
)


@given(st.lists(st.tuples(ADDRESSES, st.integers(0, 3), st.booleans()), max_size=60))
def test_names_are_kept_like_in_a_dictionary(steps: list[tuple[str, int, bool]]) -> None:
    """Addresses of the chain, short, long and foreign ones: found by name and by slot until dropped."""
    chain = sample_chain()
    book = Book(chain, max_subaccounts=64, max_positions=1, indexed=True)
    held: dict[tuple[str, int], int] = {}
    for address, number, drops in steps:
        name = (address, number)
        if name in held and drops:
            book.remove(name)
            del held[name]
        elif name not in held:
            book.add(Subaccount(chain, address, number))
            held[name] = book.handle(name)
        assert set(book) == set(held)
        for one, handle in held.items():
            assert (book.handle(one), book.name(handle)) == (handle, one)
    assert len(book) == len(held)


def test_a_table_of_names_that_is_full_still_finds_them() -> None:
    """Names that fall into one another's buckets, taken out in any order."""
    names = [
        (f"dydx1{'q' * 34}{a}{b}qq", number) for a in "qpzry9x8" for b in "gf2tvdw0" for number in range(4)
    ]
    book = Book(sample_chain(), max_subaccounts=len(names), max_positions=1, indexed=True)
    for address, number in names:
        book.add(Subaccount(book.chain, address, number))
    random.Random(1).shuffle(names)
    while names:
        book.remove(names.pop())
        assert set(book) == set(names)
    assert len(NameTable(4)) == 0
