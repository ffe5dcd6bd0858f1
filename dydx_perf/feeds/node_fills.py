"""Fills, liquidations and orders that a full node's stream tells of: in its books, and as events."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

from dydx_perf.chain import Chain
from dydx_perf.ext.stream import (
    FILL,
    MATCH,
    MATCH_DELEVERAGING,
    MATCH_LIQUIDATION,
    ORDER_PLACE,
    ORDER_REMOVE,
    ORDER_REPLACE,
    ORDER_STATE,
    ORDER_UPDATE,
)
from dydx_perf.feeds.events import (
    Event,
    FillSeen,
    LiquidationSeen,
    LiquidationTried,
    OrderChanged,
    TradeSeen,
)
from dydx_perf.feeds.node_stream import order_text
from dydx_perf.market import Market
from dydx_perf.observers import Name
from dydx_perf.orderbook import OrderQueueBook
from dydx_perf.units import base_quantums_to_size, subticks_to_price, to_decimal

__all__ = ["NodeFills", "apply_order"]

Record = tuple[Any, ...]
Key = tuple[str, int, int, int, int]

SIDES = {1: "BUY", 2: "SELL"}
OTHER = {1: 2, 2: 1}
PLACED = {1: "BEST_EFFORT_OPENED", 2: "OPEN"}
REMOVED = {1: "BEST_EFFORT_CANCELED", 2: "CANCELED", 3: "FILLED"}
NO_FEE = to_decimal(0, -6)  # the stream tells none


class NodeFills:
    """What fills and orders of a stream mean for watched accounts.

    Parameters
    ----------
    chain : Chain
    watched : container of (address, number)
    pairs : set of int
        Order books whose trades are told.
    every_liquidation : bool
    """

    def __init__(
        self, chain: Chain, watched: Container[Name], pairs: set[int], every_liquidation: bool
    ) -> None:
        self._chain = chain
        self._watched = watched
        self._pairs = pairs
        self._every = every_liquidation
        self._markets: dict[int, Market] = {}
        self._height = -1
        self._count = 0

    def _market(self, pair: int) -> Market | None:
        if pair not in self._markets:
            self._markets = {market.clob_pair_id: market for market in self._chain}
        return self._markets.get(pair)

    def _is_watched(self, key: Key) -> bool:
        return key[:2] in self._watched

    def states(self, records: Iterable[Record]) -> Iterator[tuple[Key, int]]:
        """Yield what is filled of each order of a fill, in all."""
        for record in records:
            if record[0] == ORDER_STATE:
                yield record[1], record[5]

    def orders(self, records: Iterable[Record]) -> list[Event]:
        """Orders of watched accounts that came or went, in this node's view."""
        events: list[Event] = []
        for record in records:
            kind = record[0]
            if kind == ORDER_REPLACE and self._is_watched(record[10]):
                events.append(self._changed(record[10], "CANCELED", "replaced"))
            if kind in (ORDER_PLACE, ORDER_REPLACE) and self._is_watched(record[1]):
                events.append(self._changed(record[1], PLACED.get(record[5], "OPEN"), ""))
            elif kind == ORDER_REMOVE and self._is_watched(record[1]):
                events.append(self._changed(record[1], REMOVED.get(record[3], "CANCELED"), str(record[2])))
        return events

    def _changed(self, key: Key, status: str, reason: str) -> OrderChanged:
        market = self._market(key[4])
        return OrderChanged(key[0], key[1], order_text(key), market.ticker if market else "", status, reason)

    def tried(self, height: int, records: Iterable[Record]) -> list[Event]:
        """Liquidation orders that this node tried, filled or not."""
        events: list[Event] = []
        for _, match, key, perpetual, _, quantums, subticks, status, *_ in records:
            if match == MATCH_LIQUIDATION and (self._every or self._is_watched(key)):
                ticker = self._chain[perpetual].ticker if perpetual in self._chain else ""
                events.append(LiquidationTried(key[0], key[1], ticker, quantums, subticks, status, height))
        return events

    def final(self, height: int, records: list[Record]) -> list[Event]:
        """Events of a fill that the chain has decided."""
        if height != self._height:
            self._height, self._count = height, 0
        match = next((record for record in records if record[0] == MATCH), None)
        fills = [record for record in records if record[0] == FILL]
        if match is None or match[1] == 0:
            return []
        if match[1] == MATCH_DELEVERAGING:
            return self._deleveraged(height, match, fills)
        orders = {record[1]: record for record in records if record[0] == ORDER_STATE}
        return self._matched(height, match, fills, orders)

    def _matched(
        self, height: int, match: Record, fills: list[Record], orders: dict[Key, Record]
    ) -> list[Event]:
        events: list[Event] = []
        taker: Key = match[2]
        is_liquidation = match[1] == MATCH_LIQUIDATION
        for _, maker, amount in fills:
            market = self._market(maker[4])
            order = orders.get(maker)
            fill_id = f"{height}/{self._count}"
            self._count += 1
            if market is None or order is None:
                continue
            side = order[2]
            size = base_quantums_to_size(amount, market.atomic_resolution)
            price = subticks_to_price(
                order[4], market.atomic_resolution, market.clob_pair.quantum_conversion_exponent
            )
            kinds = ("LIQUIDATED", "LIQUIDATION") if is_liquidation else ("LIMIT", "LIMIT")
            for key, of, kind in ((taker, OTHER[side], kinds[0]), (maker, side, kinds[1])):
                if self._is_watched(key):
                    events.append(
                        FillSeen(
                            key[0],
                            key[1],
                            fill_id,
                            market.ticker,
                            SIDES[of],
                            size,
                            price,
                            NO_FEE,
                            kind,
                            height,
                        )
                    )
            if maker[4] in self._pairs:
                events.append(TradeSeen(market.ticker, fill_id, SIDES[OTHER[side]], size, price, kinds[0]))
        filled = sum(amount for _, _, amount in fills)
        if is_liquidation and filled and (self._every or self._is_watched(taker)):
            ticker = self._chain[match[3]].ticker if match[3] in self._chain else ""
            events.append(LiquidationSeen(taker[0], taker[1], ticker, "liquidation", filled, height))
        return events

    def _deleveraged(self, height: int, match: Record, fills: list[Record]) -> list[Event]:
        filled = sum(amount for _, _, amount in fills)
        ticker = self._chain[match[3]].ticker if match[3] in self._chain else ""
        events: list[Event] = []
        if filled and (self._every or self._is_watched(match[2])):
            events.append(LiquidationSeen(match[2][0], match[2][1], ticker, "deleveraging", filled, height))
        for _, other, amount in fills:
            if amount and self._is_watched(other):
                events.append(LiquidationSeen(other[0], other[1], ticker, "offsetting", amount, height))
        return events


def apply_order(book: OrderQueueBook, record: tuple[Any, ...]) -> None:
    """Apply one record of an order book: place, remove, update or replace."""
    kind, key = record[0], record[1]
    if kind == ORDER_PLACE:
        book.queues.place(key, record[2] == 1, record[4], record[3])
    elif kind == ORDER_REMOVE:
        book.queues.remove(key)
    elif kind == ORDER_UPDATE:
        book.queues.set_filled(key, record[2])
    else:
        book.queues.replace(record[10], key, record[2] == 1, record[4], record[3])
