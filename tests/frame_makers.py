"""Frames made up from the schema by seed: any key order, blanks, digits and additions; and damaged ones."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from frame_cases import MARKETS

TICKERS = list(MARKETS)
CHANNELS = (
    "v4_markets", "v4_orderbook", "v4_trades", "v4_subaccounts", "v4_parent_subaccounts", "v4_block_height",
)  # fmt: skip
TRADE_TYPES = ("LIMIT", "LIMIT", "LIQUIDATED", "DELEVERAGED", "TWAP_SUBORDER", "OFFSETTING")
MARKS = b'{}[]",:.0123456789-+eE \t\n\r\\u/truefalsn\x00\x1f\x7f\x80\xc3\xa9\xff'


def decimal(random: Random, *, signed: bool = False) -> str:
    """A number as the venue writes it, and sometimes as it might."""
    whole = str(random.randrange(10 ** random.choice((1, 1, 2, 3, 5, 7, 8, 12, 20))))
    decimals = random.choice((0, 0, 1, 2, 4, 6, 7, 8, 10, 14, 21))
    text = whole
    if decimals:
        text += "." + str(random.randrange(10**decimals)).zfill(decimals)
    if random.random() < 0.1:
        text = random.choice(("0", "-0", "00.50", "1.", ".5", "+1", text + "e-3", "", "1,0", "1 ", "0.0"))
    if signed and random.random() < 0.5 and text[:1] not in ("+", "-"):
        text = "-" + text
    return text


def value(random: Random, depth: int = 0) -> Any:
    """Any JSON value, as a key that is not known may have."""
    kind = random.randrange(9 if depth < 3 else 7)
    if kind == 7:
        return [value(random, depth + 1) for _ in range(random.randrange(4))]
    if kind == 8:
        return {word(random): value(random, depth + 1) for _ in range(random.randrange(4))}
    return (
        None, True, False, random.randrange(-(10**12), 10**12), word(random), random.random() * 100, "é\n"
    )[kind]  # fmt: skip


def word(random: Random) -> str:
    """A short name, sometimes one that means something elsewhere."""
    if random.random() < 0.3:
        return random.choice(("id", "type", "size", "market", "price", "contents", "bids", "blockHeight"))
    return "".join(random.choice("abcdeXYZ_-09 ") for _ in range(random.randrange(20)))


def ticker(random: Random) -> str:
    return "NEW-USD" if random.random() < 0.03 else random.choice(TICKERS)


def height(random: Random) -> str:
    return str(random.randrange(10 ** random.choice((3, 8, 8, 8, 19))))


def varied(random: Random, row: dict[str, Any]) -> dict[str, Any]:
    """The row with keys more or less, in another order."""
    items = list(row.items())
    if random.random() < 0.03:
        items.pop(random.randrange(len(items)))
    if random.random() < 0.1:
        items.append((word(random), value(random)))
    if items and random.random() < 0.02:
        at = random.randrange(len(items))
        items[at] = (items[at][0], value(random))
    if random.random() < 0.3:
        random.shuffle(items)
    return dict(items)


def oracle(random: Random) -> dict[str, Any]:
    row = {"oraclePrice": decimal(random), "effectiveAt": "2026-01-14T09:30:01.118Z"}
    market_id = random.randrange(10 ** random.choice((1, 3, 11)))
    return varied(random, {**row, "effectiveAtHeight": height(random), "marketId": market_id})


def position(random: Random) -> dict[str, Any]:
    size = decimal(random, signed=True)
    side = ("SHORT" if size.startswith("-") else "LONG") if random.random() < 0.95 else "BUY"
    return varied(
        random,
        {
            "address": "dydx1qyxwvut9e8dkz0c7pjm4hsn3lgqyf6t2r5a8wk",
            "subaccountNumber": random.choice((0, 128, 127999)),
            "positionId": "8b2c5b0e-51c5-5a44-a1d0-0f3a4c6b9d21",
            "market": ticker(random),
            "side": side,
            "status": random.choice(("OPEN", "OPEN", "CLOSED", "LIQUIDATED")),
            "size": size,
            "maxSize": size,
            "netFunding": "-1.204311",
            "entryPrice": decimal(random),
            "exitPrice": None,
            "sumOpen": decimal(random),
            "sumClose": "0",
            "realizedPnl": "0",
            "unrealizedPnl": "12.5",
        },
    )


def asset(random: Random) -> dict[str, Any]:
    return varied(
        random,
        {
            "address": "dydx1qyxwvut9e8dkz0c7pjm4hsn3lgqyf6t2r5a8wk",
            "subaccountNumber": random.choice((0, 128)),
            "positionId": "1f0f4b9c-7e55-5d6f-8f36-96f7b5f0a9c4",
            "assetId": random.choice(("0", "0", "0", "0", "1")),
            "symbol": "USDC",
            "side": random.choice(("LONG", "SHORT")),
            "size": decimal(random),
        },
    )


def trade(random: Random) -> dict[str, Any]:
    return varied(
        random,
        {
            "id": f"{random.randrange(16**24):024x}",
            "size": decimal(random),
            "price": decimal(random),
            "side": random.choice(("BUY", "SELL")),
            "createdAt": "2026-01-14T09:30:01.118Z",
            "type": random.choice(TRADE_TYPES),
        },
    )


def some(random: Random, make: Any) -> list[Any]:
    return [make(random) for _ in range(random.choice((0, 1, 1, 1, 2, 5)))]


def element(random: Random, channel: str) -> dict[str, Any]:
    """One update of a channel."""
    made: dict[str, Any] = {}
    if channel == "v4_markets":
        made["oraclePrices"] = {ticker(random): oracle(random) for _ in range(random.choice((1, 1, 1, 3)))}
    elif channel == "v4_orderbook":
        for side in random.choice((("bids",), ("asks",), ("bids", "asks"), ())):
            made[side] = some(random, lambda random: [decimal(random), decimal(random)])
    elif channel == "v4_trades":
        made["trades"] = some(random, trade)
    elif channel == "v4_block_height":
        made = {"blockHeight": height(random), "time": "2026-01-14T09:30:01.118Z"}
    else:
        if random.random() < 0.8:
            made["perpetualPositions"] = some(random, position)
        if random.random() < 0.8:
            made["assetPositions"] = some(random, asset)
        for key in ("orders", "fills", "transfers", "tradingReward"):
            if random.random() < 0.1:
                made[key] = value(random)
        if random.random() < 0.9:
            made["blockHeight"] = height(random)
    return varied(random, made) if made else made


def frame(random: Random) -> dict[str, Any]:
    """A data message."""
    channel = random.choice(CHANNELS)
    batched = random.random() < 0.5
    made: dict[str, Any] = {
        "type": "channel_batch_data" if batched else "channel_data",
        "connection_id": "3d6cbb1b-8f2f-4f0a-9d55-2d0c7c1f6a10",
        "message_id": random.randrange(10 ** random.choice((1, 4, 18))),
    }
    if channel != "v4_markets":
        market = channel in ("v4_orderbook", "v4_trades")
        made["id"] = ticker(random) if market else "dydx1qyxwvut9e8dkz0c7pjm4hsn3lgqyf6t2r5a8wk/0"
    made |= {"channel": channel, "version": "1.0.0"}
    elements = [element(random, channel) for _ in range(random.choice((0, 1, 2, 4)) if batched else 1)]
    made["contents"] = elements if batched else elements[0]
    if channel == "v4_parent_subaccounts":
        made["subaccountNumber"] = random.choice((0, 128))
    return varied(random, made)


def written(random: Random, made: dict[str, Any]) -> bytes:
    """The frame as bytes: as the server writes it, spaced, or with blanks anywhere."""
    style = random.randrange(4)
    if style < 2:
        return json.dumps(made, separators=(",", ":"), ensure_ascii=random.random() < 0.5).encode()
    if style == 2:
        return json.dumps(made, indent=random.choice((None, 1)), ensure_ascii=False).encode()
    text = json.dumps(made, ensure_ascii=False, separators=("\0,\0", "\0:\0"))
    return re.sub("\0", lambda _: random.choice(("", "", " ", "\t \r\n")), text).encode()


def damaged(random: Random, data: bytes) -> bytes:
    """The bytes with a few of them changed, lost, doubled or put elsewhere."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at, other = random.randrange(len(made) + 1), random.randrange(len(made) + 1)
        low, high = min(at, other), max(at, other)
        near = min(len(made), at + random.randrange(1, 12))
        match random.randrange(7):
            case 0:
                made[at : at + 1] = bytes([random.choice(MARKS)])
            case 1:
                made[at:at] = bytes([random.choice(MARKS)])
            case 2:
                del made[at:near]
            case 3:
                del made[at : at + 1]
            case 4:
                made[at:at] = made[at:near]
            case 5:
                made[other:other] = made[at:near]
            case _:
                if random.random() < 0.2:
                    del made[low:high]
                else:
                    made[at : at + 1] = bytes([random.randrange(256)])
    return bytes(made)
