"""Python door of the liquidation kernels; None where 128 bits do not hold the case."""

from libc.stdint cimport int64_t, uint64_t

from dydx_perf.ext.fixed cimport object_to_i64
from dydx_perf.ext.margin cimport read_market, read_risk
from dydx_perf.ext.structs cimport STATUS_OK, market_t, risk_t

KINDS = ("AT", "NEVER", "ALWAYS")


def position_liquidation_price(perpetual, quantums, account_risk):
    """(kind, price integer or None) of a position whose whole account has `account_risk`; None: out of range."""
    cdef market_t market
    cdef risk_t risk
    cdef int64_t size
    cdef liquidation_t kind = LIQUIDATION_NEVER
    cdef uint64_t price = 0
    if not read_market(perpetual, &market) or not read_risk(account_risk, &risk) or not object_to_i64(quantums, &size):
        return None
    if size == 0 or liquidation_price(&market, size, &risk, &kind, &price) != STATUS_OK:
        return None
    return KINDS[kind], price if kind == LIQUIDATION_AT else None
