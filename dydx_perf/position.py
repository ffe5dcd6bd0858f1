"""A position of a subaccount in one market."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from dydx_perf.errors import InputError
from dydx_perf.exact.funding import settlement_floor, settlement_ppm
from dydx_perf.exact.margin import notional
from dydx_perf.exact.state import PerpetualPosition
from dydx_perf.market import Amount, Market, checked_integer
from dydx_perf.units import base_quantums_to_size, quote_quantums_to_usdc, size_to_base_quantums, to_fixed

__all__ = ["Position"]

UINT32_MAX = 2**32 - 1


def checked_amount(argument: str, value: object, amount: object) -> int:
    """Return `amount`, which is `value` in the chain's unit, when it is an int of a size that can occur."""
    try:
        return checked_integer(argument, amount, None, None)
    except InputError as refusal:
        raise InputError(argument, value, refusal.allowed) from None


def checked_decimal(argument: str, value: Amount) -> Decimal:
    """Return an exact Decimal of text, int or Decimal."""
    # refuses what is no plain number, or longer than any field of the indexer
    checked_amount(argument, value, to_fixed(argument, value, 200))
    return Decimal(value)


def checked_price(argument: str, value: Amount | None) -> Decimal | None:
    """Return an exact Decimal of zero or more; None stays None."""
    if value is None:
        return None
    price = checked_decimal(argument, value)
    if price < 0:
        raise InputError(argument, value, "zero or more")
    return price


@dataclass(frozen=True, slots=True, init=False)
class Position:
    """A size in a market, the funding index it is settled to, and what the indexer tells of its past.

    Parameters
    ----------
    market : Market
    size : str, int or Decimal
        Signed coins, long above zero, exact at the market's atomic resolution.
    quantums : int, optional
        The same in base quantums, instead of `size`.
    funding_index : int, optional
        Index to which the position is settled; the market's current one if not given.
    quote_balance : int
        Quote quantums of the position's own quote balance; the chain counts it as collateral.
    custom_imf_ppm : int
        The subaccount's chosen initial margin fraction in this market; 0: it says nothing of one.
    entry_price, exit_price : str, int or Decimal, optional
        As the indexer reports them.
    realized_pnl, net_funding : str, int or Decimal
        USDC, as the indexer reports them.

    Raises
    ------
    InputError
        Names the argument, its value and what is allowed.
    """

    market: Market
    quantums: int
    funding_index: int
    quote_balance: int
    custom_imf_ppm: int
    entry_price: Decimal | None
    exit_price: Decimal | None
    realized_pnl: Decimal
    net_funding: Decimal

    def __init__(
        self,
        market: Market,
        size: Amount | None = None,
        *,
        quantums: int | None = None,
        funding_index: int | None = None,
        quote_balance: int = 0,
        custom_imf_ppm: int = 0,
        entry_price: Amount | None = None,
        exit_price: Amount | None = None,
        realized_pnl: Amount = 0,
        net_funding: Amount = 0,
    ) -> None:
        if not isinstance(market, Market):
            raise InputError("market", market, "a Market of a chain")
        if (size is None) == (quantums is None):
            raise InputError("size", size, "either size or quantums, and not both")
        values: dict[str, object] = {
            "market": market,
            "quantums": (
                checked_amount("size", size, size_to_base_quantums(size, market.atomic_resolution))
                if size is not None
                else checked_amount("quantums", quantums, quantums)
            ),
            "funding_index": (
                market.funding_index
                if funding_index is None
                else checked_amount("funding_index", funding_index, funding_index)
            ),
            "quote_balance": checked_amount("quote_balance", quote_balance, quote_balance),
            "custom_imf_ppm": checked_integer("custom_imf_ppm", custom_imf_ppm, 0, UINT32_MAX),
            "entry_price": checked_price("entry_price", entry_price),
            "exit_price": checked_price("exit_price", exit_price),
            "realized_pnl": checked_decimal("realized_pnl", realized_pnl),
            "net_funding": checked_decimal("net_funding", net_funding),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def ticker(self) -> str:
        """Ticker of the market."""
        return self.market.ticker

    @property
    def size(self) -> Decimal:
        """Signed coins, exact."""
        return base_quantums_to_size(self.quantums, self.market.atomic_resolution)

    @property
    def side(self) -> str:
        """Return LONG or SHORT."""
        return "SHORT" if self.quantums < 0 else "LONG"

    @property
    def notional(self) -> int:
        """Signed value at the oracle price in quote quantums, toward zero, as the chain counts it."""
        return notional(self.market.perpetual, self.quantums)

    @property
    def value(self) -> Decimal:
        """Signed size times oracle price in USDC, exact, as the indexer counts it."""
        price = self.market.oracle_price
        return Decimal(f"{self.quantums * price.integer}E{self.market.atomic_resolution + price.exponent}")

    @property
    def unsettled_funding_ppm(self) -> int:
        """What the position receives when it is settled now, in ppm of a quote quantum; exact."""
        return settlement_ppm(self.quantums, self.funding_index, self.market.funding_index)

    @property
    def unsettled_funding_usdc(self) -> Decimal:
        """The same in USDC, floored to a quote quantum as the chain does for one position alone."""
        return quote_quantums_to_usdc(settlement_floor(self.unsettled_funding_ppm))

    @property
    def state(self) -> PerpetualPosition:
        """The plain integers, as `dydx_perf.exact` takes them."""
        return PerpetualPosition(
            self.market.perpetual_id, self.quantums, self.funding_index, self.quote_balance
        )

    def __repr__(self) -> str:
        entry = "" if self.entry_price is None else f", entry_price={self.entry_price}"
        return f"Position({self.ticker} {self.size:+f}{entry})"


def is_nothing(position: Position) -> bool:
    """Whether the chain would keep no such position."""
    return position.quantums == 0 and position.quote_balance == 0
