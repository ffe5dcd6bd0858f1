# What the kernels compute on.  Plain C structs of 64- and 32-bit integers; version 1 of the struct ABI.
#
# Units: base quantums signed (long > 0), quote quantums 1e-6 USDC, ppm parts per million, a price is an
# integer times 10**exponent USDC for one coin, a funding index is ppm of a quote quantum for each base quantum.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from dydx_perf.ext.fixed cimport i128

cdef enum:
    STRUCT_ABI_VERSION = 1
    # Larger fractions than these leave the 64-bit path; the chain itself refuses a tier past 100 %.
    MAX_TIER_PPM = 1000000
    MAX_FAST_PPM = 1 << 21

cdef enum status_t:
    STATUS_OK = 0
    STATUS_OUT_OF_RANGE = 1      # would not fit: plain Python integers take over
    STATUS_DIVISION_BY_ZERO = 2  # as on the chain

# A perpetual with its tier and its oracle price, prepared by margin.prepare_market.
# The first 64 bytes are all that a position within the 64-bit path reads.
cdef struct market_t:
    uint64_t multiplier                  # price * 10**max(power, 0)
    uint64_t divisor                     # 10**max(-power, 0)
    uint64_t whole                       # multiplier / divisor, toward zero
    uint64_t fraction                    # and what is left of it, times 2**64
    int64_t fast_quantums                # sizes up to this magnitude take the 64-bit path; -1: none does
    int64_t funding_index
    uint32_t initial_margin_ppm
    uint32_t maintenance_fraction_ppm
    uint32_t scaled_initial_margin_ppm   # by open interest
    uint32_t basis                       # 0 chain, 1 estimate, 2 sample
    int64_t height                       # block of the oldest input; -1: not known
    uint64_t price
    int64_t open_interest                # base quantums, long side
    uint64_t open_interest_lower_cap     # quote quantums
    uint64_t open_interest_upper_cap     # quote quantums; 0: no scaling
    int32_t power                        # exponent + atomic_resolution + 6
    int32_t exponent                     # of the oracle price
    uint32_t perpetual_id
    uint32_t in_range                    # 0: an input does not fit these fields, nothing here may be used

# A position of an account.
cdef struct position_t:
    int64_t quantums
    int64_t funding_index
    int64_t quote_balance                # quote quantums; counts as collateral
    uint32_t market                      # index into the table of markets
    uint32_t custom_imf_ppm              # the subaccount's own initial margin fraction; 0: none

# Quote quantums.
cdef struct risk_t:
    i128 nc
    i128 imr
    i128 mmr
