"""Every subaccount of a chain in one book, from the pages of a node; without a socket.

Hazards: one thread uses it and the book that it fills. What an error is raised for was not applied, and the
same page is to be asked for again.

A pass asks for all pages from the first to the last. Its first answer's height is that of all its other
questions (metadata ``x-cosmos-block-height``), as long as the node keeps that state; pages of several heights
are taken, and said. The first pass fills the book; each later one is held against it, and corrects it.

Between passes a stream may say that an account changed (`whole_chain_stream`). It tells a balance without its
sign, so what it says is never written: the account is in doubt until a page or an answer of that height, or a
later one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from dydx_perf.book import Book
from dydx_perf.book_inputs import Row
from dydx_perf.chain import Chain
from dydx_perf.errors import CapacityError, FrameError, InputError
from dydx_perf.ext.crossing import Crossing
from dydx_perf.ext.stream import SubaccountPage, scan_subaccounts
from dydx_perf.feeds.book_rows import ESTIMATE
from dydx_perf.feeds.book_writer import BookWriter
from dydx_perf.feeds.node_queries import NodeQuery, all_accounts
from dydx_perf.market import MAX_HEIGHT, checked_integer
from dydx_perf.observers import Name
from dydx_perf.subaccount import MAX_SUBACCOUNT_NUMBER, Subaccount

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Pass", "Pending", "WholeChain"]

#: room beyond what the first page lets expect: accounts, positions
SPARE_ACCOUNTS, SPARE_POSITIONS = 1.25, 1.5
LEAST_ACCOUNTS, LEAST_POSITIONS = 1_000, 20_000
MAX_OWNER = 64  # characters
LEAST_SHARE = 0.9  # of the accounts counted on the first page, where pages are of several heights
FROM_ANSWER = 1  # what is no pass's number

#: balance, then quantums, funding index and quote balance by index of the market
State = tuple[int, dict[int, tuple[int, int, int]]]


@dataclass(slots=True)
class Pass:
    """One walk through all pages.

    Attributes
    ----------
    began_at : float
        In the caller's seconds.
    accounts, positions, pages, bytes : int
        What came so far.
    total : int
        How many accounts the node says there are; 0: it did not say.
    low, high : int or None
        Heights of its pages; None: none told its own.
    corrected, removed : int
        Accounts of the book that were other than these pages have them.
    """

    began_at: float
    accounts: int = 0
    positions: int = 0
    pages: int = 0
    bytes: int = 0
    total: int = 0
    low: int | None = None
    high: int | None = None
    corrected: int = 0
    removed: int = 0
    tells_heights: bool = True

    @property
    def is_of_one_height(self) -> bool:
        """Whether all pages told the same height."""
        return self.tells_heights and self.low is not None and self.low == self.high


@dataclass(slots=True)
class Pending:
    """An account whose state is not known.

    Attributes
    ----------
    code : str
        Of `dydx_perf.feeds.trust.DOUBTS`.
    height : int
        A state of this block, or of a later one, settles it.
    sizes : mapping of perpetual id to int
        Signed sizes that the stream told of, at that height.
    usdc : int or None
        The balance without its sign, if it told one.
    """

    code: str
    height: int = 0
    sizes: Mapping[int, int] = field(default_factory=dict)
    usdc: int | None = None


class _Accounts(NamedTuple):
    """A page's rows, sorted by what is to be done with them."""

    names: list[Name]
    slots: list[int | None]
    unknown: set[int]  # rows with a market that the chain here does not have


class WholeChain:
    """All subaccounts of a chain.

    Parameters
    ----------
    chain : Chain
        From a node's answers (`NodePicture.chain`): markets and prices that the accounts stand on.
    max_subaccounts, max_positions : int, optional
        Room of the book. By default it is taken when the first page came: a quarter more accounts than the
        node counts, and half more positions than the first page lets expect of so many.

    Notes
    -----
    Pages do not tell which margin fraction an account chose, so an initial margin requirement may be too
    small. Net collateral, maintenance margin and the verdict do not depend on it: they are exact.
    """

    def __init__(
        self, chain: Chain, *, max_subaccounts: int | None = None, max_positions: int | None = None
    ) -> None:
        if not isinstance(chain, Chain):
            raise InputError("chain", chain, "a Chain")
        for name, given in (("max_subaccounts", max_subaccounts), ("max_positions", max_positions)):
            if given is not None:
                checked_integer(name, given, 1, 2**31 - 1)
        self._chain = chain
        self._room = max_subaccounts, max_positions
        self._book: Book | None = None
        self._seen: NDArray[np.uint32]  # in which pass an account came last, by slot; 0: nobody
        self._of: NDArray[np.int64]  # height of its state, by slot
        self._told: NDArray[np.bool_]  # whether a stream tells of it, by slot
        self._ids: list[int] = []
        self._places: dict[int, int] = {}
        self._query: NodeQuery | None = None
        self._number = FROM_ANSWER
        self._pin: int | None = None
        self.running: Pass | None = None
        self.done: Pass | None = None
        self.pending: dict[Name, Pending] = {}
        self._asks: dict[Name, None] = {}
        self.contradictions = 0

    # -- passes

    def begin(self, now: float, height: int | None = None) -> NodeQuery:
        """Begin a pass: from the first page on.

        Parameters
        ----------
        now : float
            In seconds of a clock that never goes back.
        height : int, optional
            At which to ask; by default that of the first answer.
        """
        if height is not None:
            checked_integer("height", height, 0, MAX_HEIGHT)
        self._number += 1
        self._pin = height
        self.running = Pass(now)
        self._query = all_accounts()
        return self._query

    @property
    def query(self) -> NodeQuery | None:
        """The page to ask for; None: no pass is running."""
        return self._query

    @property
    def pin(self) -> int | None:
        """The height at which to ask for it; None: the node's newest."""
        return self._pin

    def unpin(self) -> None:
        """Go on at the node's newest height: it does not keep the pass's own any more."""
        self._pin = None

    def page(self, data: bytes | bytearray | memoryview, height: int | None = None) -> list[Crossing]:
        """Take the answer to `query`; the next page's is there afterwards, None after the last one.

        Parameters
        ----------
        data : bytes, bytearray or memoryview
            A `QuerySubaccountAllResponse`.
        height : int, optional
            What the answer's metadata tell under ``x-cosmos-block-height``.

        Raises
        ------
        FrameError
            It cannot be read, or cannot be this page.
        CapacityError
            The book has no room for it.
        ObserverError
            Observers of the book raised; the page was applied.
        """
        running, query = self.running, self._query
        if running is None or query is None:
            raise InputError("page", len(data), "an answer to `query`, in a pass that was begun")
        page = scan_subaccounts(data)
        is_first = query.is_first_page
        total = page.total if is_first else running.total
        accounts = running.accounts + len(page.addresses) + len(page.beside)
        self._check_place(page, accounts, total, height)
        if self._book is None:
            self._take_room(page)
        rows = self._checked(page, self._number)
        writer = BookWriter()
        self._write_columns(page, rows, height, writer)
        self._write_beside(page, height, writer)
        running.accounts, running.total = accounts, total
        running.positions += len(page.account) + sum(len(one[4]) for one in page.beside)
        running.pages += 1
        running.bytes += len(data)
        self._note_height(running, height, is_first)
        self._query = query.after(page.next_key) if page.next_key else None
        if self._query is None:
            self._finish(running, writer)
        return self._crossings(writer)

    def _check_place(self, page: SubaccountPage, accounts: int, total: int, height: int | None) -> None:
        """Refuse what cannot be this page: an end before the end, or a page that leads nowhere."""
        found = len(page.addresses) + len(page.beside)
        assert self._query is not None
        if not found and (page.next_key or self._query.is_first_page):
            raise FrameError("a page of subaccounts with at least one")
        if self._is_past(height) and self.done is not None:
            raise FrameError(f"a page of block {self.done.low} or of a later one, not of {height}")
        if page.next_key and self._query.after(page.next_key) == self._query:
            raise FrameError("a page that leads to another one")
        is_pinned = self._pin is not None and height == self._pin
        is_whole = accounts == total if is_pinned else accounts > total * LEAST_SHARE
        if not page.next_key and total and not is_whole:
            raise FrameError(f"{total:,} subaccounts on all pages, not {accounts:,}")

    def _is_past(self, height: int | None) -> bool:
        """Whether a height is before that of the last pass, which may have dropped accounts of then."""
        done = self.done
        return done is not None and done.low is not None and (height or 0) < done.low

    def _take_room(self, page: SubaccountPage) -> None:
        import numpy as np

        accounts, positions = self._room
        found = len(page.addresses) + len(page.beside)
        total = page.total or (0 if page.next_key else found)
        if accounts is None:
            if not total:
                raise CapacityError("the node does not say how many subaccounts it has: give max_subaccounts")
            accounts = int(total * SPARE_ACCOUNTS) + LEAST_ACCOUNTS
        if positions is None:
            held = (len(page.account) + sum(len(one[4]) for one in page.beside)) / found
            positions = int(max(accounts, total) * held * SPARE_POSITIONS) + LEAST_POSITIONS
        self._book = Book(self._chain, max_subaccounts=accounts, max_positions=positions, indexed=True)
        self._seen = np.zeros(accounts, np.uint32)
        self._of = np.zeros(accounts, np.int64)
        self._told = np.zeros(accounts, np.bool_)

    def _checked(self, page: SubaccountPage, number_: int | None) -> _Accounts:
        """Find the accounts of a page in the book; refuse names that are none, and one that this pass had."""
        import numpy as np

        names: list[Name] = list(zip(page.addresses, page.numbers, strict=True))
        every = names + [(one[0], one[1]) for one in page.beside]
        for address, number in every:
            if not 0 < len(address) <= MAX_OWNER or not address.isascii() or number > MAX_SUBACCOUNT_NUMBER:
                raise FrameError("subaccounts with an address and a number that the chain has")
        slots = self.book._store.slots
        places = [slots.get(name) for name in names]
        came = [place for place in places if place is not None and self._seen[place] == number_]
        if came or len(set(every)) != len(every):
            raise FrameError("each subaccount on one page, once")
        ids = np.array(self._perpetuals(), np.uint32)
        strange = np.unique(page.account[~np.isin(page.perpetual_id, ids)])
        return _Accounts(names, places, set(strange.tolist()))

    def _perpetuals(self) -> list[int]:
        """Perpetual ids by index of the market; with `_places` made anew when a market came to the chain."""
        if len(self._ids) != len(self._chain):
            self._ids = [market.perpetual_id for market in self._chain]
            self._places = {perpetual: place for place, perpetual in enumerate(self._ids)}
        return self._ids

    def _write_columns(
        self, page: SubaccountPage, rows: _Accounts, height: int | None, writer: BookWriter
    ) -> None:
        """Load what is new, and hold what the book has against the page."""
        import numpy as np

        new = [row for row, slot in enumerate(rows.slots) if slot is None and row not in rows.unknown]
        self._load(page, rows.names, new, height, writer)
        if len(new) < len(rows.names):
            first = np.searchsorted(page.account, np.arange(len(rows.names) + 1)).tolist()
            markets = self._places
            perpetuals, sizes = page.perpetual_id.tolist(), page.quantums.tolist()
            indices, quotes = page.funding_index.tolist(), page.quote_balance.tolist()
            for row, slot in enumerate(rows.slots):
                if row in rows.unknown:
                    self._seen_at(slot)
                    self.doubt(rows.names[row], Pending("unknown_market"))
                elif slot is not None:
                    held = {
                        markets[perpetuals[i]]: (sizes[i], indices[i], quotes[i])
                        for i in range(first[row], first[row + 1])
                    }
                    self._compare(rows.names[row], slot, (int(page.usdc[row]), held), height, writer)

    def _load(
        self, page: SubaccountPage, names: list[Name], new: list[int], height: int | None, writer: BookWriter
    ) -> None:
        """Take in the accounts of these rows."""
        import numpy as np

        if not new:
            return
        wanted = np.zeros(len(names), bool)
        wanted[new] = True
        of = wanted[page.account]
        place = np.cumsum(wanted, dtype=np.uint32) - np.uint32(1)
        columns: dict[str, Any] = {
            name: getattr(page, name)[of]
            for name in ("perpetual_id", "quantums", "funding_index", "quote_balance")
        }
        try:
            writer.write(
                lambda: self.book.load_columns(
                    [page.addresses[row] for row in new],
                    [page.numbers[row] for row in new],
                    page.usdc[wanted],
                    account=place[page.account[of]].astype(np.uint32),
                    height=height,
                    basis="estimate",
                    **columns,
                )
            )
        except CapacityError as error:
            raise self._too_many(error) from None
        slots = self.book._store.slots
        for row in new:
            slot = slots.get(names[row])
            assert slot is not None
            self._told[slot] = False
            self._settle(names[row], slot, height, None)

    def _too_many(self, error: CapacityError) -> CapacityError:
        running = self.running
        told = "" if running is None else f" {running.accounts:,} of {running.total:,} subaccounts came."
        return CapacityError(f"{error}.{told} Give more room: max_subaccounts, max_positions")

    def _compare(self, name: Name, slot: int, theirs: State, height: int | None, writer: BookWriter) -> bool:
        """Write an account as a node has it, unless something newer is known; False: contradicted."""
        self._seen_at(slot)
        if (height or 0) < self._of[slot]:
            return True
        usdc, held, _, _ = self.book._inputs(slot, name)
        ours = {row[0]: row[1:4] for row in held if row[1] or row[3]}
        wanted = {market: row for market, row in theirs[1].items() if row[0] or row[2]}
        agrees = self._settle(name, slot, height, theirs)
        if (usdc, ours) == (theirs[0], wanted):
            return agrees
        if self.running is not None:
            self.running.corrected += 1
        self._put(name, held, (theirs[0], wanted), height, writer)
        return agrees

    def _put(
        self,
        name: Name,
        held: list[Row],
        state: State,
        height: int | None,
        writer: BookWriter,
    ) -> None:
        chosen = {row[0]: row[4] for row in held}
        rows = {market: (market, 0, 0, 0, ppm) for market, ppm in chosen.items() if ppm}
        rows |= {market: (market, *row, chosen.get(market, 0)) for market, row in state[1].items()}
        source = -1 if height is None else height, ESTIMATE
        plan = self.book._plan()
        try:
            plan.put(name, state[0], rows.values(), source)
        except CapacityError:
            self.doubt(name, Pending("over_capacity", height or 0))
        else:
            writer.write(lambda: self.book._change(plan.write))

    def _write_beside(self, page: SubaccountPage, height: int | None, writer: BookWriter) -> None:
        """Take accounts that no column holds: numbers past 64 bits, other collateral, one by one."""
        markets = self._places
        for address, number, usdc, others, rows in page.beside:
            name = address, number
            slot = self.book._store.slots.get(name)
            strange = any(row[0] not in markets for row in rows)
            if others or strange:
                self._seen_at(slot)
                self.doubt(name, Pending("other_collateral" if others else "unknown_market"))
                continue
            if slot is None:
                try:
                    writer.write(partial(self.book.add, Subaccount(self._chain, *name)))
                except CapacityError as error:
                    raise self._too_many(error) from None
                slot = self.book._store.slot(name)
                self._of[slot] = 0
                self._told[slot] = False
            self._compare(name, slot, (usdc, {markets[row[0]]: row[1:] for row in rows}), height, writer)

    def _seen_at(self, slot: int | None) -> None:
        if slot is not None:
            if self.running is not None:
                self._seen[slot] = self._number
            elif not self._seen[slot]:
                self._seen[slot] = FROM_ANSWER

    def _settle(self, name: Name, slot: int, height: int | None, state: State | None) -> bool:
        """Note the height of a state, and lift a doubt if that is late enough; False: contradicted."""
        self._seen_at(slot)
        self._of[slot] = height or 0
        pending = self.pending.get(name)
        if pending is None or (height or 0) < pending.height:
            return True
        del self.pending[name]
        self._asks.pop(name, None)
        if state is None or height != pending.height:
            return True
        perpetuals = self._perpetuals()
        sizes = {perpetuals[market]: row[0] for market, row in state[1].items()}
        agrees = pending.usdc in (None, abs(state[0])) and all(
            sizes.get(perpetual, 0) == size for perpetual, size in pending.sizes.items()
        )
        self.contradictions += not agrees
        return agrees

    def _note_height(self, running: Pass, height: int | None, is_first: bool) -> None:
        if height is None:
            running.tells_heights = False
            return
        if is_first and self._pin is None:
            self._pin = height
        running.low = height if running.low is None else min(running.low, height)
        running.high = height if running.high is None else max(running.high, height)

    def _finish(self, running: Pass, writer: BookWriter) -> None:
        """Drop accounts that are not on the chain any more: only pages of one height can tell."""
        low = running.low
        if (
            self.done is not None
            and low is not None
            and running.is_of_one_height
            and running.accounts == running.total
        ):
            missing = (self._seen != self._number) & (self._seen > 0) & (self._of <= low)
            for slot in missing.nonzero()[0].tolist():
                name = self.book._store.names[slot]
                self._seen[slot] = 0
                self._told[slot] = False
                if name is None:
                    continue
                writer.write(partial(self.book.remove, name))
                self.pending.pop(name, None)
                running.removed += 1
        self.running, self.done = None, running

    def _crossings(self, writer: BookWriter) -> list[Crossing]:
        crossings = writer.crossings()
        error = writer.error(crossings)
        if error is not None:
            raise error
        return crossings

    # -- what a stream says, and what is asked because of it

    def doubt(self, name: Name, pending: Pending) -> None:
        """Put an account in doubt, and have it asked for."""
        known = self.pending.get(name)
        if known is None or known.height <= pending.height:
            self.pending[name] = pending
        if pending.code == "unknown_sign":
            self._asks[name] = None

    def changed(
        self, name: Name, height: int, is_snapshot: bool, sizes: Mapping[int, int], usdc: int | None
    ) -> None:
        """Note that a stream tells of an account: signed sizes by perpetual id, the balance without sign.

        What the book has already is not asked for; neither is a snapshot of what it has: that no balance
        changed its sign meanwhile is confirmed by the next pass.
        """
        slot = self.book._store.slots.get(name)
        if slot is not None and height <= self._of[slot]:
            return
        if is_snapshot:
            usdc = usdc or 0
            held_usdc, rows = (0, []) if slot is None else self.book._inputs(slot, name)[:2]
            perpetuals = self._perpetuals()
            held = {perpetuals[row[0]]: row[1] for row in rows if row[1]}
            if (held, abs(held_usdc)) == ({market: size for market, size in sizes.items() if size}, usdc):
                return
        self.doubt(name, Pending("unknown_sign", height, dict(sizes), usdc))

    def asks(self, count: int) -> list[Name]:
        """Return accounts to ask for (`node_queries.account_queries`), each once until it is put back."""
        names = list(self._asks)[: max(count, 0)]
        for name in names:
            del self._asks[name]
        return names

    def unanswered(self, name: Name) -> None:
        """Have an account asked for again, if it still is in doubt."""
        if name in self.pending:
            self._asks[name] = None

    def answered(
        self, name: Name, data: bytes | bytearray | memoryview, height: int | None
    ) -> tuple[list[Crossing], bool]:
        """Take a `QuerySubaccountResponse`: crossings, and whether it agrees with what the stream said.

        One that is older than what the stream told leaves the account in doubt, and has it asked for again.

        Raises
        ------
        FrameError
            It cannot be read, or is another account's.
        ObserverError
            Observers of the book raised; it was applied.
        """
        page = scan_subaccounts(data)  # the same field holds one account here, and all of them there
        every = [*zip(page.addresses, page.numbers, strict=True), *((one[0], one[1]) for one in page.beside)]
        if every != [name]:
            raise FrameError(f"the subaccount {name[0]}/{name[1]}")
        running, self.running = self.running, None  # it is no part of a pass
        before = self.contradictions
        writer = BookWriter()
        try:
            rows = self._checked(page, None)
            # An account that is gone comes in as an empty one, so that an older page cannot bring it back.
            if name in self.book or not self._is_past(height):
                self._write_columns(page, rows, height, writer)
                self._write_beside(page, height, writer)
        finally:
            self.running = running
        self.unanswered(name)
        return self._crossings(writer), self.contradictions == before

    # -- figures

    @property
    def book(self) -> Book:
        """The book; there is one from the first page on."""
        if self._book is None:
            raise InputError("book", None, "a book, which there is when the first page came")
        return self._book

    @property
    def pages_came(self) -> bool:
        """Whether there is a book."""
        return self._book is not None

    @property
    def is_loaded(self) -> bool:
        """Whether a pass came to its end."""
        return self.done is not None

    @property
    def chain(self) -> Chain:
        """The chain that the accounts stand on."""
        return self._chain

    def untold(self) -> list[Name]:
        """Return the accounts that no stream was asked to tell of."""
        names = self.book._store.names
        found: list[Name | None] = [names[slot] for slot in (~self._told).nonzero()[0].tolist()]
        return [name for name in found if name is not None]

    def tell(self, names: Sequence[Name]) -> None:
        """Note that a stream was asked to tell of these accounts."""
        slots = self.book._store.slots
        for name in names:
            slot = slots.get(name)
            if slot is not None:
                self._told[slot] = True
