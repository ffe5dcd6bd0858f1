"""Stress: a book of accounts under many scenarios at once, in the chain's integers.

Hazards: the book must stand still meanwhile. It is held against writers, who are refused with a
`WriterError`; so the figures are all of one state. A pool is the caller's own: anything with the `map` of an
executor, of threads. The kernels let go of the GIL; nothing here starts a thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from dydx_perf.errors import InputError
from dydx_perf.exact.margin import is_liquidatable, notional, subaccount_risk
from dydx_perf.ext.account_scan import count_pages, name_handles
from dydx_perf.ext.scenarios import (
    Supposed,
    extra_slots,
    outside_slots,
    pages_liquidatable,
    sum_extra,
    sum_pages,
)
from dydx_perf.kernel import BASES
from dydx_perf.plain_accounts import (
    account_slots,
    account_state,
    checked_book,
    held_still,
    indexed_store,
    weakest_source,
)
from dydx_perf.scan import processors, shared, submit_of
from dydx_perf.shocks import MarketsNow, Scenarios, Shock, SupposedMarkets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dydx_perf.book import Book
    from dydx_perf.exact.state import RiskState, SubaccountState
    from dydx_perf.ext.indexed import IndexedStore
    from dydx_perf.scan import Executor

__all__ = [
    "AccountFigures",
    "Shock",
    "StressResult",
    "count_liquidatable",
    "stress",
    "stress_accounts",
]

T = TypeVar("T")
#: scenario, first page, page after the last
Task = tuple[int, int, int]

ESTIMATE = BASES.index("estimate")
#: pages that one task takes where there are fewer scenarios than would keep all threads busy
PAGES_AT_ONCE = 128
FEW_SCENARIOS = 16
#: what the kernel adds up, in its order
SUMS = (
    "accounts",
    "liquidatable",
    "below_zero",
    "below_initial",
    "net_collateral",
    "initial_margin",
    "maintenance_margin",
    "shortfall",
    "bad_debt",
    "notional_at_risk",
)
NOTHING = (0,) * len(SUMS)


@dataclass(frozen=True, slots=True)
class StressResult:
    """A book in one scenario. Counts of accounts; sums over them in quote quantums, funding settled.

    Attributes
    ----------
    name : str
        Of the scenario.
    accounts, liquidatable, below_zero, below_initial : int
        All; those the chain calls liquidatable; with a net collateral below zero; with one below the initial
        margin.
    net_collateral, initial_margin, maintenance_margin : int
        Sums over all accounts.
    shortfall : int
        What the liquidatable ones lack to their maintenance margin.
    bad_debt : int
        What those below zero owe: the negative net collateral, without its sign.
    notional_at_risk : int
        Absolute notional of all positions of the liquidatable accounts.
    height : int or None
        Block of the oldest input.
    basis : str
        At best "estimate": a scenario is nobody's but the caller's.
    """

    name: str
    accounts: int
    liquidatable: int
    below_zero: int
    below_initial: int
    net_collateral: int
    initial_margin: int
    maintenance_margin: int
    shortfall: int
    bad_debt: int
    notional_at_risk: int
    height: int | None
    basis: str


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """Every account in one scenario, in no particular order.

    Attributes
    ----------
    handle : int64 array
        As `Book.name` takes it.
    net_collateral, initial_margin, maintenance_margin : int64 arrays
        Quote quantums; 0 for the accounts of `wide`.
    wide : mapping of row to RiskState
        Accounts that 64 bits do not hold, or that were computed in plain integers.
    """

    handle: NDArray[np.int64]
    net_collateral: NDArray[np.int64]
    initial_margin: NDArray[np.int64]
    maintenance_margin: NDArray[np.int64]
    wide: dict[int, RiskState]

    @property
    def is_liquidatable(self) -> NDArray[np.bool_]:
        """Of each account, by the chain's rule."""
        found: NDArray[np.bool_] = (self.maintenance_margin > 0) & (
            self.maintenance_margin > self.net_collateral
        )
        for row, risk in self.wide.items():
            found[row] = is_liquidatable(risk)
        return found


def checked_scenarios(book: Book, scenarios: Scenarios | Iterable[Shock]) -> Scenarios:
    """Return scenarios on the chain of a book."""
    of = scenarios if isinstance(scenarios, Scenarios) else Scenarios.of(checked_book(book).chain, scenarios)
    if of.chain is not checked_book(book).chain:
        raise InputError("scenarios", of, "scenarios on this book's own chain")
    return of


def stress(
    book: Book, scenarios: Scenarios | Iterable[Shock], *, executor: Executor | None = None
) -> list[StressResult]:
    """Return the whole book in each scenario, exact.

    Parameters
    ----------
    book : Book
        Of an indexed one a position takes some ns in each scenario; of a plain one, which is computed in
        plain integers, some us.
    scenarios : Scenarios or iterable of Shock
    executor : ThreadPoolExecutor, optional
        Its threads share scenarios, and pages of accounts.

    Raises
    ------
    InputError, StaleError, WriterError
    """
    given = checked_scenarios(book, scenarios)
    with held_still(book):
        sums = WholeBook(book, given).sums(executor)
        height, basis = weakest_source(book)
    at_best = BASES[max(BASES.index(basis), ESTIMATE)]
    results = []
    for name, row in zip(given.names, sums, strict=True):
        figures = dict(zip(SUMS, row, strict=True))
        results.append(StressResult(name=name, **figures, height=height, basis=at_best))
    return results


def count_liquidatable(
    book: Book, scenarios: Scenarios | Iterable[Shock], *, executor: Executor | None = None
) -> list[int]:
    """Return how many accounts are liquidatable in each scenario: the same numbers as `stress`, sooner.

    Where a scenario moves prices only, the certified scan decides: an estimate with a proved bound, and exact
    integers for the accounts within it. Other scenarios are computed as `stress` does.
    """
    given = checked_scenarios(book, scenarios)
    with held_still(book):
        return WholeBook(book, given).counts(executor)


def stress_accounts(book: Book, shock: Shock) -> AccountFigures:
    """Return every account in one scenario, exact."""
    import numpy as np

    given = checked_scenarios(book, [shock])
    with held_still(book):
        whole, markets = WholeBook(book, given), given.resolved(0)
        slots = account_slots(book) if whole.store is None else None
        rows = count_pages(whole.store)[1] if whole.store is not None else len(slots or ())
        nc, imr, mmr = (np.zeros(rows, np.int64) for _ in range(3))
        slot = np.array(slots or [0] * rows, np.uint32)
        plain = slots or []
        if whole.store is not None:
            supposed = Supposed(whole.store, *markets.arrays)
            left = sum_pages(whole.store, supposed, 0, whole.pages, (nc, imr, mmr, slot))[1]
            plain = [*left, *outside_slots(whole.store), *extra_slots(whole.store)]
        place = {one: row for row, one in enumerate(slot.tolist())} if plain else {}
        perpetuals = markets.plain() if plain else {}
        wide = {place[one]: subaccount_risk(perpetuals, whole.state(one)) for one in plain}
        handles = np.zeros(rows, np.int64)
        name_handles(book._store, slot, handles)
    return AccountFigures(handles, nc, imr, mmr, wide)


class WholeBook:
    """A book that is held still, under scenarios."""

    def __init__(self, book: Book, scenarios: Scenarios) -> None:
        self.book = book
        self.scenarios = scenarios
        self.store: IndexedStore | None = indexed_store(book)
        self.base: MarketsNow = scenarios.base()
        self.ids = [perpetual.perpetual_id for perpetual in self.base.perpetuals]
        self.pages = 0 if self.store is None else count_pages(self.store)[0]
        self.states: dict[int, SubaccountState] = {}

    def state(self, slot: int) -> SubaccountState:
        """State of an account for plain integers, read once."""
        if slot not in self.states:
            self.states[slot] = account_state(self.book, slot, self.ids)
        return self.states[slot]

    def tasks(self, executor: Executor | None) -> list[Task]:
        """Parts of the work: (scenario, first page, page after the last)."""
        count = len(self.scenarios)
        each = self.pages if executor is None or count > FEW_SCENARIOS else PAGES_AT_ONCE
        each = max(each, 1)
        return [
            (scenario, first, first + each)
            for scenario in range(count)
            for first in range(0, max(self.pages, 1), each)
        ]

    def sums(self, executor: Executor | None) -> list[tuple[int, ...]]:
        """Return sums of each scenario, in the order of `StressResult`."""
        sums: list[tuple[int, ...]] = [NOTHING] * len(self.scenarios)
        work = self.tasks(executor)
        for (scenario, _, _), part in zip(work, done(work, self.part_of_sums, executor), strict=True):
            sums[scenario] = added(sums[scenario], part)
        return sums

    def part_of_sums(self, task: Task) -> tuple[int, ...]:
        """Add up some pages; with the first go the accounts that have none."""
        scenario, first, last = task
        markets = self.scenarios.resolved(scenario, self.base)
        if self.store is None:
            return self.plain_sums(markets, account_slots(self.book))
        supposed = Supposed(self.store, *markets.arrays)
        found, left = sum_pages(self.store, supposed, first, last)
        total: tuple[int, ...] = found
        if first == 0:
            others, more = sum_extra(self.store, supposed)
            total = added(total, others)
            left = [*left, *more, *outside_slots(self.store)]
        return added(total, self.plain_sums(markets, left)) if left else total

    def plain_sums(self, markets: SupposedMarkets, slots: Sequence[int]) -> tuple[int, ...]:
        """Add up some accounts in plain integers."""
        perpetuals = markets.plain()
        total: tuple[int, ...] = NOTHING
        for slot in slots:
            state = self.state(slot)
            risk = subaccount_risk(perpetuals, state)
            liquidatable = is_liquidatable(risk)
            at_risk = sum(
                abs(notional(perpetuals[p.perpetual_id], p.quantums)) for p in state.perpetual_positions
            )
            total = added(
                total,
                (
                    1,
                    liquidatable,
                    risk.nc < 0,
                    risk.nc < risk.imr,
                    risk.nc,
                    risk.imr,
                    risk.mmr,
                    risk.mmr - risk.nc if liquidatable else 0,
                    max(-risk.nc, 0),
                    at_risk if liquidatable else 0,
                ),
            )
        return total

    def counts(self, executor: Executor | None) -> list[int]:
        """How many are liquidatable in each scenario."""
        counts = [0] * len(self.scenarios)
        work = self.tasks(executor)
        for (scenario, _, _), part in zip(work, done(work, self.part_of_count, executor), strict=True):
            counts[scenario] += part
        return counts

    def part_of_count(self, task: Task) -> int:
        """Liquidatable accounts of some pages; with the first go those that live in plain integers."""
        scenario, first, last = task
        markets = self.scenarios.resolved(scenario, self.base)
        if self.store is None:
            return self.plain_sums(markets, account_slots(self.book))[1]
        supposed = Supposed(self.store, *markets.arrays)
        if not supposed.is_certified:
            return self.part_of_sums(task)[1]
        count, left = pages_liquidatable(self.store, supposed, first, last)
        if first == 0:
            left = [*left, *outside_slots(self.store)]
        return count + self.plain_sums(markets, left)[1] if left else count


def added(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Add sums, place by place."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def done(work: Sequence[Task], function: Callable[[Task], T], executor: Executor | None) -> list[T]:
    """Return the function of each task, computed here and on an executor's threads."""
    results: dict[int, T] = {}

    def one(place: int) -> None:
        results[place] = function(work[place])

    submit = submit_of(executor)
    shared(deque(range(len(work))), one, submit, 0 if submit is None else processors() - 1)
    return [results[place] for place in range(len(work))]
