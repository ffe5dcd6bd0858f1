"""Trades, candles and order-book levels of the indexer's messages, read strictly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from dydx_perf.documents import Field
from dydx_perf.feeds.account_messages import (
    ORDER_SIDES,
    each,
    object_of,
    positive_decimal,
    required_decimal,
    text_of,
)
from dydx_perf.feeds.events import CandleSeen, TradeSeen

__all__ = ["Level", "TradeIds", "read_candles", "read_levels", "read_trades"]

Level = tuple[Decimal, Decimal]

#: ids kept of a market, so that no trade is told twice
MAX_TRADES = 10_000


class TradeIds:
    """Trades of one market that were seen."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.is_listed = False  # whether a snapshot has come

    def is_new(self, trade_id: str) -> bool:
        """Note a trade; whether it was not seen before. One without an id always is new."""
        if not trade_id:
            return True
        if trade_id in self._seen:
            return False
        self._seen[trade_id] = None
        if len(self._seen) > MAX_TRADES:
            self._seen.popitem(last=False)
        return True


def read_trades(contents: Mapping[str, Any], path: str, ticker: str) -> list[TradeSeen]:
    """Read the trades of a message; older networks name no kind."""
    return [
        TradeSeen(
            ticker,
            text_of(row["id"]),
            row["side"].choice(ORDER_SIDES).value,
            positive_decimal(row["size"]),
            positive_decimal(row["price"]),
            text_of(row["type"]),
        )
        for row in each(Field(path, contents)["trades"])
    ]


def read_candles(contents: Mapping[str, Any], path: str, ticker: str, resolution: str) -> list[CandleSeen]:
    """Read the candles of a snapshot, oldest first, or the one of an update."""
    root = Field(path, contents)
    rows = [root] if root["candles"].value is None else list(root["candles"].each())
    return [
        CandleSeen(ticker, resolution, str(row["startedAt"].text().value), object_of(row))
        for row in reversed(rows)
    ]


def read_levels(contents: Mapping[str, Any], path: str) -> tuple[list[Level], list[Level]]:
    """Read bids and asks: objects in a snapshot, pairs in an update; a size of 0 deletes a level."""
    root = Field(path, contents)
    bids, asks = ([_level(row) for row in each(root[side])] for side in ("bids", "asks"))
    return bids, asks


def _level(row: Field) -> Level:
    if isinstance(row.value, Mapping):
        price, size = row["price"], row["size"]
    else:
        parts = list(_parts(row))
        if len(parts) != 2:
            raise row.refusal("a price and a size")
        price, size = parts
    amount = required_decimal(size)
    if amount < 0:
        raise size.refusal("zero or more")
    return positive_decimal(price), amount


def _parts(row: Field) -> Iterator[Field]:
    yield from row.each()
