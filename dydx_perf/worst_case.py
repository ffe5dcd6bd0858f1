"""What resting orders could do: the chain reserves no margin for them, so all, some or none may fill.

For each of the two margins the worst is the set of fills that leaves the smallest net collateral less that
margin. Each order fills in full or not at all, at its limit price, as a maker; open interest stays. On the
chain a fill that its checks refuse does not happen: the worst case here is what the account would come to if
they did all pass, and so never better than what can come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dydx_perf.errors import InputError
from dydx_perf.exact import whatif
from dydx_perf.exact.funding import settle_subaccount
from dydx_perf.exact.update import apply_update
from dydx_perf.exact.worst_fills import Margin, worst_fills
from dydx_perf.order import Order, PlacedOrder
from dydx_perf.parameters import FeeTier
from dydx_perf.preview import fee_tier_of
from dydx_perf.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dydx_perf.kernel import OraclePrice, Risk
    from dydx_perf.subaccount import Subaccount

__all__ = ["Fills", "WorstCase", "worst_case"]


@dataclass(frozen=True, slots=True)
class Fills:
    """A set of open orders that fills, and what it leaves.

    Attributes
    ----------
    orders : tuple of Order
        In the order in which they were given.
    bound : int
        Quote quantums by which the true worst may lie lower; 0: exact.
    after : Scenario
    """

    orders: tuple[Order, ...]
    bound: int
    after: Scenario

    @property
    def risk(self) -> Risk:
        """Risk after the fills."""
        return self.after.risk

    @property
    def liquidation_prices(self) -> Mapping[str, OraclePrice | str]:
        """Liquidation price of every position after the fills."""
        return self.after.liquidation_prices


@dataclass(frozen=True, slots=True)
class WorstCase:
    """The worst that open orders can do, by margin.

    Attributes
    ----------
    maintenance : Fills
        The fills that leave the smallest nc - mmr.
    initial : Fills
        The fills that leave the smallest nc - imr.
    all_filled : Fills
        Every order filled.
    assumes : tuple of str
    """

    maintenance: Fills
    initial: Fills
    all_filled: Fills
    assumes: tuple[str, ...]

    @property
    def maintenance_distance(self) -> int:
        """Smallest nc - mmr in quote quantums; less `maintenance.bound` it is below every subset's."""
        return self.maintenance.risk.distance

    @property
    def initial_distance(self) -> int:
        """Smallest nc - imr in quote quantums; less `initial.bound` it is below every subset's."""
        return self.initial.risk.nc - self.initial.risk.imr

    @property
    def is_never_liquidatable(self) -> bool:
        """Whether no subset of fills leaves the account liquidatable at today's prices."""
        return self.maintenance_distance - self.maintenance.bound >= 0


def worst_case(
    account: Subaccount, open_orders: Iterable[Order], *, fee_tier: FeeTier | str | None = None
) -> WorstCase:
    """Find the worst fills; `Subaccount.worst_case` is this."""
    orders = _checked_orders(account, open_orders)
    now = Scenario.now(account, [order.order.ticker for order in orders])
    tier = fee_tier_of(account.chain, fee_tier) if orders else None
    fills = [resting_order_fill(order, tier) for order in orders if tier is not None]
    worst = {
        is_initial: _filled(now, orders, fills, *_worst_places(now, orders, fills, is_initial))
        for is_initial in (False, True)
    }
    assumes = [
        "each order fills in full or not at all, at its limit price, as a maker",
        "oracle prices, funding indices and open interest stay",
    ]
    if tier is not None:
        assumes.append(f"fee tier {tier.name}, no discounts")
    every = _filled(now, orders, fills, range(len(orders)), 0)
    return WorstCase(worst[False], worst[True], every, tuple(assumes))


def _checked_orders(account: Subaccount, open_orders: object) -> list[PlacedOrder]:
    """Return orders that can rest on the book beside each other and beside the positions."""
    if isinstance(open_orders, str | bytes) or not isinstance(open_orders, Iterable):
        raise InputError("open_orders", open_orders, "an iterable of Order")
    placed = []
    for place, order in enumerate(open_orders):
        argument = f"open_orders[{place}]"
        if not isinstance(order, Order):
            raise InputError(argument, order, "an Order")
        if order.immediate_or_cancel:
            raise InputError(argument, order, "an order that rests on the book")
        one = order.in_market(account.chain[order.ticker])
        refused = one.refused()
        if refused is not None:
            raise InputError(
                argument, order, f"an order that the chain takes: {refused.name}, {refused.reason}"
            )
        placed.append(one)
    markets = {one.market.ticker: one.market for one in placed}
    markets |= {ticker: position.market for ticker, position in account.positions.items()}
    isolated = [ticker for ticker, market in markets.items() if market.is_isolated]
    if placed and isolated and len(markets) > 1:
        allowed = f"{isolated[0]} alone: the chain lets an isolated market fill beside no other"
        raise InputError("open_orders", sorted(markets), allowed)
    return placed


def resting_order_fill(placed: PlacedOrder, tier: FeeTier) -> whatif.Fill:
    """Return the match of a resting order in full, at its limit price."""
    return whatif.matched_fill(
        placed.market.perpetual,
        placed.order.is_buy,
        placed.base_quantums,
        placed.subticks,
        tier.maker_fee_ppm,
        placed.order.builder_fee_ppm or 0,
    )


def _worst_places(
    now: Scenario, orders: Sequence[PlacedOrder], fills: Sequence[whatif.Fill], is_initial: bool
) -> tuple[list[int], int]:
    """Return the places of the worst fills, market by market, and the sum of the bounds."""
    places: list[int] = []
    bound = 0
    for perpetual_id in {order.market.perpetual_id for order in orders}:
        own = [place for place, order in enumerate(orders) if order.market.perpetual_id == perpetual_id]
        margin = Margin(now.perpetuals[perpetual_id], now.state.leverage.get(perpetual_id, 0), is_initial)
        found = worst_fills(margin, now.quantums(perpetual_id), [fills[place] for place in own])
        places += [own[place] for place in found.filled]
        bound += found.bound
    return sorted(places), bound


def _filled(
    now: Scenario,
    orders: Sequence[PlacedOrder],
    fills: Sequence[whatif.Fill],
    places: Iterable[int],
    bound: int,
) -> Fills:
    """Return the account after some of the fills."""
    indices = {number: perpetual.funding_index for number, perpetual in now.perpetuals.items()}
    state = settle_subaccount(indices, now.state).subaccount
    chosen = list(places)
    for place in chosen:
        update = whatif.fill_update(orders[place].market.perpetual_id, fills[place])
        state = apply_update(now.perpetuals, state, update)
    return Fills(tuple(orders[place].order for place in chosen), bound, now.with_state(state))
