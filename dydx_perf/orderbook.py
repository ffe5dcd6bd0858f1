"""The order book of a market: levels as the indexer has them, or the queues of a full node.

============== ================================= ======================================================
book           of                                what is read
============== ================================= ======================================================
OrderBook      the indexer, by price level (L2)  the uncrossed view: levels that cross a younger one are
                                                 left out, and are back when they are quoted again
OrderQueueBook a full node, by order (L3)        what the fills left of each order, in time priority
============== ================================= ======================================================

Every figure is an estimate: the indexer merges what many nodes saw, and the book of a node is what that node
saw; neither is part of the chain's state. While a book is not whole (`not_whole` says why: no snapshot yet,
messages lost, no room) every figure is refused with a `StaleError`.

Hazards: figures are of the moment of the call; a book has one thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from dydx_perf.book_prices import (
    BookLevel,
    DepthTo,
    ImpactPrice,
    MarkKind,
    MarkPrice,
    PricedBook,
    Side,
    is_bid,
)
from dydx_perf.errors import InputError
from dydx_perf.exact.premium import BookOrder
from dydx_perf.ext.depth import Depth
from dydx_perf.ext.order_queue import OrderQueues
from dydx_perf.market import Amount, Market
from dydx_perf.units import size_to_base_quantums

__all__ = [
    "BookLevel",
    "DepthTo",
    "ImpactPrice",
    "MarkKind",
    "MarkPrice",
    "OrderBook",
    "OrderKey",
    "OrderQueueBook",
    "QueuePlace",
    "RestingOrder",
    "Side",
]

INT64_MAX = 2**63 - 1


class OrderKey(NamedTuple):
    """The whole id of an order, which alone names it."""

    owner: str
    number: int
    client_id: int
    order_flags: int
    clob_pair_id: int


@dataclass(frozen=True, slots=True)
class RestingOrder:
    """An order as it stands in the book.

    Attributes
    ----------
    price, size, filled, left : Decimal
        USDC for one coin; coins. Nothing is left of an order that is filled past its size.
    arrival : int
        Count of messages at which it was placed.
    """

    key: OrderKey
    side: Side
    price: Decimal
    size: Decimal
    filled: Decimal
    left: Decimal
    arrival: int


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """How many orders, and how many coins, are filled before an order at its own price."""

    orders_ahead: int
    size_ahead: Decimal


def checked_market(market: object) -> Market:
    """Return a market."""
    if not isinstance(market, Market):
        raise InputError("market", market, "a Market of a chain")
    return market


class OrderBook(PricedBook):
    """Levels of one market, as the indexer has them (L2).

    What came is kept as it came; what is read is the uncrossed view: while the best bid is at or above the
    best ask, the one that was quoted earlier is left out. Of one message the smaller is, and its size is
    taken from the other.

    Parameters
    ----------
    market : Market
        Gives ticks, steps, oracle price and impact notional.
    max_levels : int
        Levels of each side for which memory is taken, once.

    Attributes
    ----------
    levels : Depth
        The integers, subticks and base quantums, for whoever feeds the book or reads it in bulk.

    Raises
    ------
    CapacityError
        There is no memory for it.
    """

    levels: Depth

    def __init__(self, market: Market, *, max_levels: int = 4096) -> None:
        self._market = checked_market(market)
        self.levels = self._integers = Depth(max_levels)

    # -- changes

    def replace(
        self,
        bids: Iterable[tuple[Amount, Amount]],
        asks: Iterable[tuple[Amount, Amount]],
        *,
        time: float,
    ) -> bool:
        """Put a snapshot in place of all levels; the book is whole again.

        Parameters
        ----------
        bids, asks : iterables of (price, size)
            USDC for one coin, coins; exact in subticks and base quantums, a multiple of tick and step or not
            (levels that are older than a change of the tick are none).
        time : float
            The caller's clock.

        Returns
        -------
        bool
            False: it has more levels than there is room for, and the book is not whole.

        Raises
        ------
        InputError
            One is no level; nothing was changed.
        """
        return self.levels.replace(
            [self.read_level(*level) for level in bids], [self.read_level(*level) for level in asks], time
        )

    def next_arrival(self, *, time: float) -> None:
        """Begin a message, or one element of a batch: its levels are younger than all before."""
        self.levels.next_arrival(time)

    def set_level(self, side: Side, price: Amount, size: Amount) -> bool:
        """Set what stands at a price, absolute, 0 to take it out; False: no room, the book is not whole."""
        return self.levels.set_level(is_bid(side), *self.read_level(price, size))

    def mark_gap(self) -> None:
        """Say that messages were lost: the book is not whole until the next snapshot."""
        self.levels.mark_gap()

    def clear(self) -> None:
        """Forget everything: as before the first snapshot."""
        self.levels.clear()

    # -- what it is

    @property
    def hidden_levels(self) -> int:
        """How many levels cross younger ones and are left out of what is read."""
        return sum(self.levels.hidden())

    def __repr__(self) -> str:
        state = "whole" if not self.not_whole else f"not whole: {', '.join(self.not_whole)}"
        bids, asks = self.levels.counts
        return f"OrderBook({self._market.ticker} {bids} bids, {asks} asks, {state})"

    def read_level(self, price: Amount, size: Amount) -> tuple[int, int]:
        """Return subticks and base quantums of a level that the book could hold; nothing is changed.

        Raises
        ------
        InputError
            It is no level: a price of zero, a size below, digits past the units, more than int64 holds.
        """
        subticks = self._subticks(price)
        quantums = size_to_base_quantums(size, self._market.atomic_resolution)
        if subticks > INT64_MAX:
            raise InputError("price", price, f"at most {self._price(INT64_MAX)}")
        if not 0 <= quantums <= INT64_MAX:
            raise InputError("size", size, f"0 to {self._size(INT64_MAX)}")
        return subticks, quantums


class OrderQueueBook(PricedBook):
    """Resting orders of one market in time priority, as a full node has them (L3).

    Apply every update of any execution mode in the order in which it comes: each carries absolute values, so
    a fill that the node takes back heals itself. An order of which nothing is left is hidden and keeps its
    place until it is removed.

    Parameters
    ----------
    market : Market
    max_orders : int
        Orders of both sides for which memory is taken, once.

    Attributes
    ----------
    queues : OrderQueues
        The integers, subticks and base quantums, for whoever feeds the book or reads it in bulk.

    Raises
    ------
    CapacityError
        There is no memory for it.
    """

    queues: OrderQueues

    def __init__(self, market: Market, *, max_orders: int = 16_384) -> None:
        self._market = checked_market(market)
        self.queues = self._integers = OrderQueues(max_orders)

    # -- changes

    def begin_snapshot(self, *, time: float, height: int | None = None) -> None:
        """Take every order out; the book is whole as soon as those of the snapshot are placed."""
        self.queues.begin_snapshot(time, height)

    def next_arrival(self, *, time: float, height: int | None = None) -> None:
        """Begin a message."""
        self.queues.next_arrival(time, height)

    def place(self, key: OrderKey, side: Side, *, subticks: int, quantums: int) -> bool:
        """Put an order at the end of its price's queue, nothing filled; one of the same id goes first.

        False: no room for it, and the book is not whole.
        """
        return self.queues.place(key, is_bid(side), subticks, quantums)

    def remove(self, key: OrderKey) -> bool:
        """Take an order out; False: its id is not known, which is counted and else ignored."""
        return self.queues.remove(key)

    def set_filled(self, key: OrderKey, total_filled_quantums: int) -> bool:
        """Set what is filled of an order, absolute, up or down; False: its id is not known."""
        return self.queues.set_filled(key, total_filled_quantums)

    def replace(self, old_key: OrderKey, key: OrderKey, side: Side, *, subticks: int, quantums: int) -> bool:
        """Take one order out and put another at the end of its price's queue; False: no room for that one."""
        return self.queues.replace(old_key, key, is_bid(side), subticks, quantums)

    def mark_gap(self) -> None:
        """Say that messages were lost: the book is not whole until the next snapshot."""
        self.queues.mark_gap()

    def clear(self) -> None:
        """Forget everything: as before the first snapshot."""
        self.queues.clear()

    # -- what it is

    @property
    def height(self) -> int | None:
        """Block of the last message, as it was given; None: it was not."""
        return self.queues.height

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is at or above the best ask: for moments a node's own view may be."""
        bid, ask = self.best_bid, self.best_ask
        return bid is not None and ask is not None and bid.subticks >= ask.subticks

    def __len__(self) -> int:
        return len(self.queues)

    def __repr__(self) -> str:
        state = "whole" if not self.not_whole else f"not whole: {', '.join(self.not_whole)}"
        return f"OrderQueueBook({self._market.ticker} {len(self)} orders, {state})"

    # -- orders

    def order(self, key: OrderKey) -> RestingOrder | None:
        """Return an order as it stands; None: its id is not known."""
        self.require()
        found = self.queues.order(key)
        if found is None:
            return None
        bids, subticks, quantums, filled, arrival = found
        return self._order(key, bids, subticks, quantums, filled, arrival)

    def place_in_queue(self, key: OrderKey) -> QueuePlace | None:
        """Return what is filled before this order at its own price; None: its id is not known."""
        self.require()
        found = self.queues.ahead(key)
        return None if found is None else QueuePlace(found[0], self._size(found[1]))

    def queue(self, side: Side, price: Amount) -> list[RestingOrder]:
        """Return the orders at a price in time priority, those of which nothing is left, too."""
        self.require()
        bids, subticks = is_bid(side), self._subticks(price)
        return [self._order(key, bids, subticks, *rest) for key, *rest in self.queues.queue(bids, subticks)]

    def orders_of(self, address: str, number: int = 0) -> list[RestingOrder]:
        """Return all resting orders of a subaccount, bids before asks, each side from its best price on."""
        self.require()
        keys = self.queues.orders_of(address, number)
        return [order for key in keys if (order := self.order(OrderKey(*key))) is not None]

    def _order(
        self,
        key: tuple[str, int, int, int, int],
        bids: bool,
        subticks: int,
        quantums: int,
        filled: int,
        arrival: int,
    ) -> RestingOrder:
        return RestingOrder(
            OrderKey(*key),
            "bid" if bids else "ask",
            self._price(subticks),
            self._size(quantums),
            self._size(filled),
            self._size(max(quantums - filled, 0)),
            arrival,
        )

    def _orders(self, bids: bool) -> list[BookOrder]:
        prices, _, _ = self.queues.levels(bids)
        return [
            BookOrder(bids, price, quantums - filled)
            for price in prices.tolist()
            for _, quantums, filled, _ in self.queues.queue(bids, price)
            if filled < quantums
        ]
