"""A session fed by hand: transcripts, frames from plain dicts, a chain to stand on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from dydx_perf.book import Book
from dydx_perf.chain import Chain
from dydx_perf.feeds.events import Event, Send
from dydx_perf.feeds.indexer import IndexerSession

Json = dict[str, Any]
TOLD = os.environ.get("DYDX_PERF_SHARED")
SAMPLES = (Path(TOLD) if TOLD else Path(__file__).resolve().parents[2] / "shared") / "samples"
TRANSCRIPTS = Path(__file__).resolve().parent / "data" / "transcripts"

#: an owner with a right checksum, as in the constructed samples
OWNER = "dydx14zzueazeh0hj67cghhf9jypslcf9sh2n5k6art"


def new_book(chain: Chain | None = None, *, indexed: bool = False) -> Book:
    """A book with room for a handful of accounts, on an empty chain by default."""
    return Book(
        Chain() if chain is None else chain,
        max_subaccounts=64,
        max_positions=256,
        max_markets=512,
        indexed=indexed,
    )


def frame(message: Json) -> bytes:
    """A message as it comes from the wire."""
    return json.dumps(message).encode()


def sent(events: Any) -> list[Json]:
    """The frames that a session wants to send."""
    return [json.loads(event.data) for event in events if isinstance(event, Send)]


def kinds(events: Any) -> list[str]:
    """Names of the events' types."""
    return [type(event).__name__ for event in events]


class Wire:
    """A session with a venue played by hand: numbers are counted as the venue counts them.

    No REST is played along, so snapshots need no confirmation unless a test asks for it.
    """

    def __init__(self, *subscriptions: Any, book: Book | None = None, **options: Any) -> None:
        self.book = new_book() if book is None else book
        options.setdefault("confirm_snapshots", False)
        self.session = IndexerSession(subscriptions, into=self.book, **options)
        self.now = 1000.0
        self.number = -1
        self.events: list[Event] = []

    def start(self) -> list[Json]:
        """Connect and greet; return what the session asks for."""
        asked = sent(self.session.start(self.now))
        self.number = -1
        self.say({"type": "connected", "connection_id": "c"})
        return asked

    def say(self, message: Json, number: int | None = None) -> list[Event]:
        """Give the session a message, with the next number or one of its own."""
        if number is None:
            self.number += 1
            number = self.number
        events = list(self.session.receive(frame({**message, "message_id": number}), self.now))
        self.events += events
        return events

    def subscribed(
        self, channel: str, id_: str | None, contents: Json, number: int | None = None
    ) -> list[Event]:
        named = {} if id_ is None else {"id": id_}
        return self.say(
            {"type": "subscribed", "connection_id": "c", "channel": channel, **named, "contents": contents},
            number,
        )

    def data(
        self, channel: str, id_: str | None, contents: Any, number: int | None = None, **more: Any
    ) -> list[Event]:
        kind = "channel_batch_data" if isinstance(contents, list) else "channel_data"
        named = {} if id_ is None else {"id": id_}
        return self.say(
            {
                "type": kind,
                "connection_id": "c",
                "channel": channel,
                **named,
                "version": "3.0.0",
                "contents": contents,
                **more,
            },
            number,
        )

    def heights(self, height: int = 100, time: str = "2025-12-08T16:12:00.210Z") -> list[Event]:
        """Answer the subscription to the block height."""
        return self.subscribed("v4_block_height", "v4_block_height", {"height": str(height), "time": time})

    def block(self, height: int, time: str = "2025-12-08T16:12:01.210Z") -> list[Event]:
        """Tell a block."""
        return self.data("v4_block_height", "v4_block_height", [{"blockHeight": str(height), "time": time}])

    def wait(self, seconds: float) -> list[Event]:
        """Let time pass, with every tick that falls due."""
        end, events = self.now + seconds, []
        for _ in range(10_000):
            due = self.session.next_deadline
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            events += self.session.tick(self.now)
        else:
            raise AssertionError("deadlines that never end")
        self.now = end
        events += self.session.tick(self.now)
        self.events += events
        return events


MARKET: Json = {
    "clobPairId": "0",
    "ticker": "BTC-USD",
    "status": "ACTIVE",
    "oraclePrice": "90000",
    "initialMarginFraction": "0.02",
    "maintenanceMarginFraction": "0.012",
    "openInterest": "381.7348",
    "atomicResolution": -10,
    "quantumConversionExponent": -9,
    "stepBaseQuantums": 1000000,
    "subticksPerTick": 100000,
    "marketType": "CROSS",
    "openInterestLowerCap": "0",
    "openInterestUpperCap": "0",
    "defaultFundingRate1H": "0",
}
ETH: Json = {**MARKET, "clobPairId": "1", "ticker": "ETH-USD", "oraclePrice": "3000", "atomicResolution": -9}
MARKETS_BODY: Json = {"markets": {"BTC-USD": MARKET, "ETH-USD": ETH}}


def usdc(size: str, side: str = "LONG") -> Json:
    """An asset position."""
    return {"symbol": "USDC", "assetId": "0", "side": side, "size": size}


def position(ticker: str, size: str, **more: Any) -> Json:
    """An open position, or a closed one where the size is 0."""
    status = "CLOSED" if float(size) == 0 else "OPEN"
    side = "SHORT" if size.startswith("-") else "LONG"
    return {
        "market": ticker, "side": side, "status": status, "size": size, "maxSize": size, "netFunding": "0",
        "entryPrice": "100", "exitPrice": None, "sumOpen": "1", "sumClose": "0", **more,
    }  # fmt: skip


def body(
    number: int = 0, *, balance: Json | None = None, positions: Any = (), height: int = 100, updated: int = 90
) -> Json:
    """A subaccount as REST and a snapshot have it."""
    return {
        "address": OWNER,
        "subaccountNumber": number,
        "equity": "1000",
        "freeCollateral": "900",
        "openPerpetualPositions": {row["market"]: row for row in positions},
        "assetPositions": {} if balance is None else {"USDC": balance},
        "marginEnabled": True,
        "updatedAtHeight": str(updated),
        "latestProcessedBlockHeight": str(height),
    }


def snapshot(*args: Any, orders: Any = (), **options: Any) -> Json:
    """Contents of `subscribed` for a subaccount."""
    one = body(*args, **options)
    return {"subaccount": one, "orders": list(orders), "blockHeight": one["latestProcessedBlockHeight"]}
