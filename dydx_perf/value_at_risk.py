"""Value at risk and expected shortfall of accounts from scenarios: exact profit and loss in each.

Definitions. Of n scenarios with losses ``L[1] <= ... <= L[n]`` and a level ``a`` between 0 and 1, let ``k``
be the smallest whole number of at least ``n * a``:

- value at risk is ``L[k]``: the smallest loss that a share of at least ``a`` of the scenarios does not
exceed. No
  interpolation: it is a loss that a scenario has (NumPy calls this quantile "inverted_cdf").
- expected shortfall is the mean of the worst ``1 - a`` of the scenarios, where ``L[k]`` counts with the part
of it
  that belongs to the tail: ``((k - n * a) * L[k] + L[k + 1] + ... + L[n]) / (n * (1 - a))``, an exact
  fraction.

A loss is the fall of the net collateral in quote quantums, as the chain would compute it: every position
valued and rounded on its own. Scenarios are suppositions, however exact their consequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING

from dydx_perf.errors import InputError
from dydx_perf.exact.margin import subaccount_risk
from dydx_perf.ext.scenarios import Supposed, account_figures
from dydx_perf.plain_accounts import held_still
from dydx_perf.shocks import Scenarios, Shock, SupposedMarkets
from dydx_perf.stress import SUMS, WholeBook, checked_scenarios
from dydx_perf.units import quote_quantums_to_usdc

if TYPE_CHECKING:
    from dydx_perf.book import Book
    from dydx_perf.market import Amount
    from dydx_perf.observers import Name
    from dydx_perf.scan import Executor

__all__ = ["ValueAtRisk", "profit_and_loss", "value_at_risk"]

NET_COLLATERAL = SUMS.index("net_collateral")


@dataclass(frozen=True, slots=True)
class ValueAtRisk:
    """Loss that scenarios do not exceed at a level, and the mean of those beyond it.

    Attributes
    ----------
    level : Fraction
    scenarios : int
    value_at_risk : int
        Quote quantums; a loss is above zero.
    expected_shortfall : Fraction
        Quote quantums, exact.
    worst : int
        The largest loss.
    basis : str
        Always "estimate".
    """

    level: Fraction
    scenarios: int
    value_at_risk: int
    expected_shortfall: Fraction
    worst: int
    basis: str = "estimate"

    @property
    def value_at_risk_usdc(self) -> Decimal:
        """The loss in USDC, exact."""
        return quote_quantums_to_usdc(self.value_at_risk)


def profit_and_loss(
    book: Book,
    scenarios: Scenarios | Iterable[Shock],
    accounts: Iterable[int | Name] | None = None,
    *,
    executor: Executor | None = None,
) -> list[int]:
    """Return what the net collateral of accounts gains in each scenario, in quote quantums, exact.

    Parameters
    ----------
    book : Book
    scenarios : Scenarios or iterable of Shock
    accounts : iterable of handle or (address, number), optional
        Their sum; by default the whole book.
    executor : ThreadPoolExecutor, optional
        Of a whole book: its threads share the scenarios.
    """
    given = checked_scenarios(book, scenarios)
    with held_still(book):
        whole = WholeBook(book, given)
        now = Scenarios.of(book.chain, [Shock()])
        if accounts is None:
            worth = [row[NET_COLLATERAL] for row in whole.sums(executor)]
            base = WholeBook(book, now).sums(executor)[0][NET_COLLATERAL]
        else:
            slots = [book._store.slot(account) for account in accounts]
            worth = [worth_of(whole, markets, slots) for markets in given]
            base = worth_of(whole, now.resolved(0), slots)
    return [one - base for one in worth]


def worth_of(whole: WholeBook, markets: SupposedMarkets, slots: Sequence[int]) -> int:
    """Add up the net collateral of some accounts."""
    total, plain = 0, slots
    if whole.store is not None:
        supposed = Supposed(whole.store, *markets.arrays)
        figures = {slot: account_figures(whole.store, supposed, slot) for slot in set(slots)}
        total = sum(found[0] for slot in slots if (found := figures[slot]) is not None)
        plain = [slot for slot in slots if figures[slot] is None]
    if plain:
        perpetuals = markets.plain()
        total += sum(subaccount_risk(perpetuals, whole.state(slot)).nc for slot in plain)
    return total


def value_at_risk(profits: Sequence[int], level: Amount | Fraction = "0.99") -> ValueAtRisk:
    """Return value at risk and expected shortfall of profits and losses, one for each scenario.

    Parameters
    ----------
    profits : sequence of int
        As `profit_and_loss` gives them: a loss is below zero. All scenarios are equally likely.
    level : str, int, Decimal or Fraction
        Between 0 and 1, neither of them.
    """
    if not isinstance(level, str | int | Decimal | Fraction):
        raise InputError("level", level, "a text, Decimal or Fraction between 0 and 1")
    try:
        share = Fraction(level)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise InputError("level", level, "a text, Decimal or Fraction between 0 and 1") from error
    if not 0 < share < 1:
        raise InputError("level", level, "between 0 and 1, neither of them")
    losses = sorted(-int(profit) for profit in profits)
    count = len(losses)
    if not count:
        raise InputError("profits", profits, "at least one scenario")
    place = ceil(share * count)
    at = losses[place - 1]
    tail = (place - share * count) * at + sum(losses[place:])
    return ValueAtRisk(share, count, at, tail / (count * (1 - share)), losses[-1])
