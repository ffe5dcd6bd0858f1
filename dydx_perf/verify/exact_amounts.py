"""Answers of the functions that take amounts: arithmetic, funding, premiums."""

from collections.abc import Callable
from typing import Any

from dydx_perf.errors import ChainError
from dydx_perf.exact import arith, funding, premium
from dydx_perf.exact.state import Perpetual
from dydx_perf.verify import fields as read
from dydx_perf.verify.fields import Fields, rational_out, subaccount_out

Answer = dict[str, Any]
AnswerTable = dict[str, Callable[[Fields], Answer]]


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


#: function of the vectors -> the answer from its input
ANSWERS: AnswerTable = {
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
        settle_position,
        settle_subaccount,
        max_abs_funding_clamp_ppm,
        get_funding_index_delta,
        remove_sample_tails,
        process_premium_votes_into_samples,
        funding_tick,
        validate_premium_vote,
        funding_hour,
        get_price_premium,
    )
}
