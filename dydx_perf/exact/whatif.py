"""What one change would do to a subaccount: the chain's verdict, and the state that it would leave.

The two checks that an order meets are told apart. Entering the book: as if filled in full at its own price,
as a maker, open interest as it is, the builder fee taken on the base amount. Matching: open interest first,
the fee of the side it is on, the builder fee taken on the quote amount. Sources: `x/clob/keeper/orders.go`,
`x/clob/keeper/process_single_match.go`, `x/subaccounts/keeper/subaccount.go`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dydx_perf.exact.arith import fill_amount_to_quote_quantums_floor, mul_ppm_ceil
from dydx_perf.exact.funding import settle_subaccount
from dydx_perf.exact.margin import (
    SUCCESS,
    is_initial_collateralized,
    settled_subaccount_risk,
    state_transition,
)
from dydx_perf.exact.sentinels import error
from dydx_perf.exact.state import (
    USDC_ASSET_ID,
    ClobPair,
    Perpetual,
    PerpetualPosition,
    RiskState,
    SubaccountState,
)
from dydx_perf.exact.update import (
    COLLAT_CHECK,
    MATCH,
    TRANSFER,
    VIOLATES_ISOLATED,
    WITHDRAWAL,
    WITHDRAWALS_BLOCKED,
    AssetUpdate,
    BlockState,
    PerpetualUpdate,
    Update,
    apply_update,
    are_withdrawals_blocked,
    check_perpetuals_exist,
    check_updatable,
    is_valid_isolated_update,
    open_interest_delta,
    with_open_interest_delta,
)

NOTHING_BLOCKED = BlockState()
#: what the chain answers when the verdicts pass but the market's open interest would fall below zero
NEGATIVE_OPEN_INTEREST = "ErrCannotModifyPerpOpenInterestForOIMF"


@dataclass(frozen=True, slots=True)
class Fill:
    """An order filled in full at one price.

    Units: base quantums and quote quantums; a negative fee is a rebate.
    """

    base_delta: int  # signed: above zero for a buy
    quote_quantums: int  # value of the fill, never negative
    fee: int
    builder_fee: int

    @property
    def usdc_delta(self) -> int:
        """What the fill adds to the USDC balance."""
        paid = self.quote_quantums if self.base_delta > 0 else -self.quote_quantums
        return -paid - self.fee - self.builder_fee


def clob_pair_of(perpetual: Perpetual) -> ClobPair:
    """The order book of a perpetual that has one."""
    if perpetual.clob_pair is None:
        raise error("ErrPerpetualDoesNotExist")
    return perpetual.clob_pair


def _fill(
    perpetual: Perpetual, is_buy: bool, base_quantums: int, subticks: int, fee_ppm: int
) -> tuple[int, int, int]:
    """(base delta, quote quantums floored, fee rounded up)."""
    exponent = clob_pair_of(perpetual).quantum_conversion_exponent
    quote = fill_amount_to_quote_quantums_floor(subticks, base_quantums, exponent)
    return base_quantums if is_buy else -base_quantums, quote, mul_ppm_ceil(quote, fee_ppm)


def resting_fill(
    perpetual: Perpetual,
    is_buy: bool,
    base_quantums: int,
    subticks: int,
    maker_fee_ppm: int,
    builder_fee_ppm: int,
) -> Fill:
    """The fill that the check at the book's door supposes; the builder fee is on the base amount."""
    base_delta, quote, fee = _fill(perpetual, is_buy, base_quantums, subticks, maker_fee_ppm)
    return Fill(base_delta, quote, fee, mul_ppm_ceil(base_quantums, builder_fee_ppm))


def matched_fill(
    perpetual: Perpetual, is_buy: bool, base_quantums: int, subticks: int, fee_ppm: int, builder_fee_ppm: int
) -> Fill:
    """One match at one price; the builder fee is on the quote amount."""
    base_delta, quote, fee = _fill(perpetual, is_buy, base_quantums, subticks, fee_ppm)
    return Fill(base_delta, quote, fee, mul_ppm_ceil(quote, builder_fee_ppm))


def fill_update(perpetual_id: int, fill: Fill) -> Update:
    """The update of the subaccount that is filled."""
    return Update(
        0,
        (AssetUpdate(USDC_ASSET_ID, fill.usdc_delta),),
        (PerpetualUpdate(perpetual_id, fill.base_delta),),
    )


def usdc_update(quantums: int) -> Update:
    """The update of a deposit (above zero), a withdrawal or a transfer (below)."""
    return Update(0, (AssetUpdate(USDC_ASSET_ID, quantums),))


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict, the two risks it compared, and what the change would leave, passed or not.

    A match changes the open interest before either risk is computed, so `current` may have another initial
    margin than the account has now.
    """

    result: str
    current: RiskState
    new: RiskState
    state: SubaccountState  # settled and changed
    perpetuals: Mapping[int, Perpetual]
    open_interest_delta: int = 0


def match_open_interest_delta(
    settled: SubaccountState, update: Update, counterparty_quantums: int
) -> tuple[int, int] | None:
    """(perpetual_id, base quantums) by which a match of `update` changes the long side.

    Without a position (0) the counterparty raises open interest most: it can close nothing.
    """
    (change,) = update.perpetual_updates
    perpetual_id = change.perpetual_id
    other = SubaccountState((), (PerpetualPosition(perpetual_id, counterparty_quantums, 0),))
    against = Update(1, (), (PerpetualUpdate(perpetual_id, -change.quantums_delta),))
    return open_interest_delta([settled, other], [update, against], MATCH)


def outcome(
    perpetuals: Mapping[int, Perpetual],
    subaccount: SubaccountState,
    update: Update,
    update_type: str = COLLAT_CHECK,
    counterparty_quantums: int = 0,
    block: BlockState = NOTHING_BLOCKED,
) -> Outcome:
    """What the chain answers to one subaccount's `update`, in the order of its checks.

    `counterparty_quantums` is the position of the other side of a match; whether that side passes is its own
    affair and is not looked at.
    """
    check_perpetuals_exist(perpetuals, [subaccount], [update])
    indices = {perpetual_id: p.funding_index for perpetual_id, p in perpetuals.items()}
    settled = settle_subaccount(indices, subaccount).subaccount
    delta = (
        match_open_interest_delta(settled, update, counterparty_quantums) if update_type == MATCH else None
    )
    after = with_open_interest_delta(perpetuals, delta)
    check_updatable(after, update)
    changed = apply_update(after, settled, update)
    current = settled_subaccount_risk(after, settled, settled.leverage)
    new = settled_subaccount_risk(after, changed, settled.leverage)
    if not is_valid_isolated_update(perpetuals, settled, update):
        result = VIOLATES_ISOLATED
    elif update_type in (WITHDRAWAL, TRANSFER) and are_withdrawals_blocked(block):
        result = WITHDRAWALS_BLOCKED
    else:
        result = SUCCESS if is_initial_collateralized(new) else state_transition(current, new)
    if result == SUCCESS and delta is not None and after[delta[0]].open_interest < 0:
        result = NEGATIVE_OPEN_INTEREST
    return Outcome(result, current, new, changed, after, delta[1] if delta else 0)
