"""The indexer's order book of one market: levels by price, each with the order of its arrival."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from dydx_perf.feeds.trades import Level

__all__ = ["OrderBookFeed"]


class OrderBookFeed:
    """Levels of one market, as told, and the view of them in which bids and asks do not cross.

    Attributes
    ----------
    is_whole : bool
        False: messages were lost since the snapshot.
    refresh_at : float
        When it is subscribed to anew.
    """

    def __init__(self, ticker: str) -> None:
        self.ticker = ticker
        self.is_whole = False
        self.refresh_at = 0.0
        self._sides: tuple[dict[Decimal, tuple[Decimal, int]], ...] = ({}, {})
        self._arrival = 0

    def replace(self, bids: Iterable[Level], asks: Iterable[Level], now: float) -> None:
        """Take a snapshot."""
        self._sides = ({}, {})
        self.is_whole = True
        self.update(bids, asks, now)

    def update(self, bids: Iterable[Level], asks: Iterable[Level], now: float) -> None:
        """Set levels to absolute sizes; 0 deletes one."""
        self._arrival += 1
        for side, levels in zip(self._sides, (bids, asks), strict=True):
            for price, size in levels:
                if size:
                    side[price] = size, self._arrival
                else:
                    side.pop(price, None)

    def lost(self) -> None:
        """Messages were lost."""
        self.is_whole = False

    def uncrossed(self) -> tuple[list[Level], list[Level]]:
        """Return bids and asks, best first: of two levels that cross the older one is left out."""
        bids = sorted(self._sides[0].items(), reverse=True)
        asks = sorted(self._sides[1].items())
        at = [0, 0]
        while at[0] < len(bids) and at[1] < len(asks) and bids[at[0]][0] >= asks[at[1]][0]:
            (_, (bid_size, bid_arrival)), (_, (ask_size, ask_arrival)) = bids[at[0]], asks[at[1]]
            older_is_bid = (bid_arrival, bid_size) < (ask_arrival, ask_size)
            at[0 if older_is_bid else 1] += 1
        return (
            [(price, size) for price, (size, _) in bids[at[0] :]],
            [(price, size) for price, (size, _) in asks[at[1] :]],
        )
