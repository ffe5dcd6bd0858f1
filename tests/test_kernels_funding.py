"""Funding kernels equal the plain integers: settlement, votes, samples, rates, index and forecasts."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dydx_perf.errors import ChainError, InputError
from dydx_perf.exact import arith
from dydx_perf.exact import funding as exact
from dydx_perf.exact.arith import MAX_INT32, MAX_INT64, MIN_INT32, MIN_INT64
from dydx_perf.exact.state import Perpetual
from dydx_perf.ext import funding

MILLION = 10**6
BTC = Perpetual(0, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0, default_funding_ppm=100)
INT64 = range(MIN_INT64, MAX_INT64 + 1)

any_size = st.one_of(
    st.integers(-(2**70), 2**70), st.integers(MIN_INT64, MAX_INT64), st.sampled_from([MIN_INT64, MAX_INT64])
)
int32 = st.one_of(
    st.integers(-1000, 1000), st.integers(MIN_INT32, MAX_INT32), st.sampled_from([MIN_INT32, MAX_INT32, 0])
)
premiums = st.lists(int32, max_size=70)
paddings = st.sampled_from([0, 1, 2, 15, 60, 61])


def padded(values, at_least: int) -> list[int]:
    return [*values, *([0] * (at_least - len(values)))]


def outcome(model, *arguments):
    """What the model answers; None where the chain fails."""
    try:
        return model(*arguments)
    except ChainError:
        return None


# --- settlement


@given(any_size, any_size, any_size)
@example(MIN_INT64, MAX_INT64, 0)
@example(1, MIN_INT64, 0)
@example(MAX_INT64, MAX_INT64, MAX_INT64)
@example(1, 1, 0)
@example(-1, 1, 0)
def test_settlement_of_a_position(quantums, own, current):
    """Exact ppm, floored quote quantums; declined exactly where an input or the difference passes int64."""
    ppm = exact.settlement_ppm(quantums, own, current)
    fits = all(value in INT64 for value in (quantums, own, current, own - current))
    expected = (ppm, exact.settlement_floor(ppm)) if fits else None
    assert funding.settle_position(quantums, own, current) == expected


@given(st.lists(st.tuples(*[st.integers(-(2**61), 2**61)] * 3), max_size=8))
@example([(1, 999_999, 0), (1, 2, 0)])
@example([(1, -1, 0), (1, -999_999, 0)])
def test_settlement_of_an_account_is_floored_once(positions):
    """The sum first, then one floor: not the sum of floors."""
    total = sum(exact.settlement_ppm(*position) for position in positions)
    expected = exact.settlement_floor(total)
    answer = funding.settle_account(positions)
    assert answer == expected or (answer is None and abs(total) >= 2**127)
    assert funding.settle_account([*positions, (2**63, 0, 0)]) is None


# --- votes and samples


@given(premiums, paddings)
@example([], 0)
@example([], 1)
@example([MAX_INT32] * 2, 0)
@example([MIN_INT32] * 2, 0)
@example([MIN_INT32, MAX_INT32], 0)
@example([1, 2], 0)
@example([-1, -2], 0)
@example([1], 2)
@example([-1], 2)
@example([5, 5, 5, 7], 0)
@example([-1, 0], 0)
def test_median_and_mean_with_padding(values, at_least):
    """An even count away from zero, the mean toward zero; nothing at all is the chain's panic."""
    full = padded(values, at_least)
    assert funding.median(values, at_least) == outcome(arith.median_int32, full)
    assert funding.mean(values, at_least) == outcome(arith.mean_int32_trunc, full)
    array = np.array(values, dtype=np.int32)
    assert funding.median(array, at_least) == outcome(arith.median_int32, full)


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1])
def test_a_premium_past_int32_is_declined(value):
    """The chain has no such vote."""
    assert funding.median([value]) is None
    assert funding.mean([value]) is None
    assert funding.indexer_next_rate([value], 0) is None
    assert funding.rate_ppm(BTC, [value], 60, MILLION) is None


# --- rate and index


factors = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 6 * MILLION, 60 * MILLION]))
fractions = st.one_of(st.integers(0, MILLION + 1), st.integers(0, 2**32 - 1), st.just(MILLION))


@given(factors, fractions, fractions)
@example(2**32 - 1, 2**32 - 1, 0)
@example(2**32 - 1, 2**32 - 1, MILLION)
@example(MILLION, 3, 333_333)
@example(1, 1, MILLION + 1)
def test_clamp(factor, initial, fraction):
    """Two floors; a fraction past 100 % is the chain's panic."""
    expected = outcome(exact.max_abs_funding_clamp_ppm, factor, initial, fraction)
    assert funding.clamp_ppm(factor, initial, fraction) == expected


@given(premiums, paddings, int32, factors, fractions, fractions)
@example([MAX_INT32] * 60, 60, MAX_INT32, 2**32 - 1, 2**32 - 1, 0)
@example([MIN_INT32] * 60, 60, MIN_INT32, 2**32 - 1, 2**32 - 1, 0)
@example([72_001], 1, 0, 6 * MILLION, 30_000, 600_000)
@example([71_900], 1, 100, 6 * MILLION, 30_000, 600_000)
@example([-72_001], 1, 0, 6 * MILLION, 30_000, 600_000)
def test_rate_of_the_samples(samples, at_least, default, factor, initial, fraction):
    """Mean, default, clamp; above int32 the chain stops, below it the reported rate wraps."""
    perpetual = replace(
        BTC, initial_margin_ppm=initial, maintenance_fraction_ppm=fraction, default_funding_ppm=default
    )
    rate = funding.rate_ppm(perpetual, samples, at_least, factor)
    full = padded(samples, at_least)
    assert rate == outcome(exact.funding_rate_ppm, perpetual, full, factor)
    if rate is not None:
        assert funding.reported_rate_ppm(rate) == exact.wrap_int32(rate)


@given(any_size)
@example(-(2**31) - 1)
@example(-(2**32))
def test_reported_rate_wraps(rate):
    """As an int32 does."""
    assert funding.reported_rate_ppm(rate) == (exact.wrap_int32(rate) if rate in INT64 else None)


@given(
    st.one_of(int32, st.integers(MIN_INT64, MAX_INT64)),
    st.integers(0, 2**64 - 1),
    st.integers(-40, 40),
    st.one_of(st.sampled_from([0, 1, 3600]), st.integers(0, 2**32 - 1)),
)
@example(-1, 1, -4, 28_799)
@example(-1, 1, -4, 28_800)
@example(MIN_INT32, 2**64 - 1, -4, 3600)
def test_growth_of_the_index(rate, price, exponent, seconds):
    """Toward zero; declined only where a product passes 128 bits."""
    perpetual = replace(BTC, atomic_resolution=0, price=price, exponent=exponent)
    expected = exact.funding_index_delta(perpetual, rate, seconds)
    answer = funding.index_delta(perpetual, rate, seconds)
    product = abs(rate * seconds) * price
    if answer is None:
        assert product * 10 ** max(exponent + 6, 0) >= 2**127
    else:
        assert answer == expected


# --- forecasts


@given(st.lists(int32, min_size=1, max_size=70), int32)
@example([1, 1, 2], 100)
@example([MIN_INT32] * 3, MIN_INT32)
def test_the_indexers_forecast_is_an_exact_fraction(samples, default):
    """Mean of the samples so far plus the default, an eighth of it, in lowest terms."""
    expected = (Fraction(sum(samples), len(samples)) + default) / 8 / MILLION
    assert funding.indexer_next_rate(samples, default) == expected.as_integer_ratio()


def test_the_indexer_has_no_forecast_without_samples():
    """There is no mean of nothing."""
    assert funding.indexer_next_rate([], 100) is None


def test_both_forecasts_of_a_running_hour():
    """After 15 of 60 samples of 400 ppm: the chain would charge 100 + 100 now, the indexer shows 500."""
    samples = [400] * 15
    assert funding.rate_ppm(BTC, samples, 60, 6 * MILLION) == 200
    assert funding.indexer_next_rate(samples, 100) == Fraction(500, 8 * MILLION).as_integer_ratio()


# --- all markets at once


matrices = arrays.arrays(
    np.int32, st.tuples(st.integers(0, 5), st.integers(0, 20)), elements=st.integers(MIN_INT32, MAX_INT32)
)


@given(matrices, paddings)
@example(np.zeros((2, 0), dtype=np.int32), 0)
@example(np.zeros((0, 3), dtype=np.int32), 15)
@example(np.array([[1, 2], [-1, -2]], dtype=np.int32), 0)
def test_samples_of_all_markets(votes, at_least):
    """Each row's median; no votes and no padding is refused."""
    if max(votes.shape[1], at_least) == 0:
        with pytest.raises(InputError, match="at least one vote"):
            funding.samples_from_votes(votes, at_least)
        return
    samples = funding.samples_from_votes(votes, at_least)
    assert samples.dtype == np.int32
    assert samples.tolist() == [arith.median_int32(padded(row, at_least)) for row in votes.tolist()]


@given(matrices, paddings, st.data())
def test_rates_of_all_markets(samples, at_least, data):
    """Each row's rate; the rows that the chain refuses are named and stand as zero."""
    markets = len(samples)

    def column(elements):
        return data.draw(st.lists(elements, min_size=markets, max_size=markets))

    defaults, initials, shares = column(int32), column(fractions), column(fractions)
    factor = data.draw(factors)
    columns = (
        np.array(defaults, dtype=np.int32),
        np.array(initials, dtype=np.uint32),
        np.array(shares, dtype=np.uint32),
    )
    if max(samples.shape[1], at_least) == 0:
        with pytest.raises(InputError, match="at least one sample"):
            funding.rates_from_samples(samples, at_least, *columns, factor)
        return
    expected = [
        outcome(
            exact.funding_rate_ppm,
            replace(
                BTC, default_funding_ppm=default, initial_margin_ppm=initial, maintenance_fraction_ppm=share
            ),
            padded(row, at_least),
            factor,
        )
        for row, default, initial, share in zip(samples.tolist(), defaults, initials, shares, strict=True)
    ]
    rates, unfit = funding.rates_from_samples(samples, at_least, *columns, factor)
    assert unfit == [place for place, rate in enumerate(expected) if rate is None]
    assert rates.tolist() == [rate or 0 for rate in expected]


@given(
    st.lists(
        st.tuples(
            st.one_of(int32, st.integers(MIN_INT64, MAX_INT64)),
            st.integers(0, 2**64 - 1),
            st.integers(-40, 40),
        ),
        max_size=6,
    ),
    st.sampled_from([0, 1, 3600, 2**32 - 1]),
)
def test_index_deltas_of_all_markets(rows, seconds):
    """Each row's growth; what does not fit int64 is named and stands as zero."""
    expected = [
        exact.funding_index_delta(
            replace(BTC, atomic_resolution=-6, price=price, exponent=power), rate, seconds
        )
        for rate, price, power in rows
    ]
    deltas, unfit = funding.index_deltas(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.uint64),
        np.array([row[2] for row in rows], dtype=np.int32),
        seconds,
    )
    for place, delta in enumerate(expected):
        if place in unfit:
            rate, price, power = rows[place]
            too_wide = abs(rate * seconds) * price * 10 ** max(power, 0) >= 2**127
            assert deltas[place] == 0
            assert delta not in INT64 or too_wide
        else:
            assert deltas[place] == delta


@given(matrices, st.data())
def test_the_indexers_forecast_of_all_markets(samples, data):
    """Each row's exact fraction, over one denominator."""
    defaults = data.draw(st.lists(int32, min_size=len(samples), max_size=len(samples)))
    column = np.array(defaults, dtype=np.int32)
    if samples.shape[1] == 0:
        with pytest.raises(InputError, match="at least one sample"):
            funding.indexer_next_rates(samples, column)
        return
    numerators, denominator = funding.indexer_next_rates(samples, column)
    for numerator, row, default in zip(numerators.tolist(), samples.tolist(), defaults, strict=True):
        assert Fraction(numerator, denominator) == (Fraction(sum(row), len(row)) + default) / 8 / MILLION


VOTES = np.zeros((2, 3), dtype=np.int32)
ONE = np.zeros(2, dtype=np.int32)
U32 = np.zeros(2, dtype=np.uint32)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("votes", lambda: funding.samples_from_votes([[1]], 0)),
        ("votes", lambda: funding.samples_from_votes(VOTES.astype(np.int64), 0)),
        ("votes", lambda: funding.samples_from_votes(VOTES.astype(np.float64), 0)),
        ("votes", lambda: funding.samples_from_votes(VOTES[:, ::2], 0)),
        ("votes", lambda: funding.samples_from_votes(VOTES[0], 0)),
        ("votes", lambda: funding.samples_from_votes(None, 0)),
        ("min_num_votes_per_sample", lambda: funding.samples_from_votes(VOTES, -1)),
        ("min_num_votes_per_sample", lambda: funding.samples_from_votes(VOTES, 2**40)),
        ("min_num_votes_per_sample", lambda: funding.samples_from_votes(VOTES, 1.5)),
        ("samples_per_tick", lambda: funding.rates_from_samples(VOTES, True, ONE, U32, U32, 1)),
        ("default_funding_ppm", lambda: funding.rates_from_samples(VOTES, 60, ONE[:1], U32, U32, 1)),
        ("initial_margin_ppm", lambda: funding.rates_from_samples(VOTES, 60, ONE, ONE, U32, 1)),
        ("maintenance_fraction_ppm", lambda: funding.rates_from_samples(VOTES, 60, ONE, U32, U32[:1], 1)),
        ("funding_rate_clamp_factor_ppm", lambda: funding.rates_from_samples(VOTES, 60, ONE, U32, U32, -1)),
        ("rate_ppm", lambda: funding.index_deltas(ONE, np.zeros(2, np.uint64), ONE, 1)),
        ("price", lambda: funding.index_deltas(np.zeros(2, np.int64), ONE, ONE, 1)),
        ("seconds", lambda: funding.index_deltas(np.zeros(2, np.int64), np.zeros(2, np.uint64), ONE, 2**32)),
        ("samples", lambda: funding.indexer_next_rates(VOTES[0], ONE)),
        ("default_funding_ppm", lambda: funding.indexer_next_rates(VOTES, None)),
    ],
)
def test_a_wrong_array_is_refused_by_name(argument, call):
    """Wrong type, shape, order or length: the error names the argument."""
    with pytest.raises(InputError) as refused:
        call()
    assert refused.value.argument == argument
