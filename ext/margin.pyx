"""Python door of the margin kernels: any object with the fields of a perpetual in, Python ints out.

Every function returns None where the kernel says that 128 bits do not hold the case; the layer above then
asks `dydx_perf.exact`.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t

from dydx_perf.ext.fixed cimport i128, i128_to_object, object_to_i64, object_to_i128, object_to_u64
from dydx_perf.ext.structs cimport STATUS_OK, STRUCT_ABI_VERSION, market_t, risk_t

ABI_VERSION = STRUCT_ABI_VERSION

VERDICTS = ("Success", "NewlyUndercollateralized", "StillUndercollateralized")


cdef bint read_market(object perpetual, market_t *market) except -1:
    """Fill a market from an object with the chain's field names; False when a field does not fit."""
    cdef int64_t power = perpetual.exponent + perpetual.atomic_resolution + 6
    cdef int64_t initial = perpetual.initial_margin_ppm
    cdef int64_t fraction = perpetual.maintenance_fraction_ppm
    market.in_range = 0
    market.fast_quantums = -1
    if not (
        object_to_u64(perpetual.price, &market.price)
        and object_to_i64(perpetual.funding_index, &market.funding_index)
        and object_to_i64(perpetual.open_interest, &market.open_interest)
        and object_to_u64(perpetual.open_interest_lower_cap, &market.open_interest_lower_cap)
        and object_to_u64(perpetual.open_interest_upper_cap, &market.open_interest_upper_cap)
        and -(1 << 31) <= power < (1 << 31)
        and 0 <= initial < (1 << 32)
        and 0 <= fraction < (1 << 32)
    ):
        return False
    market.power = <int32_t>power
    market.exponent = perpetual.exponent
    market.initial_margin_ppm = <uint32_t>initial
    market.maintenance_fraction_ppm = <uint32_t>fraction
    market.perpetual_id = perpetual.perpetual_id
    return prepare_market(market) == STATUS_OK


cdef bint read_risk(object risk, risk_t *out) except -1:
    """Fill a risk from an object with nc, imr and mmr; False when one does not fit."""
    return (
        object_to_i128(risk.nc, &out.nc)
        and object_to_i128(risk.imr, &out.imr)
        and object_to_i128(risk.mmr, &out.mmr)
    )


def notional(perpetual, quantums):
    """Signed value of `quantums` at the oracle price, in quote quantums, toward zero; None: out of range."""
    cdef market_t market
    cdef int64_t size
    cdef i128 value = 0
    if not read_market(perpetual, &market) or not object_to_i64(quantums, &size):
        return None
    return i128_to_object(value) if notional_trunc(&market, size, &value) == STATUS_OK else None


def scaled_initial_margin_ppm(perpetual):
    """Initial margin fraction scaled by open interest, in ppm; None: out of range."""
    cdef market_t market
    return market.scaled_initial_margin_ppm if read_market(perpetual, &market) else None


def position_risk(perpetual, quantums, quote_balance=0, custom_imf_ppm=0, wide=False):
    """(nc, imr, mmr) of one settled position in quote quantums; None: out of range.

    `wide` takes the 128-bit path where the 64-bit one would do: tests hold both against each other.
    """
    cdef market_t market
    cdef position_t position
    cdef risk_t risk
    if not (
        read_market(perpetual, &market)
        and object_to_i64(quantums, &position.quantums)
        and object_to_i64(quote_balance, &position.quote_balance)
    ):
        return None
    position.custom_imf_ppm = custom_imf_ppm
    if wide:
        market.fast_quantums = -1
    position.market = 0
    position.funding_index = market.funding_index
    if account_risk(&market, &position, 1, 0, &risk) != STATUS_OK:
        return None
    return i128_to_object(risk.nc), i128_to_object(risk.imr), i128_to_object(risk.mmr)


def risk_order(a, b):
    """1 when `a` is riskier, -1 when `b` is, 0 when equal; None: out of range."""
    cdef risk_t left
    cdef risk_t right
    if not read_risk(a, &left) or not read_risk(b, &right):
        return None
    return compare_risk(&left, &right)


def risk_flags(risk):
    """(initial collateralized, maintenance collateralized, liquidatable); None: out of range."""
    cdef risk_t c
    if not read_risk(risk, &c):
        return None
    return is_initial_collateralized(&c), is_maintenance_collateralized(&c), is_liquidatable(&c)


def transition(current, new):
    """The chain's word for an update from `current` to `new` below the initial margin; None: out of range."""
    cdef risk_t before
    cdef risk_t after
    if not read_risk(current, &before) or not read_risk(new, &after):
        return None
    return VERDICTS[state_transition(&before, &after)]
