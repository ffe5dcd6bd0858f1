"""What the stores of many accounts have in common: one writer, handles, thresholds, crossings.

A store is read by any thread and changed by one, from `begin` to `end`; a second writer is refused. The GIL is kept.
"""

from cpython.number cimport PyIndex_Check, PyNumber_Index
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint32_t

from dydx_perf.errors import (
    CapacityError,
    InputError,
    ObserverError,
    StaleError,
    UnknownSubaccountError,
    WriterError,
)

from dydx_perf.ext.account cimport Risk
from dydx_perf.ext.book_rows cimport NOWHERE, is_below
from dydx_perf.ext.crossing cimport Crossing
from dydx_perf.ext.crossings cimport Crossings, edge_t
from dydx_perf.ext.fixed cimport object_to_i64
from dydx_perf.ext.structs cimport position_t, risk_t


cdef Crossings NOTHING = Crossings.__new__(Crossings)


cdef uint32_t checked_thresholds(object max_thresholds) except? 0xffffffff:
    """Room for thresholds, as it was asked for."""
    if not isinstance(max_thresholds, int) or isinstance(max_thresholds, bool) or not 0 <= max_thresholds < (1 << 31):
        raise InputError("max_thresholds", max_thresholds, f"an int of 0 to {(1 << 31) - 1}")
    return max_thresholds


cdef size_t threshold_bytes(uint32_t max_thresholds) noexcept:
    """Bytes that the columns of thresholds take."""
    return <size_t>max_thresholds * (2 * sizeof(int64_t) + sizeof(uint32_t) + 1)


cdef class AccountStore:
    """Base of BookStore and IndexedStore; nothing by itself."""

    # -- what each kind of store does in its own way

    cdef uint32_t fresh_slots(self) noexcept:
        return 0

    cdef bint is_used(self, uint32_t slot) noexcept:
        return False

    cdef uint32_t generation_at(self, uint32_t slot) noexcept:
        return 0

    cdef uint32_t slot_named(self, object name) except? 0xffffffff:
        return NOWHERE

    cdef bint read_risk(self, uint32_t slot, risk_t *out) noexcept:
        return False

    cdef Risk risk_at(self, uint32_t slot):
        return None

    cdef bint is_plain_integers(self, uint32_t slot) noexcept:
        return False

    cdef void mark_watched(self, uint32_t slot, bint watched) noexcept:
        pass

    cdef int settle(self) except -1:
        """Take over what changed in the table, evaluate what changed here, and note the crossings in `pending`."""
        return 0

    cdef bint is_plain(self, uint32_t slot) noexcept:
        """Whether a slot has an account all of whose inputs its columns hold."""
        return False

    cdef int64_t held_quantums(self, uint32_t slot, uint32_t market) noexcept:
        return 0

    cdef int resize(
        self, uint32_t slot, const int64_t *usdc, const position_t *given, size_t count, int64_t height,
        uint32_t basis
    ) except -1:
        """Replace the balance (NULL: as it is) and the quantums of positions that a plain account has.

        All its positions are settled to their markets' present indices, as the chain does when an account changes.
        No quantums are 0. `settle` comes after it.
        """
        return 0

    def finish(self):
        """Take over what changed in the table, evaluate what changed here, and return the crossings."""
        self.settle()
        return self.take_pending()

    # -- one writer

    def begin(self):
        """Enter a change; refused while another one is under way, in this thread or another."""
        if self.writing:
            raise WriterError("this book is being changed: by another thread, or by an observer within a call")
        self.keep_crossings()
        self.writing = True
        self.sequence += 1

    def end(self):
        """Leave a change."""
        self.writing = False

    cdef int require_fresh(self) except -1:
        """Refuse to answer from a state that the chain has left; within a change the state before it answers."""
        if not self.writing and self.seen_version != self.table.version:
            raise StaleError("the chain was changed past this book: catch_up() brings it in step")
        return 0

    def refuse_stale(self):
        """Refuse what must be of now while the chain is past the book."""
        self.require_fresh()

    # -- names and handles

    cdef uint32_t slot_of(self, object account) except? 0xffffffff:
        cdef int64_t handle = 0
        cdef uint32_t slot
        if PyIndex_Check(account):  # NumPy's integers are no int
            if object_to_i64(PyNumber_Index(account), &handle) and handle > 0:
                slot = <uint32_t>(handle & 0xffffffff)
                if (
                    slot < self.fresh_slots()
                    and self.is_used(slot)
                    and self.generation_at(slot) == handle >> 32
                ):
                    return slot
        else:
            slot = self.slot_named(account)
            if slot != NOWHERE:
                return slot
        raise UnknownSubaccountError(account)

    def slot(self, account, /):
        """Slot of an account, by its handle or its (address, number)."""
        return self.slot_of(account)

    def handle(self, slot, /):
        """Handle of the account in a slot."""
        return (<int64_t>self.generation_at(slot) << 32) | <uint32_t>slot

    def risk(self, account, /):
        """Risk of an account as of the last finished call."""
        self.require_fresh()
        return self.risk_at(self.slot_of(account))

    # -- crossings

    cdef int note(self, uint32_t slot, int64_t numerator, int64_t denominator, bint below) except -1:
        """Keep one edge of an account until the call returns; a numerator of 0 is the chain's own rule."""
        cdef edge_t edge
        cdef Crossing made = None
        edge.handle = (<int64_t>self.generation_at(slot) << 32) | slot
        edge.numerator = numerator
        edge.denominator = denominator
        edge.below = below
        if self.is_plain_integers(slot):  # the chain that they stand on may be another one when they are read
            made = Crossing.__new__(Crossing)
            made.handle = edge.handle
            made.address, made.number = self.name_at(slot)
            made.threshold = (numerator, denominator) if numerator else None
            made.below = below
            made.risk = self.risk_at(slot)
        if self.pending is None:
            self.pending = Crossings.__new__(Crossings)
            self.pending.source = self
            self.pending.time = self.time
        return self.pending.append(&edge, made)

    cdef int keep_crossings(self) except -1:
        """Before a change: crossings that somebody still holds take what they say of the state as it is."""
        if self.open_crossings != NULL:
            (<Crossings>self.open_crossings).keep()
        if self.pending is not None:
            self.pending.make_all()
        return 0

    cdef Crossings take_pending(self):
        """What was found, for the caller; from now on it is what `keep_crossings` keeps."""
        crossings, self.pending = self.pending, None
        if crossings is None:
            return NOTHING
        if self.open_crossings != NULL:
            (<Crossings>self.open_crossings).keep()
        self.open_crossings = <void *>crossings
        return crossings

    cdef object tell_pending(self, object observers):
        """What was found, after observers(crossings) told them; an empty tuple where nothing was, nothing made."""
        if self.pending is None:
            return ()
        crossings = self.take_pending()
        errors = observers(crossings)
        if errors:
            raise ObserverError(errors, crossings)
        return crossings

    # -- thresholds

    cdef void place_thresholds(self, char *arena) noexcept:
        """Lay the columns of thresholds into memory that is aligned for them."""
        self.numerator = <int64_t *>arena
        self.denominator = self.numerator + self.max_thresholds
        self.next_threshold = <uint32_t *>(self.denominator + self.max_thresholds)
        self.below = <uint8_t *>(self.next_threshold + self.max_thresholds)
        self.free_threshold = NOWHERE

    cdef int report_thresholds(self, uint32_t slot) except -1:
        """Compare an account's thresholds with what was last reported of them, and note each edge."""
        cdef uint32_t threshold = self.first_threshold[slot]
        cdef risk_t risk
        cdef Risk wide = None
        cdef bint below
        if threshold == NOWHERE:
            return 0
        if not self.read_risk(slot, &risk):
            wide = self.risk_at(slot)
        while threshold != NOWHERE:
            if wide is None:
                below = is_below(&risk, self.numerator[threshold], self.denominator[threshold])
            else:
                below = (
                    wide.mmr > 0 and wide.nc * self.denominator[threshold] < wide.mmr * self.numerator[threshold])
            if below != (self.below[threshold] != 0):
                self.note(slot, self.numerator[threshold], self.denominator[threshold], below)
                self.below[threshold] = below
            threshold = self.next_threshold[threshold]
        return 0

    def add_threshold(self, slot, int64_t numerator, int64_t denominator):
        """Report when nc / mmr crosses numerator / denominator, from the present side on."""
        cdef uint32_t watched = slot
        cdef uint32_t threshold = self.first_threshold[watched]
        cdef risk_t risk
        while threshold != NOWHERE:
            if self.numerator[threshold] == numerator and self.denominator[threshold] == denominator:
                return
            threshold = self.next_threshold[threshold]
        threshold = self.free_threshold
        if threshold != NOWHERE:
            self.free_threshold = self.next_threshold[threshold]
        elif self.fresh_threshold < self.max_thresholds:
            threshold = self.fresh_threshold
            self.fresh_threshold += 1
        else:
            raise CapacityError(f"the book has room for {self.max_thresholds} thresholds")
        if self.read_risk(watched, &risk):
            self.below[threshold] = is_below(&risk, numerator, denominator)
        else:
            wide = self.risk_at(watched)
            self.below[threshold] = wide.mmr > 0 and wide.nc * denominator < wide.mmr * numerator
        self.thresholds += 1
        self.numerator[threshold] = numerator
        self.denominator[threshold] = denominator
        self.next_threshold[threshold] = self.first_threshold[watched]
        self.first_threshold[watched] = threshold
        self.mark_watched(watched, True)

    def remove_threshold(self, slot, int64_t numerator, int64_t denominator):
        """Forget a threshold; nothing happens when there is none."""
        cdef uint32_t threshold = self.first_threshold[<uint32_t>slot]
        while threshold != NOWHERE:
            if self.numerator[threshold] == numerator and self.denominator[threshold] == denominator:
                self.drop_threshold(slot, threshold)
                return
            threshold = self.next_threshold[threshold]

    cdef void drop_threshold(self, uint32_t slot, uint32_t threshold) noexcept:
        cdef uint32_t *link = &self.first_threshold[slot]
        while link[0] != threshold:
            link = &self.next_threshold[link[0]]
        link[0] = self.next_threshold[threshold]
        self.next_threshold[threshold] = self.free_threshold
        self.free_threshold = threshold
        self.thresholds -= 1
        if self.first_threshold[slot] == NOWHERE:
            self.mark_watched(slot, False)
