"""How far an estimate may be off: a bound of the error of net collateral, as a sum of its causes.

======================= ==================================================================================
cause                   bound, in quote quantums
======================= ==================================================================================
missed update           none, until an independent answer has agreed since the snapshot
price age               size times the last change of each price: a price may be one change late
missed funding tick     for each hour that began since the account was last told: notional times the largest
                        rate that the chain's clamp allows
tick block              one such payment more for a state of REST or a snapshot: the indexer takes an account
                        that changed in the block of a funding tick for settled
======================= ==================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from dydx_perf.book import Book
from dydx_perf.exact.margin import notional
from dydx_perf.feeds.book_rows import held_rows
from dydx_perf.feeds.trust import Bound
from dydx_perf.market import Market
from dydx_perf.observers import Name

__all__ = ["bound_of", "funding_per_tick", "ticks_between"]

ONE_MILLION = 1_000_000
HOUR = 3600
EIGHTH = 8  # an hour of a rate per 8 hours


def ceil_div(numerator: int, denominator: int) -> int:
    """Return the quotient rounded up."""
    return -(-numerator // denominator)


def largest_payment(market: Market, quantums: int, clamp_factor_ppm: int) -> int:
    """Return the most that one hour of funding can move for a position, rounded up.

    The rate of 8 hours is clamped to `clamp_factor_ppm` times initial less maintenance margin fraction.
    """
    imf, fraction = market.initial_margin_ppm, market.maintenance_fraction_ppm
    # imf - imf * fraction / 10**6, in units of 10**-12
    spread = imf * (ONE_MILLION - fraction)
    value = abs(notional(market.perpetual, quantums)) + 1
    return ceil_div(value * clamp_factor_ppm * spread, EIGHTH * ONE_MILLION**3) + 1


def funding_per_tick(book: Book, name: Name) -> int:
    """Return the most that one hour of funding can move for an account."""
    clamp = book.chain.parameters.funding_rate_clamp_factor_ppm
    return sum(
        largest_payment(book.chain[ticker], size, clamp)
        for ticker, (size, _) in held_rows(book, name).items()
        if size
    )


def ticks_between(first: str, last: str, seconds: float) -> int:
    """Return how many funding ticks, each on the hour, may lie between two times of the chain.

    Where one is not known, the seconds that passed decide, and one more.
    """
    hours = [_hour(first), _hour(last)]
    if hours[0] is None or hours[1] is None:
        return int(seconds // HOUR) + 1
    return max(0, hours[1] - hours[0])


def _hour(time: str) -> int | None:
    try:
        return int(datetime.fromisoformat(time).timestamp() // HOUR)
    except ValueError:
        return None


def bound_of(
    book: Book,
    name: Name,
    *,
    is_reconciled: bool,
    is_whole_answer: bool,
    ticks: int,
    last_moves: Mapping[str, int],
) -> Bound:
    """Return the bound of an account's estimate.

    Parameters
    ----------
    book : Book
    name : (address, number)
    is_reconciled : bool
        Whether an independent answer agreed since the snapshot.
    is_whole_answer : bool
        Whether the state is that of a snapshot or of REST, and not of an update.
    ticks : int
        Funding ticks that may have passed since.
    last_moves : mapping of ticker to int
        Last change of each oracle price, in price integers.
    """
    causes: list[tuple[str, int | None]] = [] if is_reconciled else [("missed update", None)]
    held = {ticker: size for ticker, (size, _) in held_rows(book, name).items() if size}
    if held:
        moved = sum(
            abs(notional(replace(book.chain[ticker].perpetual, price=last_moves.get(ticker, 0)), size)) + 1
            for ticker, size in held.items()
        )
        causes.append(("price age", moved))
        tick = funding_per_tick(book, name)
        if ticks:
            causes.append(("missed funding tick", ticks * tick))
        if is_whole_answer:
            causes.append(("tick block", tick))
    amounts = [amount for _, amount in causes]
    return Bound(None if None in amounts else sum(a for a in amounts if a is not None), tuple(causes))
