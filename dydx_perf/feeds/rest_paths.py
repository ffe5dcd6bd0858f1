"""Paths of the indexer's REST interface, with every parameter checked before it is asked.

A path stands below the base address, with its query: ``/addresses/dydx1…/subaccountNumber/0``. The open
orders of many accounts take one path for each parent subaccount.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from dydx_perf.address import checked_address
from dydx_perf.errors import InputError
from dydx_perf.feeds.subscriptions import RESOLUTIONS
from dydx_perf.market import MAX_HEIGHT, checked_choice, checked_integer, is_ticker
from dydx_perf.subaccount import MAX_SUBACCOUNT_NUMBER, PARENT_SUBACCOUNTS

__all__ = [
    "ORDER_STATUSES",
    "address_path",
    "candles_path",
    "fills_path",
    "funding_payments_path",
    "height_path",
    "historical_funding_path",
    "open_order_paths",
    "orderbook_path",
    "orders_path",
    "perpetual_markets_path",
    "subaccount_path",
    "time_path",
    "trades_path",
    "transfers_path",
]

MAX_LIMIT = 1000
ORDER_STATUSES: Final = (
    "OPEN", "FILLED", "CANCELED", "BEST_EFFORT_CANCELED", "UNTRIGGERED", "BEST_EFFORT_OPENED", "ERROR",
)  # fmt: skip
#: statuses of an order that may still fill
STILL_OPEN: Final = ("OPEN", "UNTRIGGERED", "BEST_EFFORT_OPENED")
SIDES: Final = ("BUY", "SELL")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quoted(text: str) -> str:
    """Return a text as it stands in a path or a query."""
    return "".join(chr(byte) if byte in PLAIN else f"%{byte:02X}" for byte in text.encode())


def with_query(path: str, query: dict[str, str | int | None]) -> str:
    """Return a path with those parameters that are given; commas of a list stay commas."""
    given = "&".join(
        f"{name}={quoted(str(value)).replace('%2C', ',')}"
        for name, value in query.items()
        if value is not None
    )
    return f"{path}?{given}" if given else path


# ---- checks


def checked_number(number: object, is_parent: bool) -> int:
    """Return the number of a subaccount, or of a parent."""
    return checked_integer(
        "number", number, 0, PARENT_SUBACCOUNTS - 1 if is_parent else MAX_SUBACCOUNT_NUMBER
    )


def checked_ticker(ticker: object) -> str:
    """Return a ticker that a path can hold."""
    if not isinstance(ticker, str) or not is_ticker(ticker):
        raise InputError("ticker", ticker, "a text of 1 to 64 characters, like BTC-USD")
    return ticker


def checked_limit(limit: int | None) -> int | None:
    """Return how many rows are asked for."""
    return None if limit is None else checked_integer("limit", limit, 1, MAX_LIMIT)


def checked_page(page: int | None) -> int | None:
    """Return the number of a page."""
    return None if page is None else checked_integer("page", page, 1, 2**31 - 1)


def checked_block(argument: str, height: int | None) -> int | None:
    """Return a height, or None."""
    return None if height is None else checked_integer(argument, height, 0, MAX_HEIGHT)


def checked_time(argument: str, time: object) -> str | None:
    """Return a time as the indexer writes it, or None."""
    if time is None:
        return None
    if not isinstance(time, str) or TIME.fullmatch(time) is None:
        raise InputError(argument, time, "a time in UTC like 2026-01-31T12:00:00.000Z")
    return time


def _account(address: str, number: int, is_parent: bool) -> tuple[str, dict[str, str | int | None]]:
    """Return what a path of an account's rows ends with, and the account as its query."""
    name = "parentSubaccountNumber" if is_parent else "subaccountNumber"
    query: dict[str, str | int | None] = {
        "address": checked_address("address", address),
        name: checked_number(number, is_parent),
    }
    return ("/parentSubaccountNumber" if is_parent else ""), query


# ---- accounts


def address_path(address: str) -> str:
    """Return the path of every subaccount of an address."""
    return f"/addresses/{checked_address('address', address)}"


def subaccount_path(address: str, number: int, *, parent: bool = False) -> str:
    """Return the path of a subaccount, or of a parent with its children."""
    name = "parentSubaccountNumber" if parent else "subaccountNumber"
    return f"{address_path(address)}/{name}/{checked_number(number, parent)}"


def orders_path(
    address: str,
    number: int,
    *,
    parent: bool = False,
    statuses: Sequence[str] = (),
    ticker: str | None = None,
    side: str | None = None,
    limit: int | None = None,
    good_til_block_after: int | None = None,
    good_til_block_before_or_at: int | None = None,
    latest_first: bool | None = None,
) -> str:
    """Return the path of an account's orders; without statuses, of all of them."""
    end, query = _account(address, number, parent)
    for status in statuses:
        checked_choice("statuses", status, ORDER_STATUSES)
    query |= {
        "status": ",".join(statuses) or None,
        "ticker": None if ticker is None else checked_ticker(ticker),
        "side": None if side is None else checked_choice("side", side, SIDES),
        "limit": checked_limit(limit),
        "goodTilBlockAfter": checked_block("good_til_block_after", good_til_block_after),
        "goodTilBlockBeforeOrAt": checked_block("good_til_block_before_or_at", good_til_block_before_or_at),
        "returnLatestOrders": None if latest_first is None else str(bool(latest_first)).lower(),
    }
    return with_query(f"/orders{end}", query)


def open_order_paths(accounts: Iterable[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    """Return the fewest paths that give the open orders of these accounts, each with whose it gives.

    The children of a parent share one path. An answer of 1000 rows is not whole: ask by ticker then.
    """
    parents: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for address, number in accounts:
        checked_number(number, False)
        parents.setdefault((address, number % PARENT_SUBACCOUNTS), []).append((address, number))
    return {
        orders_path(address, parent, parent=True, statuses=STILL_OPEN, limit=MAX_LIMIT): whose
        for (address, parent), whose in parents.items()
    }


def fills_path(
    address: str,
    number: int,
    *,
    parent: bool = False,
    ticker: str | None = None,
    limit: int | None = None,
    created_before_or_at: str | None = None,
    created_before_or_at_height: int | None = None,
    page: int | None = None,
) -> str:
    """Return the path of an account's fills, newest first; with a page, oldest first."""
    end, query = _account(address, number, parent)
    query |= {
        "market": None if ticker is None else checked_ticker(ticker),
        "marketType": None if ticker is None else "PERPETUAL",  # the indexer wants both or none
        **_before(limit, created_before_or_at, created_before_or_at_height, page),
    }
    return with_query(f"/fills{end}", query)


def transfers_path(
    address: str,
    number: int,
    *,
    parent: bool = False,
    limit: int | None = None,
    created_before_or_at: str | None = None,
    created_before_or_at_height: int | None = None,
    page: int | None = None,
) -> str:
    """Return the path of an account's transfers, newest first; with a page, oldest first."""
    end, query = _account(address, number, parent)
    query |= _before(limit, created_before_or_at, created_before_or_at_height, page)
    return with_query(f"/transfers{end}", query)


def _before(
    limit: int | None, time: str | None, height: int | None, page: int | None
) -> dict[str, str | int | None]:
    return {
        "limit": checked_limit(limit),
        "createdBeforeOrAt": checked_time("created_before_or_at", time),
        "createdBeforeOrAtHeight": checked_block("created_before_or_at_height", height),
        "page": checked_page(page),
    }


def funding_payments_path(
    address: str,
    number: int,
    *,
    parent: bool = False,
    ticker: str | None = None,
    limit: int | None = None,
    created_on_or_after: str | None = None,
    page: int | None = None,
) -> str:
    """Return the path of what an account paid and received as funding."""
    end, query = _account(address, number, parent)
    query |= {
        "ticker": None if ticker is None else checked_ticker(ticker),
        "limit": checked_limit(limit),
        "createdOnOrAfter": checked_time("created_on_or_after", created_on_or_after),
        "page": checked_page(page),
    }
    return with_query(f"/fundingPayments{end.removesuffix('Number')}", query)


# ---- markets and blocks


def perpetual_markets_path(ticker: str | None = None, *, limit: int | None = None) -> str:
    """Return the path of one market, or of all."""
    one = None if ticker is None else checked_ticker(ticker)
    return with_query("/perpetualMarkets", {"ticker": one, "limit": checked_limit(limit)})


def orderbook_path(ticker: str) -> str:
    """Return the path of an order book: up to 100 levels a side, uncrossed."""
    return f"/orderbooks/perpetualMarket/{quoted(checked_ticker(ticker))}"


def trades_path(
    ticker: str,
    *,
    limit: int | None = None,
    created_before_or_at: str | None = None,
    created_before_or_at_height: int | None = None,
) -> str:
    """Return the path of a market's trades, newest first."""
    query = _before(limit, created_before_or_at, created_before_or_at_height, None)
    return with_query(f"/trades/perpetualMarket/{quoted(checked_ticker(ticker))}", query)


def candles_path(
    ticker: str,
    resolution: str,
    *,
    limit: int | None = None,
    from_time: str | None = None,
    to_time: str | None = None,
) -> str:
    """Return the path of a market's candles, newest first; `to_time` itself is left out."""
    return with_query(
        f"/candles/perpetualMarkets/{quoted(checked_ticker(ticker))}",
        {
            "resolution": checked_choice("resolution", resolution, RESOLUTIONS),
            "limit": checked_limit(limit),
            "fromISO": checked_time("from_time", from_time),
            "toISO": checked_time("to_time", to_time),
        },
    )


def historical_funding_path(
    ticker: str,
    *,
    limit: int | None = None,
    effective_before_or_at: str | None = None,
    effective_before_or_at_height: int | None = None,
) -> str:
    """Return the path of a market's hourly funding rates, newest first."""
    return with_query(
        f"/historicalFunding/{quoted(checked_ticker(ticker))}",
        {
            "limit": checked_limit(limit),
            "effectiveBeforeOrAt": checked_time("effective_before_or_at", effective_before_or_at),
            "effectiveBeforeOrAtHeight": checked_block(
                "effective_before_or_at_height", effective_before_or_at_height
            ),
        },
    )


def height_path() -> str:
    """Return the path of the latest block that the indexer has processed."""
    return "/height"


def time_path() -> str:
    """Return the path of the indexer's clock."""
    return "/time"
