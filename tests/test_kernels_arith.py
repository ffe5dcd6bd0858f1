"""The arithmetic kernels equal plain integers for any size, and decline only past 128 (or 256) bits."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dydx_perf.errors import ChainError
from dydx_perf.exact import arith as exact
from dydx_perf.ext import arith

I128 = range(-(2**127), 2**127)
U128 = 2**128
U256 = 2**256

edges = st.builds(
    lambda bits, step, sign: sign * ((1 << bits) + step),
    st.integers(0, 130),
    st.integers(-1, 1),
    st.sampled_from([-1, 1]),
)
any_size = st.one_of(st.integers(-(2**130), 2**130), st.integers(-(10**7), 10**7), edges)
magnitudes = st.one_of(st.integers(0, 2**257), st.integers(0, 2**70), edges.map(abs))
ppm = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 999_999, 10**6, 10**6 + 1]), any_size)
powers = st.one_of(st.integers(-45, 45), st.sampled_from([-(10**6), -39, -38, -37, 37, 38, 39, 10**6]))
uint64 = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**43, 2**62, 2**63, 2**64 - 1]))


def agree(kernel: int | None, model: Callable[[], int], in_range: bool) -> None:
    """The kernel says what the model says, or declines where it may."""
    if kernel is None:
        assert not in_range
    else:
        assert kernel == model()


@given(any_size, ppm)
@example(-1, 1)
@example(2**43, 10**6 + 1)
@example(2**62, 2**21)
@example(2**127 - 1, 1)
@example(-(2**127), 1)
def test_shares_in_ppm(value, share):
    """Floor and ceil of value * ppm / 1e6, of any signs; declined where the product passes 128 bits."""
    fits = value in I128 and share in I128 and value * share in I128
    agree(arith.mul_ppm_floor(value, share), lambda: exact.mul_ppm_floor(value, share), fits)
    agree(arith.mul_ppm_ceil(value, share), lambda: exact.mul_ppm_ceil(value, share), fits)


@given(st.one_of(st.integers(-(2**64), 2**64), any_size), st.integers(0, 2**32 - 1))
@example(2**63 - 1, 10**6)
@example(2**63, 10**6)
@example(-(2**63), 10**6)
@example(-(2**63) - 1, 10**6)
def test_int64_share_is_declined_where_the_chain_panics(value, share):
    """An answer outside int64 is the chain's panic, which a kernel never answers."""
    try:
        expected = exact.int64_mul_ppm_floor(value, share)
    except ChainError:
        assert arith.int64_mul_ppm_floor(value, share) is None
    else:
        fits = value in I128 and value * share in I128
        agree(arith.int64_mul_ppm_floor(value, share), lambda: expected, fits)


@given(any_size, any_size)
@example(-(2**127), -1)
@example(-(2**127), 1)
@example(2**127 - 1, -(2**127))
@example(-7, 2)
@example(7, -2)
@example(1, 0)
def test_division_of_any_signs(num, den):
    """True floor and ceil; zero as divisor and the one quotient past 128 bits are declined."""
    fits = num in I128 and den in I128 and den != 0 and (num, den) != (-(2**127), -1)
    agree(arith.div_floor(num, den), lambda: exact.div_floor(num, den), fits)
    agree(arith.div_ceil(num, den), lambda: exact.div_ceil(num, den), fits)
    if not fits:
        assert arith.div_floor(num, den) is arith.div_ceil(num, den) is None


@given(any_size, powers)
@example(-1, -39)
@example(1, -39)
@example(-1, -38)
@example(-(2**127), -38)
@example(2**127 - 1, -38)
@example(1, 38)
@example(2, 38)
@example(0, 10**6)
def test_powers_of_ten(value, power):
    """Floor and ceil of value * 10**power for any power, tiny answers included."""
    fits = value in I128 and (power < 0 or value == 0 or (power <= 38 and value * 10**power in I128))
    agree(arith.mul_pow10_floor(value, power), lambda: exact.mul_pow10_floor(value, max(power, -200)), fits)
    agree(arith.mul_pow10_ceil(value, power), lambda: exact.mul_pow10_ceil(value, max(power, -200)), fits)


@given(any_size, any_size, st.booleans())
@example(-(2**127), 3, False)
@example(2**127 - 1, 2, True)
@example(5, 0, True)
@example(5, -1, False)
def test_round_to_multiple(value, multiple, round_up):
    """Nearest multiple on the asked side; a multiple below one is the chain's to refuse."""
    if multiple <= 0:
        assert arith.round_to_multiple(value, multiple, round_up) is None
        return
    expected = exact.round_to_multiple(value, multiple, round_up)
    fits = value in I128 and multiple in I128 and expected in I128
    agree(arith.round_to_multiple(value, multiple, round_up), lambda: expected, fits)


@given(any_size, st.integers(-20, 20), uint64, st.integers(-20, 20))
@example(2**127 - 1, -6, 1, 0)
@example(-(2**127) + 1, -6, 1, 0)
@example(-1, -6, 2**64 - 1, -20)
def test_notional_and_the_size_it_buys(amount, resolution, price, exponent):
    """Both directions truncate once toward zero; a price of zero is the chain's panic."""
    power = exponent + resolution + 6
    product = abs(amount) * price
    value = exact.base_to_quote_quantums_trunc(amount, resolution, price, exponent)
    agree(
        arith.base_to_quote_quantums_trunc(amount, resolution, price, exponent),
        lambda: value,
        amount in I128 and product < U128 and (power <= 38 or not product) and abs(value) < 2**127,
    )
    size = arith.quote_to_base_quantums_trunc(amount, resolution, price, exponent)
    if price == 0:
        assert size is None
        return
    agree(
        size,
        lambda: exact.quote_to_base_quantums_trunc(amount, resolution, price, exponent),
        amount in I128 and abs(amount) * 10 ** max(-power, 0) < 2**127 and power >= -38,
    )


@given(uint64, uint64, st.integers(-45, 45))
@example(2**64 - 1, 2**64 - 1, 0)
@example(2**64 - 1, 2**64 - 1, 1)
def test_cost_of_a_fill(subticks, quantums, power):
    """Floor of subticks * base quantums * 10**exponent."""
    expected = exact.fill_amount_to_quote_quantums_floor(subticks, quantums, power)
    agree(
        arith.fill_amount_to_quote_quantums_floor(subticks, quantums, power),
        lambda: expected,
        expected < U128 and (power <= 38 or expected == 0),
    )


@given(any_size, any_size, any_size)
@example(2**127 - 1, 2**127 - 1, 2**127 - 1)
@example(-(2**127), -(2**127), 2**127 - 1)
@example(2**126, 2, 2)
@example(-(2**126), 6, 4)
@example(2**100, -(2**100) - 1, 2**100)
@example(-(2**127), 1, 1)
def test_share_of_a_product_past_128_bits(a, b, den):
    """Floor of a * b / den with the product in 256 bits."""
    if den <= 0:
        assert arith.mul_div_floor(a, b, den) is None
        return
    expected = a * b // den
    fits = a in I128 and b in I128 and den in I128 and abs(expected) < 2**127 - 1
    agree(arith.mul_div_floor(a, b, den), lambda: expected, fits)


@given(magnitudes, magnitudes)
@example(U256 - 1, 1)
@example(U256 - 1, U256 - 1)
@example(U256 - 2, U256 - 1)
@example(U256 - 1, 2**255)
@example(2**255, 2**128 + 1)
@example(2**128, 2**128 - 1)
@example(2**128 - 1, 2**128)
@example((2**128 - 1) * (2**128 - 1), 2**128 - 1)
@example(0, 1)
@example(1, 0)
@example(U256, 1)
def test_division_of_256_bits(num, den):
    """Quotient and remainder of any two magnitudes; zero as divisor is declined."""
    expected = divmod(num, den) if 0 < den < U256 and num < U256 else None
    assert arith.divmod_256(num, den) == expected


@given(magnitudes, magnitudes)
@example(U256 - 1, 1)
@example(U256 - 2, 1)
@example(2**128 - 1, 1)
@example(2**128, 1)
@example(2**128 - 1, 2**128 - 1)
@example(2**255, 2**255)
@example(5, 7)
@example(2**128, 2**128 - 1)
def test_sum_difference_and_order_of_256_bits(a, b):
    """Carry and borrow go through the middle; what does not fit is told."""
    if a >= U256 or b >= U256:
        assert arith.sum_difference_order_256(a, b) is None
        return
    total = a + b if a + b < U256 else None
    difference = a - b if a >= b else None
    assert arith.sum_difference_order_256(a, b) == (total, difference, (a > b) - (a < b))


@given(magnitudes, magnitudes)
@example(U256 - 1, 1)
@example(2**128 + 1, 2**128 - 1)
@example(2**129, 2**127)
@example(2**129, 2**127 - 1)
@example(2**128 - 1, 2**128 - 1)
@example(0, 2**128 - 1)
def test_product_of_256_bits(a, b):
    """Declined exactly where the product passes 256 bits."""
    fits = a < U256 and b < U128 and a * b < U256
    assert arith.mul_256(a, b) == (a * b if fits else None)


@pytest.mark.parametrize(
    "call",
    [
        lambda: arith.mul_ppm_floor(1.5, 1),
        lambda: arith.div_floor("1", 2),
        lambda: arith.mul_pow10_ceil(None, 0),
        lambda: arith.mul_pow10_floor(1, 0.5),
        lambda: arith.base_to_quote_quantums_trunc(1, 0, 1.0, 0),
    ],
)
def test_what_is_no_integer_is_never_answered(call):
    """A float or a text does not become an integer on the way."""
    with pytest.raises(TypeError):
        call()
