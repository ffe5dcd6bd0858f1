"""What a session tells its caller: requests that only the caller can carry out, and facts.

A session returns events in the order in which they follow from what came. Prices, sizes, balances and book
levels that simply changed are no events: they stand in the book, the chain and the order book, and nothing is
allocated for them. A `Crossing` of the book is an event as it is.

Amounts are the chain's integers where the field says so, else exact Decimals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from dydx_perf.ext.crossing import Crossing

__all__ = [
    "AccountSnapshot",
    "AskNode",
    "BlockSeen",
    "CandleSeen",
    "Connected",
    "Event",
    "Fetch",
    "FillSeen",
    "LiquidationSeen",
    "LiquidationTried",
    "MarketChanged",
    "OrderChanged",
    "Reconnect",
    "Send",
    "Subscribed",
    "TradeSeen",
    "TransferSeen",
    "TrustChanged",
    "Unsubscribed",
    "VenueRefused",
]

# -- requests


@dataclass(frozen=True, slots=True)
class Send:
    """Send this on the connection: one text frame, or a node's one request of a stream."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """GET this path of the indexer's REST interface, and hand the answer to `session.fetched`.

    Attributes
    ----------
    path : str
        With its query, below the base address: ``/addresses/dydx1…/subaccountNumber/0``.
    why : str
        "reconcile", "gap", "orders" …
    """

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class AskNode:
    """Ask a node these queries at one height, and hand the answers to `session.node_answered`.

    Attributes
    ----------
    accounts : tuple of (address, number)
        Whose `Subaccount` and `Leverage` are wanted.
    markets : bool
        Whether perpetuals, liquidity tiers, prices and order books are wanted, too.
    why : str
    """

    accounts: tuple[tuple[str, int], ...]
    markets: bool
    why: str


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Close this connection; after `delay` seconds make a new one and call `session.start` again."""

    reason: str
    delay: float


# -- facts


@dataclass(frozen=True, slots=True)
class Connected:
    """The venue greeted a new connection."""

    connection_id: str


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A subscription answers: its snapshot was applied. `id` is empty for channels that have none."""

    channel: str
    id: str


@dataclass(frozen=True, slots=True)
class Unsubscribed:
    """A subscription ended, as asked."""

    channel: str
    id: str


@dataclass(frozen=True, slots=True)
class VenueRefused:
    """The venue answered with an error; `channel` and `id` are empty where it does not say of what."""

    message: str
    channel: str
    id: str


@dataclass(frozen=True, slots=True)
class TrustChanged:
    """Whether figures may be trusted changed; see `dydx_perf.feeds.trust`.

    Attributes
    ----------
    subject : str
        "feed", "chain", "market BTC-USD" or "account dydx1…/0".
    doubts : tuple of str
        Codes that hold now; none: it is trusted.
    before : tuple of str
        Codes that held before.
    """

    subject: str
    doubts: tuple[str, ...]
    before: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BlockSeen:
    """The source processed a block. `time` is the block's own, as text."""

    height: int
    time: str


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """The state of an account was replaced whole. `exists` is False for one that the venue does not know."""

    address: str
    number: int
    height: int | None
    exists: bool


@dataclass(frozen=True, slots=True)
class MarketChanged:
    """Parameters of a market changed, or it is new: tier, fractions, caps, status, type; never statistics.

    Attributes
    ----------
    ticker : str
    changes : mapping of name to (before, after)
        Of a new market, before is None.
    """

    ticker: str
    changes: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """An order of a watched account changed.

    Attributes
    ----------
    order_id : str
        The indexer's uuid, or the chain's key as text.
    status : str
        "OPEN", "BEST_EFFORT_OPENED", "FILLED", "CANCELED", "BEST_EFFORT_CANCELED", "UNTRIGGERED", "ERROR".
    """

    address: str
    number: int
    order_id: str
    ticker: str
    status: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FillSeen:
    """A fill of a watched account, once for each `fill_id`.

    Attributes
    ----------
    size, price, fee : Decimal
        Coins above zero, USDC for one coin, USDC (below zero: a rebate).
    kind : str
        "LIMIT", "LIQUIDATED", "LIQUIDATION", "DELEVERAGED", "OFFSETTING", "TWAP_SUBORDER". A node's stream
        tells no fee, and of a deleveraging no price: that is a `LiquidationSeen` of both sides, and no fill.
    """

    address: str
    number: int
    fill_id: str
    ticker: str
    side: str
    size: Decimal
    price: Decimal
    fee: Decimal
    kind: str
    height: int | None


@dataclass(frozen=True, slots=True)
class TransferSeen:
    """Money moved in or out of a watched account; `amount` in USDC, above zero when it came in."""

    address: str
    number: int
    amount: Decimal
    kind: str
    height: int | None


@dataclass(frozen=True, slots=True)
class LiquidationSeen:
    """The chain liquidated or deleveraged a watched account, or closed it against one that it deleveraged.

    Attributes
    ----------
    kind : str
        "liquidation", "deleveraging", or "offsetting": the other side of a deleveraging, picked by the chain.
    base_quantums : int
        Size of the fill, above zero.
    """

    address: str
    number: int
    ticker: str
    kind: str
    base_quantums: int
    height: int | None


@dataclass(frozen=True, slots=True)
class LiquidationTried:
    """A node tried to liquidate an account against its own book: what that node saw, and not consensus.

    Attributes
    ----------
    base_quantums, subticks : int
        Size and limit price of the order.
    order_status : int
        The chain's: 0 success, 5 requires deleveraging, 6 past the notional and 7 past the insurance limit …
    """

    address: str
    number: int
    ticker: str
    base_quantums: int
    subticks: int
    order_status: int
    height: int


@dataclass(frozen=True, slots=True)
class TradeSeen:
    """A trade of a market, once for each `trade_id`; `side` is the taker's."""

    ticker: str
    trade_id: str
    side: str
    size: Decimal
    price: Decimal
    kind: str


@dataclass(frozen=True, slots=True)
class CandleSeen:
    """A candle as it stands; it replaces the one with the same start."""

    ticker: str
    resolution: str
    started_at: str
    candle: Mapping[str, Any] = field(repr=False)


Event = (
    Send
    | Fetch
    | AskNode
    | Reconnect
    | Connected
    | Subscribed
    | Unsubscribed
    | VenueRefused
    | TrustChanged
    | BlockSeen
    | AccountSnapshot
    | MarketChanged
    | OrderChanged
    | FillSeen
    | TransferSeen
    | LiquidationSeen
    | LiquidationTried
    | TradeSeen
    | CandleSeen
    | Crossing
)
