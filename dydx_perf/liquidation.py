"""What the chain would do to one position: prices and size of the next attempt, limits, insurance fund.

Arithmetic as the chain's, for the account as it stands now; the account need not be liquidatable.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from typing import TYPE_CHECKING

from dydx_perf.errors import InputError
from dydx_perf.exact import liquidation as rules
from dydx_perf.exact.liquidation import Liquidation as LiquidationCase
from dydx_perf.exact.state import LiquidationInfo
from dydx_perf.market import checked_integer
from dydx_perf.units import base_quantums_to_size, quote_quantums_to_usdc, subticks_to_price

if TYPE_CHECKING:
    from dydx_perf.market import Market

__all__ = ["Liquidation", "LiquidationCase", "LiquidationInfo", "LiquidationOrder"]

#: whatever the caller's own context is
FOR_DISPLAY = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[DivisionByZero, InvalidOperation, Overflow])


@dataclass(frozen=True, slots=True)
class LiquidationOrder:
    """The order of the next attempt: immediate or cancel, down (or up) to the fillable price."""

    is_buy: bool
    base_quantums: int
    subticks: int
    size: Decimal  # coins
    price: Decimal  # USDC


@dataclass(frozen=True, slots=True)
class Liquidation:
    """Liquidation of one position of a subaccount, as the chain would go about it.

    Of the moment it was asked for: it does not follow the chain as the subaccount does.
    """

    market: Market
    case: LiquidationCase

    @property
    def is_liquidatable(self) -> bool:
        """Whether the account is."""
        return rules.is_liquidatable(self.case.risk)

    @property
    def size_delta(self) -> int:
        """Signed base quantums that one attempt trades, against the position."""
        return rules.liquidatable_size_delta(self.case)

    @property
    def order(self) -> LiquidationOrder:
        """The order of the next attempt."""
        order = rules.liquidation_order(self.case)
        pair = self.market.clob_pair
        return LiquidationOrder(
            order.is_buy,
            order.base_quantums,
            order.subticks,
            base_quantums_to_size(order.base_quantums, self.market.atomic_resolution),
            subticks_to_price(
                order.subticks, self.market.atomic_resolution, pair.quantum_conversion_exponent
            ),
        )

    @property
    def fillable_price(self) -> tuple[int, int]:
        """Limit of the attempt, quote quantums per base quantum, an exact rational (num, den)."""
        return rules.fillable_price(self.case, self.size_delta)

    def bankruptcy_quote_quantums(self, quantums: int | None = None) -> int:
        """Quote quantums that closing must bring so that the account ends with nothing.

        Parameters
        ----------
        quantums : int, optional
            Signed base quantums traded, against the position; the whole position if not given.

        Raises
        ------
        ChainError
            A delta that does not reduce the position, or an account without maintenance margin.
        """
        delta = -self.case.size if quantums is None else checked_integer("quantums", quantums, None, None)
        return rules.bankruptcy_price_quote_quantums(self.case, delta)

    @property
    def bankruptcy_price(self) -> Decimal:
        """Bankruptcy price of the whole position in USDC for one coin, half-even at 28 digits: for display.

        Below zero where no price of this market alone could bring the account down.
        """
        quote = quote_quantums_to_usdc(self.bankruptcy_quote_quantums())
        size = base_quantums_to_size(self.case.size, self.market.atomic_resolution)
        return FOR_DISPLAY.divide(quote, size)

    def insurance_fund_delta(self, is_buy: bool, base_quantums: int, subticks: int) -> int:
        """Quote quantums that a fill pays into the insurance fund (positive) or takes from it (negative).

        Raises
        ------
        ChainError
            A fill that does not reduce the position.
        """
        if not isinstance(is_buy, bool):
            raise InputError("is_buy", is_buy, "True or False")
        checked_integer("base_quantums", base_quantums, 1, 2**64 - 1)
        checked_integer("subticks", subticks, 1, 2**64 - 1)
        return rules.insurance_fund_delta(self.case, is_buy, base_quantums, subticks)

    @property
    def can_deleverage(self) -> tuple[bool, bool]:
        """Whether the account can be deleveraged now: (at the bankruptcy price, at the oracle price)."""
        return rules.can_deleverage(self.case)
