# The trigger index: which accounts a price can have moved across the line, without looking at the others.
#
# (a) Every account has a verdict (flagged) and, per position, a trigger: the price at which it has to be looked
#     at again, on the side on which the verdict could change. t > 0 fires at prices <= t, t < 0 at prices >= -t,
#     0 never, infinity always. Triggers divide the account's slack: each position may move by the same share.
# (b) The reserve of an account is its estimated nc - mmr with all prices at its triggers. With E = 5 * capacity:
#     an account that is neither hot nor dirty has reserve >= E, or if flagged reserve <= -E and is solid. The
#     estimate is monotone in every price, so inside its triggers the verdict holds (certified.h has the bound).
#     Where that cannot be, the account is hot: all its triggers are infinite.
# (c) A tick looks at the accounts whose triggers were crossed. When these are too many, the scan decides, and the
#     index catches up: markets stay stale, accounts that a scan flipped are dirty, and each later tick, or `tend`
#     in idle time, goes on. An account is left alone only while nothing stale could have crossed its triggers.
# (d) Summaries, one per block of 64 entries, are never tighter than the entries.

from libc.math cimport fabs
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t

from dydx_perf.ext.book_rows cimport NOWHERE, prefetch
from dydx_perf.ext.indexed_rows cimport (
    ALWAYS,
    ENTRY_BLOCK_BITS,
    EXTENT,
    EXTENT_BITS,
    NEVER_UP,
    exact_verdict,
    indexed_t,
    queue_account,
    scan_rows,
    set_trigger,
    slices_in_page,
)
from dydx_perf.ext.slices cimport (
    PAGE_BITS,
    CERTIFIED_BOUND,
    CLASSES,
    LANES,
    MAX_HELD,
    capacity_of,
    has_bit,
    kind_at,
    position_slot,
    set_bit,
)

cdef extern from "dydx_perf/ext/certified.h" nogil:
    int64_t certified_round(double part)

cdef extern from *:
    """
    #include <math.h>
    #define DP_RESERVED 0.05
    /* The nearest float at or below, and at or above, a double. */
    static inline float dp_float_below(double x)
    {
        float f = (float)x;
        return (double)f > x ? nextafterf(f, -INFINITY) : f;
    }
    static inline float dp_float_above(double x)
    {
        float f = (float)x;
        return (double)f < x ? nextafterf(f, INFINITY) : f;
    }
    """
    const double RESERVED "DP_RESERVED"  # share of the slack that stays in the reserve
    float float_below "dp_float_below"(double x) nogil
    float float_above "dp_float_above"(double x) nogil


cdef inline void look_at(indexed_t *b, uint32_t account) noexcept nogil:
    """Decide an account anew and give it new triggers."""
    cdef double weighted[MAX_HELD]
    cdef uint32_t head = b.s.where[account]
    cdef uint32_t held = b.s.side[head]
    cdef int64_t bound = CERTIFIED_BOUND * <int64_t>capacity_of(kind_at(&b.s, head))
    cdef int64_t sum = b.s.amount[head]
    cdef int64_t reserve = b.s.amount[head]
    cdef bint before = has_bit(b.s.flagged, head)
    cdef bint flagged = False
    cdef bint hot = False
    cdef bint rises
    cdef double gross = 0.0, part, share, price, target
    cdef uint32_t i, slot, side, market
    cdef float trigger
    if has_bit(b.s.dirty, head):
        set_bit(b.s.dirty, head, False)
        b.dirty_rows -= 1
    for i in range(held):
        slot = position_slot(head, i)
        side = b.s.side[slot]
        part = <double>b.s.amount[slot] * b.worth[side]
        weighted[i] = <double>b.s.amount[slot] * b.weight[side]
        gross += fabs(part)
        if not has_bit(b.s.large, head):
            sum += certified_round(part)
    if held == 0:
        flagged = False
    elif has_bit(b.s.large, head):
        flagged = exact_verdict(b, head, before)
        hot = True
    elif sum > bound:
        flagged = False
    elif sum < -bound and has_bit(b.s.solid, head):
        flagged = True
    else:
        flagged = exact_verdict(b, head, before)
        hot = True
    if flagged != before:
        set_bit(b.s.flagged, head, flagged)
        queue_account(b, account)
    if not hot and held:
        share = (1.0 - RESERVED) * (fabs(<double>sum) - <double>bound) / gross if gross > 0.0 else 1e9
        for i in range(held):
            slot = position_slot(head, i)
            side = b.s.side[slot]
            market = side >> 1
            price = <double>b.markets[market].price
            rises = (side & 1) ^ flagged
            if rises:
                target = price * (1.0 + share)
                if target > b.highest[market]:
                    target = b.highest[market]
                trigger = -<float>target
                hot |= -<double>trigger <= price
            else:
                target = price * (1.0 - share)
                trigger = <float>target if target > 0.0 else 0.0
                hot |= <double>trigger >= price
            reserve += certified_round(weighted[i] * fabs(<double>trigger))
            set_trigger(b, b.s.link[slot], trigger)
        hot |= reserve > -bound if flagged else reserve < bound
    if hot:
        for i in range(held):
            set_trigger(b, b.s.link[position_slot(head, i)], ALWAYS)
    set_bit(b.s.hot, head, hot)
    b.s.index[head] = reserve


cdef inline bint is_certified(const indexed_t *b, uint32_t head) noexcept nogil:
    """Whether a row's reserve vouches for its verdict while no trigger of it is crossed."""
    cdef int64_t bound = CERTIFIED_BOUND * <int64_t>capacity_of(kind_at(&b.s, head))
    if has_bit(b.s.hot, head) or has_bit(b.s.dirty, head):
        return False
    if has_bit(b.s.flagged, head):
        return b.s.index[head] <= -bound and has_bit(b.s.solid, head)
    return b.s.index[head] >= bound


cdef inline void change_collateral(indexed_t *b, uint32_t head, int64_t change) noexcept nogil:
    """Add to a row's collateral; look at it where its reserve no longer vouches for it.

    While something is stale its verdict may still be of other prices: the caller advances, or looks at it.
    """
    b.s.amount[head] += change
    b.s.index[head] += change
    if b.s.side[head] and not is_certified(b, head):
        look_at(b, b.s.link[head])


# ---- a tick

cdef inline bint collect_block(indexed_t *b, uint32_t block, uint32_t entries, float fall, float rise) noexcept nogil:
    """Append the accounts of a block whose triggers fire; False when there is no room."""
    cdef uint32_t entry
    cdef float trigger
    if b.candidate_count + 64 > b.candidate_room:
        return False
    b.crossed_blocks[b.crossed_count] = block
    b.crossed_count += 1
    for entry in range(block << ENTRY_BLOCK_BITS, (block << ENTRY_BLOCK_BITS) + entries):
        trigger = b.trigger[entry]
        if trigger >= fall or (trigger < 0.0 and trigger >= rise):
            b.candidates[b.candidate_count] = b.entry_account[entry]
            b.candidate_count += 1
    return True


cdef inline bint collect_crossed(indexed_t *b, uint32_t market, uint32_t limit) noexcept nogil:
    """Append the accounts whose triggers a market's price has crossed; False when they are more than `limit`."""
    cdef float fall = float_below(<double>b.markets[market].price)
    cdef float rise = -float_above(<double>b.markets[market].price)
    cdef uint32_t extent = b.first_extent[market]
    cdef uint32_t left = b.holders[market]
    cdef uint32_t block, first, entries
    cdef int crossed
    while left:
        entries = left if left < EXTENT else EXTENT
        left -= entries
        first = extent << (EXTENT_BITS - ENTRY_BLOCK_BITS)
        crossed = 0
        for block in range(first, first + 16):  # without a branch: one vector after the other
            crossed |= (b.down[block] >= fall) | (b.up[block] >= rise)
        if crossed:
            block = first
            while entries:
                if b.down[block] >= fall or b.up[block] >= rise:
                    if not collect_block(b, block, entries if entries < 64 else 64, fall, rise):
                        return False
                    if b.candidate_count > limit:
                        return False
                entries -= entries if entries < 64 else 64
                block += 1
        extent = b.extent_next[extent]
    return True


cdef inline void collect_dirty(indexed_t *b, uint32_t limit) noexcept nogil:
    """Append accounts that a scan flipped, up to `limit` candidates in all."""
    cdef uint32_t kind, page, octet, stride, slices, lane
    if b.dirty_rows == 0:
        return
    for kind in range(1, <uint32_t>CLASSES):
        stride = capacity_of(kind) + 1
        page = b.s.first_page[kind]
        while page != NOWHERE:
            octet = page << PAGE_BITS
            slices = slices_in_page(&b.s, kind, page)
            while slices:
                if b.s.dirty[octet]:
                    for lane in range(<uint32_t>LANES):
                        if (b.s.dirty[octet] >> lane) & 1:
                            if b.candidate_count >= limit:
                                return
                            b.candidates[b.candidate_count] = b.s.link[octet * LANES + lane]
                            b.candidate_count += 1
                octet += stride
                slices -= 1
            page = b.s.page_next[page]


cdef inline void prefetch_account(const indexed_t *b, uint32_t account) noexcept nogil:
    cdef uint32_t head = b.s.where[account]
    prefetch(&b.s.amount[head])
    prefetch(&b.s.index[head])
    prefetch(&b.s.side[head])
    prefetch(&b.s.link[head])
    prefetch(&b.s.amount[head + LANES])
    prefetch(&b.s.link[head + LANES])


cdef inline uint32_t look_at_candidates(indexed_t *b, uint32_t count, int64_t work) noexcept nogil:
    """Look at the first candidates until so many positions are done; returns how many accounts were."""
    cdef uint32_t i
    for i in range(count):
        if work <= 0:
            return i
        if i + 16 < count:
            prefetch(&b.s.where[b.candidates[i + 16]])
        if i + 6 < count:
            prefetch_account(b, b.candidates[i + 6])
        work -= 2 + b.s.side[b.s.where[b.candidates[i]]]
        look_at(b, b.candidates[i])
    return count


cdef inline bint is_within(const indexed_t *b, int64_t work) noexcept nogil:
    """Whether all candidates can be looked at with so much work: else none of it is begun, for a scan follows."""
    cdef uint32_t i
    for i in range(b.candidate_count):
        if i + 32 < b.candidate_count:
            prefetch(&b.s.where[b.candidates[i + 32]])
        if i + 12 < b.candidate_count:
            prefetch(&b.s.side[b.s.where[b.candidates[i + 12]]])
        work -= 2 + b.s.side[b.s.where[b.candidates[i]]]
        if work <= 0:
            return False
    return True


cdef inline void summarise_blocks(indexed_t *b) noexcept nogil:
    """Tighten the summaries of the blocks that were crossed."""
    cdef uint32_t i, block, entry
    cdef float down, up, trigger
    for i in range(b.crossed_count):
        block = b.crossed_blocks[i]
        down = 0.0
        up = NEVER_UP
        for entry in range(block << ENTRY_BLOCK_BITS, (block + 1) << ENTRY_BLOCK_BITS):
            trigger = b.trigger[entry]
            if trigger > down:
                down = trigger
            if trigger < 0.0 and trigger > up:
                up = trigger
        b.down[block] = down
        b.up[block] = up
    b.crossed_count = 0


cdef inline void clear_stale(indexed_t *b) noexcept nogil:
    cdef uint32_t i
    for i in range(b.stale_count):
        b.stale[b.stale_markets[i]] = 0
    b.stale_count = 0


cdef inline bint collect_all(indexed_t *b, uint32_t limit) noexcept nogil:
    """Candidates of everything that is dirty or stale; False when they are more than `limit`."""
    cdef uint32_t i
    b.candidate_count = 0
    b.crossed_count = 0
    if b.dirty_rows > limit:
        return False
    collect_dirty(b, limit)
    for i in range(b.stale_count):
        if not collect_crossed(b, b.stale_markets[i], limit):
            return False
    return True


cdef inline void advance(indexed_t *b) noexcept nogil:
    """Make every verdict that of now: by the index where few triggers were crossed, else by a scan.

    The index never spends more than about half a scan; an eighth of that goes on with what it missed.
    """
    # What a block of many prices crosses lies apart, and each of its candidates costs more to find.
    cdef uint32_t limit = b.positions // (4000 if b.stale_count > 8 else 1000) + 8
    cdef bint all = collect_all(b, limit) and is_within(b, 5 * <int64_t>limit)
    if all:
        look_at_candidates(b, b.candidate_count, (<int64_t>1) << 62)
    else:
        scan_rows(b)
        if b.candidate_count == 0:
            collect_dirty(b, limit // 8 + 1)
        look_at_candidates(
            b, b.candidate_count if b.candidate_count < limit // 8 + 1 else limit // 8 + 1, (<int64_t>1) << 62)
    summarise_blocks(b)
    if all:
        clear_stale(b)


cdef inline bint tend(indexed_t *b, uint32_t accounts) noexcept nogil:
    """Go on with what the index missed, at most so many accounts; True when nothing is left."""
    cdef uint32_t limit = b.candidate_room - 64
    cdef bint all
    cdef uint32_t i
    if accounts < limit:
        limit = accounts
    b.candidate_count = 0
    b.crossed_count = 0
    collect_dirty(b, limit)
    all = b.dirty_rows <= limit
    for i in range(b.stale_count):
        if all:
            all = collect_crossed(b, b.stale_markets[i], limit)
    look_at_candidates(b, b.candidate_count, (<int64_t>1) << 62)
    summarise_blocks(b)
    if all:
        clear_stale(b)
    return all
