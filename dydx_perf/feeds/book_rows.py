"""Between what a feed says of an account and the rows of a book."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dydx_perf.book import Book
from dydx_perf.ext.crossing import Crossing
from dydx_perf.observers import Name
from dydx_perf.position import Position
from dydx_perf.subaccount import Subaccount
from dydx_perf.units import to_decimal

__all__ = ["held_rows", "held_usdc", "put_account"]


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
    book: Book,
    name: Name,
    usdc_quantums: int,
    quantums: Mapping[str, int],
    height: int | None,
) -> list[Crossing]:
    """Write a whole account: every position settled to its market's present index, as an estimate.

    Chosen margin fractions stay: only their owner changes them, and no indexer tells them.

    Raises
    ------
    CapacityError
        The book is full; it holds what it held.
    ObserverError
        The book has it, and observers raised.
    """
    if name not in book:
        book.add(Subaccount(book.chain, *name))
    return book.update(
        name,
        usdc=to_decimal(usdc_quantums, -6),
        positions=positions_of(book, quantums.items()),
        leverage={ticker: ppm for ticker, (_, ppm) in held_rows(book, name).items() if ppm},
        height=height,
        basis="estimate",
        whole=True,
    )


def positions_of(book: Book, quantums: Iterable[tuple[str, int]]) -> list[Position]:
    """Return positions that are settled now."""
    return [Position(book.chain[ticker], quantums=size) for ticker, size in quantums if size]
