"""Frames as the indexer sends them, of the sizes of the venue's own; by seed, too many to learn by heart."""

from __future__ import annotations

import json
from random import Random
from typing import Any

CONNECTION = "3d6cbb1b-8f2f-4f0a-9d55-2d0c7c1f6a10"
ADDRESS = "dydx1qyxwvut9e8dkz0c7pjm4hsn3lgqyf6t2r5a8wk"
#: ticker, price exponent, atomic resolution, typical price, decimals of prices and of sizes
MARKETS = [
    ("BTC-USD", -5, -10, 96_512, 0, 4),
    ("ETH-USD", -6, -9, 3_312, 1, 3),
    ("SOL-USD", -8, -7, 187, 2, 1),
    ("LINK-USD", -9, -6, 14, 3, 0),
    ("DOGE-USD", -11, -4, 0, 5, -1),
    ("AVAX-USD", -8, -7, 38, 2, 1),
]


def price(random: Random, market: int, more: int = 0) -> str:
    _, _, _, typical, decimals, _ = MARKETS[market]
    text = str(typical + random.randrange(-typical // 50, typical // 50 + 1))
    decimals += more
    return f"{text}.{random.randrange(1, 10**decimals):0{decimals}d}".rstrip("0") if decimals else text


def size(random: Random, market: int) -> str:
    decimals = MARKETS[market][5]
    if decimals <= 0:
        return str(random.randrange(1, 10**5) * 10**-decimals)
    text = f"{random.randrange(10 ** random.randrange(3))}.{random.randrange(1, 10**decimals):0{decimals}d}"
    return text.rstrip("0")


def frame(number: int, channel: str, contents: Any, **more: Any) -> bytes:
    made = {"type": "channel_batch_data" if isinstance(contents, list) else "channel_data"}
    made |= {"connection_id": CONNECTION, "message_id": number}
    if "id" in more:
        made["id"] = more["id"]
    made |= {"channel": channel, "version": more.get("version", "1.0.0"), "contents": contents}
    return json.dumps(made, separators=(",", ":")).encode()


def oracles(count: int = 512) -> list[bytes]:
    """One oracle price each."""
    random, made = Random(1), []
    for number in range(count):
        market = random.randrange(len(MARKETS))
        row = {
            "oraclePrice": price(random, market, 2),
            "effectiveAt": "2026-01-14T09:30:01.118Z",
            "effectiveAtHeight": str(68_120_000 + number),
            "marketId": market,
        }
        made.append(frame(1000 + number, "v4_markets", {"oraclePrices": {MARKETS[market][0]: row}}))
    return made


def level(random: Random, market: int) -> dict[str, list[list[str]]]:
    """One side with one level, a third of them taken away."""
    text = "0" if random.random() < 0.33 else size(random, market)
    return {random.choice(("bids", "asks")): [[price(random, market), text]]}


def levels(count: int = 512) -> list[bytes]:
    """One level of a book each."""
    random, made = Random(2), []
    for number in range(count):
        market = random.randrange(len(MARKETS))
        made.append(frame(1000 + number, "v4_orderbook", level(random, market), id=MARKETS[market][0]))
    return made


def book_batches(count: int = 16, length: int = 15_000) -> list[bytes]:
    """Batches of levels of about 15 KB."""
    random, made = Random(3), []
    for number in range(count):
        market = random.randrange(2)
        elements: list[Any] = []
        room = length - 200
        while room > 0:
            elements.append(level(random, market))
            room -= len(json.dumps(elements[-1], separators=(",", ":"))) + 1
        made.append(frame(1000 + number, "v4_orderbook", elements, id=MARKETS[market][0]))
    return made


def subaccounts(count: int = 128) -> list[bytes]:
    """Two positions and a balance each, as the chain's updates have them: about 1.7 KB with the ids."""
    random, made = Random(4), []
    for number in range(count):
        positions = []
        for market in random.sample(range(len(MARKETS)), 3):
            side = random.choice(("LONG", "SHORT"))
            text = ("-" if side == "SHORT" else "") + size(random, market)
            positions.append(
                {
                    "address": ADDRESS,
                    "subaccountNumber": 0,
                    "positionId": f"8b2c5b0e-51c5-5a44-a1d0-{random.randrange(16**12):012x}",
                    "market": MARKETS[market][0],
                    "side": side,
                    "status": "OPEN",
                    "size": text,
                    "maxSize": text,
                    "netFunding": "-1.204311",
                    "entryPrice": price(random, market, 4),
                    "exitPrice": None,
                    "sumOpen": text.lstrip("-"),
                    "sumClose": "0",
                    "realizedPnl": "0",
                    "unrealizedPnl": f"{random.randrange(1000)}.{random.randrange(1, 10**9)}",
                }
            )
        balance = {
            "address": ADDRESS,
            "subaccountNumber": 0,
            "positionId": "1f0f4b9c-7e55-5d6f-8f36-96f7b5f0a9c4",
            "assetId": "0",
            "symbol": "USDC",
            "side": random.choice(("LONG", "SHORT")),
            "size": f"{random.randrange(10**5)}.{random.randrange(10**6):06d}",
        }
        contents = {
            "perpetualPositions": positions,
            "assetPositions": [balance],
            "blockHeight": str(68_120_000 + number),
        }
        made.append(frame(1000 + number, "v4_subaccounts", contents, id=f"{ADDRESS}/0", version="3.0.0"))
    return made
