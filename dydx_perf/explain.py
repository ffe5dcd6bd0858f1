"""Why three sources show three numbers: the chain, the indexer and the web app side by side, term by term.

Every term of the chain is compared with the same term of the indexer, and the indexer's with the web app's.
A liquidation price, which the indexer does not have, is compared with that of unrounded arithmetic, and so is
the web app's. Each difference is split into named parts that add up to it exactly; the web app's divisions at
20 decimals (half up) are parts like any other.

An `Explanation` is of the moment it was made: it does not follow the account. It can be pickled and copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from dydx_perf.exact.decimals import subtract, total, without_trailing_zeros
from dydx_perf.exact.explanation import (
    REASONS,
    AccountRows,
    MarketTerms,
    PartRow,
    PriceRow,
    TermRow,
    account_rows,
    held_row,
    market_terms,
)
from dydx_perf.exact.state import RiskState

if TYPE_CHECKING:
    from dydx_perf.kernel import OraclePrice
    from dydx_perf.market import Market
    from dydx_perf.subaccount import Subaccount

__all__ = ["Explanation", "LiquidationPriceTerm", "Part", "PricePart", "Term", "explain"]

FORMAT = {"name": "dydx_perf explanation", "version": 1}


@dataclass(frozen=True, slots=True)
class Part:
    """One reason of a difference, and what it moves, in USDC.

    Attributes
    ----------
    code : str
        A short name that stays from release to release, like "funding_floor".
    amount : Decimal
        Exact.
    market : str or None
        Ticker, for a reason that lies with one position.
    """

    code: str
    amount: Decimal
    market: str | None = None

    @property
    def reason(self) -> str:
        """The reason as a sentence."""
        return REASONS[self.code]


@dataclass(frozen=True, slots=True)
class PricePart:
    """One reason of a difference between prices, and what it moves, in USDC for one coin.

    `amount` is an exact rational: a liquidation price is a quotient.
    """

    code: str
    amount: Fraction

    @property
    def reason(self) -> str:
        """The reason as a sentence."""
        return REASONS[self.code]


@dataclass(frozen=True, slots=True)
class Term:
    """One quantity as each source has it, in USDC; the indexer has no maintenance margin but its fraction.

    Attributes
    ----------
    chain, indexer, webapp : Decimal
        Exact.
    indexer_less_chain, webapp_less_indexer : tuple of Part
        Parts of the two differences; they add up exactly.
    market : str or None
        Ticker, for a term of one position.
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
            left_over(first, self.indexer_less_chain),
            left_over(second, self.webapp_less_indexer),
        )


@dataclass(frozen=True, slots=True)
class LiquidationPriceTerm:
    """Liquidation price of a position by the chain, by the web app, and by arithmetic that rounds nothing.

    Attributes
    ----------
    market : str
        Ticker.
    chain : OraclePrice or str
        The price at which the chain liquidates; NEVER or ALWAYS.
    real : Fraction or None
        The web app's formula with the true equity and no rounding; None without a divisor: the position's
        margin grows as fast as its value.
    formula : Decimal or None
        The web app's formula, 20 decimals, as it is computed.
    chain_less_real, webapp_less_real : tuple of PricePart
        Parts of `chain - real` and `formula - real`; they add up exactly. None of the former where the chain
        has no price.
    """

    market: str
    chain: OraclePrice | str
    real: Fraction | None
    formula: Decimal | None
    chain_less_real: tuple[PricePart, ...]
    webapp_less_real: tuple[PricePart, ...]

    @property
    def webapp(self) -> Decimal | None:
        """The price the web app shows: its formula where that is not below zero."""
        return None if self.formula is None or self.formula < 0 else self.formula

    @property
    def unexplained(self) -> tuple[Fraction, Fraction]:
        """What the parts leave over: (chain - real, formula - real); zero when all is accounted for."""
        if self.real is None or self.formula is None:
            return Fraction(0), Fraction(0)
        chain = Fraction(0) if isinstance(self.chain, str) else Fraction(self.chain.decimal) - self.real
        return (
            chain - sum(part.amount for part in self.chain_less_real),
            Fraction(self.formula) - self.real - sum(part.amount for part in self.webapp_less_real),
        )


@dataclass(frozen=True, slots=True)
class Explanation:
    """All terms of a subaccount; the account's own first, then each position's.

    Attributes
    ----------
    address, number
        Of the subaccount.
    basis, height
        Of its risk.
    rows : AccountRows
        The integers behind the terms.
    chain_prices : tuple of (str, OraclePrice or str)
        Liquidation prices of the chain by ticker.
    """

    address: str
    number: int
    basis: str
    height: int | None
    rows: AccountRows
    chain_prices: tuple[tuple[str, OraclePrice | str], ...]

    @property
    def terms(self) -> tuple[Term, ...]:
        """Net collateral, initial margin, maintenance margin, free collateral; then each position's terms."""
        decimals = self.rows.decimals
        return tuple(term_of(row, decimals) for row in (*self.rows.account, *self.rows.positions))

    @property
    def liquidation_prices(self) -> dict[str, LiquidationPriceTerm]:
        """Liquidation price of every position that is not zero, by ticker."""
        split = {row.ticker: row for row in self.rows.prices}
        return {ticker: price_of(ticker, chain, split.get(ticker)) for ticker, chain in self.chain_prices}

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def __getitem__(self, name: str) -> Term:
        """Return the account's term of that name."""
        for row in self.rows.account:
            if row.name == name:
                return term_of(row, self.rows.decimals)
        raise KeyError(name)

    @property
    def is_complete(self) -> bool:
        """Whether every difference is accounted for, to the last digit."""
        return all(
            row.indexer - row.chain == amount(row.indexer_less_chain)
            and row.webapp - row.indexer == amount(row.webapp_less_indexer)
            for row in (*self.rows.account, *self.rows.positions)
        ) and all(
            (row.chain is None or row.chain - row.real == amount(row.chain_less_real))
            and row.formula - row.real == amount(row.webapp_less_real)
            for row in self.rows.prices
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, which stay as they are within a version of the format.

        Notes
        -----
        ``format`` (name, version), ``address``, ``number``, ``basis``, ``height``, ``is_complete``;
        ``terms``, each with name, market, chain, indexer, webapp and two lists of parts,
        ``indexer_less_chain`` and ``webapp_less_indexer`` (code, reason, market, amount);
        ``liquidation_prices``, each with market, chain, chain_integer, webapp, formula, real and two lists of
        parts, ``chain_less_real`` and ``webapp_less_real`` (code, reason, amount).

        Amounts are decimal texts with all their digits and no exponent. ``real`` and the amounts of price
        parts are rationals as ``Fraction`` reads them: ``"-1/3"``. ``chain`` of a price may be NEVER or
        ALWAYS, and ``chain_integer`` is None then, as is whatever does not exist. ``code`` stays from release
        to release; ``reason`` is for people and may be worded anew.
        """
        decimals = self.rows.decimals
        return {
            "format": dict(FORMAT),
            "address": self.address,
            "number": self.number,
            "basis": self.basis,
            "height": self.height,
            "is_complete": self.is_complete,
            "terms": [
                {
                    "name": row.name,
                    "market": row.ticker,
                    "chain": fixed(row.chain, decimals),
                    "indexer": fixed(row.indexer, decimals),
                    "webapp": fixed(row.webapp, decimals),
                    "indexer_less_chain": parts_to_list(row.indexer_less_chain, decimals),
                    "webapp_less_indexer": parts_to_list(row.webapp_less_indexer, decimals),
                }
                for row in (*self.rows.account, *self.rows.positions)
            ],
            "liquidation_prices": [price_to_dict(term) for term in self.liquidation_prices.values()],
        }

    def __str__(self) -> str:
        from dydx_perf.explain_text import explanation_lines

        return "\n".join(explanation_lines(self))


def left_over(difference: Decimal, parts: Iterable[Part]) -> Decimal:
    """Return what parts leave of a difference."""
    return without_trailing_zeros(subtract(difference, total(part.amount for part in parts)))


def amount(parts: Iterable[PartRow]) -> int:
    """Sum of the parts."""
    return sum([part[2] for part in parts])


def fixed(integer: int, decimals: int) -> str:
    """Write `integer / 10**decimals`: all digits, no exponent, no zeros at the end of the fraction."""
    digits = str(abs(integer)).rjust(decimals + 1, "0")
    fraction = digits[-decimals:].rstrip("0")
    whole = f"{'-' if integer < 0 else ''}{digits[:-decimals]}"
    return f"{whole}.{fraction}" if fraction else whole


def term_of(row: TermRow, decimals: int) -> Term:
    """Return a row as people read it."""
    return Term(
        row.name,
        Decimal(fixed(row.chain, decimals)),
        Decimal(fixed(row.indexer, decimals)),
        Decimal(fixed(row.webapp, decimals)),
        parts_of(row.indexer_less_chain, decimals),
        parts_of(row.webapp_less_indexer, decimals),
        row.ticker,
    )


def parts_of(parts: Iterable[PartRow], decimals: int) -> tuple[Part, ...]:
    """Return parts as people read them."""
    return tuple(Part(code, Decimal(fixed(moved, decimals)), ticker) for code, ticker, moved in parts)


def parts_to_list(parts: Iterable[PartRow], decimals: int) -> list[dict[str, str | None]]:
    """Return parts as plain values."""
    return [
        {"code": code, "reason": REASONS[code], "market": ticker, "amount": fixed(moved, decimals)}
        for code, ticker, moved in parts
    ]


def price_of(ticker: str, chain: OraclePrice | str, row: PriceRow | None) -> LiquidationPriceTerm:
    """Return a row as people read it; without one the formula has no divisor."""
    if row is None:
        return LiquidationPriceTerm(ticker, chain, None, None, (), ())
    unit = row.divisor * 10**-row.exponent
    return LiquidationPriceTerm(
        ticker,
        chain,
        Fraction(row.real, unit),
        Decimal(fixed(row.formula // row.divisor, -row.exponent)),
        tuple(PricePart(code, Fraction(moved, unit)) for code, _, moved in row.chain_less_real),
        tuple(PricePart(code, Fraction(moved, unit)) for code, _, moved in row.webapp_less_real),
    )


def price_to_dict(term: LiquidationPriceTerm) -> dict[str, Any]:
    """Return a liquidation price as plain values."""

    def written(parts: Iterable[PricePart]) -> list[dict[str, str]]:
        return [{"code": part.code, "reason": part.reason, "amount": str(part.amount)} for part in parts]

    return {
        "market": term.market,
        "chain": str(term.chain),
        "chain_integer": None if isinstance(term.chain, str) else str(term.chain.integer),
        "webapp": None if term.webapp is None else f"{term.webapp:f}",
        "formula": None if term.formula is None else f"{term.formula:f}",
        "real": None if term.real is None else str(term.real),
        "chain_less_real": written(term.chain_less_real),
        "webapp_less_real": written(term.webapp_less_real),
    }


def terms_of(market: Market) -> MarketTerms:
    """Return what explaining takes of a market, made once for each of its states."""
    perpetual, kept = market.perpetual, market._explained  # read once: another thread may put another there
    if kept is None or kept[0] is not perpetual:
        kept = market._explained = (perpetual, market_terms(perpetual))
    terms: MarketTerms = kept[1]
    return terms


def explain(account: Subaccount) -> Explanation:
    """Set the chain's, the indexer's and the web app's figures of `account` side by side.

    The chain's are those of `account.risk` and `account.liquidation_price`. The web app is taken to have the
    USDC of the indexer's snapshot and the chosen leverage of this very subaccount; the real one asks for the
    parent's, hourly.
    """
    held, prices, integers = [], [], []
    for ticker, position in account._positions.items():
        quantums, integer = position.quantums, None
        if quantums:
            price = account.liquidation_price(ticker)
            prices.append((ticker, price))
            integer = None if isinstance(price, str) else price.integer
        integers.append(integer)
        held.append(
            held_row(
                (
                    ticker,
                    terms_of(position.market),
                    quantums,
                    position.funding_index,
                    position.quote_balance,
                    position.custom_imf_ppm,
                )
            )
        )
    risk = account.risk
    rows = account_rows(account.usdc_quantums, held, RiskState(risk.nc, risk.imr, risk.mmr), integers)
    return Explanation(account.address, account.number, risk.basis, risk.height, rows, tuple(prices))
