"""What the indexer says of a subaccount, read strictly: snapshots, updates, REST answers.

All of a message is read before any of it is applied. A key that is missing and one that is null are the
same. A field that cannot be what it is gives an `InputError` that names its path.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dydx_perf.documents import Field
from dydx_perf.errors import InputError
from dydx_perf.units import to_fixed

__all__ = [
    "AccountBody",
    "AccountUpdate",
    "FillRow",
    "OrderRow",
    "PositionRow",
    "TransferRow",
    "read_bodies",
    "read_body",
    "read_orders",
    "read_update",
]

USDC = "USDC"
#: the REST interface shows funding with more decimals than a quote quantum has
USDC_DECIMALS_SHOWN = 40
SIDES: Mapping[str | int, int] = {"LONG": 1, "SHORT": -1}
POSITION_STATUSES: Mapping[str | int, str] = {name: name for name in ("OPEN", "CLOSED", "LIQUIDATED")}
ORDER_SIDES: Mapping[str | int, str] = {"BUY": "BUY", "SELL": "SELL"}
ORDER_STATUSES: Mapping[str | int, str] = {
    name: name
    for name in (
        "BEST_EFFORT_OPENED",
        "OPEN",
        "FILLED",
        "BEST_EFFORT_CANCELED",
        "CANCELED",
        "UNTRIGGERED",
        "ERROR",
    )
}
INCOMING: Mapping[str | int, int] = {"TRANSFER_IN": 1, "DEPOSIT": 1, "TRANSFER_OUT": -1, "WITHDRAWAL": -1}
REASON_PREFIX = "ORDER_REMOVAL_REASON_"


@dataclass(frozen=True, slots=True)
class PositionRow:
    """A position as the indexer has it; its own figures are no chain state.

    Attributes
    ----------
    size : Decimal
        Signed coins; 0 of a closed one.
    entry_price : Decimal or None
        None while the fill that opened it was not booked: the venue then says 0.
    net_funding : Decimal or None
        USDC received; of a snapshot with what is not settled.
    realized_pnl : Decimal or None
        USDC; a snapshot counts fees and no funding, an update funding and no fees.
    sum_open, sum_close : Decimal or None
        Coins; after a flip they count the whole fill.
    position_id : str
        Empty in a snapshot.
    """

    ticker: str
    status: str
    size: Decimal
    entry_price: Decimal | None
    exit_price: Decimal | None
    net_funding: Decimal | None
    realized_pnl: Decimal | None
    unrealized_pnl: Decimal | None
    sum_open: Decimal | None
    sum_close: Decimal | None
    max_size: Decimal | None
    position_id: str


@dataclass(frozen=True, slots=True)
class OrderRow:
    """An order as the indexer has it; what a message does not say is None, or an empty text.

    Attributes
    ----------
    size, filled, price, trigger_price : Decimal or None
        Coins; USDC for one coin. `filled` is of both kinds, final or optimistic, the larger.
    flags : int
        0 short-term, 32 conditional, 64 long-term, 128 and 256 TWAP.
    good_til_block : int or None
        Of a short-term order: the last block that may fill it.
    """

    order_id: str
    number: int | None
    client_id: int | None
    ticker: str
    side: str
    kind: str
    size: Decimal | None
    filled: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    status: str
    time_in_force: str
    post_only: bool
    reduce_only: bool
    flags: int
    good_til_block: int | None
    good_til_time: str
    created_height: int | None
    updated_height: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class FillRow:
    """A fill of the account."""

    fill_id: str
    ticker: str
    side: str
    size: Decimal
    price: Decimal
    fee: Decimal
    kind: str
    height: int | None


@dataclass(frozen=True, slots=True)
class TransferRow:
    """Money that came in, above zero, or went out."""

    amount: Decimal
    kind: str
    height: int | None


@dataclass(frozen=True, slots=True)
class AccountBody:
    """A whole subaccount.

    Attributes
    ----------
    usdc_quantums : int
        Quote quantums, all funding settled: one floor on the sum, as the chain settles.
    updated_height : int or None
        Block of its newest event.
    height : int or None
        Block up to which the source had processed.
    equity, free_collateral : Decimal or None
        The indexer's own figures.
    """

    number: int
    positions: tuple[PositionRow, ...]
    usdc_quantums: int
    updated_height: int | None
    height: int | None
    equity: Decimal | None
    free_collateral: Decimal | None


@dataclass(frozen=True, slots=True)
class AccountUpdate:
    """One update of one subaccount: what it does not speak of stays.

    Attributes
    ----------
    usdc_quantums : int or None
        The raw balance after the event.
    """

    number: int
    height: int | None
    positions: tuple[PositionRow, ...]
    usdc_quantums: int | None
    orders: tuple[OrderRow, ...]
    fills: tuple[FillRow, ...]
    transfer: TransferRow | None
    trading_reward: Decimal | None


# -- fields


def decimal_of(field: Field) -> Decimal | None:
    """Read decimal text exactly; None where there is none."""
    if field.value is None:
        return None
    to_fixed(field.path, field.value, 200)  # type: ignore[arg-type] # it checks the type
    return Decimal(str(field.value))


def required_decimal(field: Field) -> Decimal:
    """Read decimal text that has to be there."""
    value = decimal_of(field)
    if value is None:
        raise field.refusal("a number as decimal text")
    return value


def positive_decimal(field: Field) -> Decimal:
    """Read decimal text above zero."""
    value = required_decimal(field)
    if value <= 0:
        raise field.refusal("a number above zero")
    return value


def height_of(field: Field) -> int | None:
    """Read a block height; None where there is none."""
    if field.value is None:
        return None
    height = field.integer().value
    if not 0 <= height <= 2**62:
        raise field.refusal(f"0 to {2**62}")
    return height


def text_of(field: Field) -> str:
    """Read text; empty where there is none."""
    return "" if field.value is None else str(field.text().value)


def flag_of(field: Field) -> bool:
    """Read true or false; false where there is none."""
    if field.value is None:
        return False
    if not isinstance(field.value, bool):
        raise field.refusal("true or false")
    return field.value


def number_of(field: Field) -> int | None:
    """Read a subaccount number; None where there is none."""
    return None if field.value is None else field.integer().value


# -- rows


def position_row(row: Field) -> PositionRow:
    """Read a position of an update or a snapshot."""
    status = row["status"].choice(POSITION_STATUSES).value
    size = required_decimal(row["size"])
    sign = row["side"].choice(SIDES).value
    if status == "OPEN" and size * sign <= 0:
        raise row["size"].refusal("above zero for a LONG and below zero for a SHORT")
    if status != "OPEN" and size:
        raise row["size"].refusal("0 where the position is closed")
    entry = decimal_of(row["entryPrice"])
    return PositionRow(
        ticker=str(row["market"].text().value),
        status=status,
        size=size,
        entry_price=entry or None,
        exit_price=decimal_of(row["exitPrice"]),
        net_funding=decimal_of(row["netFunding"]),
        realized_pnl=decimal_of(row["realizedPnl"]),
        unrealized_pnl=decimal_of(row["unrealizedPnl"]),
        sum_open=decimal_of(row["sumOpen"]),
        sum_close=decimal_of(row["sumClose"]),
        max_size=decimal_of(row["maxSize"]),
        position_id=text_of(row["positionId"]),
    )


def signed_usdc(row: Field) -> int:
    """Read a balance: absolute size and side, floored to quote quantums after the sign."""
    sign = row["side"].choice(SIDES).value
    size = row["size"].amount(USDC_DECIMALS_SHOWN).value
    if size < 0:
        raise row["size"].refusal("zero or more; the side has the sign")
    unit: int = 10 ** (USDC_DECIMALS_SHOWN - 6)
    return sign * size // unit


def order_row(row: Field) -> OrderRow:
    """Read an order of an update, a snapshot or a REST answer."""
    filled = [
        amount
        for amount in (decimal_of(row["totalFilled"]), decimal_of(row["totalOptimisticFilled"]))
        if amount is not None
    ]
    client_id = row["clientId"]
    return OrderRow(
        order_id=str(row["id"].text().value),
        number=number_of(row["subaccountNumber"]),
        client_id=None if client_id.value is None else client_id.integer().value,
        ticker=text_of(row["ticker"]),
        side="" if row["side"].value is None else row["side"].choice(ORDER_SIDES).value,
        kind=text_of(row["type"]),
        size=decimal_of(row["size"]),
        filled=max(filled, default=None),
        price=decimal_of(row["price"]),
        trigger_price=decimal_of(row["triggerPrice"]),
        status=row["status"].choice(ORDER_STATUSES).value,
        time_in_force=text_of(row["timeInForce"]),
        post_only=flag_of(row["postOnly"]),
        reduce_only=flag_of(row["reduceOnly"]),
        flags=row["orderFlags"].integer(default=0).value,
        good_til_block=height_of(row["goodTilBlock"]),
        good_til_time=text_of(row["goodTilBlockTime"]),
        created_height=height_of(row["createdAtHeight"]),
        updated_height=height_of(row["updatedAtHeight"]),
        reason=text_of(row["removalReason"]).removeprefix(REASON_PREFIX),
    )


def fill_row(row: Field) -> FillRow:
    """Read a fill; older servers name its market "market"."""
    ticker = row["ticker"] if row["ticker"].value is not None else row["market"]
    return FillRow(
        fill_id=str(row["id"].text().value),
        ticker=str(ticker.text().value),
        side=row["side"].choice(ORDER_SIDES).value,
        size=positive_decimal(row["size"]),
        price=required_decimal(row["price"]),
        fee=decimal_of(row["fee"]) or Decimal(0),
        kind=str(row["type"].text().value),
        height=height_of(row["createdAtHeight"]),
    )


def transfer_row(row: Field) -> TransferRow:
    """Read a transfer; its kind says which way it went."""
    kind = str(row["type"].text().value)
    sign = row["type"].choice(INCOMING).value
    return TransferRow(sign * required_decimal(row["size"]), kind, height_of(row["createdAtHeight"]))


def object_of(field: Field) -> dict[str, Any]:
    """Read an object as it is."""
    if not isinstance(field.value, Mapping):
        raise field.refusal("an object")
    return dict(field.value)


def each(field: Field) -> Iterator[Field]:
    """Go through a list; none where it is missing or null."""
    if field.value is not None:
        yield from field.each()


# -- updates


def read_update(contents: Mapping[str, Any], path: str, number: int | None, address: str) -> AccountUpdate:
    """Read one element of a subaccount message.

    Parameters
    ----------
    contents : mapping
    path : str
        Where it stands, for a refusal.
    number : int or None
        The subaccount it is about; None: only its own rows can tell.
    address : str
        The owner that was subscribed to.
    """
    root = Field(path, contents)
    numbers = {} if number is None else {number: root}
    balance = None
    positions = []
    for row in each(root["perpetualPositions"]):
        _note_owner(row, address, numbers)
        positions.append(position_row(row))
    for row in each(root["assetPositions"]):
        _note_owner(row, address, numbers)
        if text_of(row["symbol"]) == USDC or text_of(row["assetId"]) == "0":
            balance = signed_usdc(row)
        else:
            raise row["symbol"].refusal("USDC, the only collateral")
    orders = [order_row(row) for row in each(root["orders"])]
    for order in orders:
        if order.number is not None:
            numbers.setdefault(order.number, root["orders"])
    if len(numbers) != 1:
        raise root.refusal(f"rows of one subaccount, and not of {len(numbers)}")
    transfer = root["transfers"]
    reward = root["tradingReward"]
    return AccountUpdate(
        number=next(iter(numbers)),
        height=height_of(root["blockHeight"]),
        positions=tuple(positions),
        usdc_quantums=balance,
        orders=tuple(orders),
        fills=tuple(fill_row(row) for row in each(root["fills"])),
        transfer=None if transfer.value is None else transfer_row(transfer),
        trading_reward=None if reward.value is None else decimal_of(reward["tradingReward"]),
    )


def _note_owner(row: Field, address: str, numbers: dict[int, Field]) -> None:
    owner = row["address"]
    if owner.value is not None and owner.value != address:
        raise owner.refusal(f"{address}, which was subscribed to")
    number = number_of(row["subaccountNumber"])
    if number is not None:
        numbers.setdefault(number, row)


# -- whole accounts


def read_body(body: Field) -> AccountBody:
    """Read a `subaccount` object of a snapshot or a REST answer."""
    positions = []
    if body["openPerpetualPositions"].value is not None:
        for ticker, row in body["openPerpetualPositions"].items():
            position = position_row(row)
            if position.ticker != ticker:
                raise row["market"].refusal(f"{ticker}, under which it stands")
            positions.append(position)
    usdc = 0
    if body["assetPositions"].value is not None:
        for symbol, row in body["assetPositions"].items():
            if symbol != USDC:
                raise InputError(row.path, symbol, "USDC, the only collateral")
            usdc = signed_usdc(row)
    return AccountBody(
        number=body["subaccountNumber"].integer().value,
        positions=tuple(positions),
        usdc_quantums=usdc,
        updated_height=height_of(body["updatedAtHeight"]),
        height=height_of(body["latestProcessedBlockHeight"]),
        equity=decimal_of(body["equity"]),
        free_collateral=decimal_of(body["freeCollateral"]),
    )


def read_bodies(contents: Mapping[str, Any], path: str) -> list[AccountBody]:
    """Read a snapshot: one subaccount, all members of a parent, or none where the venue knows none."""
    root = Field(path, contents)
    subaccount = root["subaccount"]
    if subaccount.value is None:
        return []
    if subaccount["childSubaccounts"].value is None:
        return [read_body(subaccount)]
    return [read_body(child) for child in subaccount["childSubaccounts"].each()]


def read_orders(orders: object, path: str) -> list[OrderRow]:
    """Read the orders of a snapshot or a REST answer."""
    return [order_row(row) for row in each(Field(path, orders))]
