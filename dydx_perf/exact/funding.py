"""Funding: settlement of positions, and the way from premium votes to samples, rate and index.

Rates and premiums are parts per million for 8 hours; an index is cumulative parts per million of a
quote quantum for each base quantum. Sources: `x/perpetuals/lib/lib.go`, `x/perpetuals/funding`,
`x/perpetuals/keeper/perpetual.go`, `x/perpetuals/types/liquidity_tier.go`, `x/subaccounts/lib/updates.go`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dydx_perf.exact.arith import (
    MAX_INT32,
    ONE_MILLION,
    base_to_quote_quantums_trunc,
    clamp,
    div_ceil,
    div_trunc,
    mean_int32_trunc,
    median_int32,
    mul_ppm_floor,
)
from dydx_perf.exact.sentinels import error, panic
from dydx_perf.exact.state import USDC_ASSET_ID, AssetPosition, Perpetual, SubaccountState

EIGHT_HOURS_IN_SECONDS = 28_800


def settlement_ppm(quantums: int, position_index: int, perpetual_index: int) -> int:
    """What a position receives since its index, in ppm of a quote quantum; exact."""
    return -(perpetual_index - position_index) * quantums


def settlement_floor(net_settlement_ppm: int) -> int:
    """Quote quantums to add to USDC, toward minus infinity; applied once to the sum over positions."""
    return net_settlement_ppm // ONE_MILLION


def funding_payment(net_settlement_ppm: int) -> int | None:
    """What the event of one position says it paid; None when nothing was due."""
    return -settlement_floor(net_settlement_ppm) if net_settlement_ppm else None


@dataclass(frozen=True, slots=True)
class Settlement:
    """A subaccount after funding, its USDC, and the payments that were due, in position order."""

    subaccount: SubaccountState
    usdc: int
    funding_payments: tuple[tuple[int, int], ...]  # (perpetual_id, quote quantums paid)


def usdc_balance(subaccount: SubaccountState) -> int:
    """USDC in quote quantums; the chain looks for it in the first place of the list only."""
    first = subaccount.asset_positions[:1]
    return first[0].quantums if first and first[0].asset_id == USDC_ASSET_ID else 0


def with_usdc_balance(assets: tuple[AssetPosition, ...], quantums: int) -> tuple[AssetPosition, ...]:
    """`assets` with this USDC balance: in the first place, and no entry at all for zero."""
    rest = assets[1:] if assets and assets[0].asset_id == USDC_ASSET_ID else assets
    return (AssetPosition(USDC_ASSET_ID, quantums), *rest) if quantums else rest


def settle_subaccount(funding_indices: Mapping[int, int], subaccount: SubaccountState) -> Settlement:
    """Bring every position to its perpetual's index and add the floored sum to USDC."""
    total_ppm = 0
    payments: list[tuple[int, int]] = []
    positions = []
    for position in subaccount.perpetual_positions:
        if position.perpetual_id not in funding_indices:
            raise panic("ErrPerpetualInfoDoesNotExist")
        index = funding_indices[position.perpetual_id]
        ppm = settlement_ppm(position.quantums, position.funding_index, index)
        payment = funding_payment(ppm)
        if payment is not None:
            payments.append((position.perpetual_id, payment))
        total_ppm += ppm
        positions.append(replace(position, funding_index=index))
    usdc = usdc_balance(subaccount) + settlement_floor(total_ppm)
    settled = SubaccountState(
        with_usdc_balance(subaccount.asset_positions, usdc), tuple(positions), subaccount.leverage
    )
    return Settlement(settled, usdc, tuple(payments))


def maintenance_margin_ppm(initial_margin_ppm: int, maintenance_fraction_ppm: int) -> int:
    """Maintenance fraction of the notional, floored; used for the funding clamp only, never for mmr."""
    if maintenance_fraction_ppm > ONE_MILLION:
        raise panic("ErrMaintenanceFractionPpmExceedsMax")
    return mul_ppm_floor(initial_margin_ppm, maintenance_fraction_ppm)


def max_abs_funding_clamp_ppm(
    clamp_factor_ppm: int, initial_margin_ppm: int, maintenance_fraction_ppm: int
) -> int:
    """Largest magnitude of a rate (or vote): factor times (initial - maintenance margin), floored."""
    maintenance_ppm = maintenance_margin_ppm(initial_margin_ppm, maintenance_fraction_ppm)
    return mul_ppm_floor(initial_margin_ppm - maintenance_ppm, clamp_factor_ppm)


def funding_index_delta(perpetual: Perpetual, funding_rate_ppm: int, seconds: int) -> int:
    """Growth of the index over `seconds` at an 8-hour rate; two truncations that equal one."""
    quote = base_to_quote_quantums_trunc(
        seconds * funding_rate_ppm, perpetual.atomic_resolution, perpetual.price, perpetual.exponent
    )
    return div_trunc(quote, EIGHT_HOURS_IN_SECONDS)


def remove_sample_tails(premiums: Sequence[int], tail_removal_rate_ppm: int) -> list[int]:
    """Drop the extreme samples; with nothing to remove the list comes back as it was, unsorted."""
    removed = len(premiums) * 2 * tail_removal_rate_ppm // ONE_MILLION
    if removed == 0 or removed >= len(premiums):
        return list(premiums)
    bottom = removed // 2
    return sorted(premiums)[bottom : len(premiums) - (removed - bottom)]


@dataclass(frozen=True, slots=True)
class PremiumStore:
    """Number of premiums of every perpetual, and those of them that are not zero."""

    num_premiums: int
    non_zero: Mapping[int, tuple[int, ...]]


def padded_premiums(store: PremiumStore, perpetual_id: int, minimum: int) -> list[int]:
    """The premiums of a perpetual with their zeros, at least `minimum` of them."""
    premiums = store.non_zero.get(perpetual_id, ())
    count = max(store.num_premiums, minimum)
    if len(premiums) > count:
        raise panic("marketPremiums has more non-zero premiums than total number of premiums")
    return [*premiums, *([0] * (count - len(premiums)))]


def process_premium_votes(
    perpetual_ids: Sequence[int], votes: PremiumStore, samples: PremiumStore, min_num_votes_per_sample: int
) -> tuple[list[tuple[int, int]], PremiumStore]:
    """End of a sample epoch: the median vote of each perpetual becomes a sample.

    Returns the new samples by perpetual and the store of samples with them; the votes start anew.
    """
    # Kept perpetuals first: a store that holds more than it says fails before any sample is made.
    for perpetual_id in votes.non_zero:
        padded_premiums(votes, perpetual_id, min_num_votes_per_sample)
    new_samples = [
        (perpetual_id, median_int32(padded_premiums(votes, perpetual_id, min_num_votes_per_sample)))
        for perpetual_id in perpetual_ids
    ]
    non_zero = dict(samples.non_zero)
    for perpetual_id, sample in new_samples:
        if sample:
            non_zero[perpetual_id] = (*non_zero.get(perpetual_id, ()), sample)
    return new_samples, PremiumStore(samples.num_premiums + 1, non_zero)


def funding_rate_ppm(perpetual: Perpetual, samples: Sequence[int], funding_rate_clamp_factor_ppm: int) -> int:
    """8-hour rate from an hour's padded samples: mean toward zero, plus default, clamped."""
    rate = mean_int32_trunc(remove_sample_tails(samples, 0)) + perpetual.default_funding_ppm
    bound = max_abs_funding_clamp_ppm(
        funding_rate_clamp_factor_ppm, perpetual.initial_margin_ppm, perpetual.maintenance_fraction_ppm
    )
    rate = clamp(rate, -bound, bound)
    if rate > MAX_INT32:
        raise panic("ErrFundingRateInt32Overflow")
    return rate


def wrap_int32(value: int) -> int:
    """How the chain reports a rate below the int32 range: wrapped around (the index uses the full value)."""
    return (value + 2**31) % 2**32 - 2**31


def samples_per_tick(funding_tick_duration: int, funding_sample_duration: int) -> int:
    """How many samples a funding tick expects, rounded up."""
    return div_ceil(funding_tick_duration, funding_sample_duration)


def funding_tick(
    perpetual: Perpetual,
    samples: PremiumStore,
    funding_tick_duration: int,
    funding_sample_duration: int,
    funding_rate_clamp_factor_ppm: int,
) -> tuple[int, int]:
    """End of a funding epoch: the reported rate and the new funding index of one perpetual."""
    minimum = samples_per_tick(funding_tick_duration, funding_sample_duration)
    padded = padded_premiums(samples, perpetual.perpetual_id, minimum)
    rate = funding_rate_ppm(perpetual, padded, funding_rate_clamp_factor_ppm)
    delta = funding_index_delta(perpetual, rate, funding_tick_duration)
    return wrap_int32(rate), perpetual.funding_index + delta


def check_premium_vote(
    perpetuals: Mapping[int, Perpetual],
    perpetual_id: int,
    premium_ppm: int,
    premium_vote_clamp_factor_ppm: int,
) -> None:
    """Refuse a proposer's vote past the clamp, or for a market that is not trading."""
    if perpetual_id not in perpetuals:
        raise error("ErrPerpetualDoesNotExist")
    perpetual = perpetuals[perpetual_id]
    bound = max_abs_funding_clamp_ppm(
        premium_vote_clamp_factor_ppm, perpetual.initial_margin_ppm, perpetual.maintenance_fraction_ppm
    )
    if perpetual.clob_pair is None or perpetual.clob_pair.status != "ACTIVE":
        raise error("ErrPremiumVoteForNonActiveMarket")
    if abs(premium_ppm) > bound:
        raise error("ErrPremiumVoteNotClamped")


def funding_hour(
    perpetual: Perpetual,
    votes_by_minute: Sequence[Sequence[int]],
    min_num_votes_per_sample: int,
    funding_tick_duration: int,
    funding_sample_duration: int,
    funding_rate_clamp_factor_ppm: int,
) -> tuple[list[int], int, int]:
    """Votes of every block, zeros included -> the samples, the reported rate and the new index."""
    samples = [
        median_int32([*votes, *([0] * (min_num_votes_per_sample - len(votes)))]) for votes in votes_by_minute
    ]
    non_zero = tuple(sample for sample in samples if sample)
    store = PremiumStore(len(samples), {perpetual.perpetual_id: non_zero})
    rate, index = funding_tick(
        perpetual, store, funding_tick_duration, funding_sample_duration, funding_rate_clamp_factor_ppm
    )
    return samples, rate, index
