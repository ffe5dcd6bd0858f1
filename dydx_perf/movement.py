"""What may be asked beside an order: USDC that moves, and prices that do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dydx_perf.errors import InputError
from dydx_perf.exact.update import DEPOSIT, TRANSFER, WITHDRAWAL
from dydx_perf.market import Amount
from dydx_perf.position import checked_amount
from dydx_perf.units import usdc_to_quote_quantums

__all__ = ["Deposit", "Movement", "PriceMove", "Transfer", "Withdrawal"]


def _checked_movement(usdc: Amount) -> int:
    quantums = checked_amount("usdc", usdc, usdc_to_quote_quantums(usdc))
    if quantums <= 0:
        raise InputError("usdc", usdc, "above zero")
    return quantums


@dataclass(frozen=True, slots=True)
class Movement:
    """An amount of USDC that moves.

    Parameters
    ----------
    usdc : str, int or Decimal
        Above zero, exact to 6 decimals.
    """

    usdc: Amount

    kind: ClassVar[str] = ""

    def __post_init__(self) -> None:
        if not self.kind:
            raise TypeError("a movement is a Withdrawal, a Transfer or a Deposit")
        _checked_movement(self.usdc)

    @property
    def quantums(self) -> int:
        """Quote quantums, above zero."""
        return usdc_to_quote_quantums(self.usdc)


class Withdrawal(Movement):
    """USDC taken out of the subaccount."""

    __slots__ = ()
    kind = WITHDRAWAL


class Transfer(Movement):
    """USDC sent to another subaccount; the receiver's side always passes."""

    __slots__ = ()
    kind = TRANSFER


class Deposit(Movement):
    """USDC paid in."""

    __slots__ = ()
    kind = DEPOSIT


@dataclass(frozen=True, slots=True)
class PriceMove:
    """Other oracle prices.

    Parameters
    ----------
    oracle_prices : mapping of ticker to str, int or Decimal
        USDC for one coin.
    """

    oracle_prices: Mapping[str, Amount]

    def __post_init__(self) -> None:
        if not isinstance(self.oracle_prices, Mapping):
            raise InputError("oracle_prices", self.oracle_prices, "a mapping of ticker to oracle price")
        object.__setattr__(self, "oracle_prices", dict(self.oracle_prices))
