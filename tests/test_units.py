"""Human amounts to the chain's integers and back: nothing rounded, nothing guessed."""

import builtins
import importlib.util
from decimal import Decimal, localcontext
from fractions import Fraction
from types import ModuleType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dydx_perf import units
from dydx_perf.errors import InputError


def without_kernels() -> ModuleType:
    """Load units a second time as a build without a C compiler has it."""
    spec = importlib.util.find_spec("dydx_perf.units")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    found = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name == "dydx_perf.ext.numtext":
            raise ModuleNotFoundError(name)
        return found(name, *rest, **named)

    builtins.__import__ = refuse
    try:
        spec.loader.exec_module(module)
    finally:
        builtins.__import__ = found
    assert module._parse_fixed is module._parse_fixed_plain
    return module


PLAIN = without_kernels()


@pytest.fixture(params=[units, PLAIN], ids=["compiled", "plain"])
def twin(request: pytest.FixtureRequest) -> Any:
    """Each test of entry runs with the compiled parser and with its plain twin."""
    return request.param


integers = st.integers(-(10**40), 10**40)
exponents = st.integers(-40, 40)
resolutions = st.integers(-18, 6)


@pytest.mark.parametrize(
    ("value", "scale", "integer"),
    [
        ("67012.5", 5, 6_701_250_000),
        ("-0.8", 10, -8_000_000_000),
        ("+5.", 0, 5),
        (".5", 1, 5),
        ("1e-7", 7, 1),
        ("1E+3", 0, 1_000),
        ("1.50", 1, 15),
        ("1200", -2, 12),
        ("-0", 3, 0),
        ("0e-999", 0, 0),
        (7, 2, 700),
        (-1200, -2, -12),
        (Decimal("67012.5"), 5, 6_701_250_000),
        (Decimal("1E+3"), 0, 1_000),
        (Decimal("-1.50"), 1, -15),
        (Decimal("1E-7"), 7, 1),
        (Decimal("9" * 99), 0, 10**99 - 1),
    ],
)
def test_amounts_enter_exactly(twin: Any, value: str | int | Decimal, scale: int, integer: int) -> None:
    entered = twin.to_fixed("size", value, scale)
    assert type(entered) is int
    assert entered == integer


def test_an_int_of_any_size_enters(twin: Any) -> None:
    assert twin.to_fixed("size", -(10**5_000), 3) == -(10**5_003)
    assert twin.to_fixed("size", -(10**5_000), -3) == -(10**4_997)


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (0.1, "a float cannot hold the value exactly; pass text, int or Decimal"),
        (1.0, "a float cannot hold the value exactly; pass text, int or Decimal"),
        (float("nan"), "a float cannot hold the value exactly; pass text, int or Decimal"),
        (True, "text, int or Decimal; a bool is no amount"),
        (None, "text, int or Decimal"),
        (b"1", "text, int or Decimal"),
        (Fraction(1, 2), "text, int or Decimal"),
        (1j, "text, int or Decimal"),
        (Decimal("NaN"), "a finite number"),
        (Decimal("sNaN"), "a finite number"),
        (Decimal("-Infinity"), "a finite number"),
        (Decimal("1E+1000"), "an exponent of at most 999"),
        (Decimal("1" * 101), "at most 100 characters"),
        ("nan", "a decimal number in ASCII digits"),
        ("Infinity", "a decimal number in ASCII digits"),
        ("", "a decimal number in ASCII digits"),
        ("1_000", "a decimal number in ASCII digits"),
        (" 1", "a decimal number in ASCII digits"),
        ("1\n", "a decimal number in ASCII digits"),
        ("٣", "a decimal number in ASCII digits"),
        ("1e٣", "a decimal number in ASCII digits"),
        ("1e", "a decimal number in ASCII digits"),
        ("\ud800", "a decimal number in ASCII digits"),
        ("9" * 101, "at most 100 characters"),
        ("1e1000", "an exponent of at most 999"),
        ("1e999999999", "an exponent of at most 999"),
        ("0.0000001", "at most 6 decimals"),
        ("1e-7", "at most 6 decimals"),
        (Decimal("0.0000001"), "at most 6 decimals"),
    ],
)
def test_what_is_no_exact_amount_is_refused_with_the_reason(twin: Any, value: object, allowed: str) -> None:
    with pytest.raises(InputError) as refused:
        twin.to_fixed("size", value, 6)
    assert refused.value.argument == "size"
    assert refused.value.value is value
    assert refused.value.allowed == allowed


@pytest.mark.parametrize("value", ["1250", 1250, Decimal(1250)])
def test_a_negative_scale_refuses_to_drop_digits(twin: Any, value: str | int | Decimal) -> None:
    assert twin.to_fixed("size", value, -1) == 125
    with pytest.raises(InputError, match=r"^size: .*: a multiple of 10\*\*2$"):
        twin.to_fixed("size", value, -2)


@pytest.mark.parametrize("value", ["1", 1, Decimal(1)])
@pytest.mark.parametrize("scale", [1_000, -1_000, 1.0, "6", None, True])
def test_a_scale_that_is_no_small_int_is_refused(twin: Any, value: str | int | Decimal, scale: Any) -> None:
    with pytest.raises(InputError, match=r"^scale: "):
        twin.to_fixed("size", value, scale)


@given(st.text("0123456789+-.eE_ ٣²", max_size=12), st.integers(-5, 25))
@example("9223372036854775808", 0)
@example("1.e1", 0)
@example("-.5e+1", 0)
@example("0" * 99 + "1", 0)
def test_the_plain_parser_is_the_twin_of_the_compiled_one(text: str, scale: int) -> None:
    answers = []
    for parser in (units, PLAIN):
        try:
            answers.append(parser.to_fixed("size", text, scale))
        except InputError as refused:
            answers.append(str(refused))
    assert answers[0] == answers[1]


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(-30, 30))
def test_text_and_decimal_of_one_number_enter_alike(value: Decimal, scale: int) -> None:
    answers = []
    for form in (value, str(value), f"{value:f}"[:100]):
        try:
            answers.append(units.to_fixed("size", form, scale))
        except InputError as refused:
            answers.append(refused.allowed)
    if len(f"{value:f}") <= 100:
        assert answers[0] == answers[2]
    assert answers[0] == answers[1]


@given(integers, exponents)
@example(0, 5)
@example(10**60 + 1, -30)
@example(-(10**5_000) - 1, -3)
def test_a_decimal_is_the_integer_exactly_whatever_the_context(integer: int, exponent: int) -> None:
    with localcontext(prec=1):
        decimal = units.to_decimal(integer, exponent)
    assert Fraction(decimal) == integer * Fraction(10) ** exponent
    assert decimal.as_tuple().exponent == exponent


@given(integers, exponents)
def test_entering_what_left_gives_the_integer_back(integer: int, exponent: int) -> None:
    assert units.to_fixed("size", units.to_decimal(integer, exponent), -exponent) == integer


@pytest.mark.parametrize("integer", [1.0, True, "1", None, Decimal(1)])
def test_a_decimal_is_made_of_an_int_only(integer: Any) -> None:
    with pytest.raises(InputError, match=r"^integer: .*an int"):
        units.to_decimal(integer, 0)


@pytest.mark.parametrize("exponent", [1_000, -1_000, 1.0, True, None])
def test_a_decimal_has_a_small_int_exponent(exponent: Any) -> None:
    with pytest.raises(InputError, match=r"^exponent: "):
        units.to_decimal(1, exponent)


def test_bitcoin_reads_as_the_chain_writes_it() -> None:
    # mainnet's BTC-USD: atomic resolution -10, price exponent -5, quantum conversion exponent -9
    assert units.size_to_base_quantums("0.8", -10) == 8_000_000_000
    assert units.base_quantums_to_size(-8_000_000_000, -10) == Decimal("-0.8")
    assert units.price_to_price_integer("67012.5", -5) == 6_701_250_000
    assert units.price_integer_to_price(6_701_250_000, -5) == Decimal("67012.5")
    assert units.price_to_subticks("67012", -10, -9) == 6_701_200_000
    assert units.subticks_to_price(6_701_200_000, -10, -9) == 67_012
    assert units.usdc_to_quote_quantums("-25000.000001") == -25_000_000_001
    assert units.quote_quantums_to_usdc(-25_000_000_001) == Decimal("-25000.000001")


@given(integers, resolutions)
def test_size_and_base_quantums_are_inverse(base_quantums: int, atomic_resolution: int) -> None:
    size = units.base_quantums_to_size(base_quantums, atomic_resolution)
    assert Fraction(size) == base_quantums * Fraction(10) ** atomic_resolution
    assert units.size_to_base_quantums(size, atomic_resolution) == base_quantums


@given(integers)
def test_usdc_and_quote_quantums_are_inverse(quote_quantums: int) -> None:
    usdc = units.quote_quantums_to_usdc(quote_quantums)
    assert Fraction(usdc) == Fraction(quote_quantums, 10**6)
    assert units.usdc_to_quote_quantums(usdc) == quote_quantums


@given(st.integers(0, 2**64 - 1), st.integers(-20, 5))
@example(2**64 - 1, -5)
@example(0, -5)
def test_oracle_price_and_its_integer_are_inverse(price: int, exponent: int) -> None:
    human = units.price_integer_to_price(price, exponent)
    assert Fraction(human) == price * Fraction(10) ** exponent
    assert units.price_to_price_integer(human, exponent) == price


@given(st.integers(0, 2**64 - 1), resolutions, st.integers(-12, 3))
@example(2**64 - 1, -10, -9)
def test_order_price_and_subticks_are_inverse(
    subticks: int, atomic_resolution: int, quantum_conversion_exponent: int
) -> None:
    price = units.subticks_to_price(subticks, atomic_resolution, quantum_conversion_exponent)
    # subticks * 10**qce quote quantums per base quantum; 10**-6 USDC each; 10**-atomic_resolution to the coin
    per_coin = Fraction(10) ** (quantum_conversion_exponent - 6 - atomic_resolution)
    assert Fraction(price) == subticks * per_coin
    assert units.price_to_subticks(price, atomic_resolution, quantum_conversion_exponent) == subticks


@pytest.mark.parametrize("price", ["-0.00001", "-1", "184467440737095.51616", 2**64])
def test_a_price_outside_the_chains_field_is_refused(price: str | int) -> None:
    with pytest.raises(InputError, match=r"^oracle_price: .*: 0 to 184467440737095\.51615$") as refused:
        units.price_to_price_integer(price, -5)
    assert refused.value.value == price


@pytest.mark.parametrize("price", ["-1", "184467440737095.51616"])
def test_subticks_outside_the_chains_field_are_refused(price: str) -> None:
    with pytest.raises(InputError, match=r"^price: .*: 0 to 184467440737095\.51615$"):
        units.price_to_subticks(price, -10, -9)


def test_a_price_between_two_subticks_is_refused() -> None:
    with pytest.raises(InputError, match=r"^price: .*: at most 5 decimals"):
        units.price_to_subticks("67012.000001", -10, -9)


def test_an_error_names_the_argument_as_the_caller_calls_it() -> None:
    with pytest.raises(InputError, match=r"^amount: "):
        units.size_to_base_quantums("x", -10, argument="amount")
    with pytest.raises(InputError, match=r"^deposit: "):
        units.usdc_to_quote_quantums("x", argument="deposit")
    with pytest.raises(InputError, match=r"^limit: "):
        units.price_to_subticks("x", -10, -9, argument="limit")
    with pytest.raises(InputError, match=r"^mark_price: "):
        units.price_to_price_integer("x", -5, argument="mark_price")


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda bad: units.size_to_base_quantums("1", bad), "atomic_resolution"),
        (lambda bad: units.base_quantums_to_size(1, bad), "atomic_resolution"),
        (lambda bad: units.base_quantums_to_size(bad, -10), "base_quantums"),
        (lambda bad: units.quote_quantums_to_usdc(bad), "quote_quantums"),
        (lambda bad: units.price_to_price_integer("1", bad), "exponent"),
        (lambda bad: units.price_integer_to_price(1, bad), "exponent"),
        (lambda bad: units.price_integer_to_price(bad, -5), "price"),
        (lambda bad: units.price_to_subticks("1", bad, -9), "atomic_resolution"),
        (lambda bad: units.price_to_subticks("1", -10, bad), "quantum_conversion_exponent"),
        (lambda bad: units.subticks_to_price(bad, -10, -9), "subticks"),
        (lambda bad: units.subticks_to_price(1, bad, -9), "atomic_resolution"),
        (lambda bad: units.subticks_to_price(1, -10, bad), "quantum_conversion_exponent"),
        (lambda bad: units.funding_rate_8h(bad), "ppm"),
        (lambda bad: units.funding_rate_1h(bad), "ppm"),
        (lambda bad: units.annualised_funding_rate(bad), "ppm"),
    ],
)
@pytest.mark.parametrize("bad", [1.0, "1", None, True])
def test_parameters_of_the_chain_are_ints(call: Any, argument: str, bad: object) -> None:
    with pytest.raises(InputError, match=rf"^{argument}: .*an int$"):
        call(bad)


@given(st.integers(-(2**40), 2**40))
@example(1)
@example(-125)
def test_funding_rates_are_exact_fractions_of_the_chains_ppm(ppm: int) -> None:
    with localcontext(prec=1):
        rates = units.funding_rate_8h(ppm), units.funding_rate_1h(ppm), units.annualised_funding_rate(ppm)
    eight_hours = Fraction(ppm, 10**6)
    assert tuple(map(Fraction, rates)) == (eight_hours, eight_hours / 8, eight_hours * 3 * 365)
