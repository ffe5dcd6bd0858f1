"""Prices made of an order book: best, mid, depth, impact price, mark price, premium vote.

Inside are subticks and base quantums; Decimals and Fractions go out, exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from dydx_perf.errors import InputError, StaleError
from dydx_perf.exact.arith import ONE_MILLION
from dydx_perf.exact.funding import max_abs_funding_clamp_ppm
from dydx_perf.exact.premium import BookOrder, PremiumTerms, impact_price_subticks, price_premium_ppm
from dydx_perf.market import UINT64_MAX, Amount, Market, checked_choice, checked_integer
from dydx_perf.units import (
    QUOTE_ATOMIC_RESOLUTION,
    base_quantums_to_size,
    price_to_subticks,
    subticks_to_price,
    to_decimal,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dydx_perf.ext.depth import Depth
    from dydx_perf.ext.order_queue import OrderQueues

__all__ = ["BookLevel", "DepthTo", "ImpactPrice", "MarkKind", "MarkPrice", "PricedBook", "Side", "is_bid"]

Side = Literal["bid", "ask"]
MarkKind = Literal["book mid", "impact mid"]

#: of the chain's genesis: a premium vote is at most so many millionths of IMF - MMF
PREMIUM_VOTE_CLAMP_FACTOR_PPM = 60_000_000
WHY_NOT = {
    "no_snapshot": "no snapshot has come yet",
    "gap": "messages were lost; a new snapshot is awaited",
    "over_capacity": "it has no room for all of it; a new snapshot is awaited",
}


def is_bid(side: Side) -> bool:
    """Tell whether a side is that of the bids."""
    return checked_choice("side", side, ("bid", "ask")) == "bid"


@dataclass(frozen=True, slots=True)
class BookLevel:
    """A price, and the sum of what stands there.

    Attributes
    ----------
    price, size : Decimal
        USDC for one coin, coins.
    subticks, base_quantums : int
        The same in the chain's units.
    """

    price: Decimal
    size: Decimal
    subticks: int
    base_quantums: int


@dataclass(frozen=True, slots=True)
class DepthTo:
    """What stands at a price or better: coins, and their value at their own prices in USDC; exact."""

    size: Decimal
    value: Decimal


@dataclass(frozen=True, slots=True)
class ImpactPrice:
    """Mean price of selling into the bids, or buying from the asks, for a notional, by the chain's rules.

    Attributes
    ----------
    impact_notional : int
        Quote quantums.
    subticks, price : Fraction
        Exact; `price` is in USDC for one coin.
    """

    impact_notional: int
    subticks: Fraction
    price: Fraction


@dataclass(frozen=True, slots=True)
class MarkPrice:
    """An estimate of ours: the chain has no mark price.

    Attributes
    ----------
    kind : "book mid" or "impact mid"
        The mean of best bid and best ask, or of the two impact prices.
    price : Fraction
        USDC for one coin, exact.
    index_price : Decimal
        The oracle price at that moment.
    height : int or None
        Block of the book, where its source tells.
    time : float
        The caller's clock when the book last changed.
    """

    kind: MarkKind
    price: Fraction
    index_price: Decimal
    height: int | None
    time: float

    basis = "estimate"

    @property
    def premium(self) -> Fraction:
        """Mark over index, less one; exact."""
        return self.price / Fraction(self.index_price) - 1

    @property
    def premium_ppm(self) -> int:
        """The same in ppm, toward zero."""
        return int(self.premium * ONE_MILLION)

    def integer(self, price_exponent: int) -> int:
        """Return the price in units of ``10**price_exponent`` USDC, the nearest, a half to the even one."""
        return round(self.price / Fraction(10) ** checked_integer("price_exponent", price_exponent, -32, 32))


class PricedBook:
    """What both books give: levels, depth, mid, impact prices, mark price, premium."""

    _market: Market
    _integers: Depth | OrderQueues

    # -- how good it is

    #: neither book is part of the chain's state
    basis = "estimate"

    @property
    def market(self) -> Market:
        """The market whose ticks and steps are used."""
        return self._market

    @property
    def not_whole(self) -> tuple[str, ...]:
        """Codes of the reasons for which it is not whole: no_snapshot, gap, over_capacity; none: it is."""
        return self._integers.not_whole

    @property
    def time(self) -> float:
        """The caller's clock at the last message; 0 before the first."""
        return self._integers.time

    @property
    def height(self) -> int | None:
        """Block of the last message; None where its source does not tell, as the indexer does not."""
        return None

    @property
    def memory(self) -> int:
        """Bytes that were taken, once."""
        return self._integers.nbytes

    def age(self, now: float) -> float:
        """Return the seconds since the last message, by the caller's clock."""
        return now - self.time

    def require(self, *, now: float | None = None, max_age: float | None = None) -> None:
        """Raise a `StaleError` when the book is not whole, or when its last message is older than `max_age`.

        Parameters
        ----------
        now, max_age : float, optional
            Both or none, seconds. A quiet market sends nothing: choose `max_age` by the market.
        """
        if why := self.not_whole:
            reasons = "; ".join(WHY_NOT[code] for code in why)
            raise StaleError(f"the order book of {self._market.ticker} is not whole: {reasons}")
        if (now is None) != (max_age is None):
            raise InputError("max_age", max_age, "given together with now")
        if now is not None and max_age is not None and self.age(now) > max_age:
            raise StaleError(
                f"the order book of {self._market.ticker} is {self.age(now):g} s old, more than {max_age:g} s"
            )

    # -- levels

    @property
    def best_bid(self) -> BookLevel | None:
        """The highest bid; None: there is none."""
        self.require()
        found = self._integers.best(True)
        return None if found is None else self._level(*found)

    @property
    def best_ask(self) -> BookLevel | None:
        """The lowest ask; None: there is none."""
        self.require()
        found = self._integers.best(False)
        return None if found is None else self._level(*found)

    @property
    def spread(self) -> Decimal | None:
        """Best ask less best bid in USDC; None where a side is empty."""
        bid, ask = self.best_bid, self.best_ask
        return None if bid is None or ask is None else self._price(ask.subticks - bid.subticks)

    @property
    def mid_price(self) -> Decimal | None:
        """Mean of best bid and best ask, exact; None where a side is empty, or where they cross."""
        bid, ask = self.best_bid, self.best_ask
        if bid is None or ask is None or bid.subticks >= ask.subticks:
            return None
        return to_decimal((bid.subticks + ask.subticks) * 5, self._price_exponent - 1)

    def bids(self, count: int | None = None) -> list[BookLevel]:
        """Return the best `count` bids, by default all, best first."""
        return self._levels("bid", count)

    def asks(self, count: int | None = None) -> list[BookLevel]:
        """Return the best `count` asks, by default all, best first."""
        return self._levels("ask", count)

    def arrays(
        self, side: Side, count: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Return (subticks, base quantums, their running sum) of the best levels, best first: copies.

        The sum of all sizes of a side fits int64, so no running sum wraps.
        """
        self.require()
        subticks, sizes = self._integers.levels(is_bid(side), count)[:2]
        return subticks, sizes, sizes.cumsum()

    def depth_to(self, side: Side, price: Amount) -> DepthTo:
        """Return what stands at `price` or better, in coins and in USDC; it may lie between two ticks."""
        self.require()
        size, value = self._integers.depth_to(is_bid(side), self._subticks(price))
        return DepthTo(
            self._size(size), to_decimal(value, self._price_exponent + self._market.atomic_resolution)
        )

    # -- prices for a size

    def impact_price(self, side: Side, impact_notional: int | None = None) -> ImpactPrice | None:
        """Mean price of selling into the bids, or buying from the asks, for an impact notional.

        Level by level, or order by order, from the best price on: one worth v quote quantums, floored, is
        taken whole while more than v is wanted, of the last one the fraction that is wanted; the base
        quantums are rounded up once; the price is the notional over them, exact. Source:
        getImpactPriceSubticks in x/clob/memclob/memclob.go.

        Parameters
        ----------
        side : "bid" or "ask"
        impact_notional : int, optional
            Quote quantums, above zero; that of the market's liquidity tier if not given.

        Returns
        -------
        ImpactPrice, or None
            None: the side does not have that much.
        """
        self.require()
        notional = self._market.impact_notional if impact_notional is None else impact_notional
        if notional == 0:
            raise InputError(
                "impact_notional", notional, "above 0; the market does not tell that of its liquidity tier"
            )
        checked_integer("impact_notional", notional, 1, UINT64_MAX)
        exponent = self._market.clob_pair.quantum_conversion_exponent
        base = self._integers.impact_base(is_bid(side), notional, exponent)
        if base is None:  # a value of more than 128 bits
            found = impact_price_subticks(self._orders(is_bid(side)), notional, exponent)
            if found is None:
                return None
            subticks = Fraction(*found)
        elif base == 0:
            return None
        else:
            subticks = Fraction(notional, base) / Fraction(10) ** exponent
        return ImpactPrice(notional, subticks, subticks * Fraction(10) ** self._price_exponent)

    def mark_price(
        self,
        kind: MarkKind = "book mid",
        *,
        impact_notional: int | None = None,
        now: float | None = None,
        max_age: float | None = None,
    ) -> MarkPrice | None:
        """Estimate a mark price, which the chain does not have, beside the oracle price.

        Parameters
        ----------
        kind : "book mid" or "impact mid"
            Mean of best bid and best ask, or of the two impact prices.
        impact_notional : int, optional
            Of an impact mid, as `impact_price` takes it.
        now, max_age : float, optional
            As `require` takes them.

        Returns
        -------
        MarkPrice, or None
            None: a side is empty or has too little, or the two cross.
        """
        self.require(now=now, max_age=max_age)
        price: Fraction | None = None
        if checked_choice("kind", kind, ("book mid", "impact mid")) == "book mid":
            mid = self.mid_price
            price = None if mid is None else Fraction(mid)
        elif self.mid_price is not None:
            bid = self.impact_price("bid", impact_notional)
            ask = self.impact_price("ask", impact_notional)
            price = None if bid is None or ask is None else (bid.price + ask.price) / 2
        if price is None:
            return None
        return MarkPrice(kind, price, self._market.oracle_price.decimal, self.height, self.time)

    def premium_vote_ppm(
        self,
        impact_notional: int | None = None,
        *,
        premium_vote_clamp_factor_ppm: int = PREMIUM_VOTE_CLAMP_FACTOR_PPM,
    ) -> int:
        """Return the premium over the oracle price that a proposer with this book votes, in ppm.

        Zero while the index lies between best bid and best ask; else the impact price of the side that it is
        past, over the index, less one, toward zero, clamped. A proposer leaves out orders whose owner could
        not fill them, which nobody else can see, so this is an estimate. Source: GetPricePremium in
        x/clob/memclob/memclob.go.

        Raises
        ------
        ChainError
            The chain would stop: best bid and best ask of a full node's book cross.
        """
        self.require()
        notional = self._market.impact_notional if impact_notional is None else impact_notional
        checked_integer("impact_notional", notional, 1, UINT64_MAX)
        perpetual = self._market.perpetual
        terms = PremiumTerms(
            index_price=perpetual.price,
            exponent=perpetual.exponent,
            base_atomic_resolution=perpetual.atomic_resolution,
            quote_atomic_resolution=QUOTE_ATOMIC_RESOLUTION,
            impact_notional_quote_quantums=notional,
            max_abs_premium_vote_ppm=max_abs_funding_clamp_ppm(
                premium_vote_clamp_factor_ppm,
                perpetual.initial_margin_ppm,
                perpetual.maintenance_fraction_ppm,
            ),
            quantum_conversion_exponent=self._market.clob_pair.quantum_conversion_exponent,
        )
        return price_premium_ppm(terms, [*self._orders(True), *self._orders(False)])

    # -- units

    @property
    def _price_exponent(self) -> int:
        """A subtick is so many powers of ten of USDC for one coin."""
        exponent = self._market.clob_pair.quantum_conversion_exponent
        return exponent + QUOTE_ATOMIC_RESOLUTION - self._market.atomic_resolution

    def _price(self, subticks: int) -> Decimal:
        pair = self._market.clob_pair
        return subticks_to_price(subticks, self._market.atomic_resolution, pair.quantum_conversion_exponent)

    def _size(self, base_quantums: int) -> Decimal:
        return base_quantums_to_size(base_quantums, self._market.atomic_resolution)

    def _level(self, subticks: int, base_quantums: int) -> BookLevel:
        return BookLevel(self._price(subticks), self._size(base_quantums), subticks, base_quantums)

    def _levels(self, side: Side, count: int | None) -> list[BookLevel]:
        self.require()
        subticks, sizes = self._integers.levels(is_bid(side), count)[:2]
        return [self._level(*level) for level in zip(subticks.tolist(), sizes.tolist(), strict=True)]

    def _subticks(self, price: Amount) -> int:
        pair = self._market.clob_pair
        subticks = price_to_subticks(price, self._market.atomic_resolution, pair.quantum_conversion_exponent)
        if subticks == 0:
            raise InputError("price", price, "above zero")
        return subticks

    def _orders(self, bids: bool) -> list[BookOrder]:
        """List what the chain's rules walk; a level is one order where the book does not know of orders."""
        subticks, sizes = self._integers.levels(bids)[:2]
        return [BookOrder(bids, *level) for level in zip(subticks.tolist(), sizes.tolist(), strict=True)]
