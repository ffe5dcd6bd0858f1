"""What a change writes of a book's accounts: planned and refused first, then written in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dydx_perf.book_inputs import PlainRisks, Row, is_beyond, subaccount_rows
from dydx_perf.chain import Chain
from dydx_perf.errors import InputError
from dydx_perf.ext.book import is_wide
from dydx_perf.kernel import BASES
from dydx_perf.market import Basis
from dydx_perf.observers import Name
from dydx_perf.position import Position
from dydx_perf.subaccount import Subaccount
from dydx_perf.units import to_decimal

if TYPE_CHECKING:
    from dydx_perf.ext.book import BookStore
    from dydx_perf.ext.indexed import IndexedStore

__all__ = [
    "AccountsPlan",
    "as_subaccount",
    "checked_subaccount",
    "held_inputs",
    "new_accounts",
    "source_of",
]


class Write(NamedTuple):
    """What is to be written of one account."""

    name: Name
    slot: int | None  #: None: it is not in the book yet
    usdc: int
    rows: list[Row]  #: those that change
    held: list[Row]  #: all that it has afterwards
    source: tuple[int, int]
    beyond: bool
    places: int  #: that it takes more than before


class AccountsPlan:
    """Accounts that change together: each is checked when it is put here, all are written by one call.

    Hazards: good for the book as it is while the plan is made.

    Parameters
    ----------
    store, plain
        Of the book.
    """

    def __init__(self, store: BookStore | IndexedStore, plain: PlainRisks) -> None:
        self._store = store
        self._plain = plain
        self._writes: dict[Name, Write] = {}

    def __len__(self) -> int:
        return len(self._writes)

    def put(
        self, name: Name, usdc: int, rows: Iterable[Row], source: tuple[int, int], *, whole: bool = True
    ) -> None:
        """Plan balance and rows of an account; what was planned of it before is forgotten.

        Parameters
        ----------
        name : (address, number)
        usdc : int
            Quote quantums.
        rows : iterable of Row
            All that it holds; where not `whole`, those that change.
        source : (int, int)
            Height, -1 where it is not known, and place of the basis in BASES.

        Raises
        ------
        CapacityError
            The book has no room for it beside what is planned; it is not part of the plan.
        """
        store, changed = self._store, {row[0]: row for row in rows}
        for market in changed:
            store.require_market(market)
        slot = store.slot(name) if name in store.slots else None
        had = [] if slot is None else held_inputs(store, self._plain, slot, name)[1]
        if whole:
            changed = {row[0]: (row[0], 0, 0, 0, 0) for row in had} | changed
        held = {row[0]: row for row in had} | changed
        beyond = is_beyond(usdc, held.values())
        # Where plain integers take over, or give back, every row is written.
        is_all = beyond or (slot is not None and store.is_beyond(slot))
        written = list((held if is_all else changed).values())
        left = [row for row in held.values() if any(row[1:])]
        places = len(left) if slot is None else store.places_needed(slot, written)
        others = [write for write in self._writes.values() if write.name != name]
        store.require_room(
            sum(write.slot is None for write in others) + (slot is None),
            places + sum(write.places for write in others),
        )
        self._writes.pop(name, None)  # the order in which they are written is that of their room
        self._writes[name] = Write(name, slot, usdc, written, left, source, beyond, places)

    def put_subaccount(self, subaccount: Subaccount) -> None:
        """Plan a subaccount of the book's chain, whole."""
        name = subaccount.address, subaccount.number
        self.put(name, subaccount.usdc_quantums, subaccount_rows(subaccount), source_of(subaccount))

    def write(self) -> None:
        """Write all of it; for the book's writer, within a change."""
        writes = list(self._writes.values())
        for one in writes:
            if one.beyond:
                self._plain.inputs[one.name] = one.usdc, one.held
        self._store.update_all(
            [
                (one.name if one.slot is None else one.slot, one.usdc, one.rows, *one.source, one.beyond)
                for one in writes
            ]
        )
        for one in writes:
            if not one.beyond:
                self._plain.inputs.pop(one.name, None)


def source_of(subaccount: Subaccount) -> tuple[int, int]:
    """Return height, -1: not known, and place of the basis of a subaccount."""
    return -1 if subaccount.height is None else subaccount.height, BASES.index(subaccount.basis)


def held_inputs(
    store: BookStore | IndexedStore, plain: PlainRisks, slot: int, name: Name
) -> tuple[int, list[Row], int, int]:
    """Return balance, rows, height and basis of an account, from wherever they are."""
    usdc, rows, height, basis = store.inputs(slot)
    if store.is_beyond(slot):
        usdc, rows = plain.inputs[name]
    return usdc, rows, height, basis


def checked_subaccount(subaccount: object, chain: Chain) -> Subaccount:
    """Refuse what is no subaccount of this chain."""
    if not isinstance(subaccount, Subaccount):
        raise InputError("subaccounts", subaccount, "Subaccount objects")
    if subaccount.chain is not chain:
        raise InputError("subaccounts", subaccount, "subaccounts of this book's own chain")
    return subaccount


def new_accounts(
    store: BookStore | IndexedStore,
    plain: PlainRisks,
    chain: Chain,
    subaccounts: Iterable[Subaccount],
    check_new: Callable[[list[Name]], None],
) -> Callable[[], None]:
    """Check subaccounts that come into a book; return the step that takes them in."""
    names: list[Name] = []
    accounts: list[Any] = []
    positions = 0
    for given in list(subaccounts):
        subaccount = checked_subaccount(given, chain)
        usdc, rows = subaccount.usdc_quantums, subaccount_rows(subaccount)
        for row in rows:
            store.require_market(row[0])
        names.append((subaccount.address, subaccount.number))
        positions += len(rows)
        if len(rows) == len(subaccount._positions) and not is_wide(subaccount):
            accounts.append(subaccount)
        else:
            accounts.append((usdc, rows, *source_of(subaccount), is_beyond(usdc, rows)))
    check_new(names)
    store.require_room(len(names), positions)

    def step() -> None:
        for name, account in zip(names, accounts, strict=True):
            if isinstance(account, tuple) and account[-1]:
                plain.inputs[name] = account[:2]
        store.add(names, accounts)

    return step


def as_subaccount(chain: Chain, name: Name, inputs: tuple[int, list[Row], int, int]) -> Subaccount:
    """Make a Subaccount of what a book holds."""
    usdc, rows, height, basis = inputs
    markets = list(chain)
    return Subaccount(
        chain,
        *name,
        usdc=to_decimal(usdc, -6),
        positions=[
            Position(
                markets[index],
                quantums=quantums,
                funding_index=funding_index,
                quote_balance=quote_balance,
                custom_imf_ppm=ppm,
            )
            for index, quantums, funding_index, quote_balance, ppm in rows
            if quantums or quote_balance
        ],
        leverage={markets[row[0]].ticker: row[4] for row in rows if row[4]},
        height=None if height < 0 else height,
        basis=cast(Basis, BASES[basis]),
    )
