# From premium votes to samples, from samples to a rate, from a rate to the index, and forecasts of the next
# rate.
# Source: x/perpetuals/keeper/perpetual.go, x/perpetuals/funding, x/perpetuals/types/liquidity_tier.go and
# lib/math.go of the chain; the indexer's nextFundingRate.  Rates and premiums are ppm for 8 hours.  Contents:
#
#   max_abs_funding_clamp_ppm     bound of a rate or of a vote
#   median_int32                  of values and of as many zeros as were not stored; away from zero
#   sum_int32, mean_int32_trunc   the same for the mean
#   funding_rate                  default added, clamped; not yet wrapped
#   wrap_int32                    how the chain reports a rate below the int32 range
#   funding_index_delta           growth of the index
#   indexer_rate_numerator        of the indexer's forecast for one hour

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from dydx_perf.ext.arith cimport base_to_quote_trunc
from dydx_perf.ext.fixed cimport div_trunc, i128, million_floor, mul_i64, mul_ppm_floor
from dydx_perf.ext.structs cimport (
    MAX_TIER_PPM,
    STATUS_DIVISION_BY_ZERO,
    STATUS_OK,
    STATUS_OUT_OF_RANGE,
    status_t,
)

cdef enum:
    EIGHT_HOURS_IN_SECONDS = 28800
    MAX_RATE_PPM = 2147483647  # a larger rate stops the chain
    # More values than this are refused, so that no sum of theirs can pass 64 bits.
    MAX_PREMIUMS = 1 << 30


cdef inline status_t max_abs_funding_clamp_ppm(
    uint32_t clamp_factor_ppm, uint32_t initial_margin_ppm, uint32_t maintenance_fraction_ppm, int64_t *out
) noexcept nogil:
    """floor(factor * (initial - floor(initial * fraction))); a fraction past 100 % stops the chain."""
    cdef i128 maintenance = 0
    cdef i128 bound = 0
    if maintenance_fraction_ppm > MAX_TIER_PPM:
        return STATUS_OUT_OF_RANGE
    maintenance = million_floor(mul_i64(initial_margin_ppm, maintenance_fraction_ppm))
    # below 2**32 * 2**32: fits
    if mul_ppm_floor(initial_margin_ppm - maintenance, clamp_factor_ppm, &bound):
        return STATUS_OUT_OF_RANGE
    out[0] = <int64_t>bound
    return STATUS_OK


cdef inline size_t count_at_most(
    const int32_t *values, size_t count, size_t zeros, int64_t bound
) noexcept nogil:
    """How many of `values` and of `zeros` zeros are at most `bound`."""
    cdef size_t found = zeros if bound >= 0 else 0
    cdef int32_t limit = <int32_t>bound
    cdef size_t i
    for i in range(count):
        found = found + <size_t>(values[i] <= limit)
    return found


cdef inline int64_t smallest_int32(
    const int32_t *values, size_t count, size_t zeros, size_t place
) noexcept nogil:
    """Value in `place` (from 0) of the ascending order, by bisection over values: nothing is moved."""
    cdef int64_t low = 0 if zeros else values[0]
    cdef int64_t high = low
    cdef int64_t middle = 0
    cdef size_t i
    for i in range(count):
        if values[i] < low:
            low = values[i]
        if values[i] > high:
            high = values[i]
    while low < high:
        middle = (low + high) >> 1  # floor, for either sign
        if count_at_most(values, count, zeros, middle) > place:
            high = middle
        else:
            low = middle + 1
    return low


cdef inline status_t median_int32(
    const int32_t *values, size_t count, size_t zeros, int32_t *out
) noexcept nogil:
    """Middle of `values` and `zeros` zeros; of an even count the mean of two, rounded away from zero."""
    cdef size_t total = count + zeros
    cdef int64_t middle = 0
    if count > <size_t>MAX_PREMIUMS or zeros > <size_t>MAX_PREMIUMS:
        return STATUS_OUT_OF_RANGE
    if total == 0:
        return STATUS_DIVISION_BY_ZERO
    middle = smallest_int32(values, count, zeros, total >> 1)
    if total & 1 == 0:
        middle = middle + smallest_int32(values, count, zeros, (total >> 1) - 1)
        middle = (middle + 1) >> 1 if middle > 0 else middle >> 1
    out[0] = <int32_t>middle
    return STATUS_OK


cdef inline status_t sum_int32(const int32_t *values, size_t count, int64_t *out) noexcept nogil:
    """Exact sum."""
    cdef int64_t total = 0
    cdef size_t i
    if count > <size_t>MAX_PREMIUMS:
        return STATUS_OUT_OF_RANGE
    for i in range(count):
        total = total + values[i]
    out[0] = total
    return STATUS_OK


cdef inline status_t mean_int32_trunc(
    const int32_t *values, size_t count, size_t zeros, int32_t *out
) noexcept nogil:
    """Mean of `values` and `zeros` zeros, toward zero."""
    cdef int64_t total = 0
    if zeros > <size_t>MAX_PREMIUMS or sum_int32(values, count, &total) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if count + zeros == 0:
        return STATUS_DIVISION_BY_ZERO
    out[0] = <int32_t>div_trunc(total, count + zeros)
    return STATUS_OK


cdef inline status_t funding_rate(
    int32_t mean_ppm, int32_t default_funding_ppm, int64_t max_abs_ppm, int64_t *out
) noexcept nogil:
    """mean + default, clamped to +- max_abs_ppm; past the int32 range upward it stops the chain."""
    cdef int64_t rate = <int64_t>mean_ppm + default_funding_ppm
    if rate < -max_abs_ppm:
        rate = -max_abs_ppm
    elif rate > max_abs_ppm:
        rate = max_abs_ppm
    out[0] = rate
    return STATUS_OUT_OF_RANGE if rate > MAX_RATE_PPM else STATUS_OK


cdef inline int32_t wrap_int32(int64_t rate_ppm) noexcept nogil:
    """The reported rate: wrapped around below -2**31, while the index uses the full value."""
    return <int32_t>(<uint32_t>rate_ppm)


cdef inline status_t funding_index_delta(
    int64_t rate_ppm, uint64_t price, int32_t power, uint32_t seconds, i128 *out
) noexcept nogil:
    """trunc(trunc(seconds * rate * price * 10**power) / 28800); power is exponent + atomic_resolution + 6."""
    cdef i128 quote = 0
    if base_to_quote_trunc(mul_i64(seconds, rate_ppm), price, power, &quote) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    out[0] = div_trunc(quote, EIGHT_HOURS_IN_SECONDS)
    return STATUS_OK


cdef inline status_t indexer_rate_numerator(
    const int32_t *values, size_t count, int32_t default_funding_ppm, int64_t *out
) noexcept nogil:
    """sum + count * default; over count * 8e6: mean of the samples so far, plus default, for one hour."""
    cdef int64_t total = 0
    if sum_int32(values, count, &total) != STATUS_OK:
        return STATUS_OUT_OF_RANGE
    if count == 0:
        return STATUS_DIVISION_BY_ZERO
    # each below 2**62 + 1
    out[0] = total + <int64_t>count * default_funding_ppm
    return STATUS_OK
