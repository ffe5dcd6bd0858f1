"""A mixed feed end to end: bytes, decode, book, and the exact risk of 20 positions after every message."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Any

import feed_frames as made
import msgspec
import orjson
import pytest

from dydx_perf import Book, Chain
from dydx_perf.feeds.indexer import IndexerSession
from dydx_perf.feeds.subscriptions import Markets, OrderBookOf, SubaccountOf, TradesOf

SECTION = "A mixed feed, with the exact risk of 20 positions after every message"
UNIT = "a message"
FIRST = len(made.snapshots())
#: ours begins each round with a new connection and its snapshots; they shall not weigh
OURS, OTHERS = 100_000, 4_000
NAME = (made.ADDRESS, 0)
MILLION = 1_000_000
INITIAL, FRACTION = 50_000, 600_000

Risk = tuple[int, int, int]


class Ours:
    """The public session on a book."""

    def __init__(self) -> None:
        self.book = Book(Chain(), max_subaccounts=4, max_positions=64, max_markets=64)
        books = [
            one for ticker in made.TICKERS[: made.BOOKS] for one in (OrderBookOf(ticker), TradesOf(ticker))
        ]
        self.session = IndexerSession(
            [Markets(), SubaccountOf(*NAME), *books],
            into=self.book,
            batched=False,
            can_fetch=False,
            confirm_snapshots=False,
            tells_trades=False,
        )

    def connect(self) -> None:
        """A connection from its greeting to the last snapshot."""
        self.session.disconnected(1000.0)
        self.session.start(1000.0)
        for frame in made.snapshots():
            self.session.receive(frame, 1000.0)

    def run(self, frames: tuple[bytes, ...]) -> None:
        self.connect()
        receive, book, handle = self.session.receive, self.book, self.book.handle(NAME)
        for frame in frames:
            receive(frame, 1000.0)
            book[handle]

    def risks(self, frames: tuple[bytes, ...]) -> list[Risk]:
        """The same, with what the risk was after every message."""
        self.connect()
        found = []
        for frame in frames:
            self.session.receive(frame, 1000.0)
            risk = self.book[NAME]
            found.append((risk.nc, risk.imr, risk.mmr))
        return found


# -- what a user would write: a document, the wanted fields, a dictionary each, the risk anew


def to_fixed(text: str, scale: int) -> int:
    """By plain integers, digit for digit."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction) * 10 ** (scale - len(fraction))


class Plain:
    """Markets and positions in dictionaries of ints, order books in dictionaries of prices."""

    def __init__(self, read: Callable[[bytes], Any]) -> None:
        self.read = read
        self.usdc = 0
        self.prices: dict[str, int] = {}
        self.sizes: dict[str, int] = {}
        self.books: dict[str, Any] = {ticker: ({}, {}) for ticker in made.TICKERS}
        self.scales = {
            ticker: (15 + resolution, -resolution)
            for ticker, resolution in zip(made.TICKERS, made.RESOLUTIONS, strict=True)
        }
        _, markets, account, *_ = (json.loads(frame) for frame in made.snapshots())
        for ticker, row in markets["contents"]["markets"].items():
            self.price(ticker, row["oraclePrice"])
        body = account["contents"]["subaccount"]
        for ticker, row in body["openPerpetualPositions"].items():
            self.size(ticker, row["size"])
        self.balance(body["assetPositions"]["USDC"]["side"], body["assetPositions"]["USDC"]["size"])

    def price(self, ticker: str, text: str) -> None:
        self.prices[ticker] = to_fixed(text, self.scales[ticker][0])

    def size(self, ticker: str, text: str) -> None:
        self.sizes[ticker] = to_fixed(text, self.scales[ticker][1])

    def balance(self, side: str, text: str) -> None:
        value = to_fixed(text, 6)
        self.usdc = value if side == "LONG" else -value

    def level(self, ticker: str, side: int, price: str, size: str) -> None:
        levels = self.books[ticker][side]
        price_scale, size_scale = self.scales[ticker]
        if quantums := to_fixed(size, size_scale):
            levels[to_fixed(price, price_scale)] = quantums
        else:
            levels.pop(to_fixed(price, price_scale), None)

    def receive(self, frame: bytes) -> None:
        message = self.read(frame)
        channel, contents = message["channel"], message["contents"]
        if channel == "v4_markets":
            for ticker, row in contents["oraclePrices"].items():
                self.price(ticker, row["oraclePrice"])
        elif channel == "v4_orderbook":
            for side, name in enumerate(("bids", "asks")):
                for level in contents.get(name, ()):
                    self.level(message["id"], side, *level)
        elif channel == "v4_subaccounts":
            for row in contents.get("perpetualPositions", ()):
                self.size(row["market"], row["size"])
            for row in contents.get("assetPositions", ()):
                self.balance(row["side"], row["size"])

    def risk(self) -> Risk:
        """Each position anew; -(-a // b) is the ceiling. In every market a product counts 10**-9 quantums."""
        nc, imr, mmr = self.usdc, 0, 0
        for ticker, quantums in self.sizes.items():
            value = abs(quantums) * self.prices[ticker] // 10**9
            nc += value if quantums > 0 else -value
            margin = -(-value * INITIAL // MILLION)
            imr += margin
            mmr -= -margin * FRACTION // MILLION
        return nc, imr, mmr


class Frugal(Plain):
    """The same, and only what changed is computed: the figures of each position are kept, and their sums."""

    def __init__(self, read: Callable[[bytes], Any]) -> None:
        self.figures: dict[str, Risk] = {}
        self.sums = [0, 0, 0]
        super().__init__(read)

    def price(self, ticker: str, text: str) -> None:
        super().price(ticker, text)
        self.compute(ticker)

    def size(self, ticker: str, text: str) -> None:
        super().size(ticker, text)
        self.compute(ticker)

    def compute(self, ticker: str) -> None:
        quantums = self.sizes.get(ticker, 0)
        value = abs(quantums) * self.prices[ticker] // 10**9
        margin = -(-value * INITIAL // MILLION)
        new = (value if quantums > 0 else -value, margin, -(-margin * FRACTION // MILLION))
        old = self.figures.get(ticker, (0, 0, 0))
        for place in range(3):
            self.sums[place] += new[place] - old[place]
        self.figures[ticker] = new

    def risk(self) -> Risk:
        return self.usdc + self.sums[0], self.sums[1], self.sums[2]


class Oracle(msgspec.Struct, gc=False):
    oraclePrice: Decimal  # noqa: N815


class Position(msgspec.Struct, gc=False):
    market: str
    size: Decimal


class Asset(msgspec.Struct, gc=False):
    side: str
    size: Decimal


class Contents(msgspec.Struct, gc=False):
    oraclePrices: dict[str, Oracle] = {}  # noqa: N815
    bids: list[tuple[Decimal, Decimal]] = []
    asks: list[tuple[Decimal, Decimal]] = []
    perpetualPositions: list[Position] = []  # noqa: N815
    assetPositions: list[Asset] = []  # noqa: N815


class Data(msgspec.Struct, gc=False):
    channel: str
    contents: Contents
    id: str = ""


class Decimals:
    """Typed documents whose numbers are Decimals, and the risk in Decimals, rounded as the chain does."""

    def __init__(self, read: Callable[[bytes], Data]) -> None:
        plain = Plain(json.loads)
        self.read = read
        self.usdc = Decimal(plain.usdc).scaleb(-6)
        self.prices = {t: Decimal(p).scaleb(-plain.scales[t][0]) for t, p in plain.prices.items()}
        self.sizes = {t: Decimal(s).scaleb(-plain.scales[t][1]) for t, s in plain.sizes.items()}
        self.books: dict[str, Any] = {ticker: ({}, {}) for ticker in made.TICKERS}

    def receive(self, frame: bytes) -> None:
        message = self.read(frame)
        contents = message.contents
        for ticker, row in contents.oraclePrices.items():
            self.prices[ticker] = row.oraclePrice
        for side, levels in enumerate((contents.bids, contents.asks)):
            for price, size in levels:
                if size:
                    self.books[message.id][side][price] = size
                else:
                    self.books[message.id][side].pop(price, None)
        for row in contents.perpetualPositions:
            self.sizes[row.market] = row.size
        for asset in contents.assetPositions:
            self.usdc = asset.size if asset.side == "LONG" else -asset.size

    def risk(self) -> Risk:
        nc, imr, mmr = self.usdc, Decimal(0), Decimal(0)
        for ticker, size in self.sizes.items():
            value = (abs(size) * self.prices[ticker]).quantize(QUANTUM, "ROUND_DOWN")
            nc += value if size > 0 else -value
            margin = (value * INITIAL_FRACTION).quantize(QUANTUM, "ROUND_UP")
            imr += margin
            mmr += (margin * MAINTENANCE_FRACTION).quantize(QUANTUM, "ROUND_UP")
        return int(nc.scaleb(6)), int(imr.scaleb(6)), int(mmr.scaleb(6))


QUANTUM = Decimal("0.000001")
INITIAL_FRACTION, MAINTENANCE_FRACTION = Decimal("0.05"), Decimal("0.6")
CONTENDERS: dict[str, tuple[Callable[[], Any], str]] = {
    "orjson, ints, only what changed computed": (lambda: Frugal(orjson.loads), "exact"),
    "orjson, ints, every position anew": (lambda: Plain(orjson.loads), "exact"),
    "json, ints, every position anew": (lambda: Plain(json.loads), "exact"),
    "msgspec typed, Decimal": (lambda: Decimals(msgspec.json.Decoder(Data).decode), "exact up to 28 digits"),
}


def test_session(row: Any) -> None:
    """A new connection with its snapshots is part of each round; every frame goes the short way."""
    frames = made.feed(OURS, FIRST)
    ours, plain = Ours(), Plain(json.loads)
    for risk, frame in zip(ours.risks(frames[:OTHERS]), frames, strict=False):
        plain.receive(frame)
        assert risk == plain.risk()
    for frame in islice(frames, OTHERS, None):
        plain.receive(frame)
    ours.run(frames)
    risk = ours.book[NAME]
    assert (risk.nc, risk.imr, risk.mmr) == plain.risk()
    for ticker in made.TICKERS[: made.BOOKS]:
        book = ours.session.order_book(ticker)
        assert book is not None
        assert book.levels.counts == tuple(map(len, plain.books[ticker]))
    row(
        SECTION,
        "IndexerSession and Book",
        UNIT,
        lambda: ours.run(frames),
        len(frames),
        "exact, checked whole",
        ours=True,
        goal_ns=1_000,
    )


@pytest.mark.parametrize("name", CONTENDERS)
def test_contender(name: str, row: Any) -> None:
    make, answers = CONTENDERS[name]
    frames = made.feed(OTHERS, FIRST)
    one, plain = make(), Plain(json.loads)
    for frame in frames:
        one.receive(frame)
        plain.receive(frame)
        assert one.risk() == plain.risk()

    def run() -> None:
        for frame in frames:
            one.receive(frame)
            one.risk()

    row(SECTION, name, UNIT, run, len(frames), answers)
