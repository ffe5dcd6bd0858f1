"""Markets as the indexer tells them: into the chain of the book, with a notice of each changed parameter.

What the indexer says of a market is kept as it was said, row by row, since an update has the changed fields
alone. A market that has no oracle price yet waits for one. Prices are sent when they change, so an old
price is still the chain's as long as nothing was lost: ages say how long nothing has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from dydx_perf.book import Book
from dydx_perf.chain_sources import indexer_state
from dydx_perf.documents import Field
from dydx_perf.errors import InputError, ObserverError
from dydx_perf.feeds.account_messages import height_of, object_of
from dydx_perf.feeds.accounts import market_subject
from dydx_perf.feeds.deadlines import Deadlines
from dydx_perf.feeds.events import Event, MarketChanged
from dydx_perf.feeds.trust import Doubts
from dydx_perf.market import Market, is_ticker

__all__ = ["MARKETS", "MarketFeed", "MarketMessage"]

#: subject of doubts about all markets at once
MARKETS = "markets"
#: what the margin of a position is made of
TIER = (
    "initial_margin_ppm",
    "maintenance_fraction_ppm",
    "open_interest_lower_cap",
    "open_interest_upper_cap",
)
ORDER_BOOK = ("step_base_quantums", "subticks_per_tick", "quantum_conversion_exponent", "status")
#: what cannot change as long as a market is the same
IDENTITY = ("perpetual_id", "clob_pair_id", "atomic_resolution")
#: fields of a row that are no parameter: they change all the time
STATISTICS = {
    "priceChange24H",
    "volume24H",
    "trades24H",
    "nextFundingRate",
    "baseOpenInterest",
    "lastPrice",
    "oraclePrice",
}
MAX_WAITING = 4096

Row = dict[str, Any]


class MarketMessage:
    """A message of `v4_markets`, read and not applied: rows and prices in the order they came."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps: list[tuple[Literal["row", "price"], str, Row, int | None]] = []

    def read(self, contents: Mapping[str, Any], path: str) -> None:
        """Read one element.

        Raises
        ------
        InputError
            Names the field.
        """
        root = Field(path, contents)
        for key in ("markets", "trading"):
            if root[key].value is None:
                continue
            for ticker, row in root[key].items():
                self._check_ticker(row, ticker)
                self.steps.append(("row", ticker, object_of(row), None))
        if root["oraclePrices"].value is not None:
            for ticker, row in root["oraclePrices"].items():
                self._check_ticker(row, ticker)
                price = row["oraclePrice"] if row["oraclePrice"].value is not None else row["price"]
                price.amount(32)  # a number of no more decimals than any price has
                height = height_of(row["effectiveAtHeight"])
                self.steps.append(("price", ticker, {"oraclePrice": price.value}, height))

    @staticmethod
    def _check_ticker(row: Field, ticker: str) -> None:
        if not is_ticker(ticker):
            raise row.refusal("a ticker of 1 to 64 characters")


class MarketFeed:
    """All markets of a session's chain.

    Parameters
    ----------
    book : Book
    doubts : Doubts
    deadlines : Deadlines
    """

    def __init__(self, book: Book, doubts: Doubts, deadlines: Deadlines) -> None:
        self._book = book
        self.doubts = doubts
        self._deadlines = deadlines
        self._rows: dict[str, Row] = {}
        self._waiting: dict[str, tuple[str, int | None]] = {}  # prices of pairs that are no market here
        self._notices: dict[tuple[str, str], float] = {}
        self.price_at: dict[str, float] = {}
        self.price_height: dict[str, int] = {}
        self.last_move: dict[str, int] = {}  # of the price integer, by its last change
        self.heard_at: float | None = None  # when the last price of any market came
        self.is_listed = False  # whether a whole list has come
        self.observer_errors: list[ObserverError] = []

    # -- messages

    def apply(
        self, message: MarketMessage, now: float, *, is_snapshot: bool
    ) -> tuple[list[Event], list[str]]:
        """Apply a message; return the events, and the tickers of markets that were not known before."""
        events: list[Event] = []
        new: list[str] = []
        prices: dict[str, str] = {}
        at: int | None = None
        for kind, ticker, row, height in message.steps:
            if kind == "price":
                if height != at:
                    events += self._set_prices(prices, at, now)
                    prices, at = {}, height
                self._note_price(ticker, str(row["oraclePrice"]), height, prices)
                if ticker in self._rows and ticker not in self._book.chain:
                    events += self._take_row(ticker, {}, new, is_snapshot, now)
            else:
                events += self._set_prices(prices, at, now)
                prices = {}
                events += self._take_row(ticker, row, new, is_snapshot, now)
        events += self._set_prices(prices, at, now)
        if is_snapshot:
            self.is_listed = True
            for code in ("no_snapshot", "gap", "wrong_order"):
                self.doubts.lift(MARKETS, code)
        if is_snapshot or any(step[0] == "price" for step in message.steps):
            self.heard_at = now
            self.doubts.lift(MARKETS, "stale_oracle")
        return events, new

    def _note_price(self, ticker: str, price: str, height: int | None, prices: dict[str, str]) -> None:
        if ticker in self._book.chain:
            if height is None or height >= self.price_height.get(ticker, -1):
                prices[ticker] = price
        elif ticker in self._waiting or ticker in self._rows or len(self._waiting) < MAX_WAITING:
            self._waiting[ticker] = price, height

    def _set_prices(self, prices: Mapping[str, str], height: int | None, now: float) -> list[Event]:
        """Set prices that hold at one height; one that its market cannot count puts the market in doubt."""
        fit: dict[str, int] = {}
        for ticker, text in prices.items():
            market = self._book.chain[ticker]
            try:
                price = Market._checked_price("oraclePrice", text, market.price_exponent)
            except InputError:
                self.doubts.raise_(market_subject(ticker), "no_price")
                continue
            fit[ticker] = price
            self.last_move[ticker] = abs(price - market.oracle_price.integer)
            self.price_at[ticker] = now
            if height is not None:
                self.price_height[ticker] = height
            self.doubts.lift(market_subject(ticker), "no_price")
            self.doubts.lift(market_subject(ticker), "stale_oracle")
        if not fit:
            return []
        return self._changed(
            lambda: self._book.apply_block(price_integers=fit, height=height, basis="estimate")
        )

    def _changed(self, change: Any) -> list[Event]:
        try:
            return list(change())
        except ObserverError as error:
            self.observer_errors.append(error)
            return list(error.crossings)

    # -- rows

    def _take_row(self, ticker: str, row: Row, new: list[str], is_snapshot: bool, now: float) -> list[Event]:
        """Merge a row into what is held of its market, and take over what changed."""
        known = self._rows.get(ticker, {})
        merged = {**({} if is_snapshot else known), **{k: v for k, v in row.items() if v is not None}}
        self._rows[ticker] = merged
        if not is_snapshot and known and ticker in self._book.chain and not row.keys() - STATISTICS:
            return []
        complete = {"openInterest": "0", **merged}
        if ticker in self._waiting and complete.get("oraclePrice") is None:
            complete["oraclePrice"] = self._waiting[ticker][0]
        subject = market_subject(ticker)
        try:
            state = indexer_state({ticker: complete})
        except InputError:
            # Of a market that cannot be read nothing can be said; the others are as they were.
            self.doubts.raise_(subject, "unknown_market")
            return []
        self.doubts.set(subject, "final_settlement", complete.get("status") == "FINAL_SETTLEMENT")
        self.doubts.set(subject, "not_active", complete.get("status") not in ("ACTIVE", "FINAL_SETTLEMENT"))
        if not state.markets:
            return []  # it waits for a price
        read = state.markets[0]
        if ticker in self._book.chain:
            return self._compare(ticker, read, row, is_snapshot, now)
        return self._add(ticker, read, complete, new, now)

    def _add(self, ticker: str, market: Market, row: Row, new: list[str], now: float) -> list[Event]:
        try:
            self._book.chain.add(market)
        except InputError:  # its perpetual is listed under another ticker
            self.doubts.raise_(market_subject(ticker), "unknown_market")
            return []
        self.doubts.lift(market_subject(ticker), "unknown_market")
        new.append(ticker)
        self.price_at[ticker] = now
        _, height = self._waiting.pop(ticker, ("", None))
        if height is not None:
            self.price_height[ticker] = height
        events = self._changed(self._book.catch_up)
        if not self.is_listed:
            return events  # the first list: nothing changed, it is only now known
        parameters = {name: (None, _value(market, name)) for name in (*IDENTITY, *TIER, *ORDER_BOOK)}
        return [*events, MarketChanged(ticker, parameters)]

    def _compare(self, ticker: str, read: Market, row: Row, is_snapshot: bool, now: float) -> list[Event]:
        """Take over what differs between the market held and the row."""
        market = self._book.chain[ticker]
        subject = market_subject(ticker)
        if any(_value(read, name) != _value(market, name) for name in IDENTITY):
            self.doubts.raise_(subject, "unknown_market")
            return []
        self.doubts.lift(subject, "unknown_market")
        changes = {
            name: (_value(market, name), _value(read, name))
            for name in (*TIER, *ORDER_BOOK, "market_type")
            if _value(market, name) != _value(read, name)
        }
        events: list[Event] = []
        if "market_type" in changes:
            market.set_market_type(cast(Literal["cross", "isolated"], changes["market_type"][1]))
        book_changes = {name: after for name, (_, after) in changes.items() if name in ORDER_BOOK}
        if book_changes:
            market.set_order_book(**book_changes)
        tiers = {ticker: {name: _value(read, name) for name in TIER}} if changes.keys() & set(TIER) else {}
        interests = {}
        if "openInterest" in row and read.open_interest != market.open_interest:
            interests[ticker] = read.open_interest
        if tiers or interests:
            events += self._changed(
                lambda: self._book.apply_block(
                    liquidity_tiers=tiers, open_interests=interests, basis="estimate"
                )
            )
        if is_snapshot and row.get("oraclePrice") is not None:
            self.price_height.pop(ticker, None)
            events += self._set_prices({ticker: str(row["oraclePrice"])}, None, now)
        if changes:
            events.append(self.noticed(MarketChanged(ticker, changes), now))
        return events

    # -- what it says beside

    def row(self, ticker: str) -> Mapping[str, Any]:
        """Return the indexer's own row of a market: statistics, next funding rate; empty: none came."""
        return dict(self._rows.get(ticker, {}))

    def lost(self, code: str) -> None:
        """Put all markets under a doubt until the next snapshot."""
        self.doubts.raise_(MARKETS, code if self.is_listed else "no_snapshot")

    def confirmed(self, ticker: str, height: int, now: float) -> None:
        """Note a price that a node told at a height; a later one of the indexer's stands."""
        self.price_at[ticker] = now
        self.price_height[ticker] = max(height, self.price_height.get(ticker, -1))
        for code in ("stale_oracle", "no_price"):
            self.doubts.lift(market_subject(ticker), code)

    def took(self, ticker: str, height: int, move: int, now: float) -> None:
        """Note a price that is in the chain already, of a market of which nothing is in doubt."""
        self.price_at[ticker] = self.heard_at = now
        self.price_height[ticker] = height
        self.last_move[ticker] = move

    def noticed(self, changed: MarketChanged, now: float) -> MarketChanged:
        """Point out for a while that parameters of a market changed."""
        subject = market_subject(changed.ticker)
        self.doubts.raise_(subject, "parameters_changed")
        self._notices[subject, "parameters_changed"] = now + self._deadlines.notice
        return changed

    # -- time

    def watch(self, now: float) -> None:
        """Put all markets in doubt when no price of any has come for too long; end what was pointed out."""
        if self.heard_at is not None and now >= self.heard_at + self._deadlines.oracle_silence:
            self.doubts.raise_(MARKETS, "stale_oracle")
        for (subject, code), until in list(self._notices.items()):
            if until <= now:
                del self._notices[subject, code]
                self.doubts.lift(subject, code)

    def watch_ages(self, tickers: Iterable[str], now: float) -> None:
        """Put those of some markets in doubt whose own price is too old."""
        for ticker in tickers:
            at = self.price_at.get(ticker)
            if at is not None and now >= at + self._deadlines.oracle_age:
                self.doubts.raise_(market_subject(ticker), "stale_oracle")

    @property
    def next_deadline(self) -> float | None:
        """When `watch` may find something."""
        deadlines = list(self._notices.values())
        if self.heard_at is not None and not self.doubts.holds(MARKETS, "stale_oracle"):
            deadlines.append(self.heard_at + self._deadlines.oracle_silence)
        return min(deadlines, default=None)


def _value(market: Market, name: str) -> Any:
    """Return a parameter by the name that an event gives it."""
    if name == "market_type":
        return "isolated" if market.is_isolated else "cross"
    if name in ORDER_BOOK:
        return getattr(market.clob_pair, name)
    if name in TIER:
        return getattr(market.perpetual, name)
    return getattr(market, name)
