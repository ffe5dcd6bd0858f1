"""Which of the open orders of one market hurt most when they fill: exact over all subsets, few of them tried.

With S the orders that fill, P = p + sum of their base quantums and U the sum of what they add to the balance
(both whole numbers, each fill rounded by itself), a market adds N(P) - margin(|N(P)|) + U to what an account
has above its margins. Markets do not touch each other, so the worst subset of an account is the worst of each
market.

Without roundings, at the oracle price v and a margin fraction k, that is v*P - k*v*|P| + U, the smaller of
(1 - k)*v*P + U and (1 + k)*v*P + U. Each of the two is a sum over orders, so it is smallest with just the
orders of negative weight (1 -+ k)*v*b + u. With roundings: N is off by less than 1, the margin lies between
k*(v*|P| - 1) and k*v*|P| + 2, so the exact figure is above the plain one by less than 1 + k and below it by
less than 3. Hence the exact worst subset is plainly within 4 + k of the plain worst one, and differs from it
only by orders whose weights come to less than that: those few subsets are all tried.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from dydx_perf.exact.arith import ONE_MILLION, mul_ppm_ceil
from dydx_perf.exact.margin import adjusted_initial_margin_ppm, maintenance_margin, notional
from dydx_perf.exact.state import Perpetual
from dydx_perf.exact.trades import oracle_price_of_quantum
from dydx_perf.exact.whatif import Fill

#: subsets that are tried before the bound is given instead
LARGEST_EFFORT = 100_000


@dataclass(frozen=True, slots=True)
class Margin:
    """One of the two margins of a market, as a rule and as a fraction."""

    perpetual: Perpetual
    custom_imf_ppm: int
    is_initial: bool

    @property
    def initial_ppm(self) -> int:
        """Initial margin fraction, open interest as it is."""
        open_interest = notional(self.perpetual, self.perpetual.open_interest)
        return max(adjusted_initial_margin_ppm(self.perpetual, open_interest), self.custom_imf_ppm)

    @property
    def fraction(self) -> Fraction:
        """The same without roundings."""
        if self.is_initial:
            return Fraction(self.initial_ppm, ONE_MILLION)
        perpetual = self.perpetual
        return Fraction(perpetual.initial_margin_ppm * perpetual.maintenance_fraction_ppm, ONE_MILLION**2)

    def above(self, quantums: int) -> int:
        """Value of a position less its margin."""
        value = notional(self.perpetual, quantums)
        if self.is_initial:
            return value - mul_ppm_ceil(abs(value), self.initial_ppm)
        return value - maintenance_margin(self.perpetual, abs(value))


@dataclass(frozen=True, slots=True)
class WorstFills:
    """The orders that fill, by their places, and how far below the true worst may lie: 0 where exact."""

    filled: tuple[int, ...]
    above: int  # what the market adds then to the account's nc less margin
    bound: int


def cheap_subsets(costs: Sequence[tuple[Fraction, int]], budget: Fraction) -> Iterator[tuple[int, ...]]:
    """Every set of places whose costs, ascending, add up to less than `budget`; the empty set first."""
    open_sets: list[tuple[int, Fraction, tuple[int, ...]]] = [(0, budget, ())]
    while open_sets:
        start, left, chosen = open_sets.pop()
        yield chosen
        for following in range(start, len(costs)):
            cost, place = costs[following]
            if cost >= left:
                break
            open_sets.append((following + 1, left - cost, (*chosen, place)))


def worst_fills(margin: Margin, held: int, fills: Sequence[Fill]) -> WorstFills:
    """The subset of `fills` that leaves least above the margin, in one market."""
    price, fraction = oracle_price_of_quantum(margin.perpetual), margin.fraction
    tolerance = 4 + fraction
    sides = []
    for factor in (1 - fraction, 1 + fraction):
        weights = [factor * price * fill.base_delta + fill.usdc_delta for fill in fills]
        plain = factor * price * held + sum(weight for weight in weights if weight < 0)
        sides.append((plain, weights))
    smallest = min(plain for plain, _ in sides)

    best: tuple[int, int, tuple[int, ...]] | None = None
    effort, bound = 0, 0
    for plain, weights in sides:
        budget = tolerance - (plain - smallest)
        if budget <= 0:
            continue
        worst = {place for place, weight in enumerate(weights) if weight < 0}
        costs = sorted((abs(weight), place) for place, weight in enumerate(weights))
        for changed in cheap_subsets(costs, budget):
            effort += 1
            if effort > LARGEST_EFFORT:
                bound = int(tolerance) + 1
                break
            filled = tuple(sorted(worst.symmetric_difference(changed)))
            above = margin.above(held + sum(fills[place].base_delta for place in filled))
            above += sum(fills[place].usdc_delta for place in filled)
            # of equals the one with fewer fills, so that the answer is one and the same
            candidate = (above, len(filled), filled)
            best = candidate if best is None else min(best, candidate)
    assert best is not None
    return WorstFills(best[2], best[0], bound)
