"""The indexer's booking of fills and position rows: against PostgreSQL, a table of the reference, fractions.

The models here use Fraction and int only. Every test runs under a decimal context of one digit that raises on
any loss, so that no answer can depend on the caller's context.
"""

from __future__ import annotations

import decimal
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.errors import InputError
from dydx_perf.exact import decimals, indexer, ledger
from dydx_perf.exact.decimals import decimal_text
from dydx_perf.exact.indexer import LONG, SHORT
from dydx_perf.exact.ledger import (
    BUY,
    DELEVERAGING,
    LIQUIDATION,
    ORDER,
    SELL,
    Fill,
    MatchKind,
    OrderSide,
    PositionUpdate,
)

Json = dict[str, Any]
MARKET = "ETH-USD"


@pytest.fixture(autouse=True, scope="module")
def context_that_keeps_one_digit() -> Iterator[None]:
    before = decimal.getcontext()
    every = [decimal.Inexact, decimal.Rounded, decimal.Subnormal, decimal.InvalidOperation, decimal.Overflow]
    decimal.setcontext(decimal.Context(prec=1, Emin=-1, Emax=1, traps=every))
    yield
    decimal.setcontext(before)


def number(integer: int, places: int) -> Decimal:
    """`integer / 10**places`; built from text, which no context rounds."""
    return Decimal(f"{integer}e-{places}")


def numbers(lowest: int, highest: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(lowest, highest).map(lambda integer: number(integer, places))


def fraction(value: Decimal) -> Fraction:
    return Fraction(*value.as_integer_ratio())


def nearest_half_away(value: Fraction, places: int) -> Fraction:
    """Naive rounding: the candidates around the value, the nearer one, the farther from zero on a tie."""
    scaled = value * 10**places
    candidates = [scaled.__floor__(), scaled.__floor__() + 1]
    return Fraction(min(candidates, key=lambda one: (abs(one - scaled), -abs(one))), 10**places)


def leading_word(value: Fraction) -> tuple[int, int]:
    """Naive search for the first base-10000 digit and its weight."""
    if value == 0:
        return 0, 0
    weight = 0
    while abs(value) >= Fraction(10000) ** (weight + 1):
        weight += 1
    while abs(value) < Fraction(10000) ** weight:
        weight -= 1
    return weight, int(abs(value) / Fraction(10000) ** weight)


def naive_mean(
    first: Fraction, first_weight: Fraction, second: Fraction, second_weight: Fraction
) -> Fraction:
    value = nearest_half_away(first * first_weight + second * second_weight, 20)
    weight = nearest_half_away(first_weight + second_weight, 20)
    (value_weight, value_word), (weight_weight, weight_word) = leading_word(value), leading_word(weight)
    guess = value_weight - weight_weight - (0 if value_word > weight_word else 1)
    return nearest_half_away(value / weight, max(20, 16 - 4 * guess))


# --- mean prices ---

#: Answers of PostgreSQL 15 to trim_scale((a*b + c*d)::numeric(256,20) / (b + d)::numeric(256,20)).
POSTGRESQL_MEANS = """
100 1 110 2 106.66666666666666666667
1 2 3 4 2.33333333333333333333
9.13249631359380487784 2918425 9.128 82 9.13249618726287105037
0.000024345352041991944475 216994000000 0.0000243 3000000 0.000024345351414996520686
0.000026130333455998317735 19022000000 0.00002619 61400000 0.000026130525430478845486
0 0 0.00001 3 0.00001
0 0 0.0001 3 0.0001
0.00000000000000000001 1 0 1 0.000000000000000000005
0.00000000000000000001 1 0.00000000000000000002 1 0.000000000000000000015
0.000000000000000000005 1 0 3 0.0000000000000000000025
0.000000000000000000004 1 0 3 0
0.0001 3 0.0001 0.0001 0.0001
0.0001 1 0.00010001 2 0.000100006666666666666667
0.00005 3 0.00007 8 0.000064545454545454545455
63547.84675746875175158345 17.841 63598 0.0616 63548.01932680169360874959
5 0.0000000001 7 0.0000000002 6.33333333333333333333
99990000 7 12345678 9 50690068.875
0.0000000012 7 0.0000000034 11 0.0000000025444444444444444444
"""


@pytest.mark.parametrize("row", POSTGRESQL_MEANS.split("\n")[1:-1])
def test_mean_price_is_the_databases(row: str) -> None:
    """The booked mean price has PostgreSQL's digits: number of decimals, rounding, cast of the operands."""
    *operands, answer = row.split()
    assert decimal_text(decimals.weighted_mean_numeric(*map(Decimal, operands))) == answer
    first, first_weight, second, second_weight = map(Fraction, operands)
    assert naive_mean(first, first_weight, second, second_weight) == Fraction(answer)


@given(numbers(0, 10**30, 24), numbers(0, 10**24, 10), numbers(0, 10**20, 15), numbers(1, 10**24, 10))
def test_mean_price_equals_the_naive_model(
    first: Decimal, first_weight: Decimal, second: Decimal, second_weight: Decimal
) -> None:
    """Any prices and weights: the mean is that of a model that searches for the digits one by one."""
    mean = decimals.weighted_mean_numeric(first, first_weight, second, second_weight)
    model = naive_mean(fraction(first), fraction(first_weight), fraction(second), fraction(second_weight))
    assert fraction(mean) == model


def test_zero_has_no_leading_word_and_no_long_side() -> None:
    """0 counts as weight 0 and word 0, and as SHORT where a side is asked for."""
    assert decimals.numeric_leading_word(Decimal("0.000")) == (0, 0)
    assert decimals.numeric_leading_word(Decimal("-0.00012")) == (-1, 1)
    assert decimals.numeric_leading_word(Decimal("123456")) == (1, 12)
    assert [ledger.side_of(Decimal(size)) for size in (1, 0, -1)] == [LONG, SHORT, SHORT]


def test_missing_price_counts_as_zero() -> None:
    """The first fill's mean is its own price, whether the row's price is None or 0."""
    price, size = Decimal("3.7"), Decimal("0.2")
    for missing in (None, Decimal(0)):
        assert decimals.weighted_mean_numeric(missing, Decimal(0), price, size) == price


PRICES = numbers(0, 10**20, 12)


# --- the ledger: the reference's example ---


def fill(side: OrderSide, size: str, price: str, fee: str = "0", kind: MatchKind = ORDER) -> Fill:
    return Fill(MARKET, side, Decimal(size), Decimal(price), Decimal(fee), kind)


def update(size: str, event: int, funding: str = "0") -> PositionUpdate:
    return PositionUpdate(MARKET, Decimal(size), Decimal(funding), event)


def book(rows: ledger.Rows, size: str, event: int, one: Fill) -> tuple[ledger.Rows, ledger.BookedFill]:
    """One match: the subaccount update, then the fill."""
    return ledger.book_fill(ledger.book_update(rows, update(size, event)), one)


def shown(row: ledger.PositionRow) -> list[str | None]:
    """A row as the reference's table prints it."""
    exit_price = None if row.exit_price is None else decimal_text(row.exit_price)
    figures = (row.size, row.sum_open, row.sum_close, row.entry_price)
    return [row.side, row.status, *map(decimal_text, figures), exit_price, decimal_text(row.realized_pnl)]


def figures(*values: object) -> tuple[object, ...]:
    """Values to compare with numbers of other types."""
    return values


def before(booked: ledger.BookedFill) -> tuple[str | None, str | None, str | None]:
    size, entry = booked.position_size_before, booked.entry_price_before
    return (
        None if size is None else decimal_text(size),
        None if entry is None else decimal_text(entry),
        booked.position_side_before,
    )


EXAMPLE = (fill(BUY, "1", "100", "0.05"), fill(SELL, "3", "110", "0.165"), fill(BUY, "2", "105", "0.105"))


def test_reference_table_comes_out_row_by_row() -> None:
    """Open, flip, close: sums, prices, realized PnL and before-fields are those of the reference."""
    rows, booked = book((), "1", 1, EXAMPLE[0])
    assert [shown(row) for row in rows] == [["LONG", "OPEN", "1", "1", "0", "100", None, "-0.05"]]
    assert before(booked) == ("0", None, "LONG")
    closed = ["LONG", "CLOSED", "0", "1", "0", "100", None, "-0.05"]
    rows, booked = book(rows, "-2", 2, EXAMPLE[1])
    assert [shown(row) for row in rows] == [
        closed,
        ["SHORT", "OPEN", "-2", "3", "0", "110", None, "-0.165"],
    ]
    assert before(booked) == ("0", None, "SHORT")
    rows, booked = book(rows, "0", 3, EXAMPLE[2])
    assert [shown(row) for row in rows] == [
        closed,
        ["SHORT", "CLOSED", "0", "3", "2", "110", "105", "9.73"],
    ]
    assert before(booked) == ("3", "110", "SHORT")
    assert [row.open_event for row in rows] == [1, 2]


def test_fills_alone_give_the_examples_true_result() -> None:
    """19.68 in all: 9.895 on the long and 9.785 on the short, where the rows say 9.68."""
    replay = ledger.replay_fills(EXAMPLE)
    assert replay.realized_pnl == Fraction("19.68")
    assert replay.cash == replay.total_pnl(Decimal(77777)) == Decimal("19.68")
    assert [life.realized_pnl for life in replay.lives] == [Fraction("9.895"), Fraction("9.785")]
    assert [life.fees for life in replay.lives] == [Fraction("0.105"), Fraction("0.215")]
    assert [figures(life.side, life.entry_price, life.exit_price) for life in replay.lives] == [
        (LONG, 100, 110),
        (SHORT, 110, 105),
    ]
    assert [figures(life.sum_open, life.sum_close) for life in replay.lives] == [(1, 1), (2, 2)]
    assert replay.size == 0


# --- the ledger: rules one by one ---


def test_updates_of_one_side_move_size_and_funding() -> None:
    """Size follows, funding adds up, and the greatest signed size stays: of a short the smallest."""
    rows: ledger.Rows = ()
    for event, (size, funding) in enumerate([("2", "0.5"), ("3", "-0.125"), ("1", "-1")]):
        rows = ledger.book_update(rows, update(size, event, funding))
    (row,) = rows
    assert figures(row.size, row.max_size, row.settled_funding) == (1, 3, Decimal("-0.625"))
    rows = ()
    for event, size in enumerate(["-2", "-3", "-1", "-4"]):
        rows = ledger.book_update(rows, update(size, event))
    assert figures(rows[0].size, rows[0].max_size) == (-4, -1)


def test_flip_leaves_its_funding_with_the_closed_row() -> None:
    """The funding settled by the update that flips belongs to the old row; the new one starts with none."""
    rows = ledger.book_update((), update("2", 1, "0.5"))
    rows = ledger.book_update(rows, update("-1", 2, "0.25"))
    closed, opened = rows
    assert figures(closed.status, closed.size, closed.settled_funding) == ("CLOSED", 0, Decimal("0.75"))
    assert figures(opened.status, opened.side, opened.settled_funding) == ("OPEN", SHORT, 0)
    assert figures(opened.size, opened.max_size, opened.entry_price, opened.exit_price) == (-1, -1, 0, None)
    rows = ledger.book_update(rows, update("0", 3, "0.0625"))
    assert figures(rows[1].status, rows[1].settled_funding) == ("CLOSED", Decimal("0.0625"))
    assert rows[0] is closed


def test_markets_are_kept_apart() -> None:
    """An update and a fill touch rows of their own market only."""
    other = PositionUpdate("BTC-USD", Decimal(-7), Decimal(0), 1)
    rows = ledger.book_update(ledger.book_update((), other), update("2", 2))
    rows, _ = ledger.book_fill(rows, fill(BUY, "2", "10"))
    rows = ledger.book_update(rows, update("0", 3))
    assert rows[0] == ledger.opened_row(other, Decimal(0))
    assert figures(rows[1].status, rows[1].sum_open) == ("CLOSED", 2)
    rows, _ = ledger.book_fill(rows, replace(fill(SELL, "7", "10"), market="BTC-USD"))
    assert figures(rows[0].sum_open, rows[1].sum_open, rows[1].sum_close) == (7, 2, 0)


def test_fill_is_booked_to_the_newest_row_whatever_its_place() -> None:
    """The newest row by opening event takes the fill, also when rows are listed newest first."""
    rows = ledger.book_update(ledger.book_update((), update("2", 1)), update("-1", 2))
    rows, _ = ledger.book_fill(tuple(reversed(rows)), fill(SELL, "3", "10"))
    assert [figures(row.open_event, row.sum_open) for row in rows] == [(2, 3), (1, 0)]


@pytest.mark.parametrize("kind", [LIQUIDATION, DELEVERAGING])
@pytest.mark.parametrize(("side", "size"), [(BUY, "2"), (SELL, "1")])
def test_liquidation_and_deleveraging_realize_nothing(kind: MatchKind, side: OrderSide, size: str) -> None:
    """Sums and prices move, the realized PnL of REST does not; deleveraging stores no before-fields."""
    rows, _ = book((), "2", 1, fill(BUY, "2", "100", "0.25"))
    ordered, _ = ledger.book_fill(rows, fill(side, size, "90", "0.5"))
    booked, stored = ledger.book_fill(rows, fill(side, size, "90", "0.5", kind))
    assert booked[0].realized_pnl == Decimal("-0.25") != ordered[0].realized_pnl
    assert replace(booked[0], realized_pnl=ordered[0].realized_pnl) == ordered[0]
    assert before(stored) == ((None, None, None) if kind == DELEVERAGING else ("2", "100", LONG))


def test_realized_pnl_never_closes_more_than_the_size_before() -> None:
    """A reducing fill larger than the size before counts up to that size; its fee counts in full."""
    rows, _ = book((), "2", 1, fill(BUY, "2", "100"))
    rows, _ = ledger.book_fill(rows, fill(SELL, "5", "103", "1"))
    assert rows[0].realized_pnl == Decimal(5)
    rows, _ = book((), "-2", 1, fill(SELL, "2", "100"))
    rows, _ = ledger.book_fill(rows, fill(BUY, "5", "103", "-1"))
    assert rows[0].realized_pnl == Decimal(-5)


def test_size_before_is_what_earlier_reductions_left() -> None:
    """The size before is sum_open less sum_close, and that is what the next reduction is capped by."""
    rows, _ = book((), "4", 1, fill(BUY, "4", "100"))
    rows, _ = book(rows, "1", 2, fill(SELL, "3", "101"))
    rows, stored = ledger.book_fill(rows, fill(SELL, "5", "110"))
    assert before(stored) == ("1", "100", LONG)
    assert rows[0].realized_pnl == Decimal(13)


def test_fill_against_an_empty_row_costs_its_fee_only() -> None:
    """With a size before of 0 nothing is realized but the fee, on either side."""
    rows = ledger.book_update((), update("2", 1))
    for side in (BUY, SELL):
        booked, _ = ledger.book_fill(rows, fill(side, "2", "100", "0.5"))
        assert booked[0].realized_pnl == Decimal("-0.5")


def test_websocket_realized_pnl_has_funding_and_no_fees() -> None:
    """The two realizedPnl of one row: fees and the entry price of the time, or funding and the means."""
    rows, _ = book((), "2", 1, fill(BUY, "2", "100", "0.5"))
    assert ledger.websocket_realized_pnl(rows[0]) == 0
    rows = ledger.book_update(rows, update("1", 2, "-0.125"))
    assert ledger.websocket_realized_pnl(rows[0]) == Decimal("-0.125")
    rows, _ = ledger.book_fill(rows, fill(SELL, "1", "110", "0.25"))
    assert ledger.websocket_realized_pnl(rows[0]) == Decimal("9.875")
    assert rows[0].realized_pnl == Decimal("9.25")
    short = replace(rows[0], side=SHORT)
    assert ledger.websocket_realized_pnl(short) == Decimal("-10.125")


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: fill("LONG", "1", "1"), "side"),  # type: ignore[arg-type]
        (lambda: fill(BUY, "0", "1"), "size"),
        (lambda: fill(BUY, "-1", "1"), "size"),
        (lambda: ledger.book_fill((), fill(BUY, "1", "1")), "fill.market"),
        (lambda: ledger.book_update((), update("0", 1)), "update.size"),
        (lambda: ledger.replay_fills([fill(BUY, "1", "1"), Fill("X", BUY, Decimal(1), Decimal(1))]), "fills"),
    ],
)
def test_impossible_bookings_are_refused(call: Callable[[], object], argument: str) -> None:
    """A wrong side or size, a fill or a closing without a row, and mixed markets name what is wrong."""
    with pytest.raises(InputError) as refusal:
        call()
    assert refusal.value.argument == argument


def test_no_fills_no_position() -> None:
    """An empty history is a position of 0 with no result."""
    replay = ledger.replay_fills([])
    assert replay == ledger.Replay((), Decimal(0))
    assert figures(replay.size, replay.realized_pnl, replay.total_pnl(Decimal(9))) == (0, 0, 0)


# --- the ledger: properties against a naive model ---

FILLS = st.lists(
    st.builds(
        Fill,
        st.just(MARKET),
        st.sampled_from([BUY, SELL]),
        numbers(1, 40, 1) | numbers(1, 10**8, 4),
        numbers(1, 10**7, 5),
        numbers(-(10**6), 10**6, 6),
    ),
    max_size=12,
)
WITHOUT_FLIPS = st.lists(
    st.tuples(st.booleans(), st.integers(1, 10**6), numbers(1, 10**7, 5), numbers(-(10**6), 10**6, 6)),
    min_size=1,
    max_size=12,
)


def signed(one: Fill) -> Fraction:
    return fraction(one.size) * (1 if one.side == BUY else -1)


def cash_of(fills: list[Fill]) -> Fraction:
    return sum((-signed(one) * fraction(one.price) - fraction(one.fee) for one in fills), Fraction(0))


def booked_rows(fills: list[Fill]) -> tuple[ledger.Rows, list[ledger.BookedFill]]:
    """Book every fill behind the update that the chain emits before it."""
    rows: ledger.Rows = ()
    stored = []
    size = Fraction(0)
    for event, one in enumerate(fills):
        size += signed(one)
        rows = ledger.book_update(
            rows, PositionUpdate(MARKET, number(int(size * 10**4), 4), Decimal(0), event)
        )
        rows, booked = ledger.book_fill(rows, one)
        stored.append(booked)
    return rows, stored


def one_sided(steps: list[tuple[bool, int, Decimal, Decimal]], is_long: bool) -> list[Fill]:
    """Fills that open, increase and reduce one position, and at most close it at the end."""
    fills: list[Fill] = []
    left = 0
    for increase, amount, price, fee in steps:
        if fills and left == 0:
            break
        grows = increase or not fills
        amount = amount if grows else min(amount, left)
        left += amount if grows else -amount
        fills.append(Fill(MARKET, BUY if grows == is_long else SELL, number(amount, 4), price, fee))
    return fills


@given(FILLS, PRICES)
def test_fills_conserve_cash_and_inventory(fills: list[Fill], price: Decimal) -> None:
    """Any sequence with any flips: the result is cash flow plus the value of what is left; lives add up."""
    replay = ledger.replay_fills(fills)
    size = sum(map(signed, fills), Fraction(0))
    assert fraction(replay.size) == size
    assert fraction(replay.cash) == cash_of(fills)
    assert fraction(replay.total_pnl(price)) == cash_of(fills) + size * fraction(price)
    assert all(life.size == 0 for life in replay.lives[:-1])
    unrealized = Fraction(0)
    if replay.lives:
        unrealized = size * (fraction(price) - replay.lives[-1].entry_price)
    assert replay.realized_pnl + unrealized == cash_of(fills) + size * fraction(price)
    assert sum(life.fees for life in replay.lives) == sum(fraction(one.fee) for one in fills)


@given(FILLS)
def test_lives_are_cut_where_the_position_crosses_zero(fills: list[Fill]) -> None:
    """One life for each stretch between zeros, of the side it was opened on, as a running sum finds them."""
    sides = []
    size = Fraction(0)
    for one in fills:
        after = size + signed(one)
        if after * size <= 0 and after != 0:
            sides.append(LONG if after > 0 else SHORT)
        size = after
    assert [life.side for life in ledger.replay_fills(fills).lives] == sides


@given(FILLS)
def test_rows_follow_the_position(fills: list[Fill]) -> None:
    """One row for each life; only the last can be open, with the true size; each fill is summed once."""
    rows, stored = booked_rows(fills)
    lives = ledger.replay_fills(fills).lives
    assert [row.side for row in rows] == [life.side for life in lives]
    assert [fraction(row.size) for row in rows] == [fraction(life.size) for life in lives]
    assert [row.status == "OPEN" for row in rows] == [life.size != 0 for life in lives]
    booked = sum((fraction(row.sum_open) + fraction(row.sum_close) for row in rows), Fraction(0))
    assert booked == sum((fraction(one.size) for one in fills), Fraction(0))
    assert [one.fill for one in stored] == fills


@given(FILLS)
def test_rows_lose_exactly_the_closing_parts_of_flips(fills: list[Fill]) -> None:
    """What a flip loses: the closed row's open rest; what the next row has too much: the same size."""
    rows, _ = booked_rows(fills)
    lives = ledger.replay_fills(fills).lives
    carried = Fraction(0)
    for row, life in zip(rows, lives, strict=True):
        assert fraction(row.sum_open) - carried == fraction(life.sum_open)
        missing = fraction(life.sum_close) - fraction(row.sum_close)
        assert missing >= 0
        carried = missing


@given(WITHOUT_FLIPS, st.booleans())
def test_entry_price_is_the_mean_of_all_increases(
    steps: list[tuple[bool, int, Decimal, Decimal]], is_long: bool
) -> None:
    """Without flips the entry price is the weighted mean of the increases, rounded step by step."""
    fills = one_sided(steps, is_long)
    (row,), _ = booked_rows(fills)
    (life,) = ledger.replay_fills(fills).lives
    model: dict[bool, tuple[Fraction, Fraction]] = {}
    for one in fills:
        grows = (one.side == BUY) == is_long
        mean, weight = model.get(grows, (Fraction(0), Fraction(0)))
        mean = naive_mean(mean, weight, fraction(one.price), fraction(one.size))
        model[grows] = (mean, weight + fraction(one.size))
    assert (fraction(row.entry_price), fraction(row.sum_open)) == model[True]
    if False in model:
        assert row.exit_price is not None
        assert (fraction(row.exit_price), fraction(row.sum_close)) == model[False]
    else:
        assert row.exit_price is None
    # Each step rounds value and quotient, both by half a unit of the 20th decimal; sizes are 1e-4 or more.
    bound = len(fills) * Fraction(1, 10**20) * 10**4
    assert abs(fraction(row.entry_price) - life.entry_price) <= bound


@given(WITHOUT_FLIPS, st.booleans(), PRICES)
def test_total_pnl_of_a_row_is_off_by_what_its_docstring_says(
    steps: list[tuple[bool, int, Decimal, Decimal]], is_long: bool, price: Decimal
) -> None:
    """Without flips: it exceeds the true result by closed sizes times later moves of the entry price."""
    fills = one_sided(steps, is_long)
    (row,), stored = booked_rows(fills)
    unrealized = indexer.unrealized_pnl(row.size, price, row.entry_price)
    said = fraction(indexer.total_pnl(unrealized, row.realized_pnl, row.settled_funding))
    true = fraction(ledger.replay_fills(fills).total_pnl(price))
    drift = Fraction(0)
    for booked in stored:
        if (booked.fill.side == BUY) != is_long:
            assert booked.entry_price_before is not None
            drift += fraction(booked.fill.size) * (
                fraction(row.entry_price) - fraction(booked.entry_price_before)
            )
    drift = drift if is_long else -drift
    # What remains is rounding of the two means, times the sizes they are multiplied with.
    volume = sum(fraction(one.size) for one in fills)
    assert abs(said - drift - true) <= volume * len(fills) * Fraction(1, 10**16)
    fees = sum(fraction(one.fee) for one in fills)
    websocket = fraction(ledger.websocket_realized_pnl(row)) + fraction(unrealized) - fees
    assert abs(websocket - true) <= volume * len(fills) * Fraction(1, 10**16)


@given(FILLS)
def test_before_fields_are_the_row_before_the_fill(fills: list[Fill]) -> None:
    """Size before is at least the true one; on opening and flip 0, None and the new side."""
    rows: ledger.Rows = ()
    size = Fraction(0)
    for event, one in enumerate(fills):
        old, size = size, size + signed(one)
        rows = ledger.book_update(
            rows, PositionUpdate(MARKET, number(int(size * 10**4), 4), Decimal(0), event)
        )
        untouched = rows
        rows, booked = ledger.book_fill(rows, one)
        assert booked.position_size_before is not None
        if old * size >= 0 and old != 0:
            assert fraction(booked.position_size_before) >= abs(old)
        else:
            assert before(booked) == ("0", None, LONG if size > 0 else SHORT)
        changed = [(was, now) for was, now in zip(untouched, rows, strict=True) if was is not now]
        assert len(changed) == 1


# --- recordings ---

RECORDED: Json = json.loads(files("dydx_perf.data").joinpath("recorded_accounts.json").read_text("ascii"))
ACCOUNTS = [
    [position for one in account["subaccounts"] for position in one["positions"]]
    for account in RECORDED["accounts"]
]
MARKET_MAKER = ACCOUNTS[0]


def recorded_row(one: Json) -> ledger.PositionRow:
    size = Decimal(one["size"])
    return ledger.PositionRow(
        market=one["ticker"],
        side=ledger.side_of(size),
        status="OPEN",
        size=size,
        max_size=Decimal(one["max_size"]),
        entry_price=Decimal(one["entry_price"]),
        exit_price=None if one["exit_price"] is None else Decimal(one["exit_price"]),
        sum_open=Decimal(one["sum_open"]),
        sum_close=Decimal(one["sum_close"]),
        realized_pnl=Decimal(0),
        settled_funding=Decimal(one["net_funding"]),
        open_event=one["created_at_height"],
    )


def test_recorded_realized_pnl_is_that_of_websocket_updates() -> None:
    """All recordings precede October 2025: realized PnL is side * (exit - entry) * sum_close + funding."""
    positions = [one for account in ACCOUNTS for one in account]
    assert len(positions) == 48
    for one in positions:
        assert decimal_text(ledger.websocket_realized_pnl(recorded_row(one))) == one["realized_pnl"], one[
            "ticker"
        ]


def test_recorded_sums_show_what_flips_leave_behind() -> None:
    """Of the market maker's 42 rows 40 have sums larger than their size: size is not their difference."""
    excess = {}
    for one in MARKET_MAKER:
        row = recorded_row(one)
        excess[one["ticker"]] = fraction(row.sum_open) - fraction(row.sum_close) - abs(fraction(row.size))
    assert len(excess) == 42
    assert min(excess.values()) == 0
    assert sum(extra > 0 for extra in excess.values()) == 40
    assert excess["CHZ-USD"] == 3700


def test_recorded_entry_prices_have_as_many_decimals_as_the_database_gives() -> None:
    """Below 0.0001 a mean price has 24 decimals, so 20 is no limit."""
    places = {}
    for one in MARKET_MAKER:
        places[one["ticker"]] = len(one["entry_price"].partition(".")[2])
    assert {ticker for ticker, count in places.items() if count > 20} == {"SHIB-USD", "BONK-USD"}
    assert {places["SHIB-USD"], places["BONK-USD"]} == {24}
