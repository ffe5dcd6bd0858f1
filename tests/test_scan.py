"""Every account at once: plain integers' figures, whoever shares the work; the book stays whole (B4)."""

import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from dydx_perf import Book, Chain, Position, Subaccount
from dydx_perf.errors import InputError, StaleError, UnknownMarketError, WriterError
from dydx_perf.exact.margin import subaccount_risk
from dydx_perf.generated import generated_accounts
from dydx_perf.scan import Scan, scan, scan_paths

ACCOUNTS = 3_000
KINDS = pytest.mark.parametrize("indexed", [False, True], ids=["plain", "indexed"])
WAYS = [(False, None), *((True, path) for path in scan_paths())]


def crowd(indexed: bool, accounts: int = ACCOUNTS, seed: int = 3) -> Book:
    """Generated accounts, and some of each kind that no column holds whole; every seventh one is gone."""
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=accounts + 20, max_positions=9 * accounts + 200, indexed=indexed)
    generated_accounts(chain, accounts, seed).load_into(book)
    for name in list(book)[::7]:
        book.remove(name)
    if accounts < 100:
        return book
    chosen = list(book)[:5]
    book.update(chosen[0], leverage={"BTC-USD": 900_000, "ETH-USD": 0})
    book.update(chosen[1], leverage={market.ticker: 100_000 for market in chain if not market.is_isolated})
    market = chain["BTC-USD"]
    strange = [
        ("wide", "0", Position(market, quantums=2**130)),
        ("beyond", str(2**70), Position(market, "1")),
        ("past 64 bits", "0", Position(market, quantums=-(2**62), funding_index=market.funding_index)),
        ("quote balance", "5", Position(market, "-2", quote_balance=10**12, custom_imf_ppm=70_000)),
        ("another index", "5", Position(market, "3", funding_index=market.funding_index - 10**9)),
    ]
    for address, usdc, position in strange:
        book.add(Subaccount(chain, address, 0, usdc=usdc, positions=[position]))
    book.add(Subaccount(chain, "nothing", 0))
    book.add(Subaccount(chain, "in debt", 0, usdc="-1"))
    return book


def figures(book: Book) -> dict[int, tuple[int, int, int]]:
    """Of each account by its handle, by plain integers from its inputs."""
    perpetuals = {market.perpetual_id: market.perpetual for market in book.chain}
    risks = {}
    for name in book:
        risk = subaccount_risk(perpetuals, book.subaccount(name).state)
        risks[book.handle(name)] = (risk.nc, risk.imr, risk.mmr)
    return risks


def told(of: Scan) -> dict[int, tuple[int, int, int]]:
    """What a scan says, by handle."""
    rows = zip(of.handle.tolist(), of.nc.tolist(), of.imr.tolist(), of.mmr.tolist(), strict=True)
    return {handle: of.wide.get(row, (nc, imr, mmr)) for row, (handle, nc, imr, mmr) in enumerate(rows)}


def same(one: Scan, other: Scan) -> bool:
    """Whether two scans are equal to the last bit, row by row."""
    arrays = ("handle", "nc", "imr", "mmr")
    return (
        all(getattr(one, name).tobytes() == getattr(other, name).tobytes() for name in arrays)
        and dict(one.wide) == dict(other.wide)
        and (one.height, one.basis) == (other.height, other.basis)
    )


def moved_prices(chain: Chain, seed: int) -> dict[str, int]:
    """Another price integer for most markets."""
    random_ = random.Random(seed)
    return {
        market.ticker: max(1, int(market.oracle_price.integer * random_.uniform(0.3, 2)))
        for market in chain
        if random_.random() < 0.9
    }


@pytest.mark.parametrize(("indexed", "path"), WAYS)
def test_a_scan_equals_plain_integers_account_by_account(indexed: bool, path: str | None) -> None:
    """At the prices of now; and at supposed ones, what plain integers say when the chain has these."""
    book = crowd(indexed)
    expected = figures(book)
    now = scan(book, path=path)
    assert len(now) == len(book)
    assert told(now) == expected
    assert {book.name(now.handle[row])[0] for row in now.wide} == {"wide", "beyond", "past 64 bits"}
    integers = moved_prices(book.chain, seed=1)
    prices = {
        t: book.chain[t].oracle_price.decimal / book.chain[t].oracle_price.integer * p
        for t, p in integers.items()
    }
    supposed = scan(book, prices, path=path)
    assert told(scan(book, path=path)) == expected  # nothing of it stays
    book.apply_block(price_integers=integers)
    assert told(supposed) == figures(book)


@KINDS
def test_the_verdict_of_each_row_is_the_book_s(indexed: bool) -> None:
    """After a crash: those that the book itself calls liquidatable, wide ones among them."""
    book = crowd(indexed)
    book.apply_block(price_integers={m.ticker: m.oracle_price.integer * 6 // 10 for m in book.chain})
    found = scan(book)
    names = {book.name(handle) for handle in found.handle[found.is_liquidatable].tolist()}
    assert names == set(book.liquidatable())
    assert ("past 64 bits", 0) in names
    assert ("in debt", 0) not in names  # no maintenance margin
    assert len(names) > 50


class Recorded:
    """A pool that counts what it is given and which threads do it."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.calls = 0

    def submit(self, call: Callable[[], object], /) -> Future[object]:
        self.calls += 1
        return self.pool.submit(call)


@KINDS
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_any_number_of_threads_gives_the_same_bits(
    indexed: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a book of many pages, whatever part each thread got."""
    monkeypatch.setattr("dydx_perf.scan.processors", lambda: threads + 1)
    book = crowd(indexed, 12_000)
    prices = {market.ticker: market.oracle_price.decimal * 2 for market in book.chain}
    with ThreadPoolExecutor(threads) as pool:
        recorded = Recorded(pool)
        for supposed in (None, prices):
            alone = scan(book, supposed)
            for _ in range(5):
                assert same(scan(book, supposed, executor=recorded), alone)
        assert recorded.calls == 10 * threads
        assert pool.submit(int).result() == 0  # the caller's pool is left as it was


def test_others_do_their_part_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each waits in its first part until the other is in one: alone, neither would get past it."""
    monkeypatch.setattr("dydx_perf.scan.processors", lambda: 2)
    book = crowd(True, 12_000)
    from dydx_perf.scan import scan_pages as kernel

    workers: set[int] = set()
    both = threading.Barrier(2)

    def watched(*arguments: Any) -> int:
        if threading.get_ident() not in workers:
            workers.add(threading.get_ident())
            both.wait(20)
        return kernel(*arguments)

    alone = scan(book)
    monkeypatch.setattr("dydx_perf.scan.scan_pages", watched)
    with ThreadPoolExecutor(1) as pool:
        assert same(scan(book, executor=pool), alone)
    assert len(workers) == 2


@KINDS
def test_a_pool_that_is_busy_or_runs_the_scan_itself_is_not_waited_for(indexed: bool) -> None:
    """One thread, occupied by somebody else or by the very call: the caller does everything."""
    book = crowd(indexed)
    alone, done = scan(book), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            occupied = pool.submit(done.wait, 60)
            assert same(scan(book, executor=pool), alone)
            assert not occupied.done()
        finally:
            done.set()
        assert same(pool.submit(lambda: scan(book, executor=pool)).result(60), alone)


@contextmanager
def within_a_scan(book: Book, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another thread is in the middle of a scan."""
    from dydx_perf.scan import scan_pages as kernel

    begun, go_on = threading.Event(), threading.Event()
    results: list[Scan] = []

    def halted(*arguments: Any) -> int:
        begun.set()
        assert go_on.wait(60)
        return kernel(*arguments)

    alone = scan(book)
    with monkeypatch.context() as patch:
        patch.setattr("dydx_perf.scan.scan_pages", halted)
        thread = threading.Thread(target=lambda: results.append(scan(book)))
        thread.start()
        try:
            assert begun.wait(60)
            patch.undo()
            yield
        finally:
            go_on.set()
            thread.join()
    assert same(results[0], alone)


@KINDS
def test_a_writer_is_refused_during_a_scan_and_a_reader_is_not(
    indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prices, accounts and a second scan are refused with nothing changed; afterwards all of them pass."""
    book = crowd(indexed)
    name = next(iter(book))
    risk, state = book[name], book.to_bytes()
    prices = {"BTC-USD": book.chain["BTC-USD"].oracle_price.integer + 1}
    calls: list[Callable[[], object]] = [
        lambda: book.apply_block(price_integers=prices),
        lambda: book.update(name, usdc="1"),
        lambda: book.remove(name),
        lambda: book.add(Subaccount(book.chain, "one more")),
        lambda: scan(book),
    ]
    with within_a_scan(book, monkeypatch):
        for call in calls:
            with pytest.raises(WriterError):
                call()
        assert book[name] == risk
    assert book.to_bytes() == state
    for call in calls:
        call()


@KINDS
def test_what_fails_in_a_thread_is_raised_and_leaves_the_book_free(
    indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller's own failure and another thread's; and a pool that takes nothing more."""
    book = crowd(indexed, 12_000)
    monkeypatch.setattr("dydx_perf.scan.processors", lambda: 3)
    from dydx_perf.scan import scan_pages as kernel

    caller = threading.get_ident()
    for fails_there in (True, False):
        failed = threading.Event()

        def failing(*arguments: Any, there: bool = fails_there, failed: threading.Event = failed) -> int:
            if (threading.get_ident() == caller) == there:
                failed.set()
                raise ArithmeticError("a part")
            assert failed.wait(20)
            return kernel(*arguments)

        with monkeypatch.context() as patch, ThreadPoolExecutor(2) as pool:
            patch.setattr("dydx_perf.scan.scan_pages", failing)
            with pytest.raises(ArithmeticError):
                scan(book, executor=pool)
        assert book.catch_up() == []
    with pytest.raises(RuntimeError, match="shutdown"):
        scan(book, executor=pool)
    assert len(scan(book)) == len(book)


def in_child(check: Callable[[], bool]) -> bool:
    """Run a check in a process made by fork; a child that hangs is ended by its alarm."""
    child = os.fork()
    if child == 0:
        import signal

        signal.alarm(60)
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@KINDS
def test_a_child_scans_with_and_without_the_pool_it_inherited(indexed: bool) -> None:
    """Its threads are not there any more, and the parent goes on with them."""
    book = crowd(indexed, 12_000)
    with ThreadPoolExecutor(2) as pool:
        alone = scan(book, executor=pool)

        def check() -> bool:
            new = ThreadPoolExecutor(2)
            return all(same(scan(book, executor=one), alone) for one in (pool, None, new))

        assert in_child(check)
        assert same(scan(book, executor=pool), alone)


@KINDS
def test_a_child_forked_within_a_scan_is_its_book_s_writer(
    indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan of the parent's other thread is none of its business: it changes nothing."""
    book = crowd(indexed)
    name = next(iter(book))
    with within_a_scan(book, monkeypatch):

        def check() -> bool:
            book.update(name, usdc="12345")
            return len(scan(book)) == len(book) and told(scan(book)) == figures(book)

        assert in_child(check)
        with pytest.raises(WriterError):
            book.update(name, usdc="12345")


@KINDS
def test_arrays_of_an_earlier_scan_are_written_again(indexed: bool) -> None:
    """Where they have the right size; nothing of what was there is left."""
    book = crowd(indexed)
    first = scan(book)
    for name in ("handle", "nc", "imr", "mmr"):
        getattr(first, name)[:] = -1
    second = scan(book, out=first)
    assert second.nc is first.nc
    assert told(second) == figures(book)
    book.remove(next(iter(book)))
    third = scan(book, out=second)
    assert third.nc is not second.nc
    assert told(third) == figures(book)


@KINDS
def test_a_scan_says_the_oldest_height_and_the_weakest_basis(indexed: bool) -> None:
    """Of all accounts and of the markets they are in; supposed prices are an estimate at best."""
    chain = Chain.sample("v9")
    for market in chain:
        market.set_oracle_price(market.oracle_price.decimal, height=12, basis="chain")
        market.set_funding_index(0, height=12, basis="chain")
        market.set_open_interest(market.open_interest, height=12, basis="chain")
        market.set_liquidity_tier(
            initial_margin_ppm=50_000,
            maintenance_fraction_ppm=600_000,
            open_interest_lower_cap=0,
            open_interest_upper_cap=0,
            height=12,
            basis="chain",
        )
    book = Book(chain, max_subaccounts=4, max_positions=4, indexed=indexed)
    assert (scan(book).height, scan(book).basis, len(scan(book))) == (None, "chain", 0)
    book.add(Subaccount(chain, "a", positions={"BTC-USD": "1"}, height=20))
    assert (scan(book).height, scan(book).basis) == (12, "chain")
    assert scan(book, {"ETH-USD": "1"}).basis == "estimate"
    book.add(Subaccount(chain, "b", height=11))
    assert (scan(book).height, scan(book).basis) == (11, "chain")
    chain["ETH-USD"].set_oracle_price("2000", height=3, basis="sample")
    book.catch_up()
    assert (scan(book).height, scan(book).basis) == (11, "chain")  # nobody is in it
    book.update(("b", 0), positions={"ETH-USD": Position(chain["ETH-USD"], quantums=2**70)}, height=20)
    assert (scan(book).height, scan(book).basis) == (3, "sample")
    assert scan(book, {"ETH-USD": "1"}).basis == "sample"


@KINDS
def test_a_wrong_call_is_refused_by_name_and_leaves_the_book_free(indexed: bool) -> None:
    book = crowd(indexed, 50)
    pool: Any = ProcessPoolExecutor(1)
    pool.shutdown()
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("executor", {"executor": 2}),
        ("executor", {"executor": pool}),
        ("prices", {"prices": [1, 2]}),
        ("prices['BTC-USD']", {"prices": {"BTC-USD": "0"}}),
        ("prices['BTC-USD']", {"prices": {"BTC-USD": 1.5}}),
        ("path", {"path": "abacus"}),
        ("out", {"out": np.zeros(3)}),
    ]
    for argument, options in wrong:
        with pytest.raises(InputError) as refused:
            scan(book, **options)
        assert refused.value.argument == argument
    with pytest.raises(InputError):
        scan(book.chain)  # type: ignore[arg-type]
    with pytest.raises(UnknownMarketError):
        scan(book, {"NONE-USD": "1"})
    book.chain["BTC-USD"].set_oracle_price("1")
    with pytest.raises(StaleError):
        scan(book)
    book.catch_up()
    assert told(scan(book)) == figures(book)


@KINDS
def test_a_chain_that_moves_under_wide_accounts_is_noticed(
    indexed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain integers read the chain itself; what was read of two states is no answer."""
    book = crowd(indexed)
    from dydx_perf.scan import scan_pages as kernel

    def meddling(*arguments: Any) -> int:
        book.chain["BTC-USD"].set_oracle_price("1")
        return kernel(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("dydx_perf.scan.scan_pages", meddling)
        with pytest.raises(StaleError):
            scan(book)
    book.catch_up()
    assert told(scan(book)) == figures(book)
