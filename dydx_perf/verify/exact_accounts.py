"""Answers of the functions that take accounts: risk, updates, open interest, liquidation."""

from collections.abc import Mapping, Sequence

from dydx_perf.exact import funding, liquidation, margin, update
from dydx_perf.exact.state import Perpetual, RiskState, SubaccountState
from dydx_perf.verify import fields as read
from dydx_perf.verify.exact_amounts import Answer, AnswerTable, attempted
from dydx_perf.verify.fields import Fields, NotUnderstoodError, rational_out, risk_out, subaccount_out

# --- position_risk, subaccount_risk


def flags_out(risk: RiskState) -> Answer:
    return {
        "is_initial_collateralized": margin.is_initial_collateralized(risk),
        "is_maintenance_collateralized": margin.is_maintenance_collateralized(risk),
        "is_liquidatable": margin.is_liquidatable(risk),
    }


def position_risk(row: Fields) -> Answer:
    perpetual = row.one("market", read.read_perpetual)
    quantums, quote_balance = row.big("quantums"), row.big("quote_balance")
    custom_imf_ppm = row.uint32("custom_imf_ppm")
    open_interest = margin.notional(perpetual, perpetual.open_interest)
    adjusted = margin.adjusted_initial_margin_ppm(perpetual, open_interest)
    risk = margin.position_risk(perpetual, quantums, quote_balance, custom_imf_ppm)
    return {
        **risk_out(risk),
        **flags_out(risk),
        "net_notional": str(margin.notional(perpetual, quantums)),
        "open_interest_quote_quantums": str(open_interest),
        "adjusted_initial_margin_ppm": str(adjusted),
    }


def funding_indices(perpetuals: Mapping[int, Perpetual]) -> dict[int, int]:
    return {perpetual_id: perpetual.funding_index for perpetual_id, perpetual in perpetuals.items()}


def subaccount_risk(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    subaccount = row.one("subaccount", read.read_subaccount)
    settlement = funding.settle_subaccount(funding_indices(perpetuals), subaccount)
    risk = margin.subaccount_risk(perpetuals, subaccount)
    return {
        **risk_out(risk),
        **flags_out(risk),
        "settled_usdc": str(settlement.usdc),
        "has_negative_tnc": risk.nc < 0,
    }


def risk_cmp(row: Fields) -> Answer:
    a, b = row.one("a", read.read_risk), row.one("b", read.read_risk)
    return {"cmp": margin.compare_risk(a, b), **{f"a_{name}": flag for name, flag in flags_out(a).items()}}


def get_net_collateral_and_margin_requirements(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    subaccount = row.one("subaccount", read.read_subaccount)
    change = row.one("update", read.read_update)
    update.check_perpetuals_exist(perpetuals, [subaccount], [change])
    settled = update.settle_all(perpetuals, [subaccount])[0]
    updated = update.apply_update(perpetuals, settled, change)
    return risk_out(margin.settled_subaccount_risk(perpetuals, updated, subaccount.leverage))


# --- state_transition


def is_valid_state_transition(row: Fields) -> Answer:
    current, new = row.one("risk_cur", read.read_risk), row.one("risk_new", read.read_risk)
    return {"result": margin.state_transition(current, new)}


def informative_risks(
    perpetuals: Mapping[int, Perpetual],
    subaccounts: Sequence[SubaccountState],
    updates: Sequence[update.Update],
    update_type: str,
) -> Answer:
    """Both risks of every update, with the open interest as a match leaves it."""
    settled = update.settle_all(perpetuals, subaccounts)
    delta = update.open_interest_delta(settled, updates, update_type)
    matched = update.with_open_interest_delta(perpetuals, delta)
    risks = [update.risks_of_update(matched, settled[u.subaccount], u) for u in updates]
    return {
        "risk_cur": [risk_out(current) for current, _ in risks],
        "risk_new": [risk_out(new) for _, new in risks],
    }


def can_update_subaccounts(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    subaccounts = row.each("subaccounts", read.read_subaccount)
    updates = read.read_updates(row, subaccounts)
    update_type = row.text("update_type", update.UPDATE_TYPES)
    verdicts = update.can_update_subaccounts(
        perpetuals, subaccounts, updates, update_type, read.read_block(row)
    )
    return {
        "success": verdicts.success,
        "results": list(verdicts.results),
        **informative_risks(perpetuals, subaccounts, updates, update_type),
    }


def update_subaccounts(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    subaccounts = row.each("subaccounts", read.read_subaccount)
    updates = read.read_updates(row, subaccounts)
    update_type = row.text("update_type", update.UPDATE_TYPES)
    updated = update.update_subaccounts(perpetuals, subaccounts, updates, update_type, read.read_block(row))
    return {
        "success": updated.verdicts.success,
        "results": list(updated.verdicts.results),
        "subaccounts": [subaccount_out(subaccount) for subaccount in updated.subaccounts],
        "open_interest": [
            {"perpetual_id": perpetual_id, "open_interest": str(open_interest)}
            for perpetual_id, open_interest in updated.open_interest.items()
        ],
    }


def max_withdrawable(row: Fields) -> Answer:
    risk = margin.subaccount_risk(read.read_perpetuals(row), row.one("subaccount", read.read_subaccount))
    return {**risk_out(risk), "max_withdrawable": str(update.max_withdrawable(risk))}


def add_order_to_orderbook_collateral_check(row: Fields) -> Answer:
    builder_fee_ppm = row.take("builder_fee_ppm")
    result = update.add_order_collateral_check(
        read.read_perpetuals(row),
        row.one("subaccount", read.read_subaccount),
        row.uint32("perpetual_id"),
        row.boolean("is_buy"),
        row.uint64("remaining_base_quantums"),
        row.uint64("subticks"),
        row.int32("maker_fee_ppm"),
        None if builder_fee_ppm is None else read.number("builder_fee_ppm", builder_fee_ppm, 0, 2**32 - 1),
    )
    return {"result": result}


def update_leverage(row: Fields) -> Answer:
    new_leverage = read.unique("new_leverage", row.each("new_leverage", read.read_leverage))
    leverage = update.update_leverage(
        read.read_perpetuals(row), row.one("subaccount", read.read_subaccount), new_leverage
    )
    return {"leverage": read.leverage_out(leverage)}


# --- open_interest


def get_delta_open_interest_from_updates(row: Fields) -> Answer:
    subaccounts = row.each("subaccounts", read.read_subaccount)
    updates = read.read_updates(row, subaccounts)
    update_type = row.text("update_type", update.UPDATE_TYPES)
    open_interest = row.big("open_interest")
    delta = update.open_interest_delta(subaccounts, updates, update_type)

    if delta is None:
        return {"open_interest_delta": None}
    perpetual_id, quantums = delta

    def modified() -> Answer:
        return {"open_interest": str(update.modified_open_interest(open_interest, quantums))}

    return {
        "open_interest_delta": {"perpetual_id": perpetual_id, "base_quantums": str(quantums)},
        "modify_open_interest": attempted(modified),
    }


# --- liquidation


def read_liquidation(row: Fields) -> liquidation.Liquidation:
    return liquidation.Liquidation(
        read.read_perpetuals(row),
        row.one("subaccount", read.read_subaccount),
        row.uint32("perpetual_id"),
        row.one("liquidations_config", read.read_liquidations_config),
        row.one("subaccount_liquidation_info", read.read_liquidation_info),
    )


def get_bankruptcy_price_in_quote_quantums(row: Fields) -> Answer:
    case = read_liquidation(row)
    quote = liquidation.bankruptcy_price_quote_quantums(case, row.big("delta_quantums"))
    return {"delta_quote_quantums": str(quote)}


def get_fillable_price(row: Fields) -> Answer:
    case = read_liquidation(row)
    price = liquidation.fillable_price(case, row.big("delta_quantums"))
    subticks = {
        "is_liquidating_long": case.size > 0,
        "subticks": str(liquidation.fillable_subticks(case, price)),
    }
    return {"fillable_price": rational_out(price), "subticks": subticks}


def convert_fillable_price_to_subticks(row: Fields) -> Answer:
    price = row.one("fillable_price", lambda value: (value.big("num"), value.big("den")))
    if price[1] <= 0:
        raise NotUnderstoodError("den: a positive number was expected")
    subticks = liquidation.fillable_price_to_subticks(
        price,
        row.boolean("is_liquidating_long"),
        row.uint32("subticks_per_tick"),
        row.exponent("quantum_conversion_exponent"),
    )
    return {"subticks": str(subticks)}


def liquidation_order(row: Fields) -> Answer:
    case = read_liquidation(row)

    def order() -> Answer:
        found = liquidation.liquidation_order(case)
        return {
            "is_buy": found.is_buy,
            "base_quantums": str(found.base_quantums),
            "subticks": str(found.subticks),
            "abs_percentage_diff_from_oracle_price": rational_out(found.distance_from_oracle_price),
        }

    def limits() -> Answer:
        most, least = liquidation.position_notional_limits(case)
        return {"max": str(most), "min": str(least)}

    return {
        "is_liquidatable": margin.is_liquidatable(case.risk),
        "max_and_min_position_notional_liquidatable": attempted(limits),
        "subaccount_max_notional_liquidatable": attempted(
            lambda: {"max_notional_liquidatable": str(liquidation.subaccount_max_notional_liquidatable(case))}
        ),
        "subaccount_max_insurance_lost": attempted(
            lambda: {"max_quantums_insurance_lost": str(liquidation.subaccount_max_insurance_lost(case))}
        ),
        "liquidatable_position_size_delta": attempted(
            lambda: {"delta_quantums": str(liquidation.liquidatable_size_delta(case))}
        ),
        "order": attempted(order),
    }


def get_liquidation_insurance_fund_delta(row: Fields) -> Answer:
    case = read_liquidation(row)
    is_buy, fill_amount = row.boolean("is_buy"), row.uint64("fill_amount")
    subticks, balance = row.uint64("subticks"), row.big("insurance_fund_balance")
    delta = liquidation.insurance_fund_delta(case, is_buy, fill_amount, subticks)

    def limits() -> Answer:
        liquidation.check_block_limits(case, fill_amount, delta)
        return {"ok": True}

    return {
        "insurance_fund_delta": str(delta),
        "is_valid_insurance_fund_delta": liquidation.is_valid_insurance_fund_delta(balance, delta),
        "block_limits": attempted(limits),
    }


def deleveraging_quote_quantums_delta(row: Fields) -> Answer:
    case = read_liquidation(row)
    delta, is_final_settlement = row.big("delta_quantums"), row.boolean("is_final_settlement")
    at_bankruptcy_price, at_oracle_price = liquidation.can_deleverage(case)

    def quote() -> Answer:
        quantums = liquidation.deleveraging_quote_quantums(case, delta, is_final_settlement)
        return {"delta_quote_quantums": str(quantums)}

    return {
        "should_deleverage_at_bankruptcy_price": at_bankruptcy_price,
        "should_deleverage_at_oracle_price": at_oracle_price,
        "quote": attempted(quote),
    }


def process_deleveraging(row: Fields) -> Answer:
    perpetual_id = row.uint32("perpetual_id")
    subaccounts = row.each("subaccounts", read.read_subaccount)
    if len(subaccounts) != 2:
        raise NotUnderstoodError("subaccounts: two were expected")
    updated = liquidation.process_deleveraging(
        read.read_perpetuals(row),
        subaccounts,
        perpetual_id,
        row.big("delta_base_quantums"),
        row.big("delta_quote_quantums"),
    )
    return {
        "subaccounts": [subaccount_out(subaccount) for subaccount in updated.subaccounts],
        "open_interest": str(updated.open_interest[perpetual_id]),
    }


def get_perpetual_position_to_liquidate(row: Fields) -> Answer:
    row.uint32("previous_block_unix_time")  # seeds the chain's offset, which is given
    perpetual_id = liquidation.position_to_liquidate(
        row.uint32_list("position_perpetual_ids"),
        row.uint32_list("perpetuals_liquidated"),
        row.int32("index_offset"),
    )
    return {"perpetual_id": perpetual_id}


def validate_liquidations_config(row: Fields) -> Answer:
    liquidation.check_liquidations_config(read.read_liquidations_config(row))
    return {"valid": True}


#: function of the vectors -> the answer from its input
ANSWERS: AnswerTable = {
    function.__name__: function
    for function in (
        position_risk,
        subaccount_risk,
        risk_cmp,
        get_net_collateral_and_margin_requirements,
        is_valid_state_transition,
        can_update_subaccounts,
        update_subaccounts,
        max_withdrawable,
        add_order_to_orderbook_collateral_check,
        update_leverage,
        get_delta_open_interest_from_updates,
        get_bankruptcy_price_in_quote_quantums,
        get_fillable_price,
        convert_fillable_price_to_subticks,
        liquidation_order,
        get_liquidation_insurance_fund_delta,
        deleveraging_quote_quantums_delta,
        process_deleveraging,
        get_perpetual_position_to_liquidate,
        validate_liquidations_config,
    )
}
