"""Pages of all subaccounts: columns agree with v4-proto, and a book takes them (C3, C12)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from stream_judge import encoded, fill_at_random, unknown_field
from v4_proto.dydxprotocol.subaccounts.query_pb2 import QuerySubaccountAllResponse

from dydx_perf import Book, Chain, FrameError
from dydx_perf.ext.stream import SubaccountPage, read_integer, scan_subaccounts

INTEGERS = (0, 1, -1, 255, -256, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**30, -(10**30))
STRICTER = (
    "a group, of which no message here has any",
    "an integer in bytes whose first byte is neither 02 nor 03",
    "a market or USDC twice in one account",
)


def serialized(integer: int) -> bytes:
    """Return an integer in the chain's bytes, written apart from the library's reader."""
    magnitude = abs(integer)
    return bytes([3 if integer < 0 else 2]) + magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "big")


def deserialized(data: bytes) -> int:
    magnitude = int.from_bytes(data[1:], "big")
    return -magnitude if data[:1] == b"\x03" else magnitude


Row = tuple[int, int, int, int]


def page(seed: int, wide: bool = True) -> QuerySubaccountAllResponse:
    """A page whose integers are whole ones."""
    source = random.Random(seed)
    made = QuerySubaccountAllResponse()
    fill_at_random(made, source)

    def integer() -> bytes:
        value = source.choice(INTEGERS[: 12 if wide else 7])
        return source.choice((serialized(value), b"")) if value == 0 else serialized(value)

    for account in made.subaccount:
        for asset, found in enumerate(account.asset_positions):
            found.asset_id, found.quantums = asset, integer()
        for perpetual, position in enumerate(account.perpetual_positions):
            position.perpetual_id = perpetual * 7
            position.quantums, position.funding_index = integer(), integer()
            position.quote_balance = integer()
    return made


def judged(made: QuerySubaccountAllResponse) -> list[tuple[str, int, int, int, list[Row]]]:
    """Each account as v4-proto reads it: address, number, USDC, other assets, positions."""
    return [
        (
            one.id.owner,
            one.id.number,
            sum(deserialized(asset.quantums) for asset in one.asset_positions if asset.asset_id == 0),
            sum(asset.asset_id != 0 for asset in one.asset_positions),
            [
                (
                    row.perpetual_id,
                    deserialized(row.quantums),
                    deserialized(row.funding_index),
                    deserialized(row.quote_balance),
                )
                for row in one.perpetual_positions
            ],
        )
        for one in made.subaccount
    ]


def accounts(found: SubaccountPage) -> list[tuple[str, int, int, int, list[Row]]]:
    """Put columns back into accounts; those beside follow."""
    rows: list[list[Row]] = [[] for _ in found.addresses]
    columns = (
        found.account,
        found.perpetual_id,
        found.quantums,
        found.funding_index,
        found.quote_balance,
    )
    for owner, *row in zip(*(column.tolist() for column in columns), strict=True):
        rows[owner].append(tuple(row))  # type: ignore[arg-type]
    listed = zip(found.addresses, found.numbers, found.usdc.tolist(), rows, strict=True)
    return [(*one[:3], 0, one[3]) for one in listed] + found.beside


def is_plain(account: tuple[str, int, int, int, list[Row]]) -> bool:
    _, _, usdc, others, rows = account
    return not others and all(
        -(2**63) <= value < 2**63 for value in (usdc, *(v for row in rows for v in row))
    )


def outcome(data: bytes) -> list[tuple[str, int, int, int, list[Row]]] | FrameError:
    try:
        return accounts(scan_subaccounts(data))
    except FrameError as refused:
        return refused


@given(st.integers(0, 2**32), st.booleans())
def test_a_page_reads_as_v4_proto_reads_it(seed: int, wide: bool) -> None:
    """Every account, number and position; those past the columns stand beside."""
    made = page(seed, wide)
    found = scan_subaccounts(made.SerializeToString())
    wanted = judged(made)
    assert accounts(found) == sorted(wanted, key=lambda account: not is_plain(account))
    assert (found.next_key, found.total) == (made.pagination.next_key, made.pagination.total)
    assert len(found.addresses) == sum(map(is_plain, wanted))


@given(st.integers(0, 2**32), st.booleans())
def test_a_page_of_another_writer_or_a_damaged_one_is_judged_alike(seed: int, damaged: bool) -> None:
    """The scanner refuses what v4-proto refuses, and what it says it refuses besides."""
    source = random.Random(seed)
    made = page(seed)
    for account in made.subaccount:
        for position in account.perpetual_positions:
            position.quantums = source.choice((serialized(5), source.randbytes(2)))
    data = bytearray(encoded(made, source) + unknown_field(source))
    if damaged:
        data[source.randrange(len(data))] = source.randrange(256)
    try:
        answer: Any = judged(QuerySubaccountAllResponse.FromString(bytes(data)))
    except DecodeError:
        answer = None
    found = outcome(bytes(data))
    if isinstance(found, FrameError):
        assert answer is None or found.reason in STRICTER
    else:
        assert found == sorted(answer, key=lambda account: not is_plain(account))


@pytest.mark.parametrize("value", INTEGERS)
def test_an_integer_in_bytes_comes_back_whole(value: int) -> None:
    """Of any size."""
    assert read_integer(serialized(value)) == value
    assert read_integer(memoryview(serialized(value))) == value


def test_integers_in_bytes_may_be_longer_than_needed_or_a_negative_zero() -> None:
    """What decoders take though no encoder writes it."""
    assert read_integer(b"") == read_integer(b"\x03") == read_integer(b"\x02\x00\x00") == 0
    assert read_integer(b"\x03" + bytes(20) + b"\x07") == -7


@pytest.mark.parametrize("data", [b"\x00", b"\x01", b"\x04\x01", b"5", b"\xff" * 9])
def test_an_integer_with_another_first_byte_is_refused(data: bytes) -> None:
    """Alone and within a page, where the place is its own."""
    with pytest.raises(FrameError):
        read_integer(data)
    made = QuerySubaccountAllResponse()
    made.subaccount.add().perpetual_positions.add(quantums=data)
    whole = made.SerializeToString()
    with pytest.raises(FrameError) as refused:
        scan_subaccounts(whole)
    assert refused.value.place == whole.rindex(data)


def test_an_account_twice_in_a_market_is_refused() -> None:
    """Or with two balances of USDC."""
    made = QuerySubaccountAllResponse()
    account = made.subaccount.add()
    for perpetual in (4, 1, 4):
        account.perpetual_positions.add(perpetual_id=perpetual)
    with pytest.raises(FrameError, match="twice"):
        scan_subaccounts(made.SerializeToString())
    del account.perpetual_positions[0]
    assert scan_subaccounts(made.SerializeToString()).perpetual_id.tolist() == [1, 4]
    account.asset_positions.add()
    account.asset_positions.add()
    with pytest.raises(FrameError, match="twice"):
        scan_subaccounts(made.SerializeToString())


def test_an_account_in_more_markets_than_the_chain_has_is_refused() -> None:
    """The search for a market twice stays short."""
    made = QuerySubaccountAllResponse()
    account = made.subaccount.add()
    for perpetual in range(4097):
        account.perpetual_positions.add(perpetual_id=perpetual)
    with pytest.raises(FrameError, match="more records"):
        scan_subaccounts(made.SerializeToString())
    del account.perpetual_positions[4096]
    assert len(scan_subaccounts(made.SerializeToString()).account) == 4096


def test_a_book_takes_the_columns_of_a_page_as_they_are() -> None:
    """Risk of each account is that of the same account entered by hand."""
    chain = Chain.sample("v9")
    ids = [market.perpetual_id for market in chain][:5]
    made = QuerySubaccountAllResponse()
    for number in range(50):
        account = made.subaccount.add()
        account.id.owner, account.id.number = "dydx1page", number
        account.asset_positions.add(quantums=serialized(10**9 * (number - 20)))
        for perpetual in ids[: number % 5]:
            account.perpetual_positions.add(
                perpetual_id=perpetual, quantums=serialized(10**7 * number), funding_index=serialized(-number)
            )
    found = scan_subaccounts(made.SerializeToString())
    book = Book(chain, max_subaccounts=60, max_positions=400)
    book.load_columns(
        found.addresses,
        found.numbers,
        found.usdc,
        account=found.account,
        perpetual_id=found.perpetual_id,
        quantums=found.quantums,
        funding_index=found.funding_index,
        quote_balance=found.quote_balance,
        height=7,
    )
    for address, number, usdc, _, rows in judged(made):
        held = book.subaccount((address, number))
        assert held.usdc_quantums == usdc
        assert [
            (p.market.perpetual_id, p.quantums, p.funding_index, 0) for p in held.positions.values()
        ] == sorted(rows)
