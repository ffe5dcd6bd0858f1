"""How near a book's accounts are to liquidation: histograms, by exact comparisons at the edges of the bins.

Two measures. The *margin ratio* of an account is net collateral over maintenance margin, as thresholds of a
book have it: below 1 the chain calls the account liquidatable. The *distance* is net collateral less
maintenance margin in quote quantums: what the account can lose, its margin held, before it is.

A float sorts the accounts by their ratio; whoever is within a part in 10**12 of an edge is compared in
integers. A ratio in double is off by less than 4 units of 2**-53 (three roundings), an edge by one: all
others are on the side on which they seem to be.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dydx_perf.errors import InputError
from dydx_perf.market import Amount, checked_integer
from dydx_perf.scan import Scan, scan

if TYPE_CHECKING:
    from dydx_perf.book import Book
    from dydx_perf.scan import Executor

__all__ = ["RATIO_EDGES", "Histogram", "distance_histogram", "ratio_histogram"]

#: net collateral over maintenance margin
RATIO_EDGES = tuple(map(Fraction, ("0", "1", "1.1", "1.25", "1.5", "2", "3", "5", "10", "20", "50", "100")))
DOUBT = 1e-12


@dataclass(frozen=True, slots=True)
class Histogram:
    """Accounts by bin. Bin i holds ``edges[i - 1] <= x < edges[i]``; the first and the last are open.

    Attributes
    ----------
    measure : str
        "ratio" or "distance".
    edges : tuple of Fraction
        Ascending.
    accounts : tuple of int
        One more than edges.
    net_collateral, maintenance_margin : tuple of int
        Sums over the accounts of each bin, quote quantums.
    without_margin : int
        Accounts without a maintenance margin: in no bin of a ratio, and never liquidatable.
    height : int or None
    basis : str
        Of the oldest and the weakest input.
    """

    measure: str
    edges: tuple[Fraction, ...]
    accounts: tuple[int, ...]
    net_collateral: tuple[int, ...]
    maintenance_margin: tuple[int, ...]
    without_margin: int
    height: int | None
    basis: str


def checked_edges(edges: Iterable[Amount | Fraction]) -> tuple[Fraction, ...]:
    """Return ascending edges as exact fractions."""
    given = list(edges)
    for edge in given:
        if isinstance(edge, bool) or not isinstance(edge, str | int | Decimal | Fraction):
            raise InputError("edges", edge, "texts, ints, Decimals or Fractions")
    try:
        exact = tuple(Fraction(edge) for edge in given)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise InputError("edges", given, "texts, ints, Decimals or Fractions") from error
    if not exact or any(a >= b for a, b in pairwise(exact)):
        raise InputError("edges", given, "at least one, ascending")
    if any(abs(edge) > 10**15 or (edge and abs(edge) < Fraction(1, 10**15)) for edge in exact):
        raise InputError("edges", given, "0, or magnitudes of 10**-15 to 10**15")
    return exact


def ratio_histogram(
    book: Book, edges: Iterable[Amount | Fraction] = RATIO_EDGES, *, executor: Executor | None = None
) -> Histogram:
    """Count the accounts of a book by their margin ratio.

    Parameters
    ----------
    book : Book
    edges : iterable of str, int, Decimal or Fraction
        Ascending.
    executor : ThreadPoolExecutor, optional
        For the scan of all accounts.
    """
    import numpy as np

    exact = checked_edges(edges)
    found = scan(book, executor=executor)
    ratio = found.nc / np.maximum(found.mmr, 1)
    floats = np.array([float(edge) for edge in exact])
    places = np.searchsorted(floats, ratio, side="right")
    has_margin = found.mmr > 0
    for edge in floats:
        close = np.abs(ratio - edge) <= DOUBT * np.maximum(np.abs(ratio), abs(edge))
        for row in np.flatnonzero(close & has_margin).tolist():
            places[row] = bin_of(exact, int(found.nc[row]), int(found.mmr[row]))
    return counted(found, "ratio", exact, places, has_margin)


def distance_histogram(book: Book, edges: Iterable[int], *, executor: Executor | None = None) -> Histogram:
    """Count the accounts of a book by their distance: net collateral less maintenance margin.

    Parameters
    ----------
    book : Book
    edges : iterable of int
        Quote quantums, ascending.
    executor : ThreadPoolExecutor, optional
        For the scan of all accounts.
    """
    import numpy as np

    whole = [checked_integer("edges", edge, -(2**62), 2**62) for edge in edges]
    if not whole or any(a >= b for a, b in pairwise(whole)):
        raise InputError("edges", whole, "at least one, ascending")
    found = scan(book, executor=executor)
    distance = found.nc - found.mmr
    # A difference that 64 bits do not hold is below every edge: a margin is never below zero.
    distance[(found.nc < 0) & (distance >= 0)] = -(2**63)
    places = np.searchsorted(np.array(whole, np.int64), distance, side="right")
    every = np.ones(len(found), bool)
    return counted(found, "distance", tuple(map(Fraction, whole)), places, every)


def bin_of(edges: tuple[Fraction, ...], value: int, over: int) -> int:
    """Place of ``value / over`` among the edges, by cross multiplication."""
    return sum(value * edge.denominator >= edge.numerator * over for edge in edges)


def counted(found: Scan, measure: str, edges: tuple[Fraction, ...], places: Any, counts: Any) -> Histogram:
    """Add the accounts up by bin; those that 64 bits do not hold by plain integers."""
    import numpy as np

    accounts, collateral, margin = ([0] * (len(edges) + 1) for _ in range(3))
    inside = counts.copy()
    inside[list(found.wide)] = False
    for place in range(len(edges) + 1):
        rows = inside & (places == place)
        accounts[place] = int(np.count_nonzero(rows))
        collateral[place] = exact_sum(found.nc[rows])
        margin[place] = exact_sum(found.mmr[rows])
    for nc, _, mmr in found.wide.values():
        if measure == "ratio" and mmr == 0:
            continue
        place = bin_of(edges, nc, mmr) if measure == "ratio" else bin_of(edges, nc - mmr, 1)
        accounts[place] += 1
        collateral[place] += nc
        margin[place] += mmr
    without = int(np.count_nonzero(found.mmr == 0)) - len(found.wide)
    without += sum(mmr == 0 for _, _, mmr in found.wide.values())
    return Histogram(
        measure,
        edges,
        tuple(accounts),
        tuple(collateral),
        tuple(margin),
        without,
        found.height,
        found.basis,
    )


def exact_sum(values: Any) -> int:
    """Add up to 2**31 values of int64 without wrapping, by halves of 32 bits."""
    low = int((values & 0xFFFFFFFF).sum(dtype="int64"))
    high = int((values >> 32).sum(dtype="int64"))
    return (high << 32) + low
