"""An order, and what the chain would refuse in it before it looks at collateral.

An `Order` is words and amounts; which market it meets is known when it is previewed. Refusals are the chain's
own, by name and code, in the order in which the chain checks. Sources: `x/clob/types/message_place_order.go`,
`x/clob/keeper/orders.go`, `clob_pair.go` and `equity_tier_limit.go`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Self

from dydx_perf.errors import InputError
from dydx_perf.exact.arith import price_to_subticks as oracle_subticks
from dydx_perf.exact.sentinels import SENTINEL_CODES
from dydx_perf.kernel import COMPILED, Placement
from dydx_perf.market import Amount, checked_integer, is_ticker
from dydx_perf.position import checked_decimal
from dydx_perf.units import price_to_subticks, size_to_base_quantums

if TYPE_CHECKING:
    from dydx_perf.exact.state import ClobPair
    from dydx_perf.kernel import MarketTable
    from dydx_perf.market import Market
    from dydx_perf.parameters import EquityTier

__all__ = ["Order", "PlacedOrder", "Refusal"]

UINT64_MAX = 2**64 - 1
#: the chain takes builder fees above zero and up to this
MAX_BUILDER_FEE_PPM = 10_000
ACTIVE, INITIALIZING, FINAL_SETTLEMENT = "ACTIVE", "INITIALIZING", "FINAL_SETTLEMENT"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the chain would not take an order: its name for it, the code, and the reason in words."""

    name: str
    code: str | None
    reason: str


def refusal(name: str, reason: str) -> Refusal:
    """Return a refusal with the code that the chain has registered for it."""
    return Refusal(name, SENTINEL_CODES.get(name), reason)


class _Placeable:
    """What an order remembers beside its words: its integers in the market that it was last asked of."""

    __slots__ = ("_placement",)

    _placement: tuple[Placement, Market, ClobPair, bool, object] | None


@dataclass(frozen=True, slots=True)
class Order(_Placeable):
    """A limit order as it would be sent; `Order.buy` and `Order.sell` make one.

    Parameters
    ----------
    ticker : str
    is_buy : bool
    size : str, int or Decimal
        Coins, not negative: what is left to fill.
    limit_price : str, int or Decimal
        USDC for one coin. The chain knows no order without one: a market order is one with a generous limit.
    reduce_only : bool
        Never opens nor flips; the chain takes it for immediate-or-cancel orders only, and cuts a fill down to
        what the position holds.
    post_only, immediate_or_cancel : bool
        Time in force, one of them or neither.
    stateful : bool
        A long-term order: it counts against the equity tier.
    builder_fee_ppm : int, optional
        Fee of a builder, 1 to 10,000 ppm.
    fill_price : str, int or Decimal, optional
        Price of the one match that a preview supposes, no worse than the limit; by default the limit.

    Raises
    ------
    InputError
        Names the argument, its value and what is allowed.
    """

    ticker: str
    is_buy: bool
    size: Decimal
    limit_price: Decimal
    reduce_only: bool = False
    post_only: bool = False
    immediate_or_cancel: bool = False
    stateful: bool = False
    builder_fee_ppm: int | None = None
    fill_price: Decimal | None = None

    def __init__(
        self,
        ticker: str,
        is_buy: bool,
        *,
        size: Amount,
        limit_price: Amount,
        reduce_only: bool = False,
        post_only: bool = False,
        immediate_or_cancel: bool = False,
        stateful: bool = False,
        builder_fee_ppm: int | None = None,
        fill_price: Amount | None = None,
    ) -> None:
        if not is_ticker(ticker):
            raise InputError("ticker", ticker, "a text of 1 to 64 characters, like BTC-USD")
        words = {
            "is_buy": is_buy,
            "reduce_only": reduce_only,
            "post_only": post_only,
            "immediate_or_cancel": immediate_or_cancel,
            "stateful": stateful,
        }
        for name, word in words.items():
            if not isinstance(word, bool):
                raise InputError(name, word, "True or False")
        if post_only and immediate_or_cancel:
            raise InputError("post_only", post_only, "one time in force: it is immediate or cancel already")
        if builder_fee_ppm is not None:
            checked_integer("builder_fee_ppm", builder_fee_ppm, 0, 2**32 - 1)
        amounts = {
            "size": _checked_amount("size", size),
            "limit_price": _checked_amount("limit_price", limit_price),
            "fill_price": None if fill_price is None else _checked_amount("fill_price", fill_price),
        }
        for field, value in {
            "ticker": ticker,
            **words,
            "builder_fee_ppm": builder_fee_ppm,
            **amounts,
        }.items():
            object.__setattr__(self, field, value)
        object.__setattr__(self, "_placement", None)
        price, limit = self.fill_price, self.limit_price
        if price is not None and (price > limit if is_buy else price < limit):
            raise InputError("fill_price", fill_price, f"a price no worse than the limit, {limit:f}")

    @classmethod
    def buy(
        cls,
        ticker: str,
        *,
        size: Amount,
        limit_price: Amount,
        reduce_only: bool = False,
        post_only: bool = False,
        immediate_or_cancel: bool = False,
        stateful: bool = False,
        builder_fee_ppm: int | None = None,
        fill_price: Amount | None = None,
    ) -> Self:
        """Make an order that buys."""
        return cls(
            ticker,
            True,
            size=size,
            limit_price=limit_price,
            reduce_only=reduce_only,
            post_only=post_only,
            immediate_or_cancel=immediate_or_cancel,
            stateful=stateful,
            builder_fee_ppm=builder_fee_ppm,
            fill_price=fill_price,
        )

    @classmethod
    def sell(
        cls,
        ticker: str,
        *,
        size: Amount,
        limit_price: Amount,
        reduce_only: bool = False,
        post_only: bool = False,
        immediate_or_cancel: bool = False,
        stateful: bool = False,
        builder_fee_ppm: int | None = None,
        fill_price: Amount | None = None,
    ) -> Self:
        """Make an order that sells."""
        return cls(
            ticker,
            False,
            size=size,
            limit_price=limit_price,
            reduce_only=reduce_only,
            post_only=post_only,
            immediate_or_cancel=immediate_or_cancel,
            stateful=stateful,
            builder_fee_ppm=builder_fee_ppm,
            fill_price=fill_price,
        )

    @property
    def side(self) -> str:
        """Return BUY or SELL."""
        return "BUY" if self.is_buy else "SELL"

    def in_market(self, market: Market) -> PlacedOrder:
        """Return the order in the market's integers.

        Raises
        ------
        InputError
            A size or price that the chain's message cannot hold: finer than a quantum or a subtick, or past
            64 bits. Whether it is a multiple of step and tick is the chain's question: `refused` answers it.
        """
        resolution = market.atomic_resolution
        exponent = market.clob_pair.quantum_conversion_exponent
        base_quantums = size_to_base_quantums(self.size, resolution)
        if base_quantums > UINT64_MAX:
            raise InputError("size", self.size, f"at most {UINT64_MAX} base quantums")
        subticks = price_to_subticks(self.limit_price, resolution, exponent, "limit_price")
        if self.fill_price is None:
            fill_subticks = subticks
        else:
            fill_subticks = price_to_subticks(self.fill_price, resolution, exponent, "fill_price")
        return PlacedOrder(self, market, base_quantums, subticks, fill_subticks)


def kept_placement(order: Order, table: MarketTable) -> Placement | None:
    """Return what `placement_of` made last, if it was in this table and the order book is as it was then."""
    kept = getattr(order, "_placement", None)  # an unpickled order has none
    if kept is None:
        return None
    placement, market, pair, is_isolated, known = kept
    if placement.table is not table:
        return None
    now = market._known
    if now is not known:  # set anew, if only with another price
        if market.clob_pair is not pair or market.is_isolated != is_isolated:
            return None
        object.__setattr__(order, "_placement", (placement, market, pair, is_isolated, now))
    made: Placement = placement
    return made


def placement_of(order: Order, market: Market) -> Placement | None:
    """Return an order in the kernel's integers; None where a refusal or plain integers have to answer.

    An order in an active market that nothing but its position and collateral can refuse has one. It keeps it,
    for `kept_placement`.
    """
    placed, table = order.in_market(market), market._table
    if not COMPILED or table is None or placed.is_refused_anywhere:
        return None
    try:
        made = Placement(
            table,
            market._index,
            market.clob_pair,
            is_buy=order.is_buy,
            base_quantums=placed.base_quantums,
            subticks=placed.subticks,
            fill_subticks=placed.fill_subticks,
            builder_fee_ppm=order.builder_fee_ppm or 0,
            post_only=order.post_only,
            immediate_or_cancel=order.immediate_or_cancel,
            reduce_only=order.reduce_only,
            is_isolated=market.is_isolated,
        )
    except OverflowError:
        return None
    kept = (made, market, market.clob_pair, market.is_isolated, market._known)
    object.__setattr__(order, "_placement", kept)
    return made


def _checked_amount(argument: str, value: Amount) -> Decimal:
    """Return a Decimal of zero or more."""
    if value is None:
        raise InputError(argument, value, "text, int or Decimal")
    amount = checked_decimal(argument, value)
    if amount < 0:
        raise InputError(argument, value, "zero or more: the side is told apart from it")
    return amount


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order in the integers of its market."""

    order: Order
    market: Market
    base_quantums: int
    subticks: int
    fill_subticks: int

    @property
    def is_step_right(self) -> bool:
        """Whether the size is a multiple of the market's step."""
        return self.base_quantums % self.market.clob_pair.step_base_quantums == 0

    @property
    def is_refused_anywhere(self) -> bool:
        """Whether more than position and collateral decides: it is refused, or its market is not active."""
        if self.market.clob_pair.status != ACTIVE:
            return True
        return (self._refused_message() or self._refused_market(self.market.perpetual.price)) is not None

    def fill_base_quantums(self, position_quantums: int) -> int:
        """Return what would fill: of a reduce-only order no more than the position."""
        if self.order.reduce_only:
            return min(self.base_quantums, abs(position_quantums))
        return self.base_quantums

    def refused(
        self,
        position_quantums: int = 0,
        net_collateral: int = 0,
        open_stateful_orders: int | None = None,
        equity_tiers: Sequence[EquityTier] = (),
        oracle_price: int | None = None,
    ) -> Refusal | None:
        """Return the chain's first refusal of this order, collateral left aside; None: it may go on.

        Parameters
        ----------
        position_quantums : int
            Position in the order's market, signed base quantums.
        net_collateral : int
            Of the subaccount before the order, quote quantums; chooses the equity tier.
        open_stateful_orders : int, optional
            How many the subaccount has; without it the equity tier is not checked.
        equity_tiers : sequence of EquityTier
            Ascending; without any the chain has no such limit.
        oracle_price : int, optional
            Price integer by which an initializing market judges; the market's own if not given.
        """
        return (
            self._refused_message()
            or self._refused_market(self.market.perpetual.price if oracle_price is None else oracle_price)
            or self._refused_equity_tier(net_collateral, open_stateful_orders, equity_tiers)
            or self._refused_reduction(position_quantums)
        )

    def _refused_message(self) -> Refusal | None:
        """Check what needs no state."""
        order = self.order
        if self.base_quantums == 0:
            return refusal("ErrInvalidOrderQuantums", "an order of size 0")
        if order.stateful and order.immediate_or_cancel:
            return refusal(
                "ErrLongTermOrdersCannotRequireImmediateExecution",
                "a stateful order cannot be immediate or cancel",
            )
        if order.reduce_only and not order.immediate_or_cancel:
            return refusal("ErrReduceOnlyDisabled", "reduce-only is for immediate-or-cancel orders")
        if self.subticks == 0:
            return refusal("ErrInvalidOrderSubticks", "a limit price of 0")
        fee = order.builder_fee_ppm
        if fee is not None and not 0 < fee <= MAX_BUILDER_FEE_PPM:
            return refusal(
                "ErrInvalidBuilderCode", f"a builder fee of {fee} ppm; 1 to {MAX_BUILDER_FEE_PPM} ppm"
            )
        return None

    def _refused_market(self, oracle_price: int) -> Refusal | None:
        """Check tick, step and the status of the order book."""
        market, pair, order = self.market, self.market.clob_pair, self.order
        if self.subticks % pair.subticks_per_tick:
            return refusal(
                "ErrInvalidPlaceOrder", f"the limit price is no multiple of the tick, {market.tick_size:f}"
            )
        if not self.is_step_right:
            return refusal(
                "ErrInvalidPlaceOrder", f"the size is no multiple of the step, {market.step_size:f}"
            )
        if pair.status == ACTIVE:
            return None
        if pair.status == FINAL_SETTLEMENT:
            return refusal(
                "ErrOrderConflictsWithClobPairStatus", "the market is in final settlement: no trading"
            )
        if pair.status != INITIALIZING:
            return refusal(
                "clob pair status is not supported", f"the chain panics at the status {pair.status}"
            )
        if order.stateful:
            return refusal(
                "ErrOrderConflictsWithClobPairStatus", "an initializing market takes no stateful orders"
            )
        if not order.post_only:
            return refusal(
                "ErrOrderConflictsWithClobPairStatus", "an initializing market takes post-only orders only"
            )
        num, den = oracle_subticks(
            oracle_price,
            market.price_exponent,
            market.atomic_resolution,
            pair.quantum_conversion_exponent,
        )
        oracle = num // den
        if self.subticks > oracle if order.is_buy else self.subticks < oracle:
            return refusal(
                "ErrOrderConflictsWithClobPairStatus",
                "in an initializing market no bid stands above the oracle price and no ask below it",
            )
        return None

    def _refused_equity_tier(
        self, net_collateral: int, open_stateful_orders: int | None, equity_tiers: Sequence[EquityTier]
    ) -> Refusal | None:
        """Check how many stateful orders the net collateral allows."""
        if not self.order.stateful or open_stateful_orders is None or not equity_tiers:
            return None
        limit = 0
        for tier in equity_tiers:
            if net_collateral < tier.net_collateral_required:
                break
            limit = tier.limit
        if open_stateful_orders < limit:
            return None
        return refusal(
            "ErrOrderWouldExceedMaxOpenOrdersEquityTierLimit",
            f"{open_stateful_orders} stateful orders are open and the equity tier allows {limit}",
        )

    def _refused_reduction(self, position_quantums: int) -> Refusal | None:
        """Check that a reduce-only order stands against the position."""
        if not self.order.reduce_only:
            return None
        if position_quantums >= 0 if self.order.is_buy else position_quantums <= 0:
            return refusal(
                "ErrReduceOnlyWouldIncreasePositionSize", "a reduce-only order must be against the position"
            )
        filled = self.fill_base_quantums(position_quantums)
        if filled % self.market.clob_pair.step_base_quantums:
            return refusal(
                "ErrFillAmountNotDivisibleByStepSize",
                "cut down to the position the fill is no multiple of the step",
            )
        return None
