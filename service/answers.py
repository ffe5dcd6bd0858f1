"""What the interface answers with: typed, amounts as exact texts, each with height, age, basis and verdict.

Quantums are integers and written as text: a reader whose numbers are doubles must not round them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from dydx_perf.explain import Explanation
from dydx_perf.ext.crossing import Crossing
from dydx_perf.feeds.accounts import WatchedAccount
from dydx_perf.feeds.events import (
    AccountSnapshot,
    Event,
    FillSeen,
    LiquidationSeen,
    MarketChanged,
    OrderChanged,
    TransferSeen,
    TrustChanged,
    VenueRefused,
)
from dydx_perf.feeds.trust import DOUBTS, NOTICES, Bound, WatchedRisk
from dydx_perf.kernel import OraclePrice, Risk
from dydx_perf.market import Market
from dydx_perf.subaccount import Subaccount
from dydx_perf.units import quote_quantums_to_usdc

__all__ = [
    "ErrorAnswer",
    "ExplainAnswer",
    "MarketAnswer",
    "MarketsAnswer",
    "PositionAnswer",
    "RiskAnswer",
    "encode",
    "explain_answer",
    "market_answer",
    "risk_answer",
    "server_sent",
    "told",
]

FindRisk = Callable[[str, int], WatchedRisk | None]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON object."""


class Reason(Answer, frozen=True):
    """A doubt or a notice, as a code and as a sentence."""

    code: str
    text: str


class BoundAnswer(Answer, frozen=True):
    """How far net collateral may be off; null: without a bound."""

    quote_quantums: str | None
    usdc: str | None
    causes: dict[str, str | None]


class RiskFigures(Answer, frozen=True):
    """The chain's three integers and what follows from them, in USDC and in quote quantums."""

    net_collateral: str
    initial_margin_requirement: str
    maintenance_margin_requirement: str
    distance: str
    net_collateral_quantums: str
    initial_margin_requirement_quantums: str
    maintenance_margin_requirement_quantums: str
    is_liquidatable: bool


class PositionAnswer(Answer, frozen=True):
    """A position and where its market's price would make the account liquidatable.

    `liquidation_price` is "never" where no price does, and "always" where the last one still does.
    """

    ticker: str
    size: str
    oracle_price: str
    liquidation_price: str
    distance: str | None


class Standing(Answer, frozen=True):
    """How good an account's figures are."""

    address: str
    number: int
    verdict: str
    doubts: list[Reason]
    notices: list[Reason]
    height: int | None
    age: float | None
    basis: str


class RiskAnswer(Standing, frozen=True):
    """An account's risk. With doubts, `risk` is the last known state, and `verdict` is "unknown"."""

    bound: BoundAnswer | None
    risk: RiskFigures | None
    positions: list[PositionAnswer]


class MarketAnswer(Answer, frozen=True):
    """A market as the book has it; fractions are the base ones and the one scaled by open interest."""

    ticker: str
    perpetual_id: int
    status: str
    market_type: str
    oracle_price: str
    initial_margin_fraction: str
    maintenance_margin_fraction: str
    scaled_initial_margin_ppm: int
    height: int | None
    basis: str
    doubts: list[Reason]
    notices: list[Reason]


class MarketsAnswer(Answer, frozen=True):
    """All markets."""

    height: int | None
    basis: str
    markets: list[MarketAnswer]


class ErrorAnswer(Answer, frozen=True):
    """What was wrong."""

    error: str


def _text(value: object) -> str:
    """Write a number exactly and without an exponent."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} has no place in an answer")


_encoder = msgspec.json.Encoder(enc_hook=_text, decimal_format="string")


def encode(answer: object) -> bytes:
    """Return the JSON of an answer."""
    return _encoder.encode(answer)


def reasons(codes: tuple[str, ...], texts: Mapping[str, str]) -> list[Reason]:
    """Spell codes out."""
    return [Reason(code=code, text=texts[code]) for code in codes]


def _standing(watched: WatchedRisk) -> dict[str, Any]:
    return {
        "address": watched.address,
        "number": watched.number,
        "verdict": watched.verdict,
        "doubts": reasons(watched.doubts, DOUBTS),
        "notices": reasons(watched.notices, NOTICES),
        "height": watched.height,
        "age": None if watched.age is None else round(watched.age, 6),
        "basis": watched.basis,
    }


def _usdc(quantums: int) -> str:
    return f"{quote_quantums_to_usdc(quantums):f}"


def _bound(bound: Bound | None) -> BoundAnswer | None:
    if bound is None:
        return None
    whole = bound.quote_quantums
    return BoundAnswer(
        quote_quantums=None if whole is None else str(whole),
        usdc=None if whole is None else _usdc(whole),
        causes={name: None if part is None else str(part) for name, part in bound.causes},
    )


def risk_figures(risk: Risk) -> RiskFigures:
    """Return the figures of a risk."""
    nc, imr, mmr = (
        risk.net_collateral,
        risk.initial_margin_requirement,
        risk.maintenance_margin_requirement,
    )
    return RiskFigures(
        net_collateral=_usdc(nc),
        initial_margin_requirement=_usdc(imr),
        maintenance_margin_requirement=_usdc(mmr),
        distance=_usdc(nc - mmr),
        net_collateral_quantums=str(nc),
        initial_margin_requirement_quantums=str(imr),
        maintenance_margin_requirement_quantums=str(mmr),
        is_liquidatable=risk.is_liquidatable,
    )


def position_answers(account: Subaccount) -> list[PositionAnswer]:
    """Return an account's positions, the one nearest to its liquidation price first."""
    rows: list[tuple[Decimal, PositionAnswer]] = []
    prices = account.liquidation_prices
    for ticker, position in account.positions.items():
        price, oracle = prices[ticker], position.market.oracle_price
        away = Decimal("Infinity")
        if isinstance(price, OraclePrice):
            away = (price.decimal / oracle.decimal - 1).quantize(Decimal("0.000001"))
        rows.append(
            (
                abs(away),
                PositionAnswer(
                    ticker=ticker,
                    size=f"{position.size:f}",
                    oracle_price=f"{oracle.decimal:f}",
                    liquidation_price=f"{price.decimal:f}" if isinstance(price, OraclePrice) else price,
                    distance=f"{away:f}" if isinstance(price, OraclePrice) else None,
                ),
            )
        )
    return [answer for _, answer in sorted(rows, key=lambda row: (row[0], row[1].ticker))]


def risk_answer(watched: WatchedRisk, account: Subaccount | None) -> RiskAnswer:
    """Return what is known of an account; `account` is None where the book does not have it."""
    return RiskAnswer(
        **_standing(watched),
        bound=_bound(watched.bound),
        risk=None if watched.risk is None else risk_figures(watched.risk),
        positions=[] if account is None else position_answers(account),
    )


def market_answer(market: Market, doubts: tuple[str, ...], notices: tuple[str, ...]) -> MarketAnswer:
    """Return a market."""
    return MarketAnswer(
        ticker=market.ticker,
        perpetual_id=market.perpetual_id,
        status=market.status,
        market_type="isolated" if market.is_isolated else "cross",
        oracle_price=f"{market.oracle_price.decimal:f}",
        initial_margin_fraction=f"{market.initial_margin_fraction:f}",
        maintenance_margin_fraction=f"{market.maintenance_margin_fraction:f}",
        scaled_initial_margin_ppm=market.scaled_initial_margin_ppm,
        height=market.height,
        basis=market.basis,
        doubts=reasons(doubts, DOUBTS),
        notices=reasons(notices, NOTICES),
    )


class Reported(Answer, frozen=True):
    """What the indexer itself said, and as of which block."""

    equity: str | None
    free_collateral: str | None
    height: int | None


class ExplainAnswer(Standing, frozen=True):
    """The chain's, the indexer's and the web app's figures, term by term; see `Explanation.to_dict`."""

    reported: Reported
    explanation: dict[str, Any]


def explain_answer(
    watched: WatchedRisk, explanation: Explanation, account: WatchedAccount | None
) -> ExplainAnswer:
    """Return an account's figures by their three sources, and what the indexer last reported."""

    def shown(amount: Decimal | None) -> str | None:
        return None if amount is None else f"{amount:f}"

    return ExplainAnswer(
        **_standing(watched),
        reported=Reported(
            equity=None if account is None else shown(account.equity),
            free_collateral=None if account is None else shown(account.free_collateral),
            height=None if account is None else account.reported_height,
        ),
        explanation=explanation.to_dict(),
    )


# ---- the stream


def server_sent(number: int, kind: str, what: object) -> bytes:
    """Return one server-sent event."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (number, kind.encode(), encode(what))


def told(event: Event, find_risk: FindRisk) -> tuple[str, dict[str, Any]] | None:
    """Return kind and content of a risk event; None for what is none."""
    if isinstance(event, Crossing):
        threshold = event.threshold
        return "crossing", {
            "below": event.below,
            "threshold": None if threshold is None else f"{threshold[0]}/{threshold[1]}",
            "risk": risk_figures(event.risk),
            **_account(event.address, event.number, find_risk),
        }
    if isinstance(event, TrustChanged):
        return "trust", {
            "subject": event.subject,
            "codes": list(event.doubts),
            "before": list(event.before),
        }
    if isinstance(event, MarketChanged):
        changes = {name: [_plain(value) for value in pair] for name, pair in event.changes.items()}
        return "market", {"ticker": event.ticker, "changes": changes}
    if isinstance(event, VenueRefused):
        return "refused", {"reason": event.message, "channel": event.channel, "id": event.id}
    for known, kind in ACCOUNT_EVENTS.items():
        if isinstance(event, known):
            fields = {
                name: getattr(event, name) for name in known.__slots__ if name not in ("address", "number")
            }
            if "height" in fields:
                fields["event_height"] = fields.pop("height")
            return kind, {**fields, **_account(event.address, event.number, find_risk)}
    return None


ACCOUNT_EVENTS: dict[Any, str] = {
    AccountSnapshot: "account",
    FillSeen: "fill",
    LiquidationSeen: "liquidation",
    OrderChanged: "order",
    TransferSeen: "transfer",
}


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float | str | Decimal) else str(value)


def _account(address: str, number: int, find_risk: FindRisk) -> dict[str, Any]:
    """Say of whom it is, and how good what is known of it is."""
    watched = find_risk(address, number)
    if watched is None:
        return {"address": address, "number": number, "verdict": "unknown"}
    return _standing(watched)
