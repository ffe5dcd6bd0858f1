"""What can be subscribed to at the indexer's WebSocket, and how it spreads over connections.

A subscription has a key, (channel, id), by which messages name it. `v4_markets` and `v4_block_height` have
one subscription each: their id is empty here, whatever the venue writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from dydx_perf.address import checked_address
from dydx_perf.errors import InputError
from dydx_perf.market import checked_choice, checked_integer
from dydx_perf.subaccount import MAX_SUBACCOUNT_NUMBER, PARENT_SUBACCOUNTS

__all__ = [
    "CHANNEL_LIMITS",
    "RESOLUTIONS",
    "BlockHeight",
    "CandlesOf",
    "Key",
    "Markets",
    "OrderBookOf",
    "ParentSubaccountOf",
    "SubaccountOf",
    "Subscription",
    "TradesOf",
    "distinct",
    "key_of",
    "shard",
    "subscribe_frame",
    "unsubscribe_frame",
]

Key = tuple[str, str]

#: the venue subscribes to numbers below the chain's highest one
MAX_SUBSCRIBED_NUMBER = MAX_SUBACCOUNT_NUMBER - 1
RESOLUTIONS = ("1MIN", "5MINS", "15MINS", "30MINS", "1HOUR", "4HOURS", "1DAY")
#: subscriptions that the venue takes on one connection
CHANNEL_LIMITS: Mapping[str, int] = MappingProxyType(
    {
        "v4_subaccounts": 256,
        "v4_parent_subaccounts": 256,
        "v4_orderbook": 32,
        "v4_trades": 32,
        "v4_candles": 32,
        "v4_markets": 32,
        "v4_block_height": 1,
    }
)
#: channels with one subscription, which has no id
SINGLE = {"v4_markets", "v4_block_height"}

_TICKER = re.compile(r"[!#-.0-\[\]-~]{1,64}", re.ASCII)  # printable, without blank, quote, slash, backslash


def checked_ticker(ticker: object) -> str:
    """Return `ticker` when it can be part of an id."""
    if not isinstance(ticker, str) or not _TICKER.fullmatch(ticker):
        raise InputError("ticker", ticker, "a text of 1 to 64 characters without blanks, like BTC-USD")
    return ticker


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription; make one of the kinds below."""

    channel: ClassVar[str] = ""

    @property
    def id(self) -> str:
        """The id as the venue takes it; empty for a channel that has none."""
        return ""

    @property
    def key(self) -> Key:
        """(channel, id)."""
        return self.channel, self.id


@dataclass(frozen=True, slots=True)
class Markets(Subscription):
    """All markets: parameters, statistics, oracle prices."""

    channel: ClassVar[str] = "v4_markets"


@dataclass(frozen=True, slots=True)
class BlockHeight(Subscription):
    """A message for each block that the indexer processed: the pulse of a connection."""

    channel: ClassVar[str] = "v4_block_height"


@dataclass(frozen=True, slots=True)
class SubaccountOf(Subscription):
    """One subaccount: positions, balance, orders, fills, transfers.

    Parameters
    ----------
    address : str
    number : int
        0 to 127,999.
    """

    channel: ClassVar[str] = "v4_subaccounts"
    address: str
    number: int = 0

    def __post_init__(self) -> None:
        checked_address("address", self.address)
        checked_integer("number", self.number, 0, MAX_SUBSCRIBED_NUMBER)

    @property
    def id(self) -> str:
        """``address/number``."""
        return f"{self.address}/{self.number}"


@dataclass(frozen=True, slots=True)
class ParentSubaccountOf(Subscription):
    """A parent subaccount and its children: all numbers that leave the same rest modulo 128.

    Parameters
    ----------
    address : str
    number : int
        0 to 127.
    """

    channel: ClassVar[str] = "v4_parent_subaccounts"
    address: str
    number: int = 0

    def __post_init__(self) -> None:
        checked_address("address", self.address)
        checked_integer("number", self.number, 0, PARENT_SUBACCOUNTS - 1)

    @property
    def id(self) -> str:
        """``address/number``."""
        return f"{self.address}/{self.number}"

    def has(self, number: int) -> bool:
        """Whether a subaccount number belongs to this parent."""
        return number % PARENT_SUBACCOUNTS == self.number


@dataclass(frozen=True, slots=True)
class OrderBookOf(Subscription):
    """The order book of a market, by price level."""

    channel: ClassVar[str] = "v4_orderbook"
    ticker: str

    def __post_init__(self) -> None:
        checked_ticker(self.ticker)

    @property
    def id(self) -> str:
        """The ticker."""
        return self.ticker


@dataclass(frozen=True, slots=True)
class TradesOf(Subscription):
    """The trades of a market."""

    channel: ClassVar[str] = "v4_trades"
    ticker: str

    def __post_init__(self) -> None:
        checked_ticker(self.ticker)

    @property
    def id(self) -> str:
        """The ticker."""
        return self.ticker


@dataclass(frozen=True, slots=True)
class CandlesOf(Subscription):
    """The candles of a market in one of RESOLUTIONS."""

    channel: ClassVar[str] = "v4_candles"
    ticker: str
    resolution: str

    def __post_init__(self) -> None:
        checked_ticker(self.ticker)
        checked_choice("resolution", self.resolution, RESOLUTIONS)

    @property
    def id(self) -> str:
        """``ticker/resolution``."""
        return f"{self.ticker}/{self.resolution}"


KINDS = (Markets, BlockHeight, SubaccountOf, ParentSubaccountOf, OrderBookOf, TradesOf, CandlesOf)


def key_of(channel: str, message_id: str | None) -> Key:
    """Return the key of the subscription that a message names."""
    return channel, "" if channel in SINGLE or message_id is None else message_id


def _frame(kind: str, subscription: Subscription, **more: object) -> bytes:
    named = {"id": subscription.id} if subscription.id else {}
    message = {"type": kind, "channel": subscription.channel, **named, **more}
    return json.dumps(message, separators=(",", ":")).encode()


def subscribe_frame(subscription: Subscription, batched: bool) -> bytes:
    """Return what asks the venue for a subscription; `batched`: its messages are collected for 250 ms."""
    return _frame("subscribe", subscription, **({"batched": True} if batched else {}))


def unsubscribe_frame(subscription: Subscription) -> bytes:
    """Return what ends a subscription."""
    return _frame("unsubscribe", subscription)


def distinct(subscriptions: Iterable[Subscription]) -> list[Subscription]:
    """Return each subscription once, in the order given."""
    found: dict[Key, Subscription] = {}
    for subscription in subscriptions:
        if type(subscription) not in KINDS:
            raise InputError("subscriptions", subscription, "Markets(), SubaccountOf(…), OrderBookOf(…) …")
        found.setdefault(subscription.key, subscription)
    return list(found.values())


def shard(
    subscriptions: Iterable[Subscription], limits: Mapping[str, int] = CHANNEL_LIMITS
) -> list[list[Subscription]]:
    """Spread subscriptions over as few connections as the limits of their channels allow.

    Parameters
    ----------
    subscriptions : iterable of Subscription
        One that comes twice is taken once.
    limits : mapping of channel to int
        Subscriptions of a channel that one connection takes.

    Returns
    -------
    list of lists
        One list a connection. Where `BlockHeight` is among them, each has it: it is a connection's pulse.
    """
    connections: list[list[Subscription]] = []
    taken: dict[str, int] = {}
    pulse = False
    for subscription in distinct(subscriptions):
        if isinstance(subscription, BlockHeight):
            pulse = True
            continue
        place = taken.get(subscription.channel, 0)
        taken[subscription.channel] = place + 1
        index = place // limits[subscription.channel]
        while len(connections) <= index:
            connections.append([])
        connections[index].append(subscription)
    if pulse:
        connections = [[*one, BlockHeight()] for one in connections or [[]]]
    return connections
