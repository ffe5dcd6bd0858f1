"""Python door of the indexer's figures in exact integers; None where 128 bits do not hold the case.

`dydx_perf.exact.indexer` gives the same as Decimals of any size.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint32_t

from dydx_perf.ext.fixed cimport i128_to_object, object_to_i64, object_to_u64
from dydx_perf.ext.margin cimport read_market

USDC_DIGITS = 6


def unrealized_pnl(quantums, entry_price, oracle_price, divisor):
    """(quotient, remainder) of quantums * (oracle_price - entry_price) over divisor, floored."""
    cdef int64_t size = 0
    cdef int64_t entry = 0
    cdef uint64_t price = 0
    cdef uint64_t unit = 0
    cdef i128 quotient = 0
    cdef uint64_t remainder = 0
    if not (
        object_to_i64(quantums, &size)
        and object_to_i64(entry_price, &entry)
        and object_to_u64(oracle_price, &price)
        and object_to_u64(divisor, &unit)
    ) or unrealized_pnl_floor(size, entry, price, unit, &quotient, &remainder) != STATUS_OK:
        return None
    return i128_to_object(quotient), remainder


def equity_and_free_collateral(usdc, positions):
    """(equity, free collateral, digits) as the indexer reports them, in 10**-digits USDC, exact.

    Parameters
    ----------
    usdc : int
        Quote quantums, funding not settled.
    positions : list of (perpetual, quantums, funding index of the position)
        A perpetual is any object with the chain's field names.
    """
    cdef size_t count = len(positions)
    cdef size_t place = 0
    cdef market_t *markets = <market_t *>PyMem_Calloc(count + 1, sizeof(market_t))
    cdef position_t *rows = <position_t *>PyMem_Calloc(count + 1, sizeof(position_t))
    cdef i128 equity = 0
    cdef i128 free = 0
    cdef int64_t balance = 0
    cdef int32_t digits = PPM_DIGITS
    try:
        if not markets or not rows:
            raise MemoryError
        if not object_to_i64(usdc, &balance):
            return None
        for perpetual, quantums, funding_index in positions:
            if place == count or not (
                read_market(perpetual, &markets[place])
                and object_to_i64(quantums, &rows[place].quantums)
                and object_to_i64(funding_index, &rows[place].funding_index)
            ):
                return None
            digits = max(digits, indexer_digits(&markets[place]))
            rows[place].market = <uint32_t>place
            place += 1
        if indexer_account(markets, rows, place, balance, digits, &equity, &free) != STATUS_OK:
            return None
        return i128_to_object(equity), i128_to_object(free), digits + USDC_DIGITS
    finally:
        PyMem_Free(markets)
        PyMem_Free(rows)
