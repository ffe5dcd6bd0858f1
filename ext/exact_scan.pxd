# The exact scan (exact_scan.h), and a market as it reads it.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from dydx_perf.ext.columns cimport margin_market_t
from dydx_perf.ext.structs cimport market_t


cdef extern from "dydx_perf/ext/exact_scan.h" nogil:
    ctypedef struct exact_side_t:            # one side of a market, for vectors
        double worth                         # nominates an integer; the remainder, in integers, decides

    ctypedef struct exact_plain_side_t:      # the same for plain C
        double worth                         # nominates

    ctypedef struct exact_columns_t:
        const int64_t *amount                # per slot
        const uint16_t *side                 # per slot: 2 * market, + 1 for a short
        const exact_side_t *sides            # two for each market
        const exact_plain_side_t *plain_sides

    ctypedef struct exact_out_t:
        int64_t *nc                          # eight a slice
        int64_t *imr
        int64_t *mmr
        uint8_t *slow                        # per slice: lanes that 128-bit integers must compute

    ctypedef void (*exact_scan_t)(
        const exact_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, const exact_out_t *out
    ) noexcept

    ctypedef struct exact_path_t:
        const char *name
        exact_scan_t scan

    const int EXACT_MAX_PATHS
    int exact_paths(exact_path_t *paths)     # this processor's, fastest first; returns how many
    void exact_sides(const margin_market_t *market, exact_side_t *sides, exact_plain_side_t *plain)


cdef inline void place_sides(const market_t *market, exact_side_t *sides, exact_plain_side_t *plain) noexcept nogil:
    """Both sides of a market; every lane that holds one that is not prepared will be slow."""
    cdef margin_market_t margin
    margin.oracle_price = market.multiplier
    margin.divisor = market.divisor
    margin.initial_margin_ppm = market.initial_margin_ppm
    margin.scaled_initial_margin_ppm = market.scaled_initial_margin_ppm
    margin.maintenance_fraction_ppm = market.maintenance_fraction_ppm
    margin.zero = 0
    if not market.in_range or market.fast_quantums < 0:
        margin.divisor = 0
    exact_sides(&margin, sides, plain)
