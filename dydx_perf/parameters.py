"""What the chain keeps for all markets together: fees, funding clamps, liquidation limits."""

from __future__ import annotations

from dataclasses import dataclass, fields

from dydx_perf.errors import InputError
from dydx_perf.exact.liquidation import LiquidationsConfig
from dydx_perf.market import checked_integer

__all__ = ["FeeTier", "ProtocolParameters"]

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


@dataclass(frozen=True, slots=True)
class ProtocolParameters:
    """What holds for every market; defaults are those of the mainnet genesis."""

    funding_rate_clamp_factor_ppm: int = 6_000_000
    premium_vote_clamp_factor_ppm: int = 60_000_000
    min_num_votes_per_sample: int = 15
    liquidations: LiquidationsConfig = GENESIS_LIQUIDATIONS
    fee_tiers: tuple[FeeTier, ...] = ()

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
        if not _are_fee_tiers(self.fee_tiers):
            raise InputError("fee_tiers", self.fee_tiers, "a tuple of FeeTier")


def _are_fee_tiers(tiers: object) -> bool:
    return isinstance(tiers, tuple) and all(isinstance(tier, FeeTier) for tier in tiers)
