"""The kernels at edges that random examples seldom meet: each was found by `make mutate`.

Expectations come from the plain integers, but for which cases a kernel answers itself.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from dydx_perf.exact import arith as exact_arith
from dydx_perf.exact import margin as exact_margin
from dydx_perf.exact.state import AssetPosition, Perpetual, PerpetualPosition, RiskState, SubaccountState
from dydx_perf.ext import arith, funding, margin
from dydx_perf.ext.account import Account, MarketTable

MILLION = 10**6
LARGEST, SMALLEST = 2**127 - 1, -(2**127)
#: one quantum is worth one quote quantum
PAR = Perpetual(0, -6, 1, 0, 0, 0, 20_000, 600_000, 0, 0)

Position = tuple[int, int, int, int]  # quantums, own funding index, quote balance, custom_imf_ppm


def account(perpetual: Perpetual, usdc: int, positions: list[Position]) -> tuple[Account, SubaccountState]:
    """An account with each position in a market of its own, like `perpetual`, for both arithmetics."""
    table = MarketTable()
    rows = []
    for place, (quantums, funding_index, quote_balance, custom_imf_ppm) in enumerate(positions):
        index = table.add()
        table.set(
            index,
            perpetual_id=place,
            atomic_resolution=perpetual.atomic_resolution,
            exponent=perpetual.exponent,
            price=perpetual.price,
            funding_index=perpetual.funding_index,
            open_interest=perpetual.open_interest,
            initial_margin_ppm=perpetual.initial_margin_ppm,
            maintenance_fraction_ppm=perpetual.maintenance_fraction_ppm,
            open_interest_lower_cap=perpetual.open_interest_lower_cap,
            open_interest_upper_cap=perpetual.open_interest_upper_cap,
            height=7,
            basis=0,
        )
        rows.append((str(place), index, quantums, funding_index, quote_balance, custom_imf_ppm))
    made = Account(table)
    made.write(usdc, rows)
    state = SubaccountState(
        (AssetPosition(0, usdc),),
        tuple(
            PerpetualPosition(place, q, index, quote) for place, (q, index, quote, _) in enumerate(positions)
        ),
        {place: custom for place, (_, _, _, custom) in enumerate(positions)},
    )
    return made, state


def assert_same_risk(perpetual: Perpetual, usdc: int, positions: list[Position]) -> None:
    made, state = account(perpetual, usdc, positions)
    perpetuals = {place: replace(perpetual, perpetual_id=place) for place in range(len(positions))}
    expected = exact_margin.subaccount_risk(perpetuals, state)
    risk = made.evaluate()
    assert (risk.nc, risk.imr, risk.mmr) == (expected.nc, expected.imr, expected.mmr)


# ---- arithmetic


@pytest.mark.parametrize("power", [-40, -39, -38, -37, -1, 0, 1, 37, 38, 39, 40])
@pytest.mark.parametrize("value", [0, 1, -1, 5, -5, 10**38, -(10**38), LARGEST, SMALLEST])
def test_every_power_of_ten_of_128_bits(value: int, power: int) -> None:
    """A value of the range is answered, and one past it declined; 10**39 is past every one."""
    for kernel, model in (
        (arith.mul_pow10_floor, exact_arith.mul_pow10_floor),
        (arith.mul_pow10_ceil, exact_arith.mul_pow10_ceil),
    ):
        expected = model(value, power)
        answered = (expected == 0 or power <= 38) and SMALLEST <= expected <= LARGEST
        assert kernel(value, power) == (expected if answered else None)


@pytest.mark.parametrize("power", [-40, -39, -38, -1, 0, 1, 37, 38, 39, 1000])
@pytest.mark.parametrize(
    ("subticks", "quantums"), [(0, 1), (1, 1), (3, 3), (10**19, 10**19), (2**64 - 1, 2**64 - 1)]
)
def test_every_power_of_ten_of_a_fill(subticks: int, quantums: int, power: int) -> None:
    expected = exact_arith.fill_amount_to_quote_quantums_floor(subticks, quantums, power)
    answered = (expected == 0 or power <= 38) and expected < 2**128
    kernel = arith.fill_amount_to_quote_quantums_floor(subticks, quantums, power)
    assert kernel == (expected if answered else None)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_notional_keeps_its_sign_and_its_127_bits(sign: int) -> None:
    assert arith.base_to_quote_quantums_trunc(sign, -6, 7, 0) == 7 * sign
    assert arith.base_to_quote_quantums_trunc(sign * LARGEST, -6, 1, 0) == sign * LARGEST
    assert arith.base_to_quote_quantums_trunc(sign * LARGEST, -6, 1, -38) == sign
    assert arith.base_to_quote_quantums_trunc(sign * LARGEST, -6, 1, -39) == 0
    assert arith.base_to_quote_quantums_trunc(sign * 2**64, -6, 2**63, 0) is None  # 2**127 is one too many
    assert arith.quote_to_base_quantums_trunc(sign, -6, 1, 0) == sign
    assert arith.quote_to_base_quantums_trunc(sign * 2**64, -6, 1, -19) is None


def test_a_share_of_a_product_is_answered_to_the_last_bit() -> None:
    assert arith.mul_div_floor(SMALLEST, -1, 2) == 2**126
    assert arith.mul_div_floor(LARGEST - 1, 3, 3) == LARGEST - 1
    assert arith.mul_div_floor(1 - LARGEST, 3, 3) == 1 - LARGEST
    assert arith.mul_div_floor(2**126, 4, 1) is None
    assert arith.mul_div_floor(-(2**126), 4, 1) is None


def test_what_does_not_fit_its_type_is_declined() -> None:
    for value in (-1, 2**128, 2**129):
        assert arith.mul_256(5, value) is None
    assert arith.mul_256(5, 2**128 - 1) == 5 * (2**128 - 1)
    for value in (-1, 2**256):
        assert arith.divmod_256(value, 5) is None
        assert arith.divmod_256(5, value) is None
    for price in (-1, 2**64):
        assert arith.base_to_quote_quantums_trunc(1, -6, price, 0) is None
    for power in (10**6, -(10**6)):
        assert arith.mul_pow10_floor(0, power) == 0
    for power in (10**6 + 1, -(10**6) - 1):
        assert arith.mul_pow10_floor(0, power) is None
        assert arith.mul_pow10_floor(1, power) is None
    for default_ppm in (2**31, -(2**31) - 1, 2**32):
        assert funding.indexer_next_rate([1], default_ppm) is None
    for default_ppm in (2**31 - 1, -(2**31)):
        assert funding.indexer_next_rate([0], default_ppm) is not None


# ---- funding


def test_the_largest_rate_of_32_bits_is_the_last_one() -> None:
    """One more stops the chain."""
    perpetual = replace(PAR, initial_margin_ppm=MILLION, maintenance_fraction_ppm=0)
    for default_ppm, expected in ((-1, 2**31 - 2), (0, 2**31 - 1), (1, None)):
        at = replace(perpetual, default_funding_ppm=default_ppm)
        assert funding.rate_ppm(at, [2**31 - 1], 1, 2**32 - 1) == expected


def test_as_many_premiums_are_counted_as_64_bits_can_add() -> None:
    for count, expected in ((2**30 - 1, 0), (2**30, 0), (2**30 + 1, None)):
        assert funding.median([5], count) == expected
        assert funding.mean([5], count) == expected


# ---- the 64-bit path


@pytest.mark.parametrize("ppm", [0, 1, 2, 999_999, MILLION])
@pytest.mark.parametrize("value", [0, 1, 2**43 - 1, 2**43, 9 * 10**12 + 1, 9 * 10**12 + 999_999, 2**56])
def test_shares_of_values_around_2_to_the_43(value: int, ppm: int) -> None:
    """From 2**43 on a share is made of two parts; one ppm of one quantum is rounded up there, too."""
    perpetual = replace(PAR, initial_margin_ppm=ppm)
    risk = exact_margin.position_risk(perpetual, value)
    assert margin.position_risk(perpetual, value) == (risk.nc, risk.imr, risk.mmr)


@pytest.mark.parametrize("custom_imf_ppm", [2**21 - 1, 2**21, 2**21 + 1, 2**22 - 1, 2**22, 2**32 - 1])
@pytest.mark.parametrize("value", [1, 2**42, 2**43 - 1, 2**43, 2**55, 2**56 - 1, 2**56, 2**56 + 1])
def test_chosen_fractions_around_2_to_the_21(value: int, custom_imf_ppm: int) -> None:
    """A fraction past 2**21 would pass 64 bits with a value of 43."""
    risk = exact_margin.position_risk(PAR, value, 0, custom_imf_ppm)
    assert margin.position_risk(PAR, value, 0, custom_imf_ppm) == (risk.nc, risk.imr, risk.mmr)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 129])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("perpetual", "size"),
    [
        (PAR, 2**56 - 1),
        (PAR, 2**56),
        (PAR, 2**57 - 1),
        (PAR, 2**57),
        # 31 / 1000 is just below 2**-5: the largest size of this market lies between 2**61 and 2**62
        (replace(PAR, price=31, exponent=-3), 2**62),
        (replace(PAR, price=31, exponent=-3), 2**61),
    ],
)
def test_sums_of_many_large_positions(perpetual: Perpetual, size: int, sign: int, count: int) -> None:
    """At most 64 values of at most 2**56, and margins of 2.1 times that, are added in 64 bits."""
    assert_same_risk(perpetual, 0, [(sign * size, 0, 0, 2**21)] * count)


# ---- settlement


@pytest.mark.parametrize("ppm", [-MILLION - 1, -MILLION, -1, 0, 1, MILLION - 1, MILLION, MILLION + 1])
def test_the_sum_of_all_settlements_is_floored_once(ppm: int) -> None:
    """Exactly at a whole quantum, and one millionth of it on either side."""
    assert_same_risk(PAR, 0, [(1, ppm, 0, 0)])
    assert_same_risk(PAR, 0, [(1, ppm - 3, 0, 0), (3, 1, 0, 0)])


# ---- the order of two risks


def test_the_order_of_small_risks() -> None:
    """Every pair of small ones, 0 and -1 among them: their products are what is compared."""
    risks = [RiskState(nc, 0, mmr) for nc in (-2, -1, 0, 1, 2, 10) for mmr in (0, 1, 2, 10)]
    for a in risks:
        for b in risks:
            assert margin.risk_order(a, b) == exact_margin.compare_risk(a, b)
