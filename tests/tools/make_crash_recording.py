"""Make the recording that ships: real accounts and markets of recorded days, through a made-up crash.

    python tests/tools/make_crash_recording.py OUT

Balances, positions and market parameters are those of ``recorded_accounts.json``: what the indexer reported
of two mainnet accounts in May and June 2024. Everything after the first snapshots is made up: the fall, the
rally, two withdrawals, a liquidation and a deposit. The same frames every time.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from importlib.resources import files
from typing import Any

from dydx_perf.recorded import subaccounts_of_recording
from dydx_perf.recording import Frame, RecordingWriter

Row = dict[str, Any]

BEGIN = 1_715_000_400_000  # 2024-05-06T13:00:00Z, in milliseconds
FIRST_HEIGHT = 15_000_000
BLOCK, BATCH, ANSWERS = 500, 250, 1_000  # milliseconds
END = 14_500
CONNECTION = "5f0c1c7e-2b1a-4f2d-9a39-0a6a7f1b9b10"
MAKER = "dydx18p7nz5rqezkyscdz9pv9rchnsesjyjjyfe92t3"
PARENT = "dydx1jd8uuuwcfr2xg6ek0g3mes2kppzm54qd65npwe"
ABOUT = {
    "title": "a made-up crash over accounts of recorded days",
    "real": "balances, positions and market parameters of two dYdX mainnet accounts, as the indexer reported "
    "them on 2024-05-06 and 2024-06-21",
    "made up": "every price after the first, heights, transfers, the liquidation and the order book: nobody "
    "traded so",
}
#: (milliseconds, share of the first price): a fall, a pause, a rally past the start
PATH = [(0, 1.0), (2_000, 1.0), (6_000, 0.84), (7_500, 0.85), (12_000, 1.09), (END, 1.085)]


def share(at: int) -> float:
    """Share of the first price at a moment, without noise."""
    for (before, low), (after, high) in itertools.pairwise(PATH):
        if at <= after:
            return low + (high - low) * (at - before) / (after - before)
    return PATH[-1][1]


@dataclass
class Account:
    """One subaccount as the made-up venue has it."""

    address: str
    number: int
    usdc: Decimal
    positions: dict[str, Row]
    height: int = FIRST_HEIGHT

    @property
    def name(self) -> str:
        return f"{self.address}/{self.number}"

    def body(self, prices: dict[str, Decimal], fractions: dict[str, Decimal], height: int) -> Row:
        """What REST and the snapshot say."""
        values = {ticker: Decimal(row["size"]) * prices[ticker] for ticker, row in self.positions.items()}
        equity = self.usdc + sum(values.values(), Decimal(0))
        margin = sum((abs(value) * fractions[ticker] for ticker, value in values.items()), Decimal(0))
        asset = {
            "size": text(abs(self.usdc)),
            "symbol": "USDC",
            "side": "LONG" if self.usdc >= 0 else "SHORT",
            "assetId": "0",
            "subaccountNumber": self.number,
        }
        return {
            "address": self.address,
            "subaccountNumber": self.number,
            "equity": text(equity),
            "freeCollateral": text(equity - margin),
            "openPerpetualPositions": self.positions,
            "assetPositions": {"USDC": asset} if self.usdc else {},
            "marginEnabled": True,
            "updatedAtHeight": str(self.height),
            "latestProcessedBlockHeight": str(height),
        }

    def asset_update(self) -> Row:
        return {
            "address": self.address,
            "subaccountNumber": self.number,
            "positionId": f"usdc-{self.number}",
            "assetId": "0",
            "symbol": "USDC",
            "side": "LONG" if self.usdc > 0 else "SHORT",
            "size": text(abs(self.usdc)),
        }

    def transfer(self, amount: Decimal, kind: str, at: int, height: int) -> Row:
        """Contents of a deposit or a withdrawal, which is applied."""
        self.usdc += amount
        self.height = height
        wallet, own = {"address": self.address}, {"address": self.address, "subaccountNumber": self.number}
        sender, recipient = (wallet, own) if amount > 0 else (own, wallet)
        return {
            "assetPositions": [self.asset_update()],
            "transfers": {
                "sender": sender,
                "recipient": recipient,
                "symbol": "USDC",
                "size": text(abs(amount)),
                "type": kind,
                "createdAt": moment(at),
                "createdAtHeight": str(height),
                "transactionHash": "00",
            },
            "blockHeight": str(height),
        }


@dataclass
class Venue:
    """Writes messages as the indexer does, with one counter."""

    frames: list[Frame] = field(default_factory=list)
    number: int = 0

    def put(self, at: int, message: Row) -> None:
        data = json.dumps(message, separators=(",", ":")).encode()
        self.frames.append(Frame((BEGIN + at) * 1_000_000, "received", 0, data=data))

    def message(self, at: int, kind: str, channel: str, name: str | None, contents: Any, **more: Any) -> None:
        self.number += 1
        named = {} if name is None else {"id": name}
        head = {"type": kind, "connection_id": CONNECTION, "message_id": self.number}
        if kind == "subscribed":
            self.put(at, {**head, "channel": channel, **named, "contents": contents})
        else:
            version = {"version": "3.0.0" if "subaccounts" in channel else "1.0.0"}
            self.put(at, {**head, **named, "channel": channel, **version, "contents": contents, **more})

    def rest(self, at: int, path: str, body: Any) -> None:
        data = json.dumps(body, separators=(",", ":")).encode()
        time = (BEGIN + at) * 1_000_000
        self.frames.append(Frame(time, "rest", 0, path, b"reconcile", data, 200))


def text(number: Decimal) -> str:
    """A decimal as the indexer writes it: no exponent, no trailing zeros."""
    plain = f"{number:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def moment(at: int) -> str:
    seconds, milliseconds = divmod(BEGIN + at, 1_000)
    minutes, second = divmod(seconds % 86_400, 60)
    return f"2024-05-06T{minutes // 60:02}:{minutes % 60:02}:{second:02}.{milliseconds:03}Z"


def market_rows(document: Row) -> dict[str, Row]:
    """The markets of the day, as perpetualMarkets has them."""
    (chosen,) = [one for one in document["market_sets"] if one["name"] == "mainnet-2024-04"]
    rows = {}
    for values in chosen["rows"]:
        row = dict(zip(chosen["columns"], values, strict=True))
        resolution = row["atomic_resolution"]
        tick = Decimal(row["subticks_per_tick"]).scaleb(row["quantum_conversion_exponent"] - 6 - resolution)
        rows[row["ticker"]] = {
            "clobPairId": str(row["clob_pair_id"]),
            "ticker": row["ticker"],
            "status": "ACTIVE",
            "oraclePrice": row["oracle_price"],
            "priceChange24H": "0",
            "volume24H": "0",
            "trades24H": 0,
            "nextFundingRate": "0",
            "initialMarginFraction": row["initial_margin_fraction"],
            "maintenanceMarginFraction": row["maintenance_margin_fraction"],
            "openInterest": row["open_interest"],
            "atomicResolution": resolution,
            "quantumConversionExponent": row["quantum_conversion_exponent"],
            "tickSize": text(tick),
            "stepSize": text(Decimal(row["step_base_quantums"]).scaleb(resolution)),
            "stepBaseQuantums": int(row["step_base_quantums"]),
            "subticksPerTick": row["subticks_per_tick"],
            "marketType": "CROSS",
            "openInterestLowerCap": "0",
            "openInterestUpperCap": "0",
            "baseOpenInterest": row["open_interest"],
            "defaultFundingRate1H": "0",
        }
    return rows


def accounts(document: Row) -> dict[str, Account]:
    found = {}
    for one in document["accounts"]:
        for row in one["subaccounts"]:
            if one["network"] != "dydx-mainnet-1" or one["address"] not in (MAKER, PARENT):
                continue
            positions = {
                position["ticker"]: {
                    "market": position["ticker"],
                    "status": "OPEN",
                    "side": "SHORT" if position["size"].startswith("-") else "LONG",
                    "size": position["size"],
                    "maxSize": position["max_size"],
                    "entryPrice": position["entry_price"],
                    "exitPrice": position["exit_price"],
                    "realizedPnl": position["realized_pnl"],
                    "unrealizedPnl": position["unrealized_pnl"],
                    "createdAt": position["created_at"],
                    "createdAtHeight": str(position["created_at_height"]),
                    "closedAt": None,
                    "sumOpen": position["sum_open"],
                    "sumClose": position["sum_close"],
                    "netFunding": position["net_funding"],
                    "subaccountNumber": row["subaccount_number"],
                }
                for position in row["positions"]
            }
            number = row["subaccount_number"]
            made = Account(one["address"], number, Decimal(row["usdc"]), positions)
            found[made.name] = made
    return found


def first_prices(document: Row, markets: dict[str, Row]) -> dict[str, Decimal]:
    """Prices of the accounts' own moments where they hold a position, else of the market list."""
    prices = {ticker: Decimal(row["oraclePrice"]) for ticker, row in markets.items()}
    for record in reversed(subaccounts_of_recording(document)):
        if record.subaccount.address in (MAKER, PARENT) and record.network == "dydx-mainnet-1":
            for ticker, position in record.subaccount.positions.items():
                prices[ticker] = position.market.oracle_price.decimal
    return prices


def prices_at(at: int, first: dict[str, Decimal], noise: random.Random) -> dict[str, Decimal]:
    """Prices of a moment: the path, and a little of each market's own."""
    moved = {}
    for ticker, price in first.items():
        own = 1 + 0.004 * math.sin(at / 900 + noise.random())
        digits = -int(price.as_tuple().exponent)
        factor = Decimal(f"{share(at) * own:.6f}")
        moved[ticker] = (price * factor).quantize(Decimal(1).scaleb(-digits), ROUND_DOWN)
    return moved


def levels(price: Decimal, at: int) -> Row:
    """A made-up book around a price."""
    tick = Decimal("0.1")
    middle = price.quantize(tick)
    bids = [[text(middle - tick * (place + 1)), f"{1 + (at // 250 + place) % 7}.5"] for place in range(8)]
    asks = [
        [text(middle + tick * (place + 1)), f"{1 + (at // 250 + 3 * place) % 5}.25"] for place in range(8)
    ]
    return {"bids": bids, "asks": asks}


def recording() -> list[Frame]:
    """All frames."""
    document = json.loads((files("dydx_perf.data") / "recorded_accounts.json").read_text("utf-8"))
    markets, held = market_rows(document), accounts(document)
    first = first_prices(document, markets)
    fractions = {ticker: Decimal(row["initialMarginFraction"]) for ticker, row in markets.items()}
    for ticker, price in first.items():
        markets[ticker]["oraclePrice"] = text(price)
    tickers = [ticker for ticker in markets if any(ticker in one.positions for one in held.values())]
    moving = {ticker: first[ticker] for ticker in tickers}
    noise, venue = random.Random(20240506), Venue()
    maker, child = held[f"{MAKER}/0"], held[f"{PARENT}/128"]

    venue.frames.append(Frame(BEGIN * 1_000_000, "opened", 0, "wss://indexer.dydx.trade/v4/ws"))
    venue.put(1, {"type": "connected", "connection_id": CONNECTION, "message_id": 0})
    venue.message(20, "subscribed", "v4_markets", None, {"markets": markets})
    height = {"height": str(FIRST_HEIGHT), "time": moment(0)}
    venue.message(30, "subscribed", "v4_block_height", "v4_block_height", height)
    for at, one in enumerate(held.values(), 40):
        contents = {
            "subaccount": one.body(first, fractions, FIRST_HEIGHT),
            "orders": [],
            "blockHeight": str(FIRST_HEIGHT),
        }
        venue.message(at, "subscribed", "v4_subaccounts", one.name, contents)
    book = levels(first["ETH-USD"], 0)
    shown = {side: [{"price": price, "size": size} for price, size in rows] for side, rows in book.items()}
    venue.message(60, "subscribed", "v4_orderbook", "ETH-USD", shown)

    for at in range(BATCH, END + 1, BATCH):
        now = FIRST_HEIGHT + at // BLOCK
        if at % BLOCK == 0:
            pulse = {"blockHeight": str(now), "time": moment(at)}
            venue.message(at, "channel_data", "v4_block_height", "v4_block_height", pulse)
        prices = prices_at(at, moving, noise)
        ticked = [
            {"oraclePrices": {ticker: price_row(prices[ticker], at, now, place)}}
            for place, ticker in enumerate(tickers)
            if place % 2 == at // BATCH % 2 or ticker in ("APE-USD", "BTC-USD", "ETH-USD")
        ]
        venue.message(at + 3, "channel_batch_data", "v4_markets", None, ticked)
        before, book = book, levels(prices["ETH-USD"], at)
        venue.message(at + 5, "channel_batch_data", "v4_orderbook", "ETH-USD", [*changed(before, book)])
        for one, contents in happenings(at, now, maker, child, prices, fractions):
            venue.message(at + 8, "channel_batch_data", "v4_subaccounts", one.name, contents)
        if at % ANSWERS == 0:
            for one in held.values():
                answered(venue, at + 9, one, first | prices, fractions, now)
    return venue.frames


def price_row(price: Decimal, at: int, height: int, number: int) -> Row:
    row = {"oraclePrice": text(price), "effectiveAt": moment(at), "effectiveAtHeight": str(height)}
    return {**row, "marketId": number}


def answered(
    venue: Venue,
    at: int,
    one: Account,
    prices: dict[str, Decimal],
    fractions: dict[str, Decimal],
    height: int,
) -> None:
    """Record what REST would say of an account from now on."""
    body = {"subaccount": one.body(prices, fractions, height)}
    venue.rest(at, f"/addresses/{one.address}/subaccountNumber/{one.number}", body)
    query = f"address={one.address}&subaccountNumber={one.number}"
    statuses = "OPEN,UNTRIGGERED,BEST_EFFORT_OPENED"
    venue.rest(at, f"/orders?{query}&status={statuses}&limit=1000", [])


def changed(before: Row, after: Row) -> Iterator[Row]:
    """Level by level: what is gone, then what is new."""
    for side in ("bids", "asks"):
        old, new = dict(before[side]), dict(after[side])
        for price in sorted(old.keys() - new.keys()):
            yield {side: [[price, "0"]]}
    for side in ("bids", "asks"):
        for price, size in after[side]:
            if dict(before[side]).get(price) != size:
                yield {side: [[price, size]]}


def nearly_all(one: Account, prices: dict[str, Decimal], fractions: dict[str, Decimal]) -> Decimal:
    """Most of the free collateral: what the chain lets go."""
    free = Decimal(one.body(prices, fractions, 0)["freeCollateral"])
    return (free * Decimal("0.98")).quantize(Decimal("0.01"), ROUND_DOWN)


def happenings(
    at: int,
    height: int,
    maker: Account,
    child: Account,
    prices: dict[str, Decimal],
    fractions: dict[str, Decimal],
) -> Iterator[tuple[Account, list[Row]]]:
    """What the accounts do, and what happens to them."""
    if at == 1_250:  # both take out nearly all that the chain lets go
        yield child, [child.transfer(-nearly_all(child, prices, fractions), "WITHDRAWAL", at, height)]
    if at == 1_500:
        yield maker, [maker.transfer(-nearly_all(maker, prices, fractions), "WITHDRAWAL", at, height)]
    if at == 7_000:
        yield child, liquidation(child, prices["APE-USD"], at, height)
    if at == 13_000:
        yield maker, [maker.transfer(Decimal("250000"), "DEPOSIT", at, height)]


def liquidation(one: Account, price: Decimal, at: int, height: int) -> list[Row]:
    """The position is sold by the chain at a made-up price."""
    row = one.positions.pop("APE-USD")
    size = Decimal(row["size"])
    sold = price * Decimal("0.985")
    sold = sold.quantize(Decimal("0.0001"), ROUND_DOWN)
    fee = Decimal("0.25")
    one.usdc += size * sold - fee
    one.height = height
    closed = {
        "address": one.address,
        "subaccountNumber": one.number,
        "positionId": "ape-128",
        "market": "APE-USD",
        "side": "LONG",
        "status": "CLOSED",
        "size": "0",
        "maxSize": row["maxSize"],
        "netFunding": "0",
        "entryPrice": row["entryPrice"],
        "exitPrice": text(sold),
        "sumOpen": row["sumOpen"],
        "sumClose": row["size"],
        "realizedPnl": text(size * (sold - Decimal(row["entryPrice"]))),
        "unrealizedPnl": "0",
    }
    fill = {
        "id": "11111111-2222-3333-4444-555555555555",
        "subaccountId": "child",
        "side": "SELL",
        "liquidity": "TAKER",
        "type": "LIQUIDATED",
        "clobPairId": "54",
        "size": row["size"],
        "price": text(sold),
        "quoteAmount": text(size * sold),
        "fee": text(fee),
        "affiliateRevShare": "0",
        "eventId": f"{height:08x}0000000100000000",
        "transactionHash": "00",
        "createdAt": moment(at),
        "createdAtHeight": str(height),
        "orderId": None,
        "clientMetadata": None,
        "ticker": "APE-USD",
    }
    whole = {
        "perpetualPositions": [closed],
        "assetPositions": [one.asset_update()],
        "blockHeight": str(height),
    }
    return [whole, {**whole, "fills": [fill]}]


def main(out: str) -> None:
    with RecordingWriter(out, about=ABOUT, level=9, block_bytes=4_000_000) as writer:
        for frame in recording():
            writer.append(frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
