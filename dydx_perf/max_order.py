"""The largest order and the smallest that the chain lets through, by each of its two checks.

Passing sizes are not always one interval: an account below its initial margin may reduce but not open, and
small sizes may fail where larger ones pass by a rounding. So the largest is the largest multiple of the step
that passes with no larger one passing. It is found by judging whole ranges of sizes with lines that bound
every rounding, and every size that they leave open by the chain's own integers; none is skipped on trust.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, TypedDict, Unpack

from dydx_perf.errors import InputError
from dydx_perf.exact.search import first_passing
from dydx_perf.exact.state import RiskState
from dydx_perf.exact.trades import Trades, in_steps, power_of_ten, straight_ranges
from dydx_perf.exact.update import VIOLATES_ISOLATED, are_withdrawals_blocked, max_withdrawable
from dydx_perf.market import Amount, checked_choice, checked_integer
from dydx_perf.order import INITIALIZING, UINT64_MAX, Order, PlacedOrder, Refusal
from dydx_perf.parameters import FeeTier
from dydx_perf.preview import BlockState, fee_tier_of, matching_verdict, resting_verdict
from dydx_perf.scenario import Scenario
from dydx_perf.units import base_quantums_to_size, quote_quantums_to_usdc

if TYPE_CHECKING:
    from dydx_perf.subaccount import Subaccount

__all__ = ["MaxOrder", "MaxOrderOptions", "PassingSizes", "max_order", "max_withdrawal"]


@dataclass(frozen=True, slots=True)
class PassingSizes:
    """Ends of the sizes that pass one check; between them some may fail.

    Attributes
    ----------
    smallest, largest : Decimal or None
        Coins, multiples of the step; None where no size passes. The largest is at most what an order can say,
        2**64 - 1 base quantums.
    smallest_quantums, largest_quantums : int or None
        The same in base quantums.
    reason : str or None
        The chain's word on an order of one step, where no size passes.
    """

    smallest: Decimal | None
    largest: Decimal | None
    smallest_quantums: int | None
    largest_quantums: int | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class MaxOrder:
    """Sizes that the chain lets through, by check.

    Attributes
    ----------
    refusal : Refusal or None
        What the chain refuses of such an order at any size.
    entering_book, matching : PassingSizes or None
        None where the check does not come: see `dydx_perf.preview.OrderPreview`.
    """

    order: Order
    refusal: Refusal | None
    entering_book: PassingSizes | None
    matching: PassingSizes | None


class MaxOrderOptions(TypedDict, total=False):
    """Beside side and price.

    post_only, immediate_or_cancel, builder_fee_ppm
        Of the order: see `Order`.
    fee_tier, counterparty_quantums
        See `dydx_perf.preview.PreviewOptions`.
    """

    post_only: bool
    immediate_or_cancel: bool
    builder_fee_ppm: int | None
    fee_tier: FeeTier | str
    counterparty_quantums: int


def max_order(
    account: Subaccount, ticker: str, side: str, limit_price: Amount, **options: Unpack[MaxOrderOptions]
) -> MaxOrder:
    """Find the largest and the smallest order; `Subaccount.max_order` is this.

    Raises
    ------
    CapacityError
        Where a step is worth so little that sizes around the answer could not be told apart.
    """
    unknown = set(options) - MaxOrderOptions.__optional_keys__
    if unknown:
        allowed = "one of " + ", ".join(sorted(MaxOrderOptions.__optional_keys__))
        raise InputError(sorted(unknown)[0], "given", allowed)
    is_buy = checked_choice("side", side, ("buy", "sell")) == "buy"
    counterparty = checked_integer(
        "counterparty_quantums", options.get("counterparty_quantums", 0), None, None
    )
    market = account.chain[ticker]
    step = market.clob_pair.step_base_quantums
    order = Order(
        market.ticker,
        is_buy,
        size=base_quantums_to_size(step, market.atomic_resolution),
        limit_price=limit_price,
        post_only=options.get("post_only", False),
        immediate_or_cancel=options.get("immediate_or_cancel", False),
        builder_fee_ppm=options.get("builder_fee_ppm"),
    )
    now = Scenario.now(account, [market.ticker])
    placed = order.in_market(market)
    refused = placed.refused()
    if refused is not None:
        return MaxOrder(order, refused, None, None)
    tier = fee_tier_of(account.chain, options.get("fee_tier"))
    entering = matching = None
    if not order.immediate_or_cancel:
        word = resting_verdict(now, placed, tier).result
        entering = passing_sizes(resting_trades(now, placed, tier), placed, word)
    if market.status != INITIALIZING:
        word = matching_verdict(now, placed, tier, counterparty).result
        matching = passing_sizes(matching_trades(now, placed, tier, counterparty), placed, word)
    return MaxOrder(order, None, entering, matching)


def _trades(now: Scenario, placed: PlacedOrder, fee_ppm: int) -> Trades:
    price = placed.subticks * power_of_ten(placed.market.clob_pair.quantum_conversion_exponent)
    builder_fee_ppm = placed.order.builder_fee_ppm or 0
    return now.trades(placed.market.perpetual_id, placed.order.is_buy, price, fee_ppm, builder_fee_ppm)


def resting_trades(now: Scenario, placed: PlacedOrder, tier: FeeTier) -> Trades:
    """Return the fills that the check at the book's door supposes."""
    trades = _trades(now, placed, tier.maker_fee_ppm)
    return replace(trades, is_builder_fee_on_base=True)


def matching_trades(now: Scenario, placed: PlacedOrder, tier: FeeTier, counterparty: int) -> Trades:
    """Return matches at the limit price."""
    trades = _trades(now, placed, tier.maker_fee_ppm if placed.order.post_only else tier.taker_fee_ppm)
    return replace(trades, moves_open_interest=True, counterparty=counterparty)


def passing_sizes(trades: Trades, placed: PlacedOrder, word: str) -> PassingSizes:
    """Return both ends of the sizes that pass; `word` is the chain's on one step."""
    step = placed.market.clob_pair.step_base_quantums
    found = None if word == VIOLATES_ISOLATED else passing_steps(trades, step, UINT64_MAX // step)
    if found is None:
        return PassingSizes(None, None, None, None, word)
    smallest, largest = (steps * step for steps in found)
    resolution = placed.market.atomic_resolution
    return PassingSizes(
        base_quantums_to_size(smallest, resolution),
        base_quantums_to_size(largest, resolution),
        smallest,
        largest,
        None,
    )


def passing_steps(trades: Trades, step: int, most: int) -> tuple[int, int] | None:
    """Return the smallest and the largest number of steps, 1 to `most`, that pass; None: none does."""
    bound = in_steps(trades.judge_passes, step)

    def holds(steps: int) -> bool:
        return trades.passes(steps * step)

    ranges = straight_ranges(trades, step, most)
    for first, last in ranges:
        smallest = first_passing(first, last, bound, holds)
        if smallest is not None:
            break
    else:
        return None
    for first, last in reversed(ranges):
        largest = first_passing(first, last, bound, holds, last=True)
        if largest is not None:
            return smallest, largest
    raise AssertionError("a smallest size passes and no largest does")


def max_withdrawal(account: Subaccount, block: BlockState | None = None) -> Decimal:
    """Find the largest withdrawal in USDC; `Subaccount.max_withdrawal` is this."""
    if not isinstance(block, BlockState | None):
        raise InputError("block", block, "a BlockState")
    if block is not None and are_withdrawals_blocked(block):
        return Decimal(0)
    risk = account.risk
    return quote_quantums_to_usdc(max_withdrawable(RiskState(risk.nc, risk.imr, risk.mmr)))
