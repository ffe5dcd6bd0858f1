"""Accounts of a book as `dydx_perf.exact` takes them, and a book that stands still while it is read.

Plain integers are for the accounts that no column holds, and for all of a plain book: right, and slow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dydx_perf.book import Book
from dydx_perf.errors import InputError
from dydx_perf.exact.state import (
    USDC_ASSET_ID,
    AssetPosition,
    PerpetualPosition,
    SubaccountState,
)
from dydx_perf.ext import scenarios as kernel
from dydx_perf.ext.account_scan import weakest_source as weakest_code
from dydx_perf.ext.book import BookStore
from dydx_perf.ext.indexed import IndexedStore
from dydx_perf.kernel import BASES

__all__ = [
    "account_slots",
    "account_state",
    "checked_book",
    "held_still",
    "indexed_store",
    "weakest_source",
]


#: books that are being read. A child made by fork has none of the threads that read its parent's.
_held_now: list[BookStore | IndexedStore] = []


def _release_in_child() -> None:
    """Let go of what other threads of the parent held."""
    while _held_now:
        kernel.release(_held_now.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


def checked_book(book: object) -> Book:
    """Return `book` when it is one."""
    if not isinstance(book, Book):
        raise InputError("book", book, "a Book")
    return book


@contextmanager
def held_still(book: Book) -> Iterator[None]:
    """Refuse a book that its chain has left, and keep writers away while it is read."""
    store = checked_book(book)._store
    kernel.hold(store)
    _held_now.append(store)
    try:
        yield
    finally:
        _held_now.remove(store)
        kernel.release(store)


def indexed_store(book: Book) -> IndexedStore | None:
    """Return the store of an indexed book; None: it is a plain one."""
    store = book._store
    return store if isinstance(store, IndexedStore) else None


def account_slots(book: Book) -> list[int]:
    """Slots of all accounts."""
    return [book._store.slot(name) for name in book]


def account_state(book: Book, slot: int, perpetual_ids: Sequence[int]) -> SubaccountState:
    """Return balances and positions as the chain keeps them; `perpetual_ids` are those of its markets."""
    usdc, rows, _, _ = book._inputs(slot, book._store.names[slot])
    return SubaccountState(
        (AssetPosition(USDC_ASSET_ID, usdc),) if usdc else (),
        tuple(
            PerpetualPosition(perpetual_ids[market], quantums, funding_index, quote_balance)
            for market, quantums, funding_index, quote_balance, _ in sorted(
                rows, key=lambda row: perpetual_ids[row[0]]
            )
            if quantums or quote_balance
        ),
        {perpetual_ids[row[0]]: row[4] for row in rows if row[4]},
    )


def weakest_source(book: Book) -> tuple[int | None, str]:
    """Return height and basis of the oldest and the weakest input of all accounts and of the held markets."""
    height, basis = weakest_code(book._store)
    return (None if height < 0 else height), BASES[basis]
