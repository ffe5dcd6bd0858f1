"""Impact prices of the order book and the premium that a proposer votes.

Source: `x/clob/memclob/memclob.go`. Prices are exact rationals of subticks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from dydx_perf.exact.arith import (
    MAX_INT32,
    ONE_MILLION,
    average_price_subticks,
    clamp,
    fill_amount_to_quote_quantums_floor,
    price_to_subticks,
)
from dydx_perf.exact.sentinels import error, panic


@dataclass(frozen=True, slots=True)
class BookOrder:
    """A resting order; `is_collateralized` tells whether its owner could fill it now."""

    is_buy: bool
    subticks: int
    remaining_base_quantums: int
    is_collateralized: bool = True


def side_from_best(orders: Iterable[BookOrder], is_buy: bool) -> list[BookOrder]:
    """One side, best price first, in order of arrival within a price."""
    side = [order for order in orders if order.is_buy == is_buy]
    return sorted(side, key=lambda order: order.subticks, reverse=is_buy)


def impact_price_subticks(
    side: Sequence[BookOrder], impact_notional: int, quantum_conversion_exponent: int
) -> tuple[int, int] | None:
    """Mean price of selling into (or buying from) a side for `impact_notional`; None without the liquidity.

    `side` starts at the best price. The base total is rounded up to an integer once, at the end.
    """
    if impact_notional == 0:
        if not side:
            raise panic("GetAveragePriceSubticks: bigBaseQuantums = 0")
        return side[0].subticks, 1
    remaining = impact_notional
    base = Fraction(0)
    for order in side:
        if not order.is_collateralized:
            continue
        size = order.remaining_base_quantums
        value = fill_amount_to_quote_quantums_floor(order.subticks, size, quantum_conversion_exponent)
        if remaining > value:
            base += size
            remaining -= value
        else:
            base += Fraction(remaining * size, value)
            return average_price_subticks(impact_notional, ceil(base), quantum_conversion_exponent)
    return None


@dataclass(frozen=True, slots=True)
class PremiumTerms:
    """What the premium of a market is measured with."""

    index_price: int
    exponent: int
    base_atomic_resolution: int
    quote_atomic_resolution: int
    impact_notional_quote_quantums: int
    max_abs_premium_vote_ppm: int
    quantum_conversion_exponent: int


def price_premium_ppm(terms: PremiumTerms, orders: Sequence[BookOrder]) -> int:
    """Premium of the book over the oracle price, toward zero, clamped."""
    bound = terms.max_abs_premium_vote_ppm
    if bound > MAX_INT32:
        raise panic("MustConvertBigIntToInt32: input value overflows or underflows int32")
    if terms.index_price == 0:
        raise error("ErrZeroIndexPriceForPremiumCalculation")
    bids, asks = side_from_best(orders, True), side_from_best(orders, False)
    if bids and asks and bids[0].subticks >= asks[0].subticks:
        raise panic("GetPricePremium: crossing orderbook")
    num, den = price_to_subticks(
        terms.index_price,
        terms.exponent,
        terms.base_atomic_resolution,
        terms.quantum_conversion_exponent,
        terms.quote_atomic_resolution,
    )
    index = Fraction(num, den)
    if bids and index < bids[0].subticks:
        impact = impact_price(terms, bids)
        premium = impact / index - 1 if impact is not None and impact > index else Fraction(0)
    elif asks and index > asks[0].subticks:
        impact = impact_price(terms, asks)
        premium = impact / index - 1 if impact is not None and impact < index else Fraction(0)
    else:
        return 0
    return clamp(int(premium * ONE_MILLION), -bound, bound)


def impact_price(terms: PremiumTerms, side: Sequence[BookOrder]) -> Fraction | None:
    """Impact price of a side as a fraction."""
    price = impact_price_subticks(
        side, terms.impact_notional_quote_quantums, terms.quantum_conversion_exponent
    )
    return None if price is None else Fraction(*price)
