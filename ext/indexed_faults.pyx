"""The invariants of an indexed book, for its tests: what holds after every call, and what is wrong if not."""

from libc.math cimport fabs
from libc.stdint cimport int64_t, uint32_t

from dydx_perf.ext.book_rows cimport NOWHERE
from dydx_perf.ext.indexed cimport IndexedStore
from dydx_perf.ext.indexed_rows cimport (
    EXTENT,
    EXTENT_BITS,
    STATE_OUTSIDE,
    STATE_QUEUED,
    STATE_USED,
    evaluate_row,
    slices_in_page,
)
from dydx_perf.ext.margin cimport is_liquidatable
from dydx_perf.ext.slices cimport (
    PAGE_BITS,
    CERTIFIED_BOUND,
    CLASSES,
    LANES,
    SLICES_EMPTY,
    capacity_of,
    has_bit,
    kind_at,
    position_slot,
)
from dydx_perf.ext.structs cimport STATUS_OK, risk_t

cdef extern from "dydx_perf/ext/certified.h" nogil:
    int64_t certified_round(double part)


cdef str fault_of_row(IndexedStore store, uint32_t slot, uint32_t *dirty):
    """What is wrong with the row of one account."""
    cdef uint32_t head = store.b.s.where[slot]
    cdef uint32_t held = store.b.s.side[head]
    cdef int64_t bound = CERTIFIED_BOUND * <int64_t>capacity_of(kind_at(&store.b.s, head))
    cdef int64_t reserve = store.b.s.amount[head]
    cdef bint flagged = has_bit(store.b.s.flagged, head)
    cdef bint crossed = False
    cdef bint stale = False
    cdef uint32_t i, place, entry, market
    cdef double price, trigger
    cdef risk_t risk
    if store.b.s.link[head] != slot:
        return "its row is another account's"
    if capacity_of(kind_at(&store.b.s, head)) < held:
        return "it holds more than its class"
    if held and kind_at(&store.b.s, head) and capacity_of(kind_at(&store.b.s, head) - <uint32_t>1) >= held:
        return "its class is not the smallest"
    dirty[0] += has_bit(store.b.s.dirty, head)
    for i in range(held):
        place = position_slot(head, i)
        market = store.b.s.side[place] >> 1
        entry = store.b.s.link[place]
        if store.b.s.amount[place] == 0 or (store.b.s.amount[place] < 0) != (store.b.s.side[place] & 1):
            return "the side of a position is wrong"
        if store.b.entry_account[entry] != slot:
            return "the entry of a position is another account's"
        trigger = store.b.trigger[entry]
        price = <double>store.b.markets[market].price
        if trigger > 0 and trigger > store.b.down[entry >> 6] or trigger < 0 and trigger > store.b.up[entry >> 6]:
            return "a summary is tighter than an entry"
        if trigger != 0 and fabs(trigger) < 1e300:
            if (trigger >= price) if trigger > 0 else (-trigger <= price):
                crossed = True
                if not store.b.stale[market]:
                    return "a crossed trigger is in a market that is not stale"
            reserve += certified_round(
                <double>store.b.s.amount[place] * store.b.weight[store.b.s.side[place]] * fabs(trigger))
        stale |= store.b.stale[market]
        for j in range(i + 1, held):
            if store.b.s.side[position_slot(head, j)] >> 1 == market:
                return "two positions are in one market"
    for i in range(held, capacity_of(kind_at(&store.b.s, head))):
        if store.b.s.amount[position_slot(head, i)] or store.b.s.side[position_slot(head, i)]:
            return "an empty place is not empty"
    if not store.b.state[slot] & STATE_OUTSIDE:
        if evaluate_row(&store.b, head, &risk) == STATUS_OK and is_liquidatable(&risk) != flagged:
            return "its verdict is wrong"
    elif held:
        return "it is outside and holds positions"
    if held and not has_bit(store.b.s.hot, head):
        if reserve != store.b.s.index[head]:
            return "its reserve is not that of its triggers"
        if not has_bit(store.b.s.dirty, head) and not crossed:
            if flagged and not (reserve <= -bound and has_bit(store.b.s.solid, head)):
                return "its reserve does not vouch for being liquidatable"
            if not flagged and reserve < bound:
                return "its reserve does not vouch for being safe"
    return None


def find_fault(IndexedStore store not None):
    """What is wrong with a store between two calls; None. For tests: it looks at everything."""
    cdef uint32_t slot, kind, page, octet, lane, left, extent, market, entries, entry, used = 0, dirty = 0, rows
    cdef uint32_t positions = 0
    for slot in range(store.b.account_extent.fresh):
        if not store.b.state[slot] & STATE_USED:
            if store.names[slot] is not None:
                return f"slot {slot} is free and has a name"
            continue
        used += 1
        if store.b.state[slot] & STATE_QUEUED:
            return f"slot {slot} is queued"
        if store.names.get(store.names[slot]) != slot:
            return f"slot {slot} is not found by its name"
        fault = fault_of_row(store, slot, &dirty)
        if fault is not None:
            return f"slot {slot}: {fault}"
        positions += store.b.s.side[store.b.s.where[slot]]
    if used != store.b.account_extent.used or dirty != store.b.dirty_rows or positions != store.b.positions:
        return "accounts, positions or dirty rows are miscounted"
    for kind in range(<uint32_t>CLASSES):
        rows = 0
        page = store.b.s.first_page[kind]
        while page != NOWHERE:
            octet = page << PAGE_BITS
            for _ in range(slices_in_page(&store.b.s, kind, page)):
                for lane in range(<uint32_t>LANES):
                    rows += 1
                    if rows > store.b.s.rows[kind] and store.b.s.amount[octet * LANES + lane] != SLICES_EMPTY:
                        return f"an empty lane of class {kind} is not empty"
                octet += capacity_of(kind) + 1
            page = store.b.s.page_next[page]
        if not store.b.s.rows[kind] <= rows < store.b.s.rows[kind] + LANES:
            return f"class {kind} has {store.b.s.rows[kind]} rows in slices of {rows}"
    for market in range(store.b.market_extent.capacity):
        extent = store.b.first_extent[market]
        left = store.b.holders[market]
        while left:
            entries = left if left < EXTENT else EXTENT
            left -= entries
            for entry in range(extent << EXTENT_BITS, (extent << EXTENT_BITS) + entries):
                slot = store.b.entry_account[entry]
                if not any([
                    store.b.s.link[position_slot(store.b.s.where[slot], i)] == entry
                    for i in range(store.b.s.side[store.b.s.where[slot]])
                ]):
                    return f"entry {entry} has no position"
            extent = store.b.extent_next[extent]
    return None
