"""The store behind an indexed book: a million accounts, and prices that touch only who is near the line.

It has the doors of `dydx_perf.ext.book.BookStore` and gives the same answers: the plain store computes every holder
at each change and is its judge. Here positions lie as the certified scan reads them (slices.pxd), a price is
answered by the trigger index or by a scan of everything (triggers.pxd), and a risk is computed when it is asked for.

Like that store it checks nothing that its face has checked, and raises CapacityError at the edge of its memory before
anything is changed.

Hazards: one writer at a time, from `begin` to `end`; a second one is refused. The GIL is kept, and each change is
made visible by C code alone, so a reader on another thread sees the state before a call or the one after it.
"""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memmove

from dydx_perf.ext.account cimport NO_ROW, Account
from dydx_perf.ext.book_rows cimport NOWHERE, prefetch
from dydx_perf.ext.fixed cimport add, i128, mul_i64, sub
from dydx_perf.ext.indexed_accounts cimport IndexedAccounts
from dydx_perf.ext.indexed_rows cimport (
    AHEAD,
    EXTENT,
    EXTENT_BITS,
    MAX_COLLATERAL_BITS,
    MAX_INDEX_BITS,
    STATE_ASKED,
    STATE_OUTSIDE,
    STATE_QUEUED,
    STATE_REPORTED,
    STATE_USED,
    classify_row,
    evaluate_row,
    fits_collateral,
    is_in_window,
    is_weighable,
    queue_account,
    reprice,
    scan_rows,
    settlement_of_row,
    slices_in_page,
    touch_market,
    weigh_market,
)
from dydx_perf.ext.settle cimport settlement_floor
from dydx_perf.ext.slices cimport (
    PAGE_BITS,
    CLASSES,
    LANES,
    MAX_HELD,
    capacity_of,
    find_position,
    has_bit,
    position_slot,
    set_bit,
)
from dydx_perf.ext.structs cimport STATUS_OK, market_t, risk_t
from dydx_perf.ext.triggers cimport advance, change_collateral, clear_stale, look_at, tend


cdef class IndexedStore(IndexedAccounts):
    """Rows of accounts, entries of markets, one block of memory.

    Parameters
    ----------
    table : MarketTable
        The chain's markets. The store keeps a copy of its own and `finish` brings it in step.
    exact : callable
        ``exact(name, usdc, positions, beyond)`` gives (nc, imr, mmr) as ints where 128 bits do not hold the
        account, as for BookStore.
    max_subaccounts, max_positions, max_markets, max_thresholds : int
    path : str, optional
        Name of a scan of `scan_paths`; by default the fastest.
    """

    def __cinit__(self, *_, **__):
        self.catch_up()

    # -- in step with the chain

    cdef int catch_up(self) except -1:
        """Take over the rows that changed in the table: funding first, at the old prices, then prices and tiers.

        A market that the book has no row for has no holders here.
        """
        cdef uint32_t capacity = self.b.market_extent.capacity
        cdef uint64_t settled = 0
        cdef dict leaving = {}
        cdef size_t first = NO_ROW
        cdef size_t i = self.table.newest
        while i != NO_ROW and self.table.origins[i].changed > self.seen_version:
            first = i
            if i < capacity and self.b.markets[i].funding_index != self.table.rows[i].funding_index:
                settled += self.b.holders[i]
            i = self.table.origins[i].older
        if settled:
            self.settle_holders(first, settled > self.b.account_extent.used, leaving)
            if self.b.stale_count or self.b.dirty_rows:
                self.moved = True
            for slot, (usdc, rows) in leaving.items():
                self.leave(slot, usdc, rows)
        i = first
        while i != NO_ROW:
            if i < capacity:
                if not self.table.rows[i].in_range:
                    self.leave_market(<uint32_t>i)
                self.take_market(<uint32_t>i, &self.table.rows[i])
            i = self.table.origins[i].newer
        if first != NO_ROW and self.outside:
            self.come_back()
        i = self.table.count
        self.b.market_extent.fresh = self.b.market_extent.used = <uint32_t>i if i < capacity else capacity
        self.block_height = self.table.block_height
        self.seen_version = self.table.version
        return 0

    cdef int leave_market(self, uint32_t market) except -1:
        """Give the holders of a market that its row does not hold over to plain integers."""
        cdef uint32_t slot
        while self.b.holders[market]:
            slot = self.b.entry_account[self.b.first_extent[market] << EXTENT_BITS]
            self.leave(slot, self.usdc_of(slot), self.rows_of(slot))
        return 0

    cdef int come_back(self) except -1:
        """Take accounts in again that the columns hold now."""
        for slot, inputs in list(self.outside.items()):
            if inputs is not None and self.fits_inside(*inputs):
                self.write(slot, inputs[0], [], False)
        return 0

    def fits_inside(self, usdc, rows):
        """Whether the columns hold an account."""
        cdef uint32_t market
        collateral = usdc
        ppm = 0
        for market, quantums, funding_index, quote_balance, _ in rows:
            if quantums and not self.b.markets[market].in_range:
                return False
            for index in (funding_index, self.b.markets[market].funding_index) if quantums else ():
                if not -(<int64_t>1 << MAX_INDEX_BITS) < index < (<int64_t>1 << MAX_INDEX_BITS):
                    return False
            ppm += (funding_index - self.b.markets[market].funding_index) * quantums
            collateral += quote_balance
        collateral += ppm // 1_000_000
        return (
            sum([row[1] != 0 for row in rows]) <= MAX_HELD
            and -(<int64_t>1 << MAX_COLLATERAL_BITS) < collateral < (<int64_t>1 << MAX_COLLATERAL_BITS)
        )

    cdef int settle_holders(self, size_t first, bint everybody, dict leaving) except -1:
        """Settle at the new funding indices of the changed rows from `first` on: row by row, or market by market."""
        cdef size_t i = first
        if everybody:
            return self.settle_all(leaving)
        while i != NO_ROW:
            if i < self.b.market_extent.capacity and self.b.holders[i]:
                if self.b.markets[i].funding_index != self.table.rows[i].funding_index:
                    self.settle_market(<uint32_t>i, self.table.rows[i].funding_index, leaving)
                    self.b.markets[i].funding_index = self.table.rows[i].funding_index
            i = self.table.origins[i].newer
        return 0

    cdef int take_market(self, uint32_t market, const market_t *changed) except -1:
        """Replace a market; its holders are answered for when the index advances."""
        cdef market_t old = self.b.markets[market]
        cdef bint same_weights = (
            is_weighable(&old)
            and is_weighable(changed)
            and old.power == changed.power
            and old.initial_margin_ppm == changed.initial_margin_ppm
            and old.maintenance_fraction_ppm == changed.maintenance_fraction_ppm
        )
        cdef uint32_t extent, left, entries, entry
        self.b.markets[market] = changed[0]
        if same_weights and old.price == changed.price:
            return 0
        if same_weights and is_in_window(&self.b, market):
            reprice(&self.b, market)
            touch_market(&self.b, market)
            self.moved = True
            return 0
        weigh_market(&self.b, market)
        touch_market(&self.b, market)
        self.moved = True
        extent = self.b.first_extent[market]
        left = self.b.holders[market]
        while left:
            entries = left if left < EXTENT else EXTENT
            left -= entries
            for entry in range(extent << EXTENT_BITS, (extent << EXTENT_BITS) + entries):
                classify_row(&self.b, self.b.s.where[self.b.entry_account[entry]])
                look_at(&self.b, self.b.entry_account[entry])
            extent = self.b.extent_next[extent]
        return 0

    cdef int settle_row(self, uint32_t head, i128 before, i128 after, dict leaving) except -1:
        """Move a row's collateral from one sum of ppm to another; who does not fit any more is to leave."""
        cdef i128 change = 0
        cdef i128 amount = 0
        if sub(settlement_floor(after), settlement_floor(before), &change) or add(
            self.b.s.amount[head], change, &amount
        ):
            amount = <i128>1 << 100
        if not fits_collateral(amount):
            slot = self.b.s.link[head]
            leaving[slot] = (self.usdc_of(self.b.s.link[head]), self.rows_of(self.b.s.link[head]))
            return 0
        if change != 0:
            change_collateral(&self.b, head, <int64_t>change)
        return 0

    cdef int settle_market(self, uint32_t market, int64_t funding_index, dict leaving) except -1:
        """Settle the holders of one market at its new funding index."""
        cdef bint fits = -(<int64_t>1 << MAX_INDEX_BITS) < funding_index < (<int64_t>1 << MAX_INDEX_BITS)
        cdef uint32_t extent = self.b.first_extent[market]
        cdef uint32_t left = self.b.holders[market]
        cdef uint32_t entries, entry, slot, head
        cdef i128 before = 0
        cdef i128 after = 0
        while left:
            entries = left if left < EXTENT else EXTENT
            left -= entries
            for entry in range(extent << EXTENT_BITS, (extent << EXTENT_BITS) + entries):
                slot = self.b.entry_account[entry]
                head = self.b.s.where[slot]
                if leaving and slot in leaving:
                    continue
                settlement_of_row(&self.b, head, &before)
                if fits and not sub(
                    before,
                    mul_i64(
                        funding_index - self.b.markets[market].funding_index,
                        self.b.s.amount[find_position(&self.b.s, head, market)],
                    ),
                    &after,
                ):
                    self.settle_row(head, before, after, leaving)
                else:
                    leaving[slot] = (self.usdc_of(slot), self.rows_of(slot))
            extent = self.b.extent_next[extent]
        return 0

    cdef int settle_all(self, dict leaving) except -1:
        """Settle everybody at the new funding indices of all markets, row after row."""
        cdef uint32_t i, kind, page, stride, lane, head, position, slot, market
        cdef int64_t old, new
        cdef i128 before, after
        cdef bint fits
        for kind in range(1, <uint32_t>CLASSES):
            stride = capacity_of(kind) + 1
            page = self.b.s.first_page[kind]
            while page != NOWHERE:
                head = (page << PAGE_BITS) * LANES
                for _ in range(slices_in_page(&self.b.s, kind, page)):
                    for lane in range(<uint32_t>LANES):
                        if self.b.s.side[head + lane] == 0:
                            continue
                        before = after = 0
                        fits = True
                        for position in range(self.b.s.side[head + lane]):
                            slot = position_slot(head + lane, position)
                            market = self.b.s.side[slot] >> 1
                            old = self.b.markets[market].funding_index
                            new = self.table.rows[market].funding_index
                            fits &= -(<int64_t>1 << MAX_INDEX_BITS) < new < (<int64_t>1 << MAX_INDEX_BITS)
                            before += mul_i64(self.b.s.index[slot] - old, self.b.s.amount[slot])
                            if fits and add(
                                after, mul_i64(self.b.s.index[slot] - new, self.b.s.amount[slot]), &after
                            ):
                                fits = False
                        if fits:
                            if before != after:
                                self.settle_row(head + lane, before, after, leaving)
                        else:
                            i = self.b.s.link[head + lane]
                            leaving[i] = (self.usdc_of(i), self.rows_of(i))
                    head += stride * LANES
                page = self.b.s.page_next[page]
        for i in range(self.b.market_extent.used):
            self.b.markets[i].funding_index = self.table.rows[i].funding_index
        return 0

    cdef int settle(self) except -1:
        cdef uint32_t done = 0
        cdef uint32_t slot
        self.catch_up()
        if self.moved:
            advance(&self.b)
            self.moved = False
        self.ask()
        # From here on every reader sees the new state; objects are only made now.
        self.time = self.table.time
        try:
            while done < self.b.queued:
                if done + AHEAD < self.b.queued:
                    slot = self.b.queue[done + AHEAD]
                    prefetch(&self.b.s.where[slot])
                    prefetch(&self.b.generation[slot])
                self.report(self.b.queue[done])
                self.b.state[self.b.queue[done]] &= <uint8_t>~STATE_QUEUED
                done += 1
        finally:  # an account that could not be reported stays in the queue
            self.b.queued -= done
            memmove(self.b.queue, self.b.queue + done, self.b.queued * sizeof(uint32_t))
        for watched in self.watched:
            self.report_thresholds(watched)
        return 0

    cdef int ask(self) except -1:
        """Have plain integers decide the accounts that no columns or 128 bits hold.

        They are asked at every change: what moved them need not be seen in the columns.
        """
        cdef uint32_t i, slot
        cdef risk_t risk
        for i in range(self.b.queued):
            slot = self.b.queue[i]
            if self.b.state[slot] & STATE_ASKED:
                self.b.state[slot] &= <uint8_t>~STATE_ASKED
                self.wide.add(slot)
        for slot in tuple(self.wide):
            if (
                not self.b.state[slot] & STATE_USED
                or self.b.state[slot] & STATE_OUTSIDE
                or evaluate_row(&self.b, self.b.s.where[slot], &risk) == STATUS_OK
            ):
                self.wide.discard(slot)
            else:
                self.decide(slot)
        for slot in self.outside:
            self.decide(slot)
        return 0

    cdef int decide(self, uint32_t slot) except -1:
        """Flag an account by plain integers."""
        cdef bint flagged = self.risk_at(slot).is_liquidatable
        if flagged != has_bit(self.b.s.flagged, self.b.s.where[slot]):
            set_bit(self.b.s.flagged, self.b.s.where[slot], flagged)
            queue_account(&self.b, slot)
        return 0

    cdef int report(self, uint32_t slot) except -1:
        """Compare an account with what was last reported of it."""
        cdef bint flagged = has_bit(self.b.s.flagged, self.b.s.where[slot])
        if flagged != ((self.b.state[slot] & STATE_REPORTED) != 0):
            self.note(slot, 0, 0, flagged)
            self.b.state[slot] ^= STATE_REPORTED
        return 0

    def tend(self, accounts, /):
        """Go on with what the index missed, at most so many accounts; True when nothing is left."""
        return tend(&self.b, accounts)

    # -- accounts; each call between `begin` and `finish`

    def update(self, slot, usdc, list rows, height, basis, beyond):
        """Replace balance and the positions named; room was asked for before.

        A row is (market index, quantums, funding index, quote balance, custom_imf_ppm), all zero closes it.
        `beyond` says that a value does not fit its column: `exact` knows the inputs already.
        """
        self.update_all([(slot, usdc, rows, height, basis, beyond)])

    def update_all(self, list changes):
        """Update accounts together: each change is what `update` takes, or a name for one that is not here yet."""
        cdef uint32_t slot
        self.catch_up()
        for account, usdc, rows, height, basis, beyond in changes:
            slot = self.open(account, height, basis) if isinstance(account, tuple) else account
            self.set_source(slot, height, basis)
            self.write(slot, usdc, rows, beyond)

    def add(self, list names, list accounts):
        """Add accounts; room was asked for before.

        Each is an Account on the same table and not wide, or what `update` takes: (usdc, rows, height, basis,
        beyond).
        """
        cdef Account account
        cdef uint32_t slot
        cdef size_t i, row
        self.catch_up()
        for row in range(<size_t>len(names)):
            if isinstance(accounts[row], tuple):
                usdc, rows, height, basis, beyond = accounts[row]
                slot = self.open(names[row], height, basis)
                self.write(slot, usdc, rows, beyond)
                continue
            account = accounts[row]
            slot = self.open(names[row], account.own_height, account.own_basis)
            self.write(
                slot,
                account.usdc_quantums,
                [
                    (
                        account.rows[i].market, account.rows[i].quantums, account.rows[i].funding_index,
                        account.rows[i].quote_balance, account.rows[i].custom_imf_ppm,
                    )
                    for i in range(account.count)
                ],
                False,
            )

    def load(self, columns, int64_t height, uint32_t basis):
        """Add accounts from a `Columns` (dydx_perf.book_inputs), positions by ascending account. All was checked."""
        cdef list names = columns.names
        cdef const int64_t[::1] usdc = columns.usdc
        cdef const uint32_t[::1] account = columns.account
        cdef const uint32_t[::1] market = columns.market
        cdef const int64_t[::1] quantums = columns.quantums
        cdef const int64_t[::1] funding_index = columns.funding_index
        cdef const int64_t[::1] quote_balance = columns.quote_balance
        cdef const uint32_t[::1] custom_imf_ppm = columns.custom_imf_ppm
        cdef size_t row, at = 0, first, count = account.shape[0]
        cdef uint32_t slot, held
        cdef bint plain
        self.catch_up()
        for row in range(<size_t>len(names)):
            slot = self.open(names[row], height, basis)
            first = at
            plain = True
            held = 0
            while at < count and account[at] == row:
                plain &= quote_balance[at] == 0 and custom_imf_ppm[at] == 0
                held += quantums[at] != 0
                at += 1
            if not plain or held > MAX_HELD:
                self.write(
                    slot,
                    usdc[row],
                    [
                        (market[i], quantums[i], funding_index[i], quote_balance[i], custom_imf_ppm[i])
                        for i in range(first, at)
                    ],
                    False,
                )
                continue
            for place in range(first, at):
                self.set_position(slot, market[place], quantums[place], funding_index[place])
            if self.settle_inside(slot, usdc[row]):
                classify_row(&self.b, self.b.s.where[slot])
                look_at(&self.b, slot)
            else:
                self.leave(slot, usdc[row], self.rows_of(slot))

    def set_heights(self, int64_t height):
        """Every account's inputs hold at a block."""
        cdef uint32_t slot
        for slot in range(self.b.account_extent.fresh):
            self.b.height[slot] = height

    def scan(self):
        """Decide every account anew; nothing is stale afterwards."""
        cdef uint32_t slot
        self.catch_up()
        for slot in range(self.b.account_extent.fresh):
            if self.b.state[slot] & STATE_USED and not self.b.state[slot] & STATE_OUTSIDE:
                look_at(&self.b, slot)
        clear_stale(&self.b)
        self.moved = False

    def scan_rows(self):
        """Decide every account by the certified scan, as a tick with many crossed triggers does."""
        scan_rows(&self.b)
