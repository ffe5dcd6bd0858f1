"""v4-proto's reading of a stream response, as `StreamScanner.updates` gives it; and responses at random."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from v4_proto.dydxprotocol.clob.query_pb2 import StreamOrderbookUpdatesResponse

from dydx_perf.ext import stream

__all__ = ["StreamOrderbookUpdatesResponse", "encoded", "expected", "fill_at_random", "unknown_field"]


def order_key(order_id: Any) -> tuple[Any, ...]:
    who = order_id.subaccount_id
    return who.owner, who.number, order_id.client_id, order_id.order_flags, order_id.clob_pair_id


def good_til(order: Any) -> tuple[int, bool]:
    is_time = order.WhichOneof("good_til_oneof") == "good_til_block_time"
    return (order.good_til_block_time if is_time else order.good_til_block), is_time


def placed(kind: int, body: Any, old: Any) -> tuple[Any, ...]:
    order = body.order
    return (
        kind,
        order_key(order.order_id),
        order.side,
        order.quantums,
        order.subticks,
        body.placement_status,
        *good_til(order),
        order.time_in_force,
        order.reduce_only,
        old,
    )


def book_record(update: Any) -> tuple[Any, ...]:
    match update.WhichOneof("update_message"):
        case "order_place":
            return placed(stream.ORDER_PLACE, update.order_place, None)
        case "order_remove":
            body = update.order_remove
            return stream.ORDER_REMOVE, order_key(body.removed_order_id), body.reason, body.removal_status
        case "order_update":
            body = update.order_update
            return stream.ORDER_UPDATE, order_key(body.order_id), body.total_filled_quantums
        case "order_replace":
            body = update.order_replace
            return placed(stream.ORDER_REPLACE, body, order_key(body.old_order_id))
    return (0,)


def fill_records(fill: Any) -> Iterator[tuple[Any, ...]]:
    match fill.clob_match.WhichOneof("match"):
        case "match_orders":
            found = fill.clob_match.match_orders
            yield stream.MATCH, stream.MATCH_ORDERS, order_key(found.taker_order_id), 0, 0, 0, False
            for one in found.fills:
                yield stream.FILL, order_key(one.maker_order_id), one.fill_amount
        case "match_perpetual_liquidation":
            found = fill.clob_match.match_perpetual_liquidation
            key = found.liquidated.owner, found.liquidated.number, 0, 0, found.clob_pair_id
            side = 1 if found.is_buy else 2
            yield (
                stream.MATCH,
                stream.MATCH_LIQUIDATION,
                key,
                found.perpetual_id,
                found.total_size,
                side,
                False,
            )
            for one in found.fills:
                yield stream.FILL, order_key(one.maker_order_id), one.fill_amount
        case "match_perpetual_deleveraging":
            found = fill.clob_match.match_perpetual_deleveraging
            key = found.liquidated.owner, found.liquidated.number, 0, 0, 0
            yield (
                stream.MATCH,
                stream.MATCH_DELEVERAGING,
                key,
                found.perpetual_id,
                0,
                0,
                found.is_final_settlement,
            )
            for one in found.fills:
                who = one.offsetting_subaccount_id
                yield stream.FILL, (who.owner, who.number, 0, 0, 0), one.fill_amount
        case _:
            yield stream.MATCH, 0, ("", 0, 0, 0, 0), 0, 0, 0, False
    for order, amount in zip(fill.orders, fill.fill_amounts, strict=True):
        yield (
            stream.ORDER_STATE,
            order_key(order.order_id),
            order.side,
            order.quantums,
            order.subticks,
            amount,
            *good_til(order),
            order.time_in_force,
            order.reduce_only,
        )


def taker_record(taker: Any) -> tuple[Any, ...]:
    status = taker.taker_order_status
    last = status.order_status, status.remaining_quantums, status.optimistically_filled_quantums
    match taker.WhichOneof("taker_order"):
        case "order":
            order = taker.order
            return (
                stream.TAKER,
                stream.MATCH_ORDERS,
                order_key(order.order_id),
                0,
                order.side,
                order.quantums,
                order.subticks,
                *last,
            )
        case "liquidation_order":
            order = taker.liquidation_order
            who = order.liquidation_info.subaccount_id
            return (
                stream.TAKER,
                stream.MATCH_LIQUIDATION,
                (who.owner, who.number, 0, 0, order.clob_pair_id),
                order.liquidation_info.perpetual_id,
                1 if order.is_buy else 2,
                order.quantums,
                order.subticks,
                *last,
            )
    return stream.TAKER, 0, ("", 0, 0, 0, 0), 0, 0, 0, 0, *last


def expected_update(update: Any) -> tuple[Any, ...]:
    head = update.block_height, update.exec_mode
    match update.WhichOneof("update_message"):
        case "orderbook_update":
            body = update.orderbook_update
            return *head, stream.ORDER_BOOK, body.snapshot, [book_record(one) for one in body.updates]
        case "order_fill":
            return *head, stream.ORDER_FILL, False, sorted_by_kind(fill_records(update.order_fill))
        case "taker_order":
            return *head, stream.TAKER_ORDER, False, [taker_record(update.taker_order)]
        case "subaccount_update":
            body = update.subaccount_update
            who = body.subaccount_id
            rows: list[tuple[Any, ...]] = [(stream.SUBACCOUNT, who.owner, who.number)]
            rows += [
                (stream.POSITION, one.perpetual_id, one.quantums) for one in body.updated_perpetual_positions
            ]
            rows += [(stream.ASSET, one.asset_id, one.quantums) for one in body.updated_asset_positions]
            return *head, stream.SUBACCOUNT_UPDATE, body.snapshot, rows
        case "price_update":
            body = update.price_update
            row = stream.PRICE, body.market_id, body.price.id, body.price.exponent, body.price.price
            return *head, stream.PRICE_UPDATE, body.snapshot, [row]
    return *head, 0, False, []


def sorted_by_kind(records: Any) -> list[tuple[Any, ...]]:
    """Put records of lists that a message may interleave into one order; each list keeps its own."""
    return sorted(records, key=lambda record: record[0])


def expected(response: StreamOrderbookUpdatesResponse) -> list[tuple[Any, ...]]:
    """Return what the scanner should give for a response, lists of fills and of positions by kind."""
    return [expected_update(update) for update in response.updates]


# -- responses at random

NUMBERS = (0, 1, 2, 7, 127, 128, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
TEXTS = ("", "dydx1q869gyjwanxhw5xdgfg67pg3y8gjeuzth6u6zl", "a", "ключ", "\U0001f600" * 3, "\x00")


def scalar(field: FieldDescriptor, source: random.Random) -> Any:
    number = source.choice((source.choice(NUMBERS), source.getrandbits(source.randint(1, 64))))
    match field.type:
        case FieldDescriptor.TYPE_BOOL:
            return source.random() < 0.5
        case FieldDescriptor.TYPE_STRING:
            return source.choice(TEXTS)
        case FieldDescriptor.TYPE_BYTES:
            return source.randbytes(source.randint(0, 12))
        case FieldDescriptor.TYPE_UINT64 | FieldDescriptor.TYPE_FIXED64:
            return number
        case FieldDescriptor.TYPE_INT64:
            return number - 2**64 if number >= 2**63 else number
        case FieldDescriptor.TYPE_UINT32 | FieldDescriptor.TYPE_FIXED32:
            return number % 2**32
        case FieldDescriptor.TYPE_ENUM:
            return source.choice((0, 1, 2, 3, 99, -1))
        case _:  # int32, sint32
            return (number % 2**32) - 2**31


def fill_at_random(message: Message, source: random.Random, density: float = 0.7) -> None:
    """Set fields of a message and of those within, defaults and negative numbers among them."""
    descriptor: Descriptor = message.DESCRIPTOR
    chosen = {oneof.name: source.choice(oneof.fields).name for oneof in descriptor.oneofs}
    for field in descriptor.fields:
        oneof = field.containing_oneof
        if oneof is not None and chosen[oneof.name] != field.name:
            continue
        if source.random() > (0.95 if oneof else density):
            continue
        if field.is_repeated:
            for _ in range(source.choice((0, 1, 1, 2, 3))):
                if field.message_type:
                    fill_at_random(getattr(message, field.name).add(), source, density)
                else:
                    getattr(message, field.name).append(scalar(field, source))
        elif field.message_type:
            part = getattr(message, field.name)
            part.SetInParent()
            fill_at_random(part, source, density)
        else:
            setattr(message, field.name, scalar(field, source))
    if descriptor.name == "StreamOrderbookFill":
        amounts = message.fill_amounts  # type: ignore[attr-defined]
        del amounts[:]
        amounts.extend(source.choice(NUMBERS) for _ in message.orders)  # type: ignore[attr-defined]


# -- the same messages as bytes that another writer might send


def varint(value: int, longer: int = 0) -> bytes:
    """Encode a varint, `longer` bytes longer than needed."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(longer):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def unknown_field(source: random.Random) -> bytes:
    """A field that no message here has, of any wire type but a group's."""
    number, wire_type = source.choice((15, 16, 100, 2**29 - 1)), source.choice((0, 1, 2, 5))
    payload = source.randbytes(source.randint(0, 9))
    body = {
        0: varint(source.getrandbits(64)),
        1: source.randbytes(8),
        2: varint(len(payload)) + payload,
        5: source.randbytes(4),
    }[wire_type]
    return varint(number << 3 | wire_type) + body


def split(data: bytes) -> list[bytes]:
    """Cut a well-formed message into its fields."""
    fields, at = [], 0

    def read() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        first = at
        match read() & 7:
            case 0:
                read()
            case 1:
                at += 8
            case 2:
                at += read()
            case _:
                at += 4
        fields.append(data[first:at])
    return fields


def encoded(message: Message, source: random.Random) -> bytes:
    """Encode a message otherwise than v4-proto: shuffled, repeated, unpacked, with unknown fields within."""
    fields = []
    for field in message.DESCRIPTOR.fields:
        values = getattr(message, field.name)
        if field.message_type:
            if not field.is_repeated:
                values = [values] if message.HasField(field.name) else []
            for value in values:
                fields.append(part(field.number, encoded(value, source), source))
        else:
            alone = type(message)()
            if field.is_repeated:
                for value in values:  # unpacked: one field each
                    fields.append(varint(field.number << 3) + varint(value, source.choice((0, 0, 1))))
            elif (field.containing_oneof and message.HasField(field.name)) or (
                not field.containing_oneof and values != field.default_value
            ):
                setattr(alone, field.name, values)
                fields.append(alone.SerializeToString())
    if source.random() < 0.4:
        source.shuffle(fields)
    if fields and source.random() < 0.3:
        fields.insert(source.randrange(len(fields)), source.choice(fields))
    if source.random() < 0.3:
        fields.insert(source.randint(0, len(fields)), unknown_field(source))
    return b"".join(fields)


def part(number: int, body: bytes, source: random.Random) -> bytes:
    tag = varint(number << 3 | 2, source.choice((0, 0, 0, 1)))
    return tag + varint(len(body), source.choice((0, 0, 0, 1))) + body
