"""Scenarios of a book that are computed beforehand and kept current as the book changes.

Hazards: like the book, for one writer. A set looks at versions of the book and of its chain. A change of one
account that is made through the set costs that account in each scenario, before and after. Any other change,
a price or a block first of all, moves every account, and with it every relative scenario: then everything is
computed anew when it is asked for, at the cost of `dydx_perf.stress.stress`, and `recomputed` counts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dydx_perf.ext.scenarios import version_of
from dydx_perf.kernel import BASES
from dydx_perf.plain_accounts import held_still, weakest_source
from dydx_perf.shocks import Scenarios, Shock
from dydx_perf.stress import ESTIMATE, SUMS, StressResult, WholeBook, added, checked_scenarios

if TYPE_CHECKING:
    from dydx_perf.book import Book
    from dydx_perf.ext.crossings import Crossings
    from dydx_perf.observers import Name
    from dydx_perf.scan import Executor
    from dydx_perf.subaccount import Subaccount

__all__ = ["ScenarioSet"]


class ScenarioSet:
    """Results of scenarios, equal to those computed from nothing at every moment.

    Parameters
    ----------
    book : Book
    scenarios : Scenarios or iterable of Shock
    executor : ThreadPoolExecutor, optional
        Its threads share what has to be computed anew. It stays the caller's.

    Attributes
    ----------
    recomputed : int
        How often everything was computed.
    adjusted : int
        How many changes of one account were followed without that.
    """

    def __init__(
        self, book: Book, scenarios: Scenarios | Iterable[Shock], *, executor: Executor | None = None
    ) -> None:
        self._scenarios = checked_scenarios(book, scenarios)
        self._book = book
        self._executor = executor
        self._version: tuple[int, int] | None = None
        self._sums: list[tuple[int, ...]] = []
        self.recomputed = 0
        self.adjusted = 0

    @property
    def scenarios(self) -> Scenarios:
        """What is supposed."""
        return self._scenarios

    @property
    def is_current(self) -> bool:
        """Whether the results need nothing computed."""
        return self._version == version_of(self._book._store)

    def results(self) -> list[StressResult]:
        """Return the book in each scenario as it is now."""
        with held_still(self._book):
            self._refresh()
            height, basis = weakest_source(self._book)
        at_best = BASES[max(BASES.index(basis), ESTIMATE)]
        found = []
        for name, row in zip(self._scenarios.names, self._sums, strict=True):
            figures = dict(zip(SUMS, row, strict=True))
            found.append(StressResult(name=name, **figures, height=height, basis=at_best))
        return found

    def update(self, account: int | Name, **changes: Any) -> Crossings:
        """Change one account as `Book.update` does, and follow it in every scenario."""
        return self._around(account, lambda: self._book.update(account, **changes))

    def replace(self, subaccount: Subaccount) -> Crossings:
        """Put a subaccount where the one of that name is, or take it in, as `Book.replace` does."""
        name = subaccount.address, subaccount.number
        return self._around(name, lambda: self._book.replace(subaccount))

    def add(self, subaccount: Subaccount) -> Crossings:
        """Take in one more subaccount, as `Book.add` does."""
        name = subaccount.address, subaccount.number
        return self._around(name, lambda: self._book.add(subaccount))

    def remove(self, account: int | Name) -> Crossings:
        """Drop an account, as `Book.remove` does."""
        return self._around(account, lambda: self._book.remove(account))

    def _around(self, account: int | Name, change: Callable[[], Crossings]) -> Crossings:
        """Make a change of one account; where the results were current they stay so."""
        if not self.is_current:
            return change()
        before = self._parts(account)
        chain = version_of(self._book._store)[1]
        crossings = change()
        now = version_of(self._book._store)
        # Another change may have come in between, from an observer's thread or from the chain.
        if self._version is not None and now == (self._version[0] + 1, chain):
            after = self._parts(account)
            rows = zip(self._sums, before, after, strict=True)
            self._sums = [added(subtracted(row, old), new) for row, old, new in rows]
            self._version = now
            self.adjusted += 1
        return crossings

    def _parts(self, account: int | Name) -> list[tuple[int, ...]]:
        """Return what an account adds to each scenario; nothing where it is not in the book."""
        with held_still(self._book):
            whole = WholeBook(self._book, self._scenarios)
            slots = [self._book._store.slot(account)] if account in self._book else []
            return [whole.plain_sums(markets, slots) for markets in self._scenarios]

    def _refresh(self) -> None:
        """Compute everything where anything changed; the book is held."""
        version = version_of(self._book._store)
        if version != self._version:
            self._sums = WholeBook(self._book, self._scenarios).sums(self._executor)
            self._version = version
            self.recomputed += 1


def subtracted(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Subtract sums, place by place."""
    return tuple(a - b for a, b in zip(one, other, strict=True))
