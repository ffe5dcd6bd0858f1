"""Python door of the funding kernels: single markets with Python ints, all markets at once with NumPy arrays.

The functions of single values return None where the kernels do not hold the case, or where the chain itself
stops; `dydx_perf.exact.funding` answers those. Rates and premiums are ppm for 8 hours.

The functions of arrays take C-contiguous arrays of exactly the dtype named. Where a row may not fit they
return, last, ``unfit``: the rows, ascending, that stand as 0 and that only plain integers hold (or at which
the chain stops). The GIL is released while they run: no other thread may write to the arrays meanwhile.
"""

from array import array
from math import gcd

import numpy

from dydx_perf.errors import InputError

from dydx_perf.ext.fixed cimport (
    add,
    fits_i64,
    i128_to_object,
    object_to_i32,
    object_to_i64,
    object_to_power,
    object_to_u32,
    object_to_u64,
)
from dydx_perf.ext.settle cimport settlement_floor, settlement_ppm

INDEXER_HOURS = 8
ONE_MILLION = 1_000_000


# ---- single values

cdef const int32_t[::1] int32_values(object values) except *:
    """The memory of an int32 array, or of a new one with the integers of a sequence."""
    return values if isinstance(values, numpy.ndarray) else array("i", values)


cdef const int32_t *first(const int32_t[::1] values) except? NULL:
    """Address of the first value; NULL when there is none."""
    return &values[0] if values.shape[0] else NULL


def settle_position(quantums, position_index, perpetual_index):
    """(ppm, USDC) that a position receives since its index: exact ppm, and floored quote quantums."""
    cdef int64_t size = 0
    cdef int64_t own = 0
    cdef int64_t current = 0
    cdef i128 ppm = 0
    if not (
        object_to_i64(quantums, &size)
        and object_to_i64(position_index, &own)
        and object_to_i64(perpetual_index, &current)
    ) or settlement_ppm(size, own, current, &ppm) != STATUS_OK:
        return None
    return i128_to_object(ppm), i128_to_object(settlement_floor(ppm))


def settle_account(positions):
    """Quote quantums that settling adds to USDC, of (quantums, own index, current index): floored once."""
    cdef int64_t size = 0
    cdef int64_t own = 0
    cdef int64_t current = 0
    cdef i128 ppm = 0
    cdef i128 total = 0
    for quantums, position_index, perpetual_index in positions:
        if not (
            object_to_i64(quantums, &size)
            and object_to_i64(position_index, &own)
            and object_to_i64(perpetual_index, &current)
        ) or settlement_ppm(size, own, current, &ppm) != STATUS_OK or add(total, ppm, &total):
            return None
    return i128_to_object(settlement_floor(total))


def clamp_ppm(clamp_factor_ppm, initial_margin_ppm, maintenance_fraction_ppm):
    """Largest magnitude of a rate (or vote), floored: the chain's GetMaxAbsFundingClampPpm."""
    cdef uint32_t factor = 0
    cdef uint32_t initial = 0
    cdef uint32_t fraction = 0
    cdef int64_t bound = 0
    if not (
        object_to_u32(clamp_factor_ppm, &factor)
        and object_to_u32(initial_margin_ppm, &initial)
        and object_to_u32(maintenance_fraction_ppm, &fraction)
    ) or max_abs_funding_clamp_ppm(factor, initial, fraction, &bound) != STATUS_OK:
        return None
    return bound


def index_delta(perpetual, funding_rate_ppm, seconds):
    """Growth of the index over `seconds` at an 8-hour rate, toward zero."""
    cdef int64_t rate = 0
    cdef uint64_t price = 0
    cdef int32_t power = 0
    cdef uint32_t duration = 0
    cdef i128 delta = 0
    if not (
        object_to_i64(funding_rate_ppm, &rate)
        and object_to_u64(perpetual.price, &price)
        and object_to_power(perpetual.exponent + perpetual.atomic_resolution + 6, &power)
        and object_to_u32(seconds, &duration)
    ) or funding_index_delta(rate, price, power, duration, &delta) != STATUS_OK:
        return None
    return i128_to_object(delta)


def median(values, at_least=0):
    """Median of int32 values padded with zeros to `at_least`; an even count rounds away from zero."""
    cdef const int32_t[::1] view
    cdef int32_t result = 0
    try:
        view = int32_values(values)
    except OverflowError:
        return None
    if not 0 <= at_least <= MAX_PREMIUMS:
        return None
    if median_int32(first(view), view.shape[0], max(at_least - len(view), 0), &result) != STATUS_OK:
        return None
    return result


def mean(values, at_least=0):
    """Mean of int32 values padded with zeros to `at_least`, toward zero."""
    cdef const int32_t[::1] view
    cdef int32_t result = 0
    try:
        view = int32_values(values)
    except OverflowError:
        return None
    if not 0 <= at_least <= MAX_PREMIUMS:
        return None
    if mean_int32_trunc(first(view), view.shape[0], max(at_least - len(view), 0), &result) != STATUS_OK:
        return None
    return result


def rate_ppm(perpetual, samples, samples_per_tick, funding_rate_clamp_factor_ppm):
    """8-hour rate that a tick makes of `samples`, missing ones counted as zero: mean, default added, clamped.

    With the samples so far it is the forecast of the running hour: what the chain would charge if no further
    sample differed from zero.
    """
    cdef int32_t default_ppm = 0
    cdef int64_t bound = 0
    cdef int64_t rate = 0
    average = mean(samples, samples_per_tick)
    limit = clamp_ppm(
        funding_rate_clamp_factor_ppm, perpetual.initial_margin_ppm, perpetual.maintenance_fraction_ppm)
    if average is None or limit is None or not object_to_i32(perpetual.default_funding_ppm, &default_ppm):
        return None
    bound = limit
    return rate if funding_rate(average, default_ppm, bound, &rate) == STATUS_OK else None


def reported_rate_ppm(rate):
    """The rate as the chain reports it: wrapped around below the int32 range."""
    cdef int64_t value = 0
    return wrap_int32(value) if object_to_i64(rate, &value) else None


def indexer_next_rate(samples, default_funding_ppm):
    """The indexer's nextFundingRate, for one hour, from the samples so far: an exact fraction (num, den).

    Mean of the samples that are there, plus the default, over 8. Nothing is padded, rounded or clamped.
    """
    cdef const int32_t[::1] view
    cdef int32_t default_ppm = 0
    cdef int64_t numerator = 0
    try:
        view = int32_values(samples)
    except OverflowError:
        return None
    if not object_to_i32(default_funding_ppm, &default_ppm):
        return None
    if indexer_rate_numerator(first(view), view.shape[0], default_ppm, &numerator) != STATUS_OK:
        return None
    num, den = int(numerator), len(view) * INDEXER_HOURS * ONE_MILLION
    divisor = gcd(num, den)
    return num // divisor, den // divisor


# ---- all markets at once

cdef object checked_array(str argument, object value, object dtype, tuple shape):
    """`value` when it is such an array; None in `shape` stands for any length."""
    dimensions = "one-dimensional" if len(shape) == 1 else "two-dimensional"
    wanted = f"a C-contiguous {dimensions} {numpy.dtype(dtype).name} array"
    if (
        not isinstance(value, numpy.ndarray)
        or value.dtype != dtype
        or value.ndim != len(shape)
        or not value.flags.c_contiguous
    ):
        raise InputError(argument, value, wanted)
    if any(length is not None and length != found for length, found in zip(shape, value.shape)):
        raise InputError(argument, value.shape, f"the shape {shape}: one row for each market")
    return value


cdef size_t checked_count(str argument, object value) except? 0:
    """`value` when so many premiums may be counted."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_PREMIUMS:
        raise InputError(argument, value, f"0 to {MAX_PREMIUMS}")
    return value


def samples_from_votes(votes, min_num_votes_per_sample):
    """Return the premium sample of each market: the median of its votes, zeros included.

    Of an even count the mean of the two middle ones, rounded away from zero.

    Parameters
    ----------
    votes : int32 array of shape (markets, votes)
        ppm; the votes of every block of the minute. The zeros that the chain leaves out of its store stand
        here.
    min_num_votes_per_sample : int
        With fewer votes than this, zeros are added.

    Returns
    -------
    int32 array, one per market

    Raises
    ------
    InputError
        Wrong dtype or shape, or no votes at all.
    """
    cdef const int32_t[:, ::1] view = checked_array("votes", votes, numpy.int32, (None, None))
    cdef size_t least = checked_count("min_num_votes_per_sample", min_num_votes_per_sample)
    cdef size_t count = view.shape[1]
    cdef size_t zeros = least - count if least > count else 0
    cdef int32_t[::1] out
    cdef Py_ssize_t market
    if count + zeros == 0:
        raise InputError("votes", votes, "at least one vote for each market")
    samples = numpy.zeros(view.shape[0], dtype=numpy.int32)
    out = samples
    with nogil:
        for market in range(view.shape[0]):
            median_int32(&view[market, 0] if count else NULL, count, zeros, &out[market])
    return samples


def rates_from_samples(
    samples, samples_per_tick, default_funding_ppm, initial_margin_ppm, maintenance_fraction_ppm,
    funding_rate_clamp_factor_ppm,
):
    """Return the 8-hour rate that a tick makes of each market's samples, missing ones counted as zero.

    ``clamp(trunc(mean) + default)``, as the index uses it (see `reported_rate_ppm`). With the samples so far
    it is the forecast of the running hour.

    Parameters
    ----------
    samples : int32 array of shape (markets, samples)
        ppm, the zeros included.
    samples_per_tick : int
        With fewer samples than this, zeros are added.
    default_funding_ppm : int32 array, one per market
    initial_margin_ppm, maintenance_fraction_ppm : uint32 arrays, one per market
        Of the tier; the rate's bound is made of them.
    funding_rate_clamp_factor_ppm : int

    Returns
    -------
    rate_ppm : int64 array
    unfit : list of int
        Markets whose rate the chain refuses: above 2**31 - 1, or a maintenance fraction past 100 %.

    Raises
    ------
    InputError
        Wrong dtype or shape, or no samples at all.
    """
    cdef const int32_t[:, ::1] view = checked_array("samples", samples, numpy.int32, (None, None))
    cdef tuple shape = (len(samples),)
    cdef const int32_t[::1] default_view = checked_array(
        "default_funding_ppm", default_funding_ppm, numpy.int32, shape)
    cdef const uint32_t[::1] initial = checked_array(
        "initial_margin_ppm", initial_margin_ppm, numpy.uint32, shape)
    cdef const uint32_t[::1] fraction = checked_array(
        "maintenance_fraction_ppm", maintenance_fraction_ppm, numpy.uint32, shape)
    cdef size_t least = checked_count("samples_per_tick", samples_per_tick)
    cdef size_t count = view.shape[1]
    cdef size_t zeros = least - count if least > count else 0
    cdef uint32_t factor = 0
    cdef int32_t average = 0
    cdef int64_t bound = 0
    cdef int64_t[::1] out
    cdef Py_ssize_t market
    if not object_to_u32(funding_rate_clamp_factor_ppm, &factor):
        raise InputError("funding_rate_clamp_factor_ppm", funding_rate_clamp_factor_ppm, "a uint32")
    if count + zeros == 0:
        raise InputError("samples", samples, "at least one sample for each market")
    rates = numpy.zeros(view.shape[0], dtype=numpy.int64)
    out = rates
    unfit = []
    for market in range(view.shape[0]):
        with nogil:
            mean_int32_trunc(&view[market, 0] if count else NULL, count, zeros, &average)
        if (
            max_abs_funding_clamp_ppm(factor, initial[market], fraction[market], &bound) != STATUS_OK
            or funding_rate(average, default_view[market], bound, &out[market]) != STATUS_OK
        ):
            out[market] = 0
            unfit.append(market)
    return rates, unfit


def index_deltas(rate_ppm, price, power, seconds):
    """Return the growth of each market's funding index over `seconds`.

    ``trunc(trunc(seconds * rate * price * 10**power) / 28800)``

    Parameters
    ----------
    rate_ppm : int64 array, one per market
    price : uint64 array, one per market
        Oracle price integer.
    power : int32 array, one per market
        exponent + atomic_resolution + 6.
    seconds : int
        Length of the funding epoch.

    Returns
    -------
    delta : int64 array
        ppm of a quote quantum for each base quantum.
    unfit : list of int
        Markets whose growth does not fit int64.

    Raises
    ------
    InputError
        Wrong dtype or shape.
    """
    cdef const int64_t[::1] rates = checked_array("rate_ppm", rate_ppm, numpy.int64, (None,))
    cdef tuple shape = (len(rate_ppm),)
    cdef const uint64_t[::1] prices = checked_array("price", price, numpy.uint64, shape)
    cdef const int32_t[::1] powers = checked_array("power", power, numpy.int32, shape)
    cdef uint32_t duration = 0
    cdef i128 delta = 0
    cdef int64_t[::1] out
    cdef Py_ssize_t market
    if not object_to_u32(seconds, &duration):
        raise InputError("seconds", seconds, "a uint32")
    deltas = numpy.zeros(rates.shape[0], dtype=numpy.int64)
    out = deltas
    unfit = []
    for market in range(rates.shape[0]):
        if (
            funding_index_delta(rates[market], prices[market], powers[market], duration, &delta) != STATUS_OK
            or not fits_i64(delta)
        ):
            unfit.append(market)
        else:
            out[market] = <int64_t>delta
    return deltas, unfit


def indexer_next_rates(samples, default_funding_ppm):
    """Return the indexer's nextFundingRate of each market, for one hour: exact fractions, one denominator.

    Parameters
    ----------
    samples : int32 array of shape (markets, samples)
        ppm, the samples of the hour so far, zeros included; at least one.
    default_funding_ppm : int32 array, one per market

    Returns
    -------
    numerator : int64 array
    denominator : int
        The rate is ``numerator / denominator``: mean plus default, over 8 hours, over a million.

    Raises
    ------
    InputError
        Wrong dtype or shape, or no samples yet.
    """
    cdef const int32_t[:, ::1] view = checked_array("samples", samples, numpy.int32, (None, None))
    cdef const int32_t[::1] default_view = checked_array(
        "default_funding_ppm", default_funding_ppm, numpy.int32, (len(samples),))
    cdef size_t count = view.shape[1]
    cdef int64_t[::1] out
    cdef Py_ssize_t market
    if count == 0 or count > <size_t>MAX_PREMIUMS:
        raise InputError("samples", samples, "at least one sample for each market")
    numerators = numpy.zeros(view.shape[0], dtype=numpy.int64)
    out = numerators
    with nogil:
        for market in range(view.shape[0]):
            indexer_rate_numerator(&view[market, 0], count, default_view[market], &out[market])
    return numerators, count * INDEXER_HOURS * ONE_MILLION
