"""Rings of fixed size: the newest rows in order, without a copy and without more memory (B9)."""

import ctypes
import resource
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from book_cases import BTC, ETH, chain

from dydx_perf.errors import CapacityError, InputError, UnknownMarketError
from dydx_perf.ext.ring import Ring
from dydx_perf.history import COLUMNS, History

try:
    import pandas
except ModuleNotFoundError:  # frames are for who has it
    pandas = None  # type: ignore[assignment]


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 64])
def test_the_newest_rows_are_those_of_a_list(capacity: int) -> None:
    """However often the ring has turned, for every count."""
    ring = Ring(capacity, "qQd")
    rows: list[tuple[int, int, float]] = []
    for n in range(3 * capacity + 2):
        for count in range(min(n, capacity) + 1):
            newest = rows[n - count : n]
            for column, dtype in enumerate((np.int64, np.uint64, np.float64)):
                view = ring.view(column, count)
                assert view.dtype == dtype
                assert view.tolist() == [row[column] for row in newest]
        assert (len(ring), ring.appended) == (min(n, capacity), n)
        row = (-n, 2**64 - 1 - n, n / 7)
        ring.append(*row)
        rows.append(row)
    assert ring.view(0).tolist() == [row[0] for row in rows[-capacity:]]


def test_a_view_is_no_copy_cannot_be_written_and_outlives_its_ring() -> None:
    ring = Ring(4, "q")
    for n in range(6):
        ring.append(n)
    view = ring.view(0, 2)
    assert np.shares_memory(view, ring.view(0))
    assert not view.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1
    with pytest.raises(TypeError, match="read-only"):
        memoryview(ring)[0] = 1  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not writable"):
        ctypes.c_char.from_buffer(ring)  # type: ignore[arg-type]
    references = sys.getrefcount(ring)
    del view
    assert sys.getrefcount(ring) == references - 1
    view = ring.view(0, 2)
    del ring
    assert view.tolist() == [4, 5]


@pytest.mark.parametrize("count", range(1, 6))
def test_a_view_shows_the_same_until_capacity_less_count_rows_more(count: int) -> None:
    ring = Ring(5, "q")
    for n in range(13):
        ring.append(n)
    view = ring.view(0, count)
    before = view.tolist()
    for n in range(5 - count):
        ring.append(100 + n)
        assert view.tolist() == before
    ring.append(200)
    assert view.tolist() != before


def test_appending_makes_no_memory() -> None:
    ring = Ring(16, "qQdq")
    row = (5, 2**63, 1.5, -7)
    ring.append(*row)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(1_000):
        ring.append(*row)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before <= 512
    assert ring.nbytes == 2 * 16 * 4 * 8


@pytest.mark.parametrize(
    "row", [(2**63, 0), (0, -1), (0, 2**64), ("x", 0), (0, None), (0, 1.5), (0,), (0, 0, 0)]
)
def test_a_row_that_does_not_fit_leaves_the_ring_as_it_was(row: tuple[Any, ...]) -> None:
    ring = Ring(3, "qQ")
    ring.append(1, 2)
    with pytest.raises((OverflowError, TypeError, InputError)):
        ring.append(*row)
    assert (ring.view(0).tolist(), ring.view(1).tolist(), ring.appended) == ([1], [2], 1)


@pytest.mark.parametrize(
    ("capacity", "kinds"),
    [(0, "q"), (-1, "q"), (2**31, "q"), (True, "q"), (1.0, "q"), (1, ""), (1, "x"), (1, "q" * 17)],
)
def test_a_ring_has_a_size_and_kinds(capacity: Any, kinds: str) -> None:
    with pytest.raises(InputError):
        Ring(capacity, kinds)


def test_a_ring_that_memory_does_not_hold_is_refused() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**30, hard))
    try:
        with pytest.raises(CapacityError, match="no memory for a ring"):
            Ring(2**30, "qqqq")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.parametrize(("column", "count"), [(2, 1), (-1, 1), ("q", 1), (0, 3), (0, -1), (0, 1.0)])
def test_a_view_is_of_rows_that_are_there(column: Any, count: Any) -> None:
    ring = Ring(3, "qQ")
    ring.append(1, 2)
    ring.append(3, 4)
    with pytest.raises(InputError):
        ring.view(column, count)


# ---- markets


def test_a_history_holds_what_the_chain_had() -> None:
    of = chain()
    history = History(of, 3)
    for n in range(5):
        of.set_oracle_prices({BTC: str(20_000 + n)}, height=100 + n)
        of[BTC].set_funding_index(-n, height=100 + n)
        history.append(BTC, time=n, mark_price=7 * n)
    assert history.rows(BTC) == history.capacity == 3
    assert history.rows(ETH) == 0
    expected = {
        "height": [10, 10, 10],  # of the oldest input
        "time": [2, 3, 4],
        "oracle_price": [2_000_200_000, 2_000_300_000, 2_000_400_000],
        "mark_price": [14, 21, 28],
        "funding_index": [-2, -3, -4],
        "open_interest": [0, 0, 0],
    }
    assert {name: history.column(BTC, name).tolist() for name in COLUMNS} == expected
    assert history.column(BTC, "time", 2).tolist() == [3, 4]
    assert history.memory == History.memory_needed(3, 2) == 2 * 8 * 6 * 3 * 2


def test_all_markets_are_recorded_or_none() -> None:
    of = chain()
    history = History(of, 2)
    history.record(time=1)
    of[ETH].set_open_interest(2**63)
    with pytest.raises(InputError, match="open_interest"):
        history.record(time=2)
    assert [history.rows(market) for market in (BTC, ETH)] == [1, 1]
    of[ETH].set_open_interest(2**63 - 1)
    of[ETH].set_funding_index(-(2**63) - 1)
    with pytest.raises(InputError, match="funding_index"):
        history.append(ETH)
    of[ETH].set_funding_index(-(2**63))
    history.record(time=3)
    assert history.column(BTC, "time").tolist() == history.column(ETH, "time").tolist() == [1, 3]
    assert history.column(ETH, "height").tolist() == [10, -1]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda h: h.append("X-USD"), UnknownMarketError),
        (lambda h: h.append(ETH), UnknownMarketError),
        (lambda h: h.column(BTC, "price"), InputError),
        (lambda h: h.column(BTC, "time", 1), InputError),
        (lambda h: h.append(BTC, time=1.5), InputError),
        (lambda h: h.append(BTC, time=2**63), InputError),
        (lambda h: h.append(BTC, mark_price=-1), InputError),
        (lambda h: History(h._chain, 0), InputError),
        (lambda h: History("mainnet", 1), InputError),
        (lambda h: History(h._chain, 1, markets=["X-USD"]), UnknownMarketError),
    ],
)
def test_what_is_not_there_is_refused(call: Any, error: type[Exception]) -> None:
    history = History(chain(), 2, markets=[BTC])
    assert len(history) == 1
    with pytest.raises(error):
        call(history)
    assert history.rows(BTC) == 0


if pandas is not None:

    def test_a_frame_is_a_copy_in_the_chains_integers() -> None:
        history = History(chain(), 4)
        for n in range(6):
            history.append(BTC, time=n)
        frame = history.frame(BTC, 3)
        assert list(frame.columns) == list(COLUMNS)
        assert frame["time"].tolist() == [3, 4, 5]
        assert frame["oracle_price"].tolist() == [2_000_000_000] * 3
        assert frame.attrs == {"market": BTC, "price_exponent": -5}
        history.append(BTC, time=6)
        history.append(BTC, time=7)
        assert frame["time"].tolist() == [3, 4, 5]
        assert len(history.frame(ETH)) == 0
