"""How the indexer books position rows from subaccount updates and fills, and the true result beside it.

For each match the chain emits the subaccount update first and the fill second, and the indexer books them in
that order: `book_update`, then `book_fill`. On a flip the whole fill goes to the new row, so that the closed
row never learns of its last part; `replay_fills` tells what really happened. Sizes in coins, prices and
amounts in USDC, fees positive when paid. Nothing here changes its arguments.

Source: the indexer's ``dydx_subaccount_update_handler``,
``dydx_order_fill_handler_per_order``, ``dydx_update_perpetual_position_aggregate_fields`` and
``dydx_apply_fill_realized_effects``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

from dydx_perf.errors import InputError
from dydx_perf.exact.decimals import ZERO, add, multiply, subtract, weighted_mean_numeric
from dydx_perf.exact.indexer import LONG, SHORT, Side

OrderSide = Literal["BUY", "SELL"]
Status = Literal["OPEN", "CLOSED"]
MatchKind = Literal["ORDER", "LIQUIDATION", "DELEVERAGING"]
BUY: Final = "BUY"
SELL: Final = "SELL"
OPEN: Final = "OPEN"
CLOSED: Final = "CLOSED"
ORDER: Final = "ORDER"
LIQUIDATION: Final = "LIQUIDATION"
DELEVERAGING: Final = "DELEVERAGING"


@dataclass(frozen=True, slots=True)
class PositionUpdate:
    """A position in a subaccount update event: its new size, and the funding settled with it."""

    market: str
    size: Decimal  # signed, after the update
    funding: Decimal  # received with this update; negative when paid
    event: int  # order of the event, growing


@dataclass(frozen=True, slots=True)
class Fill:
    """One side of a match."""

    market: str
    side: OrderSide
    size: Decimal  # greater than 0
    price: Decimal
    fee: Decimal = ZERO  # paid; negative for a rebate
    kind: MatchKind = ORDER  # of the match: both sides of a liquidation match are LIQUIDATION

    def __post_init__(self) -> None:
        if self.side not in (BUY, SELL):
            raise InputError("side", self.side, f"{BUY} or {SELL}")
        if not self.size > 0:
            raise InputError("size", self.size, "greater than 0; the side carries the sign")

    @property
    def quote(self) -> Decimal:
        """`size * price`, exact."""
        return multiply(self.size, self.price)


@dataclass(frozen=True, slots=True)
class PositionRow:
    """A row of the indexer's perpetual positions: one position from its opening to zero or flip."""

    market: str
    side: Side
    status: Status
    size: Decimal  # signed; 0 when closed
    max_size: Decimal  # greatest signed size: for a short the one nearest to zero
    entry_price: Decimal  # 0 until the first fill is booked
    exit_price: Decimal | None
    sum_open: Decimal
    sum_close: Decimal
    realized_pnl: Decimal  # of REST and snapshots: fees in it, funding not
    settled_funding: Decimal  # received
    open_event: int


@dataclass(frozen=True, slots=True)
class BookedFill:
    """A fill with the fields the indexer takes from the row just before it books the fill.

    That is after the same match's position update: on a flip 0, None and the new side, not the position
    before the trade. All None for deleveraging.
    """

    fill: Fill
    position_size_before: Decimal | None
    entry_price_before: Decimal | None
    position_side_before: Side | None


Rows = tuple[PositionRow, ...]


def side_of(size: Decimal) -> Side:
    """Return LONG for a size above 0, SHORT for any other, as the indexer decides it."""
    return LONG if size > 0 else SHORT


def increases(row: PositionRow, fill: Fill) -> bool:
    """Tell whether a fill is on the row's own side."""
    return (row.side == LONG) == (fill.side == BUY)


def newest_row(rows: Rows, market: str) -> PositionRow | None:
    """Return the market's newest row by opening event, open or closed."""
    return max((row for row in rows if row.market == market), key=lambda row: row.open_event, default=None)


def open_row(rows: Rows, market: str) -> PositionRow | None:
    """Return the market's open row."""
    return next((row for row in rows if row.market == market and row.status == OPEN), None)


def opened_row(update: PositionUpdate, funding: Decimal) -> PositionRow:
    """Return a row as an update opens it: sums and entry price 0 until its fill is booked."""
    return PositionRow(
        market=update.market,
        side=side_of(update.size),
        status=OPEN,
        size=update.size,
        max_size=update.size,
        entry_price=ZERO,
        exit_price=None,
        sum_open=ZERO,
        sum_close=ZERO,
        realized_pnl=ZERO,
        settled_funding=funding,
        open_event=update.event,
    )


def book_update(rows: Rows, update: PositionUpdate) -> Rows:
    """Book a subaccount update: size 0 or the other side closes the row, the other side opens a new one.

    The closed row keeps its sums, prices and realized PnL; all funding of the update goes to it. A new row
    starts with the update's size and nothing else.
    """
    row = open_row(rows, update.market)
    if row is None:
        if update.size.is_zero():
            raise InputError("update.size", update.size, "not 0 where no position of the market is open")
        return (*rows, opened_row(update, update.funding))
    funding = add(row.settled_funding, update.funding)
    if not update.size.is_zero() and side_of(update.size) == row.side:
        max_size = max(row.max_size, update.size)
        return _put(rows, row, replace(row, size=update.size, max_size=max_size, settled_funding=funding))
    rows = _put(rows, row, replace(row, status=CLOSED, size=ZERO, settled_funding=funding))
    return rows if update.size.is_zero() else (*rows, opened_row(update, ZERO))


def book_fill(rows: Rows, fill: Fill) -> tuple[Rows, BookedFill]:
    """Book a fill, whole, to the market's newest row, open or closed; give what is stored with it."""
    row = newest_row(rows, fill.market)
    if row is None:
        raise InputError("fill.market", fill.market, "a market with a position row: book the update first")
    return _put(rows, row, booked_row(row, fill)), booked_fill(row, fill)


def booked_fill(row: PositionRow, fill: Fill) -> BookedFill:
    """Return the fill with `sum_open - sum_close`, entry price (None for 0) and side of the row before it."""
    if fill.kind == DELEVERAGING:
        return BookedFill(fill, None, None, None)
    entry_price = None if row.entry_price.is_zero() else row.entry_price
    return BookedFill(fill, subtract(row.sum_open, row.sum_close), entry_price, row.side)


def booked_row(row: PositionRow, fill: Fill) -> PositionRow:
    """Return the row after a fill: one sum grown by the whole fill, its price averaged, PnL realized."""
    realized_pnl = add(row.realized_pnl, rest_realized_pnl_change(row, fill))
    if increases(row, fill):
        entry_price = weighted_mean_numeric(row.entry_price, row.sum_open, fill.price, fill.size)
        sum_open = add(row.sum_open, fill.size)
        return replace(row, sum_open=sum_open, entry_price=entry_price, realized_pnl=realized_pnl)
    exit_price = weighted_mean_numeric(row.exit_price, row.sum_close, fill.price, fill.size)
    sum_close = add(row.sum_close, fill.size)
    return replace(row, sum_close=sum_close, exit_price=exit_price, realized_pnl=realized_pnl)


def rest_realized_pnl_change(row: PositionRow, fill: Fill) -> Decimal:
    """Return what a fill adds to REST's `realizedPnl`: `side * (price - entry) * min(fill, before) - fee`.

    Exact. The first part only for a fill against the row's side, with the row's entry price and
    `sum_open - sum_close` before the fill; nothing at all, not even the fee, for either side of a liquidation
    or deleveraging match.
    """
    if fill.kind != ORDER:
        return ZERO
    size_before = subtract(row.sum_open, row.sum_close)
    if size_before.is_zero() or increases(row, fill):
        return fill.fee.copy_negate()
    gain = multiply(min(fill.size, size_before), subtract(fill.price, row.entry_price))
    return subtract(gain if row.side == LONG else gain.copy_negate(), fill.fee)


def websocket_realized_pnl(row: PositionRow) -> Decimal:
    """Return `realizedPnl` of WebSocket updates: `side * (exit - entry) * sum_close + settled_funding`.

    Exact. Funding in it, fees not: the opposite of REST. Snapshots before October 2025 hold this one, too,
    with their `netFunding`.
    """
    if row.exit_price is None:
        return row.settled_funding
    gain = multiply(subtract(row.exit_price, row.entry_price), row.sum_close)
    return add(gain if row.side == LONG else gain.copy_negate(), row.settled_funding)


def _put(rows: Rows, old: PositionRow, new: PositionRow) -> Rows:
    """Return the rows with one of them exchanged."""
    return tuple(new if row is old else row for row in rows)


# --- what really happened ---


@dataclass(frozen=True, slots=True)
class Life:
    """One position of a market, from zero or a flip to zero or a flip, as the fills alone tell it.

    Sums are exact; a fee is split by size where a fill flips the position, which a decimal may not hold,
    hence fractions. Funding is in none of these figures.
    """

    side: Side
    sum_open: Decimal
    open_quote: Decimal  # sum of size * price of what opened or increased
    sum_close: Decimal
    close_quote: Decimal
    fees: Fraction  # paid

    @property
    def size(self) -> Decimal:
        """What is left, signed; 0 when closed."""
        left = subtract(self.sum_open, self.sum_close)
        return left if self.side == LONG else left.copy_negate()

    @property
    def entry_price(self) -> Fraction:
        """Mean price of all that increased the position, exact: what the indexer's `entryPrice` means."""
        return Fraction(self.open_quote) / Fraction(self.sum_open)

    @property
    def exit_price(self) -> Fraction | None:
        """Mean price of everything that reduced it, exact; None before the first."""
        return Fraction(self.close_quote) / Fraction(self.sum_close) if self.sum_close else None

    @property
    def realized_pnl(self) -> Fraction:
        """`side * (exit - entry) * sum_close - fees`, exact; fees of what is still open included."""
        gain = Fraction(self.close_quote) - self.entry_price * Fraction(self.sum_close)
        return (gain if self.side == LONG else -gain) - self.fees


@dataclass(frozen=True, slots=True)
class Replay:
    """All positions of one market, oldest first, and the cash its fills left behind."""

    lives: tuple[Life, ...] = ()
    cash: Decimal = ZERO  # received for sales, less paid for purchases, less fees

    @property
    def size(self) -> Decimal:
        """The position now, signed."""
        return self.lives[-1].size if self.lives else ZERO

    @property
    def realized_pnl(self) -> Fraction:
        """Sum over all lives, fees included, funding not."""
        return sum((life.realized_pnl for life in self.lives), Fraction(0))

    def total_pnl(self, oracle_price: Decimal) -> Decimal:
        """Cash and what the position is worth at this price, exact; funding payments come on top."""
        return add(self.cash, multiply(self.size, oracle_price))


def replay_fills(fills: Iterable[Fill]) -> Replay:
    """Rebuild one market's positions from its fills alone, in event order, starting from no position.

    A fill that crosses zero is split: the part that closes goes to the old position, the rest opens the new
    one, the fee by size. The indexer's rows differ from this in four ways:

    1. The row closed by a flip lacks the closing part: its `sum_close`, `exit_price` and PnL.
    2. The row opened by a flip has the closing part in `sum_open` and its fee in `realized_pnl`; from the
       next increase on its `entry_price` is averaged with that too large weight.
    3. PnL and fees of liquidation and deleveraging fills are in no row's `realized_pnl`.
    4. A reduction stays booked at the entry price of its time, although later increases move that price.

    Buy 1 at 100 (fee 0.05), sell 3 at 110 (0.165), buy 2 at 105 (0.105): the rows add up to 9.68, the lost
    closing part is 10, and the fills give 19.68.
    """
    lives: list[Life] = []
    cash = ZERO
    market = None
    for fill in fills:
        if market not in (None, fill.market):
            raise InputError("fills", fill.market, f"fills of one market; the first is of {market}")
        market = fill.market
        received = fill.quote if fill.side == SELL else fill.quote.copy_negate()
        cash = add(cash, received, fill.fee.copy_negate())
        lives[-1:] = lives_after(lives[-1] if lives else None, fill)
    return Replay(tuple(lives), cash)


def lives_after(life: Life | None, fill: Fill) -> tuple[Life, ...]:
    """Return the newest life after a fill, and behind it the one that the fill opened, if it did."""
    if life is None:
        return (opened_life(fill, fill.size),)
    if life.size.is_zero():
        return life, opened_life(fill, fill.size)
    if (life.side == LONG) == (fill.side == BUY):
        return (grown_life(life, fill),)
    closing = min(fill.size, life.size.copy_abs())
    opening = subtract(fill.size, closing)
    reduced = reduced_life(life, fill, closing)
    return (reduced,) if opening.is_zero() else (reduced, opened_life(fill, opening))


def grown_life(life: Life, fill: Fill) -> Life:
    """Return the life after a fill on its own side."""
    return replace(
        life,
        sum_open=add(life.sum_open, fill.size),
        open_quote=add(life.open_quote, fill.quote),
        fees=life.fees + Fraction(fill.fee),
    )


def reduced_life(life: Life, fill: Fill, closing: Decimal) -> Life:
    """Return the life after this much of a fill against it."""
    return replace(
        life,
        sum_close=add(life.sum_close, closing),
        close_quote=add(life.close_quote, multiply(closing, fill.price)),
        fees=life.fees + fee_share(fill, closing),
    )


def opened_life(fill: Fill, size: Decimal) -> Life:
    """Return a new position from this much of a fill."""
    side: Side = LONG if fill.side == BUY else SHORT
    return Life(side, size, multiply(size, fill.price), ZERO, ZERO, fee_share(fill, size))


def fee_share(fill: Fill, size: Decimal) -> Fraction:
    """Return the fee of this much of a fill, by size, exact."""
    return Fraction(fill.fee) * Fraction(size) / Fraction(fill.size)
