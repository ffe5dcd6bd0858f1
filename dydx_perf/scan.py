"""Every account of a book at once: exact figures as NumPy arrays, at the prices of now or at others.

Hazards: a scan holds the book as its writer does. While it runs, a change from another thread is refused with
a `WriterError`, and so is a scan while the book is being changed; reads go on. The book must be in step with
its chain. A chain that another thread changes meanwhile is noticed where it could matter: `StaleError`.

Nothing here starts a thread: an executor is the caller's to make and to close. The calling thread takes its
share of the work and never waits for a task that has not begun, so a pool that is busy, that this very call
runs in, or whose threads a fork has left behind costs no more than its help. A child made by fork may scan
its copy of the book with or without the pool it inherited.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from dydx_perf.book import Book
from dydx_perf.errors import InputError
from dydx_perf.ext.account_scan import (
    Prices,
    account_figures,
    exact_scan_paths,
    name_handles,
    page_rows,
    scan_pages,
    weakest_source,
)
from dydx_perf.kernel import BASES
from dydx_perf.market import Amount, Basis, Market

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dydx_perf.ext.book import BookStore
    from dydx_perf.ext.indexed import IndexedStore

__all__ = ["Executor", "Scan", "scan", "scan_paths"]

ESTIMATE = BASES.index("estimate")
#: parts of a scan for each thread: small enough that none waits long for the last one
PARTS_EACH = 8

#: books that are being scanned. A scan changes nothing, so a child's copy is whole: nobody is its writer.
_scanned_now: list[BookStore | IndexedStore] = []


def _leave_in_child() -> None:
    """End the scans that other threads of the parent had begun; a child has none of these threads."""
    while _scanned_now:
        _scanned_now.pop().end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_in_child)


class Task(Protocol):
    """What a pool gives for a call: a `concurrent.futures.Future`."""

    def cancel(self) -> bool:
        """Take it back; False when it has begun."""

    def exception(self) -> BaseException | None:
        """Wait for its end, and return what it raised."""


class Executor(Protocol):
    """A pool of threads: a `concurrent.futures.ThreadPoolExecutor`, or what submits like one."""

    def submit(self, call: Callable[[], object], /) -> Task:
        """Have a call made by another thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """Figures of every account of a book; row i of each array is of one account.

    Attributes
    ----------
    handle : int64 array
        Of each account, in the book's own order of rows.
    nc, imr, mmr : int64 arrays
        Net collateral, initial and maintenance margin requirement: quote quantums, exact, funding settled.
    wide : mapping of int to (int, int, int)
        Rows whose figures 64 bits do not hold: nc, imr and mmr as ints. In the arrays they are 0.
    height : int or None
        Block of the oldest input of any of them; None: not known.
    basis : {"chain", "estimate", "sample"}
        The weakest of any of them; at other prices than the chain's an estimate at best.
    """

    handle: NDArray[np.int64]
    nc: NDArray[np.int64]
    imr: NDArray[np.int64]
    mmr: NDArray[np.int64]
    wide: Mapping[int, tuple[int, int, int]]
    height: int | None
    basis: Basis

    def __len__(self) -> int:
        return len(self.handle)

    @property
    def is_liquidatable(self) -> NDArray[np.bool_]:
        """The chain's verdict on each row: mmr > 0 and mmr > nc."""
        verdict = (self.mmr > 0) & (self.mmr > self.nc)
        for row, (nc, _, mmr) in self.wide.items():
            verdict[row] = mmr > 0 and mmr > nc
        return verdict


def scan_paths() -> tuple[str, ...]:
    """Names of the ways in which an indexed book can be scanned here, the fastest first; all are exact.

    The first was chosen when the package was imported, by what the processor has.
    """
    return exact_scan_paths()


def scan(
    book: Book,
    prices: Mapping[str, Amount] | None = None,
    *,
    executor: Executor | None = None,
    path: str | None = None,
    out: Scan | None = None,
) -> Scan:
    """Compute every account of `book`, plain or indexed, exactly.

    Parameters
    ----------
    book : Book
    prices : mapping of ticker to str, int or Decimal, optional
        Oracle prices to suppose, USDC for one coin; the others are as they are.
    executor : ThreadPoolExecutor, optional
        Threads to share the work with; the answer is the same to the last bit.
    path : str, optional
        Of `scan_paths`; by default the first. A plain book has one way only.
    out : Scan, optional
        An earlier scan, no longer needed: its arrays are written again where they have the right size.

    Returns
    -------
    Scan

    Raises
    ------
    WriterError
        The book is being changed, or scanned, by another thread or within an observer's call.
    StaleError
        The book is behind its chain.
    InputError
        A market that is not there, a wrong price or path, an executor of processes.
    """
    if not isinstance(book, Book):
        raise InputError("book", book, "a Book")
    if out is not None and not isinstance(out, Scan):
        raise InputError("out", out, "a Scan")
    if path is not None and path not in exact_scan_paths():
        raise InputError("path", path, " or ".join(exact_scan_paths()))
    submit = submit_of(executor)
    supposed = supposed_prices(book, prices)
    store = book._store
    store.refuse_stale()
    store.begin()
    _scanned_now.append(store)
    try:
        scanned, is_frozen = _scanned(book, supposed, submit, path, out)
    finally:
        _scanned_now.remove(store)
        store.end()
    if not is_frozen:
        store.refuse_stale()
    return scanned


def submit_of(executor: object) -> Callable[[Callable[[], object]], Task] | None:
    """Return how work is handed to the caller's threads; None: not at all."""
    if executor is None:
        return None
    submit = getattr(executor, "submit", None)
    processes = sys.modules.get("concurrent.futures.process")  # there is none as long as nobody loaded it
    if not callable(submit) or (processes and isinstance(executor, processes.ProcessPoolExecutor)):
        raise InputError("executor", executor, "a ThreadPoolExecutor: its threads share the book's memory")
    return cast(Callable[[Callable[[], object]], Task], submit)


def supposed_prices(book: Book, prices: Mapping[str, Amount] | None) -> dict[int, int]:
    """Return price integers by market index."""
    if prices is None:
        return {}
    if not isinstance(prices, Mapping):
        raise InputError("prices", prices, "a mapping of ticker to price")
    supposed = {}
    for ticker, price in prices.items():
        market = book.chain[ticker]
        exponent = market.price_exponent
        supposed[market._index] = Market._checked_price(f"prices[{ticker!r}]", price, exponent)
    return supposed


def _scanned(
    book: Book,
    supposed: Mapping[int, int],
    submit: Callable[[Callable[[], object]], Task] | None,
    path: str | None,
    out: Scan | None,
) -> tuple[Scan, bool]:
    """Scan a book that does not change meanwhile; also tell whether nothing was read of its chain."""
    import numpy as np

    store = book._store
    given = None
    if supposed:
        given = np.zeros(len(book.chain), np.uint64)
        for market, price in supposed.items():
            given[market] = price
        given = given[: store.used["markets"]]
    markets = Prices(store, given)
    starts = page_rows(store)
    rows, pages = int(starts[-1]), len(starts) - 1
    if out is not None and len(out) == rows:
        handle, nc, imr, mmr = out.handle, out.nc, out.imr, out.mmr
    else:
        handle, nc, imr, mmr = (np.empty(rows, np.int64) for _ in range(4))
    slot, unknown = np.empty(rows, np.uint32), np.empty(rows, np.int64)
    threads = 1 if submit is None else processors()
    step = max(1, -(-pages // (threads * PARTS_EACH))) if threads > 1 else max(1, pages)
    found: list[tuple[int, int]] = []

    def part(first: int) -> None:
        last = min(first + step, pages)
        begin, end = int(starts[first]), int(starts[last])
        missing = scan_pages(store, markets, first, last, nc, imr, mmr, slot, unknown[begin:], path)
        name_handles(store, slot[begin:end], handle[begin:end])
        if missing:
            found.append((begin, missing))

    shared(deque(range(0, pages, step)), part, submit, threads - 1)
    wide, is_frozen = {}, True
    for begin, missing in found:
        for row in unknown[begin : begin + missing].tolist():
            place = int(slot[row])
            figures = account_figures(store, markets, place)
            if figures is None:
                is_frozen = False
                name = store.names[place]
                usdc, held, _, _ = store.inputs(place)
                figures = book._plain(name, usdc, held, store.is_beyond(place), supposed)
            if all(-(2**63) <= figure < 2**63 for figure in figures):
                nc[row], imr[row], mmr[row] = figures
            else:
                wide[row] = figures
    height, basis = weakest_source(store)
    basis = max(basis, ESTIMATE) if supposed else basis
    return Scan(
        handle, nc, imr, mmr, wide, None if height < 0 else height, cast(Basis, BASES[basis])
    ), is_frozen


def processors() -> int:
    """How many this process may use."""
    affinity: Callable[[int], set[int]] | None = getattr(os, "sched_getaffinity", None)
    return max(2, len(affinity(0)) if affinity is not None else os.cpu_count() or 2)


def shared(
    parts: deque[int],
    work: Callable[[int], None],
    submit: Callable[[Callable[[], object]], Task] | None,
    helpers: int,
) -> None:
    """Do `work` for each of `parts` in this thread and others; none is at it when this returns or raises."""

    def turn() -> None:
        try:
            while True:
                try:
                    first = parts.popleft()
                except IndexError:
                    return
                work(first)
        except BaseException:
            parts.clear()  # nobody goes on with what has failed
            raise

    tasks: list[Any] = []
    try:
        if submit is not None:
            for _ in range(min(helpers, len(parts) - 1)):
                tasks.append(submit(turn))
        turn()
    finally:
        parts.clear()
        begun = [task for task in tasks if not task.cancel()]
        errors = [error for task in begun if (error := task.exception()) is not None]
    if errors:
        raise errors[0]
