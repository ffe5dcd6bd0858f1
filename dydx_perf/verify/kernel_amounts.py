"""Kernel answers about amounts, and about funding: see `dydx_perf.verify.kernels`."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from dydx_perf.exact import funding as rules
from dydx_perf.exact.arith import MAX_DENOM_EXPONENT
from dydx_perf.exact.sentinels import error
from dydx_perf.exact.state import Perpetual
from dydx_perf.ext import arith, funding
from dydx_perf.verify import fields as read
from dydx_perf.verify.exact_amounts import Answer, chain_error_out, read_premium_store
from dydx_perf.verify.fields import Fields

T = TypeVar("T")
KernelTable = dict[str, Callable[[Fields], Answer]]


class Declined(Exception):  # noqa: N818  no error: plain integers answer
    """The kernels hand this case over."""


def held(answer: T | None) -> T:
    """Return a kernel's answer; None is its way to decline."""
    if answer is None:
        raise Declined
    return answer


# --- arith


def base_to_quote_quantums(row: Fields) -> Answer:
    quote = arith.base_to_quote_quantums_trunc(
        row.big("base_quantums"),
        row.exponent("atomic_resolution"),
        row.uint64("price"),
        row.exponent("exponent"),
    )
    return {"quote_quantums": str(held(quote))}


def quote_to_base_quantums(row: Fields) -> Answer:
    base = arith.quote_to_base_quantums_trunc(
        row.big("quote_quantums"),
        row.exponent("atomic_resolution"),
        row.uint64("price"),
        row.exponent("exponent"),
    )
    return {"base_quantums": str(held(base))}


def result(value: int | None) -> Answer:
    return {"result": str(held(value))}


def big_mul_ppm(row: Fields) -> Answer:
    mul = arith.mul_ppm_ceil if row.boolean("round_up") else arith.mul_ppm_floor
    return result(mul(row.big("val"), row.big("ppm")))


def big_int_mul_ppm(row: Fields) -> Answer:
    return result(arith.mul_ppm_floor(row.big("val"), row.uint32("ppm")))


def int64_mul_ppm(row: Fields) -> Answer:
    return result(arith.int64_mul_ppm_floor(row.big("x"), row.uint32("ppm")))


def big_div_ceil(row: Fields) -> Answer:
    return result(arith.div_ceil(row.big("a"), row.big("b")))


def big_div_floor(row: Fields) -> Answer:
    return result(arith.div_floor(row.big("a"), row.big("b")))


def big_int_mul_pow10(row: Fields) -> Answer:
    mul = arith.mul_pow10_ceil if row.boolean("round_up") else arith.mul_pow10_floor
    return result(mul(row.big("input"), row.exponent("exponent")))


def big_rat_round(row: Fields) -> Answer:
    divide = arith.div_ceil if row.boolean("round_up") else arith.div_floor
    return result(divide(row.big("num"), row.big("den")))


def big_int_round_to_multiple(row: Fields) -> Answer:
    return result(arith.round_to_multiple(row.big("n"), row.big("multiple"), row.boolean("round_up")))


def fill_amount_to_quote_quantums(row: Fields) -> Answer:
    quote = arith.fill_amount_to_quote_quantums_floor(
        row.uint64("subticks"), row.uint64("base_quantums"), row.exponent("quantum_conversion_exponent")
    )
    return {"quote_quantums": str(held(quote))}


def median_int32(row: Fields) -> Answer:
    return {"result": held(funding.median(row.int32_list("input")))}


def avg_int32(row: Fields) -> Answer:
    return {"result": held(funding.mean(row.int32_list("nums")))}


def convert_asset_to_coin(row: Fields) -> Answer:
    resolution, denom_exponent = row.exponent("atomic_resolution"), row.exponent("denom_exponent")
    if max(abs(resolution), abs(denom_exponent)) > MAX_DENOM_EXPONENT:
        raise Declined
    amount = held(arith.mul_pow10_floor(row.big("quantums"), resolution - denom_exponent))
    quantums = held(arith.mul_pow10_floor(amount, denom_exponent - resolution))
    return {"denom_amount": str(amount), "converted_quantums": str(quantums)}


# --- funding


def max_abs_funding_clamp_ppm(row: Fields) -> Answer:
    bound = funding.clamp_ppm(
        row.uint32("clamp_factor_ppm"),
        row.uint32("initial_margin_ppm"),
        row.uint32("maintenance_fraction_ppm"),
    )
    return {"max_abs_funding_clamp_ppm": str(held(bound))}


def get_funding_index_delta(row: Fields) -> Answer:
    perpetual = Perpetual(
        0, row.exponent("atomic_resolution"), row.uint64("price"), row.exponent("exponent"), 0, 0, 0, 0, 0, 0
    )
    delta = funding.index_delta(perpetual, row.big("funding_rate_ppm"), row.uint32("time_since_last_funding"))
    return {"funding_index_delta": str(held(delta))}


def stored_premiums(
    store: rules.PremiumStore, perpetual_id: int, minimum: int
) -> tuple[tuple[int, ...], int]:
    """The premiums of a perpetual that are not zero, and how many there are with the zeros."""
    premiums = store.non_zero.get(perpetual_id, ())
    count = max(store.num_premiums, minimum)
    if len(premiums) > count:
        raise Declined
    return premiums, count


def process_premium_votes_into_samples(row: Fields) -> Answer:
    perpetual_ids = row.uint32_list("perpetual_ids")
    votes = row.one("premium_votes", read_premium_store)
    minimum = row.count("min_num_votes_per_sample")
    for perpetual_id in votes.non_zero:
        stored_premiums(votes, perpetual_id, minimum)
    samples = []
    for perpetual_id in perpetual_ids:
        premiums, count = stored_premiums(votes, perpetual_id, minimum)
        samples.append({"perpetual_id": perpetual_id, "sample_ppm": held(funding.median(premiums, count))})
    return {"new_samples": samples}


def tick(
    perpetual: Perpetual, samples: Sequence[int], count: int, duration: int, clamp_factor_ppm: int
) -> tuple[int, int]:
    """Return the reported rate and the new index."""
    rate = held(funding.rate_ppm(perpetual, samples, count, clamp_factor_ppm))
    delta = held(funding.index_delta(perpetual, rate, duration))
    return held(funding.reported_rate_ppm(rate)), perpetual.funding_index + delta


def funding_tick(row: Fields) -> Answer:
    perpetuals = read.read_perpetuals(row)
    store = row.one("premium_samples", read_premium_store)
    tick_duration, sample_duration = row.count("funding_tick_duration"), row.count("funding_sample_duration")
    clamp_factor_ppm = row.uint32("funding_rate_clamp_factor_ppm")
    minimum = held(arith.div_ceil(tick_duration, sample_duration))
    ticks = []
    for perpetual in perpetuals.values():
        premiums, count = stored_premiums(store, perpetual.perpetual_id, minimum)
        rate, index = tick(perpetual, premiums, count, tick_duration, clamp_factor_ppm)
        ticks.append(
            {
                "perpetual_id": perpetual.perpetual_id,
                "funding_rate_ppm": rate,
                "funding_index": str(index),
            }
        )
    return {"perpetuals": ticks}


def validate_premium_vote(row: Fields) -> Answer:
    perpetual = row.one("market", read.read_perpetual)
    perpetual_id, premium_ppm = row.uint32("perpetual_id"), row.int32("premium_ppm")
    factor = row.uint32("premium_vote_clamp_factor_ppm")
    bound = held(funding.clamp_ppm(factor, perpetual.initial_margin_ppm, perpetual.maintenance_fraction_ppm))
    rules.check_premium_vote({perpetual.perpetual_id: perpetual}, perpetual_id, 0, factor)
    if abs(premium_ppm) > bound:
        return chain_error_out(error("ErrPremiumVoteNotClamped"))
    return {"valid": True}


def funding_hour(row: Fields) -> Answer:
    perpetual = row.one("market", read.read_perpetual)
    least = row.count("min_num_votes_per_sample")
    tick_duration, sample_duration = row.count("funding_tick_duration"), row.count("funding_sample_duration")
    samples = [held(funding.median(votes, least)) for votes in row.take("votes_by_minute")]
    count = max(len(samples), held(arith.div_ceil(tick_duration, sample_duration)))
    rate, index = tick(perpetual, samples, count, tick_duration, row.uint32("funding_rate_clamp_factor_ppm"))
    return {"samples_ppm": samples, "funding_rate_ppm": rate, "funding_index": str(index)}


KERNELS: KernelTable = {
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
        fill_amount_to_quote_quantums,
        median_int32,
        avg_int32,
        convert_asset_to_coin,
        max_abs_funding_clamp_ppm,
        get_funding_index_delta,
        process_premium_votes_into_samples,
        funding_tick,
        validate_premium_vote,
        funding_hour,
    )
}
