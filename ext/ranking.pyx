"""The riskiest accounts of a book, by the chain's own ordering."""

from functools import cmp_to_key

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uint32_t, uint64_t

from dydx_perf.ext.account_store cimport AccountStore
from dydx_perf.ext.margin cimport compare_risk
from dydx_perf.ext.structs cimport risk_t


cdef struct ranked_t:
    risk_t risk
    uint32_t slot


cdef bint is_riskier(const ranked_t *a, const ranked_t *b) noexcept:
    """The chain's ordering; of equals the lower slot comes first."""
    cdef int order = compare_risk(&a.risk, &b.risk)
    return order > 0 or (order == 0 and a.slot < b.slot)


cdef void lift(ranked_t *heap, size_t place) noexcept:
    """Restore the heap (the least risky at 0) after its last entry was added."""
    cdef ranked_t moved = heap[place]
    cdef size_t above
    while place:
        above = (place - 1) >> 1
        if not is_riskier(&heap[above], &moved):
            break
        heap[place] = heap[above]
        place = above
    heap[place] = moved


cdef void sink(ranked_t *heap, size_t count) noexcept:
    """Restore the heap after its first entry was replaced."""
    cdef ranked_t moved
    cdef size_t place = 0
    cdef size_t below = 1
    if count == 0:
        return
    moved = heap[0]
    while below < count:
        if below + 1 < count and is_riskier(&heap[below], &heap[below + 1]):
            below += 1
        if not is_riskier(&moved, &heap[below]):
            break
        heap[place] = heap[below]
        place = below
        below = 2 * place + 1
    heap[place] = moved


def by_risk(left, right):
    """Order of two (name, handle, Risk) as `sort` wants it."""
    if left[2].is_riskier_than(right[2]):
        return -1
    if right[2].is_riskier_than(left[2]):
        return 1
    return -1 if left[1] & 0xffffffff < right[1] & 0xffffffff else 1


def riskiest(AccountStore store not None, count):
    """[(name, handle, Risk)] of the riskiest accounts by the chain's ordering, the riskiest first; then by slot."""
    cdef ranked_t *heap
    cdef ranked_t candidate
    cdef size_t kept = 0, room
    cdef uint32_t slot
    cdef list found = [], wide = []
    cdef uint64_t sequence = store.sequence
    store.require_fresh()
    room = min(count, len(store))
    if room == 0:
        return found
    heap = <ranked_t *>PyMem_RawMalloc(room * sizeof(ranked_t))
    if heap == NULL:
        raise MemoryError
    try:
        for slot in range(store.fresh_slots()):
            if not store.is_used(slot):
                continue
            if not store.read_risk(slot, &candidate.risk):
                wide.append(slot)
                continue
            candidate.slot = slot
            if kept < room:
                heap[kept] = candidate
                kept += 1
                lift(heap, kept - 1)
            elif is_riskier(&candidate, heap):
                heap[0] = candidate
                sink(heap, kept)
        while kept:
            slot = heap[0].slot
            kept -= 1
            heap[0] = heap[kept]
            sink(heap, kept)
            found.append((store.name_at(slot), store.handle(slot), store.risk_at(slot)))
    finally:
        PyMem_RawFree(heap)
    found.reverse()
    if wide:
        found += [(store.name_at(slot), store.handle(slot), store.risk_at(slot)) for slot in wide]
        found.sort(key=cmp_to_key(by_risk))
        del found[room:]
    if sequence != store.sequence:  # changed by another thread while objects were made
        return riskiest(store, count)
    return found
