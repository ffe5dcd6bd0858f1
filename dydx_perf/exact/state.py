"""What the chain keeps of a perpetual and of a subaccount, as plain integers.

Units: base quantums are signed (long > 0); quote quantums are 10**-6 USDC; a price is an
unsigned integer times 10**exponent USDC for one coin; a funding index is cumulative parts per
million of a quote quantum for each base quantum.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

USDC_ASSET_ID = 0
MARKET_TYPE_CROSS = 1
MARKET_TYPE_ISOLATED = 2


@dataclass(frozen=True, slots=True)
class ClobPair:
    """The order book of a perpetual."""

    step_base_quantums: int
    subticks_per_tick: int
    quantum_conversion_exponent: int
    status: str = "ACTIVE"


@dataclass(frozen=True, slots=True)
class Perpetual:
    """A perpetual with its liquidity tier and its oracle price."""

    perpetual_id: int
    atomic_resolution: int
    price: int
    exponent: int
    funding_index: int
    open_interest: int  # base quantums, long side
    initial_margin_ppm: int
    maintenance_fraction_ppm: int
    open_interest_lower_cap: int  # quote quantums
    open_interest_upper_cap: int  # quote quantums; 0: no scaling
    market_type: int = MARKET_TYPE_CROSS
    default_funding_ppm: int = 0
    clob_pair: ClobPair | None = None


@dataclass(frozen=True, slots=True)
class AssetPosition:
    """A balance; asset 0 is USDC in quote quantums, signed."""

    asset_id: int
    quantums: int


@dataclass(frozen=True, slots=True)
class PerpetualPosition:
    """A position; `quote_balance` is in quote quantums and counts as collateral."""

    perpetual_id: int
    quantums: int
    funding_index: int
    quote_balance: int = 0


@dataclass(frozen=True, slots=True)
class SubaccountState:
    """Balances and positions, both ascending by id, and the chosen leverage (custom_imf_ppm by perpetual)."""

    asset_positions: tuple[AssetPosition, ...] = ()
    perpetual_positions: tuple[PerpetualPosition, ...] = ()
    leverage: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RiskState:
    """Net collateral, initial and maintenance margin requirement, in quote quantums."""

    nc: int
    imr: int
    mmr: int


@dataclass(frozen=True, slots=True)
class LiquidationsConfig:
    """Limits and prices of liquidations; notionals and losses in quote quantums."""

    max_liquidation_fee_ppm: int
    min_position_notional_liquidated: int
    max_position_portion_liquidated_ppm: int
    max_notional_liquidated: int
    max_quantums_insurance_lost: int
    bankruptcy_adjustment_ppm: int
    spread_to_maintenance_margin_ratio_ppm: int


@dataclass(frozen=True, slots=True)
class LiquidationInfo:
    """What was liquidated of a subaccount so far in this block."""

    perpetuals_liquidated: tuple[int, ...] = ()
    notional_liquidated: int = 0
    quantums_insurance_lost: int = 0
