"""What risk needs of an update, as flat records of exact integers: the plain twin of the scanner.

Prices and sizes are text on the wire, with any number of decimals. Here they are integers at their market's
scale: a price integer counts 10**price_exponent USDC, a size 10**atomic_resolution coins, a USDC balance
10**-6 USDC. Nothing is rounded. Where a text has more decimals than the scale, is outside of 64 bits, or
belongs to something that is not known, `Record.fit` says so and `Record.texts` keeps what was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from dydx_perf.errors import FrameError
from dydx_perf.feeds.envelope import DataMessage

__all__ = ["NO_MARKET", "Also", "Fit", "Kind", "Reading", "Record", "Scales", "read_data"]

Kind: TypeAlias = Literal["oracle", "level", "trade", "position", "asset", "block"]
Fit: TypeAlias = Literal["exact", "inexact", "too_large", "unknown_market", "unknown_asset"]
Also: TypeAlias = Literal["trading", "orders", "fills", "transfers", "tradingReward", "other"]

NO_MARKET = -1
_USDC_DECIMALS = 6
_MAX_HEIGHT = 2**63 - 1
_MAX_NUMBER = 2**31 - 1
_MAX_CHARACTERS = 100

_DECIMAL = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?", re.ASCII)
_HEIGHT = re.compile(r"[0-9]{1,19}", re.ASCII)


class Scales(NamedTuple):
    """Where a market's numbers have their point, and which number the reader gave it."""

    market: int
    price_exponent: int
    atomic_resolution: int


class Record(NamedTuple):
    """One row of an update.

    Attributes
    ----------
    kind : str
        "oracle" an oracle price · "level" one level of an order book, size 0: it is gone · "trade" ·
        "position" and "asset" what an account now holds · "block" a height.
    element : int
        Which element of the contents it stood in.
    market : int
        `Scales.market`; -1: it has none, or the market is not known.
    name : str
        The ticker of an oracle price or position, the symbol of an asset, the id of a trade.
    side : str
        "bid" or "ask"; "BUY" or "SELL" of a trade's taker; "LONG" or "SHORT"; else empty.
    status : str
        "OPEN", "CLOSED" or "LIQUIDATED" of a position; type of a trade; else empty.
    number : int
        Id of an oracle price's market; subaccount number of a position or asset; -1: it says none.
    price : int or None
        In units of 10**price_exponent; None: it has none, or none that is exact.
    size : int or None
        Base quantums, of a position signed; of an asset quote quantums, negative for a debt; None as above.
    height : int
        Block of the event; -1: it says none.
    fit : str
        "exact", or why an integer is missing ("inexact", "unknown_market", "unknown_asset") or too long for
        64 bits ("too_large").
    texts : tuple of str
        Price and size as they were written, empty for one that the record has not; () where `fit` is exact.
    """

    kind: Kind
    element: int
    market: int = NO_MARKET
    name: str = ""
    side: str = ""
    status: str = ""
    number: int = -1
    price: int | None = None
    size: int | None = None
    height: int = -1
    fit: Fit = "exact"
    texts: tuple[str, ...] = ()


class Reading(NamedTuple):
    """All records of a message, in the order of the frame.

    Attributes
    ----------
    records : list of Record
    block_height : int
        The highest that the message names as its contents' block; -1: none.
    also : frozenset of str
        What else stood in the contents, which no record is made of.
    """

    records: list[Record]
    block_height: int
    also: frozenset[Also]

    @property
    def is_exact(self) -> bool:
        """Whether every record has its integers, and they fit 64 bits."""
        return all(record.fit == "exact" for record in self.records)


def read_data(message: DataMessage, markets: Mapping[str, Scales]) -> Reading:
    """Make records of an update.

    Parameters
    ----------
    message : DataMessage
    markets : mapping of ticker to Scales

    Raises
    ------
    FrameError
        A field is not what it can be; it names the first one.
    """
    reader = _CHANNELS.get(message.channel, _nothing)
    records: list[Record] = []
    also: set[Also] = set()
    highest = -1
    for element, contents in enumerate(message.contents):
        where = f"contents[{element}]" if message.batched else "contents"
        height = _height(contents.get("blockHeight"), f"{where}.blockHeight")
        highest = max(highest, height)
        for found in reader(_Place(message, markets, element, height, where), contents):
            if isinstance(found, Record):
                records.append(found)
            else:
                also.add(found)
    return Reading(records, highest, frozenset(also))


class _Place(NamedTuple):
    """Where a reader stands."""

    message: DataMessage
    markets: Mapping[str, Scales]
    element: int
    height: int
    where: str


_Found: TypeAlias = "Record | Also"


# -- channels


def _nothing(_: _Place, contents: dict[str, Any]) -> Iterator[_Found]:
    for key in contents:
        if key != "blockHeight":
            yield "other"


def _markets(place: _Place, contents: dict[str, Any]) -> Iterator[_Found]:
    for key, value in contents.items():
        where = f"{place.where}.{key}"
        if key == "oraclePrices":
            for ticker, row in _object(value, where).items():
                yield _oracle(place, ticker, _object(row, f"{where}.{ticker}"), f"{where}.{ticker}")
        elif key == "trading":
            yield "trading"
        elif key != "blockHeight":
            yield "other"


def _oracle(place: _Place, ticker: str, row: dict[str, Any], where: str) -> Record:
    # older servers say "price"
    price = _price(row.get("oraclePrice", row.get("price")), where, ".oraclePrice")
    return _fitted(
        Record(
            "oracle",
            place.element,
            name=ticker,
            number=_number(row.get("marketId"), f"{where}.marketId"),
            height=_height(row.get("effectiveAtHeight"), f"{where}.effectiveAtHeight"),
        ),
        place.markets.get(ticker),
        price=price,
    )


def _orderbook(place: _Place, contents: dict[str, Any]) -> Iterator[_Found]:
    market = place.markets.get(place.message.id)
    for key, value in contents.items():
        if key in _BOOK_SIDES:
            for rank, level in enumerate(_list(value, f"{place.where}.{key}")):
                where = f"{place.where}.{key}[{rank}]"
                price, size = _level(level, where)
                yield _fitted(
                    Record("level", place.element, side=_BOOK_SIDES[key]),
                    market,
                    price=_price(price, where, " price"),
                    size=_size(size, where, " size"),
                )
        elif key != "blockHeight":
            yield "other"


_BOOK_SIDES = {"bids": "bid", "asks": "ask"}


def _level(level: object, where: str) -> tuple[object, object]:
    """Return price and size of a level: a pair in updates, an object in snapshots."""
    if isinstance(level, list) and len(level) >= 2:
        return level[0], level[1]
    if isinstance(level, dict):
        return level.get("price"), level.get("size")
    raise FrameError("a price and a size were expected", field=where)


def _trades(place: _Place, contents: dict[str, Any]) -> Iterator[_Found]:
    market = place.markets.get(place.message.id)
    for key, value in contents.items():
        if key == "trades":
            for rank, row in enumerate(_list(value, f"{place.where}.trades")):
                where = f"{place.where}.trades[{rank}]"
                row = _object(row, where)
                yield _fitted(
                    Record(
                        "trade",
                        place.element,
                        name=_text(row.get("id"), f"{where}.id"),
                        side=_one_of(row.get("side"), ("BUY", "SELL"), f"{where}.side"),
                        status=_text(row.get("type"), f"{where}.type"),
                    ),
                    market,
                    price=_price(row.get("price"), where, ".price"),
                    size=_size(row.get("size"), where, ".size"),
                )
        elif key != "blockHeight":
            yield "other"


def _subaccounts(place: _Place, contents: dict[str, Any]) -> Iterator[_Found]:
    for key, value in contents.items():
        if key in _ROWS:
            for rank, row in enumerate(_list(value, f"{place.where}.{key}")):
                where = f"{place.where}.{key}[{rank}]"
                yield _ROWS[key](place, _object(row, where), where)
        elif key in _ALSO:
            yield _ALSO[key]
        elif key != "blockHeight":
            yield "other"


_ALSO: dict[str, Also] = {
    "orders": "orders",
    "fills": "fills",
    "transfers": "transfers",
    "tradingReward": "tradingReward",
}


def _position(place: _Place, row: dict[str, Any], where: str) -> Record:
    ticker = _text(row.get("market"), f"{where}.market")
    if not ticker:
        raise FrameError("a market was expected", field=f"{where}.market")
    side = _one_of(row.get("side"), ("LONG", "SHORT"), f"{where}.side")
    size = _number_text(row.get("size"), where, ".size")
    sign = size.sign
    if sign and (sign < 0) != (side == "SHORT"):
        raise FrameError(f"a {side} was expected to have the sign of one", field=f"{where}.size")
    return _fitted(
        Record(
            "position",
            place.element,
            name=ticker,
            side=side,
            status=_one_of(row.get("status"), ("OPEN", "CLOSED", "LIQUIDATED"), f"{where}.status"),
            number=_number(row.get("subaccountNumber"), f"{where}.subaccountNumber"),
            height=place.height,
        ),
        place.markets.get(ticker),
        size=size,
    )


def _asset(place: _Place, row: dict[str, Any], where: str) -> Record:
    """Return a balance; its size comes without a sign, which the side holds."""
    side = _one_of(row.get("side"), ("LONG", "SHORT"), f"{where}.side")
    size = _size(row.get("size"), where, ".size")
    symbol = _text(row.get("symbol"), f"{where}.symbol")
    asset = _text(row.get("assetId"), f"{where}.assetId")
    record = Record(
        "asset",
        place.element,
        name=symbol,
        side=side,
        number=_number(row.get("subaccountNumber"), f"{where}.subaccountNumber"),
        height=place.height,
    )
    if asset != "0" and (asset or symbol != "USDC"):
        return record._replace(fit="unknown_asset", texts=("", size.text))
    value, fit = size.at(_USDC_DECIMALS)
    if value is not None and side == "SHORT":
        value = -value
    return record._replace(size=value, fit=fit, texts=() if fit == "exact" else ("", size.text))


_ROWS: dict[str, Callable[[_Place, dict[str, Any], str], Record]] = {
    "perpetualPositions": _position,
    "assetPositions": _asset,
}


def _block(place: _Place, contents: dict[str, Any]) -> Iterator[_Found]:
    if place.height < 0:
        raise FrameError("a height was expected", field=f"{place.where}.blockHeight")
    yield Record("block", place.element, height=place.height)


_CHANNELS: dict[str, Callable[[_Place, dict[str, Any]], Iterator[_Found]]] = {
    "v4_markets": _markets,
    "v4_orderbook": _orderbook,
    "v4_trades": _trades,
    "v4_subaccounts": _subaccounts,
    "v4_parent_subaccounts": _subaccounts,
    "v4_block_height": _block,
}


# -- numbers


class _Decimal(NamedTuple):
    """A decimal text and what it says: significand * 10**exponent."""

    text: str
    significand: int
    exponent: int

    @property
    def sign(self) -> int:
        return (self.significand > 0) - (self.significand < 0)

    def at(self, scale: int) -> tuple[int | None, Fit]:
        """Return the value times 10**scale where that is an integer."""
        shift = self.exponent + scale
        if shift >= 0:
            value = self.significand * 10**shift
        else:
            value, rest = divmod(self.significand, 10**-shift)
            if rest:
                return None, "inexact"
        return value, "exact" if -(2**63) <= value < 2**63 else "too_large"


def _number_text(value: object, where: str, key: str) -> _Decimal:
    """Read a decimal: a string on today's wire, and read as well where it is a JSON number."""
    if type(value) is int:
        value = str(value)
    found = _DECIMAL.fullmatch(value) if isinstance(value, str) and len(value) <= _MAX_CHARACTERS else None
    if found is not None:
        sign, whole, decimals, exponent = found.groups("")
        if whole or decimals:
            return _Decimal(str(value), int(sign + whole + decimals), int(exponent or 0) - len(decimals))
    raise FrameError("a decimal text was expected", field=where + key)


def _price(value: object, where: str, key: str) -> _Decimal:
    number = _number_text(value, where, key)
    if number.significand <= 0:
        raise FrameError("a price above zero was expected", field=where + key)
    return number


def _size(value: object, where: str, key: str) -> _Decimal:
    number = _number_text(value, where, key)
    if number.significand < 0:
        raise FrameError("a size without a sign was expected", field=where + key)
    return number


def _fitted(
    record: Record, market: Scales | None, *, price: _Decimal | None = None, size: _Decimal | None = None
) -> Record:
    """Give the record its integers at the market's scale, or say why it has none."""
    integer: int | None = None
    quantums: int | None = None
    fit: Fit = "unknown_market"
    if market is not None:
        integer, fit = price.at(-market.price_exponent) if price else (None, "exact")
        if size:
            quantums, size_fit = size.at(-market.atomic_resolution)
            fit = size_fit if fit == "exact" else fit
    kind, element, _, name, side, status, number, *_ = record
    return Record(
        kind,
        element,
        NO_MARKET if market is None else market.market,
        name,
        side,
        status,
        number,
        integer,
        quantums,
        record.height,
        fit,
        () if fit == "exact" else (price.text if price else "", size.text if size else ""),
    )


# -- fields


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise FrameError("an object was expected", field=where)
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise FrameError("a list was expected", field=where)
    return value


def _text(value: object, where: str) -> str:
    """Return a string; empty where it is missing or null."""
    if value is None:
        return ""
    if type(value) is not str:
        raise FrameError("a string was expected", field=where)
    return value


def _one_of(value: object, allowed: tuple[str, ...], where: str) -> str:
    if type(value) is not str or value not in allowed:
        raise FrameError(f"{', '.join(allowed[:-1])} or {allowed[-1]} was expected", field=where)
    return value


def _number(value: object, where: str) -> int:
    """Return a small natural number; -1 where it is missing or null."""
    if value is None:
        return -1
    if type(value) is not int or not 0 <= value <= _MAX_NUMBER:
        raise FrameError(f"an integer from 0 to {_MAX_NUMBER} was expected", field=where)
    return value


def _height(value: object, where: str) -> int:
    """Return a block height, which is a text of digits; -1 where it is missing or null."""
    if value is None:
        return -1
    if type(value) is not str or not _HEIGHT.fullmatch(value) or int(value) > _MAX_HEIGHT:
        raise FrameError("a height was expected", field=where)
    return int(value)
