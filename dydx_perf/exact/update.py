"""Updates of subaccounts: the chain's pre-trade, withdrawal and transfer checks, and their effect.

Sources: `x/subaccounts/keeper/subaccount.go`, `isolated_subaccount.go` and `leverage.go`,
`x/subaccounts/lib/updates.go` and `oimf.go`, `x/perpetuals/keeper/perpetual.go`, `x/clob/keeper/orders.go`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dydx_perf.exact.arith import fill_amount_to_quote_quantums_floor, mul_ppm_ceil
from dydx_perf.exact.funding import settle_subaccount
from dydx_perf.exact.margin import (
    SUCCESS,
    is_initial_collateralized,
    settled_subaccount_risk,
    state_transition,
    subaccount_risk,
)
from dydx_perf.exact.sentinels import error, panic
from dydx_perf.exact.state import (
    MARKET_TYPE_ISOLATED,
    USDC_ASSET_ID,
    AssetPosition,
    Perpetual,
    PerpetualPosition,
    RiskState,
    SubaccountState,
)

WITHDRAWAL, TRANSFER, DEPOSIT, MATCH, COLLAT_CHECK = (
    "Withdrawal",
    "Transfer",
    "Deposit",
    "Match",
    "CollatCheck",
)
UPDATE_TYPES = (WITHDRAWAL, TRANSFER, DEPOSIT, MATCH, COLLAT_CHECK)

VIOLATES_ISOLATED = "ViolatesIsolatedSubaccountConstraints"
WITHDRAWALS_BLOCKED = "WithdrawalsAndTransfersBlocked"
#: blocks for which withdrawals and transfers stay blocked
BLOCKED_BLOCKS = 50
KNOWN_ASSETS = range(4)


@dataclass(frozen=True, slots=True)
class PerpetualUpdate:
    """A change of one position: base quantums, and quote quantums of its own quote balance."""

    perpetual_id: int
    quantums_delta: int
    quote_balance_delta: int = 0


@dataclass(frozen=True, slots=True)
class AssetUpdate:
    """A change of one balance."""

    asset_id: int
    quantums_delta: int


@dataclass(frozen=True, slots=True)
class Update:
    """All changes of one subaccount, named by its place in the list of subaccounts."""

    subaccount: int
    asset_updates: tuple[AssetUpdate, ...] = ()
    perpetual_updates: tuple[PerpetualUpdate, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockState:
    """What blocks withdrawals: the last block with negative collateral, and the last outage."""

    height: int = 0
    negative_tnc_seen_block: int | None = None
    chain_outage_block: int = 0
    chain_outage_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Verdicts:
    """One result per update."""

    success: bool
    results: tuple[str, ...]


def apply_update(
    perpetuals: Mapping[int, Perpetual], settled: SubaccountState, update: Update
) -> SubaccountState:
    """The settled subaccount after `update`.

    What an update leaves at zero disappears; a zero update of an absent entry creates it.
    """
    assets = {asset.asset_id: asset.quantums for asset in settled.asset_positions}
    for change in update.asset_updates:
        apply_asset_update(assets, change)
    positions = {position.perpetual_id: position for position in settled.perpetual_positions}
    for perpetual_change in update.perpetual_updates:
        apply_perpetual_update(perpetuals, positions, perpetual_change)
    return SubaccountState(
        tuple(AssetPosition(asset_id, quantums) for asset_id, quantums in sorted(assets.items())),
        tuple(position for _, position in sorted(positions.items())),
        settled.leverage,
    )


def apply_asset_update(assets: dict[int, int], update: AssetUpdate) -> None:
    """Change `assets` in place."""
    held = update.asset_id in assets
    assets[update.asset_id] = assets.get(update.asset_id, 0) + update.quantums_delta
    if held and assets[update.asset_id] == 0:
        del assets[update.asset_id]


def apply_perpetual_update(
    perpetuals: Mapping[int, Perpetual], positions: dict[int, PerpetualPosition], update: PerpetualUpdate
) -> None:
    """Change `positions` in place."""
    perpetual_id = update.perpetual_id
    if perpetual_id not in positions:
        positions[perpetual_id] = PerpetualPosition(
            perpetual_id,
            update.quantums_delta,
            perpetuals[perpetual_id].funding_index,
            update.quote_balance_delta,
        )
        return
    position = positions[perpetual_id]
    position = replace(
        position,
        quantums=position.quantums + update.quantums_delta,
        quote_balance=position.quote_balance + update.quote_balance_delta,
    )
    if position.quantums == 0 and position.quote_balance == 0:
        del positions[perpetual_id]
    else:
        positions[perpetual_id] = position


def is_valid_isolated_update(
    perpetuals: Mapping[int, Perpetual], subaccount: SubaccountState, update: Update
) -> bool:
    """A subaccount holds either one isolated perpetual or any number of cross ones."""
    updates = update.perpetual_updates
    if not updates:
        return True
    held = [position.perpetual_id for position in subaccount.perpetual_positions]
    changed = [change.perpetual_id for change in updates]
    isolated_update = any(perpetuals[i].market_type == MARKET_TYPE_ISOLATED for i in changed)
    isolated_held = any(perpetuals[i].market_type == MARKET_TYPE_ISOLATED for i in held)
    if not isolated_update and not isolated_held:
        return True
    if len(updates) > 1:
        return False
    return not held or held == changed


def check_perpetuals_exist(
    perpetuals: Mapping[int, Perpetual], subaccounts: Iterable[SubaccountState], updates: Iterable[Update]
) -> None:
    """Every perpetual that is held or changed must exist, before anything else is looked at."""
    for subaccount in subaccounts:
        for position in subaccount.perpetual_positions:
            if position.perpetual_id not in perpetuals:
                raise error("ErrPerpetualDoesNotExist")
    for update in updates:
        for change in update.perpetual_updates:
            if change.perpetual_id not in perpetuals:
                raise error("ErrPerpetualDoesNotExist")


def check_updatable(perpetuals: Mapping[int, Perpetual], update: Update) -> None:
    """Each changed asset must exist, each changed perpetual must have a price."""
    for change in update.perpetual_updates:
        if perpetuals[change.perpetual_id].price == 0:
            raise error("ErrProductPositionNotUpdatable")
    for asset_change in update.asset_updates:
        if asset_change.asset_id not in KNOWN_ASSETS:
            raise error("ErrAssetDoesNotExist")


def are_withdrawals_blocked(block: BlockState) -> bool:
    """Whether negative collateral or an outage was seen within the last 50 blocks."""
    seen = [] if block.negative_tnc_seen_block is None else [block.negative_tnc_seen_block]
    if block.chain_outage_seconds > 0:
        seen.append(block.chain_outage_block)
    if any(block.height < seen_block for seen_block in seen):
        raise panic("current block is less than the last block seen")
    return any(block.height - seen_block < BLOCKED_BLOCKS for seen_block in seen)


def open_interest_delta(
    settled: Sequence[SubaccountState], updates: Sequence[Update], update_type: str
) -> tuple[int, int] | None:
    """(perpetual_id, base quantums) by which a match changes the long side; None when it does not."""
    if update_type != MATCH:
        return None
    if len(updates) != 2:
        raise panic("ErrMatchUpdatesMustHaveTwoUpdates")
    if any(len(update.perpetual_updates) != 1 for update in updates):
        raise panic("ErrMatchUpdatesMustUpdateOnePerp")
    first, second = (update.perpetual_updates[0] for update in updates)
    if first.perpetual_id != second.perpetual_id:
        raise panic("ErrMatchUpdatesMustBeSamePerpId")
    if first.quantums_delta + second.quantums_delta != 0:
        raise panic("ErrMatchUpdatesInvalidSize")
    delta = 0
    for update, change in zip(updates, (first, second), strict=True):
        held = settled[update.subaccount].perpetual_positions
        before = sum(p.quantums for p in held if p.perpetual_id == change.perpetual_id)
        delta += max(before + change.quantums_delta, 0) - max(before, 0)
    return (first.perpetual_id, delta) if delta else None


def modified_open_interest(open_interest: int, delta: int) -> int:
    """Open interest after `delta`; below zero is refused."""
    if open_interest + delta < 0:
        raise error("ErrOpenInterestWouldBecomeNegative")
    return open_interest + delta


def risks_of_update(
    perpetuals: Mapping[int, Perpetual], settled: SubaccountState, update: Update
) -> tuple[RiskState, RiskState]:
    """Risk of the settled subaccount before and after `update`."""
    current = settled_subaccount_risk(perpetuals, settled, settled.leverage)
    updated = apply_update(perpetuals, settled, update)
    return current, settled_subaccount_risk(perpetuals, updated, settled.leverage)


def settle_all(
    perpetuals: Mapping[int, Perpetual], subaccounts: Sequence[SubaccountState]
) -> list[SubaccountState]:
    """Every subaccount with its funding settled."""
    indices = {perpetual_id: p.funding_index for perpetual_id, p in perpetuals.items()}
    return [settle_subaccount(indices, subaccount).subaccount for subaccount in subaccounts]


def with_open_interest_delta(
    perpetuals: Mapping[int, Perpetual], delta: tuple[int, int] | None
) -> Mapping[int, Perpetual]:
    """The perpetuals as a match leaves them; the result may lie below zero."""
    if delta is None:
        return perpetuals
    perpetual_id, quantums = delta
    perpetual = perpetuals[perpetual_id]
    changed = replace(perpetual, open_interest=perpetual.open_interest + quantums)
    return {**perpetuals, perpetual_id: changed}


def can_update_subaccounts(
    perpetuals: Mapping[int, Perpetual],
    subaccounts: Sequence[SubaccountState],
    updates: Sequence[Update],
    update_type: str = COLLAT_CHECK,
    block: BlockState = BlockState(),
) -> Verdicts:
    """What the chain answers to `updates`, in the order of its checks."""
    touched = {update.subaccount for update in updates}
    check_perpetuals_exist(perpetuals, (subaccounts[i] for i in sorted(touched)), updates)
    settled = settle_all(perpetuals, subaccounts)

    results = [
        SUCCESS if is_valid_isolated_update(perpetuals, settled[u.subaccount], u) else VIOLATES_ISOLATED
        for u in updates
    ]
    if VIOLATES_ISOLATED in results:
        return Verdicts(False, tuple(results))
    if update_type in (WITHDRAWAL, TRANSFER) and are_withdrawals_blocked(block):
        return Verdicts(False, (WITHDRAWALS_BLOCKED,) * len(updates))

    perpetuals = with_open_interest_delta(perpetuals, open_interest_delta(settled, updates, update_type))
    results = []
    for update in updates:
        check_updatable(perpetuals, update)
        current, new = risks_of_update(perpetuals, settled[update.subaccount], update)
        results.append(SUCCESS if is_initial_collateralized(new) else state_transition(current, new))
    return Verdicts(all(result == SUCCESS for result in results), tuple(results))


@dataclass(frozen=True, slots=True)
class Updated:
    """State after an attempt; unchanged, funding included, when it was refused."""

    verdicts: Verdicts
    subaccounts: tuple[SubaccountState, ...]
    open_interest: Mapping[int, int]


def update_subaccounts(
    perpetuals: Mapping[int, Perpetual],
    subaccounts: Sequence[SubaccountState],
    updates: Sequence[Update],
    update_type: str = COLLAT_CHECK,
    block: BlockState = BlockState(),
) -> Updated:
    """Apply `updates` when all of them succeed."""
    verdicts = can_update_subaccounts(perpetuals, subaccounts, updates, update_type, block)
    open_interest = {perpetual_id: p.open_interest for perpetual_id, p in perpetuals.items()}
    result = list(subaccounts)
    if not verdicts.success:
        return Updated(verdicts, tuple(result), open_interest)
    settled = settle_all(perpetuals, subaccounts)
    delta = open_interest_delta(settled, updates, update_type)
    if delta is not None:
        perpetual_id, quantums = delta
        if open_interest[perpetual_id] + quantums < 0:
            raise error("ErrCannotModifyPerpOpenInterestForOIMF")
        open_interest[perpetual_id] += quantums
    for update in updates:
        result[update.subaccount] = apply_update(perpetuals, settled[update.subaccount], update)
    return Updated(verdicts, tuple(result), open_interest)


def max_withdrawable(risk: RiskState) -> int:
    """Largest USDC withdrawal that passes, in quote quantums."""
    return max(risk.nc - risk.imr, 0)


def add_order_collateral_check(
    perpetuals: Mapping[int, Perpetual],
    subaccount: SubaccountState,
    perpetual_id: int,
    is_buy: bool,
    remaining_base_quantums: int,
    subticks: int,
    maker_fee_ppm: int,
    builder_fee_ppm: int | None,
) -> str:
    """Verdict on an order entering the book: as if filled in full at its price, as a maker.

    The builder fee is taken on the base amount: that is what the chain does.
    """
    clob_pair = perpetuals[perpetual_id].clob_pair
    if clob_pair is None:
        raise error("ErrPerpetualDoesNotExist")
    fill = fill_amount_to_quote_quantums_floor(
        subticks, remaining_base_quantums, clob_pair.quantum_conversion_exponent
    )
    quote_delta = -fill if is_buy else fill
    quote_delta -= mul_ppm_ceil(fill, maker_fee_ppm)
    if builder_fee_ppm is not None:
        quote_delta -= mul_ppm_ceil(remaining_base_quantums, builder_fee_ppm)
    base_delta = remaining_base_quantums if is_buy else -remaining_base_quantums
    update = Update(
        0, (AssetUpdate(USDC_ASSET_ID, quote_delta),), (PerpetualUpdate(perpetual_id, base_delta),)
    )
    return can_update_subaccounts(perpetuals, [subaccount], [update]).results[0]


def update_leverage(
    perpetuals: Mapping[int, Perpetual], subaccount: SubaccountState, new_leverage: Mapping[int, int]
) -> dict[int, int]:
    """Leverage after a change: each entry at least the tier's margin, then nc >= imr.

    The collateral check knows the new entries only, not the ones already stored; without new
    entries there is none.
    """
    for perpetual_id, custom_imf_ppm in sorted(new_leverage.items()):
        perpetual = perpetuals.get(perpetual_id)
        if perpetual is None or perpetual.initial_margin_ppm == 0:
            raise error("ErrInvalidLeverage")
        if custom_imf_ppm < perpetual.initial_margin_ppm:
            raise error("ErrLeverageExceedsMaximum")
    risk = subaccount_risk(perpetuals, replace(subaccount, leverage=new_leverage))
    if new_leverage and not is_initial_collateralized(risk):
        raise error("ErrLeverageViolatesMarginRequirements")
    return dict(sorted({**subaccount.leverage, **new_leverage}.items()))
