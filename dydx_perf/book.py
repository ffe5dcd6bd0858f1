"""Many subaccounts on one chain: their risk kept in step, and who crossed a line told as it happens.

Hazards: one thread writes at a time; a second change while one is under way is refused with a `WriterError`.
Any thread may read meanwhile: a read gives the state before the change or the one after it, never one within.
The book follows its chain. Change the chain through the book, or call `catch_up` afterwards: until then every
read is refused with a `StaleError`, so that no number is silently behind.

A process made by fork has a book of its own, with the same observers. A book is pickled and copied by value:
the copy stands on a chain of its own and has no observers.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dydx_perf.book_accounts import (
    AccountsPlan,
    as_subaccount,
    checked_subaccount,
    held_inputs,
    new_accounts,
)
from dydx_perf.book_inputs import (
    PlainRisks,
    Row,
    block_steps,
    changed_rows,
    checked_columns,
    checked_names,
)
from dydx_perf.book_memory import BookMemory, book_memory, indexed_book_memory, memory_of_market
from dydx_perf.chain import Chain
from dydx_perf.errors import InputError, ObserverError, UnknownSubaccountError
from dydx_perf.ext.book import BookStore
from dydx_perf.ext.crossing import Crossing
from dydx_perf.ext.crossings import Crossings
from dydx_perf.ext.indexed import IndexedStore
from dydx_perf.ext.ranking import riskiest
from dydx_perf.kernel import Risk
from dydx_perf.market import Amount, Basis, checked_integer, checked_source
from dydx_perf.observers import Name, Observer, Observers, Threshold
from dydx_perf.position import Position, checked_amount
from dydx_perf.subaccount import Subaccount
from dydx_perf.units import usdc_to_quote_quantums

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Book", "BookMemory", "Crossing", "Crossings", "RankedAccount"]

#: rows for markets that come to the chain later
SPARE_MARKETS = 64


class RankedAccount(NamedTuple):
    """One account of `Book.at_risk`."""

    address: str
    number: int
    handle: int
    risk: Risk


def nothing() -> None:
    """Change nothing."""


class Book:
    """Subaccounts of one chain, by handle or by (address, number).

    Parameters
    ----------
    chain : Chain
        The book follows it; see the module for who may change it.
    max_subaccounts, max_positions : int
        Room that is taken now and never grows. A chosen margin fraction in a market without a position takes
        the room of a position.
    max_markets : int, optional
        By default those of the chain and 64 more.
    max_thresholds : int
        Thresholds of `watch`, over all accounts.
    indexed : bool
        Whether a price touches only the accounts near their line: for books of many thousands. The plain
        book, which computes every holder at each change, gives the same answers and is its judge.
    scan_path : str, optional
        Of an indexed book: which of `dydx_perf.ext.indexed_memory.scan_paths` decides everybody at once.

    Raises
    ------
    CapacityError
        There is no memory for it.

    Notes
    -----
    ``book[handle]`` and ``book[address, number]`` give the Risk. A handle is an int that names one account
    for as long as it is in the book, and nothing afterwards: another account never gets it.

    Every method that changes something returns the crossings, on the state after it: an account became, or
    stopped being, liquidatable, or crossed a threshold that is watched. An account comes in as not
    liquidatable; one that is removed crosses nothing. `Crossings` are read like a list, and only what is
    read becomes an object.
    """

    def __init__(
        self,
        chain: Chain,
        *,
        max_subaccounts: int,
        max_positions: int,
        max_markets: int | None = None,
        max_thresholds: int = 1024,
        indexed: bool = False,
        scan_path: str | None = None,
    ) -> None:
        if not isinstance(chain, Chain):
            raise InputError("chain", chain, "a Chain")
        if not isinstance(indexed, bool):
            raise InputError("indexed", indexed, "True or False")
        self._chain = chain
        self._plain = PlainRisks(chain)
        room = (
            max_subaccounts,
            max_positions,
            len(chain) + SPARE_MARKETS if max_markets is None else max_markets,
            max_thresholds,
        )
        self._store: BookStore | IndexedStore = (
            IndexedStore(chain.table, self._plain, *room, scan_path)
            if indexed
            else BookStore(chain.table, self._plain, *room)
        )
        self._observers = Observers(self._store)

    @staticmethod
    def memory_needed(
        *,
        max_subaccounts: int,
        max_positions: int,
        max_markets: int = 512,
        max_thresholds: int = 1024,
        indexed: bool = False,
    ) -> BookMemory:
        """Tell how many bytes such a book takes, before anything is taken."""
        tell = indexed_book_memory if indexed else book_memory
        return tell(max_subaccounts, max_positions, max_markets, max_thresholds)

    # -- one change at a time

    def _change(
        self, step: Callable[[], object] = nothing, last: Callable[[], object] = nothing
    ) -> Crossings:
        """Take one step as the book's writer, tell the observers, and return the crossings."""
        self._store.begin()
        try:
            step()
            crossings = self._store.finish()
            errors = self._observers.call(crossings)
            last()
        finally:
            self._store.end()
        if errors:
            raise ObserverError(errors, crossings)
        return crossings

    def catch_up(self) -> Crossings:
        """Take over what was changed in the chain directly."""
        return self._change()

    def apply_prices(
        self, prices: Mapping[str, Amount], *, height: int | None = None, basis: Basis | None = None
    ) -> Crossings:
        """Set oracle prices, all or none, and return who crossed a line once all of them hold.

        Parameters
        ----------
        prices : mapping of ticker to str, int or Decimal
            USDC for one coin.
        height, basis
            As for `Market.set_oracle_price`.
        """
        return self._change(lambda: self._chain.set_oracle_prices(prices, height=height, basis=basis))

    def apply_block(
        self,
        *,
        price_integers: Mapping[str, int] | None = None,
        funding_indices: Mapping[str, int] | None = None,
        open_interests: Mapping[str, int] | None = None,
        liquidity_tiers: Mapping[str, Mapping[str, int]] | None = None,
        subaccounts: Iterable[Subaccount] = (),
        height: int | None = None,
        basis: Basis | None = None,
    ) -> Crossings:
        """Set what a block changed, all or none, in the chain's integers; edges are those of all of it.

        Parameters
        ----------
        price_integers, funding_indices, open_interests : mappings of ticker to int, optional
        liquidity_tiers : mapping of ticker to the four arguments of `Market.set_liquidity_tier`, optional
        subaccounts : iterable of Subaccount
            As `replace` takes them.
        height, basis
            Of what the chain is set to, as for `Market.set_oracle_price`.
        """
        steps = block_steps(
            self._chain,
            price_integers=price_integers,
            funding_indices=funding_indices,
            open_interests=open_interests,
            liquidity_tiers=liquidity_tiers,
            height=height,
            basis=basis,
        )
        return self._change_together(steps, self._planned(subaccounts))

    def _change_together(self, steps: Iterable[Callable[[], object]], plan: AccountsPlan) -> Crossings:
        """Take steps that change the chain, then write accounts: one change."""
        return self._change(lambda: [step() for step in (*steps, plan.write)])

    def set_block(self, height: int, time: object = None) -> Crossings:
        """Say that the chain and every account here hold at block `height`; the caller vouches for it."""

        def step() -> None:
            self._chain.set_block(height, time)
            self._store.set_heights(height)

        return self._change(step)

    # -- accounts

    def load(self, subaccounts: Iterable[Subaccount]) -> Crossings:
        """Take in subaccounts of this chain, all or none; the book keeps values of its own."""
        return self._change(new_accounts(self._store, self._plain, self._chain, subaccounts, self._check_new))

    def load_columns(
        self,
        addresses: Sequence[str],
        numbers: Sequence[int],
        usdc: NDArray[np.int64],
        *,
        account: NDArray[np.uint32],
        perpetual_id: NDArray[np.uint32],
        quantums: NDArray[np.int64],
        funding_index: NDArray[np.int64],
        quote_balance: NDArray[np.int64] | None = None,
        custom_imf_ppm: NDArray[np.uint32] | None = None,
        height: int | None = None,
        basis: Basis | None = None,
    ) -> Crossings:
        """Take in many accounts from columns, all or none: 100,000 of them in a tenth of a second.

        Parameters
        ----------
        addresses, numbers : sequences, one per account
        usdc : int64 array, one per account
            Quote quantums, funding not settled.
        account : uint32 array, one per position
            Row of the owner above. Ascending spares a sort.
        perpetual_id : uint32 array, one per position
        quantums, funding_index : int64 arrays, one per position
        quote_balance : int64 array, one per position, optional
        custom_imf_ppm : uint32 array, one per position, optional
        height, basis : optional
            Of all of them.

        Raises
        ------
        InputError
            Wrong dtype, shape or value; an account twice, or twice in a market.
        """
        source = checked_source(height, basis)
        columns = checked_columns(
            self._chain,
            names=checked_names(addresses, numbers),
            usdc=usdc,
            account=account,
            perpetual_id=perpetual_id,
            quantums=quantums,
            funding_index=funding_index,
            quote_balance=quote_balance,
            custom_imf_ppm=custom_imf_ppm,
        )
        self._check_new(columns.names)
        if len(columns.market):
            self._store.require_market(int(columns.market.max()))
        self._store.require_room(len(columns.names), len(columns.market))
        return self._change(lambda: self._store.load(columns, *source))

    def add(self, subaccount: Subaccount) -> Crossings:
        """Take in one more subaccount of this chain."""
        return self.load([subaccount])

    def _check_new(self, names: list[Name]) -> None:
        """Refuse what is in the book already, or comes twice."""
        seen = set(names)
        if len(seen) != len(names):
            (twice, _), *_ = Counter(names).most_common(1)
            raise InputError("subaccounts", twice, "each subaccount once")
        taken = self._store.taken(seen)
        if taken is not None:
            raise InputError("subaccounts", taken, "a subaccount that is not in the book yet")

    def remove(self, account: int | Name) -> Crossings:
        """Drop an account with its positions, thresholds and observers; its handle ends."""
        slot = self._store.slot(account)

        def close() -> None:
            name, handle = self._store.names[slot], self._store.handle(slot)
            self._store.close(slot)
            self._plain.inputs.pop(name, None)
            self._observers.forget(handle)

        return self._change(last=close)

    def update(
        self,
        account: int | Name,
        *,
        usdc: Amount | None = None,
        positions: Mapping[str, Amount | Position] | Iterable[Position] = (),
        leverage: Mapping[str, int] | None = None,
        height: int | None = None,
        basis: Basis | None = None,
    ) -> Crossings:
        """Change what is named of one account, all or nothing; the rest stays.

        Parameters
        ----------
        account : int or (address, number)
        usdc : str, int or Decimal, optional
            Signed balance, funding not settled.
        positions : mapping of ticker to size or Position, or iterable of Position
            A size is signed coins, settled to the current funding index; a size of 0 closes the position.
        leverage : mapping of ticker to int, optional
            Chosen initial margin fractions in ppm; 0 removes the choice. They count before those that come
            with positions.
        height, basis : optional
            Of what is named; the oldest and the weakest of the parts hold for the whole account.
        """
        slot = self._store.slot(account)
        name = self._store.names[slot]
        code = checked_source(height, basis)
        balance = None if usdc is None else checked_amount("usdc", usdc, usdc_to_quote_quantums(usdc))
        held_usdc, held, held_height, held_basis = self._inputs(slot, name)
        changed = changed_rows(self._chain, held, positions, {} if leverage is None else leverage)
        source = min(held_height, code[0]), max(held_basis, code[1])
        plan = self._plan()
        plan.put(name, held_usdc if balance is None else balance, changed, source, whole=False)
        return self._change(plan.write)

    def replace(self, subaccount: Subaccount) -> Crossings:
        """Put a subaccount, whole, where the one of that name is; its handle and observers stay.

        Height and basis are the new one's. One that is not in the book yet is taken in.
        """
        return self._change(self._planned([subaccount]).write)

    def _plan(self) -> AccountsPlan:
        return AccountsPlan(self._store, self._plain)

    def _planned(self, subaccounts: Iterable[Subaccount]) -> AccountsPlan:
        """Plan subaccounts, whole."""
        plan = self._plan()
        for given in subaccounts:
            plan.put_subaccount(checked_subaccount(given, self._chain))
        return plan

    def _inputs(self, slot: int, name: Name) -> tuple[int, list[Row], int, int]:
        return held_inputs(self._store, self._plain, slot, name)

    # -- observers

    def watch(self, account: int | Name, observer: Observer, *, threshold: Threshold | None = None) -> None:
        """Have an observer called with each Crossing of one account, from its present side on.

        Parameters
        ----------
        account : int or (address, number)
        observer : callable of one Crossing
            Held weakly: it is forgotten when nothing else holds it, a bound method with its object; so a
            lambda that is not kept is forgotten at once. It may read the book and must not change it. What it
            raises stops neither the others nor the book: an ObserverError comes when all were called.
        threshold : str, int, Decimal, Fraction or (numerator, denominator), optional
            Of nc / mmr, exact; below it means ``nc * denominator < mmr * numerator`` and mmr above zero. By
            default the chain's own rule of liquidation. Its crossings are returned with the others.
        """
        self._store.refuse_stale()  # the side from which it is watched is that of now
        self._without_crossings(lambda: self._observers.watch(self._store.slot(account), observer, threshold))

    def unwatch(self, account: int | Name, observer: Observer, *, threshold: Threshold | None = None) -> None:
        """Undo `watch`; nothing happens when there was none."""
        self._without_crossings(
            lambda: self._observers.unwatch(self._store.slot(account), observer, threshold)
        )

    def _without_crossings(self, step: Callable[[], object]) -> None:
        """Take a step that moves no account."""
        self._store.begin()
        try:
            step()
        finally:
            self._store.end()

    # -- reading

    def __getitem__(self, account: int | Name) -> Risk:
        return self._store.risk(account)

    def __contains__(self, account: object) -> bool:
        try:
            self._store.slot(account)
        except UnknownSubaccountError:
            return False
        return True

    def __len__(self) -> int:
        return len(self._store)

    def __iter__(self) -> Iterator[Name]:
        """Yield (address, number) of every account that is in the book now, in the order they came."""
        return iter(tuple(self._store.slots))

    def handle(self, account: int | Name) -> int:
        """Return the handle of an account."""
        return self._store.handle(self._store.slot(account))

    def name(self, account: int | Name) -> Name:
        """Return (address, number) of an account."""
        return self._store.names[self._store.slot(account)]

    def subaccount(self, account: int | Name) -> Subaccount:
        """Return a Subaccount as the account is now: to explain it, preview an order or rescue it.

        It follows the chain, and no longer the book: it is for the writer's thread. An account that holds an
        isolated market with others, as the chain would not let it, is refused with an InputError.
        """
        self._store.risk(account)
        slot = self._store.slot(account)
        name = self._store.names[slot]
        return as_subaccount(self._chain, name, self._inputs(slot, name))

    def liquidatable(self) -> list[Name]:
        """Return (address, number) of all accounts that the chain calls liquidatable."""
        return self._store.liquidatable()

    def at_risk(self, count: int) -> list[RankedAccount]:
        """Return the riskiest accounts by the chain's ordering, the riskiest first."""
        checked_integer("count", count, 0, None)
        return [RankedAccount(*name, handle, risk) for name, handle, risk in riskiest(self._store, count)]

    def tend(self, accounts: int = 1_000) -> bool:
        """Let an indexed book go on with what big moves left behind, in idle time.

        Every answer is exact without it; the next prices are answered faster with it.

        Parameters
        ----------
        accounts : int
            At most so many are looked at now.

        Returns
        -------
        bool
            True when nothing is left; always of a plain book.
        """
        checked_integer("accounts", accounts, 1, 2**31)
        store = self._store
        if not isinstance(store, IndexedStore):
            return True
        done: list[bool] = []
        self._without_crossings(lambda: done.append(store.tend(accounts)))
        return done[0]

    def rescan(self) -> Crossings:
        """Compute every account anew from its inputs; the incremental figures are the same."""
        return self._change(self._store.scan)

    @property
    def chain(self) -> Chain:
        """The chain it follows."""
        return self._chain

    @property
    def height(self) -> int | None:
        """Block of the chain's state; None: not known."""
        return self._chain.height

    @property
    def capacity(self) -> Mapping[str, int]:
        """Room for subaccounts, positions, markets and thresholds."""
        return self._store.capacity

    @property
    def used(self) -> Mapping[str, int]:
        """How much of it is taken."""
        return self._store.used

    @property
    def memory(self) -> int:
        """Bytes of the columns, all taken when the book was made."""
        return self._store.nbytes

    def memory_of(self, market: str) -> int:
        """Bytes of the columns that one market takes now: its row and its blocks of positions."""
        return memory_of_market(self.holders(market), isinstance(self._store, IndexedStore))

    def holders(self, market: str) -> int:
        """Return how many accounts have a position in a market, or chose a margin fraction there."""
        return self._store.holders(self._chain[market]._index)

    # -- snapshots

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole book and its chain to a file; what was there is replaced whole or not at all.

        Observers and thresholds are not part of it. The book's writer calls this.
        """
        from dydx_perf.snapshot import write_book

        self._store.refuse_stale()
        self._without_crossings(lambda: write_book(self, path))

    @classmethod
    def restore(
        cls,
        path: str | os.PathLike[str],
        *,
        max_subaccounts: int | None = None,
        max_positions: int | None = None,
        max_markets: int | None = None,
        max_thresholds: int | None = None,
    ) -> Book:
        """Read what `save` wrote: the same figures and handles, on a chain of its own.

        Parameters
        ----------
        path : path
        max_subaccounts, max_positions, max_markets, max_thresholds : int, optional
            Other room than the saved book had.

        Raises
        ------
        SnapshotError, VersionError, ChecksumError
            No snapshot, one of a newer release, a damaged one.
        CapacityError
            It does not fit.
        """
        from dydx_perf.snapshot import read_book

        return read_book(
            path,
            max_subaccounts=max_subaccounts,
            max_positions=max_positions,
            max_markets=max_markets,
            max_thresholds=max_thresholds,
        )

    def to_bytes(self) -> bytes:
        """Return what `save` would write."""
        from dydx_perf.snapshot import snapshot

        parts: list[bytes] = []
        self._store.refuse_stale()
        self._without_crossings(lambda: parts.append(b"".join(snapshot(self))))
        return parts[0]

    @classmethod
    def from_bytes(cls, data: bytes) -> Book:
        """Return the book of `to_bytes`."""
        from dydx_perf.snapshot import restored_book

        return restored_book(data)

    def __reduce__(self) -> tuple[Callable[[bytes], Book], tuple[bytes]]:
        return Book.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        used = self._store.used
        return f"Book({used['subaccounts']} subaccounts, {used['positions']} positions, {self._chain!r})"
