"""A small indexer: accounts and prices that change with the blocks, and the messages that tell of it.

It counts messages as the venue does, reserves the number of an answer when the request arrives, answers
later, shares batch buffers, loses what happens between snapshot and registration, and has a REST interface
that lags.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from feed_cases import ETH, MARKET, OWNER, position, usdc

Json = dict[str, Any]
TICKERS = ("BTC-USD", "ETH-USD")
DECIMALS = {"BTC-USD": 10, "ETH-USD": 9}


@dataclass
class Truth:
    """One account: coins in thousandths, USDC in cents."""

    sizes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TICKERS, 0))
    usdc: int = 100_000
    height: int = 1

    def copy(self) -> Truth:
        return Truth(dict(self.sizes), self.usdc, self.height)


def coins(thousandths: int) -> str:
    sign = "-" if thousandths < 0 else ""
    return f"{sign}{abs(thousandths) // 1000}.{abs(thousandths) % 1000:03d}"


def balance(cents: int) -> Json:
    return usdc(f"{abs(cents) // 100}.{abs(cents) % 100:02d}", "SHORT" if cents < 0 else "LONG")


def body_of(number: int, truth: Truth, height: int) -> Json:
    rows = {t: position(t, coins(size)) for t, size in truth.sizes.items() if size}
    return {
        "address": OWNER, "subaccountNumber": number, "equity": "0", "freeCollateral": "0",
        "openPerpetualPositions": rows, "assetPositions": {"USDC": balance(truth.usdc)},
        "updatedAtHeight": str(truth.height), "latestProcessedBlockHeight": str(height),
    }  # fmt: skip


class Connection:
    """One connection of a client: what it subscribed to, what is on its way to it."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.counter = 0
        self.live: set[str] = set()
        self.pending: list[tuple[int, int, str, str]] = []  # due step, reserved number, channel, id
        self.out: list[Json] = [{"type": "connected", "connection_id": "c", "message_id": 0}]

    def receive(self, request: Json) -> None:
        """Take a frame of the client's."""
        channel, name = request["channel"], request.get("id", "")
        self.counter += 1
        key = f"{channel} {name}"
        if request["type"] == "subscribe":
            delay = self.venue.random.randint(0, 2)
            self.pending.append((self.venue.step + delay, self.counter, channel, name))
            return
        self.live.discard(key)
        self.out.append(
            {
                "type": "unsubscribed",
                "connection_id": "c",
                "message_id": self.counter,
                "channel": channel,
                **({"id": name} if name else {}),
            }
        )

    def answer(self) -> None:
        """Answer the subscribes that are due, in any order."""
        for pending in list(self.pending):
            due, number, channel, name = pending
            if due > self.venue.step:
                continue
            self.pending.remove(pending)
            contents = self.venue.snapshot(channel, name)
            self.live.add(f"{channel} {name}")
            buffered = self.venue.buffers.get(name)
            self.out.append(
                {
                    "type": "subscribed",
                    "connection_id": "c",
                    "message_id": number,
                    "channel": channel,
                    **({"id": name} if name else {}),
                    "contents": contents,
                }
            )
            if buffered is not None and self.venue.random.random() < 0.5:
                self.tell(channel, name, buffered)

    def tell(self, channel: str, name: str, contents: list[Json]) -> None:
        """Send an update to a live subscription."""
        if f"{channel} {name}" not in self.live:
            return
        self.counter += 1
        self.out.append(
            {
                "type": "channel_batch_data",
                "connection_id": "c",
                "message_id": self.counter,
                **({"id": name} if name else {}),
                "channel": channel,
                "version": "3.0.0",
                "contents": contents,
            }
        )


class Venue:
    """The truth, and how it is told."""

    def __init__(self, seed: int, accounts: int) -> None:
        self.random = random.Random(seed)
        self.accounts = [Truth() for _ in range(accounts)]
        self.before = [one.copy() for one in self.accounts]  # what a replica that is a block behind has
        self.prices = {"BTC-USD": 90_000, "ETH-USD": 3_000}
        self.height = 10
        self.step = 0
        self.connection: Connection | None = None
        self.buffers: dict[str, list[Json]] = {}  # the last updates, collected for other clients

    def connect(self) -> Connection:
        self.connection = Connection(self)
        return self.connection

    def snapshot(self, channel: str, name: str) -> Json:
        if channel == "v4_markets":
            rows = {"BTC-USD": MARKET, "ETH-USD": ETH}
            return {"markets": {t: {**row, "oraclePrice": str(self.prices[t])} for t, row in rows.items()}}
        if channel == "v4_block_height":
            return {"height": str(self.height), "time": f"2025-12-08T16:12:{self.step % 60:02d}.000Z"}
        number = int(name.rpartition("/")[2])
        lags = self.random.random() < 0.3  # the snapshot gap
        truth = self.before[number] if lags else self.accounts[number]
        height = self.height - 1 if lags else self.height
        return {"subaccount": body_of(number, truth, height), "orders": [], "blockHeight": str(height)}

    def block(self, quiet: bool = False) -> None:
        """Make a block: prices and some accounts change, and everybody is told."""
        self.step += 1
        self.before = [one.copy() for one in self.accounts]
        self.height += 1
        told: list[tuple[str, str, list[Json]]] = []
        for ticker in TICKERS:
            self.prices[ticker] = max(1, self.prices[ticker] + self.random.randint(-50, 50))
            price = {
                "oraclePrice": str(self.prices[ticker]),
                "effectiveAtHeight": str(self.height),
                "marketId": 0,
            }
            told.append(("v4_markets", "", [{"oraclePrices": {ticker: price}}]))
        for number, truth in enumerate(self.accounts):
            if quiet or self.random.random() > 0.3:
                continue
            for _ in range(self.random.randint(1, 3)):  # events of one block, each its own message
                ticker = self.random.choice(TICKERS)
                truth.sizes[ticker] = self.random.randint(-3, 3) * 100
                truth.usdc = self.random.randint(-100_000, 4_000_000)
                truth.height = self.height
                contents = {
                    "perpetualPositions": [position(ticker, coins(truth.sizes[ticker]))],
                    "assetPositions": [balance(truth.usdc)],
                    "blockHeight": str(self.height),
                }
                held = self.buffers.get(f"{OWNER}/{number}", [])
                self.buffers[f"{OWNER}/{number}"] = [*held[-2:], contents]
                told.append(("v4_subaccounts", f"{OWNER}/{number}", [contents]))
        told.append(
            (
                "v4_block_height",
                "",
                [{"blockHeight": str(self.height), "time": f"2025-12-08T16:12:{self.step % 60:02d}.000Z"}],
            )
        )
        if self.connection is not None:
            for message in told:
                self.connection.tell(*message)
            self.connection.answer()
