"""Python door of the indexer's figures in exact integers; None where 128 bits do not hold the case.

`dydx_perf.exact.indexer` gives the same as Decimals of any size.
"""

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
    cdef market_t market
    cdef position_t position
    cdef i128 equity = 0
    cdef i128 margin = 0
    cdef int64_t balance = 0
    cdef int32_t digits = PPM_DIGITS
    if not object_to_i64(usdc, &balance):
        return None
    for perpetual, _, _ in positions:
        if not read_market(perpetual, &market):
            return None
        digits = max(digits, indexer_digits(&market))
    if mul_pow10_floor(balance, digits, &equity):
        return None
    for perpetual, quantums, funding_index in positions:
        read_market(perpetual, &market)
        if not (
            object_to_i64(quantums, &position.quantums)
            and object_to_i64(funding_index, &position.funding_index)
        ) or add_indexer_position(&market, &position, digits, &equity, &margin) != STATUS_OK:
            return None
    if sub(equity, margin, &margin):
        return None
    return i128_to_object(equity), i128_to_object(margin), digits + USDC_DIGITS
