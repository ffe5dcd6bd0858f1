# Accounts in slices of eight: the truth about their positions, laid out as the certified scan reads it.
#
# (a) An account with n positions is a row of the smallest class that holds n; the rows of a class are dense.
#     Eight rows are a slice of 1 + capacity octets, see certified.h. A slot is octet * 8 + lane; the slot at a
#     slice's head names the row.
# (b) Columns, per slot:   at the head                              at a position
#         amount           collateral: usdc with funding settled    base quantums, never 0
#                          at the current indices, and all quote
#                          balances; quote quantums
#         index            reserve: nc - mmr at the triggers        funding index when last settled
#         link             the account                              entry in the market's list
#         side             how many positions                       2 * market + (1 for a short)
#     Positions of a row are in no particular order, without holes. Empty slots are 0; the collateral of an empty
#     lane is SLICES_EMPTY.
# (c) Bits, per octet and only at heads, one for each lane: `flagged` last found liquidatable, `solid` and `large`
#     as certified.h says, `hot` its triggers certify nothing, `dirty` flagged by a scan and not looked at since.
# (d) Pages of 1,024 octets hold slices of one class each; a page that becomes empty may serve another.
#
# Contents:
#   class_of, capacity_of            a number of positions -> its class
#   open_row, close_row, move_row    a row's place
#   position_slot, find_position, append_position, drop_position
#
# Nothing here allocates and nothing checks what the caller must: `plan_slices` made room for any spread of
# positions over accounts.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from dydx_perf.ext.book_rows cimport NOWHERE


cdef extern from "dydx_perf/ext/certified.h" nogil:
    const int64_t SLICES_EMPTY
    const int64_t CERTIFIED_BOUND
    const double CERTIFIED_LIMIT
    const int CERTIFIED_MAX_PATHS
    unsigned certified_lane(unsigned lanes)

    ctypedef struct certified_t:
        uint32_t octet
        uint8_t liquidatable
        uint8_t doubtful

    ctypedef struct certified_columns_t:
        const int64_t *amount
        const uint16_t *side
        const uint8_t *flagged
        const uint8_t *solid
        const uint8_t *large
        const double *worth

    ctypedef size_t (*certified_scan_t)(
        const certified_columns_t *c, uint32_t octet, uint32_t slices, uint32_t capacity, certified_t *found
    ) noexcept

    ctypedef struct certified_path_t:
        const char *name
        certified_scan_t scan

    int certified_paths(certified_path_t *paths)


cdef extern from *:
    """
    /* Up to 16 positions a class each; then steps of an eighth at most up to 127, and slices that fill a page of
     * 1,024 octets to a few percent: 8 of 128, 7 of 146, 6 of 170, 5 of 204, 4 of 256. */
    static const unsigned short DP_CAPACITY[42] = {
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 27, 30, 33,
        36, 40, 44, 49, 55, 61, 67, 72, 77, 84, 92, 101, 112, 127, 145, 169, 203, 255};
    """
    const uint16_t CAPACITY "DP_CAPACITY"[42]

cdef enum:
    LANES = 8
    MAX_HELD = 255       # positions of one account; more are for plain integers
    CLASSES = 42
    PAGE_BITS = 10       # octets of a page

cdef struct slices_t:
    uint32_t pages       # there is room for
    uint32_t fresh_pages
    uint32_t free_page
    # per slot
    int64_t *amount
    int64_t *index
    uint32_t *link
    uint16_t *side
    # per octet
    uint8_t *flagged
    uint8_t *solid
    uint8_t *large
    uint8_t *hot
    uint8_t *dirty
    # per page
    uint8_t *page_class
    uint32_t *page_next
    uint32_t *page_previous
    # per class
    uint32_t rows[CLASSES]
    uint32_t page_slices[CLASSES]
    uint32_t first_page[CLASSES]
    uint32_t last_page[CLASSES]
    # per account
    uint32_t *where      # slot at the head of its row; NOWHERE


cdef inline uint32_t capacity_of(uint32_t kind) noexcept nogil:
    """Positions that a row of a class holds."""
    return CAPACITY[kind]


cdef inline uint32_t class_of(uint32_t held) noexcept nogil:
    """The smallest class that holds so many positions, up to MAX_HELD."""
    cdef uint32_t kind = held if held < 17 else 17
    while CAPACITY[kind] < held:
        kind += 1
    return kind


cdef inline uint32_t kind_at(const slices_t *s, uint32_t head) noexcept nogil:
    """Class of a row."""
    return s.page_class[(head >> 3) >> PAGE_BITS]


cdef inline bint has_bit(const uint8_t *bits, uint32_t head) noexcept nogil:
    return (bits[head >> 3] >> (head & 7)) & 1


cdef inline void set_bit(uint8_t *bits, uint32_t head, bint value) noexcept nogil:
    cdef uint8_t lane = <uint8_t>(1 << (head & 7))
    if value:
        bits[head >> 3] |= lane
    else:
        bits[head >> 3] &= <uint8_t>~lane


cdef inline uint32_t position_slot(uint32_t head, uint32_t position) noexcept nogil:
    """Slot of a row's n-th position."""
    return head + LANES * (position + 1)


cdef inline void open_slice(slices_t *s, uint32_t head, uint32_t capacity) noexcept nogil:
    """Empty a slice, whatever its page was used for before."""
    cdef uint32_t octet = head >> 3
    cdef uint32_t lane
    memset(&s.amount[head], 0, (capacity + 1) * LANES * sizeof(int64_t))
    memset(&s.side[head], 0, (capacity + 1) * LANES * sizeof(uint16_t))
    for lane in range(<uint32_t>LANES):
        s.amount[head + lane] = SLICES_EMPTY
    s.flagged[octet] = s.solid[octet] = s.large[octet] = s.hot[octet] = s.dirty[octet] = 0


cdef inline void clear_bits(slices_t *s, uint32_t head) noexcept nogil:
    set_bit(s.flagged, head, False)
    set_bit(s.solid, head, False)
    set_bit(s.large, head, False)
    set_bit(s.hot, head, False)
    set_bit(s.dirty, head, False)


cdef inline uint32_t open_row(slices_t *s, uint32_t kind, uint32_t account) noexcept nogil:
    """A row without positions at the end of a class; its bits are clear."""
    cdef uint32_t capacity = capacity_of(kind)
    cdef uint32_t in_page = s.rows[kind] % (s.page_slices[kind] * LANES) if s.rows[kind] else 0
    cdef uint32_t page = s.last_page[kind]
    cdef uint32_t head
    if in_page == 0:
        page = s.free_page
        if page != NOWHERE:
            s.free_page = s.page_next[page]
        else:
            page = s.fresh_pages
            s.fresh_pages += 1
        s.page_class[page] = <uint8_t>kind
        s.page_next[page] = NOWHERE
        s.page_previous[page] = s.last_page[kind]
        if s.last_page[kind] == NOWHERE:
            s.first_page[kind] = page
        else:
            s.page_next[s.last_page[kind]] = page
        s.last_page[kind] = page
    head = ((page << PAGE_BITS) + (in_page // LANES) * (capacity + 1)) * LANES + (in_page & 7)
    if (in_page & 7) == 0:
        open_slice(s, head, capacity)
    s.rows[kind] += 1
    s.amount[head] = 0
    s.index[head] = 0
    s.link[head] = account
    s.where[account] = head
    return head


cdef inline void copy_row(slices_t *s, uint32_t source, uint32_t target) noexcept nogil:
    """Copy a row with its bits into one of at least as many places; the account is told where it is."""
    cdef uint32_t i
    s.amount[target] = s.amount[source]
    s.index[target] = s.index[source]
    s.link[target] = s.link[source]
    s.side[target] = s.side[source]
    for i in range(s.side[source]):
        s.amount[position_slot(target, i)] = s.amount[position_slot(source, i)]
        s.index[position_slot(target, i)] = s.index[position_slot(source, i)]
        s.link[position_slot(target, i)] = s.link[position_slot(source, i)]
        s.side[position_slot(target, i)] = s.side[position_slot(source, i)]
    set_bit(s.flagged, target, has_bit(s.flagged, source))
    set_bit(s.solid, target, has_bit(s.solid, source))
    set_bit(s.large, target, has_bit(s.large, source))
    set_bit(s.hot, target, has_bit(s.hot, source))
    set_bit(s.dirty, target, has_bit(s.dirty, source))
    s.where[s.link[target]] = target


cdef inline void clear_places(slices_t *s, uint32_t head, uint32_t first, uint32_t end) noexcept nogil:
    """Empty some position slots of a row."""
    cdef uint32_t i
    for i in range(first, end):
        s.amount[position_slot(head, i)] = 0
        s.side[position_slot(head, i)] = 0


cdef inline void close_row(slices_t *s, uint32_t head) noexcept nogil:
    """Give a row back: the last of its class moves into it. The account it was of is the caller's to tell."""
    cdef uint32_t kind = kind_at(s, head)
    cdef uint32_t capacity = capacity_of(kind)
    cdef uint32_t page = s.last_page[kind]
    cdef uint32_t in_page = (s.rows[kind] - 1) % (s.page_slices[kind] * LANES)
    cdef uint32_t last = ((page << PAGE_BITS) + (in_page // LANES) * (capacity + 1)) * LANES + (in_page & 7)
    if last != head:
        copy_row(s, last, head)
        clear_places(s, head, s.side[head], capacity)
    clear_places(s, last, 0, capacity)
    s.amount[last] = SLICES_EMPTY
    s.side[last] = 0
    clear_bits(s, last)
    s.rows[kind] -= 1
    if in_page == 0:
        s.last_page[kind] = s.page_previous[page]
        if s.last_page[kind] == NOWHERE:
            s.first_page[kind] = NOWHERE
        else:
            s.page_next[s.last_page[kind]] = NOWHERE
        s.page_next[page] = s.free_page
        s.free_page = page


cdef inline uint32_t move_row(slices_t *s, uint32_t head, uint32_t kind) noexcept nogil:
    """Put a row into another class that holds its positions; returns its new head."""
    cdef uint32_t account = s.link[head]
    cdef uint32_t target = open_row(s, kind, account)
    copy_row(s, head, target)
    close_row(s, head)
    return target


cdef inline uint32_t find_position(const slices_t *s, uint32_t head, uint32_t market) noexcept nogil:
    """Slot of a row's position in a market; NOWHERE."""
    cdef uint32_t i
    for i in range(s.side[head]):
        if s.side[position_slot(head, i)] >> 1 == market:
            return position_slot(head, i)
    return NOWHERE


cdef inline uint32_t append_position(slices_t *s, uint32_t *head) noexcept nogil:
    """Slot for one more position; the row may move, `head` is told. What is in the slot is the caller's to set."""
    cdef uint32_t held = s.side[head[0]]
    if held == capacity_of(kind_at(s, head[0])):
        head[0] = move_row(s, head[0], class_of(held + 1))
    s.side[head[0]] = <uint16_t>(held + 1)
    return position_slot(head[0], held)


cdef inline void drop_position(slices_t *s, uint32_t *head, uint32_t slot) noexcept nogil:
    """Take a position out; the row's last one moves into the hole, and the row may move to a smaller class."""
    cdef uint32_t held = s.side[head[0]] - <uint32_t>1
    cdef uint32_t last = position_slot(head[0], held)
    cdef uint32_t kind
    s.amount[slot] = s.amount[last]
    s.index[slot] = s.index[last]
    s.link[slot] = s.link[last]
    s.side[slot] = s.side[last]
    s.amount[last] = 0
    s.side[last] = 0
    s.side[head[0]] = <uint16_t>held
    kind = class_of(held)
    if kind != kind_at(s, head[0]):
        head[0] = move_row(s, head[0], kind)


cdef inline bint plan_slices(slices_t *s, uint32_t accounts, uint32_t positions, uint32_t markets) noexcept nogil:
    """Write a number of pages that holds any spread of so many; False when slots pass 32 bits.

    A row of n positions takes 1 + capacity slots and its share of what its page leaves over: at most 1 + n * `each`
    for every n that can be. Each class may have a page that is hardly used, and a row may move to another class.
    """
    cdef uint32_t largest = positions if positions < markets else markets
    cdef uint32_t kinds, kind, held
    cdef double cost, each = 0.0
    if largest > MAX_HELD:
        largest = MAX_HELD
    kinds = class_of(largest)
    for kind in range(<uint32_t>CLASSES):
        s.rows[kind] = 0
        s.first_page[kind] = s.last_page[kind] = NOWHERE
        s.page_slices[kind] = (<uint32_t>1 << PAGE_BITS) // (capacity_of(kind) + 1)
        if 0 < kind <= kinds:
            cost = <double>(1 << PAGE_BITS) / s.page_slices[kind]
            held = capacity_of(kind - 1) + 1
            if (cost - 1.0) / held > each:
                each = (cost - 1.0) / held
    cost = (accounts + positions * each) / (LANES << PAGE_BITS) + kinds + 3
    s.pages = <uint32_t>cost
    s.free_page = NOWHERE
    s.fresh_pages = 0
    return cost * (LANES << PAGE_BITS) < NOWHERE
