"""How much memory a book takes, told before any is taken."""

from __future__ import annotations

from dataclasses import dataclass

from dydx_perf.ext import indexed_memory
from dydx_perf.ext.book_columns import memory_needed

__all__ = ["BookMemory", "book_memory", "indexed_book_memory", "memory_of_market"]

POSITIONS_PER_BLOCK = 64
#: one account's entry in the dictionary of names, its name and an address of 43 characters; measured
NAME_BYTES = 240


@dataclass(frozen=True, slots=True)
class BookMemory:
    """Bytes that a book needs; `total` is all it ever takes for accounts, positions, markets and thresholds.

    `names` comes on top, one by one as accounts come in: who they are, and the way from there to their place.
    An indexed book's total contains them, but for addresses of over 27 characters that are not dYdX's.
    """

    total: int
    per_subaccount: int
    per_position: int
    per_market: int  #: its row, and a block of 64 positions that may be all but empty
    names: int


def indexed_book_memory(
    max_subaccounts: int, max_positions: int, max_markets: int, max_thresholds: int
) -> BookMemory:
    """Tell what an indexed book of that room takes, whatever the spread of positions over accounts."""
    room = [max_subaccounts, max_positions, max_markets, max_thresholds]
    total = indexed_memory.memory_needed(*room)

    def each(place: int, more: int) -> int:
        """Bytes of one more, on the average of many."""
        grown = [value + more * (index == place) for index, value in enumerate(room)]
        return -(-(indexed_memory.memory_needed(*grown) - total) // more)

    return BookMemory(total, each(0, 1 << 17), each(1, 1 << 17), each(2, 1), names=0)


def book_memory(
    max_subaccounts: int, max_positions: int, max_markets: int, max_thresholds: int
) -> BookMemory:
    """Tell what a plain book of that room takes."""
    needed = memory_needed(max_subaccounts, max_positions, max_markets, max_thresholds)
    return BookMemory(
        total=needed["total"],
        per_subaccount=needed["subaccount"],
        per_position=needed["position"],
        per_market=needed["market"],
        names=NAME_BYTES * max_subaccounts,
    )


def memory_of_market(holders: int, indexed: bool) -> int:
    """Bytes of a market with so many holders: its row and its blocks."""
    if indexed:
        return indexed_memory.memory_of_market(holders)
    needed = memory_needed(1, 0, 1, 0)
    blocks = -(-holders // POSITIONS_PER_BLOCK)
    return needed["market"] - needed["block"] + blocks * needed["block"]
