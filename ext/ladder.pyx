"""Who is liquidated at which oracle price of one market: holders of an indexed book, and sums over them by price.

With the other prices held, a holder is liquidatable at the prices of one interval (liquidation_price.pxd): of a long
from the first price with a maintenance margin up to its liquidation price, of a short from its liquidation price on.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from dydx_perf.errors import InputError

from dydx_perf.ext.fixed cimport add, div_ceil, i128, i128_to_object, magnitude, u128
from dydx_perf.ext.indexed cimport IndexedStore
from dydx_perf.ext.indexed_rows cimport EXTENT, EXTENT_BITS, evaluate_row
from dydx_perf.ext.liquidation_price cimport (
    LIQUIDATION_ALWAYS,
    LIQUIDATION_AT,
    LIQUIDATION_NEVER,
    liquidation_price,
    liquidation_t,
    margin_of,
    price_scale,
)
from dydx_perf.ext.margin cimport abs_notional_fast, notional_trunc, prepare_market
from dydx_perf.ext.slices cimport find_position
from dydx_perf.ext.structs cimport STATUS_OK, market_t, risk_t

cdef extern from *:
    const uint64_t UINT64_MAX

cdef enum:
    NEVER = 0        # at no price
    INTERVAL = 1     # from `first` to `last`, both included
    UNKNOWN = 2      # for plain integers


cdef bint lowest_with_margin(
    const market_t *market, int64_t quantums, const risk_t *account, uint64_t *out
) noexcept nogil:
    """Lowest price at which the account of a position has a maintenance margin; False: past what 128 bits hold."""
    cdef u128 numerator = 0
    cdef u128 denominator = 0
    cdef i128 value = 0
    cdef i128 margin = 0
    cdef i128 lowest
    if notional_trunc(market, quantums, &value) != STATUS_OK:
        return False
    if margin_of(market, <i128>magnitude(value), &margin) != STATUS_OK:
        return False
    out[0] = 1
    if account.mmr > margin:   # others have one already
        return True
    if price_scale(market, quantums, &numerator, &denominator) != STATUS_OK:
        return False
    lowest = div_ceil(<i128>denominator, <i128>numerator)   # a notional of 1 has a margin of 1
    out[0] = UINT64_MAX if lowest > UINT64_MAX else <uint64_t>lowest
    return True


cdef uint8_t interval_of(
    const market_t *market, int64_t quantums, const risk_t *account, uint64_t *first, uint64_t *last
) noexcept nogil:
    """The prices at which a holder is liquidatable."""
    cdef liquidation_t kind = LIQUIDATION_NEVER
    cdef uint64_t price = 0
    first[0] = last[0] = 0
    if liquidation_price(market, quantums, account, &kind, &price) != STATUS_OK:
        return UNKNOWN
    if kind == LIQUIDATION_NEVER:
        return NEVER
    if quantums < 0:
        first[0] = price if kind == LIQUIDATION_AT else 1
        last[0] = UINT64_MAX
        return INTERVAL
    last[0] = UINT64_MAX if kind == LIQUIDATION_ALWAYS else price
    return INTERVAL if lowest_with_margin(market, quantums, account, first) else UNKNOWN


def market_holders(
    IndexedStore store not None, uint32_t market, uint32_t[::1] slot, int64_t[::1] quantums, uint8_t[::1] kind,
    uint64_t[::1] first, uint64_t[::1] last,
):
    """Write a market's holders, in no particular order, each with the prices at which it is liquidatable.

    `kind` is 0 where there are none, 1 where they are `first` to `last`, 2 where plain integers must tell. Accounts
    that live in plain integers are not among the holders. All arrays have one place for each holder.
    """
    cdef uint32_t left = store.b.holders[market] if market < store.b.market_extent.used else 0
    cdef uint32_t extent, entry, entries
    cdef size_t place = 0
    cdef risk_t risk
    if not (slot.shape[0] == quantums.shape[0] == kind.shape[0] == first.shape[0] == last.shape[0] == left):
        raise InputError("slot", slot.shape[0], f"{left} places, one for each holder")
    if left == 0:
        return
    with nogil:
        extent = store.b.first_extent[market]
        while left:
            entries = left if left < EXTENT else EXTENT
            left -= entries
            for entry in range(extent << EXTENT_BITS, (extent << EXTENT_BITS) + entries):
                slot[place] = store.b.entry_account[entry]
                quantums[place] = store.b.s.amount[
                    find_position(&store.b.s, store.b.s.where[slot[place]], market)]
                if evaluate_row(&store.b, store.b.s.where[slot[place]], &risk) == STATUS_OK:
                    kind[place] = interval_of(
                        &store.b.markets[market], quantums[place], &risk, &first[place], &last[place])
                else:
                    kind[place] = UNKNOWN
                    first[place] = last[place] = 0
                place += 1
            extent = store.b.extent_next[extent]


def count_holders(IndexedStore store not None, uint32_t market):
    """How many places `market_holders` writes."""
    return store.b.holders[market] if market < store.b.market_extent.used else 0


def sum_at_price(
    IndexedStore store not None, uint32_t market, uint64_t price, const int64_t[::1] quantums,
    const uint8_t[::1] kind, const uint64_t[::1] first, const uint64_t[::1] last,
):
    """(accounts, base quantums, quote quantums) of the longs and of the shorts that are liquidated at a price.

    Sizes and notionals are without their sign. Holders whose interval is for plain integers are not among them. None
    where a sum passes 128 bits.
    """
    cdef market_t moved = store.b.markets[market]
    cdef i128 size[2]
    cdef i128 notional[2]
    cdef uint64_t count[2]
    cdef i128 value = 0
    cdef size_t i
    cdef int side
    cdef bint fits = True
    size[0] = size[1] = notional[0] = notional[1] = 0
    count[0] = count[1] = 0
    moved.price = price
    if not moved.in_range:
        return None
    prepare_market(&moved)
    moved.in_range = 1   # an initial margin that does not fit is none of the notional's business
    with nogil:
        for i in range(<size_t>quantums.shape[0]):
            if kind[i] != INTERVAL or price < first[i] or price > last[i]:
                continue
            side = quantums[i] < 0
            if -moved.fast_quantums <= quantums[i] <= moved.fast_quantums:
                value = <i128>abs_notional_fast(&moved, quantums[i])
            elif notional_trunc(&moved, quantums[i], &value) == STATUS_OK:
                value = <i128>magnitude(value)
            else:
                fits = False
                break
            count[side] += 1
            size[side] += <i128>magnitude(quantums[i])
            if add(notional[side], value, &notional[side]):
                fits = False
                break
    if not fits:
        return None
    return (
        (count[0], i128_to_object(size[0]), i128_to_object(notional[0])),
        (count[1], i128_to_object(size[1]), i128_to_object(notional[1])),
    )
