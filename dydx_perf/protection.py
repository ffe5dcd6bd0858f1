"""What protects a position or an account, as messages for the user's signer.

A stop-loss and a take-profit close the whole position with reduce-only orders that fill at once or not at
all; a stop is refused where the liquidation would come first. `close_position` does it now, `rescue_deposit`
pays in the least that saves the account. Everything is checked as in `dydx_perf.messages`.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Unpack

from dydx_perf.errors import InputError
from dydx_perf.kernel import OraclePrice
from dydx_perf.market import Amount, checked_integer
from dydx_perf.messages import UnsignedMessage, deposit, place_order
from dydx_perf.order import Order
from dydx_perf.position import checked_decimal
from dydx_perf.preview import PreviewOptions
from dydx_perf.rescue import NOT_LIQUIDATABLE, Level
from dydx_perf.units import base_quantums_to_size, subticks_to_price

if TYPE_CHECKING:
    from decimal import Decimal

    from dydx_perf.market import Market
    from dydx_perf.subaccount import Subaccount

__all__ = ["close_position", "protect", "protective_price", "rescue_deposit"]

ONE_MILLION = 1_000_000
#: how much worse than its trigger a protective order may fill by default
SLIPPAGE_PPM = 50_000


def protective_price(
    market: Market, price: Amount, is_buy: bool, slippage_ppm: int = SLIPPAGE_PPM
) -> Decimal:
    """Return the limit price of an order that has to fill: so much worse than `price`, at least one tick.

    ``price * (1 - slippage)`` rounded down to the tick for an order that sells, ``price * (1 + slippage)``
    rounded up for one that buys.
    """
    checked_integer("slippage_ppm", slippage_ppm, 0, ONE_MILLION - 1)
    tick = Fraction(market.tick_size)
    share = Fraction(ONE_MILLION + (slippage_ppm if is_buy else -slippage_ppm), ONE_MILLION)
    ticks = Fraction(checked_decimal("price", price)) * share / tick
    count = max(
        -(-ticks.numerator // ticks.denominator) if is_buy else ticks.numerator // ticks.denominator, 1
    )
    pair = market.clob_pair
    return subticks_to_price(
        count * pair.subticks_per_tick, market.atomic_resolution, pair.quantum_conversion_exponent
    )


def _closing_order(
    account: Subaccount, ticker: str, price: Amount, limit_price: Amount | None, slippage_ppm: int
) -> Order:
    """Return the order that closes all of a position that its step allows to close.

    It is previewed as filling at `price`, on the tick, or at its limit where that is better: the limit is
    only so bad in order to fill.
    """
    market = account.chain[ticker]
    position = account.positions.get(market.ticker)
    step = market.clob_pair.step_base_quantums
    quantums = 0 if position is None else position.quantums
    size = abs(quantums) // step * step
    if size == 0:
        raise InputError("ticker", ticker, "a market in which the account holds at least one step")
    is_buy = quantums < 0
    expected = protective_price(market, price, is_buy, 0)
    if limit_price is None:
        limit = protective_price(market, price, is_buy, slippage_ppm)
    else:
        limit = checked_decimal("limit_price", limit_price)
    return Order(
        market.ticker,
        is_buy,
        size=base_quantums_to_size(size, market.atomic_resolution),
        limit_price=limit,
        reduce_only=True,
        immediate_or_cancel=True,
        fill_price=min(expected, limit) if is_buy else max(expected, limit),
    )


def close_position(
    account: Subaccount,
    ticker: str,
    *,
    client_id: int,
    good_til_block: int,
    height: int | None = None,
    limit_price: Amount | None = None,
    slippage_ppm: int = SLIPPAGE_PPM,
    **options: Unpack[PreviewOptions],
) -> UnsignedMessage:
    """Build the short-term order that closes a position now, by default near the oracle price.

    Raises
    ------
    InputError, UnknownMarketError, ImportError
    """
    price = account.chain[ticker].oracle_price.decimal
    order = _closing_order(account, ticker, price, limit_price, slippage_ppm)
    return place_order(
        account, order, client_id=client_id, good_til_block=good_til_block, height=height, **options
    )


def protect(
    account: Subaccount,
    ticker: str,
    trigger_price: Amount,
    *,
    client_id: int,
    time: int,
    good_til_time: int,
    take_profit_price: Amount | None = None,
    limit_price: Amount | None = None,
    slippage_ppm: int = SLIPPAGE_PPM,
    **options: Unpack[PreviewOptions],
) -> list[UnsignedMessage]:
    """Build a stop-loss that closes the position, and with a `take_profit_price` its counterpart.

    Parameters
    ----------
    account : Subaccount
    ticker : str
    trigger_price : str, int or Decimal
        Oracle price of the stop: between the liquidation price and the price of now.
    client_id : int
        Of the stop; the take-profit has the next one.
    time, good_til_time : int
        Unix seconds of the last block, and of the orders' end.
    take_profit_price : str, int or Decimal, optional
        Oracle price on the other side.
    limit_price : str, int or Decimal, optional
        Of the stop; by default `slippage_ppm` worse than its trigger. The preview supposes a fill at the
        trigger.
    slippage_ppm : int
    **options
        Of the preview; `open_stateful_orders` is needed.

    Raises
    ------
    InputError
        Also for a stop that the liquidation comes before.
    UnknownMarketError, ImportError
    """
    stop = _closing_order(account, ticker, trigger_price, limit_price, slippage_ppm)
    _check_before_liquidation(account, stop, trigger_price)
    until: dict[str, Any] = {"time": time, "good_til_time": good_til_time}
    built = [place_order(account, stop, client_id=client_id, trigger_price=trigger_price, **until, **options)]
    if take_profit_price is not None:
        opened = options.get("open_stateful_orders")
        if opened is not None:
            options["open_stateful_orders"] = opened + 1
        built.append(
            place_order(
                account,
                _closing_order(account, ticker, take_profit_price, None, slippage_ppm),
                client_id=client_id + 1,
                trigger_price=take_profit_price,
                condition="take-profit",
                **until,
                **options,
            )
        )
    return built


def _check_before_liquidation(account: Subaccount, stop: Order, trigger_price: Amount) -> None:
    """Refuse a stop whose trigger the price reaches only when the account is liquidatable."""
    trigger = checked_decimal("trigger_price", trigger_price)
    if account.risk.is_liquidatable:
        raise InputError("account", account, "one that is not liquidatable yet: close or pay in")
    price = account.liquidation_prices[stop.ticker]
    if isinstance(price, OraclePrice):
        late = trigger >= price.decimal if stop.is_buy else trigger <= price.decimal
        if late:
            side = "below" if stop.is_buy else "above"
            raise InputError(
                "trigger_price", trigger_price, f"{side} the liquidation price, {price.decimal:f}"
            )


def rescue_deposit(
    account: Subaccount, *, sender: str, level: Level = NOT_LIQUIDATABLE
) -> UnsignedMessage | None:
    """Build the smallest deposit that brings the account to a level; None where nothing is needed.

    Raises
    ------
    InputError, ImportError
    """
    found = account.rescue(level)
    return deposit(account, found.deposit, sender=sender) if found.is_needed else None
