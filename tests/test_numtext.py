"""Decimal text to exact integers: against Python's own integers, character by character."""

import re
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dydx_perf.errors import InputError
from dydx_perf.ext.numtext import parse_fixed

INT64_MAX = 2**63 - 1
INT64_MIN = -(2**63)

digits = st.text("0123456789", min_size=1, max_size=45)
some_digits = st.text("0123456789", max_size=45)
signs = st.sampled_from(["", "-", "+"])
plain_text = st.one_of(
    st.builds("{}{}".format, signs, digits),
    st.builds("{}{}.{}".format, signs, digits, some_digits),
    st.builds("{}.{}".format, signs, digits),
)
scales = st.integers(-60, 60)


def model(text: str, scale: int) -> Fraction:
    """Return the value by a different route: Fraction reads the text whole."""
    significand, _, exponent = text.lower().partition("e")
    return Fraction(significand.rstrip(".")) * Fraction(10) ** (int(exponent or "0") + scale)


def inexact(scale: int) -> str:
    """Return what a refusal allows where the scale would drop digits."""
    return f"at most {scale} decimals" if scale >= 0 else f"a multiple of 10**{-scale}"


def answer(text: str | bytes, scale: int) -> int | str:
    """Return the integer, or what the refusal allows."""
    try:
        return parse_fixed(text, scale)
    except InputError as refused:
        return refused.allowed


@given(plain_text, scales)
@example("9223372036854775807", 0)
@example("9223372036854775808", 0)
@example("-9223372036854775808", 0)
@example("-9223372036854775809", 0)
@example("922337203685.4775807", 7)
@example("18446744073709551615", 0)
@example("18446744073709551616", 0)
@example("9999999999999999999", 0)  # 19 digits, the most that are read in one pass
@example("0.9999999999999999999", 19)  # 20 digits
@example("0000000000000000000000000000000000001.5", 1)
@example("1.0000000000000000000000000000000000000", 0)
@example("1.0000000000000000000000000000000000001", 0)
@example("1000000000000000000000000000000000000000", -39)
@example("1000000000000000000000000000000000000000", -40)
@example("0", 60)
@example("0.0000000000000000000000000", -60)
@example("-0", 0)
def test_plain_text_is_read_exactly_or_refused_as_inexact(text: str, scale: int) -> None:
    value = model(text, scale)
    expected = value if value.denominator == 1 else inexact(scale)
    assert answer(text, scale) == expected
    assert answer(text.encode(), scale) == expected


@given(plain_text, st.integers(-999, 999), st.sampled_from("eE"), st.sampled_from(["", "+"]), scales)
@example("1", -7, "e", "", 7)
@example("1", -8, "e", "", 7)
@example("1", 999, "E", "+", 60)
@example("123", -999, "e", "", 0)
def test_exponent_notation_is_read_exactly_or_refused(
    text: str, exponent: int, mark: str, plus: str, scale: int
) -> None:
    whole = f"{text}{mark}{plus if exponent >= 0 else ''}{exponent}"
    value = model(text, scale + exponent)
    expected = value if value.denominator == 1 else inexact(scale)
    assert answer(whole, scale) == expected
    assert answer(whole.encode(), scale) == expected


@given(st.integers(INT64_MIN - 2, INT64_MAX + 2), st.integers(0, 25))
@example(INT64_MAX, 0)
@example(INT64_MIN, 0)
@example(INT64_MAX + 1, 3)
@example(INT64_MIN - 1, 3)
def test_an_integer_written_with_its_point_moved_comes_back(value: int, decimals: int) -> None:
    magnitude = str(abs(value)).rjust(decimals + 1, "0")
    cut = len(magnitude) - decimals
    text = f"{'-' if value < 0 else ''}{magnitude[:cut]}.{magnitude[cut:]}"
    assert parse_fixed(text, decimals) == value


GRAMMAR = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)


@given(st.text("0123456789+-.eE_ \x00xn٣²", max_size=12), st.integers(-3, 25))
def test_text_is_accepted_only_where_the_grammar_holds(text: str, scale: int) -> None:
    if GRAMMAR.fullmatch(text) and abs(int("0" + text.lower().partition("e")[2].lstrip("+-"))) <= 999:
        value = model(text, scale)
        expected = value if value.denominator == 1 else inexact(scale)
        assert answer(text, scale) == answer(text.encode(), scale) == expected
    else:
        with pytest.raises(InputError) as refused:
            parse_fixed(text, scale)
        assert (refused.value.argument, refused.value.value) == ("text", text)


@given(st.binary(max_size=110), st.integers(-3, 25))
def test_any_bytes_are_read_or_refused(text: bytes, scale: int) -> None:
    try:
        parse_fixed(text, scale)
    except InputError:
        return
    assert GRAMMAR.fullmatch(text.decode("ascii"))


@pytest.mark.parametrize(
    "text",
    [
        "", "+", "-", ".", "-.", "+.", "e", "e5", ".e5", "1e", "1e+", "1e-", "1e+-5", "1e5.0", "1e 5",
        "1e5 ", "1e5e5", "1e1_0", "--1", "+-1", "1-", "1..2", "1.2.3", "1,5", "1_000", " 1", "1 ", "1\n",
        "\t1", "1\x00", "\x001", "0x10", "1f", "nan", "NaN", "sNaN", "inf", "-Infinity", "½", "²", "１２",
        "٣", "१", "1e٣", "1e²", "−1", "\ud800", "1\ud800",
    ],
)  # fmt: skip
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_fixed(text, 6)
    assert refused.value.argument == "text"
    assert refused.value.allowed == "a decimal number in ASCII digits"


@pytest.mark.parametrize("text", [b"\xff", b"1\xff", b"1e\xb2", b"1e\xff", "²".encode(), b"1\x00"])
def test_bytes_past_ascii_are_refused(text: bytes) -> None:
    with pytest.raises(InputError, match="a decimal number in ASCII digits"):
        parse_fixed(text, 6)


@pytest.mark.parametrize("value", [None, 1, 1.5, True, ["1"], bytearray(b"1"), memoryview(b"1")])
def test_what_is_neither_str_nor_bytes_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="str or bytes"):
        parse_fixed(value, 6)


def test_text_may_have_100_characters_and_no_more() -> None:
    assert parse_fixed("9" * 100, 0) == 10**100 - 1
    assert parse_fixed(b"9" * 100, 999) == (10**100 - 1) * 10**999
    for text in ("9" * 101, b"9" * 101, "0" * 101, " " * 10_000_000, "٣" * 10_000_000):
        with pytest.raises(InputError, match="at most 100 characters"):
            parse_fixed(text, 0)


@pytest.mark.parametrize(
    "text", ["1e1000", "1e-1000", "0e1000", "1e999999999", "1e-99999999999999999999", b"1E+1000"]
)
def test_an_exponent_past_999_is_refused_before_any_work(text: str | bytes) -> None:
    with pytest.raises(InputError, match="an exponent of at most 999"):
        parse_fixed(text, 6)


@pytest.mark.parametrize("scale", [1000, -1000, 2**31, -(2**31) - 1, 2**64, -(10**30)])
def test_a_scale_past_999_is_refused(scale: int) -> None:
    with pytest.raises(InputError, match=r"^scale: .*-999 to 999"):
        parse_fixed("0", scale)


@pytest.mark.parametrize("scale", [None, "6", 6.0, True])
def test_a_scale_that_is_no_int_is_refused(scale: object) -> None:
    with pytest.raises(InputError, match=r"^scale: .*an int"):
        parse_fixed("0", scale)


def test_a_str_subclass_is_read_by_its_characters() -> None:
    class Loud(str):
        def __str__(self) -> str:
            return "2"

    assert parse_fixed(Loud("1.5"), 1) == 15


@pytest.mark.parametrize("power", range(20))
def test_every_power_of_ten_is_multiplied_and_dropped_exactly(power: int) -> None:
    """Zeros are added by a table; zeros are dropped by it, from numbers of up to 19 digits."""
    for number in (1, 7, -7):
        assert parse_fixed(str(number), power) == number * 10**power
        for text in (str(number * 10**power), f"{number}.{'0' * power}"):
            scale = 0 if "." in text else -power
            assert parse_fixed(text, scale) == number
            assert parse_fixed(text, scale + 1) == number * 10
        if power:
            with pytest.raises(InputError):
                parse_fixed(str(number * 10**power + 1), -power)


@pytest.mark.parametrize("scale", [-2, -1, 0, 1, 2, 5])
def test_numbers_padded_with_zeros_are_the_same_numbers(scale: int) -> None:
    for number in (0, 1, 12, 100, 2100):
        expected = answer(str(number), scale)
        assert answer(f"{number:040d}", scale) == expected
        assert answer(f"{number}.{'0' * 40}", scale) == expected


@pytest.mark.parametrize("text", ["1:2", "1.2:", ":", "1.:2", "12:", "1" * 20 + ":", "1/2", "1./2"])
def test_the_characters_beside_the_digits_are_none(text: str) -> None:
    assert answer(text, 2) == "a decimal number in ASCII digits"
    assert answer(text.encode(), 2) == "a decimal number in ASCII digits"
