"""Messages for the user's own signer: orders, cancels, deposits, transfers, withdrawals.

No keys and nothing sent. A message is built only when the chain as it is known would take it: what it would
refuse is an `InputError` that names the argument. What comes back holds the v4-proto message, its bytes for a
transaction, and the preview that it was checked with. v4-proto is in the ``grpc`` extra and is imported when
the first message is built.

Ids are the caller's: an order's is (owner, number, client id, kind, market), and one with the id of an open
order is meant to replace it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Unpack

from dydx_perf.address import checked_address
from dydx_perf.errors import InputError
from dydx_perf.limits import equity_tier_headroom
from dydx_perf.market import Amount, Market, checked_choice, checked_integer
from dydx_perf.order import Order, PlacedOrder
from dydx_perf.position import checked_decimal
from dydx_perf.preview import (
    Deposit,
    Movement,
    MovementPreview,
    OrderPreview,
    Preview,
    PreviewOptions,
    PriceMove,
    Transfer,
    Verdict,
    Withdrawal,
)
from dydx_perf.subaccount import MAX_SUBACCOUNT_NUMBER
from dydx_perf.units import price_to_subticks, subticks_to_price, to_decimal

if TYPE_CHECKING:
    from dydx_perf.subaccount import Subaccount

__all__ = [
    "OrderKind",
    "UnsignedMessage",
    "batch_cancel",
    "cancel_order",
    "deposit",
    "place_order",
    "transfer",
    "withdraw",
]

OrderKind = Literal["short-term", "long-term", "stop-loss", "take-profit"]

#: the chain's order flags, by kind
CONDITIONS = {"stop-loss": "CONDITION_TYPE_STOP_LOSS", "take-profit": "CONDITION_TYPE_TAKE_PROFIT"}
FLAGS = {"short-term": 0, "stop-loss": 32, "take-profit": 32, "long-term": 64}
#: blocks within which a short-term order must end
SHORT_BLOCK_WINDOW = 40
#: seconds within which a stateful order must end: 95 days
STATEFUL_TIME_WINDOW = 95 * 24 * 60 * 60
MAX_BATCH = 100
UINT32_MAX, UINT64_MAX = 2**32 - 1, 2**64 - 1
USDC_ASSET = 0


@dataclass(frozen=True, slots=True)
class UnsignedMessage:
    """A message as the chain takes it in a transaction.

    Attributes
    ----------
    message : v4-proto message
    preview : Preview or None
        What it was checked with; None for a cancel, which asks nothing.
    """

    message: Any
    preview: Preview | None

    @property
    def type_url(self) -> str:
        """Name of the message's type."""
        return f"/{self.message.DESCRIPTOR.full_name}"

    @property
    def value(self) -> bytes:
        """The message's bytes."""
        return bytes(self.message.SerializeToString(deterministic=True))

    @property
    def any_bytes(self) -> bytes:
        """Bytes of the `google.protobuf.Any` that a transaction's body holds."""
        from google.protobuf.any_pb2 import Any as AnyMessage

        return bytes(
            AnyMessage(type_url=self.type_url, value=self.value).SerializeToString(deterministic=True)
        )


class _Types(NamedTuple):
    """Modules of v4-proto; it has no types of its own for a checker."""

    orders: Any
    clob: Any
    transfers: Any
    sending: Any
    subaccounts: Any


def _types() -> _Types:
    """Import v4-proto, or say which extra has it."""
    try:
        from v4_proto.dydxprotocol.clob import order_pb2
        from v4_proto.dydxprotocol.clob import tx_pb2 as clob
        from v4_proto.dydxprotocol.sending import transfer_pb2
        from v4_proto.dydxprotocol.sending import tx_pb2 as sending
        from v4_proto.dydxprotocol.subaccounts import subaccount_pb2
    except ImportError as error:
        raise ImportError(
            f"messages need v4-proto, which is in an extra: pip install 'dydx-perf[grpc]' ({error})"
        ) from error
    return _Types(order_pb2, clob, transfer_pb2, sending, subaccount_pb2)


def _owner(account: Subaccount) -> tuple[str, int]:
    """Return whose account it is; only a real address can sign."""
    return checked_address("address", account.address), account.number


# ---- orders


def place_order(
    account: Subaccount,
    order: Order,
    *,
    client_id: int,
    height: int | None = None,
    good_til_block: int | None = None,
    time: int | None = None,
    good_til_time: int | None = None,
    trigger_price: Amount | None = None,
    condition: Literal["stop-loss", "take-profit"] = "stop-loss",
    client_metadata: int = 0,
    builder_address: str | None = None,
    **options: Unpack[PreviewOptions],
) -> UnsignedMessage:
    """Build `MsgPlaceOrder`: short-term; long-term where the order is stateful; conditional with a trigger.

    Parameters
    ----------
    account : Subaccount
        Whose order it is, with a real address.
    order : Order
        Of a conditional order `stateful` says nothing: it always is.
    client_id : int
        0 to 2**32 - 1, the caller's own.
    height, good_til_block : int
        Last block that is known (by default the chain's), and last block of a short-term order: up to 40 on.
    time, good_til_time : int
        Unix seconds of the last block, and of the end of a stateful order: up to 95 days on.
    trigger_price : str, int or Decimal, optional
        Oracle price at which a conditional order becomes active, a multiple of the tick, not yet reached.
    condition : "stop-loss" or "take-profit"
        A stop-loss that sells waits for a price at or below the trigger, a take-profit for one at or above;
        one that buys the other way round.
    client_metadata : int
    builder_address : str, optional
        Needed where the order has a builder's fee, and only there.
    **options
        Of the preview. `open_stateful_orders` is needed for stateful orders.

    Returns
    -------
    UnsignedMessage
        A conditional order was checked at its trigger: the preview is of a moved price, then the order.

    Raises
    ------
    InputError
        Names what the chain would refuse: size (zero, step), limit_price (zero, tick), ticker (status of the
        order book), good_til_block, good_til_time, trigger_price, open_stateful_orders (equity tier), order
        (collateral and the rest).
    ImportError
        v4-proto is not installed.
    """
    if not isinstance(order, Order):
        raise InputError("order", order, "an Order")
    owner, number = _owner(account)
    market = account.chain[order.ticker]
    kind = _kind(order, trigger_price, condition)
    placed = _placed(order, market)
    checked_integer("client_id", client_id, 0, UINT32_MAX)
    checked_integer("client_metadata", client_metadata, 0, UINT32_MAX)
    if (order.builder_fee_ppm is None) != (builder_address is None):
        raise InputError("builder_address", builder_address, "an address with a builder's fee, else none")
    builder = None if builder_address is None else checked_address("builder_address", builder_address)
    until = _good_til(account, kind, height, good_til_block, time, good_til_time)
    trigger = 0 if trigger_price is None else _trigger(market, order, kind, trigger_price)
    preview = _checked_preview(account, order, kind, trigger, options)
    types = _types()
    words = types.orders.Order
    message = words(
        order_id=_order_id(types, (owner, number), market, client_id, kind),
        side=words.SIDE_BUY if order.is_buy else words.SIDE_SELL,
        quantums=placed.base_quantums,
        subticks=placed.subticks,
        time_in_force=_time_in_force(words, order),
        reduce_only=order.reduce_only,
        client_metadata=client_metadata,
        condition_type=words.ConditionType.Value(CONDITIONS.get(kind, "CONDITION_TYPE_UNSPECIFIED")),
        conditional_order_trigger_subticks=trigger,
        **until,
    )
    if builder is not None:
        message.builder_code_parameters.builder_address = builder
        message.builder_code_parameters.fee_ppm = order.builder_fee_ppm
    return UnsignedMessage(types.clob.MsgPlaceOrder(order=message), preview)


def _time_in_force(words: Any, order: Order) -> Any:
    if order.immediate_or_cancel:
        return words.TIME_IN_FORCE_IOC
    return words.TIME_IN_FORCE_POST_ONLY if order.post_only else words.TIME_IN_FORCE_UNSPECIFIED


def _kind(order: Order, trigger_price: Amount | None, condition: str) -> OrderKind:
    checked_choice("condition", condition, ("stop-loss", "take-profit"))
    if trigger_price is not None:
        return "take-profit" if condition == "take-profit" else "stop-loss"
    return "long-term" if order.stateful else "short-term"


def _placed(order: Order, market: Market) -> PlacedOrder:
    """Return the order in the market's integers, on its grid."""
    placed = order.in_market(market)
    if placed.base_quantums == 0:
        raise InputError("size", order.size, "above zero")
    if not placed.is_step_right:
        raise InputError("size", order.size, f"a multiple of the step, {market.step_size:f}")
    if placed.subticks == 0:
        raise InputError("limit_price", order.limit_price, "above zero")
    if placed.subticks % market.clob_pair.subticks_per_tick:
        raise InputError("limit_price", order.limit_price, f"a multiple of the tick, {market.tick_size:f}")
    return placed


def _good_til(
    account: Subaccount,
    kind: str,
    height: int | None,
    good_til_block: int | None,
    time: int | None,
    good_til_time: int | None,
) -> dict[str, int]:
    """Return when an order or cancel of a kind ends, as the message's field."""
    if kind == "short-term":
        if good_til_time is not None:
            raise InputError("good_til_time", good_til_time, "None: a short-term order ends at a block")
        if height is None:
            height = account.chain.height
        last = checked_integer("height", height, 0, UINT32_MAX - SHORT_BLOCK_WINDOW)
        end = checked_integer("good_til_block", good_til_block, last + 1, last + SHORT_BLOCK_WINDOW)
        return {"good_til_block": end}
    if good_til_block is not None:
        raise InputError("good_til_block", good_til_block, "None: a stateful order ends at a time")
    now = checked_integer("time", time, 0, UINT32_MAX - STATEFUL_TIME_WINDOW)
    end = checked_integer("good_til_time", good_til_time, now + 1, now + STATEFUL_TIME_WINDOW)
    return {"good_til_block_time": end}


def _trigger(market: Market, order: Order, kind: str, trigger_price: Amount) -> int:
    """Return a trigger in subticks, which the oracle price has not reached yet."""
    pair = market.clob_pair
    price = checked_decimal("trigger_price", trigger_price)
    trigger = price_to_subticks(
        price, market.atomic_resolution, pair.quantum_conversion_exponent, "trigger_price"
    )
    if trigger == 0 or trigger % pair.subticks_per_tick:
        raise InputError(
            "trigger_price", trigger_price, f"above zero, a multiple of the tick, {market.tick_size:f}"
        )
    oracle = market.oracle_price.decimal
    waits_below = (kind == "stop-loss") != order.is_buy
    if price >= oracle if waits_below else price <= oracle:
        side = "below" if waits_below else "above"
        raise InputError(
            "trigger_price", trigger_price, f"{side} the oracle price, {oracle:f}: it would trigger at once"
        )
    return trigger


def _checked_preview(
    account: Subaccount, order: Order, kind: str, trigger: int, options: PreviewOptions
) -> Preview:
    """Ask for the chain's answer, and refuse what it would refuse."""
    if kind == "short-term":
        return _passing(account.preview(order, **options))
    opened = options.get("open_stateful_orders")
    if opened is None:
        raise InputError("open_stateful_orders", opened, "how many are open: the equity tier limits them")
    room = equity_tier_headroom(account, opened)
    if room.remaining == 0:
        raise InputError("open_stateful_orders", opened, f"fewer than {room.limit}, by the equity tier")
    if kind == "long-term":
        return _passing(account.preview(order, **options))
    if order.stateful and order.immediate_or_cancel:
        order = replace(order, stateful=False)  # the chain lets a conditional order be immediate or cancel
    market = account.chain[order.ticker]
    pair, exponent = market.clob_pair, market.price_exponent
    price = subticks_to_price(trigger, market.atomic_resolution, pair.quantum_conversion_exponent)
    oracle = Fraction(price) // Fraction(to_decimal(1, exponent))  # the oracle's own grid may be coarser
    basket = account.preview(
        [PriceMove({market.ticker: to_decimal(max(oracle, 1), exponent)}), order], **options
    )
    for step in basket.steps:
        if isinstance(step, OrderPreview):
            _passing(step)
    return basket


def _passing(preview: OrderPreview) -> OrderPreview:
    """Return a preview that passes."""
    if (refusal := preview.refusal) is not None:
        said = f"the chain answers {refusal.name}: {refusal.reason}"
        if refusal.name == "ErrOrderConflictsWithClobPairStatus":
            raise InputError("ticker", preview.order.ticker, said)
        raise InputError("order", preview.order, said)
    _check_verdict("order", preview.order, "entering the book", preview.entering_book)
    _check_verdict("order", preview.order, "matching", preview.matching)
    return preview


def _check_verdict(argument: str, value: object, where: str, verdict: Verdict | None) -> None:
    if verdict is not None and not verdict.passes:
        raise InputError(argument, value, f"{where} the chain says {verdict.result}")


def _subaccount_id(types: _Types, owner: tuple[str, int]) -> Any:
    return types.subaccounts.SubaccountId(owner=owner[0], number=owner[1])


def _order_id(types: _Types, owner: tuple[str, int], market: Market, client_id: int, kind: str) -> Any:
    return types.orders.OrderId(
        subaccount_id=_subaccount_id(types, owner),
        client_id=client_id,
        order_flags=FLAGS[kind],
        clob_pair_id=market.clob_pair_id,
    )


# ---- cancels


def cancel_order(
    account: Subaccount,
    ticker: str,
    *,
    client_id: int,
    kind: OrderKind,
    height: int | None = None,
    good_til_block: int | None = None,
    time: int | None = None,
    good_til_time: int | None = None,
) -> UnsignedMessage:
    """Build `MsgCancelOrder`; it must live at least as long as the order itself.

    Raises
    ------
    InputError, UnknownMarketError, ImportError
    """
    checked_choice("kind", kind, tuple(FLAGS))
    checked_integer("client_id", client_id, 0, UINT32_MAX)
    owner, market = _owner(account), account.chain[ticker]
    until = _good_til(account, kind, height, good_til_block, time, good_til_time)
    types = _types()
    order_id = _order_id(types, owner, market, client_id, kind)
    return UnsignedMessage(types.clob.MsgCancelOrder(order_id=order_id, **until), None)


def batch_cancel(
    account: Subaccount,
    client_ids: Mapping[str, Iterable[int]],
    *,
    good_til_block: int,
    height: int | None = None,
) -> UnsignedMessage:
    """Build `MsgBatchCancel` of short-term orders, up to 100 in all, each once.

    Parameters
    ----------
    client_ids : mapping of ticker to client ids

    Raises
    ------
    InputError, UnknownMarketError, ImportError
    """
    if not isinstance(client_ids, Mapping):
        raise InputError("client_ids", client_ids, "a mapping of ticker to client ids")
    batches: dict[int, list[int]] = {}
    for ticker, ids in client_ids.items():
        place = f"client_ids[{ticker!r}]"
        checked = [checked_integer(place, one, 0, UINT32_MAX) for one in ids]
        held = batches.setdefault(account.chain[ticker].clob_pair_id, [])
        held += checked
        if not checked or len(set(held)) < len(held):
            raise InputError(place, checked, "at least one, each once")
    count = sum(map(len, batches.values()))
    if not 1 <= count <= MAX_BATCH:
        raise InputError("client_ids", client_ids, f"1 to {MAX_BATCH} client ids in all")
    owner = _owner(account)
    until = _good_til(account, "short-term", height, good_til_block, None, None)
    types = _types()
    message = types.clob.MsgBatchCancel(
        subaccount_id=_subaccount_id(types, owner),
        short_term_cancels=[
            types.clob.OrderBatch(clob_pair_id=pair, client_ids=ids) for pair, ids in batches.items()
        ],
        **until,
    )
    return UnsignedMessage(message, None)


# ---- USDC


def deposit(account: Subaccount, usdc: Amount, *, sender: str) -> UnsignedMessage:
    """Build `MsgDepositToSubaccount`: from the wallet `sender` into the account.

    Raises
    ------
    InputError, ImportError
    """
    owner = _owner(account)
    checked_address("sender", sender)
    preview, quantums = _moved(account, Deposit(usdc), {})
    types = _types()
    message = types.transfers.MsgDepositToSubaccount(
        sender=sender,
        recipient=_subaccount_id(types, owner),
        asset_id=USDC_ASSET,
        quantums=quantums,
    )
    return UnsignedMessage(message, preview)


def withdraw(
    account: Subaccount, usdc: Amount, *, recipient: str, **options: Unpack[PreviewOptions]
) -> UnsignedMessage:
    """Build `MsgWithdrawFromSubaccount`: out of the account into the wallet `recipient`.

    Raises
    ------
    InputError
        Also where the chain would refuse: collateral, or withdrawals are blocked (`block` of the options).
    ImportError
    """
    owner = _owner(account)
    checked_address("recipient", recipient)
    preview, quantums = _moved(account, Withdrawal(usdc), options)
    types = _types()
    message = types.transfers.MsgWithdrawFromSubaccount(
        sender=_subaccount_id(types, owner),
        recipient=recipient,
        asset_id=USDC_ASSET,
        quantums=quantums,
    )
    return UnsignedMessage(message, preview)


def transfer(
    account: Subaccount, usdc: Amount, *, recipient: tuple[str, int], **options: Unpack[PreviewOptions]
) -> UnsignedMessage:
    """Build `MsgCreateTransfer`: from the account into another subaccount, (address, number).

    Raises
    ------
    InputError
        Also where the chain would refuse it, and a transfer to itself.
    ImportError
    """
    try:
        address, number = recipient
    except (TypeError, ValueError):
        raise InputError("recipient", recipient, "an address and a number") from None
    checked_address("recipient", address)
    checked_integer("recipient", number, 0, MAX_SUBACCOUNT_NUMBER)
    owner = _owner(account)
    if (address, number) == owner:
        raise InputError("recipient", recipient, "another subaccount")
    preview, quantums = _moved(account, Transfer(usdc), options)
    types = _types()
    message = types.sending.MsgCreateTransfer(
        transfer=types.transfers.Transfer(
            sender=_subaccount_id(types, owner),
            recipient=_subaccount_id(types, (address, number)),
            asset_id=USDC_ASSET,
            amount=quantums,
        )
    )
    return UnsignedMessage(message, preview)


def _moved(account: Subaccount, movement: Movement, options: PreviewOptions) -> tuple[MovementPreview, int]:
    """Return the preview of a movement that passes, and its quote quantums."""
    if movement.quantums > UINT64_MAX:
        raise InputError("usdc", movement.usdc, f"at most {UINT64_MAX} quote quantums")
    preview = account.preview(movement, **options)
    _check_verdict("usdc", movement.usdc, "of this movement", preview.verdict)
    return preview, movement.quantums
