"""What is said of a whole chain: over HTTP, and by ``dydx-perf scan --node``.

Every answer begins with how good it is. With a doubt of the whole, counts are null, every verdict is
"unknown", and the figures are those of the last known state.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from dydx_perf.book import Book
from dydx_perf.errors import CapacityError
from dydx_perf.feeds.trust import DOUBTS
from dydx_perf.feeds.whole_chain_stream import ChainStanding, FollowedChain
from dydx_perf.ladder import liquidation_ladder
from dydx_perf.next_block import NextLiquidation, next_liquidations
from dydx_perf.observers import Name
from dydx_perf.service.answers import Answer, Reason, reasons
from dydx_perf.units import (
    base_quantums_to_size,
    price_integer_to_price,
    quote_quantums_to_usdc,
    subticks_to_price,
    to_decimal,
)

__all__ = [
    "AtRisk",
    "AtRiskAnswer",
    "ChainAnswer",
    "LadderAnswer",
    "NextAnswer",
    "at_risk_answer",
    "ladder_answer",
    "next_answer",
]

#: liquidatable accounts that are worked out while the loop waits: some 0.1 s
MOST_CANDIDATES = 1_000


class ChainAnswer(Answer, frozen=True):
    """How good an answer about the whole chain is; `state` is "known" only where nothing is in doubt.

    `accounts_in_doubt` are in doubt for reasons of their own, and counted nowhere else.
    `first_page_height` and `last_page_height` tell the lowest and the highest block that the last pass read.
    """

    state: str
    complete: bool
    doubts: list[Reason]
    height: int | None
    first_page_height: int | None
    last_page_height: int | None
    age: float | None
    basis: str
    subaccounts: int
    positions: int
    accounts_in_doubt: int


class AtRisk(Answer, frozen=True):
    """One account; amounts in USDC and in quote quantums, `notional` the value of its positions."""

    address: str
    number: int
    verdict: str
    doubts: list[Reason]
    net_collateral: str
    maintenance_margin_requirement: str
    distance: str
    net_collateral_quantums: str
    maintenance_margin_requirement_quantums: str
    positions: int
    notional: str


class AtRiskAnswer(ChainAnswer, frozen=True):
    """The riskiest accounts by the chain's own ordering, and what all liquidatable ones come to.

    Attributes
    ----------
    liquidatable : int or None
        Accounts that the chain calls liquidatable now, none of them in doubt.
    liquidatable_notional : str or None
        USDC value of their positions.
    owed : str or None
        USDC that accounts below zero among them owe beyond their collateral.
    """

    liquidatable: int | None
    liquidatable_notional: str | None
    owed: str | None
    accounts: list[AtRisk]


class LadderRow(Answer, frozen=True):
    """What is liquidatable at an oracle price: accounts, coins and USDC of longs and of shorts."""

    price: str
    long_accounts: int
    long_size: str
    long_notional: str
    short_accounts: int
    short_size: str
    short_notional: str


class LadderAnswer(ChainAnswer, frozen=True):
    """The liquidation ladder of a market, the other prices held; `steps` is null while nothing is known."""

    market: str
    oracle_price: str | None
    steps: list[LadderRow] | None


class NextOrder(Answer, frozen=True):
    """An attempt that the next block may hold; see `dydx_perf.next_block.NextLiquidation`."""

    address: str
    number: int
    market: str
    side: str
    size: str
    limit_price: str
    notional: str
    fund: str
    fund_delta: str
    is_certain: bool
    is_matchable: bool


class NextAnswer(ChainAnswer, frozen=True):
    """What the next block may liquidate, in the chain's order; null while nothing is known.

    Attributes
    ----------
    candidates : int or None
        Liquidatable accounts that are not in doubt.
    attempts : int or None
        How many of them a block tries.
    chance : str or None
        Of one of them to be tried, as a fraction.
    fund_losses : dict of str to str, or None
        The most that each insurance fund can pay, USDC.
    refused : int or None
        Positions for which the chain itself makes no order.
    """

    candidates: int | None
    attempts: int | None
    chance: str | None
    least_notional: str | None
    most_notional: str | None
    fund_losses: dict[str, str] | None
    refused: int | None
    orders: list[NextOrder] | None


def standing_fields(followed: FollowedChain | None, standing: ChainStanding) -> dict[str, object]:
    """Return the fields of a `ChainAnswer`."""
    used = {"subaccounts": 0, "positions": 0}
    if followed is not None and followed.whole.pages_came:
        used = dict(followed.whole.book.used)
    low, high = (None, None) if standing.heights is None else standing.heights
    return {
        "state": "unknown" if standing.doubts else "known",
        "complete": standing.is_complete,
        "doubts": reasons(standing.doubts, DOUBTS),
        "height": standing.height,
        "first_page_height": low,
        "last_page_height": high,
        "age": None if standing.age is None else round(standing.age, 6),
        "basis": standing.basis,
        "subaccounts": used["subaccounts"],
        "positions": used["positions"],
        "accounts_in_doubt": standing.accounts_in_doubt,
    }


def at_risk_answer(followed: FollowedChain | None, standing: ChainStanding, count: int) -> AtRiskAnswer:
    """Return the `count` riskiest accounts of those that have a margin requirement, or owe."""
    fields = standing_fields(followed, standing)
    if followed is None or not standing.is_complete:
        return AtRiskAnswer(
            **fields,  # type: ignore[arg-type]
            liquidatable=None,
            liquidatable_notional=None,
            owed=None,
            accounts=[],
        )
    book = followed.whole.book
    rows = []
    for address, number, _, risk in book.at_risk(count):
        if not risk.mmr and risk.nc >= 0:
            break  # from here on nobody holds anything
        name = address, number
        value, held = notional(book, [name])
        rows.append(
            AtRisk(
                address=address,
                number=number,
                verdict=followed.verdict(name, risk, standing),
                doubts=reasons(followed.doubts_of(name), DOUBTS),
                net_collateral=f"{quote_quantums_to_usdc(risk.nc):f}",
                maintenance_margin_requirement=f"{quote_quantums_to_usdc(risk.mmr):f}",
                distance=f"{quote_quantums_to_usdc(risk.nc - risk.mmr):f}",
                net_collateral_quantums=str(risk.nc),
                maintenance_margin_requirement_quantums=str(risk.mmr),
                positions=held,
                notional=f"{value:f}",
            )
        )
    certain = None if standing.doubts else [n for n in book.liquidatable() if not followed.doubts_of(n)]
    return AtRiskAnswer(
        **fields,  # type: ignore[arg-type]
        liquidatable=None if certain is None else len(certain),
        liquidatable_notional=None if certain is None else f"{notional(book, certain)[0]:f}",
        owed=None if certain is None else f"{quote_quantums_to_usdc(owed(book, certain)):f}",
        accounts=rows,
    )


def notional(book: Book, names: list[Name]) -> tuple[Decimal, int]:
    """Return the exact USDC value of all positions of these accounts, and how many there are."""
    sizes: Counter[int] = Counter()
    count = 0
    store = book._store
    for name in names:
        for row in book._inputs(store.slot(name), name)[1]:
            if row[1]:
                sizes[row[0]] += abs(row[1])
                count += 1
    total = Decimal(0)
    for market in book.chain:
        if market._index in sizes:
            scale = market.atomic_resolution + market.price_exponent
            total += to_decimal(sizes[market._index] * market.oracle_price.integer, scale)
    return total, count


def owed(book: Book, names: list[Name]) -> int:
    """Return what accounts below zero owe, in quote quantums."""
    return sum(max(-book[name].nc, 0) for name in names)


def ladder_answer(
    followed: FollowedChain | None, standing: ChainStanding, market: str, steps: int, reach_permille: int
) -> LadderAnswer:
    """Return a market's ladder, `steps` prices evenly to `reach_permille` thousandths below and above.

    Raises
    ------
    UnknownMarketError
    """
    fields = standing_fields(followed, standing)
    if followed is None or not standing.is_complete:
        return LadderAnswer(**fields, market=market, oracle_price=None, steps=None)  # type: ignore[arg-type]
    ladder = liquidation_ladder(followed.whole.book, market, steps=steps, reach_permille=reach_permille)
    rows = [
        LadderRow(**{name: one if isinstance(one, int) else f"{one:f}" for name, one in row.items()})  # type: ignore[arg-type]
        for row in ladder.in_units()
    ]
    return LadderAnswer(
        **fields,  # type: ignore[arg-type]
        market=ladder.market,
        oracle_price=f"{price_integer_to_price(ladder.oracle_price, ladder.price_exponent):f}",
        steps=rows,
    )


def next_answer(followed: FollowedChain | None, standing: ChainStanding, max_attempts: int) -> NextAnswer:
    """Return what the next block may liquidate.

    Raises
    ------
    CapacityError
        More accounts are liquidatable than are worked out here.
    """
    fields = standing_fields(followed, standing)
    if followed is None or not standing.is_complete:
        nothing = dict.fromkeys(NextAnswer.__struct_fields__[len(fields) :])
        return NextAnswer(**fields, **nothing)  # type: ignore[arg-type]
    book = followed.whole.book
    names = [name for name in book.liquidatable() if not followed.doubts_of(name)]
    if len(names) > MOST_CANDIDATES:
        raise CapacityError(
            f"{len(names):,} accounts are liquidatable: {MOST_CANDIDATES:,} are worked out here"
        )
    found = next_liquidations(book, candidates=names, max_attempts=max_attempts)
    least, most = found.attempted_notional
    return NextAnswer(
        **fields,  # type: ignore[arg-type]
        candidates=found.candidates,
        attempts=found.attempts,
        chance=str(found.chance),
        least_notional=f"{quote_quantums_to_usdc(least):f}",
        most_notional=f"{quote_quantums_to_usdc(most):f}",
        fund_losses={fund: f"{quote_quantums_to_usdc(loss):f}" for fund, loss in found.fund_losses.items()},
        refused=len(found.refused),
        orders=[next_order(book, order) for order in found.orders],
    )


def next_order(book: Book, order: NextLiquidation) -> NextOrder:
    """Return one attempt in coins and USDC."""
    market = book.chain[order.perpetual_id]
    price = subticks_to_price(
        order.subticks, market.atomic_resolution, market.clob_pair.quantum_conversion_exponent
    )
    return NextOrder(
        address=order.address,
        number=order.number,
        market=order.market,
        side="BUY" if order.is_buy else "SELL",
        size=f"{base_quantums_to_size(order.base_quantums, market.atomic_resolution):f}",
        limit_price=f"{price:f}",
        notional=f"{quote_quantums_to_usdc(order.quote_quantums):f}",
        fund=order.fund,
        fund_delta=f"{quote_quantums_to_usdc(order.fund_delta):f}",
        is_certain=order.is_certain,
        is_matchable=order.is_matchable,
    )
