"""Columns of positions for Cython callers: the structs and one path per instruction set, no GIL needed.

Nothing is checked here: lengths, market indexes and divisors are the caller's to check
(`first_unlisted_market`, `first_bad_divisor`), and no out array may overlap another array. Each function
works on rows [row, end) and returns the first row whose answer does not fit int64 (its outputs are 0; go on
with the next), or end.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef extern from "dydx_perf/ext/simd.h" nogil:
    ctypedef struct funding_columns_t:
        const int64_t *quantums               # base quantums, long > 0
        const int64_t *funding_index          # of the position when last settled
        const uint32_t *market                # below 2**31
        const int64_t *current_funding_index  # per market
        int64_t *payment                      # out: quote quantums, paid by the position > 0

    ctypedef struct pnl_columns_t:
        const int64_t *quantums       # base quantums, long > 0
        const int64_t *entry_price    # in the unit of oracle_price
        const uint32_t *market        # below 2**31
        const uint64_t *oracle_price  # per market
        const uint64_t *divisor       # per market, 1 .. 10**18
        int64_t *quotient             # out: quote quantums, rounded down
        int64_t *remainder            # out: 0 <= remainder < divisor

    ctypedef struct margin_market_t:
        uint64_t oracle_price                # times 10**power where that power is positive
        uint64_t divisor                     # 1 .. 10**18
        uint32_t initial_margin_ppm          # the tier's own
        uint32_t scaled_initial_margin_ppm   # by open interest
        uint32_t maintenance_fraction_ppm
        uint32_t zero                        # must be 0

    ctypedef struct margin_columns_t:
        const int64_t *quantums              # base quantums, long > 0
        const uint32_t *market
        const margin_market_t *markets
        int64_t *net_notional                # out: quote quantums, sign of quantums
        int64_t *initial_margin              # out: quote quantums
        int64_t *maintenance_margin          # out: quote quantums

    ctypedef struct columns_path_t:
        const char *name
        size_t (*funding_payments)(const funding_columns_t *columns, size_t row, size_t end) noexcept nogil
        size_t (*unrealized_pnl)(const pnl_columns_t *columns, size_t row, size_t end) noexcept nogil
        size_t (*margin_requirements)(const margin_columns_t *columns, size_t row, size_t end) noexcept nogil

    enum:
        COLUMNS_MAX_PATHS
    const uint64_t COLUMNS_MAX_DIVISOR

    int columns_paths(columns_path_t *paths) noexcept  # this processor's, fastest first; returns how many
    size_t first_unlisted_market(const uint32_t *market, size_t rows, size_t markets) noexcept
    size_t first_bad_divisor(const uint64_t *divisor, size_t markets) noexcept
