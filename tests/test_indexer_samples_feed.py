"""Transcripts of the indexer's WebSocket: the project's own everywhere, and the recordings where they are.

A transcript has one object a line: what the client sends, what the server sends, how it closes, notes. The
project's own are written from the schema and end with a line that says the state they must give.
"""

import json
from decimal import Decimal

import pytest
from feed_cases import SAMPLES, TRANSCRIPTS, Wire, frame, kinds, new_book, sent

from dydx_perf.chain import Chain
from dydx_perf.feeds.indexer import IndexerSession
from dydx_perf.feeds.subscriptions import (
    BlockHeight,
    CandlesOf,
    Markets,
    OrderBookOf,
    ParentSubaccountOf,
    SubaccountOf,
    TradesOf,
)


def subscription(request):
    """The subscription that a client's line asks for."""
    channel, name = request["channel"], request.get("id", "")
    owner, _, number = name.partition("/")
    return {
        "v4_markets": Markets,
        "v4_block_height": BlockHeight,
        "v4_subaccounts": lambda: SubaccountOf(owner, int(number)),
        "v4_parent_subaccounts": lambda: ParentSubaccountOf(owner, int(number)),
        "v4_orderbook": lambda: OrderBookOf(name),
        "v4_trades": lambda: TradesOf(name),
        "v4_candles": lambda: CandlesOf(owner, number),
    }[channel]()


def play(lines, chain=None):
    """Play a transcript: the client's lines tell what to subscribe to, the server's are received."""
    book = new_book(chain)
    session = IndexerSession([], into=book, keeps_prices=True)
    session.subscriptions = []
    now, events, heights = 1000.0, [], False
    asked = sent(session.start(now))
    for line in lines:
        now += 0.01
        message = line.get("msg")
        if line["dir"] == "client" and isinstance(message, dict) and message.get("channel", "v4_nope") != "v4_nope":
            if message["type"] == "subscribe" and message["channel"] != "v4_block_height" and "id" in message or message.get("channel") == "v4_markets":
                call = session.subscribe if message["type"] == "subscribe" else session.unsubscribe
                events += call(subscription(message), now)
            elif message["type"] == "unsubscribe":
                events += session.unsubscribe(subscription(message), now)
        elif line["dir"] == "server":
            events += session.receive(frame(message), now)
        elif line["dir"] == "server_close":
            events += session.disconnected(now, line["code"], line["reason"])
            events += session.start(now)
    del asked, heights
    return session, events, now
