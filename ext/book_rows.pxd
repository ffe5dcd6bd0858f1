# A book of many accounts: columns, and the kernels that keep each account's risk in step with its inputs.
#
# (a) An account is a slot in the account columns. Its handle is generation << 32 | slot; the generation grows
#     when the account goes, so an old handle never names the next tenant. A slot whose generations are used up
#     is not given out again.
# (b) A position lives in a block of 64 that belongs to its market; all blocks of a market are full but the last,
#     so a change of a market walks memory in order. Closing moves the market's last position into the hole.
#     `next` links the positions of one account, in no particular order.
# (c) row_t holds the account's risk as it stands: nc with funding settled at the current indices, imr, mmr, and
#     what the floor of the funding sum left. With d = sum of -(perpetual index - position index) * quantums
#     over all positions, nc = usdc + floor(d / 1e6) + sum(notional + quote balance), remainder = d mod 1e6.
# (d) Sums of 64 bits where they fit. ACCOUNT_BIG: they do not, 128 bits are computed anew when asked.
#     ACCOUNT_WIDE: 128 bits do not hold it either, plain integers answer. Every addition here is checked, and an
#     account that fails a check is evaluated anew, never left as it is.
# (e) `markets` is the book's own copy of the chain's table: the state that the rows are of.
#
# Contents:
#   open_slot, close_slot              an account's place
#   find_place, append_place, drop_place   a position's place
#   evaluate                           an account from its inputs, in 128 bits
#   settle_row                         the row anew from evaluate
#   resize_positions                   an account's balance and sizes of positions that it has
#   position_figures                   notional and margins of one position, 64 bits
#   prefetch_block, prefetch_row       what the two walks need soon
#   reprice_market                     a market's old state -> its new one, for every holder
#   rescan                             every row anew from its inputs
#   is_below                           nc / mmr below a threshold
#
# Nothing here allocates, and nothing checks what the caller must: slots and markets are in range, a free place is
# there (open_slot says when not; positions are counted, and blocks are enough for any spread over the markets).

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t

from dydx_perf.ext.fixed cimport (
    add,
    compare_products,
    fits_i64,
    i128,
    mul,
    mul_i64,
    mul_ppm_ceil_64,
    scale_trunc,
    sub,
    sub_i64,
)
from dydx_perf.ext.margin cimport (
    add_positions_risk,
    initial_margin_ppm,
    maintenance_margin_fast,
)
from dydx_perf.ext.settle cimport settlement_floor, settlement_ppm
from dydx_perf.ext.structs cimport (
    MAX_FAST_PPM,
    STATUS_OK,
    STATUS_OUT_OF_RANGE,
    market_t,
    position_t,
    risk_t,
    status_t,
)


cdef extern from "dydx_perf/ext/book.h" nogil:
    const uint32_t NOWHERE "DP_NOWHERE"   # no slot, no place, no block
    int add_i64 "dp_add_i64"(int64_t a, int64_t b, int64_t *out)
    uint64_t mul_ppm_ceil_43 "dp_mul_ppm_ceil_43"(uint64_t value, uint32_t ppm)
    const uint64_t SMALL_VALUE "DP_SMALL_VALUE"
    uint64_t size_of "dp_size_of"(int64_t value)
    int64_t with_sign_of "dp_with_sign_of"(int64_t sign, int64_t magnitude)
    void prefetch "dp_prefetch"(const void *address)
    void prefer_large_pages "dp_prefer_large_pages"(void *start, size_t size)


cdef enum:
    BLOCK_BITS = 6
    BLOCK = 64
    MAX_GENERATION = 0x7fffffff   # a handle is below 2**63
    BASIS_SHIFT = 16

cdef enum account_flag_t:
    ACCOUNT_USED = 1
    ACCOUNT_LIQUIDATABLE = 2   # as last reported
    ACCOUNT_BIG = 4            # the row's sums are void: 128 bits, computed when asked
    ACCOUNT_WIDE = 8           # the row's sums are void: plain integers only
    ACCOUNT_BEYOND = 16        # an input does not fit its column: plain integers hold the inputs
    ACCOUNT_STALE = 32         # to be evaluated before the call ends
    ACCOUNT_QUEUED = 64        # in the queue of accounts to look at before the call ends
    ACCOUNT_WATCHED = 128      # has thresholds of its own
    ACCOUNT_UNKNOWN = 256      # WIDE, and plain integers were not asked since the last change
    ACCOUNT_UNSUMMED = 44      # BIG | WIDE | STALE

# Quote quantums; see (c).
cdef struct row_t:
    int64_t nc
    int64_t imr
    int64_t mmr
    uint32_t remainder         # 0 .. 999,999
    uint32_t flags             # account_flag_t; from bit 16 the basis of the account's own inputs

cdef struct extent_t:
    uint32_t capacity
    uint32_t fresh             # below: was in use at some time, is in use or in a free list
    uint32_t used

cdef struct book_t:
    extent_t account_extent
    extent_t block_extent
    extent_t market_extent
    uint32_t max_positions
    uint32_t positions
    uint32_t first_free        # slot; free slots are used again oldest first
    uint32_t last_free
    uint32_t free_block
    uint32_t retired           # slots whose generations are used up
    uint32_t queued
    # per account
    row_t *rows
    int64_t *usdc              # quote quantums, funding not settled
    int64_t *height            # block of the account's own inputs; -1: not known
    uint32_t *generation
    uint32_t *first            # place of a position; of a free slot: the next free one
    uint32_t *first_threshold
    uint32_t *queue            # slots, each once
    # per place
    int64_t *quantums
    int64_t *funding_index
    int64_t *quote_balance
    uint32_t *custom_imf_ppm
    uint32_t *account
    uint32_t *next             # place of another position of that account
    # per block
    uint32_t *block_market
    uint32_t *block_previous   # of the same market; of a free block: the next free one
    # per market
    market_t *markets
    uint32_t *holders
    uint32_t *last_block


# ---- places

cdef inline uint32_t open_slot(book_t *book) noexcept nogil:
    """An empty account, or NOWHERE when there is no room."""
    cdef uint32_t slot = book.first_free
    if slot != NOWHERE:
        book.first_free = book.first[slot]
        if book.first_free == NOWHERE:
            book.last_free = NOWHERE
    elif book.account_extent.fresh < book.account_extent.capacity:
        slot = book.account_extent.fresh
        book.account_extent.fresh += 1
        book.generation[slot] = 1
    else:
        return NOWHERE
    book.account_extent.used += 1
    book.rows[slot].nc = 0
    book.rows[slot].imr = 0
    book.rows[slot].mmr = 0
    book.rows[slot].remainder = 0
    book.rows[slot].flags = ACCOUNT_USED
    book.usdc[slot] = 0
    book.height[slot] = -1
    book.first[slot] = NOWHERE
    book.first_threshold[slot] = NOWHERE
    return slot


cdef inline void close_slot(book_t *book, uint32_t slot) noexcept nogil:
    """Give back an account that has no positions and is not queued."""
    book.account_extent.used -= 1
    book.rows[slot].flags = 0
    book.first[slot] = NOWHERE
    if book.generation[slot] == MAX_GENERATION:
        book.retired += 1
        return
    book.generation[slot] += 1
    if book.last_free == NOWHERE:
        book.first_free = slot
    else:
        book.first[book.last_free] = slot
    book.last_free = slot


cdef inline uint32_t market_of(const book_t *book, uint32_t place) noexcept nogil:
    return book.block_market[place >> BLOCK_BITS]


cdef inline uint32_t find_place(const book_t *book, uint32_t slot, uint32_t market) noexcept nogil:
    """Where an account's position in a market is; NOWHERE."""
    cdef uint32_t place = book.first[slot]
    while place != NOWHERE and market_of(book, place) != market:
        place = book.next[place]
    return place


cdef inline uint32_t append_place(book_t *book, uint32_t slot, uint32_t market) noexcept nogil:
    """A new place at the end of a market, linked to the account; its figures are the caller's to set."""
    cdef uint32_t offset = book.holders[market] & (BLOCK - 1)
    cdef uint32_t block = book.last_block[market]
    cdef uint32_t place
    if offset == 0:
        block = book.free_block
        if block != NOWHERE:
            book.free_block = book.block_previous[block]
        else:
            block = book.block_extent.fresh
            book.block_extent.fresh += 1
        book.block_extent.used += 1
        book.block_market[block] = market
        book.block_previous[block] = book.last_block[market]
        book.last_block[market] = block
    place = (block << BLOCK_BITS) | offset
    book.holders[market] += 1
    book.positions += 1
    book.account[place] = slot
    book.next[place] = book.first[slot]
    book.first[slot] = place
    return place


cdef inline void relink(book_t *book, uint32_t slot, uint32_t place, uint32_t instead) noexcept nogil:
    """Make what points to a place of an account point elsewhere."""
    cdef uint32_t *link = &book.first[slot]
    while link[0] != place:
        link = &book.next[link[0]]
    link[0] = instead


cdef inline void drop_place(book_t *book, uint32_t place) noexcept nogil:
    """Close a position: the market's last one moves into the hole."""
    cdef uint32_t market = market_of(book, place)
    cdef uint32_t block = book.last_block[market]
    cdef uint32_t last = (block << BLOCK_BITS) | ((book.holders[market] - 1) & (BLOCK - 1))
    relink(book, book.account[place], place, book.next[place])
    if place != last:
        relink(book, book.account[last], last, place)
        book.quantums[place] = book.quantums[last]
        book.funding_index[place] = book.funding_index[last]
        book.quote_balance[place] = book.quote_balance[last]
        book.custom_imf_ppm[place] = book.custom_imf_ppm[last]
        book.account[place] = book.account[last]
        book.next[place] = book.next[last]
    book.positions -= 1
    book.holders[market] -= 1
    if (book.holders[market] & (BLOCK - 1)) == 0:
        book.last_block[market] = book.block_previous[block]
        book.block_previous[block] = book.free_block
        book.free_block = block
        book.block_extent.used -= 1


# ---- risk

cdef inline void read_position(const book_t *book, uint32_t place, position_t *out) noexcept nogil:
    out.quantums = book.quantums[place]
    out.funding_index = book.funding_index[place]
    out.quote_balance = book.quote_balance[place]
    out.market = market_of(book, place)
    out.custom_imf_ppm = book.custom_imf_ppm[place]


cdef inline status_t evaluate(
    const book_t *book, uint32_t slot, risk_t *out, uint32_t *remainder
) noexcept nogil:
    """Risk of an account from its inputs, as margin.account_risk; and d mod 1e6, see (c)."""
    cdef position_t position
    cdef i128 total = 0
    cdef i128 ppm = 0
    cdef i128 settled = 0
    cdef uint32_t place = book.first[slot]
    out.nc = book.usdc[slot]
    out.imr = 0
    out.mmr = 0
    if book.rows[slot].flags & ACCOUNT_BEYOND:
        return STATUS_OUT_OF_RANGE
    while place != NOWHERE:
        read_position(book, place, &position)
        if settlement_ppm(
            position.quantums, position.funding_index, book.markets[position.market].funding_index, &ppm
        ) != STATUS_OK or add(total, ppm, &total):
            return STATUS_OUT_OF_RANGE
        if not book.markets[position.market].in_range:
            return STATUS_OUT_OF_RANGE
        if add_positions_risk(book.markets, &position, 1, out) != STATUS_OK:
            return STATUS_OUT_OF_RANGE
        place = book.next[place]
    settled = settlement_floor(total)
    if mul(settled, 1000000, &ppm) or sub(total, ppm, &ppm):
        return STATUS_OUT_OF_RANGE
    remainder[0] = <uint32_t>ppm
    return STATUS_OUT_OF_RANGE if add(out.nc, settled, &out.nc) else STATUS_OK


cdef inline void settle_row(book_t *book, uint32_t slot) noexcept nogil:
    """Write an account's row anew."""
    cdef row_t *row = &book.rows[slot]
    cdef risk_t risk
    cdef uint32_t remainder = 0
    row.flags &= ~<uint32_t>(ACCOUNT_UNSUMMED | ACCOUNT_UNKNOWN)
    if evaluate(book, slot, &risk, &remainder) != STATUS_OK:
        row.flags |= ACCOUNT_WIDE | ACCOUNT_UNKNOWN
    elif fits_i64(risk.nc) and fits_i64(risk.imr) and fits_i64(risk.mmr):
        row.nc = <int64_t>risk.nc
        row.imr = <int64_t>risk.imr
        row.mmr = <int64_t>risk.mmr
        row.remainder = remainder
    else:
        row.flags |= ACCOUNT_BIG


cdef inline void enqueue(book_t *book, uint32_t slot, uint32_t reason) noexcept nogil:
    """Have an account looked at before the call ends."""
    if not book.rows[slot].flags & ACCOUNT_QUEUED:
        book.queue[book.queued] = slot
        book.queued += 1
    book.rows[slot].flags |= ACCOUNT_QUEUED | reason


cdef inline void resize_positions(
    book_t *book, uint32_t slot, int64_t usdc, const position_t *given, size_t count, int64_t height, uint32_t basis
) noexcept nogil:
    """Replace the balance and the quantums of positions that the account has, and leave it to be evaluated.

    All its positions are settled to their markets' present indices, as the chain does when an account changes.
    For an account that is neither wide nor beyond; no quantums are 0.
    """
    cdef row_t *row = &book.rows[slot]
    cdef uint32_t place
    cdef size_t i
    for i in range(count):
        book.quantums[find_place(book, slot, given[i].market)] = given[i].quantums
    place = book.first[slot]
    while place != NOWHERE:
        book.quote_balance[place] = 0
        if book.quantums[place]:
            book.funding_index[place] = book.markets[market_of(book, place)].funding_index
        place = book.next[place]
    book.usdc[slot] = usdc
    book.height[slot] = height
    row.flags = (row.flags & ((1 << BASIS_SHIFT) - 1)) | (basis << BASIS_SHIFT)
    enqueue(book, slot, ACCOUNT_STALE)


cdef inline int64_t position_figures(
    const market_t *market, uint64_t size, uint32_t custom_imf_ppm, int64_t *imr, int64_t *mmr
) noexcept nogil:
    """Absolute notional toward zero; initial margin (one ceiling), maintenance margin (two).

    Domain: size <= fast_quantums, custom_imf_ppm <= MAX_FAST_PPM; then the figures are below 2**58. Below 2**43,
    which is 8.8 million USDC, a product fits 64 bits.
    """
    cdef uint64_t value = scale_trunc(size, market.multiplier, market.divisor, market.whole, market.fraction)
    cdef uint32_t fraction = initial_margin_ppm(market, custom_imf_ppm)
    cdef uint64_t unscaled
    if value < SMALL_VALUE:
        unscaled = mul_ppm_ceil_43(value, market.initial_margin_ppm)
        imr[0] = <int64_t>(
            unscaled if fraction == market.initial_margin_ppm else mul_ppm_ceil_43(value, fraction))
        mmr[0] = <int64_t>mul_ppm_ceil_43(unscaled, market.maintenance_fraction_ppm)
    else:
        imr[0] = <int64_t>mul_ppm_ceil_64(value, fraction)
        mmr[0] = <int64_t>maintenance_margin_fast(market, value)
    return <int64_t>value


cdef inline bint add_settlement(row_t *row, int64_t index_difference, int64_t quantums) noexcept nogil:
    """Add -index_difference * quantums / 1e6 to nc, keeping the floor of the whole sum; True when it fails."""
    cdef i128 ppm = 0
    cdef i128 whole = 0
    cdef i128 part = 0
    if sub(row.remainder, mul_i64(index_difference, quantums), &ppm):
        return True
    whole = settlement_floor(ppm)
    if mul(whole, 1000000, &part) or sub(ppm, part, &part) or not fits_i64(whole):
        return True
    row.remainder = <uint32_t>part
    return add_i64(row.nc, <int64_t>whole, &row.nc)


cdef inline bint same_figures(const market_t *a, const market_t *b) noexcept nogil:
    """Whether a position has the same notional and margins in both."""
    return (
        a.in_range == b.in_range
        and a.fast_quantums == b.fast_quantums
        and a.price == b.price
        and a.power == b.power
        and a.initial_margin_ppm == b.initial_margin_ppm
        and a.scaled_initial_margin_ppm == b.scaled_initial_margin_ppm
        and a.maintenance_fraction_ppm == b.maintenance_fraction_ppm
    )


cdef inline void prefetch_block(const book_t *book, uint32_t block, bint whole) noexcept nogil:
    """Ask for a block's columns while the one before it is walked; the processor cannot guess where it lies."""
    cdef uint32_t place = block << BLOCK_BITS
    cdef uint32_t end = place + BLOCK
    while place < end:
        prefetch(&book.quantums[place])
        prefetch(&book.quantums[place + 8])
        prefetch(&book.account[place])
        prefetch(&book.custom_imf_ppm[place])
        if whole:
            prefetch(&book.funding_index[place])
            prefetch(&book.funding_index[place + 8])
            prefetch(&book.quote_balance[place])
            prefetch(&book.quote_balance[place + 8])
        place += 16


cdef inline void prefetch_row(const book_t *book, uint32_t place, uint32_t end, uint32_t following) noexcept nogil:
    """Ask for the row that is needed some positions later, in this block or at the start of the following one."""
    cdef uint32_t ahead = place + 24
    if ahead >= end:
        ahead = following + (ahead - end)
    prefetch(&book.rows[book.account[ahead]])


cdef inline void reprice_market(book_t *book, uint32_t market, const market_t *changed) noexcept nogil:
    """Bring every holder of a market from its old state to `changed`; the caller then stores `changed`.

    Queues the accounts whose verdict differs from the last reported, that have thresholds, or that must be
    evaluated anew.
    """
    cdef market_t old = book.markets[market]  # copies: the rows written below could alias them
    cdef market_t new = changed[0]
    cdef bint reprices = not same_figures(&old, &new)
    cdef int64_t limit = old.fast_quantums if old.fast_quantums < new.fast_quantums else new.fast_quantums
    cdef int64_t index_difference = 0
    cdef bint settles = old.funding_index != new.funding_index
    cdef uint32_t block = book.last_block[market]
    cdef uint32_t left = book.holders[market]
    cdef uint32_t place, end, following, slot, flags
    cdef uint32_t custom_imf_ppm
    cdef uint64_t size
    cdef int64_t quantums, change, imr = 0, mmr = 0, old_imr = 0, old_mmr = 0
    cdef row_t *row
    cdef bint liquidatable, failed
    if not (old.in_range and new.in_range) or sub_i64(new.funding_index, old.funding_index, &index_difference):
        limit = -1
        reprices = True
    if not (reprices or settles):
        return
    while left:
        place = block << BLOCK_BITS
        end = place + ((left - 1) & (BLOCK - 1)) + 1
        left -= end - place
        # All blocks but the first one walked are full.
        following = book.block_previous[block] if left else block
        prefetch_block(book, following, settles)
        following <<= BLOCK_BITS
        while place < end:
            prefetch_row(book, place, end, following)
            slot = book.account[place]
            quantums = book.quantums[place]
            row = &book.rows[slot]
            flags = row.flags
            size = size_of(quantums)
            custom_imf_ppm = book.custom_imf_ppm[place]
            if flags & ACCOUNT_UNSUMMED or limit < 0 or size > <uint64_t>limit or custom_imf_ppm > MAX_FAST_PPM:
                enqueue(book, slot, ACCOUNT_STALE)
                place += 1
                continue
            failed = False
            if reprices:
                change = -position_figures(&old, size, custom_imf_ppm, &old_imr, &old_mmr)
                change += position_figures(&new, size, custom_imf_ppm, &imr, &mmr)
                failed = add_i64(row.nc, with_sign_of(quantums, change), &row.nc)
                failed |= add_i64(row.imr, imr - old_imr, &row.imr)
                failed |= add_i64(row.mmr, mmr - old_mmr, &row.mmr)
            if settles:
                failed |= add_settlement(row, index_difference, quantums)
            liquidatable = row.mmr > row.nc and row.mmr > 0
            if failed:
                enqueue(book, slot, ACCOUNT_STALE)
            elif flags & ACCOUNT_WATCHED or liquidatable != ((flags & ACCOUNT_LIQUIDATABLE) != 0):
                enqueue(book, slot, 0)
            place += 1
        block = book.block_previous[block]


cdef inline void scan_market(book_t *book, uint32_t market) noexcept nogil:
    """Add the figures of a market's positions to rows that `rescan` has begun."""
    cdef market_t now = book.markets[market]
    cdef int64_t limit = now.fast_quantums if now.in_range else -1
    cdef uint64_t size
    cdef int64_t quantums, value, imr = 0, mmr = 0, index_difference = 0
    cdef uint32_t block = book.last_block[market]
    cdef uint32_t left = book.holders[market]
    cdef uint32_t place, end, following
    cdef row_t *row
    cdef bint failed
    while left:
        place = block << BLOCK_BITS
        end = place + ((left - 1) & (BLOCK - 1)) + 1
        left -= end - place
        # All blocks but the first one walked are full.
        following = book.block_previous[block] if left else block
        prefetch_block(book, following, True)
        following <<= BLOCK_BITS
        while place < end:
            prefetch_row(book, place, end, following)
            quantums = book.quantums[place]
            row = &book.rows[book.account[place]]
            if row.flags & ACCOUNT_WIDE:  # stays so: the inputs are the same
                place += 1
                continue
            size = size_of(quantums)
            if limit < 0 or size > <uint64_t>limit or book.custom_imf_ppm[place] > MAX_FAST_PPM:
                row.flags |= ACCOUNT_STALE
            else:
                value = position_figures(&now, size, book.custom_imf_ppm[place], &imr, &mmr)
                failed = add_i64(row.nc, with_sign_of(quantums, value), &row.nc)
                failed |= add_i64(row.nc, book.quote_balance[place], &row.nc)
                failed |= add_i64(row.imr, imr, &row.imr)
                failed |= add_i64(row.mmr, mmr, &row.mmr)
                if now.funding_index != book.funding_index[place]:
                    failed |= sub_i64(now.funding_index, book.funding_index[place], &index_difference)
                    failed |= add_settlement(row, index_difference, quantums)
                if failed:
                    row.flags |= ACCOUNT_STALE
            place += 1
        block = book.block_previous[block]


cdef inline void rescan(book_t *book) noexcept nogil:
    """Every row anew: market by market in 64 bits, then the accounts that this does not hold."""
    cdef uint32_t i
    cdef row_t *row
    for i in range(book.account_extent.fresh):
        row = &book.rows[i]
        row.nc = book.usdc[i]
        row.imr = 0
        row.mmr = 0
        row.remainder = 0
    for i in range(book.market_extent.capacity):
        if book.holders[i]:
            scan_market(book, i)
    for i in range(book.account_extent.fresh):
        row = &book.rows[i]
        if row.flags & ACCOUNT_USED and row.flags & (ACCOUNT_BIG | ACCOUNT_STALE):
            settle_row(book, i)


cdef inline bint is_below(const risk_t *risk, int64_t numerator, int64_t denominator) noexcept nogil:
    """nc / mmr < numerator / denominator, strictly and never without a maintenance margin; both > 0.

    1 / 1 is the chain's own rule of liquidation.
    """
    return risk.mmr > 0 and compare_products(risk.nc, denominator, risk.mmr, numerator) < 0
