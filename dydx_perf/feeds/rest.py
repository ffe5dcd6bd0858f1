"""Answers of the indexer's REST interface: exact values, or the error that the venue meant.

Amounts are Decimals of the text that came, heights ints, times text. Rows keep what came in `row`, for what
has no field here. `rest_paths` has the questions, `rest_walk` goes through history, `rest_budget` says
how often.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from dydx_perf.errors import FrameError, VenueError

__all__ = [
    "FillRow",
    "FundingPaymentRow",
    "FundingRateRow",
    "Height",
    "Level",
    "OrderRow",
    "TransferRow",
    "answer",
    "fill_rows",
    "funding_payment_rows",
    "funding_rate_rows",
    "height",
    "order_rows",
    "orderbook_levels",
    "transfer_rows",
]

MAX_DIGITS = 100  # of an amount; what is longer is no amount
NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
INTEGER = re.compile(r"-?\d{1,20}", re.ASCII)
SHOWN: Final = 200  # characters of a venue's words


# ---- an answer and its errors


def answer(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Any:
    """Return the document of an answer; None where the venue knows no such account, address or market.

    A subaccount without history is answered with 404: it is empty, not an error. A path that does not exist
    is an error.

    Parameters
    ----------
    status : int
    body : bytes
    headers : mapping of str to str, optional
        For `retry_after`, in any case of letters; the venue states it in milliseconds.

    Raises
    ------
    VenueError
        Any status but 200 and the 404 of what is not known: 400 with the venue's word on each parameter, 403
        with the `code` GEOBLOCKED or COMPLIANCE_BLOCKED, 429 with `retry_after`, 5xx, whatever its body.
    FrameError
        An answer with 200 that is no JSON.
    """
    if status == 200:
        return document(body)
    try:
        said = document(body)
    except FrameError:  # a page of the proxy's
        said = None
    errors = said.get("errors") if isinstance(said, dict) else None
    if status == 404 and isinstance(errors, list):
        return None
    message, code = _words(said, errors)
    raise VenueError(
        message or "an answer without words", status, code, _retry_after(headers) if status == 429 else None
    )


def document(body: bytes) -> Any:
    """Return what JSON says, every number exact.

    Raises
    ------
    FrameError
    """
    try:
        return json.loads(body.decode(), parse_float=Decimal, parse_constant=_refused_constant)
    except json.JSONDecodeError as error:
        raise FrameError(f"no JSON: {error.msg}", len(error.doc[: error.pos].encode())) from None
    except RecursionError:
        raise FrameError("JSON nested too deep") from None
    except UnicodeDecodeError as error:
        raise FrameError(f"no UTF-8: {error.reason}", error.start) from None
    except ValueError as error:  # a constant, an integer of thousands of digits
        raise FrameError(f"no JSON: {error}") from None


def _refused_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _words(said: Any, errors: Any) -> tuple[str, str | None]:
    """Return what the venue says, and its code."""
    if isinstance(errors, list):
        rows = [row for row in errors if isinstance(row, dict)]
        texts = [
            f"{row['param']}: {row.get('msg')}" if "param" in row else str(row.get("msg")) for row in rows
        ]
        code = next((row["code"] for row in rows if isinstance(row.get("code"), str)), None)
        return "; ".join(texts)[:SHOWN], code
    if isinstance(said, dict) and isinstance(said.get("error"), str):
        return said["error"][:SHOWN], None
    return "", None


def _retry_after(headers: Mapping[str, str] | None) -> float | None:
    """Return how long the venue wants to hear nothing, in seconds."""
    for name, value in (headers or {}).items():
        if name.lower() == "retry-after" and re.fullmatch(r"\d{1,12}", value, re.ASCII):
            return int(value) / 1000
    return None


# ---- rows


class Row:
    """One object of an answer, read field by field; an error names the field."""

    def __init__(self, row: Any, place: str) -> None:
        if not isinstance(row, dict):
            raise FrameError("an object is expected", None, place)
        self.row: dict[str, Any] = row
        self.place = place

    def _fail(self, name: str, expected: str) -> FrameError:
        return FrameError(f"{expected} is expected", None, f"{self.place}.{name}")

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text."""
        value = self.row.get(name, default)
        if not isinstance(value, str):
            raise self._fail(name, "a text")
        return value

    def amount(self, name: str) -> Decimal:
        """Return an exact amount: the text's own digits."""
        value = self.row.get(name)
        if isinstance(value, Decimal):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return Decimal(value)
        if not isinstance(value, str) or len(value) > MAX_DIGITS or NUMBER.fullmatch(value) is None:
            raise self._fail(name, "an amount")
        return Decimal(value)

    def amount_or_none(self, name: str) -> Decimal | None:
        """Return an exact amount, None where there is none."""
        return None if self.row.get(name) in (None, "") else self.amount(name)

    def integer(self, name: str) -> int:
        """Return an integer, which may stand as text."""
        value = self.row.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if not isinstance(value, str) or INTEGER.fullmatch(value) is None:
            raise self._fail(name, "an integer")
        return int(value)

    def integer_or_none(self, name: str) -> int | None:
        """Return an integer, None where there is none."""
        return None if self.row.get(name) in (None, "") else self.integer(name)

    def flag(self, name: str) -> bool:
        """Return true or false."""
        value = self.row.get(name)
        if not isinstance(value, bool):
            raise self._fail(name, "true or false")
        return value

    def side(self) -> bool:
        """Return whether the side is BUY."""
        value = self.row.get("side")
        if value not in ("BUY", "SELL"):
            raise self._fail("side", "BUY or SELL")
        return bool(value == "BUY")


def _rows(document: Any, name: str) -> list[Row]:
    """Return the rows of a list that an answer holds under a name, or is."""
    if name and isinstance(document, dict):
        document = document.get(name)
    if not isinstance(document, list):
        raise FrameError("a list is expected", None, name)
    return [Row(row, f"{name}[{place}]") for place, row in enumerate(document)]


@dataclass(frozen=True, slots=True)
class Height:
    """The latest block that the indexer has processed."""

    height: int
    time: str


def height(document: Any) -> Height:
    """Read the answer to `height_path`."""
    row = Row(document, "")
    return Height(row.integer("height"), row.text("time"))


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order as the indexer has it.

    Attributes
    ----------
    order_flags : int
        0 short-term, 32 conditional, 64 long-term, 128 and 256 of a TWAP.
    size, total_filled, price : Decimal
        Coins and USDC for one coin.
    """

    id: str
    number: int
    client_id: int
    clob_pair_id: int
    ticker: str
    is_buy: bool
    size: Decimal
    total_filled: Decimal
    price: Decimal
    type: str
    status: str
    time_in_force: str
    reduce_only: bool
    post_only: bool
    order_flags: int
    good_til_block: int | None
    good_til_block_time: str | None
    trigger_price: Decimal | None
    row: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def remaining(self) -> Decimal:
        """Coins left to fill, never below zero."""
        return max(self.size - self.total_filled, Decimal(0))

    @property
    def is_stateful(self) -> bool:
        """Whether it counts against the equity tier of stateful orders."""
        return self.order_flags != 0


def order_rows(document: Any) -> list[OrderRow]:
    """Read the answer to `orders_path`, or to one of `open_order_paths`."""
    return [
        OrderRow(
            id=row.text("id"),
            number=row.integer("subaccountNumber"),
            client_id=row.integer("clientId"),
            clob_pair_id=row.integer("clobPairId"),
            ticker=row.text("ticker"),
            is_buy=row.side(),
            size=row.amount("size"),
            total_filled=row.amount("totalFilled"),
            price=row.amount("price"),
            type=row.text("type"),
            status=row.text("status"),
            time_in_force=row.text("timeInForce"),
            reduce_only=row.flag("reduceOnly"),
            post_only=row.flag("postOnly"),
            order_flags=row.integer("orderFlags"),
            good_til_block=row.integer_or_none("goodTilBlock"),
            good_til_block_time=row.text("goodTilBlockTime", "") or None,
            trigger_price=row.amount_or_none("triggerPrice"),
            row=row.row,
        )
        for row in _rows(document, "")
    ]


@dataclass(frozen=True, slots=True)
class FillRow:
    """A fill; `kind` is the indexer's type: "LIMIT", "LIQUIDATED", "LIQUIDATION" and so on."""

    id: str
    number: int
    ticker: str
    is_buy: bool
    kind: str
    liquidity: str
    size: Decimal
    price: Decimal
    fee: Decimal
    order_id: str
    created_at: str
    height: int
    row: Mapping[str, Any] = field(repr=False, compare=False)


def fill_rows(document: Any) -> list[FillRow]:
    """Read the answer to `fills_path`."""
    return [
        FillRow(
            id=row.text("id"),
            number=row.integer("subaccountNumber"),
            ticker=row.text("market"),
            is_buy=row.side(),
            kind=row.text("type"),
            liquidity=row.text("liquidity"),
            size=row.amount("size"),
            price=row.amount("price"),
            fee=row.amount("fee"),
            order_id=row.text("orderId", ""),
            created_at=row.text("createdAt"),
            height=row.integer("createdAtHeight"),
            row=row.row,
        )
        for row in _rows(document, "fills")
    ]


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A transfer; `kind` is "DEPOSIT", "WITHDRAWAL", "TRANSFER_IN" or "TRANSFER_OUT".

    Attributes
    ----------
    sender, recipient : (address, number or None)
        A wallet has no number.
    amount : Decimal
        Above zero, in units of `symbol`.
    """

    id: str
    sender: tuple[str, int | None]
    recipient: tuple[str, int | None]
    amount: Decimal
    symbol: str
    kind: str
    created_at: str
    height: int
    row: Mapping[str, Any] = field(repr=False, compare=False)


def transfer_rows(document: Any) -> list[TransferRow]:
    """Read the answer to `transfers_path`."""

    def end(row: Row, name: str) -> tuple[str, int | None]:
        inner = Row(row.row.get(name), f"{row.place}.{name}")
        return inner.text("address"), inner.integer_or_none("subaccountNumber")

    return [
        TransferRow(
            id=row.text("id"),
            sender=end(row, "sender"),
            recipient=end(row, "recipient"),
            amount=row.amount("size"),
            symbol=row.text("symbol"),
            kind=row.text("type"),
            created_at=row.text("createdAt"),
            height=row.integer("createdAtHeight"),
            row=row.row,
        )
        for row in _rows(document, "transfers")
    ]


@dataclass(frozen=True, slots=True)
class FundingPaymentRow:
    """What an account paid or received at a funding tick.

    Attributes
    ----------
    payment : Decimal
        USDC, above zero when it was received.
    funding_index : Decimal
        USDC for one coin, cumulative: times 10**(12 + atomic_resolution) it is the chain's integer.
    """

    number: int
    ticker: str
    perpetual_id: int
    size: Decimal
    oracle_price: Decimal
    rate: Decimal
    payment: Decimal
    funding_index: Decimal
    created_at: str
    height: int
    row: Mapping[str, Any] = field(repr=False, compare=False)


def funding_payment_rows(document: Any) -> list[FundingPaymentRow]:
    """Read the answer to `funding_payments_path`."""
    return [
        FundingPaymentRow(
            number=row.integer("subaccountNumber"),
            ticker=row.text("ticker"),
            perpetual_id=row.integer("perpetualId"),
            size=row.amount("size"),
            oracle_price=row.amount("oraclePrice"),
            rate=row.amount("rate"),
            payment=row.amount("payment"),
            funding_index=row.amount("fundingIndex"),
            created_at=row.text("createdAt"),
            height=row.integer("createdAtHeight"),
            row=row.row,
        )
        for row in _rows(document, "fundingPayments")
    ]


@dataclass(frozen=True, slots=True)
class FundingRateRow:
    """The rate of one hour's funding tick, per hour."""

    ticker: str
    rate: Decimal
    price: Decimal
    effective_at: str
    height: int


def funding_rate_rows(document: Any) -> list[FundingRateRow]:
    """Read the answer to `historical_funding_path`."""
    return [
        FundingRateRow(
            ticker=row.text("ticker"),
            rate=row.amount("rate"),
            price=row.amount("price"),
            effective_at=row.text("effectiveAt"),
            height=row.integer("effectiveAtHeight"),
        )
        for row in _rows(document, "historicalFunding")
    ]


Level = tuple[Decimal, Decimal]  # price, size


def orderbook_levels(document: Any) -> tuple[list[Level], list[Level]]:
    """Read the answer to `orderbook_path`: bids and asks, best first, as the indexer has uncrossed them."""

    def side(name: str) -> list[Level]:
        return [(row.amount("price"), row.amount("size")) for row in _rows(document, name)]

    return side("bids"), side("asks")
