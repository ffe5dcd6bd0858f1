"""Fee tier, equity tier and rate limits: which apply to an account, and how much room they leave.

Sources: `x/feetiers/keeper/keeper.go`, `x/clob/keeper/equity_tier_limit.go`, `x/clob/rate_limit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from dydx_perf.errors import InputError
from dydx_perf.exact.arith import ONE_MILLION, div_trunc, mul_ppm_floor
from dydx_perf.market import Amount, checked_choice, checked_integer
from dydx_perf.parameters import FeeTier, ProtocolParameters, RateLimit
from dydx_perf.position import checked_amount
from dydx_perf.units import quote_quantums_to_usdc, usdc_to_quote_quantums

if TYPE_CHECKING:
    from dydx_perf.subaccount import Subaccount

__all__ = [
    "EquityTierHeadroom",
    "RateLimitHeadroom",
    "discounted",
    "equity_tier_headroom",
    "fee_tier",
    "rate_limit_headroom",
]

UINT32_MAX = 2**32 - 1
#: blocks of history that a question may bring
MAX_BLOCKS = 100_000


def _checked_volume(argument: str, usdc: Amount) -> int:
    quantums = checked_amount(argument, usdc, usdc_to_quote_quantums(usdc, argument))
    if quantums < 0:
        raise InputError(argument, usdc, "zero or more")
    return quantums


def _checked_fee_tiers(parameters: object) -> tuple[FeeTier, ...]:
    if not isinstance(parameters, ProtocolParameters) or not parameters.fee_tiers:
        raise InputError("parameters", parameters, "ProtocolParameters with fee tiers")
    return parameters.fee_tiers


def fee_tier(
    parameters: ProtocolParameters,
    *,
    maker_volume: Amount,
    taker_volume: Amount,
    total_volume: Amount,
    is_vault: bool = False,
    referee_tier: int | None = None,
) -> FeeTier:
    """Return the tier of an address: the last of which it meets every requirement, without a gap before it.

    Parameters
    ----------
    parameters : ProtocolParameters
        With fee tiers.
    maker_volume, taker_volume : str, int or Decimal
        The address's 30-day volume in USDC.
    total_volume : str, int or Decimal
        Everybody's 30-day volume in USDC.
    is_vault : bool
        A vault is always in the last tier.
    referee_tier : int, optional
        Of an address that was referred: the place of the tier that it has at least.

    Raises
    ------
    InputError
    """
    tiers = _checked_fee_tiers(parameters)
    if not isinstance(is_vault, bool):
        raise InputError("is_vault", is_vault, "True or False")
    maker = _checked_volume("maker_volume", maker_volume)
    own = maker + _checked_volume("taker_volume", taker_volume)
    total = _checked_volume("total_volume", total_volume)
    if is_vault:
        return tiers[-1]
    place = 0
    for number, tier in enumerate(tiers):
        if (
            own < tier.absolute_volume_requirement
            or own < mul_ppm_floor(total, tier.total_volume_share_requirement_ppm)
            or maker < mul_ppm_floor(total, tier.maker_volume_share_requirement_ppm)
        ):
            break
        place = number
    if referee_tier is not None:
        checked_integer("referee_tier", referee_tier, 0, UINT32_MAX)
        place = max(place, min(referee_tier, len(tiers) - 1))
    return tiers[place]


def discounted(
    tier: FeeTier, *, market_charge_ppm: int = ONE_MILLION, staking_discount_ppm: int = 0
) -> FeeTier:
    """Return the tier with its fees as they are charged, toward zero at each step.

    Parameters
    ----------
    market_charge_ppm : int
        What the market charges of a fee, or pays of a rebate, in its discount period; 1,000,000: all of it.
    staking_discount_ppm : int
        Discount of the staking tier, taken off fees above zero afterwards.
    """
    if not isinstance(tier, FeeTier):
        raise InputError("tier", tier, "a FeeTier")
    checked_integer("market_charge_ppm", market_charge_ppm, 0, ONE_MILLION)
    checked_integer("staking_discount_ppm", staking_discount_ppm, 0, ONE_MILLION)

    def charged(fee_ppm: int) -> int:
        fee = div_trunc(fee_ppm * market_charge_ppm, ONE_MILLION)
        return div_trunc(fee * (ONE_MILLION - staking_discount_ppm), ONE_MILLION) if fee > 0 else fee

    return replace(tier, maker_fee_ppm=charged(tier.maker_fee_ppm), taker_fee_ppm=charged(tier.taker_fee_ppm))


@dataclass(frozen=True, slots=True)
class EquityTierHeadroom:
    """Room for more orders of a kind.

    Attributes
    ----------
    limit : int or None
        How many may be open; None: the chain has no such limit.
    remaining : int or None
        How many more the chain takes, 0 where more are open than the tier allows.
    next_limit : int or None
        Of the next tier that allows more; None where there is none.
    lacking_quantums : int or None
        Quote quantums of net collateral still missing for it.
    kept_quantums : int or None
        Quote quantums of net collateral that may be lost before the limit falls; None where it cannot fall.
    """

    limit: int | None
    remaining: int | None
    next_limit: int | None
    lacking_quantums: int | None
    kept_quantums: int | None

    @property
    def lacking(self) -> Decimal | None:
        """USDC of net collateral still missing for the next tier."""
        return None if self.lacking_quantums is None else quote_quantums_to_usdc(self.lacking_quantums)


def equity_tier_headroom(
    account: Subaccount, open_orders: int, *, kind: str = "stateful"
) -> EquityTierHeadroom:
    """Say how many more orders the equity tier of a subaccount allows.

    Parameters
    ----------
    account : Subaccount
    open_orders : int
        How many of the kind are open.
    kind : "stateful" or "short-term"
        Recent versions of the chain do not enforce the tiers of short-term orders.
    """
    checked_integer("open_orders", open_orders, 0, UINT32_MAX)
    checked_choice("kind", kind, ("stateful", "short-term"))
    parameters = account.chain.parameters
    tiers = (
        parameters.stateful_order_equity_tiers
        if kind == "stateful"
        else parameters.short_term_order_equity_tiers
    )
    if not tiers:
        return EquityTierHeadroom(None, None, None, None, None)
    net_collateral = account.risk.nc
    limit, required, following = 0, None, None
    # of tiers with one requirement the last one counts
    for tier in {tier.net_collateral_required: tier for tier in tiers}.values():
        if net_collateral >= tier.net_collateral_required:
            if tier.limit != limit:
                limit, required = tier.limit, tier.net_collateral_required
        elif tier.limit > limit:
            following = tier
            break
    return EquityTierHeadroom(
        limit=limit,
        remaining=max(limit - open_orders, 0),
        next_limit=following.limit if following else None,
        lacking_quantums=following.net_collateral_required - net_collateral if following else None,
        kept_quantums=None if required is None else net_collateral - required,
    )


@dataclass(frozen=True, slots=True)
class RateLimitHeadroom:
    """Room in the current block.

    Attributes
    ----------
    remaining : int or None
        How many more the chain takes in this block; None: without limit.
    binding : RateLimit or None
        The limit that leaves least.
    """

    remaining: int | None
    binding: RateLimit | None


def _check_rates(limits: object, sent: object) -> None:
    if not isinstance(limits, Sequence) or not all(isinstance(limit, RateLimit) for limit in limits):
        raise InputError("limits", limits, "RateLimit objects")
    if isinstance(sent, str | bytes) or not isinstance(sent, Sequence) or len(sent) > MAX_BLOCKS:
        raise InputError("sent", sent, f"at most {MAX_BLOCKS} counts, one for each block")
    for place, count in enumerate(sent):
        checked_integer(f"sent[{place}]", count, 0, UINT32_MAX)


def rate_limit_headroom(limits: Sequence[RateLimit], sent: Sequence[int]) -> RateLimitHeadroom:
    """Say how many more messages of a kind the rate limits let through in the current block.

    Parameters
    ----------
    limits : sequence of RateLimit
        One field of `ProtocolParameters.block_rate_limits`; each counts over its own number of blocks, the
        current one among them.
    sent : sequence of int
        How many were sent in each block, the current one last; blocks before the first count as none.
    """
    _check_rates(limits, sent)
    rooms = [(max(limit.limit - sum(sent[-limit.num_blocks :]), 0), limit) for limit in limits]
    if not rooms:
        return RateLimitHeadroom(None, None)
    remaining, binding = min(rooms)
    return RateLimitHeadroom(remaining, binding)
