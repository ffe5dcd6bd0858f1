"""Every account at once: each path, a caller's threads, and a copy of as many bytes in the same run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pytest
from books import ACCOUNTS, CHECKED, book, given, indexed_book, plain_markets, ppm_ceil
from table import Row, Table

from dydx_perf import Book
from dydx_perf.ext.account_scan import page_rows
from dydx_perf.scan import Scan, scan, scan_paths

MILLION = 1_000_000
GOALS_NS = {"avx512": 3.5, "avx2": 4.5, "plain": 10.0}
#: a slot's size and market; what an account's row has beside: its link, state, generation, and five answers
SLOT_BYTES, ROW_BYTES = 8 + 2, 4 + 1 + 4 + 4 * 8 + 4
ROUNDS = 9


def section(accounts: int) -> str:
    return f"Exact figures of all of {accounts:,} accounts, per position"


def bytes_moved(held: Book) -> int:
    """Bytes that a scan of an indexed book reads and writes."""
    starts = page_rows(held._store)
    return (len(starts) - 1) * 1024 * 8 * SLOT_BYTES + int(starts[-1]) * ROW_BYTES


@cache
def answers(accounts: int) -> dict[int, tuple[int, int, int]]:
    """Some accounts by plain integers, by handle."""
    held, wanted = indexed_book(accounts), given(accounts)
    markets = plain_markets(held.chain)
    first = np.searchsorted(wanted.account, np.arange(accounts + 1))
    found = {}
    for row in range(0, accounts, accounts // CHECKED):
        nc, imr, mmr, funding = int(wanted.usdc[row]), 0, 0, 0
        for place in range(first[row], first[row + 1]):
            price, index, scaled, unscaled, maintenance = markets[int(wanted.perpetual_id[place])]
            quantums = int(wanted.quantums[place])
            value = abs(quantums) * price // 10**9
            nc += value if quantums > 0 else -value
            imr += ppm_ceil(value, scaled)
            mmr += ppm_ceil(ppm_ceil(value, unscaled), maintenance)
            funding += (int(wanted.funding_index[place]) - index) * quantums
        found[held.handle((wanted.addresses[row], 0))] = nc + funding // 10**6, imr, mmr
    return found


def check(found: Scan, accounts: int) -> None:
    """Compare some rows, figure by figure, with plain integers."""
    rows = {int(handle): row for row, handle in enumerate(found.handle)}
    for handle, figures in answers(accounts).items():
        row = rows[handle]
        assert (found.nc[row], found.imr[row], found.mmr[row]) == figures


def timed(run: Callable[[], object], clock: Callable[[], float]) -> list[float]:
    """Seconds of each round."""
    run()
    times = []
    for _ in range(ROUNDS):
        start = clock()
        run()
        times.append(clock() - start)
    return times


@pytest.mark.parametrize("accounts", [ACCOUNTS, MILLION])
def test_scan(accounts: int, table: Table, benchmark: Any) -> None:
    """Each path on one thread, then a caller's threads by the clock on the wall, then copies."""
    held = indexed_book(accounts)
    positions, moved = held.used["positions"], bytes_moved(held)
    out = scan(held)
    check(out, accounts)

    def add(name: str, times: list[float], told: str, ours: bool = False, goal: float | None = None) -> None:
        each = 1e9 / positions
        rate = f"{moved / median(times) / 1e9:.1f} GB/s"
        table.rows.append(
            Row(
                section(accounts),
                name,
                "a position",
                median(times) * each,
                min(times) * each,
                f"{told}{rate}",
                ours,
                goal,
            )
        )

    for path in scan_paths():
        one = scan(held, path=path)
        assert all(
            (getattr(one, name) == getattr(out, name)).all() for name in ("handle", "nc", "imr", "mmr")
        )
        times = timed(lambda path=path: scan(held, path=path, out=out), process_time)  # type: ignore[misc]
        add(f"scan(), {path}", times, "exact; ", path == scan_paths()[0], GOALS_NS[path])
    add("scan(), arrays made anew", timed(lambda: scan(held), process_time), "exact; ")
    add("scan(), one thread, wall clock", timed(lambda: scan(held, out=out), perf_counter), "exact; ")
    with ThreadPoolExecutor(1) as pool:
        times = timed(lambda: scan(held, executor=pool, out=out), perf_counter)
        add("the same, the caller's and one of a pool", times, "equal to the last bit; ")
    source = np.ones(moved // 16, np.int64)
    target = np.ones_like(source)
    add("a copy that moves as many bytes", timed(lambda: np.copyto(target, source), process_time), "")
    add("the same, wall clock", timed(lambda: np.copyto(target, source), perf_counter), "")
    benchmark.pedantic(lambda: scan(held, out=out), rounds=1)


def test_scan_of_the_plain_book(row: Any) -> None:
    """The slow twin: account by account, each from its linked positions."""
    held = book()
    out = scan(held)
    for place in range(0, ACCOUNTS, ACCOUNTS // CHECKED):
        risk = held[int(out.handle[place])]
        assert (out.nc[place], out.imr[place], out.mmr[place]) == (risk.nc, risk.imr, risk.mmr)

    def run() -> None:
        scan(held, out=out)

    row(section(ACCOUNTS), "scan() of a plain book", "a position", run, held.used["positions"], "exact")
