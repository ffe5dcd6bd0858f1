"""Why three sources show three numbers: the chain, the indexer and the web app side by side, term by term.

Every term of the chain is compared with the same term of the indexer, and the indexer's with the web app's;
each difference is split into named parts that add up to it exactly. Amounts are exact Decimals in USDC.

The web app divides at 20 decimals (half up); what that division moves is a part like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from dydx_perf.exact import indexer, margin
from dydx_perf.exact.arith import mul_ppm_ceil
from dydx_perf.exact.decimals import add, multiply, subtract, total, without_trailing_zeros
from dydx_perf.exact.funding import settlement_floor
from dydx_perf.units import quote_quantums_to_usdc, to_decimal

if TYPE_CHECKING:
    from dydx_perf.position import Position
    from dydx_perf.subaccount import Subaccount

__all__ = ["Explanation", "Part", "Term", "explain"]

FUNDING_FLOOR = "the chain floors the sum of funding to a quote quantum"
NOTIONAL_TRUNC = "the chain truncates the value of a position to a quote quantum"
QUOTE_BALANCE = "the indexer does not know the position's quote balance"
SCALING = "open interest has raised the initial margin fraction; the indexer uses the base"
CHOICE = "the subaccount has chosen a higher initial margin fraction; the indexer does not know it"
INITIAL_CEIL = "the chain rounds the initial margin up to a quote quantum"
MAINTENANCE_CEIL = "the chain rounds the maintenance margin up, twice"
CLAMP = "the web app shows no equity below zero"
FREE_CLAMP = "the web app shows no free collateral below zero"
WEBAPP_SCALING = "the web app scales by open interest; the indexer uses the base"
WEBAPP_CHOICE = "the web app counts the chosen leverage; the indexer does not know it"
SUM = "the parts above"


@dataclass(frozen=True, slots=True)
class Part:
    """One reason of a difference, and what it moves, in USDC."""

    reason: str
    amount: Decimal
    market: str | None = None


@dataclass(frozen=True, slots=True)
class Term:
    """One quantity as each source has it; None where a source does not show it.

    Attributes
    ----------
    chain, indexer, webapp : Decimal or None
        USDC.
    indexer_less_chain, webapp_less_indexer : tuple of Part
        Parts of the two differences; they add up exactly.
    market : str or None
        Ticker for a term of one position.
    """

    name: str
    chain: Decimal
    indexer: Decimal
    webapp: Decimal
    indexer_less_chain: tuple[Part, ...]
    webapp_less_indexer: tuple[Part, ...]
    market: str | None = None

    @property
    def unexplained(self) -> tuple[Decimal, Decimal]:
        """What the parts leave over: (indexer - chain, webapp - indexer); zero when all is accounted for."""
        first = subtract(self.indexer, self.chain)
        second = subtract(self.webapp, self.indexer)
        return (
            subtract(first, total(part.amount for part in self.indexer_less_chain)),
            subtract(second, total(part.amount for part in self.webapp_less_indexer)),
        )


@dataclass(frozen=True, slots=True)
class Explanation:
    """All terms of a subaccount, the positions' first, then the account's sums."""

    terms: tuple[Term, ...]
    liquidation_prices: Mapping[str, tuple[str, str]]  # ticker -> (chain, web app)
    basis: str
    height: int | None

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __getitem__(self, name: str) -> Term:
        """Return the account's term of that name."""
        for term in self.terms:
            if term.name == name and term.market is None:
                return term
        raise KeyError(name)

    @property
    def is_complete(self) -> bool:
        """Whether every difference is accounted for to the last digit."""
        return all(not first and not second for first, second in (term.unexplained for term in self.terms))

    def to_dict(self) -> dict[str, object]:
        """Return plain values with exact decimal texts, for JSON."""
        return {
            "basis": self.basis,
            "height": self.height,
            "terms": [term_to_dict(term) for term in self.terms],
            "liquidation_prices": {
                ticker: {"chain": chain, "webapp": webapp}
                for ticker, (chain, webapp) in self.liquidation_prices.items()
            },
        }

    def __str__(self) -> str:
        return "\n".join(explanation_lines(self))


def text(amount: Decimal) -> str:
    """Return all digits and no exponent."""
    return f"{without_trailing_zeros(amount):f}"


def term_to_dict(term: Term) -> dict[str, object]:
    """Return one term as plain values."""
    return {
        "name": term.name,
        "market": term.market,
        "chain": text(term.chain),
        "indexer": text(term.indexer),
        "webapp": text(term.webapp),
        "indexer_less_chain": [part_to_dict(part) for part in term.indexer_less_chain],
        "webapp_less_indexer": [part_to_dict(part) for part in term.webapp_less_indexer],
    }


def part_to_dict(part: Part) -> dict[str, object]:
    """Return one part as plain values."""
    return {"reason": part.reason, "amount": text(part.amount), "market": part.market}


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """Yield the screen's lines: each term, and under it what moves it."""
    for term in explanation.terms:
        name = term.name if term.market is None else f"{term.market} {term.name}"
        yield f"{name}"
        yield f"    chain    {text(term.chain)}"
        yield f"    indexer  {text(term.indexer)}"
        yield from (f"        {text(part.amount):>24}  {part.reason}" for part in term.indexer_less_chain)
        yield f"    web app  {text(term.webapp)}"
        yield from (f"        {text(part.amount):>24}  {part.reason}" for part in term.webapp_less_indexer)
    for ticker, (chain, webapp) in explanation.liquidation_prices.items():
        yield f"{ticker} liquidation price: chain {chain}, web app {webapp}"


def explain(account: Subaccount) -> Explanation:
    """Set the chain's, the indexer's and the web app's figures of `account` side by side."""
    positions = list(account.positions.values())
    values = [value_term(position) for position in positions]
    initial = [initial_margin_term(account, position) for position in positions]
    maintenance = [maintenance_margin_term(position) for position in positions]
    equity = equity_term(account, values)
    initial_sum = summed("initial margin", initial)
    free = free_collateral_term(account, equity, initial_sum)
    risk = account.risk
    return Explanation(
        (
            *values,
            *initial,
            *maintenance,
            equity,
            initial_sum,
            summed("maintenance margin", maintenance),
            free,
        ),
        {
            position.ticker: liquidation_prices(account, position)
            for position in positions
            if position.quantums
        },
        risk.basis,
        risk.height,
    )


def kept(*parts: Part) -> tuple[Part, ...]:
    """Return the parts that move something."""
    return tuple(part for part in parts if part.amount)


def summed(name: str, terms: list[Term]) -> Term:
    """Return the account's sum of its positions' terms, with all their parts."""
    return Term(
        name,
        total(term.chain for term in terms),
        total(term.indexer for term in terms),
        total(term.webapp for term in terms),
        tuple(part for term in terms for part in term.indexer_less_chain),
        tuple(part for term in terms for part in term.webapp_less_indexer),
    )


def value_term(position: Position) -> Term:
    """Signed value of a position."""
    chain = quote_quantums_to_usdc(position.notional)
    exact = position.value
    lost = Part(NOTIONAL_TRUNC, subtract(exact, chain), position.ticker)
    return Term("value", chain, exact, exact, kept(lost), (), position.ticker)


def initial_margin_term(account: Subaccount, position: Position) -> Term:
    """Compare the initial margin of a position: scaling, the subaccount's choice, and two roundings."""
    market, ticker = position.market, position.ticker
    base = market.initial_margin_fraction
    scaled = to_decimal(market.scaled_initial_margin_ppm, -6)
    choice_ppm = account.leverage_choices.get(ticker, 0)
    used_ppm = max(market.scaled_initial_margin_ppm, choice_ppm)
    used = to_decimal(used_ppm, -6)
    value = position.value.copy_abs()
    whole = quote_quantums_to_usdc(abs(position.notional))
    chain = quote_quantums_to_usdc(mul_ppm_ceil(abs(position.notional), used_ppm))
    shown = multiply(value, base)
    holding = account._webapp_holding(position)
    effective = account._effective_imf(market)
    return Term(
        "initial margin",
        chain,
        shown,
        holding.initial_risk,
        kept(
            Part(SCALING, multiply(value, subtract(base, scaled)), ticker),
            Part(CHOICE, multiply(value, subtract(scaled, used)), ticker),
            Part(NOTIONAL_TRUNC, multiply(subtract(value, whole), used), ticker),
            Part(INITIAL_CEIL, subtract(multiply(whole, used), chain), ticker),
        ),
        kept(
            Part(WEBAPP_SCALING, multiply(value, subtract(effective, base)), ticker),
            Part(WEBAPP_CHOICE, multiply(value, subtract(holding.selected_imf, effective)), ticker),
        ),
        ticker,
    )


def maintenance_margin_term(position: Position) -> Term:
    """Maintenance margin of a position; the indexer gives the fraction, which is taken times the value."""
    market, ticker = position.market, position.ticker
    fraction = market.maintenance_margin_fraction
    value = position.value.copy_abs()
    whole = quote_quantums_to_usdc(abs(position.notional))
    chain = quote_quantums_to_usdc(margin.maintenance_margin(market.perpetual, abs(position.notional)))
    shown = multiply(value, fraction)
    return Term(
        "maintenance margin",
        chain,
        shown,
        shown,
        kept(
            Part(NOTIONAL_TRUNC, multiply(subtract(value, whole), fraction), ticker),
            Part(MAINTENANCE_CEIL, subtract(multiply(whole, fraction), chain), ticker),
        ),
        (),
        ticker,
    )


def equity_term(account: Subaccount, values: list[Term]) -> Term:
    """Net collateral of the chain, equity of the two others."""
    positions = account.positions.values()
    settled = settlement_floor(sum(position.unsettled_funding_ppm for position in positions))
    balances = quote_quantums_to_usdc(sum(position.quote_balance for position in positions))
    chain = account.risk.net_collateral_usdc
    funding = subtract(account.unsettled_funding, quote_quantums_to_usdc(settled))
    shown = account.equity
    webapp = account._webapp().equity
    return Term(
        "net collateral",
        chain,
        shown,
        webapp,
        (
            *kept(Part(FUNDING_FLOOR, funding), Part(QUOTE_BALANCE, multiply(balances, Decimal(-1)))),
            *(part for term in values for part in term.indexer_less_chain),
        ),
        kept(Part(CLAMP, subtract(webapp, shown))),
    )


def free_collateral_term(account: Subaccount, equity: Term, initial: Term) -> Term:
    """Net collateral less initial margin; the web app clamps once more."""
    webapp = account._webapp()

    def negated(parts: tuple[Part, ...]) -> tuple[Part, ...]:
        return tuple(Part(part.reason, multiply(part.amount, Decimal(-1)), part.market) for part in parts)

    return Term(
        "free collateral",
        subtract(equity.chain, initial.chain),
        account.free_collateral,
        webapp.free_collateral,
        (*equity.indexer_less_chain, *negated(initial.indexer_less_chain)),
        (
            *equity.webapp_less_indexer,
            *negated(initial.webapp_less_indexer),
            *kept(Part(FREE_CLAMP, subtract(webapp.free_collateral, webapp.raw_free_collateral))),
        ),
    )


def liquidation_prices(account: Subaccount, position: Position) -> tuple[str, str]:
    """Return (the chain's exact price, the web app's formula with its clamped equity) as texts."""
    chain = account.liquidation_price(position.ticker)
    webapp = account._webapp()
    holding = account._webapp_holding(position)
    others = subtract(webapp.maintenance_risk, holding.maintenance_risk)
    formula = indexer.webapp_liquidation_price(holding, webapp.equity, others)
    return str(chain), "none" if formula is None else text(add(formula))
