"""An indexed book as columns of its inputs: out, and in again. What follows from them is computed anew."""

import numpy

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from dydx_perf.errors import CapacityError, SnapshotError

from dydx_perf.ext.book_rows cimport MAX_GENERATION, NOWHERE
from dydx_perf.ext.indexed cimport IndexedStore
from dydx_perf.ext.indexed_rows cimport (
    STATE_BASIS_SHIFT,
    STATE_OUTSIDE,
    STATE_REPORTED,
    STATE_USED,
)
from dydx_perf.ext.slices cimport position_slot

#: grows when a column changes its meaning
LAYOUT = 1
#: name and type of each column: one value an account that ever was, a free slot, or a position
COLUMNS = {
    "generation": numpy.uint32,
    "state": numpy.uint8,
    "height": numpy.int64,
    "usdc": numpy.int64,
    "held": numpy.uint16,
    "free": numpy.uint32,
    "market": numpy.uint32,
    "quantums": numpy.int64,
    "funding_index": numpy.int64,
}
cdef enum:
    KEPT = STATE_USED | STATE_REPORTED | (3 << STATE_BASIS_SHIFT)
    BASIS_LAST = 2


def counts(IndexedStore store not None):
    """How many slots were ever used, and how many markets there are."""
    return {
        "accounts_fresh": store.b.account_extent.fresh,
        "accounts_used": store.b.account_extent.used,
        "markets": store.b.market_extent.used,
        "positions": store.b.positions,
        "retired": store.b.retired,
    }


def sections(IndexedStore store not None):
    """(columns by name, [(slot, usdc, rows)] outside of them, [(slot, [(market, balance, ppm)])] beside them)."""
    cdef uint32_t slot, head, i, at = 0, place
    cdef uint32_t fresh = store.b.account_extent.fresh
    columns = {
        name: numpy.zeros(fresh, dtype=COLUMNS[name]) for name in ("generation", "state", "height", "usdc", "held")
    }
    for name in ("market", "quantums", "funding_index"):
        columns[name] = numpy.zeros(store.b.positions, dtype=COLUMNS[name])
    cdef uint32_t[::1] generation = columns["generation"]
    cdef uint8_t[::1] state = columns["state"]
    cdef int64_t[::1] height = columns["height"]
    cdef int64_t[::1] usdc = columns["usdc"]
    cdef uint16_t[::1] held = columns["held"]
    cdef uint32_t[::1] market = columns["market"]
    cdef int64_t[::1] quantums = columns["quantums"]
    cdef int64_t[::1] funding_index = columns["funding_index"]
    for slot in range(fresh):
        generation[slot] = store.b.generation[slot]
        state[slot] = store.b.state[slot] & KEPT
        if not store.b.state[slot] & STATE_USED:
            continue
        height[slot] = store.b.height[slot]
        if store.b.state[slot] & STATE_OUTSIDE:
            continue
        usdc[slot] = store.usdc_of(slot)
        head = store.b.s.where[slot]
        held[slot] = store.b.s.side[head]
        for i in range(store.b.s.side[head]):
            place = position_slot(head, i)
            market[at] = store.b.s.side[place] >> 1
            quantums[at] = store.b.s.amount[place]
            funding_index[at] = store.b.s.index[place]
            at += 1
    free = []
    slot = store.b.first_free
    while slot != NOWHERE:
        free.append(slot)
        slot = store.b.s.where[slot]
    columns["free"] = numpy.array(free, dtype=numpy.uint32)
    return (
        columns,
        sorted((slot, *(inputs or (0, None))) for slot, inputs in store.outside.items()),
        sorted((slot, sorted((place, *own) for place, own in extra.items())) for slot, extra in store.extra.items()),
    )


def restore(IndexedStore store not None, dict columns, list names, list outside, list extra):
    """Fill an empty store; raises SnapshotError where what is given does not hold together."""
    cdef uint32_t slot, at = 0, last = NOWHERE
    # In a snapshot a column begins wherever the one before it ends.
    columns = {name: numpy.require(column, requirements=["ALIGNED"]) for name, column in columns.items()}
    cdef const uint32_t[::1] generation = columns["generation"]
    cdef const uint8_t[::1] state = columns["state"]
    cdef const int64_t[::1] height = columns["height"]
    cdef const int64_t[::1] usdc = columns["usdc"]
    cdef const uint16_t[::1] held = columns["held"]
    cdef const uint32_t[::1] market = columns["market"]
    cdef const int64_t[::1] quantums = columns["quantums"]
    cdef const int64_t[::1] funding_index = columns["funding_index"]
    cdef uint32_t fresh = <uint32_t>generation.shape[0]
    cdef size_t positions = market.shape[0]
    if len(store):
        raise SnapshotError("the book is not empty")
    if fresh > store.b.account_extent.capacity or positions > store.b.max_positions:
        raise CapacityError(f"the snapshot's {fresh} subaccounts and {positions} positions do not fit")
    for column in ("state", "height", "usdc", "held"):
        if len(columns[column]) != fresh:
            raise SnapshotError(f"the snapshot does not hold together: {column} of {len(columns[column])}")
    if not (len(names) == fresh and quantums.shape[0] == funding_index.shape[0] == market.shape[0]):
        raise SnapshotError("the snapshot does not hold together: columns of different lengths")
    if int(numpy.asarray(columns["held"]).sum(dtype=numpy.int64)) != positions:
        raise SnapshotError("the snapshot does not hold together: positions are miscounted")
    left = {slot: (balance, None if rows is None else [tuple(row) for row in rows]) for slot, balance, rows in outside}
    own = {slot: {place: (balance, ppm) for place, balance, ppm in rows} for slot, rows in extra}
    for slot in range(fresh):
        store.b.account_extent.fresh = slot
        store.b.first_free = NOWHERE
        if not 1 <= generation[slot] <= MAX_GENERATION:
            raise SnapshotError(f"the snapshot does not hold together: slot {slot} has no generation")
        if not state[slot] & STATE_USED:
            if names[slot] is not None or held[slot]:
                raise SnapshotError(f"the snapshot does not hold together: slot {slot} is free and is not empty")
            store.b.generation[slot] = generation[slot]
            continue
        if names[slot] is None or store.names.get(names[slot]) is not None:
            raise SnapshotError(f"the snapshot does not hold together: slot {slot} has no name of its own")
        if state[slot] >> STATE_BASIS_SHIFT > BASIS_LAST or height[slot] < -1:
            raise SnapshotError(f"the snapshot does not hold together: slot {slot} is of no block or basis")
        store.open(names[slot], height[slot], state[slot] >> STATE_BASIS_SHIFT)
        store.b.generation[slot] = generation[slot]
        rows = []
        for _ in range(held[slot]):
            if market[at] >= store.b.market_extent.used or quantums[at] == 0:
                raise SnapshotError(f"the snapshot does not hold together: position {at}")
            rows.append((market[at], quantums[at], funding_index[at], *own.get(slot, {}).pop(market[at], (0, 0))))
            at += 1
        rows += [(place, 0, 0, balance, ppm) for place, (balance, ppm) in own.get(slot, {}).items()]
        if slot in left:
            balance, given = left[slot]
            store.write(slot, balance, [] if given is None else given, given is None)
        else:
            store.write(slot, usdc[slot], rows, False)
        store.b.state[slot] |= state[slot] & STATE_REPORTED
    store.b.account_extent.fresh = fresh
    for slot in columns["free"]:
        if slot >= fresh or state[slot] & STATE_USED:
            raise SnapshotError(f"the snapshot does not hold together: slot {slot} is not free")
        store.b.s.where[slot] = NOWHERE
        if last == NOWHERE:
            store.b.first_free = slot
        else:
            store.b.s.where[last] = slot
        last = slot
    store.b.last_free = last
    store.b.retired = fresh - store.b.account_extent.used - <uint32_t>len(columns["free"])
