"""A hot feed on one book; on another one the same frames, parsed whole and put in by the face."""

import json
from collections.abc import Iterator
from itertools import groupby
from random import Random
from typing import Any

from dydx_perf import Book, Chain, Crossing, Market, Subaccount
from dydx_perf.ext.depth import Depth
from dydx_perf.ext.frame import FrameScanner
from dydx_perf.ext.hot_feed import HotFeed
from dydx_perf.feeds.envelope import DataMessage, parse_frame
from dydx_perf.feeds.records import Record, Scales, read_data

ESTIMATE = 1
ALICE, CHILD, BOB = ("dydx1alice", 0), ("dydx1alice", 128), ("dydx1bob", 3)
ACCOUNTS = {
    ALICE: ("v4_subaccounts", "dydx1alice/0"),
    CHILD: ("v4_parent_subaccounts", "dydx1alice/0"),
    BOB: ("v4_subaccounts", "dydx1bob/3"),
}
TICKERS = [f"M{i}-USD" for i in range(12)]
BLOCK = 1000


def chain() -> Chain:
    """Twelve markets of several scales, with open interest that scales some of their margins."""
    return Chain(
        [
            Market(
                ticker,
                perpetual_id=i,
                atomic_resolution=-(6 + i % 5),
                price_exponent=-(15 - (6 + i % 5)),
                oracle_price=str(10 + 7 * i),
                initial_margin_ppm=50_000,
                maintenance_fraction_ppm=600_000,
                open_interest=10 ** (9 + i % 5),
                open_interest_lower_cap=10_000_000 if i % 3 else 0,
                open_interest_upper_cap=10_000_000_000 if i % 3 else 0,
                funding_index=1000 * i,
                height=BLOCK,
            )
            for i, ticker in enumerate(TICKERS)
        ],
        height=BLOCK,
    )


def book(*, indexed: bool = False) -> Book:
    """Three accounts: one of many positions, one isolated below it, one close to its line."""
    made = Book(chain(), max_subaccounts=8, max_positions=64, indexed=indexed)
    for name, usdc, sizes in (
        (ALICE, "-9", {ticker: str((-1) ** i * (i + 1)) for i, ticker in enumerate(TICKERS[:8])}),
        (CHILD, "40", {"M3-USD": "-1.5"}),
        (BOB, "-96", {"M0-USD": "4", "M1-USD": "4"}),
    ):
        made.add(Subaccount(made.chain, *name, usdc=usdc, positions=sizes, height=BLOCK))
    return made


class Side:
    """One book with its order books, fed the slow way."""

    def __init__(self, *, indexed: bool = False) -> None:
        self.book = book(indexed=indexed)
        self.depths = {ticker: Depth(64) for ticker in TICKERS[:4]}
        for depth in self.depths.values():
            depth.replace([], [], 0.0)
        self.floors = dict.fromkeys(ACCOUNTS, BLOCK)
        self.heights = [0]
        self.scales = {
            market.ticker: Scales(i, market.price_exponent, market.atomic_resolution)
            for i, market in enumerate(self.book.chain)
        }

    def apply(self, message: DataMessage, now: float) -> list[Crossing]:
        """Apply an update by the face of the book, one change after the other."""
        records = read_data(message, self.scales).records
        crossings: list[Crossing] = []
        if message.channel == "v4_markets":
            for height, prices in groupby(records, lambda record: record.height):
                crossings += self._prices(height, list(prices))
        elif message.channel == "v4_orderbook" and message.id in self.depths:
            for _, levels in groupby(records, lambda record: record.element):
                self.depths[message.id].next_arrival(now)
                for level in levels:
                    if level.fit == "exact":
                        assert level.price is not None
                        assert level.size is not None
                        self.depths[message.id].set_level(level.side == "bid", level.price, level.size)
        elif message.channel == "v4_block_height":
            self.heights += [record.height for record in records]
        elif message.channel.endswith("subaccounts"):
            address, number = message.id.split("/")
            name = address, int(number) if message.subaccount_number is None else message.subaccount_number
            for _, rows in groupby(records, lambda record: record.element):
                crossings += self._account(name, list(rows))
        return crossings

    def _prices(self, height: int, prices: list[Record]) -> list[Crossing]:
        known = {
            record.name: record.price
            for record in prices
            if record.fit == "exact" and height >= self.book.chain[record.name]._sources()["oracle_price"][0]
        }
        return self.book.apply_block(price_integers=known, height=height, basis="estimate") if known else []

    def _account(self, name: tuple[str, int], rows: list[Record]) -> list[Crossing]:
        height = rows[0].height
        if name not in self.book or height < self.floors[name]:
            return []
        self.floors[name] = height
        store = self.book._store
        slot = store.slot(name)
        usdc, held, _, _ = store.inputs(slot)
        sizes = {row[0]: row[1] for row in held}
        chosen = {row[0]: row[4] for row in held}
        for row in rows:
            assert row.size is not None
            if row.kind == "asset":
                usdc = row.size
            else:
                sizes[row.market] = row.size
        markets = list(self.book.chain)
        written = [
            (market, size, markets[market].funding_index if size else 0, 0, chosen.get(market, 0))
            for market, size in sizes.items()
        ]
        return self.book._change(lambda: store.update(slot, usdc, written, height, ESTIMATE, False))

    def state(self) -> tuple[Any, ...]:
        """Everything that a frame may change."""
        return (
            self.book.to_bytes(),
            [self.book[name] for name in self.book],
            [
                [[column.tolist() for column in depth.stored(is_bid)] for is_bid in (True, False)]
                + [depth.arrival, depth.time, depth.not_whole]
                for depth in self.depths.values()
            ],
            max(self.heights),
        )


class Hot(Side):
    """The same, fed by a HotFeed; what it hands over is taken the slow way."""

    def __init__(self, *, indexed: bool = False) -> None:
        super().__init__(indexed=indexed)
        scanner = FrameScanner()
        for ticker, scales in self.scales.items():
            scanner.register_market(ticker, *scales)
        self.feed = HotFeed(self.book._store, scanner, self.book._observers.call)
        self.feed.deadline = float("inf")
        self.taken = 0
        self.route()

    def route(self) -> None:
        """Say that every subscription is live."""
        self.feed.message_id = 0
        self.feed.route("v4_markets", "", 0)
        self.feed.route("v4_block_height", "", 0)
        for ticker, depth in self.depths.items():
            self.feed.route("v4_orderbook", ticker, 0, depth=depth)
            self.feed.route("v4_trades", ticker, 0)
        for line in set(ACCOUNTS.values()):
            self.feed.route(*line, 0)
        self.note_floors()

    def note_floors(self) -> None:
        """Say from which block on an account's events are news."""
        for name, line in ACCOUNTS.items():
            self.feed.route_account(*line, name[1], self.book.handle(name), self.floors[name])

    def receive(self, frame: bytes, now: float) -> list[Crossing]:
        """Take a frame the short way, or else the slow one."""
        found = self.feed.receive(frame, now)
        if found is not None:
            self.taken += 1
            self.heights.append(self.feed.block_height)
            for _, line_id, number, height, *_ in self.feed.take_accounts():
                self.floors[line_id.partition("/")[0], number] = height
            return list(found)
        message = parse_frame(frame)
        assert isinstance(message, DataMessage)
        crossings = self.apply(message, now)
        self.feed.message_id = max(self.feed.message_id, message.message_id)
        self.note_floors()
        return crossings


class Venue:
    """Frames as the indexer writes them, by seed; some of them are such as the short way does not take."""

    def __init__(self, seed: int, side: Side) -> None:
        self.random = Random(seed)
        self.message_id = 0
        self.height = BLOCK
        self.side = side

    def frames(self, count: int) -> Iterator[bytes]:
        """Make frames, one after the other: what an account holds is looked at in between."""
        for _ in range(count):
            self.height += self.random.random() < 0.3
            self.message_id += 1 if self.random.random() < 0.97 else 2
            make = self.random.choices(
                (self.prices, self.levels, self.account, self.trades, self.block), (40, 20, 25, 5, 5)
            )[0]
            yield make()

    def envelope(
        self, channel: str, contents: list[dict[str, Any]], line_id: str = "", number: int | None = None
    ) -> bytes:
        """One element alone is sometimes no batch; sometimes blanks or the order of the keys are others'."""
        batched = len(contents) > 1 or self.random.random() < 0.5
        message = {
            "type": "channel_batch_data" if batched else "channel_data",
            "connection_id": "c1",
            "message_id": self.message_id,
            **({"id": line_id} if line_id else {}),
            "channel": channel,
            "version": "3.0.0",
            "contents": contents if batched else contents[0],
            **({} if number is None else {"subaccountNumber": number}),
        }
        if self.random.random() < 0.05:
            message = dict(reversed(message.items()))
        separators = (", ", ": ") if self.random.random() < 0.1 else (",", ":")
        return json.dumps(message, separators=separators).encode()

    def decimal(self, integer: int, exponent: int) -> str:
        """Plain notation, mostly without zeros at the end."""
        text = f"{'-' if integer < 0 else ''}{abs(integer):0{1 - min(exponent, 0)}d}"
        if exponent < 0:
            text = f"{text[:exponent]}.{text[exponent:]}"
            if self.random.random() < 0.9:
                text = text.rstrip("0").rstrip(".")
        return text

    def price(self, ticker: str, spread: float) -> str:
        market = self.side.book.chain[ticker]
        integer = max(1, int(market.oracle_price.integer * (1 + self.random.uniform(-spread, spread))))
        text = self.decimal(integer, market.price_exponent)
        return text if self.random.random() < 0.98 else text + ("0001" if "." in text else ".00000000000001")

    def prices(self) -> bytes:
        contents = []
        height = self.height
        for _ in range(self.random.choice((1, 1, 2, 6))):
            ticker = self.random.choice(TICKERS) if self.random.random() < 0.98 else "NONE-USD"
            known = ticker if ticker in TICKERS else TICKERS[0]
            height += self.random.choices((0, 1, -2), (90, 8, 2))[0]
            row = {
                "oraclePrice": self.price(known, 0.06),
                "effectiveAt": "2026-01-01T00:00:00.000Z",
                "effectiveAtHeight": str(height),
                "marketId": TICKERS.index(known),
            }
            contents.append({"oraclePrices": {ticker: row}})
        self.height = max(self.height, height)
        return self.envelope("v4_markets", contents)

    def levels(self) -> bytes:
        ticker = self.random.choice(list(self.side.depths))
        contents = []
        for _ in range(self.random.choice((1, 1, 3))):
            size = "0" if self.random.random() < 0.3 else self.decimal(self.random.randrange(1, 10**6), -6)
            contents.append({self.random.choice(("bids", "asks")): [[self.price(ticker, 0.01), size]]})
        return self.envelope("v4_orderbook", contents, ticker)

    def account(self) -> bytes:
        name = self.random.choice(list(ACCOUNTS))
        channel, line_id = ACCOUNTS[name]
        contents = [self.rows(name) for _ in range(self.random.choice((1, 1, 2)))]
        return self.envelope(
            channel, contents, line_id, name[1] if channel == "v4_parent_subaccounts" else None
        )

    def rows(self, name: tuple[str, int]) -> dict[str, Any]:
        """Rows of what an account holds, mostly in other sizes; sometimes one opens or closes."""
        store = self.side.book._store
        usdc, held, _, _ = store.inputs(store.slot(name))
        markets = list(self.side.book.chain)
        owner = {"address": name[0], "subaccountNumber": name[1]}
        positions = []
        for market, quantums, *_ in self.random.sample(
            held, min(len(held), self.random.choice((0, 1, 1, 3)))
        ):
            changed = quantums + self.random.randrange(-abs(quantums) // 50 - 2, abs(quantums) // 50 + 2)
            positions.append((market, 0 if self.random.random() < 0.03 else changed))
        if self.random.random() < 0.04:
            positions.append((self.random.randrange(len(markets)), self.random.choice((-(10**5), 10**5))))
        contents: dict[str, Any] = {
            "perpetualPositions": [
                {
                    **owner,
                    "positionId": f"p{market}",
                    "market": markets[market].ticker,
                    "side": "SHORT" if quantums < 0 else "LONG",
                    "status": "OPEN" if quantums else "CLOSED",
                    "size": self.decimal(quantums, markets[market].atomic_resolution),
                    "maxSize": "1",
                    "netFunding": "0.5",
                    "entryPrice": "12.5",
                    "exitPrice": None,
                    "sumOpen": "1",
                    "sumClose": "0",
                }
                for market, quantums in positions
            ]
        }
        if self.random.random() < 0.9:
            balance = usdc + self.random.randrange(-1_000_000, 1_000_000)
            contents["assetPositions"] = [
                {
                    **owner,
                    "positionId": "u",
                    "assetId": "0",
                    "symbol": "USDC",
                    "side": "SHORT" if balance <= 0 else "LONG",
                    "size": self.decimal(abs(balance), -6),
                }
            ]
        if self.random.random() < 0.05:
            contents["tradingReward"] = {"tradingReward": "1", "createdAtHeight": "1", "createdAt": ""}
        height = self.height - (3 if self.random.random() < 0.04 else 0)
        return {**contents, "blockHeight": str(height)}

    def trades(self) -> bytes:
        ticker = self.random.choice(list(self.side.depths))
        trade = {
            "id": f"{self.height:08x}0000000200000002",
            "size": "1",
            "price": self.price(ticker, 0.001),
            "side": "BUY",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "type": "LIMIT",
        }
        return self.envelope("v4_trades", [{"trades": [trade]}], ticker)

    def block(self) -> bytes:
        contents = {"blockHeight": str(self.height), "time": "2026-01-01T00:00:00.000Z"}
        return self.envelope("v4_block_height", [contents], "v4_block_height")


__all__ = ["ACCOUNTS", "ALICE", "BOB", "CHILD", "TICKERS", "Hot", "Side", "Venue", "book", "chain"]
