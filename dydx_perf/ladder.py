"""Liquidation ladder of a market: what is liquidated at which oracle price, the other prices held.

With everything else as it is, an account that holds the market is liquidatable at the prices of one interval:
a long from the first price at which it has a maintenance margin up to its liquidation price, a short from its
liquidation price on. A ladder adds these holders up at any prices, exactly: funding settled, every position
valued and rounded as the chain does. It says what the chain *calls* liquidatable at a price; what a block
then trades is limited, see `dydx_perf.next_block`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from dydx_perf.exact.liquidation_price import (
    HIGHEST_PRICE,
    NEVER,
    first_price,
    liquidation_price,
    risk_at_price,
)
from dydx_perf.exact.margin import notional
from dydx_perf.ext.ladder import count_holders, market_holders, sum_at_price
from dydx_perf.ext.scenarios import outside_slots
from dydx_perf.kernel import BASES
from dydx_perf.market import UINT64_MAX, checked_integer
from dydx_perf.plain_accounts import (
    account_slots,
    account_state,
    checked_book,
    held_still,
    indexed_store,
    weakest_source,
)
from dydx_perf.units import base_quantums_to_size, price_integer_to_price, quote_quantums_to_usdc

if TYPE_CHECKING:
    from decimal import Decimal

    from dydx_perf.book import Book
    from dydx_perf.exact.state import Perpetual
    from dydx_perf.market import Market

__all__ = ["LadderStep", "LiquidationLadder", "LiquidationLevel", "liquidation_ladder", "liquidation_levels"]

PERMILLE = 1000
NO_PRICE, PRICES, PLAIN = range(3)  # kinds of the kernel: at none, at an interval, plain integers must tell


class LadderStep(NamedTuple):
    """What is liquidatable when the oracle price is `price`.

    Attributes
    ----------
    price : int
        Price integer.
    long_accounts, short_accounts : int
    long_quantums, short_quantums : int
        Base quantums of their positions in this market, without sign.
    long_notional, short_notional : int
        Quote quantums: each position valued at this price, toward zero, then added up.
    """

    price: int
    long_accounts: int
    long_quantums: int
    long_notional: int
    short_accounts: int
    short_quantums: int
    short_notional: int


class LiquidationLevel(NamedTuple):
    """One holder and the prices at which it is liquidatable, both included; None: at no price.

    `first_price` and `last_price` are price integers of 1 to 2**64 - 1. For a long `last_price` is its
    liquidation price, for a short `first_price`.
    """

    address: str
    number: int
    quantums: int
    first_price: int | None
    last_price: int | None


@dataclass(frozen=True, slots=True)
class LiquidationLadder:
    """Sums over the holders of a market, by price.

    Attributes
    ----------
    market : str
        Its ticker.
    oracle_price : int
        Price integer of now.
    price_exponent, atomic_resolution : int
        Of the market, for `in_units`.
    steps : tuple of LadderStep
        In the order in which the prices were asked for.
    height : int or None
        Block of the oldest input.
    basis : str
        Of the weakest input. The prices of the steps are the caller's suppositions.
    """

    market: str
    oracle_price: int
    price_exponent: int
    atomic_resolution: int
    steps: tuple[LadderStep, ...]
    height: int | None
    basis: str

    def __iter__(self) -> Iterator[LadderStep]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def in_units(self) -> list[dict[str, Decimal | int]]:
        """Return the steps in coins and USDC, exact."""
        return [
            {
                "price": price_integer_to_price(step.price, self.price_exponent),
                "long_accounts": step.long_accounts,
                "long_size": base_quantums_to_size(step.long_quantums, self.atomic_resolution),
                "long_notional": quote_quantums_to_usdc(step.long_notional),
                "short_accounts": step.short_accounts,
                "short_size": base_quantums_to_size(step.short_quantums, self.atomic_resolution),
                "short_notional": quote_quantums_to_usdc(step.short_notional),
            }
            for step in self.steps
        ]


@dataclass(frozen=True, slots=True)
class Holders:
    """Holders of a market: columns from the kernel, and (slot, quantums, first, last) in plain integers."""

    slot: Any
    quantums: Any
    kind: Any
    first: Any
    last: Any
    plain: list[tuple[int, int, int, int]]  # last 0: at no price


def ladder_prices(market: Market, steps: int, reach_permille: int) -> list[int]:
    """Return price integers evenly from the oracle price less `reach` to it plus `reach`, ascending."""
    now = market.perpetual.price
    lowest = max(1, now * (PERMILLE - reach_permille) // PERMILLE)
    highest = min(UINT64_MAX, now * (PERMILLE + reach_permille) // PERMILLE)
    return sorted({lowest + (highest - lowest) * i // (steps - 1) for i in range(steps)})


def liquidation_ladder(
    book: Book,
    market: str | int,
    prices: Iterable[int] | None = None,
    *,
    steps: int = 101,
    reach_permille: int = 500,
) -> LiquidationLadder:
    """Add up what is liquidatable of a market at each of some oracle prices, the other prices held.

    Parameters
    ----------
    book : Book
        An indexed one with 265,000 holders of the market takes 0.04 s and 2.4 ms a price; a plain one is
        computed in plain integers, some 2 ms a holder and 6 us a holder and price.
    market : str or int
        Ticker or perpetual id.
    prices : iterable of int, optional
        Price integers of 1 to 2**64 - 1, in any order. By default `steps` of them, evenly from the oracle
        price less `reach_permille` thousandths of it to as much above.

    Returns
    -------
    LiquidationLadder
        At each price, everybody who is liquidatable there is counted: also who is already now.

    Raises
    ------
    UnknownMarketError, InputError, StaleError, WriterError
    """
    of = checked_book(book).chain[market]
    if prices is None:
        checked_integer("steps", steps, 2, 1_000_000)
        checked_integer("reach_permille", reach_permille, 1, PERMILLE * PERMILLE)
        asked = ladder_prices(of, steps, reach_permille)
    else:
        asked = [checked_integer("prices", price, 1, UINT64_MAX) for price in prices]
    with held_still(book):
        holders = holders_of(book, of)
        found = tuple(step_at(book, of, holders, price) for price in asked)
        source = weakest_source(book)
    perpetual = of.perpetual
    height, basis = weaker(source, (of.height, of.basis))
    return LiquidationLadder(
        of.ticker,
        perpetual.price,
        perpetual.exponent,
        perpetual.atomic_resolution,
        found,
        height,
        basis,
    )


def liquidation_levels(book: Book, market: str | int) -> list[LiquidationLevel]:
    """List the holders of a market with the exact prices at which each is liquidatable.

    Longs come first, the highest liquidation price first, then shorts, the lowest first; who is liquidatable
    at no price comes last on its side.
    """
    of = checked_book(book).chain[market]
    with held_still(book):
        holders = holders_of(book, of)
        names = book._store.names
        rows = [
            (int(slot), int(quantums), int(first), int(last) if kind == PRICES else 0)
            for slot, quantums, kind, first, last in zip(
                holders.slot, holders.quantums, holders.kind, holders.first, holders.last, strict=True
            )
            if kind != PLAIN
        ]
        levels = [
            LiquidationLevel(*names[slot], quantums, first if last else None, last or None)
            for slot, quantums, first, last in (*rows, *holders.plain)
        ]
    return sorted(levels, key=place_in_ladder)


def weaker(one: tuple[int | None, str], other: tuple[int | None, str]) -> tuple[int | None, str]:
    """Return the lower height (None: not known) and the weaker basis of two."""
    heights = one[0], other[0]
    height = None if None in heights else min(h for h in heights if h is not None)
    return height, max(one[1], other[1], key=BASES.index)


def place_in_ladder(level: LiquidationLevel) -> tuple[bool, bool, int, str, int]:
    """Order of `liquidation_levels`."""
    is_short = level.quantums < 0
    price = level.first_price if is_short else level.last_price
    nearest = 0 if price is None else price if is_short else -price
    return is_short, price is None, nearest, level.address, level.number


def holders_of(book: Book, market: Market) -> Holders:
    """Find who holds a market, and the interval of each."""
    import numpy as np

    store, index = indexed_store(book), market._index
    count = 0 if store is None else count_holders(store, index)
    columns = [np.zeros(count, dtype) for dtype in ("u4", "i8", "u1", "u8", "u8")]
    if store is None:
        slots = account_slots(book)
    else:
        market_holders(store, index, *columns)
        unknown = columns[0][columns[2] == PLAIN]
        slots = [*outside_slots(store), *unknown.tolist()]
    plain: list[tuple[int, int, int, int]] = []
    if slots:
        perpetuals = {m.perpetual_id: m.perpetual for m in book.chain}
        ids = list(perpetuals)
        for slot in slots:
            usdc_and_rows = book._inputs(slot, book._store.names[slot])
            if any(row[0] == index and row[1] for row in usdc_and_rows[1]):
                plain.append(plain_holder(book, slot, ids, perpetuals, market.perpetual_id))
    owners, sizes, kinds, lowest, highest = columns
    return Holders(owners, sizes, kinds, lowest, highest, plain)


def plain_holder(
    book: Book, slot: int, ids: list[int], perpetuals: Mapping[int, Perpetual], perpetual_id: int
) -> tuple[int, int, int, int]:
    """Slot, size and interval of a holder by bisection over the whole account."""
    state = account_state(book, slot, ids)
    quantums = sum(p.quantums for p in state.perpetual_positions if p.perpetual_id == perpetual_id)
    held = {p.perpetual_id: perpetuals[p.perpetual_id] for p in state.perpetual_positions}
    price = liquidation_price(held, state, perpetual_id)
    if price == NEVER:
        return slot, quantums, 0, 0
    if quantums < 0:
        return slot, quantums, price if isinstance(price, int) else 1, HIGHEST_PRICE
    lowest = first_price(lambda at: risk_at_price(held, state, perpetual_id, at).mmr > 0)
    return slot, quantums, lowest, price if isinstance(price, int) else HIGHEST_PRICE


def step_at(book: Book, market: Market, holders: Holders, price: int) -> LadderStep:
    """Add the holders up at one price."""
    store = indexed_store(book)
    plain = holders.plain
    sums = [[0, 0, 0], [0, 0, 0]]
    if store is not None:
        columns = (holders.quantums, holders.kind, holders.first, holders.last)
        found = sum_at_price(store, market._index, price, *columns)
        if found is None:  # past 128 bits
            rows = zip(holders.slot, *columns, strict=True)
            plain = plain + [(int(s), int(q), int(f), int(p)) for s, q, k, f, p in rows if k == PRICES]
        else:
            sums = [list(side) for side in found]
    moved = replace(market.perpetual, price=price)
    for _, quantums, first, last in plain:
        if last and first <= price <= last:
            side = sums[quantums < 0]
            side[0] += 1
            side[1] += abs(quantums)
            side[2] += abs(notional(moved, quantums))
    return LadderStep(price, *sums[0], *sums[1])
