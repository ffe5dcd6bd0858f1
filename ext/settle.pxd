# Funding settlement of a position and of an account.
# Source: x/perpetuals/lib/lib.go and x/subaccounts/lib/updates.go of the chain.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t

from dydx_perf.ext.fixed cimport add, i128, million_floor, mul_i64, sub_i64
from dydx_perf.ext.structs cimport STATUS_OK, STATUS_OUT_OF_RANGE, market_t, position_t, status_t


cdef inline status_t settlement_ppm(
    int64_t quantums, int64_t position_index, int64_t perpetual_index, i128 *out
) noexcept nogil:
    """-(perpetual_index - position_index) * quantums, exact; ppm of a quote quantum."""
    cdef int64_t difference
    if sub_i64(position_index, perpetual_index, &difference):
        return STATUS_OUT_OF_RANGE
    out[0] = mul_i64(difference, quantums)
    return STATUS_OK


cdef inline i128 settlement_floor(i128 ppm) noexcept nogil:
    """ppm / 1e6 toward minus infinity: what is added to USDC, once for the sum over positions."""
    return million_floor(ppm)


cdef inline status_t account_settlement_floor(
    const market_t *markets, const position_t *positions, size_t count, i128 *out
) noexcept nogil:
    """Quote quantums that settling all positions adds to USDC: the sum first, one floor at the end."""
    cdef i128 total = 0
    cdef i128 ppm = 0
    cdef size_t i
    for i in range(count):
        if settlement_ppm(
            positions[i].quantums,
            positions[i].funding_index,
            markets[positions[i].market].funding_index,
            &ppm,
        ) != STATUS_OK or add(total, ppm, &total):
            return STATUS_OUT_OF_RANGE
    out[0] = settlement_floor(total)
    return STATUS_OK
