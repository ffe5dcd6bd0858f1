"""Between what a feed says of an account and the rows of a book."""

from __future__ import annotations

from collections.abc import Mapping

from dydx_perf.book import Book
from dydx_perf.book_accounts import AccountsPlan
from dydx_perf.ext.crossings import Crossings
from dydx_perf.kernel import BASES
from dydx_perf.observers import Name

__all__ = ["held_rows", "held_usdc", "plan_account", "put_account"]

ESTIMATE = BASES.index("estimate")


def held_rows(book: Book, name: Name) -> dict[str, tuple[int, int]]:
    """Return signed base quantums and chosen margin fraction (ppm) by ticker; no account: nothing."""
    if name not in book:
        return {}
    markets = book.chain.tickers
    rows = book._inputs(book._store.slot(name), name)[1]
    return {markets[row[0]]: (row[1], row[4]) for row in rows}


def held_usdc(book: Book, name: Name) -> int:
    """Return the balance in quote quantums; no account: 0."""
    return book._inputs(book._store.slot(name), name)[0] if name in book else 0


def put_account(
    book: Book, name: Name, usdc_quantums: int, quantums: Mapping[str, int], height: int | None
) -> Crossings:
    """Write a whole account: every position settled to its market's present index, as an estimate.

    Chosen margin fractions stay: only their owner changes them, and no indexer tells them. An isolated market
    beside others is taken as it is told: the market may have become a cross one a moment ago.

    Raises
    ------
    CapacityError
        The book is full; it holds what it held.
    ObserverError
        The book has it, and observers raised.
    """
    plan = book._plan()
    plan_account(book, plan, name, usdc_quantums, quantums, height)
    return book._change(plan.write)


def plan_account(
    book: Book,
    plan: AccountsPlan,
    name: Name,
    usdc_quantums: int,
    quantums: Mapping[str, int],
    height: int | None,
) -> None:
    """Plan what `put_account` writes.

    Raises
    ------
    CapacityError
        The book has no room for it beside what is planned; the plan is what it was.
    """
    held = book._inputs(book._store.slot(name), name)[1] if name in book else []
    chosen = {row[0]: row[4] for row in held}
    rows = {market: (market, 0, 0, 0, ppm) for market, ppm in chosen.items()}
    for ticker, size in quantums.items():
        if size:
            market = book.chain[ticker]
            ppm = chosen.get(market._index, 0)
            rows[market._index] = (market._index, size, market.funding_index, 0, ppm)
    plan.put(name, usdc_quantums, rows.values(), (-1 if height is None else height, ESTIMATE))
