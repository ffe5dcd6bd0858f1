"""What is said of a whole chain: over HTTP, and by ``dydx-perf scan --node``.

Every answer begins with how good it is. With a doubt of the whole, counts are null, every verdict is
"unknown", and the figures are those of the last known state.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

from dydx_perf.book import Book
from dydx_perf.feeds.trust import DOUBTS
from dydx_perf.feeds.whole_chain_stream import ChainStanding, FollowedChain
from dydx_perf.observers import Name
from dydx_perf.service.answers import Answer, Reason, reasons
from dydx_perf.units import quote_quantums_to_usdc, to_decimal

__all__ = ["AtRisk", "AtRiskAnswer", "ChainAnswer", "at_risk_answer", "standing_fields"]


class ChainAnswer(Answer, frozen=True):
    """How good an answer about the whole chain is.

    `accounts_in_doubt` are in doubt for reasons of their own, and counted nowhere else.
    `first_page_height` and `last_page_height` tell the lowest and the highest block that the last pass read.
    """

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


def standing_fields(followed: FollowedChain | None, standing: ChainStanding) -> dict[str, object]:
    """Return the fields of a `ChainAnswer`."""
    used = {"subaccounts": 0, "positions": 0}
    if followed is not None and followed.whole.pages_came:
        used = dict(followed.whole.book.used)
    low, high = (None, None) if standing.heights is None else standing.heights
    return {
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
