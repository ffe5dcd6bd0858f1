"""Figures of the indexer and of the web app: what people see, which is not what the chain decides by.

Arbitrary precision decimals in coins and USDC. Sums and products are exact, nothing is rounded to quantums;
`dydx_perf.exact.decimals` holds the few divisions. Signs: size > 0 long, < 0 short; USDC signed.

The indexer's own figures (no prefix) know neither open-interest scaling nor custom leverage, and contain no
division at all. The web app's (`webapp_`) know both, clamp equity and free collateral at 0, and divide half
up at 20 decimals. Neither says whether an account is liquidatable: that is `dydx_perf.exact.margin`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, Literal

from dydx_perf.exact.decimals import (
    EXACT,
    ONE,
    ZERO,
    add,
    divide_half_up_20,
    multiply,
    subtract,
    total,
    without_trailing_zeros,
)

Side = Literal["LONG", "SHORT"]
LONG: Final = "LONG"
SHORT: Final = "SHORT"
#: A funding index counts 10**-6 of a quote quantum (10**-6 USDC) for each base quantum.
FUNDING_INDEX_EXPONENT = -12
ONE_MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Holding:
    """An open position as the indexer's sums see it."""

    size: Decimal  # coins, signed
    oracle_price: Decimal  # USDC for one coin
    initial_margin_fraction: Decimal  # the tier's, not scaled by open interest

    @property
    def value(self) -> Decimal:
        """`size * oracle_price`, signed USDC, exact."""
        return multiply(self.size, self.oracle_price)

    @property
    def initial_margin(self) -> Decimal:
        """`|size| * oracle_price * initial_margin_fraction`, exact: never rounded up as the chain does."""
        return multiply(self.value.copy_abs(), self.initial_margin_fraction)


# --- funding ---


def human_funding_index(funding_index: int, atomic_resolution: int) -> Decimal:
    """Scale the chain's funding index to USDC for one coin: times `10**(-12 - atomic_resolution)`, exact."""
    return EXACT.scaleb(Decimal(funding_index), FUNDING_INDEX_EXPONENT - atomic_resolution)


def unsettled_funding(size: Decimal, settled_index: Decimal, latest_index: Decimal) -> Decimal:
    """Return what a position received since its settlement: `size * (settled_index - latest_index)`, exact.

    Parameters
    ----------
    size : Decimal
        Coins, signed.
    settled_index : Decimal
        Funding index, USDC for one coin, at the block of the subaccount's last update.
    latest_index : Decimal
        The newest funding index. A subaccount updated in the block of a funding tick counts as settled at the
        new index although the chain moves the index after that block's trades: one payment is then missing.
    """
    return multiply(size, subtract(settled_index, latest_index))


def net_funding(settled_funding: Decimal, unsettled: Decimal) -> Decimal:
    """Return what a position received so far, `netFunding` of REST and snapshots; negative when it paid."""
    return add(settled_funding, unsettled)


def usdc_shown(usdc: Decimal, unsettled: Iterable[Decimal]) -> Decimal:
    """Return the USDC the indexer shows: the stored balance and every position's unsettled funding, exact."""
    return add(usdc, total(unsettled))


def usdc_entry(shown: Decimal) -> tuple[Side, Decimal] | None:
    """Return side and absolute size of `assetPositions.USDC`; None, as there is no entry, for exactly 0."""
    if shown.is_zero():
        return None
    return (LONG if shown > 0 else SHORT), shown.copy_abs()


def signed_usdc(side: Side, size: Decimal) -> Decimal:
    """Return the signed balance of an `assetPositions.USDC` entry."""
    return size if side == LONG else size.copy_negate()


# --- account ---


def equity(usdc: Decimal, holdings: Iterable[Holding]) -> Decimal:
    """Return `usdc + sum(size * oracle_price)`, exact; `usdc` is the shown one, with unsettled funding."""
    return add(usdc, total(holding.value for holding in holdings))


def free_collateral(usdc: Decimal, holdings: Sequence[Holding]) -> Decimal:
    """Return `equity - sum(|size| * oracle_price * initial_margin_fraction)`, exact; may be negative.

    The base fraction only: it overstates what the chain allows when open interest has raised the fraction or
    the subaccount has chosen a leverage.
    """
    return subtract(equity(usdc, holdings), total(holding.initial_margin for holding in holdings))


def parent_sum(children: Iterable[Decimal]) -> Decimal:
    """Return a parent's `equity` or `freeCollateral`: the plain sum over itself and its children."""
    return total(children)


def maintenance_margin_fraction(initial_margin_fraction: Decimal, maintenance_fraction: Decimal) -> Decimal:
    """Return the indexer's `maintenanceMarginFraction`: the product, exact."""
    return multiply(initial_margin_fraction, maintenance_fraction)


# --- profit and loss ---


def unrealized_pnl(size: Decimal, oracle_price: Decimal, entry_price: Decimal) -> Decimal:
    """Return `size * (oracle_price - entry_price)`, exact; the entry price is rounded when it is booked."""
    return multiply(size, subtract(oracle_price, entry_price))


def total_pnl(unrealized: Decimal, realized: Decimal, funding: Decimal) -> Decimal:
    """Return what a position has made: unrealized + realized + funding, with all fees, once.

    Parameters
    ----------
    unrealized : Decimal
        `unrealizedPnl`: no fee, no funding in it.
    realized : Decimal
        `realizedPnl` of REST or of the WebSocket's first message, for a position opened since October 2025:
        the fees of all its fills are in it, once, and no funding. Not the `realizedPnl` of WebSocket updates
        (nor of any answer before October 2025): that one holds the funding already and no fees.
    funding : Decimal
        `netFunding`, which neither of the other two contains.

    Notes
    -----
    This is the library's definition; the indexer has no such field. It equals the true result, up to the
    rounding of the entry price, while the position was neither opened nor closed by a flip, had no fill of a
    liquidation or deleveraging, and was never increased after a reduction. After such an increase the
    realized part stays booked at the older entry price while the rest is marked at the newer one: the sum is
    `side * sum(closed_i * (entry_now - entry_i))` too high. The exact result comes from the fills:
    `dydx_perf.exact.ledger.replay_fills`.
    """
    return add(unrealized, realized, funding)


# --- the web app's figures ---


@dataclass(frozen=True, slots=True)
class WebappHolding:
    """An open position as the web app's sums see it."""

    size: Decimal  # coins, signed
    oracle_price: Decimal  # USDC for one coin
    selected_imf: Decimal  # of `webapp_selected_imf`
    maintenance_margin_fraction: Decimal  # as the indexer gives it

    @property
    def value(self) -> Decimal:
        """`size * oracle_price`, signed USDC, exact."""
        return multiply(self.size, self.oracle_price)

    @property
    def notional(self) -> Decimal:
        """`|size| * oracle_price`, exact."""
        return self.value.copy_abs()

    @property
    def initial_risk(self) -> Decimal:
        """`notional * selected_imf`, exact."""
        return multiply(self.notional, self.selected_imf)

    @property
    def maintenance_risk(self) -> Decimal:
        """`notional * maintenance_margin_fraction`, exact."""
        return multiply(self.notional, self.maintenance_margin_fraction)


@dataclass(frozen=True, slots=True)
class WebappAccount:
    """The web app's figures of one subaccount; a ratio is None when the equity is 0."""

    equity: Decimal  # never negative
    raw_free_collateral: Decimal
    free_collateral: Decimal  # never negative
    maintenance_risk: Decimal
    leverage: Decimal | None
    margin_usage: Decimal | None


def webapp_ratio(dividend: Decimal, divisor: Decimal) -> Decimal | None:
    """Divide half up at 20 decimals; None for a divisor of 0."""
    return None if divisor.is_zero() else without_trailing_zeros(divide_half_up_20(dividend, divisor))


def webapp_effective_imf(
    base_imf: Decimal,
    oracle_price: Decimal | None = None,
    open_interest: Decimal | None = None,
    lower_cap: Decimal | None = None,
    upper_cap: Decimal | None = None,
) -> Decimal:
    """Scale the initial margin fraction by open interest; the quotient is half up at 20 decimals.

    `min(base + max(k * (1 - base), 0), 1)` with `k = (open_interest * oracle_price - lower) / (upper -
    lower)`; the base when one of the four is missing or the caps are equal. Open interest in coins, caps in
    USDC.
    """
    if oracle_price is None or open_interest is None or lower_cap is None or upper_cap is None:
        return base_imf
    above_lower = subtract(multiply(open_interest, oracle_price), lower_cap)
    scale = webapp_ratio(above_lower, subtract(upper_cap, lower_cap))
    if scale is None:
        return base_imf
    return min(add(base_imf, max(multiply(scale, subtract(ONE, base_imf)), ZERO)), ONE)


def webapp_selected_leverage(custom_imf_ppm: int, base_imf: Decimal) -> Decimal:
    """Return `1e6 / custom_imf_ppm` when set, else `1 / base_imf`, else 1; half up at 20 decimals.

    The app holds this one figure as a JavaScript double, so that its last digits may differ; give the app's
    own number to `webapp_selected_imf` to follow it to the last digit. It asks for the parent's setting and
    applies it to every child; on the chain each subaccount has its own.
    """
    if custom_imf_ppm:
        return divide_half_up_20(ONE_MILLION, Decimal(custom_imf_ppm))
    return webapp_ratio(ONE, base_imf) or ONE


def webapp_selected_imf(selected_leverage: Decimal, effective_imf: Decimal) -> Decimal:
    """Return `max(1 / selected_leverage, effective_imf)`; the quotient is half up at 20 decimals."""
    return max(divide_half_up_20(ONE, selected_leverage), effective_imf)


def webapp_account(usdc: Decimal, holdings: Sequence[WebappHolding]) -> WebappAccount:
    """Return equity `max(usdc + sum(value), 0)` and what the app derives from it.

    Free collateral `max(equity - sum(initial_risk), 0)` from the clamped equity; leverage `sum(notional) /
    equity` and margin usage `1 - free_collateral / equity`, both quotients half up at 20 decimals. `usdc` as
    last received: with unsettled funding from a snapshot, raw after any update of the asset.
    """
    clamped = max(add(usdc, total(holding.value for holding in holdings)), ZERO)
    raw_free_collateral = subtract(clamped, total(holding.initial_risk for holding in holdings))
    unused = max(raw_free_collateral, ZERO)
    unused_share = webapp_ratio(unused, clamped)
    return WebappAccount(
        equity=clamped,
        raw_free_collateral=raw_free_collateral,
        free_collateral=unused,
        maintenance_risk=total(holding.maintenance_risk for holding in holdings),
        leverage=webapp_ratio(total(holding.notional for holding in holdings), clamped),
        margin_usage=None if unused_share is None else subtract(ONE, unused_share),
    )


def webapp_parent_account(parent: WebappAccount, children: Iterable[WebappAccount]) -> WebappAccount:
    """Return the portfolio view: the sum of all clamped equities, every other figure the parent's own."""
    return replace(parent, equity=add(parent.equity, total(child.equity for child in children)))


def webapp_position_leverage(holding: WebappHolding, account: WebappAccount) -> Decimal | None:
    """Return `notional / equity` of the position's subaccount, half up at 20 decimals; None for no equity."""
    return webapp_ratio(holding.notional, account.equity)


def webapp_max_leverage(effective_imf: Decimal) -> Decimal | None:
    """Return `1 / effective_imf`, half up at 20 decimals; None for 0."""
    return webapp_ratio(ONE, effective_imf)


def webapp_position_margin(holding: WebappHolding, account: WebappAccount, is_cross: bool) -> Decimal:
    """Return the margin shown of a position: its initial risk; the whole equity when isolated."""
    return holding.initial_risk if is_cross else account.equity


def webapp_unrealized_pnl_percent(
    size: Decimal, oracle_price: Decimal, entry_price: Decimal, selected_leverage: Decimal
) -> Decimal | None:
    """Return `unrealized pnl / (|size * entry_price| / max(|selected_leverage|, 1))`; None without a cost.

    A fraction, not a percentage. Two quotients, each half up at 20 decimals; the leverage is the selected
    one.
    """
    cost = multiply(size, entry_price).copy_abs()
    margin = divide_half_up_20(cost, max(selected_leverage.copy_abs(), ONE))
    return webapp_ratio(unrealized_pnl(size, oracle_price, entry_price), margin)


def webapp_buying_power(
    parent_free_collateral: Decimal, effective_imf: Decimal | None, base_imf: Decimal | None = None
) -> Decimal:
    """Return `free collateral * (1 / effective_imf)`, else with the base fraction, else times 1.

    A fraction of 0 counts as missing. The quotient is half up at 20 decimals before it is multiplied.
    """
    for fraction in (effective_imf, base_imf):
        multiple = None if fraction is None else webapp_max_leverage(fraction)
        if multiple is not None:
            return multiply(parent_free_collateral, multiple)
    return parent_free_collateral


def webapp_liquidation_price(
    holding: WebappHolding, account_equity: Decimal, other_maintenance_risk: Decimal
) -> Decimal | None:
    """Return `(other + size * price - equity) / (size - |size| * mmf)`, half up at 20 decimals.

    Not the chain's liquidation price: it supposes that every other price stays and nothing is rounded. The
    app gives it the clamped equity, so that for an account under water it is `price / (1 - mmf)` for a long
    alone; a client should give the true equity.

    Parameters
    ----------
    holding : WebappHolding
        The position asked about.
    account_equity : Decimal
        Of the position's own subaccount.
    other_maintenance_risk : Decimal
        Sum over the subaccount's other positions; 0 for an isolated one.

    Returns
    -------
    Decimal or None
        None when the divisor is 0 or the quotient is negative; exactly 0 is a price.
    """
    dividend = subtract(add(other_maintenance_risk, holding.value), account_equity)
    own = multiply(holding.size.copy_abs(), holding.maintenance_margin_fraction)
    price = webapp_ratio(dividend, subtract(holding.size, own))
    return None if price is None or price < 0 else price
