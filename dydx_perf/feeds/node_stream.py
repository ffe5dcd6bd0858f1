"""What to ask a full node's stream for, and what its updates may say.

The request's field 4, by which the node itself would filter, is never sent: a node that filters dereferences
nil on the first liquidation order that it looks at, and over gRPC the whole process dies with everybody's
streams. Everything is filtered here instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from dydx_perf.chain import Chain
from dydx_perf.errors import FrameError, InputError
from dydx_perf.ext.stream import (
    ORDER_PLACE,
    ORDER_REMOVE,
    ORDER_REPLACE,
    ORDER_STATE,
    ORDER_UPDATE,
    PRICE,
)
from dydx_perf.feeds.wire import message, number, text, varint
from dydx_perf.observers import Name

__all__ = [
    "METHOD",
    "NodeDeadlines",
    "StreamSubscription",
    "Update",
    "check_updates",
    "is_time",
    "order_text",
]

#: what the request goes to; a server stream
METHOD = "/dydxprotocol.clob.Query/StreamOrderbookUpdates"
#: longest address of an order
MAX_OWNER = 64
MAX_EXPONENT = 32
KEYED = (ORDER_PLACE, ORDER_REMOVE, ORDER_UPDATE, ORDER_REPLACE, ORDER_STATE)

#: height, exec_mode, body, snapshot, records
Update = tuple[int, int, int, bool, list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeDeadlines:
    """Seconds, unless a name says otherwise.

    Attributes
    ----------
    silence : float
        Until a stream is dead when nothing comes: a node that drops a subscription says nothing.
    halt : float
        Until the chain counts as halted when no block comes.
    lag_blocks : int
        Blocks that this node may be behind another source.
    ask_again : float
        Until a question to a node that nobody answered is asked again.
    notice : float
        How long a changed parameter is pointed out.
    node_every : float
        Between questions about all accounts and markets.
    retry, longest_retry : float
        Before a new connection: doubled each time that it fails, up to the longest.
    """

    silence: float = 7.5
    halt: float = 15.0
    lag_blocks: int = 3
    ask_again: float = 5.0
    node_every: float = 30.0
    notice: float = 3600.0
    retry: float = 0.5
    longest_retry: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            lowest = 0 if field.name == "lag_blocks" else 1e-6
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value <= 1e9:
                raise InputError(field.name, value, "a number above zero")


@dataclass(frozen=True, slots=True)
class StreamSubscription:
    """What one stream is for.

    Parameters
    ----------
    accounts : tuple of (address, number)
    order_books : tuple of tickers
        Their books are kept, and fills, liquidations and deleveragings are seen in them. Empty: no book is
        kept, and those of every market are seen, which is all that the node sends.
    prices : tuple of tickers, optional
        By default every market whose price id is known; at least one, since prices are the stream's pulse.
    """

    accounts: tuple[Name, ...] = ()
    order_books: tuple[str, ...] = ()
    prices: tuple[str, ...] | None = None

    def request(self, chain: Chain, market_ids: Mapping[str, int]) -> bytes:
        """Encode the request: order books, accounts and prices, and nothing else."""
        tickers = tuple(market_ids) if self.prices is None else self.prices
        for ticker in tickers:
            if ticker not in market_ids:
                raise InputError("prices", ticker, "tickers whose price id is among market_ids")
        if not tickers:
            raise InputError("prices", tickers, "at least one ticker: prices are the stream's pulse")
        pairs = [chain[ticker].clob_pair_id for ticker in self.order_books]
        body = packed(1, pairs)
        for address, subaccount in self.accounts:
            body += message(2, text(1, address) + number(2, subaccount))
        return body + packed(3, [market_ids[ticker] for ticker in tickers])


def is_time(value: object) -> bool:
    """Whether a value is a finite number of seconds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def packed(field: int, numbers: Iterable[int]) -> bytes:
    """Encode a list of unsigned numbers."""
    body = b"".join(map(varint, numbers))
    return message(field, body) if body else b""


def order_text(key: tuple[str, int, int, int, int]) -> str:
    """Write the chain's key of an order as text: address/number/client_id/order_flags/clob_pair_id."""
    return "/".join(map(str, key))


def check_updates(updates: Iterable[Update]) -> None:
    """Refuse what no node says, before anything of a message is applied.

    Raises
    ------
    FrameError
        An order of no side or of an address that no order has; a price that is none.
    """
    for place, (*_, records) in enumerate(updates):
        for kind, *parts in records:
            if kind == PRICE and not (parts[3] > 0 and abs(parts[2]) <= MAX_EXPONENT):
                raise refusal(place, "a price above zero with an exponent of -32 to 32")
            if kind in (ORDER_PLACE, ORDER_REPLACE, ORDER_STATE) and parts[1] not in (1, 2):
                raise refusal(place, "an order of side 1 or 2")
            if kind in KEYED and not is_owner(parts[0][0]):
                raise refusal(place, "an order with the address of its owner")
            if kind == ORDER_REPLACE and not is_owner(parts[9][0]):
                raise refusal(place, "an order with the address of its owner")


def is_owner(address: str) -> bool:
    """Whether an order may have this owner."""
    return 0 < len(address) <= MAX_OWNER and address.isascii() and "\x00" not in address


def refusal(place: int, reason: str) -> FrameError:
    return FrameError(reason, None, f"updates[{place}]")
