"""Funding payments, unrealized PnL and margins of a million positions, from NumPy columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from column_contenders import CONTENDERS
from positions import CHECKED, POSITIONS, Columns, columns

from dydx_perf.exact import arith, funding, margin
from dydx_perf.exact.state import Perpetual
from dydx_perf.ext import columns as kernels

UNIT = "a position"
OBJECT_ROWS = 20_000


@pytest.fixture(autouse=True)
def _path_as_chosen() -> Iterator[None]:
    """Leave the path as it was chosen at import."""
    before = kernels.path()
    yield
    kernels.use_path(before)


# ---- the exact answer of one position, by dydx_perf.exact


def exact_payment(c: Columns, i: int) -> tuple[int, ...]:
    ppm = funding.settlement_ppm(
        int(c.quantums[i]), int(c.funding_index[i]), int(c.current_funding_index[c.market[i]])
    )
    return (funding.funding_payment(ppm) or 0,)


def exact_pnl(c: Columns, i: int) -> tuple[int, ...]:
    """The profit in quote quantums, exactly: a whole number, and what is left as a numerator."""
    market = c.market[i]
    divisor = int(c.divisor[market])
    gain = Fraction(int(c.quantums[i]) * (int(c.oracle_price[market]) - int(c.entry_price[i])), divisor)
    whole = arith.div_floor(gain.numerator, gain.denominator)
    return whole, int((gain - whole) * divisor)


def exact_margins(c: Columns, i: int) -> tuple[int, ...]:
    market = c.market[i]
    perpetual = Perpetual(
        int(market),
        -6,
        int(c.oracle_price[market]),
        -9,
        0,
        0,
        int(c.initial_margin_ppm[market]),
        int(c.maintenance_fraction_ppm[market]),
        0,
        0,
    )
    custom = int(c.scaled_initial_margin_ppm[market])
    risk = margin.position_risk(perpetual, int(c.quantums[i]), custom_imf_ppm=custom)
    return risk.nc, risk.imr, risk.mmr


# ---- the three pieces of work


@dataclass(frozen=True)
class Work:
    title: str
    kernel: Callable[..., Any]
    arguments: Callable[[Columns], tuple[Any, ...]]
    outs: int
    exact: Callable[[Columns, int], tuple[int, ...]]
    goal_ns: float
    read: tuple[str, ...]  # columns of positions that are read

    def call(self, c: Columns, out: Any = None) -> tuple[list[Any], list[int]]:
        """Columns of the answer, and the rows that do not fit."""
        *made, unfit = self.kernel(*self.arguments(c), **({} if out is None else {"out": out}))
        return made, unfit


WORK = {
    "funding": Work(
        "Funding payments of 1,000,000 positions",
        kernels.funding_payments,
        lambda c: (c.quantums, c.funding_index, c.market, c.current_funding_index),
        1,
        exact_payment,
        5.0,
        ("quantums", "funding_index", "market"),
    ),
    "pnl": Work(
        "Unrealized PnL of 1,000,000 positions",
        kernels.unrealized_pnl,
        lambda c: (c.quantums, c.entry_price, c.market, c.oracle_price, c.divisor),
        2,
        exact_pnl,
        5.0,
        ("quantums", "entry_price", "market"),
    ),
    "margins": Work(
        "Notional and both margins of 1,000,000 positions",
        kernels.margin_requirements,
        lambda c: (
            c.quantums,
            c.market,
            c.oracle_price,
            c.divisor,
            c.initial_margin_ppm,
            c.scaled_initial_margin_ppm,
            c.maintenance_fraction_ppm,
        ),
        3,
        exact_margins,
        5.0,
        ("quantums", "market"),
    ),
}


def out_of(work: Work) -> Any:
    """Arrays to write into, touched once."""
    made = tuple(np.zeros(POSITIONS, dtype=np.int64) for _ in range(work.outs))
    return made[0] if work.outs == 1 else made


def exact_rows(work: Work) -> list[list[int]]:
    """The exact answers of the first positions, a list for each out column."""
    answers = [work.exact(columns(), i) for i in range(CHECKED)]
    return [list(column) for column in zip(*answers, strict=True)]


@pytest.mark.parametrize("path", kernels.paths())
@pytest.mark.parametrize("name", WORK)
def test_path(name, path, row):
    """Every path of this processor, into arrays that are there; all rows equal to the plain path's."""
    work = WORK[name]
    kernels.use_path("plain")
    plain, unfit = work.call(columns())
    assert unfit == []
    assert [column[:CHECKED].tolist() for column in plain] == exact_rows(work)
    kernels.use_path(path)
    out = out_of(work)
    made, unfit = work.call(columns(), out)
    assert unfit == []
    assert all(np.array_equal(a, b) for a, b in zip(made, plain, strict=True))
    chosen = path == kernels.paths()[0]
    row(
        work.title,
        f"{work.kernel.__name__}(), {path}",
        UNIT,
        lambda: work.call(columns(), out),
        POSITIONS,
        "exact",
        ours=chosen,
        goal_ns=work.goal_ns if chosen else None,
    )


@pytest.mark.parametrize("name", WORK)
def test_new_arrays(name, row):
    """The same call when it makes its arrays: the system hands out their pages one by one."""
    work = WORK[name]
    row(
        work.title,
        f"{work.kernel.__name__}(), new arrays",
        UNIT,
        lambda: work.call(columns()),
        POSITIONS,
        "exact",
    )


@pytest.mark.parametrize(
    ("name", "contender"),
    [(name, contender) for name in WORK for contender, computes in CONTENDERS.items() if name in computes],
)
def test_contender(name, contender, row):
    """What one would write instead."""
    work = WORK[name]
    compute = CONTENDERS[contender][name]
    sampled = "object" in contender
    c = columns().first(OBJECT_ROWS) if sampled else columns()
    rows = OBJECT_ROWS if sampled else POSITIONS
    answers = compute(c)
    exact = exact_rows(work)
    if name == "pnl" and len(answers) == 1:  # the profit itself instead of quotient and remainder
        divisors = columns().divisor[columns().market[:CHECKED]].tolist()
        exact = [[w + r / d for w, r, d in zip(*exact, divisors, strict=True)]]
    errors = [
        abs(ours - float(theirs)) if isinstance(ours, float) else abs(ours - int(theirs))
        for column, truth in zip(answers, exact, strict=True)
        for theirs, ours in zip(column[:CHECKED].tolist(), truth, strict=True)
    ]
    error = max(errors)
    assert error < 10
    said = "exact" if error == 0 else f"off by up to {error:.2g} quantums"
    label = f"{contender}, {OBJECT_ROWS:,} positions" if sampled else contender
    row(work.title, label, UNIT, lambda: compute(c), rows, said)


@pytest.mark.parametrize("name", WORK)
def test_copy_of_as_many_bytes(name, row):
    """The floor: half of what the kernel reads and writes is read, the other half written."""
    work = WORK[name]
    read = sum(getattr(columns(), column).nbytes for column in work.read)
    source = np.ones((read + work.outs * 8 * POSITIONS) // 2, dtype=np.uint8)
    target = np.zeros_like(source)
    row(
        work.title,
        "floor: memory moved by a copy",
        UNIT,
        lambda: np.copyto(target, source),
        POSITIONS,
        "none",
    )
