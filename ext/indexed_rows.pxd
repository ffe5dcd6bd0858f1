# The indexed book's kernels: rows, the lists of each market's holders, exact and certified verdicts.
#
# (a) Rows are those of slices.pxd. An account that 64 bits and MAX_HELD positions do not hold has a row without
#     positions and lives in plain integers (ACCOUNT_OUTSIDE).
# (b) A market's holders are entries, dense, in extents of 1,024; an entry knows its account and its trigger (see
#     triggers.pxd), a position's `link` knows its entry.
# (c) A price moves no row: it changes `worth`, and the market is stale until the index or a scan has answered.
# (d) `lowest` and `highest` bound the prices for which a market's holders have the right solid and large bits.
#
# Contents:
#   weigh_market, reprice             what the scan needs of a market
#   append_entry, drop_entry
#   classify_row                      solid and large bits
#   evaluate_row_at, evaluate_row, row_risk, settlement_of_row   exact, 128 bits
#   fits_collateral                   what a row's column holds
#   queue_account, ask_account        who is to be looked at by the caller
#   scan_rows                         certified scan of everything

from libc.math cimport fabs
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from dydx_perf.ext.book_rows cimport NOWHERE, extent_t, prefetch
from dydx_perf.ext.fixed cimport add, fits_i64, i128
from dydx_perf.ext.margin cimport add_positions_risk, is_liquidatable
from dydx_perf.ext.settle cimport settlement_ppm
from dydx_perf.ext.slices cimport (
    PAGE_BITS,
    CERTIFIED_LIMIT,
    CLASSES,
    LANES,
    MAX_HELD,
    capacity_of,
    certified_columns_t,
    certified_lane,
    certified_scan_t,
    certified_t,
    position_slot,
    set_bit,
    slices_t,
)
from dydx_perf.ext.structs cimport (
    MAX_TIER_PPM,
    STATUS_OK,
    STATUS_OUT_OF_RANGE,
    market_t,
    position_t,
    risk_t,
    status_t,
)

cdef extern from *:
    """
    #include <math.h>
    #define DP_NEVER_UP (-INFINITY)
    #define DP_ALWAYS INFINITY
    """
    const float NEVER_UP "DP_NEVER_UP"
    const float ALWAYS "DP_ALWAYS"

cdef enum:
    EXTENT_BITS = 10
    EXTENT = 1024              # entries
    ENTRY_BLOCK_BITS = 6       # entries of one summary
    AHEAD = 8                  # steps of a walk before what it needs is asked for

cdef enum account_state_t:
    STATE_USED = 1
    STATE_OUTSIDE = 2          # plain integers hold the inputs
    STATE_REPORTED = 4         # last told to be liquidatable
    STATE_QUEUED = 8
    STATE_ASKED = 16           # 128 bits did not hold its risk: plain integers decide before the call ends
    STATE_EXTRA = 32           # has quote balances or margin fractions of its own, which no column holds
    STATE_BASIS_SHIFT = 6

cdef enum:
    # Beyond these an account is for plain integers: differences and sums of what is below always fit.
    MAX_INDEX_BITS = 61
    MAX_COLLATERAL_BITS = 59

cdef struct indexed_t:
    slices_t s
    # accounts
    extent_t account_extent
    uint32_t first_free        # slot; free ones are used again oldest first
    uint32_t last_free
    uint32_t retired
    uint32_t max_positions
    uint32_t positions
    uint32_t queued
    uint32_t *generation       # `s.where` of a free slot: the next free one
    int64_t *height
    uint32_t *first_threshold
    uint8_t *state             # account_state_t; from STATE_BASIS_SHIFT the basis of the account's own inputs
    uint32_t *queue            # accounts that may have flipped, each once
    # markets; worth and weight by side
    extent_t market_extent
    market_t *markets
    double *weight             # of a base quantum at a price of 1
    double *worth
    double *lowest
    double *highest
    uint32_t *holders
    uint32_t *first_extent
    uint32_t *last_extent
    uint8_t *stale
    uint32_t *stale_markets
    uint32_t stale_count
    # entries
    uint32_t extents           # there is room for
    uint32_t fresh_extents
    uint32_t free_extent
    uint32_t *extent_next
    uint32_t *extent_previous
    uint32_t *entry_account
    float *trigger
    float *down                # per block: the highest trigger that fires on the way down; 0
    float *up                  # and of those that fire on the way up, negated; -infinity
    # work of one tick
    uint32_t *candidates
    uint32_t candidate_count
    uint32_t candidate_room
    uint32_t *crossed_blocks
    uint32_t crossed_count
    certified_t *found         # of one page
    uint32_t dirty_rows
    certified_scan_t scan


# ---- markets

cdef inline bint is_weighable(const market_t *market) noexcept nogil:
    """Whether the certified bound holds for a market at all; see certified.h."""
    return (
        market.in_range
        and market.price != 0
        and market.price >> 53 == 0
        and -22 <= market.power <= 22
        and market.initial_margin_ppm <= MAX_TIER_PPM
        and market.maintenance_fraction_ppm <= MAX_TIER_PPM
    )


cdef inline double power_of_ten(int32_t power) noexcept nogil:
    """10**power of 0 to 22, an exact double."""
    cdef double result = 1.0
    while power > 0:
        result *= 10.0
        power -= 1
    return result


cdef inline void reprice(indexed_t *b, uint32_t market) noexcept nogil:
    """Bring `worth` in step with the price."""
    b.worth[2 * market] = b.weight[2 * market] * <double>b.markets[market].price
    b.worth[2 * market + 1] = b.weight[2 * market + 1] * <double>b.markets[market].price


cdef inline void weigh_market(indexed_t *b, uint32_t market) noexcept nogil:
    """Weights and window anew, from the market as it is now. A market that is not weighable weighs nothing."""
    cdef const market_t *m = &b.markets[market]
    cdef double both = <double>m.initial_margin_ppm * <double>m.maintenance_fraction_ppm
    cdef double scale
    b.lowest[market] = b.highest[market] = 0.0
    b.weight[2 * market] = b.weight[2 * market + 1] = 0.0
    if is_weighable(m):
        scale = power_of_ten(m.power if m.power > 0 else -m.power)
        b.weight[2 * market] = (1e12 - both) / 1e12
        b.weight[2 * market + 1] = (1e12 + both) / 1e12
        if m.power > 0:
            b.weight[2 * market] *= scale
            b.weight[2 * market + 1] *= scale
        else:
            b.weight[2 * market] /= scale
            b.weight[2 * market + 1] /= scale
        b.lowest[market] = <double>m.price / 65536.0
        b.highest[market] = <double>m.price * 16.0
        if b.highest[market] > 9007199254740991.0:
            b.highest[market] = 9007199254740991.0
    reprice(b, market)


cdef inline bint is_in_window(const indexed_t *b, uint32_t market) noexcept nogil:
    return b.lowest[market] <= <double>b.markets[market].price <= b.highest[market]


cdef inline void touch_market(indexed_t *b, uint32_t market) noexcept nogil:
    """Note that a market's holders are to be answered for."""
    if not b.stale[market]:
        b.stale[market] = 1
        b.stale_markets[b.stale_count] = market
        b.stale_count += 1


# ---- entries

cdef inline uint32_t append_entry(indexed_t *b, uint32_t market, uint32_t account) noexcept nogil:
    """A new entry at the end of a market's list; its trigger never fires."""
    cdef uint32_t offset = b.holders[market] & (EXTENT - 1)
    cdef uint32_t extent = b.last_extent[market]
    cdef uint32_t block
    cdef uint32_t entry
    if offset == 0:
        extent = b.free_extent
        if extent != NOWHERE:
            b.free_extent = b.extent_next[extent]
        else:
            extent = b.fresh_extents
            b.fresh_extents += 1
        b.extent_next[extent] = NOWHERE
        b.extent_previous[extent] = b.last_extent[market]
        if b.last_extent[market] == NOWHERE:
            b.first_extent[market] = extent
        else:
            b.extent_next[b.last_extent[market]] = extent
        b.last_extent[market] = extent
        for block in range(extent << 4, (extent + 1) << 4):
            b.down[block] = 0.0
            b.up[block] = NEVER_UP
        for entry in range(extent << EXTENT_BITS, (extent + 1) << EXTENT_BITS):
            b.trigger[entry] = 0.0
    b.holders[market] += 1
    b.positions += 1
    entry = (extent << EXTENT_BITS) | offset
    b.entry_account[entry] = account
    b.trigger[entry] = 0.0
    return entry


cdef inline void set_trigger(indexed_t *b, uint32_t entry, float trigger) noexcept nogil:
    """Set a trigger and widen the summary of its block."""
    cdef uint32_t block = entry >> ENTRY_BLOCK_BITS
    b.trigger[entry] = trigger
    if trigger > 0.0:
        if trigger > b.down[block]:
            b.down[block] = trigger
    elif trigger < 0.0 and trigger > b.up[block]:
        b.up[block] = trigger


cdef inline void drop_entry(indexed_t *b, uint32_t market, uint32_t entry) noexcept nogil:
    """Take an entry out: the market's last one moves into the hole, and its position is told."""
    cdef uint32_t extent = b.last_extent[market]
    cdef uint32_t last = (extent << EXTENT_BITS) | ((b.holders[market] - 1) & (EXTENT - 1))
    cdef uint32_t head, i
    b.holders[market] -= 1
    b.positions -= 1
    if last != entry:
        b.entry_account[entry] = b.entry_account[last]
        set_trigger(b, entry, b.trigger[last])
        head = b.s.where[b.entry_account[last]]
        for i in range(b.s.side[head]):
            if b.s.link[position_slot(head, i)] == last:
                b.s.link[position_slot(head, i)] = entry
    b.trigger[last] = 0.0
    if last & (EXTENT - 1) == 0:
        b.last_extent[market] = b.extent_previous[extent]
        if b.last_extent[market] == NOWHERE:
            b.first_extent[market] = NOWHERE
        else:
            b.extent_next[b.last_extent[market]] = NOWHERE
        b.extent_next[extent] = b.free_extent
        b.free_extent = extent


# ---- rows

cdef inline void classify_row(indexed_t *b, uint32_t head) noexcept nogil:
    """Solid and large bits of a row, for all prices within the windows of its markets."""
    cdef bint solid = False
    cdef bint large = False
    cdef uint32_t i, side, market
    cdef int64_t quantums
    cdef double part
    for i in range(b.s.side[head]):
        quantums = b.s.amount[position_slot(head, i)]
        side = b.s.side[position_slot(head, i)]
        market = side >> 1
        part = fabs(<double>quantums * b.weight[side])
        if b.highest[market] == 0.0:
            large = True
        if part * b.highest[market] >= CERTIFIED_LIMIT or fabs(<double>quantums) >= CERTIFIED_LIMIT:
            large = True
        if (
            part * b.lowest[market] >= 4.0
            and b.markets[market].initial_margin_ppm != 0
            and b.markets[market].maintenance_fraction_ppm != 0
        ):
            solid = True
    set_bit(b.s.solid, head, solid)
    set_bit(b.s.large, head, large)


cdef inline bint fits_collateral(i128 amount) noexcept nogil:
    """Whether a row's column holds a settled balance."""
    return -(<i128>1 << MAX_COLLATERAL_BITS) < amount < (<i128>1 << MAX_COLLATERAL_BITS)


cdef inline status_t evaluate_row_at(
    const indexed_t *b, const market_t *markets, uint32_t head, i128 amount, risk_t *out
) noexcept nogil:
    """Risk of a row without margin fractions of its own, at given markets and a settled balance, exact."""
    cdef position_t position
    cdef uint32_t i
    position.funding_index = 0
    position.quote_balance = 0
    position.custom_imf_ppm = 0
    out.nc = amount
    out.imr = 0
    out.mmr = 0
    for i in range(b.s.side[head]):
        position.quantums = b.s.amount[position_slot(head, i)]
        position.market = b.s.side[position_slot(head, i)] >> 1
        if not markets[position.market].in_range:
            return STATUS_OUT_OF_RANGE
        if add_positions_risk(markets, &position, 1, out) != STATUS_OK:
            return STATUS_OUT_OF_RANGE
    return STATUS_OK


cdef inline status_t evaluate_row(const indexed_t *b, uint32_t head, risk_t *out) noexcept nogil:
    """The same at the markets and the balance of now."""
    return evaluate_row_at(b, b.markets, head, b.s.amount[head], out)


cdef inline bint row_risk(
    const indexed_t *b, const market_t *markets, uint32_t head, i128 amount, risk_t *out
) noexcept nogil:
    """Whether 64 bits hold what `evaluate_row_at` finds."""
    return (
        evaluate_row_at(b, markets, head, amount, out) == STATUS_OK
        and fits_i64(out.nc) and fits_i64(out.imr) and fits_i64(out.mmr)
    )


cdef inline status_t settlement_of_row(const indexed_t *b, uint32_t head, i128 *total) noexcept nogil:
    """Sum of what settling all positions gives, in ppm; the one floor is the caller's."""
    cdef i128 ppm = 0
    cdef uint32_t i, slot
    total[0] = 0
    for i in range(b.s.side[head]):
        slot = position_slot(head, i)
        if settlement_ppm(
            b.s.amount[slot], b.s.index[slot], b.markets[b.s.side[slot] >> 1].funding_index, &ppm
        ) != STATUS_OK or add(total[0], ppm, total):
            return STATUS_OUT_OF_RANGE
    return STATUS_OK


# ---- who is to be looked at

cdef inline void queue_account(indexed_t *b, uint32_t account) noexcept nogil:
    """Have the caller compare an account with what was last reported of it."""
    if not b.state[account] & STATE_QUEUED:
        b.state[account] |= STATE_QUEUED
        b.queue[b.queued] = account
        b.queued += 1


cdef inline void ask_account(indexed_t *b, uint32_t account) noexcept nogil:
    """Have the caller ask plain integers for an account's verdict."""
    queue_account(b, account)
    b.state[account] |= STATE_ASKED


cdef inline bint exact_verdict(indexed_t *b, uint32_t head, bint flagged) noexcept nogil:
    """Whether a row is liquidatable; where 128 bits do not tell, as before, and the caller is asked."""
    cdef risk_t risk
    if evaluate_row(b, head, &risk) != STATUS_OK:
        ask_account(b, b.s.link[head])
        return flagged
    return is_liquidatable(&risk)


cdef inline uint8_t decided_lanes(indexed_t *b, const certified_t *found) noexcept nogil:
    """Lanes of a slice that are liquidatable, the doubtful ones by exact integers."""
    cdef uint8_t lanes = found.liquidatable
    cdef uint32_t left = found.doubtful
    cdef uint32_t lane, head
    while left:
        lane = certified_lane(left)
        left &= left - 1
        head = found.octet * LANES + lane
        if b.s.side[head] == 0:  # an empty lane
            continue
        if exact_verdict(b, head, (b.s.flagged[found.octet] >> lane) & 1):
            lanes |= <uint8_t>(1 << lane)
    return lanes


cdef inline void take_verdict(indexed_t *b, const certified_t *found) noexcept nogil:
    """Flag the lanes of a slice as they are now; who flipped is dirty and queued."""
    cdef uint32_t octet = found.octet
    cdef uint8_t lanes = decided_lanes(b, found)
    cdef uint8_t flipped = lanes ^ b.s.flagged[octet]
    cdef uint32_t left = flipped
    cdef uint32_t clean = ~<uint32_t>b.s.dirty[octet]
    cdef uint32_t lane
    b.s.flagged[octet] = lanes
    b.s.dirty[octet] |= flipped
    while left:
        lane = certified_lane(left)
        left &= left - 1
        b.dirty_rows += (clean >> lane) & 1
        queue_account(b, b.s.link[octet * LANES + lane])


cdef inline uint32_t slices_in_page(const slices_t *s, uint32_t kind, uint32_t page) noexcept nogil:
    """Slices in use in a page; all pages of a class are full but the last."""
    cdef uint32_t whole = s.page_slices[kind]
    cdef uint32_t used
    if page != s.last_page[kind]:
        return whole
    used = ((s.rows[kind] + LANES - 1) // LANES) % whole
    return used if used else whole


cdef inline void scan_rows(indexed_t *b) noexcept nogil:
    """Certified verdict of every account; only doubtful ones are computed in exact integers."""
    cdef certified_columns_t columns
    cdef uint32_t kind, page
    cdef size_t i, count
    columns.amount = b.s.amount
    columns.side = b.s.side
    columns.flagged = b.s.flagged
    columns.solid = b.s.solid
    columns.large = b.s.large
    columns.worth = b.worth
    for kind in range(1, <uint32_t>CLASSES):
        page = b.s.first_page[kind]
        while page != NOWHERE:
            count = b.scan(
                &columns, page << PAGE_BITS, slices_in_page(&b.s, kind, page), capacity_of(kind), b.found)
            for i in range(count):
                if i + AHEAD < count:
                    prefetch(&b.s.link[b.found[i + AHEAD].octet * LANES])
                take_verdict(b, &b.found[i])
            page = b.s.page_next[page]
