"""Columns of positions: every path of this processor against plain Python integers, row by row."""

import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dydx_perf.errors import InputError
from dydx_perf.ext import columns

MILLION = 10**6
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
UINT64_MAX, UINT32_MAX = 2**64 - 1, 2**32 - 1
FAST_LIMIT = 2**49  # quotients from here on leave the vectors' range

Answer = tuple[tuple[int, ...], ...]  # one column per out array


@pytest.fixture(autouse=True)
def _restored_path() -> Iterator[None]:
    """Leave the path as it was chosen at import."""
    before = columns.path()
    yield
    columns.use_path(before)


# ---- the integer model: one row, and which rows int64 cannot hold


def funding_model(quantums: int, own: int, current: int) -> tuple[int, ...]:
    """Return the payment as the vectors' README writes it."""
    return (-((-(current - own) * quantums) // MILLION),)


def pnl_model(quantums: int, entry_price: int, oracle_price: int, divisor: int) -> tuple[int, ...]:
    """Return quotient and remainder."""
    return divmod(quantums * (oracle_price - entry_price), divisor)


def margin_model(
    quantums: int, price: int, divisor: int, base_ppm: int, scaled_ppm: int, fraction_ppm: int
) -> tuple[int, ...]:
    """Return net notional, initial and maintenance margin."""
    n = abs(quantums) * price // divisor
    maintenance = -(-n * base_ppm // MILLION)
    return (
        n if quantums >= 0 else -n,
        -(-n * scaled_ppm // MILLION),
        -(-maintenance * fraction_ppm // MILLION),
    )


def expected(model: Callable[..., tuple[int, ...]], rows: list[tuple[int, ...]]) -> tuple[Answer, list[int]]:
    """Return the out columns, 0 where a row does not fit, and the rows that do not fit."""
    answers = [model(*row) for row in rows]
    unfit = [i for i, answer in enumerate(answers) if not all(INT64_MIN <= a <= INT64_MAX for a in answer)]
    for i in unfit:
        answers[i] = (0,) * len(answers[i])
    return tuple(zip(*answers, strict=True)), unfit


# ---- the same rows as columns: each distinct set of market values becomes a market


def int64s(values: Any) -> Any:
    return np.array(list(values), dtype=np.int64)


def per_market(rows: list[tuple[int, ...]], first: int) -> tuple[Any, list[tuple[int, ...]]]:
    """Return the market column and the table of the market values, which are row[first:]."""
    table = sorted({row[first:] for row in rows})
    place = {values: index for index, values in enumerate(table)}
    return np.array([place[row[first:]] for row in rows], dtype=np.uint32), table


def funding_columns(rows: list[tuple[int, ...]]) -> tuple[Any, ...]:
    market, table = per_market(rows, 2)
    quantums, own, *_ = zip(*rows, strict=True)
    return int64s(quantums), int64s(own), market, int64s(values[0] for values in table)


def pnl_columns(rows: list[tuple[int, ...]]) -> tuple[Any, ...]:
    market, table = per_market(rows, 2)
    quantums, entry, *_ = zip(*rows, strict=True)
    price, divisor = (np.array(column, dtype=np.uint64) for column in zip(*table, strict=True))
    return int64s(quantums), int64s(entry), market, price, divisor


def margin_columns(rows: list[tuple[int, ...]]) -> tuple[Any, ...]:
    market, table = per_market(rows, 1)
    price, divisor, *ppm = zip(*table, strict=True)
    return (
        int64s(row[0] for row in rows),
        market,
        np.array(price, dtype=np.uint64),
        np.array(divisor, dtype=np.uint64),
        *(np.array(column, dtype=np.uint32) for column in ppm),
    )


CASES: dict[
    str, tuple[Callable[..., Any], Callable[..., tuple[int, ...]], Callable[..., tuple[Any, ...]]]
] = {
    "funding": (columns.funding_payments, funding_model, funding_columns),
    "pnl": (columns.unrealized_pnl, pnl_model, pnl_columns),
    "margin": (columns.margin_requirements, margin_model, margin_columns),
}


def check(case: str, rows: list[tuple[int, ...]]) -> None:
    """Compare every path with the model, and every tail: the same rows shifted through the vector's lanes."""
    function, model, to_columns = CASES[case]
    answer = expected(model, rows)
    arguments = to_columns(rows)
    for name in columns.paths():
        columns.use_path(name)
        *made, unfit = function(*arguments)
        assert (tuple(tuple(column.tolist()) for column in made), unfit) == answer, name


# ---- rows that are likely to be wrong


def around(values: list[int], low: int, high: int) -> st.SearchStrategy[int]:
    """Draw from a few integers around each of these, within the type."""
    near = sorted({v + d for v in values for d in (-2, -1, 0, 1, 2) if low <= v + d <= high})
    return st.sampled_from(near)


def magnitudes(low: int, high: int) -> st.SearchStrategy[int]:
    """Draw integers of every length: uniform ones are nearly all as long as the type."""
    bits = max(abs(low), high).bit_length()
    sized = st.integers(0, bits).flatmap(lambda n: st.integers(max(low, -(2**n)), min(high, 2**n)))
    return st.one_of(
        sized, around([0, low, high, *(s * 2**n for n in range(bits) for s in (1, -1))], low, high)
    )


int64 = magnitudes(INT64_MIN, INT64_MAX)
uint64 = magnitudes(0, UINT64_MAX)
divisors = st.one_of(st.integers(0, 18).map(lambda k: 10**k), st.integers(1, 10**18))
ppms = st.one_of(
    st.sampled_from([0, 1, 999_999, MILLION, MILLION + 1, 2**21 - 1, 2**21, UINT32_MAX]),
    st.integers(0, MILLION),
    st.integers(0, UINT32_MAX),
)


@st.composite
def products_around(draw: st.DrawFn, divisor: int) -> tuple[int, int]:
    """Draw a, b with a * b / divisor close to an integer, to the fast limit or to the end of int64."""
    a = draw(st.one_of(st.integers(1, 10**6), st.integers(1, 2**62)))
    quotient = draw(
        st.one_of(
            st.integers(0, 2**20), st.integers(0, FAST_LIMIT), around([FAST_LIMIT, 2**52, 2**63], 0, 2**64)
        )
    )
    b = quotient * divisor // a + draw(st.integers(-2, 2))
    return a * draw(st.sampled_from([1, -1])), b


@st.composite
def funding_rows(draw: st.DrawFn) -> tuple[int, ...]:
    if draw(st.booleans()):
        return draw(int64), draw(int64), draw(int64)
    quantums, difference = draw(products_around(MILLION))
    own = draw(st.one_of(st.integers(-100, 100), int64))
    current = own + difference
    return (quantums, own, current) if INT64_MIN <= current <= INT64_MAX else (quantums, own, -own // 2)


@st.composite
def pnl_rows(draw: st.DrawFn) -> tuple[int, ...]:
    divisor = draw(divisors)
    if draw(st.booleans()):
        return draw(int64), draw(int64), draw(uint64), divisor
    quantums, gain = draw(products_around(divisor))
    price = draw(st.one_of(st.integers(0, 2**40), uint64))
    entry = min(max(price - gain, INT64_MIN), INT64_MAX)
    return quantums, entry, price, divisor


@st.composite
def margin_rows(draw: st.DrawFn) -> tuple[int, ...]:
    divisor = draw(divisors)
    quantums, price = draw(int64), draw(uint64)
    if draw(st.booleans()):
        quantums, price = draw(products_around(divisor))
        price = min(max(price, 0), UINT64_MAX)
    return quantums, price, divisor, draw(ppms), draw(ppms), draw(ppms)


@given(st.lists(funding_rows(), min_size=1, max_size=40))
@example([(1, 0, 0)])
@example(
    [(1, 0, 1), (-1, 0, 1), (1, 0, MILLION), (-1, 0, MILLION), (1, 0, MILLION + 1), (-1, 0, MILLION + 1)] * 4
)
@example(
    [(INT64_MIN, INT64_MAX, INT64_MIN), (INT64_MIN, INT64_MIN, INT64_MAX), (INT64_MAX, 0, INT64_MIN)] * 5
)
@example([(1, INT64_MAX, INT64_MIN), (1, INT64_MIN, INT64_MAX), (1, -1, INT64_MAX), (1, 1, INT64_MIN)] * 5)
@example([(FAST_LIMIT, 0, MILLION), (FAST_LIMIT - 1, 1, MILLION), (-FAST_LIMIT, -1, MILLION)] * 7)
@example([(sign * 2**bits, 0, 1) for bits in (61, 62) for sign in (1, -1)] * 2)
def test_funding_payments_are_the_chains_on_every_path(rows: list[tuple[int, ...]]) -> None:
    check("funding", rows)


# Quotients just below 2**50 whose double estimate is off by more than a half: what the limit 2**49 is for.
WORST_ESTIMATES = [
    (36028797975360820, 18014398886188322, 576460779660569280),
    (36028797770970804, 18014398988574026, 576460779666888640),
    (36028797726580804, 18014399018616802, 576460779917933504),
    (36028797874821812, 18014398930445354, 576460779468164032),
]


@given(st.lists(pnl_rows(), min_size=1, max_size=40))
@example(
    [(1, 0, UINT64_MAX, 1), (1, INT64_MIN, UINT64_MAX, 10**18), (-1, 0, 2**63, 1), (-1, -1, 2**63, 1)] * 5
)
@example([(INT64_MIN, INT64_MIN, UINT64_MAX, 10**18), (INT64_MIN, INT64_MIN, UINT64_MAX, 1)] * 9)
@example([(1, 1, 0, 10**18), (-1, 1, 0, 10**18), (1, 0, 0, 7), (10**18 - 1, 1, 0, 10**18)] * 5)
@example([(1, -1, 2**63 - 1, 1), (1, INT64_MAX, 0, 1), (1, INT64_MIN, 0, 1), (-1, INT64_MIN, 0, 1)] * 5)
@example([(a, 0, gain, divisor) for a, gain, divisor in WORST_ESTIMATES] * 2)
def test_unrealized_pnl_loses_nothing_on_every_path(rows: list[tuple[int, ...]]) -> None:
    check("pnl", rows)


@given(st.lists(margin_rows(), min_size=1, max_size=40))
@example([(INT64_MIN, 1, 10**18, MILLION, MILLION, MILLION), (INT64_MIN, 1, 1, 0, 0, 0)] * 9)
@example([(-1, UINT64_MAX, 10**18, 1, 1, 1), (1, 2**63, 1, 0, 0, 0), (1, 2**63 - 1, 1, 0, 0, 0)] * 6)
@example([(5, 10**9, 10**9, UINT32_MAX, UINT32_MAX, UINT32_MAX), (FAST_LIMIT, 1, 1, UINT32_MAX, 1, 1)] * 9)
@example([(2**62, 1, 1, MILLION, MILLION, 2 * MILLION), (2**62, 1, 1, 3 * MILLION, 1, 0)] * 9)
# a remainder of one quantum, on either side of the estimate
@example([(sign * (10 + near), 1, 10, 1, 1, 1) for near in (-1, 1) for sign in (1, -1)] * 2)
# fractions past 2**21 and values just below 2**43: their product passes 64 bits
@example([(q, 1, 1, ppm, ppm, ppm) for q in (-1, 1, 2**43 - 1, -(2**43)) for ppm in (2**21, 2**22 - 1)] * 2)
def test_margin_requirements_are_the_chains_on_every_path(rows: list[tuple[int, ...]]) -> None:
    check("margin", rows)


CPUINFO = Path("/proc/cpuinfo")


def test_the_paths_are_those_of_the_processor() -> None:
    wanted = {"avx512": {"avx512f", "avx512dq", "avx2"}, "avx2": {"avx2"}, "plain": set()}
    names = columns.paths()
    assert (columns.path(), names[-1]) == (names[0], "plain")
    assert names == tuple(name for name in wanted if name in names)
    if platform.machine() == "x86_64" and CPUINFO.exists():
        features = set(re.findall(r"^flags\s*:(.*)", CPUINFO.read_text(), re.MULTILINE)[0].split())
        assert names == tuple(name for name, needed in wanted.items() if needed <= features)


@pytest.mark.parametrize("rows", [1, 5, 1023, 1024, 1025])
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_read_behind_the_end_of_an_array(case: str, rows: int) -> None:
    """Views of longer arrays, behind whose end valid values stand: the checks stop where the view does."""
    function, _, to_columns = CASES[case]
    row = {"funding": (1, 0, 7), "pnl": (1, 5, 9, 10), "margin": (1, 9, 10, 1, 1, 1)}[case]
    longer = [np.repeat(column, 100_000) for column in to_columns([row])]
    views = [column[:rows] for column in longer]
    *made, unfit = function(*views)
    assert unfit == []
    assert {len(column) for column in made} == {rows}


@pytest.mark.parametrize("row", [0, 1, 1023, 1024, 1500, 2047, 2048, 2500, 2599])
@pytest.mark.parametrize("case", CASES)
def test_a_market_past_the_table_is_found_in_every_block(case: str, row: int) -> None:
    function, _, to_columns = CASES[case]
    values = {"funding": (1, 0, 7), "pnl": (1, 5, 9, 10), "margin": (1, 9, 10, 1, 1, 1)}[case]
    arguments = to_columns([values] * 2600)
    market = next(column for column in arguments if column.dtype == np.uint32 and len(column) == 2600)
    market[row] = 1
    with pytest.raises(InputError) as refused:
        function(*arguments)
    assert refused.value.argument == f"market[{row}]"


@pytest.mark.parametrize("case", CASES)
def test_a_hundred_thousand_ordinary_rows_are_exact_on_every_path(case: str) -> None:
    rng = np.random.default_rng(20)
    markets = [
        (int(price), 10 ** int(k), int(base), int(base * scale), 600_000)
        for price, k, base, scale in zip(
            rng.integers(10**6, 10**10, 200),
            rng.integers(6, 17, 200),
            rng.choice([20_000, 50_000, 100_000, 1_000_000], 200),
            rng.choice([1, 1.5, 2], 200),
            strict=True,
        )
    ]
    size = 100_003  # not a multiple of a vector
    which = rng.integers(0, len(markets), size).tolist()
    quantums = (rng.integers(-(10**9), 10**9, size) * 10 ** rng.integers(0, 5, size)).tolist()
    moves = rng.integers(-(10**7), 10**7, size).tolist()
    if case == "funding":
        rows = [
            (q, move, markets[m][0] - 5 * 10**9) for q, move, m in zip(quantums, moves, which, strict=True)
        ]
    elif case == "pnl":
        rows = [
            (q, markets[m][0] + move, *markets[m][:2])
            for q, move, m in zip(quantums, moves, which, strict=True)
        ]
    else:
        rows = [(q, *markets[m]) for q, m in zip(quantums, which, strict=True)]
    check(case, rows)


@pytest.mark.parametrize("case", CASES)
def test_quotients_on_both_sides_of_the_fast_limit_are_exact_on_every_path(case: str) -> None:
    # up to 2**49 an estimate is within one of the quotient; from 2**50 on it may not be, which shows where
    # all five roundings count: operands past 2**53 over a divisor that no double holds
    rng = np.random.default_rng(49)
    rows: list[tuple[int, ...]] = []
    for bits, size, k, nudge in zip(
        rng.uniform(48, 52, 30_000).tolist(),
        rng.uniform(54, 58, 30_000).tolist(),
        rng.integers(10**17, 10**18, 30_000).tolist(),
        rng.integers(-9, 10, 30_000).tolist(),
        strict=True,
    ):
        divisor = MILLION if case == "funding" else k | 1
        quantums = int(2**size) | 1
        other = int(2**bits) * divisor // quantums + nudge
        if case == "funding":
            rows.append((quantums, 0, other))
        elif case == "pnl":
            rows.append((-quantums, max(-other, 0), max(other, 0), divisor))
        else:
            rows.append((quantums, max(other, 0), divisor, 999_999, 1_000_001, 999_983))
    check(case, rows)


def test_rows_that_do_not_fit_are_named_and_the_rest_is_exact() -> None:
    good, bad = (3, 0, 2 * MILLION), (INT64_MIN, 0, INT64_MAX)
    rows = [bad, *[good] * 9, bad, bad, good, *[bad] * 20, good]
    for name in columns.paths():
        columns.use_path(name)
        payment, unfit = columns.funding_payments(*funding_columns(rows))
        assert unfit == [i for i, row in enumerate(rows) if row == bad]
        assert payment.tolist() == [6 if row == good else 0 for row in rows]


# ---- paths


def test_the_fastest_path_is_chosen_at_import_and_plain_c_is_always_there() -> None:
    assert columns.path() == columns.paths()[0]
    assert columns.paths()[-1] == "plain"
    assert set(columns.paths()) <= {"avx512", "avx2", "plain"}


def test_a_path_is_used_until_another_is_asked_for() -> None:
    for name in columns.paths():
        columns.use_path(name)
        assert columns.path() == name


@pytest.mark.parametrize("name", ["", "avx1024", None, 0])
def test_a_path_that_this_processor_lacks_is_refused(name: Any) -> None:
    before = columns.path()
    with pytest.raises(InputError, match=r"^name: .* is not allowed: .*plain"):
        columns.use_path(name)
    assert columns.path() == before


# ---- the door

ROWS: dict[str, list[tuple[int, ...]]] = {
    "funding": [(5, 7, 11 * MILLION), (5, 7, 13 * MILLION)] * 6,
    "pnl": [(5, 7, 11, 10), (5, 7, 13, 100)] * 6,
    "margin": [(5, 7, 1, 50_000, 60_000, 600_000), (5, 9, 10, 20_000, 20_000, 500_000)] * 6,
}
ARGUMENTS = {
    "funding": ["quantums", "funding_index", "market", "current_funding_index"],
    "pnl": ["quantums", "entry_price", "market", "oracle_price", "divisor"],
    "margin": [
        "quantums", "market", "oracle_price", "divisor", "initial_margin_ppm", "scaled_initial_margin_ppm",
        "maintenance_fraction_ppm",
    ],
}  # fmt: skip
EACH_ARGUMENT = [(case, argument) for case in CASES for argument in ARGUMENTS[case]]
OUTS = {"funding": 1, "pnl": 2, "margin": 3}
UNTOUCHED = -123


def call(case: str, change: Callable[[dict[str, Any]], None]) -> Any:
    """Call with one thing changed; where that is refused, nothing may have been written."""
    function, _, to_columns = CASES[case]
    arguments = dict(zip(ARGUMENTS[case], to_columns(ROWS[case]), strict=True))
    outs = tuple(np.full(12, UNTOUCHED, dtype=np.int64) for _ in range(OUTS[case]))
    arguments["out"] = outs[0] if case == "funding" else outs
    change(arguments)
    try:
        return function(**arguments)
    except InputError:
        assert all((array == UNTOUCHED).all() for array in outs)
        raise


def replaced(argument: str, by: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def change(arguments: dict[str, Any]) -> None:
        arguments[argument] = by(arguments[argument])

    return change


@pytest.mark.parametrize("case", CASES)
def test_arrays_given_are_written_and_returned(case: str) -> None:
    outs = [np.full(12, UNTOUCHED, dtype=np.int64) for _ in range(OUTS[case])]
    given_out = {"out": outs[0] if case == "funding" else list(outs)}
    *made, unfit = call(case, lambda arguments: arguments.update(given_out))
    assert all(a is b for a, b in zip(made, outs, strict=True))
    assert (tuple(tuple(column.tolist()) for column in outs), unfit) == expected(CASES[case][1], ROWS[case])


@pytest.mark.parametrize(("case", "argument"), EACH_ARGUMENT)
@pytest.mark.parametrize(
    "wrong",
    [
        lambda array: None,
        lambda array: array.tolist(),
        lambda array: array.astype(np.float64),
        lambda array: array.astype(np.int16),
        lambda array: array.astype(np.uint32 if array.dtype == np.int64 else np.int64),
        lambda array: array.astype(array.dtype.newbyteorder()),
        lambda array: array.astype(object),
        lambda array: array.reshape(-1, 1),
        lambda array: array[0],
        lambda array: np.repeat(array, 2)[::2],
        lambda array: array[::-1],
    ],
    ids=[
        "None",
        "list",
        "float64",
        "int16",
        "other",
        "byteorder",
        "object",
        "2-D",
        "0-D",
        "strided",
        "reversed",
    ],
)
def test_an_array_of_another_kind_is_refused(case: str, argument: str, wrong: Callable[[Any], Any]) -> None:
    with pytest.raises(InputError) as refused:
        call(case, replaced(argument, wrong))
    assert refused.value.argument == argument
    assert refused.value.allowed.startswith("a C-contiguous one-dimensional ")


@pytest.mark.parametrize(("case", "argument"), EACH_ARGUMENT)
def test_a_read_only_input_is_read(case: str, argument: str) -> None:
    def freeze(array: Any) -> Any:
        array.flags.writeable = False
        return array

    assert call(case, replaced(argument, freeze))[-1] == []


@pytest.mark.parametrize(
    ("case", "argument"),
    [each for each in EACH_ARGUMENT if each[1] not in ("quantums", "current_funding_index")],
)
@pytest.mark.parametrize("resize", [lambda array: array[:-1], lambda array: np.append(array, array[:1])])
def test_a_length_that_differs_is_refused(case: str, argument: str, resize: Callable[[Any], Any]) -> None:
    with pytest.raises(InputError, match=r"is not allowed: (a length of|below 1)"):
        call(case, replaced(argument, resize))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("row", [0, 7, 11])
@pytest.mark.parametrize("index", [2, 2**31 - 1, 2**31, UINT32_MAX])
def test_a_market_that_is_not_listed_is_refused(case: str, row: int, index: int) -> None:
    def change(market: Any) -> Any:
        market[row] = index
        return market

    with pytest.raises(
        InputError, match=rf"^market\[{row}\]: {index} is not allowed: below 2, the length of"
    ):
        call(case, replaced("market", change))


def test_the_first_unlisted_market_of_many_is_named() -> None:
    market = np.zeros(5_000, dtype=np.uint32)
    quantums = np.zeros(5_000, dtype=np.int64)
    for row in (4_999, 1_024, 1_023, 500):
        market[row] = 3
        with pytest.raises(InputError, match=rf"^market\[{row}\]: 3 is not allowed: below 3"):
            columns.funding_payments(quantums, quantums, market, np.zeros(3, dtype=np.int64))


@pytest.mark.parametrize("case", ["pnl", "margin"])
@pytest.mark.parametrize("divisor", [0, 10**18 + 1, 2**63, UINT64_MAX])
def test_a_divisor_outside_its_range_is_refused(case: str, divisor: int) -> None:
    with pytest.raises(InputError, match=rf"^divisor\[0\]: {divisor} is not allowed: 1 to 10\*\*18$"):
        call(case, replaced("divisor", lambda array: np.full_like(array, divisor)))


@pytest.mark.parametrize("case", ["pnl", "margin"])
@pytest.mark.parametrize("wrong", [(), np.zeros(12, dtype=np.int64), "ab", 7])
def test_out_is_a_tuple_of_as_many_arrays(case: str, wrong: Any) -> None:
    with pytest.raises(InputError, match=r"^out: .* is not allowed: a tuple of"):
        call(case, replaced("out", lambda _: wrong))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "wrong",
    [
        lambda array: array[:-1],
        lambda array: np.append(array, 0),
        lambda array: array.astype(np.uint64),
        lambda array: array.reshape(2, -1),
        lambda array: np.repeat(array, 2)[::2],
        lambda array: np.frombuffer(array.tobytes(), dtype=np.int64),
        lambda array: None,
    ],
    ids=["short", "long", "uint64", "2-D", "strided", "read-only", "None"],
)
def test_an_out_array_that_cannot_be_filled_is_refused(case: str, wrong: Callable[[Any], Any]) -> None:
    if case == "funding":
        outs, names = (lambda out: wrong(out) if wrong(out) is not None else 7), r"out"
    else:
        outs, names = (lambda out: (*out[:-1], wrong(out[-1]))), r"out\[[12]\]"
    with pytest.raises(InputError, match=rf"^{names}: "):
        call(case, replaced("out", outs))


@pytest.mark.parametrize(("case", "argument"), EACH_ARGUMENT)
def test_an_out_array_may_not_share_memory_with_an_input(case: str, argument: str) -> None:
    def change(arguments: dict[str, Any]) -> None:
        memory = np.full(14, 0, dtype=np.int64)
        other = arguments[argument]
        shared = memory.view(other.dtype)[: len(other)]
        shared[:] = other
        arguments[argument] = shared
        out = memory[:12]
        arguments["out"] = out if case == "funding" else (*arguments["out"][:-1], out)

    with pytest.raises(InputError, match="an array that shares no memory with the others"):
        call(case, change)


@pytest.mark.parametrize("case", ["pnl", "margin"])
def test_two_out_arrays_may_not_share_memory(case: str) -> None:
    memory = np.zeros(13, dtype=np.int64)
    with pytest.raises(InputError, match=r"^out\[\d\]: .* an array that shares no memory with the others$"):
        call(case, replaced("out", lambda out: (*out[:-2], memory[:12], memory[1:])))


@pytest.mark.parametrize("case", CASES)
def test_no_rows_give_empty_columns(case: str) -> None:
    function, _, to_columns = CASES[case]
    for markets in (0, 2):
        arguments = [
            array[:0] if name in ("quantums", "funding_index", "entry_price", "market") else array[:markets]
            for name, array in zip(ARGUMENTS[case], to_columns(ROWS[case]), strict=True)
        ]
        *made, unfit = function(*arguments)
        assert [column.tolist() for column in made] == [[]] * OUTS[case]
        assert unfit == []


@pytest.mark.parametrize("case", CASES)
def test_rows_without_markets_are_refused(case: str) -> None:
    def change(arguments: dict[str, Any]) -> None:
        for name in arguments:
            if name not in ("quantums", "funding_index", "entry_price", "market", "out"):
                arguments[name] = arguments[name][:0]

    with pytest.raises(InputError, match=r"^market\[0\]: 0 is not allowed: below 0, the length of"):
        call(case, change)
