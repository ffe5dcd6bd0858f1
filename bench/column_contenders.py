"""What one would write instead of calling us: funding, PnL and margins of many positions in NumPy and Numba.

Each takes the columns and gives one array for each out column; PnL in float is one array, the profit itself.
The float contenders get their markets' values as float64, made beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from conditions import numba_is_there
from positions import Columns, columns

MILLION = 1_000_000
Compute = Callable[[Columns], tuple[Any, ...]]


@cache
def market_floats() -> dict[str, Any]:
    """Per market: index, price, 1 / divisor and the fractions."""
    c = columns()
    return {
        "index": c.current_funding_index.astype(float),
        "price": c.oracle_price.astype(float),
        "scale": 1.0 / c.divisor.astype(float),
        "scaled": c.scaled_initial_margin_ppm / 1e6,
        "maintenance": c.initial_margin_ppm / 1e6 * (c.maintenance_fraction_ppm / 1e6),
    }


# ---- NumPy float64


def numpy_funding(c: Columns) -> tuple[Any, ...]:
    return ((market_floats()["index"][c.market] - c.funding_index) * c.quantums / 1e6,)


def numpy_pnl(c: Columns) -> tuple[Any, ...]:
    m = market_floats()
    return (c.quantums * (m["price"][c.market] - c.entry_price) * m["scale"][c.market],)


def numpy_margins(c: Columns) -> tuple[Any, ...]:
    m = market_floats()
    net = c.quantums * (m["price"] * m["scale"])[c.market]
    magnitude = np.abs(net)
    return net, magnitude * m["scaled"][c.market], magnitude * m["maintenance"][c.market]


# ---- NumPy int64: right as long as no product passes 64 bits, and silent when one does


def int64_funding(c: Columns) -> tuple[Any, ...]:
    return (-((c.funding_index - c.current_funding_index[c.market]) * c.quantums // MILLION),)


# ---- NumPy arrays of Python ints


@cache
def market_objects() -> dict[str, Any]:
    """Per market, as Python ints."""
    c = columns()
    return {
        name: getattr(c, name).astype(object)
        for name in (
            "current_funding_index",
            "oracle_price",
            "divisor",
            "initial_margin_ppm",
            "scaled_initial_margin_ppm",
            "maintenance_fraction_ppm",
        )
    }


def object_funding(c: Columns) -> tuple[Any, ...]:
    current = market_objects()["current_funding_index"][c.market]
    return (-((c.funding_index.astype(object) - current) * c.quantums.astype(object) // MILLION),)


def object_pnl(c: Columns) -> tuple[Any, ...]:
    m = market_objects()
    product = c.quantums.astype(object) * (m["oracle_price"][c.market] - c.entry_price.astype(object))
    quotient = product // m["divisor"][c.market]
    return quotient, product - quotient * m["divisor"][c.market]


def object_margins(c: Columns) -> tuple[Any, ...]:
    m = market_objects()
    quantums = c.quantums.astype(object)
    magnitude = np.abs(quantums) * m["oracle_price"][c.market] // m["divisor"][c.market]
    base = -(-magnitude * m["initial_margin_ppm"][c.market] // MILLION)
    return (
        np.where(c.quantums < 0, -magnitude, magnitude),
        -(-magnitude * m["scaled_initial_margin_ppm"][c.market] // MILLION),
        -(-base * m["maintenance_fraction_ppm"][c.market] // MILLION),
    )


# ---- Numba float64, into arrays that are there


def funding_loop(quantums: Any, own: Any, market: Any, index: Any, payment: Any) -> None:
    for i in range(len(quantums)):
        payment[i] = (index[market[i]] - own[i]) * quantums[i] / 1e6


def pnl_loop(quantums: Any, entry: Any, market: Any, price: Any, scale: Any, profit: Any) -> None:
    for i in range(len(quantums)):
        profit[i] = quantums[i] * (price[market[i]] - entry[i]) * scale[market[i]]


def margin_loop(  # type: ignore[no-untyped-def]
    quantums, market, ratio, scaled, maintenance, net, initial, held
):
    for i in range(len(quantums)):
        m = market[i]
        value = quantums[i] * ratio[m]
        net[i] = value
        value = abs(value)
        initial[i] = value * scaled[m]
        held[i] = value * maintenance[m]


@cache
def compiled_loops() -> dict[str, Compute]:
    """The loops, compiled by a first call."""
    from numba import njit

    funding, pnl, margins = njit(funding_loop), njit(pnl_loop), njit(margin_loop)
    m = market_floats()
    ratio = m["price"] * m["scale"]
    one, two, three = (np.zeros(len(columns().quantums)) for _ in range(3))

    def numba_funding(c: Columns) -> tuple[Any, ...]:
        funding(c.quantums, c.funding_index, c.market, m["index"], one)
        return (one,)

    def numba_pnl(c: Columns) -> tuple[Any, ...]:
        pnl(c.quantums, c.entry_price, c.market, m["price"], m["scale"], one)
        return (one,)

    def numba_margins(c: Columns) -> tuple[Any, ...]:
        margins(c.quantums, c.market, ratio, m["scaled"], m["maintenance"], one, two, three)
        return one, two, three

    return {"funding": numba_funding, "pnl": numba_pnl, "margins": numba_margins}


def compiled_when_called(name: str) -> Compute:
    """Compile when first asked, not while tests are collected."""
    return lambda c: compiled_loops()[name](c)


CONTENDERS: dict[str, dict[str, Compute]] = {
    "NumPy float64": {"funding": numpy_funding, "pnl": numpy_pnl, "margins": numpy_margins},
    "NumPy int64": {"funding": int64_funding},
    "NumPy object ints": {"funding": object_funding, "pnl": object_pnl, "margins": object_margins},
}
if numba_is_there():
    CONTENDERS["Numba float64"] = {name: compiled_when_called(name) for name in ("funding", "pnl", "margins")}
