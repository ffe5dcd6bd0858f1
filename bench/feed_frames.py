"""A mixed feed of one account of 20 positions, made from the schema by seed.

45 % levels, 35 % oracle prices, 12 % trades, 8 % a position with the balance.
"""

from __future__ import annotations

import json
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any

CONNECTION = "3d6cbb1b-8f2f-4f0a-9d55-2d0c7c1f6a10"
ADDRESS = "dydx14zzueazeh0hj67cghhf9jypslcf9sh2n5k6art"
TIME = "2026-01-14T09:30:01.118Z"
HEIGHT = 68_120_000
MARKETS, BOOKS = 20, 8
TICKERS = [f"M{n}-USD" for n in range(MARKETS)]
#: atomic resolutions; a price has 15 + resolution decimals at most
RESOLUTIONS = [-(5 + n % 6) for n in range(MARKETS)]
TYPICAL = [96_512, 3_312, 187, 14, 2, 38, 641, 5, 27, 118]


def price(random: Random, market: int, decimals: int) -> str:
    """Around the market's own, within a percent."""
    typical = Decimal(TYPICAL[market % len(TYPICAL)])
    moved = typical * (100_000 + random.randrange(-1000, 1000)) / 100_000
    return f"{moved.quantize(Decimal(10) ** -decimals):f}"


def oracle_decimals(market: int) -> int:
    return min(15 + RESOLUTIONS[market], 8)


def message(number: int, channel: str, contents: Any, version: str = "1.0.0", **named: Any) -> bytes:
    """As the server writes it, no blanks."""
    made = {"type": "channel_data", "connection_id": CONNECTION, "message_id": number, **named}
    made |= {"channel": channel, "version": version, "contents": contents}
    return json.dumps(made, separators=(",", ":")).encode()


def oracle(random: Random, number: int) -> bytes:
    market = random.randrange(MARKETS)
    row = {
        "oraclePrice": price(random, market, oracle_decimals(market)),
        "effectiveAt": TIME,
        "effectiveAtHeight": str(HEIGHT),
        "marketId": market,
    }
    return message(number, "v4_markets", {"oraclePrices": {TICKERS[market]: row}})


def level(random: Random, number: int) -> bytes:
    market = random.randrange(BOOKS)
    text = "0" if random.random() < 0.33 else f"{random.randrange(1, 10_000)}.5"
    contents = {random.choice(("bids", "asks")): [[price(random, market, 2), text]]}
    return message(number, "v4_orderbook", contents, id=TICKERS[market])


def trade(random: Random, number: int) -> bytes:
    market = random.randrange(BOOKS)
    row = {
        "id": f"{HEIGHT:08x}0000000{random.randrange(9)}{number % 2**32:08x}",
        "size": "1.5",
        "price": price(random, market, 2),
        "side": random.choice(("BUY", "SELL")),
        "createdAt": TIME,
        "type": "LIMIT",
    }
    return message(number, "v4_trades", {"trades": [row]}, "2.1.0", id=TICKERS[market])


def position(market: int, size: str) -> dict[str, Any]:
    return {
        "address": ADDRESS,
        "subaccountNumber": 0,
        "positionId": f"8b2c5b0e-51c5-5a44-a1d0-{market:012x}",
        "market": TICKERS[market],
        "side": "SHORT" if size.startswith("-") else "LONG",
        "status": "OPEN",
        "size": size,
        "maxSize": size,
        "netFunding": "-1.204311",
        "entryPrice": "12.5",
        "exitPrice": None,
        "sumOpen": size.lstrip("-"),
        "sumClose": "0",
        "realizedPnl": "0",
        "unrealizedPnl": "14.25",
    }


def size(random: Random, market: int) -> str:
    """Long and short in turn, never through zero."""
    return f"{'-' if market % 2 else ''}{random.randrange(1, 500)}.{random.randrange(1, 9)}"


def balance(text: str) -> dict[str, Any]:
    return {
        "address": ADDRESS,
        "subaccountNumber": 0,
        "positionId": "1f0f4b9c-7e55-5d6f-8f36-96f7b5f0a9c4",
        "assetId": "0",
        "symbol": "USDC",
        "side": "LONG",
        "size": text,
    }


def account(random: Random, number: int) -> bytes:
    market = random.randrange(MARKETS)
    contents = {
        "perpetualPositions": [position(market, size(random, market))],
        "assetPositions": [balance(f"{random.randrange(10**9)}.{random.randrange(10**6):06d}")],
        "blockHeight": str(HEIGHT),
    }
    return message(number, "v4_subaccounts", contents, "3.0.0", id=f"{ADDRESS}/0")


@cache
def feed(count: int, first: int) -> tuple[bytes, ...]:
    """That many frames, numbered from `first` on; a longer feed begins as a shorter one."""
    random = Random(7)
    makers = random.choices((level, oracle, trade, account), (45, 35, 12, 8), k=10**6)[:count]
    return tuple(make(random, first + place) for place, make in enumerate(makers))


def subscribed(number: int, channel: str, contents: Any, line_id: str | None) -> bytes:
    named = {} if line_id is None else {"id": line_id}
    made = {"type": "subscribed", "connection_id": CONNECTION, "message_id": number, "channel": channel}
    return json.dumps({**made, **named, "contents": contents}, separators=(",", ":")).encode()


def market_row(market: int) -> dict[str, Any]:
    return {
        "clobPairId": str(market),
        "ticker": TICKERS[market],
        "status": "ACTIVE",
        "oraclePrice": str(TYPICAL[market % len(TYPICAL)]),
        "initialMarginFraction": "0.05",
        "maintenanceMarginFraction": "0.03",
        "openInterest": "1000",
        "atomicResolution": RESOLUTIONS[market],
        "quantumConversionExponent": -9,
        "stepBaseQuantums": 1000,
        "subticksPerTick": 100,
        "marketType": "CROSS",
        "openInterestLowerCap": "0",
        "openInterestUpperCap": "0",
        "defaultFundingRate1H": "0",
    }


@cache
def snapshots() -> tuple[bytes, ...]:
    """The greeting, and an answer to each subscription."""
    random = Random(8)
    held = {ticker: position(n, size(random, n)) for n, ticker in enumerate(TICKERS)}
    subaccount = {
        "address": ADDRESS,
        "subaccountNumber": 0,
        "equity": "1",
        "freeCollateral": "1",
        "openPerpetualPositions": held,
        "assetPositions": {"USDC": balance("500000")},
        "marginEnabled": True,
        "updatedAtHeight": str(HEIGHT - 1),
        "latestProcessedBlockHeight": str(HEIGHT - 1),
    }
    told: list[tuple[str, Any, str | None]] = [
        ("v4_markets", {"markets": {ticker: market_row(n) for n, ticker in enumerate(TICKERS)}}, None),
        (
            "v4_subaccounts",
            {"subaccount": subaccount, "orders": [], "blockHeight": str(HEIGHT - 1)},
            f"{ADDRESS}/0",
        ),
        *(("v4_orderbook", {"bids": [], "asks": []}, ticker) for ticker in TICKERS[:BOOKS]),
        *(("v4_trades", {"trades": []}, ticker) for ticker in TICKERS[:BOOKS]),
        ("v4_block_height", {"height": str(HEIGHT), "time": TIME}, "v4_block_height"),
    ]
    greeting = {"type": "connected", "connection_id": CONNECTION, "message_id": 0}
    return (
        json.dumps(greeting).encode(),
        *(subscribed(n, channel, contents, line) for n, (channel, contents, line) in enumerate(told, 1)),
    )
