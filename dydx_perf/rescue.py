"""What would save an account: the smallest deposit, and the smallest reduction of each position by itself.

The smallest means that one quantum, or one step, less does not do: found by exact evaluation and not by a
formula. What the chain would say to the reduction stands beside it: closing the last position under water
would end the danger of a liquidation, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from dydx_perf.errors import InputError
from dydx_perf.exact import whatif
from dydx_perf.exact.margin import is_initial_collateralized, is_liquidatable
from dydx_perf.exact.search import first_passing
from dydx_perf.exact.state import RiskState
from dydx_perf.exact.trades import Trades, in_steps, power_of_ten
from dydx_perf.exact.update import MATCH
from dydx_perf.market import Amount, checked_integer
from dydx_perf.position import checked_decimal
from dydx_perf.scenario import Scenario
from dydx_perf.units import base_quantums_to_size, quote_quantums_to_usdc

if TYPE_CHECKING:
    from dydx_perf.kernel import Risk
    from dydx_perf.market import Market
    from dydx_perf.subaccount import Subaccount

__all__ = ["Level", "Reduction", "Rescue", "rescue"]

NOT_LIQUIDATABLE = "not liquidatable"
INITIAL_COLLATERALIZED = "initial collateralized"

#: a named line, or how many times the maintenance margin net collateral shall be
Level = str | int | Decimal | Fraction


@dataclass(frozen=True, slots=True)
class Reduction:
    """The smallest reduction of one position that does, the others as they are.

    Attributes
    ----------
    quantums : int or None
        Base quantums to close, a multiple of the step; 0 where nothing is needed, None where even closing the
        position does not do.
    size : Decimal or None
        The same in coins.
    usdc_change : int
        Quote quantums that the trade adds to the balance, fee taken off.
    risk_after : Risk or None
    verdict : str or None
        The chain's word on the trade as a taker, the other side without a position.
    reason : str or None
        Why there is none.
    """

    quantums: int | None
    size: Decimal | None
    usdc_change: int
    risk_after: Risk | None
    verdict: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Rescue:
    """What would bring a subaccount to a level: any one of these.

    Attributes
    ----------
    level : str or Fraction
        The line's name, or the multiple of the maintenance margin.
    deposit_quantums : int
        Smallest deposit in quote quantums; 0 where nothing is needed.
    reductions : mapping of ticker to Reduction
        Of every position.
    risk_before : Risk
    """

    level: str | Fraction
    deposit_quantums: int
    reductions: Mapping[str, Reduction]
    risk_before: Risk

    @property
    def deposit(self) -> Decimal:
        """Smallest deposit in USDC."""
        return quote_quantums_to_usdc(self.deposit_quantums)

    @property
    def is_needed(self) -> bool:
        """Whether the account is below the level at all."""
        return self.deposit_quantums > 0


@dataclass(frozen=True, slots=True)
class Line:
    """A line to be reached: for one risk, for ranges of trades, and by a deposit."""

    name: str | Fraction
    holds: Callable[[RiskState], bool]
    judge: Callable[[Trades, tuple[int, int]], bool | None]
    lacks: Callable[[RiskState], int]  # quote quantums


def _judge_not_liquidatable(trades: Trades, sizes: tuple[int, int]) -> bool | None:
    covered = trades.judge_level(sizes, Fraction(1))
    # without any maintenance margin the chain liquidates nobody, covered or not
    if covered is False and min(map(trades.maintenance, sizes)) == 0:
        return None
    return covered


def line_of(level: Level) -> Line:
    """Return the line that a level names."""
    if level == NOT_LIQUIDATABLE:
        return Line(
            NOT_LIQUIDATABLE,
            lambda risk: not is_liquidatable(risk),
            _judge_not_liquidatable,
            lambda risk: max(risk.mmr - risk.nc, 0) if risk.mmr else 0,
        )
    if level == INITIAL_COLLATERALIZED:
        return Line(
            INITIAL_COLLATERALIZED,
            is_initial_collateralized,
            Trades.judge_initial,
            lambda risk: max(risk.imr - risk.nc, 0),
        )
    ratio = checked_level(level)
    return Line(
        ratio,
        lambda risk: risk.nc >= ratio * risk.mmr,
        lambda trades, sizes: trades.judge_level(sizes, ratio),
        lambda risk: max(-(-ratio.numerator * risk.mmr // ratio.denominator) - risk.nc, 0),
    )


def checked_level(level: Level) -> Fraction:
    """Return an exact ratio of zero or more."""
    if isinstance(level, Fraction):
        ratio = level
    else:
        try:
            ratio = Fraction(checked_decimal("level", level))
        except InputError as refused:
            names = f'"{NOT_LIQUIDATABLE}", "{INITIAL_COLLATERALIZED}"'
            raise InputError("level", level, f"{names}, a Fraction, or {refused.allowed}") from None
    if not 0 <= ratio <= 10**9:
        raise InputError("level", level, "0 to 10**9 times the maintenance margin")
    return ratio


def rescue(
    account: Subaccount,
    level: Level = NOT_LIQUIDATABLE,
    *,
    prices: Mapping[str, Amount] | None = None,
    fee_ppm: int = 0,
) -> Rescue:
    """Find what would save the account; `Subaccount.rescue` is this.

    Raises
    ------
    InputError
    CapacityError
        Where a step is worth so little that sizes around the answer could not be told apart.
    """
    line = line_of(level)
    checked_integer("fee_ppm", fee_ppm, -1_000_000, 1_000_000)
    if not isinstance(prices, Mapping | None):
        raise InputError("prices", prices, "a mapping of ticker to price")
    fill_prices = {account.chain[ticker].ticker: price for ticker, price in (prices or {}).items()}
    now = Scenario.now(account)
    before = now.risk
    state = RiskState(before.nc, before.imr, before.mmr)
    reductions = {}
    for ticker, position in account.positions.items():
        if position.quantums:
            market = position.market
            trades = now.trades(
                market.perpetual_id,
                position.quantums < 0,
                _fill_price(market, fill_prices.get(ticker)),
                fee_ppm,
            )
            reductions[ticker] = reduction(now, market, trades, line)
    return Rescue(line.name, line.lacks(state), reductions, before)


def _fill_price(market: Market, price: Amount | None) -> Fraction | None:
    """Return quote quantums for one base quantum; None stays None, which is the oracle price."""
    if price is None:
        return None
    argument = f"prices[{market.ticker!r}]"
    amount = checked_decimal(argument, price)
    if amount < 0:
        raise InputError(argument, price, "zero or more")
    return Fraction(amount) * power_of_ten(6 + market.atomic_resolution)


def reduction(now: Scenario, market: Market, trades: Trades, line: Line) -> Reduction:
    """Return the smallest reduction of one position that reaches the line."""
    step = market.clob_pair.step_base_quantums
    most = abs(trades.held) // step

    def judge(sizes: tuple[int, int]) -> bool | None:
        judged = line.judge(trades, sizes)
        if judged is None and trades.are_alike(sizes):
            return line.holds(trades.risk(sizes[0]))
        return judged

    if line.holds(trades.current):
        return Reduction(0, Decimal(0), 0, now.of_risk(trades.current), None, None)
    steps = first_passing(1, most, in_steps(judge, step), lambda steps: line.holds(trades.risk(steps * step)))
    if steps is None:
        lacking = quote_quantums_to_usdc(line.lacks(trades.risk(most * step)))
        reason = f"with {most} steps closed, all there are, the account still lacks {lacking:f} USDC"
        return Reduction(None, None, 0, None, None, reason)
    size = steps * step
    fill = whatif.Fill(
        size if trades.is_buy else -size, trades.value(size), trades.fees(size)[0], builder_fee=0
    )
    outcome = whatif.outcome(now.perpetuals, now.state, whatif.fill_update(market.perpetual_id, fill), MATCH)
    after = now.with_state(outcome.state)
    return Reduction(
        size,
        base_quantums_to_size(size, market.atomic_resolution),
        fill.usdc_delta,
        after.of_risk(trades.risk(size)),
        outcome.result,
        None,
    )
