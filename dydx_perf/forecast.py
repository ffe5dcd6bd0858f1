"""Forecasts, each with what it assumes: break-even price, funding costs, when funding alone liquidates.

None of them is a number of the chain: the chain decides when the time comes. Given its assumptions each is
exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Generic, TypeVar

from dydx_perf.errors import InputError
from dydx_perf.exact import funding
from dydx_perf.exact.arith import MAX_INT32, MIN_INT32, ONE_MILLION
from dydx_perf.exact.funding import funding_index_delta, settlement_floor
from dydx_perf.market import checked_integer
from dydx_perf.units import annualised_funding_rate

if TYPE_CHECKING:
    from dydx_perf.chain import ProtocolParameters
    from dydx_perf.market import Market
    from dydx_perf.position import Position
    from dydx_perf.subaccount import Subaccount

__all__ = [
    "Forecast",
    "FundingRateForecast",
    "break_even_price",
    "funding_cost",
    "hours_until_funding_liquidates",
    "next_funding_rate",
]

T = TypeVar("T")

SECONDS_PER_HOUR = 3600
SAMPLES_PER_HOUR = 60
HOURS_PER_YEAR = 24 * 365
LARGEST_HORIZON = 24 * 366 * 10


@dataclass(frozen=True, slots=True)
class Forecast(Generic[T]):
    """A value and what it assumes."""

    value: T
    assumes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FundingRateForecast:
    """The rate of the running hour by two conventions.

    Attributes
    ----------
    chain_ppm : int
        Ppm per 8 hours; missing samples as zeros, as the chain would do if the hour ended now.
    indexer_rate : Fraction
        The indexer's `nextFundingRate`: a fraction per hour, from the mean of the samples so far.
    """

    chain_ppm: int
    indexer_rate: Fraction

    @property
    def chain_annualised(self) -> Decimal:
        """The chain's as a fraction per 365 days, not compounded, exact."""
        return annualised_funding_rate(self.chain_ppm)

    @property
    def indexer_annualised(self) -> Fraction:
        """The indexer's as a fraction per 365 days, not compounded, exact."""
        return self.indexer_rate * HOURS_PER_YEAR


def checked_fee(argument: str, fee_ppm: object) -> Fraction:
    """Return a fee as a fraction, above -1 and below 1."""
    return Fraction(checked_integer(argument, fee_ppm, -ONE_MILLION + 1, ONE_MILLION - 1), ONE_MILLION)


def checked_rate(argument: str, rate_ppm: object) -> int:
    """Return a funding rate within the chain's int32."""
    return checked_integer(argument, rate_ppm, MIN_INT32, MAX_INT32)


def break_even_price(
    position: Position, *, closing_fee_ppm: int = 0, opening_fee_ppm: int = 0
) -> Forecast[Fraction | None]:
    """Price in USDC at which closing the whole position leaves a total PnL of zero.

    `size * (price - entry) + realized + net funding + unsettled funding - fees = 0`, solved for the price.

    Parameters
    ----------
    position : Position
        With an entry price.
    closing_fee_ppm : int
        Fee of the closing fill in ppm of its value; negative for a rebate.
    opening_fee_ppm : int
        The same of the opening fills, at the entry price. For a position that was planned, or whose realized
        PnL is not the indexer's: that one has the fees paid so far in it, and they must not count twice.

    Returns
    -------
    Forecast of Fraction or None
        An exact rational; None where no price above zero breaks even, or the position is zero.

    Raises
    ------
    InputError
        A position without an entry price, or a fee of 100 % and more.
    """
    if position.entry_price is None:
        raise InputError("position", position, "a position with an entry price")
    closing = checked_fee("closing_fee_ppm", closing_fee_ppm)
    opening = checked_fee("opening_fee_ppm", opening_fee_ppm)
    size, entry = Fraction(position.size), Fraction(position.entry_price)
    earned = Fraction(position.realized_pnl) + Fraction(position.net_funding)
    unsettled = Fraction(position.unsettled_funding_ppm, ONE_MILLION**2)
    paid = opening * abs(size) * entry
    price = None if size == 0 else (size * entry + paid - earned - unsettled) / (size - abs(size) * closing)
    return Forecast(
        price if price is not None and price > 0 else None,
        (
            "closed in full at one price, without slippage",
            "realized PnL as the indexer keeps it: fees paid so far are in it, beside an opening fee given",
            "funding up to the market's current index, none after it",
        ),
    )


def funding_cost(position: Position, rate_ppm: int, hours: int) -> Forecast[int]:
    """Quote quantums that the position pays over the coming hours (negative: receives).

    Parameters
    ----------
    rate_ppm : int
        Funding rate, ppm per 8 hours, of every hour.
    hours : int
        Funding ticks, 0 to ten years of them.
    """
    rate = checked_rate("rate_ppm", rate_ppm)
    ticks = checked_integer("hours", hours, 0, LARGEST_HORIZON)
    growth = ticks * funding_index_delta(position.market.perpetual, rate, SECONDS_PER_HOUR)
    return Forecast(
        -settlement_floor(-growth * position.quantums),
        (
            "the same rate at every tick",
            "the oracle price stays where it is",
            "settled once at the end, floored as the chain floors one position alone",
            "funding due before now is not counted",
        ),
    )


def hours_until_funding_liquidates(account: Subaccount, rates_ppm: Mapping[str, int]) -> Forecast[int | None]:
    """Funding ticks until the chain calls the account liquidatable, if nothing else changes.

    Parameters
    ----------
    rates_ppm : mapping of ticker to int
        Funding rate of each held market, ppm per 8 hours.

    Returns
    -------
    Forecast of int or None
        0 when it is liquidatable now, None when funding alone never does it.

    Raises
    ------
    InputError
        A held market without a rate.
    UnknownMarketError
        A rate of a market that the chain does not list.
    """
    if not isinstance(rates_ppm, Mapping):
        raise InputError("rates_ppm", rates_ppm, "a mapping of ticker to rate")
    rates = {
        account.chain[ticker].ticker: checked_rate(f"rates_ppm[{ticker!r}]", rate)
        for ticker, rate in rates_ppm.items()
    }
    held = {ticker: position for ticker, position in account.positions.items() if position.quantums}
    missing = [ticker for ticker in held if ticker not in rates]
    if missing:
        raise InputError("rates_ppm", missing, "a rate for every held market")
    growth = sum(
        position.quantums * funding_index_delta(position.market.perpetual, rates[ticker], SECONDS_PER_HOUR)
        for ticker, position in held.items()
    )
    return Forecast(
        ticks_until_liquidatable(account, growth),
        (
            "the same rates at every tick",
            "oracle prices, positions and balance stay where they are",
            "settled with one floor over all positions, as the chain does",
            "rates as given: the chain clamps its own to a multiple of initial less maintenance margin",
        ),
    )


def ticks_until_liquidatable(account: Subaccount, growth_ppm: int) -> int | None:
    """Smallest number of ticks k with floor((due - k * growth) / 1e6) below what the margin needs.

    Each tick takes the same from what is due, so that the account is liquidatable from the first such k on.
    """
    risk = account.risk
    if risk.is_liquidatable:
        return 0
    if growth_ppm <= 0 or risk.mmr == 0:
        return None
    due = sum(position.unsettled_funding_ppm for position in account.positions.values())
    # floor(x / 1e6) < needed is x < needed * 1e6 for whole numbers
    needed = risk.mmr - (risk.nc - settlement_floor(due))
    return (due - needed * ONE_MILLION) // growth_ppm + 1


def next_funding_rate(
    market: Market, samples: Sequence[int], parameters: ProtocolParameters
) -> Forecast[FundingRateForecast]:
    """Rate of the running hour from its premium samples so far.

    Parameters
    ----------
    samples : sequence of int
        Premium samples of the hour, ppm, zeros included; at most 60.
    parameters : ProtocolParameters
        Of the chain: the clamp of the rate.
    """
    if isinstance(samples, (str, bytes)) or not isinstance(samples, Sequence):
        raise InputError("samples", samples, "a sequence of ints")
    if not 0 < len(samples) <= SAMPLES_PER_HOUR:
        raise InputError("samples", list(samples), f"1 to {SAMPLES_PER_HOUR} samples")
    for place, sample in enumerate(samples):
        checked_rate(f"samples[{place}]", sample)
    padded = [*samples, *([0] * (SAMPLES_PER_HOUR - len(samples)))]
    rate = funding.funding_rate_ppm(market.perpetual, padded, parameters.funding_rate_clamp_factor_ppm)
    mean = Fraction(sum(samples), len(samples)) + market.default_funding_ppm
    return Forecast(
        FundingRateForecast(rate, mean / (8 * ONE_MILLION)),
        (
            "chain: no further sample comes; missing ones count as zero, as the chain counts them",
            "indexer: the rest of the hour is like its start; neither clamped nor rounded",
        ),
    )
