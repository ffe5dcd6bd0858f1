"""Feeds without sockets: a session takes the bytes that came and when they came, and says what follows.

The caller owns the sockets and the clock. `IndexerSession` speaks the indexer's WebSocket, `FullNodeSession`
a full node's stream; both keep a `Book`. Times are seconds of one clock of the caller's that never goes back.

What a caller names stands here: the sessions, what they can be asked for, what they tell, and how far it can
be trusted. A name loads its module when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = [
    "AccountSnapshot",
    "Applied",
    "AskNode",
    "BlockHeight",
    "BlockSeen",
    "Bound",
    "CandleSeen",
    "CandlesOf",
    "Comparison",
    "Connected",
    "Deadlines",
    "Event",
    "Fetch",
    "FillSeen",
    "FullNodeSession",
    "IndexerSession",
    "LiquidationSeen",
    "LiquidationTried",
    "LiveProof",
    "MarketChanged",
    "Markets",
    "NodeDeadlines",
    "NodePicture",
    "NodeQuery",
    "OrderBookOf",
    "OrderChanged",
    "ParentSubaccountOf",
    "Reconnect",
    "Send",
    "StreamSubscription",
    "SubaccountOf",
    "Subscribed",
    "Subscription",
    "TradeSeen",
    "TradesOf",
    "TransferSeen",
    "TrustChanged",
    "Unsubscribed",
    "VenueRefused",
    "WatchedAccount",
    "WatchedRisk",
    "queries",
    "shard",
]

if TYPE_CHECKING:
    from dydx_perf.feeds.accounts import WatchedAccount
    from dydx_perf.feeds.deadlines import Deadlines
    from dydx_perf.feeds.events import (
        AccountSnapshot,
        AskNode,
        BlockSeen,
        CandleSeen,
        Connected,
        Event,
        Fetch,
        FillSeen,
        LiquidationSeen,
        LiquidationTried,
        MarketChanged,
        OrderChanged,
        Reconnect,
        Send,
        Subscribed,
        TradeSeen,
        TransferSeen,
        TrustChanged,
        Unsubscribed,
        VenueRefused,
    )
    from dydx_perf.feeds.fullnode import FullNodeSession
    from dydx_perf.feeds.indexer import Comparison, IndexerSession
    from dydx_perf.feeds.live_proof import LiveProof
    from dydx_perf.feeds.node import Applied, NodePicture
    from dydx_perf.feeds.node_queries import NodeQuery, queries
    from dydx_perf.feeds.node_stream import NodeDeadlines, StreamSubscription
    from dydx_perf.feeds.subscriptions import (
        BlockHeight,
        CandlesOf,
        Markets,
        OrderBookOf,
        ParentSubaccountOf,
        SubaccountOf,
        Subscription,
        TradesOf,
        shard,
    )
    from dydx_perf.feeds.trust import Bound, WatchedRisk
else:
    # Where each name lives.
    _PLACES = {
        "AccountSnapshot": "events",
        "Applied": "node",
        "AskNode": "events",
        "BlockHeight": "subscriptions",
        "BlockSeen": "events",
        "Bound": "trust",
        "CandleSeen": "events",
        "CandlesOf": "subscriptions",
        "Comparison": "indexer",
        "Connected": "events",
        "Deadlines": "deadlines",
        "Event": "events",
        "Fetch": "events",
        "FillSeen": "events",
        "FullNodeSession": "fullnode",
        "IndexerSession": "indexer",
        "LiquidationSeen": "events",
        "LiquidationTried": "events",
        "LiveProof": "live_proof",
        "MarketChanged": "events",
        "Markets": "subscriptions",
        "NodeDeadlines": "node_stream",
        "NodePicture": "node",
        "NodeQuery": "node_queries",
        "OrderBookOf": "subscriptions",
        "OrderChanged": "events",
        "ParentSubaccountOf": "subscriptions",
        "Reconnect": "events",
        "Send": "events",
        "StreamSubscription": "node_stream",
        "SubaccountOf": "subscriptions",
        "Subscribed": "events",
        "Subscription": "subscriptions",
        "TradeSeen": "events",
        "TradesOf": "subscriptions",
        "TransferSeen": "events",
        "TrustChanged": "events",
        "Unsubscribed": "events",
        "VenueRefused": "events",
        "WatchedAccount": "accounts",
        "WatchedRisk": "trust",
        "queries": "node_queries",
        "shard": "subscriptions",
    }

    def __getattr__(name):
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
        globals()[name] = value
        return value
