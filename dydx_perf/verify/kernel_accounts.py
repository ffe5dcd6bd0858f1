"""Kernel answers about positions, accounts, updates and liquidation: see `dydx_perf.verify.kernels`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dydx_perf.exact import funding as rules
from dydx_perf.exact import liquidation as liquidation_rules
from dydx_perf.exact import update
from dydx_perf.exact.liquidation import Liquidation
from dydx_perf.exact.sentinels import error
from dydx_perf.exact.state import USDC_ASSET_ID, Perpetual, RiskState, SubaccountState
from dydx_perf.ext import arith, funding, liquidation, margin
from dydx_perf.ext.account import Account, MarketTable
from dydx_perf.verify import fields as read
from dydx_perf.verify.exact_accounts import read_liquidation
from dydx_perf.verify.exact_amounts import Answer, chain_error_out, read_funding_index
from dydx_perf.verify.fields import Fields, leverage_out, risk_out
from dydx_perf.verify.kernel_amounts import Declined, KernelTable, held

# --- margin


def flags_out(risk: RiskState) -> Answer:
    initial, maintenance, liquidatable = held(margin.risk_flags(risk))
    return {
        "is_initial_collateralized": initial,
        "is_maintenance_collateralized": maintenance,
        "is_liquidatable": liquidatable,
    }


def position_risk(row: Fields) -> Answer:
    perpetual = row.one("market", read.read_perpetual)
    quantums, quote_balance = row.big("quantums"), row.big("quote_balance")
    custom_imf_ppm = row.uint32("custom_imf_ppm")
    figures = held(margin.position_risk(perpetual, quantums, quote_balance, custom_imf_ppm))
    if margin.position_risk(perpetual, quantums, quote_balance, custom_imf_ppm, wide=True) != figures:
        return {"nc": "the 64-bit and the 128-bit path differ"}
    risk = RiskState(*figures)
    return {
        **risk_out(risk),
        **flags_out(risk),
        "net_notional": str(held(margin.notional(perpetual, quantums))),
        "open_interest_quote_quantums": str(held(margin.notional(perpetual, perpetual.open_interest))),
        "adjusted_initial_margin_ppm": str(held(margin.scaled_initial_margin_ppm(perpetual))),
    }


def account_risk(perpetuals: Mapping[int, Perpetual], subaccount: SubaccountState) -> RiskState:
    """Risk through the object door, funding settled by the kernel."""
    for place, asset in enumerate(subaccount.asset_positions):
        if asset.quantums and (place, asset.asset_id) != (0, USDC_ASSET_ID):
            raise Declined
    table = MarketTable()
    positions = []
    for position in subaccount.perpetual_positions:
        perpetual = held(perpetuals.get(position.perpetual_id))
        index = table.add()
        fits = table.set(
            index,
            perpetual_id=perpetual.perpetual_id,
            atomic_resolution=perpetual.atomic_resolution,
            exponent=perpetual.exponent,
            price=perpetual.price,
            funding_index=perpetual.funding_index,
            open_interest=perpetual.open_interest,
            initial_margin_ppm=perpetual.initial_margin_ppm,
            maintenance_fraction_ppm=perpetual.maintenance_fraction_ppm,
            open_interest_lower_cap=perpetual.open_interest_lower_cap,
            open_interest_upper_cap=perpetual.open_interest_upper_cap,
            height=-1,
            basis=0,
        )
        if not fits:
            raise Declined
        custom_imf_ppm = subaccount.leverage.get(position.perpetual_id, 0)
        positions.append(
            (
                str(position.perpetual_id),
                index,
                position.quantums,
                position.funding_index,
                position.quote_balance,
                custom_imf_ppm,
            )
        )
    account = Account(table)
    account.write(rules.usdc_balance(subaccount), positions)
    try:
        risk = account.evaluate()
    except OverflowError:
        raise Declined from None
    return RiskState(risk.nc, risk.imr, risk.mmr)


def settled_payments(
    indices: Mapping[int, int], subaccount: SubaccountState
) -> tuple[int, list[tuple[int, int]]]:
    """USDC after funding, and the payments that were due."""
    positions = [
        (p.quantums, p.funding_index, held(indices.get(p.perpetual_id)))
        for p in subaccount.perpetual_positions
    ]
    payments = []
    for position, (quantums, own, current) in zip(subaccount.perpetual_positions, positions, strict=True):
        ppm, received = held(funding.settle_position(quantums, own, current))
        if ppm:
            payments.append((position.perpetual_id, -received))
    return rules.usdc_balance(subaccount) + held(funding.settle_account(positions)), payments


def funding_indices(perpetuals: Mapping[int, Perpetual]) -> dict[int, int]:
    return {perpetual_id: perpetual.funding_index for perpetual_id, perpetual in perpetuals.items()}


def subaccount_risk(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    subaccount = row.one("subaccount", read.read_subaccount)
    risk = account_risk(perpetuals, subaccount)
    usdc, _ = settled_payments(funding_indices(perpetuals), subaccount)
    return {
        **risk_out(risk),
        **flags_out(risk),
        "settled_usdc": str(usdc),
        "has_negative_tnc": risk.nc < 0,
    }


def risk_cmp(row: Fields) -> Answer:
    a, b = row.one("a", read.read_risk), row.one("b", read.read_risk)
    return {
        "cmp": held(margin.risk_order(a, b)),
        **{f"a_{name}": flag for name, flag in flags_out(a).items()},
    }


def get_net_collateral_and_margin_requirements(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    subaccount = row.one("subaccount", read.read_subaccount)
    change = row.one("update", read.read_update)
    update.check_perpetuals_exist(perpetuals, [subaccount], [change])
    settled = update.settle_all(perpetuals, [subaccount])[0]
    return risk_out(account_risk(perpetuals, update.apply_update(perpetuals, settled, change)))


def settle_position(row: Fields) -> Answer:
    ppm, received = held(
        funding.settle_position(
            row.big("quantums"), row.big("position_funding_index"), row.big("perpetual_funding_index")
        )
    )
    return {
        "net_settlement_ppm": str(ppm),
        "usdc_delta": str(received),
        "funding_payment": str(-received) if ppm else None,
    }


def settle_subaccount(row: Fields) -> Answer:
    indices = read.unique("perpetuals", row.each("perpetuals", read_funding_index))
    usdc, payments = settled_payments(indices, row.one("subaccount", read.read_subaccount))
    return {
        "usdc": str(usdc),
        "funding_payments": [
            {"perpetual_id": perpetual_id, "funding_payment": str(payment)}
            for perpetual_id, payment in payments
        ],
    }


# --- state_transition


def is_valid_state_transition(row: Fields) -> Answer:
    current, new = row.one("risk_cur", read.read_risk), row.one("risk_new", read.read_risk)
    return {"result": held(margin.transition(current, new))}


def verdict(current: RiskState, new: RiskState) -> str:
    """Return what the margin rules say to an update; earlier checks are not the kernels'."""
    if flags_out(new)["is_initial_collateralized"]:
        return "Success"
    return held(margin.transition(current, new))


def judged_updates(
    perpetuals: Mapping[int, Perpetual],
    subaccounts: Sequence[SubaccountState],
    updates: Sequence[update.Update],
    update_type: str,
) -> list[tuple[RiskState, RiskState]]:
    """Return both risks of every update: of the account as it stands, and of the updated one."""
    touched = sorted({change.subaccount for change in updates})
    update.check_perpetuals_exist(perpetuals, [subaccounts[i] for i in touched], updates)
    settled = update.settle_all(perpetuals, subaccounts)
    delta = update.open_interest_delta(settled, updates, update_type)
    matched = update.with_open_interest_delta(perpetuals, delta)
    for change in updates:
        update.check_updatable(matched, change)
    return [
        (
            account_risk(matched, subaccounts[change.subaccount]),
            account_risk(matched, update.apply_update(matched, settled[change.subaccount], change)),
        )
        for change in updates
    ]


def reaches_margin_rules(
    perpetuals: Mapping[int, Perpetual],
    subaccounts: Sequence[SubaccountState],
    updates: Sequence[update.Update],
    update_type: str,
    block: update.BlockState,
) -> bool:
    """Whether no earlier check decides: isolated markets, and the block on withdrawals."""
    update.check_perpetuals_exist(perpetuals, [subaccounts[u.subaccount] for u in updates], updates)
    settled = update.settle_all(perpetuals, subaccounts)
    if not all(update.is_valid_isolated_update(perpetuals, settled[u.subaccount], u) for u in updates):
        return False
    return update_type not in (update.WITHDRAWAL, update.TRANSFER) or not update.are_withdrawals_blocked(
        block
    )


def can_update_subaccounts(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    subaccounts = row.each("subaccounts", read.read_subaccount)
    updates = read.read_updates(row, subaccounts)
    update_type = row.text("update_type", update.UPDATE_TYPES)
    risks = judged_updates(perpetuals, subaccounts, updates, update_type)
    answer: Answer = {
        "risk_cur": [risk_out(current) for current, _ in risks],
        "risk_new": [risk_out(new) for _, new in risks],
    }
    if reaches_margin_rules(perpetuals, subaccounts, updates, update_type, read.read_block(row)):
        answer["results"] = [verdict(current, new) for current, new in risks]
    return answer


def update_subaccounts(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    subaccounts = row.each("subaccounts", read.read_subaccount)
    updates = read.read_updates(row, subaccounts)
    update_type = row.text("update_type", update.UPDATE_TYPES)
    if not reaches_margin_rules(perpetuals, subaccounts, updates, update_type, read.read_block(row)):
        raise Declined
    risks = judged_updates(perpetuals, subaccounts, updates, update_type)
    changed = update.open_interest_delta(update.settle_all(perpetuals, subaccounts), updates, update_type)
    if changed is not None:
        update.modified_open_interest(perpetuals[changed[0]].open_interest, changed[1])
    return {"results": [verdict(current, new) for current, new in risks]}


def max_withdrawable(row: Fields) -> Answer:
    risk = account_risk(read.read_perpetuals(row), row.one("subaccount", read.read_subaccount))
    return {**risk_out(risk), "max_withdrawable": str(update.max_withdrawable(risk))}


def add_order_to_orderbook_collateral_check(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    subaccount = row.one("subaccount", read.read_subaccount)
    perpetual_id, is_buy = row.uint32("perpetual_id"), row.boolean("is_buy")
    size, subticks = row.uint64("remaining_base_quantums"), row.uint64("subticks")
    maker_fee_ppm, builder_fee_ppm = row.int32("maker_fee_ppm"), row.take("builder_fee_ppm")
    pair = held(held(perpetuals.get(perpetual_id)).clob_pair)
    fill = held(arith.fill_amount_to_quote_quantums_floor(subticks, size, pair.quantum_conversion_exponent))
    quote = (-fill if is_buy else fill) - held(arith.mul_ppm_ceil(fill, maker_fee_ppm))
    if builder_fee_ppm is not None:
        quote -= held(arith.mul_ppm_ceil(size, builder_fee_ppm))
    change = update.Update(
        0,
        (update.AssetUpdate(USDC_ASSET_ID, quote),),
        (update.PerpetualUpdate(perpetual_id, size if is_buy else -size),),
    )
    block = update.BlockState()
    if not reaches_margin_rules(perpetuals, [subaccount], [change], update.COLLAT_CHECK, block):
        raise Declined
    ((current, new),) = judged_updates(perpetuals, [subaccount], [change], update.COLLAT_CHECK)
    return {"result": verdict(current, new)}


def update_leverage(row: Fields) -> Answer:
    new_leverage = read.unique("new_leverage", row.each("new_leverage", read.read_leverage))
    perpetuals = read.read_perpetuals(row)
    subaccount = row.one("subaccount", read.read_subaccount)
    for perpetual_id, custom_imf_ppm in new_leverage.items():
        perpetual = held(perpetuals.get(perpetual_id))
        if not 0 < perpetual.initial_margin_ppm <= custom_imf_ppm:
            raise Declined
    risk = account_risk(perpetuals, replace(subaccount, leverage=new_leverage))
    if new_leverage and not flags_out(risk)["is_initial_collateralized"]:
        return chain_error_out(error("ErrLeverageViolatesMarginRequirements"))
    return {"leverage": leverage_out(dict(sorted({**subaccount.leverage, **new_leverage}.items())))}


# --- liquidation


def liquidation_risk(case: Liquidation) -> RiskState:
    return account_risk(case.perpetuals, case.subaccount)


def get_bankruptcy_price_in_quote_quantums(row: Fields) -> Answer:
    case = read_liquidation(row)
    quote = liquidation.bankruptcy_quote_quantums(
        case.perpetual, case.size, row.big("delta_quantums"), liquidation_risk(case)
    )
    return {"delta_quote_quantums": str(held(quote))}


def get_fillable_price(row: Fields) -> Answer:
    case = read_liquidation(row)
    liquidation_rules.check_size_delta(case.size, row.big("delta_quantums"))
    subticks = liquidation.fillable_subticks(
        case.perpetual, case.size, liquidation_risk(case), case.clob_pair, case.config
    )
    return {"subticks": {"is_liquidating_long": case.size > 0, "subticks": str(held(subticks))}}


def convert_fillable_price_to_subticks(row: Fields) -> Answer:
    num, den = row.one("fillable_price", lambda value: (value.big("num"), value.big("den")))
    subticks = liquidation.price_to_subticks(
        num,
        den,
        row.boolean("is_liquidating_long"),
        row.uint32("subticks_per_tick"),
        row.exponent("quantum_conversion_exponent"),
    )
    return {"subticks": str(held(subticks))}


def liquidation_order(row: Fields) -> Answer:
    case = read_liquidation(row)
    perpetual, size, pair, config = case.perpetual, case.size, case.clob_pair, case.config
    risk = liquidation_risk(case)
    answer: Answer = {"is_liquidatable": flags_out(risk)["is_liquidatable"]}
    limits = liquidation.notional_limits(perpetual, size, config)
    if limits is not None:
        answer["max_and_min_position_notional_liquidatable"] = {
            "max": str(limits[0]),
            "min": str(limits[1]),
        }
    if case.perpetual_id in case.info.perpetuals_liquidated:
        return answer
    notional, lost = held(
        liquidation.block_limits_left(
            config, case.info.notional_liquidated, case.info.quantums_insurance_lost
        )
    )
    if lost is not None:
        answer["subaccount_max_insurance_lost"] = {"max_quantums_insurance_lost": str(lost)}
    if notional is None:
        return answer
    answer["subaccount_max_notional_liquidatable"] = {"max_notional_liquidatable": str(notional)}
    delta = liquidation.size_delta(perpetual, size, pair, config, notional)
    if delta is None:
        return answer
    answer["liquidatable_position_size_delta"] = {"delta_quantums": str(delta)}
    subticks = liquidation.fillable_subticks(perpetual, size, risk, pair, config)
    if subticks is not None:
        answer["order"] = {
            "is_buy": delta > 0,
            "base_quantums": str(abs(delta)),
            "subticks": str(subticks),
        }
    return answer


def get_liquidation_insurance_fund_delta(row: Fields) -> Answer:
    case = read_liquidation(row)
    delta = held(
        liquidation.fund_delta(
            case.perpetual,
            case.size,
            liquidation_risk(case),
            case.clob_pair,
            case.config,
            row.boolean("is_buy"),
            row.uint64("fill_amount"),
            row.uint64("subticks"),
        )
    )
    valid = liquidation_rules.is_valid_insurance_fund_delta(row.big("insurance_fund_balance"), delta)
    return {"insurance_fund_delta": str(delta), "is_valid_insurance_fund_delta": valid}


def deleveraging_quote_quantums_delta(row: Fields) -> Answer:
    case = read_liquidation(row)
    quote = liquidation.deleveraging_quote_quantums(
        case.perpetual,
        case.size,
        row.big("delta_quantums"),
        row.boolean("is_final_settlement"),
        liquidation_risk(case),
    )
    return {"quote": {"delta_quote_quantums": str(held(quote))}}


KERNELS: KernelTable = {
    function.__name__: function
    for function in (
        position_risk,
        subaccount_risk,
        risk_cmp,
        get_net_collateral_and_margin_requirements,
        settle_position,
        settle_subaccount,
        is_valid_state_transition,
        can_update_subaccounts,
        update_subaccounts,
        max_withdrawable,
        add_order_to_orderbook_collateral_check,
        update_leverage,
        get_bankruptcy_price_in_quote_quantums,
        get_fillable_price,
        convert_fillable_price_to_subticks,
        liquidation_order,
        get_liquidation_insurance_fund_delta,
        deleveraging_quote_quantums_delta,
    )
}
