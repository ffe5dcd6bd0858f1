"""Liquidations of the next block: who may be tried, with which order, and what the fund may lose.

Every validator selects on its own, from the list of its own daemon, and only the next proposer's selection
counts. So nothing here is certain to happen; this is what can be said:

- *Exact*: who is liquidatable at the book's height; for a given position the side, size and limit price of
  the attempt; the order in which given attempts are matched.
- *Random*: which accounts are tried, where the list is longer than a block's attempts (a window from a random
  place, not the worst ones); which position of an account with several. Both come from Go's generator, seeded
  with the Unix second of the last block: hand it over as `intn` to have the one selection, or take the set of
  possibilities.
- *Unknown*: the daemon's list itself, two to four blocks old, and the proposer's order book.

Sources: `x/clob/keeper/liquidations.go`, `x/clob/keeper/process_operations.go`,
`x/clob/types/liquidations.go`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from dydx_perf.errors import ChainError, InputError
from dydx_perf.exact import liquidation as rules
from dydx_perf.exact.arith import price_to_subticks
from dydx_perf.exact.margin import is_liquidatable, notional, subaccount_risk
from dydx_perf.ext import liquidation as kernel
from dydx_perf.market import UINT32_MAX, checked_integer
from dydx_perf.plain_accounts import account_state, checked_book, held_still, weakest_source

if TYPE_CHECKING:
    from dydx_perf.book import Book
    from dydx_perf.exact.state import LiquidationsConfig, Perpetual, RiskState, SubaccountState
    from dydx_perf.market import Market
    from dydx_perf.observers import Name

__all__ = ["CROSS_FUND", "NextLiquidation", "NextLiquidations", "RefusedLiquidation", "next_liquidations"]

#: account of the insurance fund of all cross markets; an isolated market's has its perpetual id after a colon
CROSS_FUND = "insurance_fund"
#: default of a node's flag max-liquidation-attempts-per-block
MAX_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class NextLiquidation:
    """One attempt that the next block may hold.

    Attributes
    ----------
    address, number : str, int
    market : str
        Ticker.
    perpetual_id : int
    is_buy : bool
        Of the order: it buys where the position is short.
    base_quantums : int
        Size of the order, without sign.
    subticks : int
        Its limit: the fillable price, rounded to a tick toward the better for the account.
    distance : Fraction
        Of the limit from the oracle price, as a part of it: the first key, larger first.
    quote_quantums : int
        The size at the oracle price, toward zero: the second key, larger first.
    digest : bytes
        SHA-256 of the chain's message that names account and perpetual: the third key, smaller first.
    fund : str
        Account of the insurance fund that stands behind it.
    fund_delta : int
        Quote quantums that the fund gets (above zero) or pays if all is filled at the limit; fills at better
        prices cost it less.
    is_certain : bool
        Whether it is this position, should the account be tried: the account has no other, or `intn` was
        given.
    is_matchable : bool
        Whether the order book is active. Else nothing is filled, and deleveraging may follow.
    """

    address: str
    number: int
    market: str
    perpetual_id: int
    is_buy: bool
    base_quantums: int
    subticks: int
    distance: Fraction
    quote_quantums: int
    digest: bytes
    fund: str
    fund_delta: int
    is_certain: bool
    is_matchable: bool


class RefusedLiquidation(NamedTuple):
    """A position for which the chain itself fails to make an order, and its error."""

    address: str
    number: int
    market: str
    reason: str


@dataclass(frozen=True, slots=True)
class NextLiquidations:
    """What the next block may try.

    Attributes
    ----------
    orders : tuple of NextLiquidation
        In the chain's order. Of each account the block has at most one; without `intn` all that are possible
        are here.
    refused : tuple of RefusedLiquidation
    candidates : int
        Length of the list.
    liquidatable : int
        Those of the list that are liquidatable at the book's height.
    attempts : int
        How many of the list a block takes. One that is not liquidatable any more uses up its place.
    is_whole : bool
        Whether the window takes the whole list, or `intn` chose it: who is tried is then not random.
    attempted_notional : (int, int)
        Least and most quote quantums, at oracle prices, of the orders that a block tries.
    fund_losses : mapping of fund to int
        The most that each fund can pay in this block, in quote quantums: the costliest order of each account,
        of as many accounts as the window takes, each within its limit for a block.
    headroom : mapping of fund to int
        Balance less that, where the balance was given: below zero the fund may not cover all, and the chain
        then stops matching, and deleverages.
    height : int or None
    basis : str
        Of the book and its chain.
    """

    orders: tuple[NextLiquidation, ...]
    refused: tuple[RefusedLiquidation, ...]
    candidates: int
    liquidatable: int
    attempts: int
    is_whole: bool
    attempted_notional: tuple[int, int]
    fund_losses: Mapping[str, int]
    headroom: Mapping[str, int]
    height: int | None
    basis: str

    @property
    def chance(self) -> Fraction:
        """Of one of the list to be tried, over the random place at which the window begins."""
        if self.is_whole or not self.candidates:
            return Fraction(1)
        return Fraction(self.attempts, self.candidates)


def next_liquidations(
    book: Book,
    *,
    candidates: Iterable[int | Name] | None = None,
    max_attempts: int = MAX_ATTEMPTS,
    fund_balances: Mapping[str, int] | None = None,
    intn: Callable[[int], int] | None = None,
) -> NextLiquidations:
    """Say what the next block may liquidate, in the chain's order.

    Parameters
    ----------
    book : Book
        At the height of the last block.
    candidates : iterable of handle or (address, number), optional
        The daemon's list in its order; by default everybody who is liquidatable in the book.
    max_attempts : int
        The node's flag `max-liquidation-attempts-per-block`.
    fund_balances : mapping of fund to int, optional
        Quote quantums by account of the fund: "insurance_fund", "insurance_fund:7".
    intn : callable of int, optional
        ``Intn`` of a fresh Go ``math/rand`` generator with the last block's Unix second as its seed; it
        chooses the window and each position. The list must then be the daemon's, in its order.

    Returns
    -------
    NextLiquidations
        About 50 us for each position of a liquidatable account.

    Raises
    ------
    InputError, UnknownSubaccountError, StaleError, WriterError
    """
    checked_book(book)
    checked_integer("max_attempts", max_attempts, 0, UINT32_MAX)
    if intn is not None and not callable(intn):
        raise InputError("intn", intn, "a function of an int")
    balances = {} if fund_balances is None else dict(fund_balances)
    for fund, balance in balances.items():
        checked_integer(f"fund_balances[{fund!r}]", balance, 0, None)
    with held_still(book):
        names = book._store.liquidatable() if candidates is None else [book.name(one) for one in candidates]
        attempts = min(len(names), max_attempts)
        tried = names
        if intn is not None and names:
            offset = drawn("intn", intn, len(names))
            tried = [names[(offset + place) % len(names)] for place in range(attempts)]
        markets = {market.perpetual_id: market for market in book.chain}
        perpetuals = {number: market.perpetual for number, market in markets.items()}
        config, ids = book.chain.parameters.liquidations, list(perpetuals)
        orders: list[NextLiquidation] = []
        refused: list[RefusedLiquidation] = []
        liquidatable = 0
        for name in tried:
            state = account_state(book, book._store.slot(name), ids)
            risk = subaccount_risk(perpetuals, state)
            if not is_liquidatable(risk):
                continue
            liquidatable += 1
            positions = [p.perpetual_id for p in state.perpetual_positions if p.quantums]
            chosen = positions if intn is None else [positions[drawn("intn", intn, len(positions))]]
            for perpetual_id in chosen:
                market = markets[perpetual_id]
                is_certain = intn is not None or len(positions) == 1
                try:
                    orders.append(order_of(name, market, perpetuals, state, risk, config, is_certain))
                except ChainError as refusal:
                    refused.append(RefusedLiquidation(*name, market.ticker, str(refusal)))
        height, basis = weakest_source(book)
    is_whole = intn is not None or attempts == len(names)
    orders.sort(key=place_in_block)
    losses = fund_losses(orders, attempts, config)
    unsure = {row[:2] for row in refused}
    sure = [order for order in orders if (order.address, order.number) not in unsure]
    fewest = max(attempts - (len(tried) - len(by_account(sure))), 0)
    return NextLiquidations(
        tuple(orders),
        tuple(refused),
        len(names),
        liquidatable,
        attempts,
        is_whole,
        (least_notional(sure, fewest), most_notional(orders, attempts)),
        losses,
        {fund: balance - losses.get(fund, 0) for fund, balance in balances.items()},
        height,
        basis,
    )


def drawn(argument: str, intn: Callable[[int], int], count: int) -> int:
    """Return a number below `count` from the caller's generator."""
    return checked_integer(argument, intn(count), 0, count - 1)


def order_of(
    name: Name,
    market: Market,
    perpetuals: Mapping[int, Perpetual],
    state: SubaccountState,
    risk: RiskState,
    config: LiquidationsConfig,
    is_certain: bool,
) -> NextLiquidation:
    """Build the order for one position of a liquidatable account, by the kernels where 128 bits hold it."""
    perpetual, pair = market.perpetual, market.clob_pair
    case = rules.Liquidation(perpetuals, state, market.perpetual_id, config)
    size = case.size
    delta = kernel.size_delta(perpetual, size, pair, config, config.max_notional_liquidated)
    if delta is None:
        delta = rules.liquidatable_size_delta(case)
    subticks = kernel.fillable_subticks(perpetual, size, risk, pair, config)
    if subticks is None:
        subticks = rules.fillable_subticks(case, rules.fillable_price(case, delta))
    is_buy, quantums = delta > 0, abs(delta) % 2**64
    fund_delta = kernel.fund_delta(perpetual, size, risk, pair, config, is_buy, quantums, subticks)
    if fund_delta is None:
        fund_delta = rules.insurance_fund_delta(case, is_buy, quantums, subticks)
    num, den = price_to_subticks(
        perpetual.price, perpetual.exponent, perpetual.atomic_resolution, pair.quantum_conversion_exponent
    )
    return NextLiquidation(
        name[0],
        name[1],
        market.ticker,
        market.perpetual_id,
        is_buy,
        quantums,
        subticks,
        Fraction(abs(subticks * den - num), num),
        notional(perpetual, quantums),
        hashlib.sha256(liquidation_info(*name, market.perpetual_id)).digest(),
        f"{CROSS_FUND}:{market.perpetual_id}" if market.is_isolated else CROSS_FUND,
        fund_delta,
        is_certain,
        market.status == "ACTIVE",
    )


def place_in_block(order: NextLiquidation) -> tuple[Fraction, int, bytes]:
    """Return the chain's three keys."""
    return -order.distance, -order.quote_quantums, order.digest


def liquidation_info(address: str, number: int, perpetual_id: int) -> bytes:
    """Encode the message that names an account and a perpetual, as the chain hashes it.

    Protocol buffers: (subaccount id = 1: (owner = 1, number = 2), perpetual id = 2), zeros left out.
    """
    owner = address.encode()
    subaccount = b"".join(
        (
            field(1, 2) + varint(len(owner)) + owner if owner else b"",
            field(2, 0) + varint(number) if number else b"",
        )
    )
    message = field(1, 2) + varint(len(subaccount)) + subaccount
    return message + field(2, 0) + varint(perpetual_id) if perpetual_id else message


def field(number: int, kind: int) -> bytes:
    """Encode the head of a field."""
    return bytes((number << 3 | kind,))


def varint(value: int) -> bytes:
    """Encode a number in groups of seven bits, the low ones first."""
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*groups, value))


def by_account(orders: Iterable[NextLiquidation]) -> dict[Name, list[NextLiquidation]]:
    """Collect the orders of each account."""
    found: dict[Name, list[NextLiquidation]] = {}
    for order in orders:
        found.setdefault((order.address, order.number), []).append(order)
    return found


def least_notional(orders: Iterable[NextLiquidation], accounts: int) -> int:
    """Add up the least that so many of these accounts try, with one order each."""
    each = [min(order.quote_quantums for order in held) for held in by_account(orders).values()]
    return sum(sorted(each)[:accounts])


def most_notional(orders: Iterable[NextLiquidation], accounts: int) -> int:
    """Add up the most that so many of these accounts try, with one order each."""
    each = [max(order.quote_quantums for order in held) for held in by_account(orders).values()]
    return sum(sorted(each, reverse=True)[:accounts])


def fund_losses(
    orders: Iterable[NextLiquidation], attempts: int, config: LiquidationsConfig
) -> dict[str, int]:
    """Bound what each fund pays: the costliest order of each account, of as many accounts as are tried."""
    each: dict[str, list[int]] = {}
    for held in by_account(orders).values():
        costs: dict[str, int] = {}
        for order in held:
            cost = min(max(-order.fund_delta, 0), config.max_quantums_insurance_lost)
            costs[order.fund] = max(costs.get(order.fund, 0), cost)
        for fund, cost in costs.items():
            each.setdefault(fund, []).append(cost)
    return {fund: sum(sorted(costs, reverse=True)[:attempts]) for fund, costs in each.items()}
