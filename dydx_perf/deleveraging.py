"""Deleveraging: who stands opposite a position with a net collateral below zero, at which price.

An account below zero that could not be liquidated against the order book gives its whole position to accounts
on the other side, at its bankruptcy price; in a market in final settlement everybody is closed, accounts that
are not below zero at the oracle price. The counterparties are taken from a random place of the list of the
other side onwards: there is no ranking by profit or leverage, so there is no queue to stand in, only a
chance.

Sources: `x/clob/keeper/deleveraging.go`, `x/clob/keeper/liquidations.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from dydx_perf.errors import ChainError
from dydx_perf.exact import liquidation as rules
from dydx_perf.exact.margin import is_liquidatable, subaccount_risk
from dydx_perf.exact.sentinels import error
from dydx_perf.ladder import holders_of
from dydx_perf.market import UINT32_MAX, checked_integer
from dydx_perf.parameters import GENESIS_LIQUIDATIONS
from dydx_perf.plain_accounts import account_state, checked_book, held_still, weakest_source
from dydx_perf.shocks import Shock
from dydx_perf.stress import stress_accounts
from dydx_perf.units import QUOTE_ATOMIC_RESOLUTION

if TYPE_CHECKING:
    from dydx_perf.book import Book
    from dydx_perf.exact.state import Perpetual, SubaccountState
    from dydx_perf.market import Market
    from dydx_perf.observers import Name

__all__ = [
    "BelowZero",
    "DeleveragingCase",
    "DeleveragingExposure",
    "accounts_below_zero",
    "deleveraging_cases",
    "deleveraging_exposure",
]

#: default of a node's flag max-deleveraging-subaccounts-to-iterate
MAX_ITERATED = 500


class BelowZero(NamedTuple):
    """An account whose net collateral is below zero, in quote quantums."""

    address: str
    number: int
    net_collateral: int


@dataclass(frozen=True, slots=True)
class DeleveragingCase:
    """A position that the chain may hand over to the other side.

    Attributes
    ----------
    address, number : str, int
        Whose it is.
    market : str
    quantums : int
        Signed base quantums of the position: all of it is offered.
    net_collateral : int
        Of the account, quote quantums.
    at_oracle_price : bool
        In final settlement and not below zero; else at the bankruptcy price.
    quote_quantums : int
        What the account gets (above zero) or pays for all of it.
    price : Fraction
        The same in USDC for one coin, exact.
    needs_unfilled : bool
        Whether a liquidation must have found nothing first, as everywhere but in final settlement.
    """

    address: str
    number: int
    market: str
    quantums: int
    net_collateral: int
    at_oracle_price: bool
    quote_quantums: int
    price: Fraction
    needs_unfilled: bool


class Opposite(NamedTuple):
    """One case as it meets one position of the other side.

    Attributes
    ----------
    case : DeleveragingCase
    base_quantums : int
        The smaller of both positions, without sign: the most that it takes.
    quote_quantums : int
        For that, what the counterparty pays (above zero) or gets.
    refusal : str or None
        Why the chain would not make this match: it would leave one of the two worse off below its margin.
        None: it would.
    """

    case: DeleveragingCase
    base_quantums: int
    quote_quantums: int
    refusal: str | None


@dataclass(frozen=True, slots=True)
class DeleveragingExposure:
    """What may be taken of one position, should everybody opposite be deleveraged at the prices of now.

    Attributes
    ----------
    market : str
    quantums : int
        Signed base quantums of the position.
    opposite : tuple of Opposite
        The lowest net collateral first. The chain tries only the first few unfilled liquidations of a block.
    most, least : int
        Base quantums of it that can be taken, and that must be when all cases are closed and everybody else
        on this side gives all. `least` is 0 where the list is longer than what the chain goes through.
    same_side : int
        Accounts on its side, itself included.
    chance : Fraction
        Bound on the chance that one deleveraging comes by: what is gone through over `same_side`. It ends
        earlier when others have taken all.
    height : int or None
    basis : str
    """

    market: str
    quantums: int
    opposite: tuple[Opposite, ...]
    most: int
    least: int
    same_side: int
    chance: Fraction
    height: int | None
    basis: str


def accounts_below_zero(book: Book) -> list[BelowZero]:
    """List every account whose net collateral is below zero, the lowest first.

    While there is one the chain holds withdrawals of its collateral pool back.
    """
    figures = stress_accounts(book, Shock())
    rows = (figures.net_collateral < 0).nonzero()[0].tolist()
    below = {figures.handle[row]: int(figures.net_collateral[row]) for row in rows}
    below |= {figures.handle[row]: risk.nc for row, risk in figures.wide.items()}
    listed = [BelowZero(*book.name(int(handle)), nc) for handle, nc in below.items() if nc < 0]
    return sorted(listed, key=lambda one: (one.net_collateral, one.address, one.number))


def deleveraging_cases(book: Book, market: str | int) -> list[DeleveragingCase]:
    """List the positions of a market that the chain may hand over, the lowest net collateral first.

    They are those of accounts that are liquidatable and below zero; in final settlement those of everybody.
    """
    of = checked_book(book).chain[market]
    with held_still(book):
        return [case for case, _ in found_cases(book, of)]


def deleveraging_exposure(
    book: Book, account: int | Name, market: str | int, *, max_iterated: int = MAX_ITERATED
) -> DeleveragingExposure:
    """Say what deleveraging may take of one position, from whom and at which price.

    Parameters
    ----------
    book : Book
    account : int or (address, number)
        Who holds it.
    market : str or int
    max_iterated : int
        The node's flag `max-deleveraging-subaccounts-to-iterate`.

    Raises
    ------
    InputError, UnknownMarketError, UnknownSubaccountError, StaleError, WriterError
    ChainError
        There is no such position.
    """
    of = checked_book(book).chain[market]
    checked_integer("max_iterated", max_iterated, 0, UINT32_MAX)
    with held_still(book):
        slot = book._store.slot(account)
        perpetuals = {m.perpetual_id: m.perpetual for m in book.chain}
        mine = account_state(book, slot, list(perpetuals))
        size = held_size(mine, of.perpetual_id)
        if size == 0:
            raise error("ErrNoPerpetualPositionsToLiquidate")
        holders = holders_of(book, of)
        sizes = [int(q) for q in holders.quantums.tolist()]
        sizes = [q for q, kind in zip(sizes, holders.kind.tolist(), strict=True) if kind != 2]
        sizes += [q for _, q, _, _ in holders.plain]
        same_side = [abs(q) for q in sizes if (q > 0) == (size > 0)]
        opposite = [
            met(case, state, mine, size, perpetuals, of)
            for case, state in found_cases(book, of)
            if (case.quantums > 0) != (size > 0)
        ]
        height, basis = weakest_source(book)
    offered = sum(abs(one.case.quantums) for one in opposite)
    others = sum(same_side) - abs(size)
    reached = len(same_side) <= max_iterated
    return DeleveragingExposure(
        of.ticker,
        size,
        tuple(opposite),
        min(abs(size), sum(one.base_quantums for one in opposite if one.refusal is None)),
        min(abs(size), max(offered - others, 0))
        if reached and all(o.refusal is None for o in opposite)
        else 0,
        len(same_side),
        min(Fraction(max_iterated, len(same_side)), Fraction(1)),
        height,
        basis,
    )


def held_size(state: SubaccountState, perpetual_id: int) -> int:
    """Return the signed base quantums of a position, 0 without one."""
    return sum(p.quantums for p in state.perpetual_positions if p.perpetual_id == perpetual_id)


def found_cases(book: Book, market: Market) -> list[tuple[DeleveragingCase, SubaccountState]]:
    """Find the positions that may be handed over, with the accounts they are of."""
    perpetuals = {m.perpetual_id: m.perpetual for m in book.chain}
    ids, names = list(perpetuals), book._store.names
    is_final = market.status == "FINAL_SETTLEMENT"
    if is_final:
        holders = holders_of(book, market)
        slots = {*holders.slot.tolist(), *(slot for slot, *_ in holders.plain)}
    else:
        slots = {book._store.slot(name) for name in book._store.liquidatable()}
    found = []
    for slot in slots:
        state = account_state(book, slot, ids)
        size = held_size(state, market.perpetual_id)
        risk = subaccount_risk(perpetuals, state)
        if size == 0 or (not is_final and not (is_liquidatable(risk) and risk.nc < 0)):
            continue
        at_oracle = is_final and risk.nc >= 0
        try:
            quote = quote_of(market, perpetuals, state, -size, at_oracle)
        except ChainError:
            continue  # without a maintenance margin there is no bankruptcy price
        address, number = names[slot]
        power = QUOTE_ATOMIC_RESOLUTION - market.atomic_resolution
        case = DeleveragingCase(
            address,
            number,
            market.ticker,
            size,
            risk.nc,
            at_oracle,
            quote,
            Fraction(quote, size) * Fraction(10) ** power,
            not is_final,
        )
        found.append((case, state))
    return sorted(found, key=lambda one: (one[0].net_collateral, one[0].address, one[0].number))


def quote_of(
    market: Market,
    perpetuals: Mapping[int, Perpetual],
    state: SubaccountState,
    delta: int,
    at_oracle_price: bool,
) -> int:
    """Return the quote quantums that an account gets for closing `delta`."""
    case = rules.Liquidation(perpetuals, state, market.perpetual_id, GENESIS_LIQUIDATIONS)  # not read
    return rules.deleveraging_quote_quantums(case, delta, at_oracle_price)


def met(
    case: DeleveragingCase,
    state: SubaccountState,
    mine: SubaccountState,
    size: int,
    perpetuals: Mapping[int, Perpetual],
    market: Market,
) -> Opposite:
    """Match a case with a position, as the chain would."""
    quantums = min(abs(size), abs(case.quantums))
    delta = quantums if case.quantums < 0 else -quantums
    quote = quote_of(market, perpetuals, state, delta, case.at_oracle_price)
    refusal = None
    # An open interest that was not given is at least what these two hold.
    own = perpetuals[market.perpetual_id]
    known = {**perpetuals, own.perpetual_id: replace(own, open_interest=max(own.open_interest, quantums))}
    try:
        rules.process_deleveraging(known, (state, mine), market.perpetual_id, delta, quote)
    except ChainError as refused:
        refusal = str(refused)
    return Opposite(case, quantums, quote, refusal)
