"""Liquidation price of a position, found by evaluating the whole account.

Ours, not the chain's. Other prices are held, funding is settled at the current index. For a long the highest
oracle price integer at which the chain calls the account liquidatable, for a short the lowest; NEVER when
there is none, ALWAYS when it is the last price integer on that side. The domain is 1 to 2**64 - 1.

Value and margin of a position are monotonic in its price, so bisection over the price finds the boundary.
This model knows no closed form: it is what the kernel's closed form is tested against.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from dydx_perf.exact.arith import MAX_UINT64
from dydx_perf.exact.margin import is_liquidatable, subaccount_risk
from dydx_perf.exact.state import Perpetual, RiskState, SubaccountState

NEVER = "NEVER"
ALWAYS = "ALWAYS"
LOWEST_PRICE, HIGHEST_PRICE = 1, MAX_UINT64


def risk_at_price(
    perpetuals: Mapping[int, Perpetual], subaccount: SubaccountState, perpetual_id: int, price: int
) -> RiskState:
    """Risk of the account with another price of one perpetual."""
    moved = {**perpetuals, perpetual_id: replace(perpetuals[perpetual_id], price=price)}
    return subaccount_risk(moved, subaccount)


def first_price(holds: Callable[[int], bool]) -> int:
    """Lowest price of the domain from which on `holds` is true; HIGHEST_PRICE + 1 if it never is."""
    low, high = LOWEST_PRICE, HIGHEST_PRICE + 1
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def liquidation_price(
    perpetuals: Mapping[int, Perpetual], subaccount: SubaccountState, perpetual_id: int
) -> int | str:
    """The price integer, NEVER or ALWAYS, of a position that is not zero."""
    size = sum(p.quantums for p in subaccount.perpetual_positions if p.perpetual_id == perpetual_id)

    def risk(price: int) -> RiskState:
        return risk_at_price(perpetuals, subaccount, perpetual_id, price)

    def covered(price: int) -> bool:
        at = risk(price)
        return at.mmr <= at.nc

    if size > 0:
        # What a long loses is margin, so from some price on the account is covered.
        highest = first_price(covered) - 1
        if highest < LOWEST_PRICE or not is_liquidatable(risk(highest)):
            return NEVER
        return ALWAYS if highest == HIGHEST_PRICE else highest
    lowest = first_price(lambda price: is_liquidatable(risk(price)))
    if lowest > HIGHEST_PRICE:
        return NEVER
    return ALWAYS if lowest == LOWEST_PRICE else lowest
