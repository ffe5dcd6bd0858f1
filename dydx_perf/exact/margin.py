"""Margin and risk: of a position, of a subaccount, and the chain's ordering of two risks.

Sources: `x/perpetuals/lib/lib.go`, `x/perpetuals/types/liquidity_tier.go`, `lib/margin/risk.go`,
`x/subaccounts/lib/updates.go`.
"""

from collections.abc import Mapping

from dydx_perf.exact.arith import ONE_MILLION, base_to_quote_quantums_trunc, mul_ppm_ceil
from dydx_perf.exact.funding import settle_subaccount
from dydx_perf.exact.sentinels import error, panic
from dydx_perf.exact.state import USDC_ASSET_ID, Perpetual, RiskState, SubaccountState


def notional(perpetual: Perpetual, quantums: int) -> int:
    """Signed value of `quantums` at the oracle price, toward zero."""
    return base_to_quote_quantums_trunc(
        quantums, perpetual.atomic_resolution, perpetual.price, perpetual.exponent
    )


def adjusted_initial_margin_ppm(perpetual: Perpetual, open_interest_notional: int) -> int:
    """Initial margin fraction: base at the lower cap of open interest, 100 % at the upper, floored inside."""
    base = perpetual.initial_margin_ppm
    lower, upper = perpetual.open_interest_lower_cap, perpetual.open_interest_upper_cap
    if upper == 0 or open_interest_notional <= lower:
        return base
    if open_interest_notional >= upper:
        return ONE_MILLION
    if base > ONE_MILLION:
        raise panic("ErrInitialMarginPpmExceedsMax")
    return (ONE_MILLION - base) * (open_interest_notional - lower) // (upper - lower) + base


def maintenance_margin(perpetual: Perpetual, abs_notional: int) -> int:
    """Two ceilings: the unscaled initial margin first, then its maintenance fraction."""
    base_initial_margin = mul_ppm_ceil(abs_notional, perpetual.initial_margin_ppm)
    return mul_ppm_ceil(base_initial_margin, perpetual.maintenance_fraction_ppm)


def initial_margin(perpetual: Perpetual, abs_notional: int, custom_imf_ppm: int = 0) -> int:
    """One ceiling of the scaled fraction, or of the subaccount's own where that is larger."""
    open_interest_notional = notional(perpetual, perpetual.open_interest)
    fraction = adjusted_initial_margin_ppm(perpetual, open_interest_notional)
    return mul_ppm_ceil(abs_notional, max(fraction, custom_imf_ppm))


def position_risk(
    perpetual: Perpetual, quantums: int, quote_balance: int = 0, custom_imf_ppm: int = 0
) -> RiskState:
    """Risk of one settled position."""
    signed_notional = notional(perpetual, quantums)
    return RiskState(
        nc=signed_notional + quote_balance,
        imr=initial_margin(perpetual, abs(signed_notional), custom_imf_ppm),
        mmr=maintenance_margin(perpetual, abs(signed_notional)),
    )


def settled_subaccount_risk(
    perpetuals: Mapping[int, Perpetual], settled: SubaccountState, leverage: Mapping[int, int]
) -> RiskState:
    """Sum over balances and positions of an already settled subaccount; `leverage` only raises imr."""
    nc = imr = mmr = 0
    for asset in settled.asset_positions:
        if asset.asset_id == USDC_ASSET_ID:
            nc += asset.quantums
        elif asset.quantums > 0:
            raise error("ErrNotImplementedMulticollateral")
        elif asset.quantums < 0:
            raise error("ErrNotImplementedMargin")
    for position in settled.perpetual_positions:
        if position.perpetual_id not in perpetuals:
            raise panic("ErrPerpetualInfoDoesNotExist")
        risk = position_risk(
            perpetuals[position.perpetual_id],
            position.quantums,
            position.quote_balance,
            leverage.get(position.perpetual_id, 0),
        )
        nc, imr, mmr = nc + risk.nc, imr + risk.imr, mmr + risk.mmr
    return RiskState(nc, imr, mmr)


def subaccount_risk(perpetuals: Mapping[int, Perpetual], subaccount: SubaccountState) -> RiskState:
    """Settle the funding, then add up."""
    indices = {perpetual_id: p.funding_index for perpetual_id, p in perpetuals.items()}
    settled = settle_subaccount(indices, subaccount).subaccount
    return settled_subaccount_risk(perpetuals, settled, subaccount.leverage)


def is_initial_collateralized(risk: RiskState) -> bool:
    """May open, withdraw and transfer."""
    return risk.nc >= risk.imr


def is_maintenance_collateralized(risk: RiskState) -> bool:
    """Net collateral covers the maintenance margin."""
    return risk.nc >= risk.mmr


def is_liquidatable(risk: RiskState) -> bool:
    """Strict, and never without a maintenance margin."""
    return risk.mmr > 0 and risk.mmr > risk.nc


def compare_risk(a: RiskState, b: RiskState) -> int:
    """1 when `a` is riskier, -1 when `b` is: nc / mmr by cross multiplication, then mmr, then nc."""
    left, right = b.nc * a.mmr, a.nc * b.mmr
    if left != right:
        return 1 if left > right else -1
    if a.mmr != b.mmr:
        return 1 if a.mmr > b.mmr else -1
    if a.mmr == 0 and a.nc != b.nc:
        return 1 if a.nc < b.nc else -1
    return 0


SUCCESS = "Success"
NEWLY_UNDERCOLLATERALIZED = "NewlyUndercollateralized"
STILL_UNDERCOLLATERALIZED = "StillUndercollateralized"


def state_transition(current: RiskState, new: RiskState) -> str:
    """Verdict on an update that leaves the subaccount below its initial margin requirement."""
    refused = NEWLY_UNDERCOLLATERALIZED if is_initial_collateralized(current) else STILL_UNDERCOLLATERALIZED
    if new.mmr > current.mmr:
        return refused
    if current.mmr == 0 or new.mmr == 0:
        improves = current.mmr == new.mmr and new.nc > current.nc
        return SUCCESS if improves else refused
    return refused if compare_risk(new, current) > 0 else SUCCESS
