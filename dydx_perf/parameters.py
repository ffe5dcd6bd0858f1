"""What the chain keeps for all markets together: fees, funding clamps, liquidation, equity tiers, rates."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

from dydx_perf.errors import InputError
from dydx_perf.exact.state import LiquidationsConfig
from dydx_perf.market import checked_integer

__all__ = ["BlockRateLimits", "EquityTier", "FeeTier", "ProtocolParameters", "RateLimit"]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
UINT32_MAX, UINT64_MAX = 2**32 - 1, 2**64 - 1

#: of the mainnet genesis and of the v9 sample
GENESIS_LIQUIDATIONS = LiquidationsConfig(
    max_liquidation_fee_ppm=15_000,
    min_position_notional_liquidated=1_000_000_000,
    max_position_portion_liquidated_ppm=100_000,
    max_notional_liquidated=100_000_000_000,
    max_quantums_insurance_lost=1_000_000_000_000,
    bankruptcy_adjustment_ppm=1_000_000,
    spread_to_maintenance_margin_ratio_ppm=1_500_000,
)


def _check_all(argument: str, values: object, kind: type) -> None:
    if not isinstance(values, tuple) or not all(isinstance(value, kind) for value in values):
        raise InputError(argument, values, f"a tuple of {kind.__name__}")


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Fees of one tier, ppm of the quote amount; a negative fee is a rebate."""

    name: str
    absolute_volume_requirement: int  # quote quantums in 30 days
    total_volume_share_requirement_ppm: int
    maker_volume_share_requirement_ppm: int
    maker_fee_ppm: int
    taker_fee_ppm: int

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise InputError("name", self.name, "a text")
        checked_integer("absolute_volume_requirement", self.absolute_volume_requirement, 0, UINT64_MAX)
        for name in ("total_volume_share_requirement_ppm", "maker_volume_share_requirement_ppm"):
            checked_integer(name, getattr(self, name), 0, UINT32_MAX)
        for name in ("maker_fee_ppm", "taker_fee_ppm"):
            checked_integer(name, getattr(self, name), INT32_MIN, INT32_MAX)


# Named tuples, which cost the import a fifth of what a dataclass does; `ProtocolParameters` checks them.
class EquityTier(NamedTuple):
    """How many orders of a kind a subaccount may have open from this net collateral on."""

    net_collateral_required: int  # quote quantums
    limit: int


class RateLimit(NamedTuple):
    """At most `limit` in any `num_blocks` blocks in a row."""

    limit: int
    num_blocks: int


class BlockRateLimits(NamedTuple):
    """What one address may send per block, by kind; nothing of a kind: no limit on it."""

    short_term_orders_and_cancels: tuple[RateLimit, ...] = ()
    stateful_orders: tuple[RateLimit, ...] = ()
    leverage_updates: tuple[RateLimit, ...] = ()


NO_RATE_LIMITS = BlockRateLimits()


@dataclass(frozen=True, slots=True)
class ProtocolParameters:
    """What holds for every market; defaults are those of the mainnet genesis, without tiers and rate limits.

    Tiers stand as the chain keeps them, ascending.
    """

    funding_rate_clamp_factor_ppm: int = 6_000_000
    premium_vote_clamp_factor_ppm: int = 60_000_000
    min_num_votes_per_sample: int = 15
    liquidations: LiquidationsConfig = GENESIS_LIQUIDATIONS
    fee_tiers: tuple[FeeTier, ...] = ()
    stateful_order_equity_tiers: tuple[EquityTier, ...] = ()
    short_term_order_equity_tiers: tuple[EquityTier, ...] = ()
    block_rate_limits: BlockRateLimits = NO_RATE_LIMITS

    def __post_init__(self) -> None:
        for name in (
            "funding_rate_clamp_factor_ppm",
            "premium_vote_clamp_factor_ppm",
            "min_num_votes_per_sample",
        ):
            checked_integer(name, getattr(self, name), 0, UINT32_MAX)
        if not isinstance(self.liquidations, LiquidationsConfig):
            raise InputError("liquidations", self.liquidations, "a LiquidationsConfig")
        for part in fields(self.liquidations):
            highest = UINT32_MAX if part.name.endswith("_ppm") else UINT64_MAX
            checked_integer(part.name, getattr(self.liquidations, part.name), 0, highest)
        _check_all("fee_tiers", self.fee_tiers, FeeTier)
        for name in ("stateful_order_equity_tiers", "short_term_order_equity_tiers"):
            _check_equity_tiers(name, getattr(self, name))
        if not isinstance(self.block_rate_limits, BlockRateLimits):
            raise InputError("block_rate_limits", self.block_rate_limits, "BlockRateLimits")
        for kind, limits in self.block_rate_limits._asdict().items():
            _check_all(kind, limits, RateLimit)
            for rate in limits:
                checked_integer("limit", rate.limit, 1, UINT32_MAX)
                checked_integer("num_blocks", rate.num_blocks, 1, UINT32_MAX)


def _check_equity_tiers(argument: str, tiers: tuple[EquityTier, ...]) -> None:
    _check_all(argument, tiers, EquityTier)
    for tier in tiers:
        checked_integer("net_collateral_required", tier.net_collateral_required, None, None)
        checked_integer("limit", tier.limit, 0, UINT32_MAX)
    required = [tier.net_collateral_required for tier in tiers]
    if required != sorted(required):
        raise InputError(argument, tiers, "ascending by net_collateral_required")
