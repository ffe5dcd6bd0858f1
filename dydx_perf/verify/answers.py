"""One answer per function of the vectors, computed by `dydx_perf.exact` from a row's input alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dydx_perf.errors import ChainError
from dydx_perf.exact import arith, funding, liquidation, margin, premium, update
from dydx_perf.exact.state import Perpetual, RiskState, SubaccountState
from dydx_perf.verify import fields as read
from dydx_perf.verify.fields import Fields, NotUnderstoodError, rational_out, risk_out, subaccount_out

Answer = dict[str, Any]


def chain_error_out(refusal: ChainError) -> Answer:
    """A failure as the vectors write it."""
    out = {"err": refusal.chain_name, "err_kind": refusal.kind}
    if refusal.code is not None:
        out["err_code"] = refusal.code
    return out


def attempted(compute: Callable[[], Answer]) -> Answer:
    """The answer, or the failure in its place."""
    try:
        return compute()
    except ChainError as refusal:
        return chain_error_out(refusal)


# --- arith


def base_to_quote_quantums(row: Fields) -> Answer:
    quote = arith.base_to_quote_quantums_trunc(
        row.big("base_quantums"),
        row.exponent("atomic_resolution"),
        row.uint64("price"),
        row.exponent("exponent"),
    )
    return {"quote_quantums": str(quote)}


def quote_to_base_quantums(row: Fields) -> Answer:
    base = arith.quote_to_base_quantums_trunc(
        row.big("quote_quantums"),
        row.exponent("atomic_resolution"),
        row.uint64("price"),
        row.exponent("exponent"),
    )
    return {"base_quantums": str(base)}


def big_mul_ppm(row: Fields) -> Answer:
    mul = arith.mul_ppm_ceil if row.boolean("round_up") else arith.mul_ppm_floor
    return {"result": str(mul(row.big("val"), row.big("ppm")))}


def big_int_mul_ppm(row: Fields) -> Answer:
    return {"result": str(arith.mul_ppm_floor(row.big("val"), row.uint32("ppm")))}


def int64_mul_ppm(row: Fields) -> Answer:
    return {"result": str(arith.int64_mul_ppm_floor(row.big("x"), row.uint32("ppm")))}


def big_div_ceil(row: Fields) -> Answer:
    return {"result": str(arith.div_ceil(row.big("a"), row.big("b")))}


def big_div_floor(row: Fields) -> Answer:
    return {"result": str(arith.div_floor(row.big("a"), row.big("b")))}


def big_int_mul_pow10(row: Fields) -> Answer:
    mul = arith.mul_pow10_ceil if row.boolean("round_up") else arith.mul_pow10_floor
    return {"result": str(mul(row.big("input"), row.exponent("exponent")))}


def big_rat_round(row: Fields) -> Answer:
    divide = arith.div_ceil if row.boolean("round_up") else arith.div_floor
    return {"result": str(divide(row.big("num"), row.big("den")))}


def big_int_round_to_multiple(row: Fields) -> Answer:
    multiple = arith.round_to_multiple(row.big("n"), row.big("multiple"), row.boolean("round_up"))
    return {"result": str(multiple)}


def big_int_clamp(row: Fields) -> Answer:
    clamped = arith.clamp(row.big("n"), row.big("lower_bound"), row.big("upper_bound"))
    return {"result": str(clamped)}


def big_uint64_clamp(row: Fields) -> Answer:
    clamped = arith.clamp(row.big("n"), row.uint64("lower_bound"), row.uint64("upper_bound"))
    return {"result": str(clamped)}


def big_int32_clamp(row: Fields) -> Answer:
    clamped = arith.clamp(row.big("n"), row.int32("lower_bound"), row.int32("upper_bound"))
    return {"result": clamped}


def fill_amount_to_quote_quantums(row: Fields) -> Answer:
    quote = arith.fill_amount_to_quote_quantums_floor(
        row.uint64("subticks"), row.uint64("base_quantums"), row.exponent("quantum_conversion_exponent")
    )
    return {"quote_quantums": str(quote)}


def price_to_subticks(row: Fields) -> Answer:
    subticks = arith.price_to_subticks(
        row.uint64("price"),
        row.exponent("exponent"),
        row.exponent("base_atomic_resolution"),
        row.exponent("quantum_conversion_exponent"),
        row.exponent("quote_atomic_resolution"),
    )
    return rational_out(subticks)


def get_average_price_subticks(row: Fields) -> Answer:
    subticks = arith.average_price_subticks(
        row.big("quote_quantums"), row.big("base_quantums"), row.exponent("quantum_conversion_exponent")
    )
    return rational_out(subticks)


def median_int32(row: Fields) -> Answer:
    return {"result": arith.median_int32(row.int32_list("input"))}


def avg_int32(row: Fields) -> Answer:
    return {"result": arith.mean_int32_trunc(row.int32_list("nums"))}


def convert_asset_to_coin(row: Fields) -> Answer:
    amount, quantums = arith.asset_to_coin(
        row.big("quantums"), row.exponent("atomic_resolution"), row.exponent("denom_exponent")
    )
    return {"denom_amount": str(amount), "converted_quantums": str(quantums)}


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


# --- funding_settlement


def settle_position(row: Fields) -> Answer:
    index = row.big("perpetual_funding_index")
    ppm = funding.settlement_ppm(row.big("quantums"), row.big("position_funding_index"), index)
    payment = funding.funding_payment(ppm)
    return {
        "net_settlement_ppm": str(ppm),
        "new_funding_index": str(index),
        "usdc_delta": str(funding.settlement_floor(ppm)),
        "funding_payment": None if payment is None else str(payment),
    }


def read_funding_index(fields: Fields) -> tuple[int, int]:
    return fields.uint32("perpetual_id"), fields.big("funding_index")


def settle_subaccount(row: Fields) -> Answer:
    indices = read.unique("perpetuals", row.each("perpetuals", read_funding_index))
    settlement = funding.settle_subaccount(indices, row.one("subaccount", read.read_subaccount))
    return {
        "subaccount": subaccount_out(settlement.subaccount),
        "usdc": str(settlement.usdc),
        "funding_payments": [
            {"perpetual_id": perpetual_id, "funding_payment": str(payment)}
            for perpetual_id, payment in settlement.funding_payments
        ],
    }


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


# --- funding


def max_abs_funding_clamp_ppm(row: Fields) -> Answer:
    initial, fraction = row.uint32("initial_margin_ppm"), row.uint32("maintenance_fraction_ppm")
    bound = funding.max_abs_funding_clamp_ppm(row.uint32("clamp_factor_ppm"), initial, fraction)
    return {
        "maintenance_margin_ppm": funding.maintenance_margin_ppm(initial, fraction),
        "max_abs_funding_clamp_ppm": str(bound),
    }


def get_funding_index_delta(row: Fields) -> Answer:
    perpetual = Perpetual(
        0, row.exponent("atomic_resolution"), row.uint64("price"), row.exponent("exponent"), 0, 0, 0, 0, 0, 0
    )
    delta = funding.funding_index_delta(
        perpetual, row.big("funding_rate_ppm"), row.uint32("time_since_last_funding")
    )
    return {"funding_index_delta": str(delta)}


def remove_sample_tails(row: Fields) -> Answer:
    kept = funding.remove_sample_tails(row.int32_list("premiums"), row.uint32("tail_removal_rate_ppm"))
    return {"premiums": kept}


def read_market_premiums(fields: Fields) -> tuple[int, tuple[int, ...]]:
    return fields.uint32("perpetual_id"), tuple(fields.int32_list("premiums"))


def read_premium_store(fields: Fields) -> funding.PremiumStore:
    premiums = read.unique("all_market_premiums", fields.each("all_market_premiums", read_market_premiums))
    return funding.PremiumStore(fields.count("num_premiums"), premiums)


def premium_store_out(store: funding.PremiumStore) -> Answer:
    return {
        "num_premiums": store.num_premiums,
        "all_market_premiums": [
            {"perpetual_id": perpetual_id, "premiums": list(premiums)}
            for perpetual_id, premiums in sorted(store.non_zero.items())
        ],
    }


def process_premium_votes_into_samples(row: Fields) -> Answer:
    new_samples, samples = funding.process_premium_votes(
        row.uint32_list("perpetual_ids"),
        row.one("premium_votes", read_premium_store),
        row.one("premium_samples", read_premium_store),
        row.count("min_num_votes_per_sample"),
    )
    return {
        "new_samples": [
            {"perpetual_id": perpetual_id, "sample_ppm": sample} for perpetual_id, sample in new_samples
        ],
        "premium_samples": premium_store_out(samples),
        "premium_votes": premium_store_out(funding.PremiumStore(0, {})),
    }


def funding_tick(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    samples = row.one("premium_samples", read_premium_store)
    tick_duration, sample_duration = row.count("funding_tick_duration"), row.count("funding_sample_duration")
    clamp_factor_ppm = row.uint32("funding_rate_clamp_factor_ppm")
    ticks = [
        (p.perpetual_id, funding.funding_tick(p, samples, tick_duration, sample_duration, clamp_factor_ppm))
        for p in perpetuals.values()
    ]
    return {
        "perpetuals": [
            {"perpetual_id": perpetual_id, "funding_rate_ppm": rate, "funding_index": str(index)}
            for perpetual_id, (rate, index) in ticks
        ]
    }


def validate_premium_vote(row: Fields) -> Answer:
    perpetual = row.one("market", read.read_perpetual)
    funding.check_premium_vote(
        {perpetual.perpetual_id: perpetual},
        row.uint32("perpetual_id"),
        row.int32("premium_ppm"),
        row.uint32("premium_vote_clamp_factor_ppm"),
    )
    return {"valid": True}


def funding_hour(row: Fields) -> Answer:
    votes = [
        [read.number("votes_by_minute", vote, -(2**31), 2**31 - 1) for vote in read.listed("minute", minute)]
        for minute in read.listed("votes_by_minute", row.take("votes_by_minute"))
    ]
    samples, rate, index = funding.funding_hour(
        row.one("market", read.read_perpetual),
        votes,
        row.count("min_num_votes_per_sample"),
        row.count("funding_tick_duration"),
        row.count("funding_sample_duration"),
        row.uint32("funding_rate_clamp_factor_ppm"),
    )
    return {"samples_ppm": samples, "funding_rate_ppm": rate, "funding_index": str(index)}


# --- price_premium


def read_book_order(fields: Fields) -> premium.BookOrder:
    return premium.BookOrder(
        fields.boolean("is_buy"),
        fields.uint64("subticks"),
        fields.uint64("remaining_base_quantums"),
        fields.boolean("is_collateralized"),
    )


def get_price_premium(row: Fields) -> Answer:
    orders = row.each("orders", read_book_order)
    row.uint32("subticks_per_tick")  # no rule depends on it
    terms = premium.PremiumTerms(
        row.uint64("index_price"),
        row.exponent("exponent"),
        row.exponent("base_atomic_resolution"),
        row.exponent("quote_atomic_resolution"),
        row.big("impact_notional_quote_quantums"),
        row.big("max_abs_premium_vote_ppm"),
        row.exponent("quantum_conversion_exponent"),
    )

    def impact(is_bid: bool) -> Answer:
        price = premium.impact_price_subticks(
            premium.side_from_best(orders, is_bid),
            terms.impact_notional_quote_quantums,
            terms.quantum_conversion_exponent,
        )
        found = {} if price is None else {"subticks": rational_out(price)}
        return {"has_enough_liquidity": price is not None, **found}

    def premium_ppm() -> Answer:
        return {"premium_ppm": premium.price_premium_ppm(terms, orders)}

    return {
        **attempted(premium_ppm),
        "impact_bid": attempted(lambda: impact(True)),
        "impact_ask": attempted(lambda: impact(False)),
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
ANSWERS: dict[str, Callable[[Fields], Answer]] = {
    function.__name__: function
    for function in (
        base_to_quote_quantums,
        quote_to_base_quantums,
        big_mul_ppm,
        big_int_mul_ppm,
        int64_mul_ppm,
        big_div_ceil,
        big_div_floor,
        big_int_mul_pow10,
        big_rat_round,
        big_int_round_to_multiple,
        big_int_clamp,
        big_uint64_clamp,
        big_int32_clamp,
        fill_amount_to_quote_quantums,
        price_to_subticks,
        get_average_price_subticks,
        median_int32,
        avg_int32,
        convert_asset_to_coin,
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
        get_delta_open_interest_from_updates,
        max_abs_funding_clamp_ppm,
        get_funding_index_delta,
        remove_sample_tails,
        process_premium_votes_into_samples,
        funding_tick,
        validate_premium_vote,
        funding_hour,
        get_price_premium,
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
