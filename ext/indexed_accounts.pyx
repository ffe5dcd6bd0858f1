"""Accounts of an indexed book: opened, written and closed, in columns or given over to plain integers.

What moves them when the chain does is in indexed.pyx.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from dydx_perf.ext.book_rows cimport MAX_GENERATION, NOWHERE
from dydx_perf.ext.fixed cimport i128, i128_to_object, object_to_i64
from dydx_perf.ext.indexed_memory cimport IndexedMemory
from dydx_perf.ext.indexed_rows cimport (
    MAX_COLLATERAL_BITS,
    MAX_INDEX_BITS,
    STATE_BASIS_SHIFT,
    STATE_EXTRA,
    STATE_OUTSIDE,
    STATE_USED,
    append_entry,
    classify_row,
    drop_entry,
    fits_collateral,
    settlement_of_row,
)
from dydx_perf.ext.settle cimport settlement_floor
from dydx_perf.ext.slices cimport (
    MAX_HELD,
    append_position,
    close_row,
    drop_position,
    find_position,
    has_bit,
    open_row,
    position_slot,
    set_bit,
)
from dydx_perf.ext.structs cimport STATUS_OK, position_t
from dydx_perf.ext.triggers cimport look_at


cdef class IndexedAccounts(IndexedMemory):
    """Rows and entries of accounts. Each call stands between `begin` and `finish`, in step with the chain."""

    cdef uint32_t open(self, tuple name, int64_t height, uint32_t basis) except? 0xffffffff:
        """Slot of a new account without anything; room was asked for before."""
        cdef uint32_t slot = self.b.first_free
        if slot != NOWHERE:
            self.b.first_free = self.b.s.where[slot]
            if self.b.first_free == NOWHERE:
                self.b.last_free = NOWHERE
        else:
            slot = self.b.account_extent.fresh
            self.b.account_extent.fresh += 1
            self.b.generation[slot] = 1
        self.b.account_extent.used += 1
        self.names.put(slot, name)
        self.b.state[slot] = <uint8_t>(STATE_USED | (basis << STATE_BASIS_SHIFT))
        self.b.height[slot] = height
        self.b.first_threshold[slot] = NOWHERE
        open_row(&self.b.s, 0, slot)
        return slot

    def close(self, slot, /):
        """Drop an account with its positions and thresholds; nothing is queued."""
        cdef uint32_t gone = slot
        self.keep_crossings()
        self.close_positions(gone)
        while self.b.first_threshold[gone] != NOWHERE:
            self.drop_threshold(gone, self.b.first_threshold[gone])
        self.outside.pop(slot, None)
        self.extra.pop(slot, None)
        self.names.drop(gone)
        close_row(&self.b.s, self.b.s.where[gone])
        self.b.s.where[gone] = NOWHERE  # there is no next free slot
        self.b.state[gone] = 0
        self.b.account_extent.used -= 1
        if self.b.generation[gone] == MAX_GENERATION:
            self.b.retired += 1
            return
        self.b.generation[gone] += 1
        if self.b.last_free == NOWHERE:
            self.b.first_free = gone
        else:
            self.b.s.where[self.b.last_free] = gone
        self.b.last_free = gone

    cdef void set_position(
        self, uint32_t slot, uint32_t market, int64_t quantums, int64_t funding_index
    ) noexcept:
        """Open, change or close one position of an inside account."""
        cdef uint32_t head = self.b.s.where[slot]
        cdef uint32_t place = find_position(&self.b.s, head, market)
        if quantums == 0:
            if place != NOWHERE:
                drop_entry(&self.b, market, self.b.s.link[place])
                drop_position(&self.b.s, &head, place)
            return
        if place == NOWHERE:
            place = append_position(&self.b.s, &head)
            self.b.s.link[place] = append_entry(&self.b, market, slot)
        self.b.s.amount[place] = quantums
        self.b.s.index[place] = funding_index
        self.b.s.side[place] = <uint16_t>(2 * market + (quantums < 0))

    cdef void close_positions(self, uint32_t slot) noexcept:
        """Close all positions of an account; its row is then in the first class, clean."""
        cdef uint32_t head = self.b.s.where[slot]
        while self.b.s.side[head]:
            self.set_position(slot, self.b.s.side[position_slot(head, self.b.s.side[head] - <uint32_t>1)] >> 1, 0, 0)
            head = self.b.s.where[slot]
        if has_bit(self.b.s.dirty, head):
            set_bit(self.b.s.dirty, head, False)
            self.b.dirty_rows -= 1

    cdef bint settle_inside(self, uint32_t slot, object usdc) except -1:
        """Write an inside account's collateral from its balance; False where it does not fit."""
        cdef uint32_t head = self.b.s.where[slot]
        cdef i128 ppm = 0
        cdef uint32_t i, place
        cdef int64_t index
        for i in range(self.b.s.side[head]):
            place = position_slot(head, i)
            if not self.b.markets[self.b.s.side[place] >> 1].in_range:
                return False
            for index in (self.b.s.index[place], self.b.markets[self.b.s.side[place] >> 1].funding_index):
                if not -(<int64_t>1 << MAX_INDEX_BITS) < index < (<int64_t>1 << MAX_INDEX_BITS):
                    return False
        if settlement_of_row(&self.b, head, &ppm) != STATUS_OK:
            return False
        collateral = usdc + i128_to_object(settlement_floor(ppm)) + self.quote_balances(slot)
        if not -(<int64_t>1 << MAX_COLLATERAL_BITS) < collateral < (<int64_t>1 << MAX_COLLATERAL_BITS):
            return False
        self.b.s.amount[head] = collateral
        return True

    cdef int leave(self, uint32_t slot, object usdc, object rows) except -1:
        """Give an account over to plain integers; `rows` None where the face holds the inputs."""
        self.close_positions(slot)
        self.extra.pop(slot, None)
        self.b.s.amount[self.b.s.where[slot]] = 0
        self.b.state[slot] = <uint8_t>((self.b.state[slot] | STATE_OUTSIDE) & ~STATE_EXTRA)
        self.outside[slot] = None if rows is None else (usdc, rows)
        return 0

    cdef int write(self, uint32_t slot, object usdc, list rows, bint beyond) except -1:
        """Replace balance and the positions named, inside or outside of the columns."""
        cdef dict extra
        cdef uint32_t held
        if beyond:
            return self.leave(slot, 0, None)
        if self.b.state[slot] & STATE_OUTSIDE:  # try to come back, with all that is held
            outside = self.outside.pop(slot)
            if outside is not None:
                rows = list(({row[0]: row for row in outside[1]} | {row[0]: row for row in rows}).values())
            self.b.state[slot] &= <uint8_t>~STATE_OUTSIDE
        extra = self.extra.get(slot, {})
        for market, quantums, _, quote_balance, custom_imf_ppm in rows:  # first, so that what opens has room
            if quote_balance or custom_imf_ppm:
                extra[market] = (quote_balance, custom_imf_ppm)
            else:
                extra.pop(market, None)
            if not quantums:
                self.set_position(slot, market, 0, 0)
        if extra:
            self.extra[slot] = extra
            self.b.state[slot] |= STATE_EXTRA
        else:
            self.extra.pop(slot, None)
            self.b.state[slot] &= <uint8_t>~STATE_EXTRA
        held = self.b.s.side[self.b.s.where[slot]]
        for market, quantums, funding_index, _, _ in rows:
            if quantums:
                if held >= MAX_HELD and find_position(&self.b.s, self.b.s.where[slot], market) == NOWHERE:
                    held_rows = {row[0]: row for row in self.rows_of(slot)} | {row[0]: row for row in rows}
                    return self.leave(slot, usdc, [row for row in held_rows.values() if any(row[1:])])
                self.set_position(slot, market, quantums, funding_index)
                held = self.b.s.side[self.b.s.where[slot]]
        if not self.settle_inside(slot, usdc):
            return self.leave(slot, usdc, self.rows_of(slot))
        classify_row(&self.b, self.b.s.where[slot])
        look_at(&self.b, slot)
        return 0

    cdef bint is_plain(self, uint32_t slot) noexcept:
        return (self.b.state[slot] & (STATE_USED | STATE_OUTSIDE | STATE_EXTRA)) == STATE_USED

    cdef int64_t held_quantums(self, uint32_t slot, uint32_t market) noexcept:
        cdef uint32_t place = find_position(&self.b.s, self.b.s.where[slot], market)
        return self.b.s.amount[place] if place != NOWHERE else 0

    cdef int resize(
        self, uint32_t slot, const int64_t *usdc, const position_t *given, size_t count, int64_t height,
        uint32_t basis
    ) except -1:
        cdef uint32_t head = self.b.s.where[slot]
        cdef object balance = self.usdc_of(slot) if usdc == NULL else None
        cdef uint32_t place, i
        cdef size_t row
        self.set_source(slot, height, basis)
        for row in range(count):
            self.b.s.amount[find_position(&self.b.s, head, given[row].market)] = given[row].quantums
        for i in range(self.b.s.side[head]):
            place = position_slot(head, i)
            self.b.s.index[place] = self.b.markets[self.b.s.side[place] >> 1].funding_index
        if usdc == NULL and not object_to_i64(balance, &self.b.s.amount[head]):
            return self.leave(slot, balance, self.rows_of(slot))
        if usdc != NULL:
            self.b.s.amount[head] = usdc[0]
        if not fits_collateral(self.b.s.amount[head]):
            return self.leave(slot, self.b.s.amount[head], self.rows_of(slot))
        classify_row(&self.b, head)
        look_at(&self.b, slot)
        return 0

    cdef void set_source(self, uint32_t slot, int64_t height, uint32_t basis) noexcept:
        """Note the block and the basis of an account's own inputs."""
        self.b.height[slot] = height
        self.b.state[slot] = <uint8_t>(
            (self.b.state[slot] & ((1 << STATE_BASIS_SHIFT) - 1)) | (basis << STATE_BASIS_SHIFT))
