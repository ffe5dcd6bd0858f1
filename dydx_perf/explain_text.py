"""An explanation on the screen: numbers under their points, each difference under what it is between.

Lines of at most 110 columns. A number is shown with all its digits, but for fractions past 40 decimals (cut,
and marked so) and rationals, which are rounded half away from zero to 24 decimals; `Explanation.to_dict` has
all of them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from dydx_perf.exact.decimals import div_half_away
from dydx_perf.exact.explanation import REASONS, PartRow, TermRow
from dydx_perf.explain import fixed

if TYPE_CHECKING:
    from dydx_perf.explain import Explanation, LiquidationPriceTerm, PricePart
    from dydx_perf.kernel import OraclePrice

__all__ = ["explanation_lines"]

COLUMNS = 110
LABEL = 12  # columns of a label with its indent
MOST_DECIMALS = 40
MOST_DIGITS = 45  # left of the point; a longer number is written with an exponent
RATIONAL_DECIMALS = 24
NARROWEST_REASON = 30
LONGEST_ADDRESS = 45

#: (label, number, remark)
Line = tuple[str, str, str]


def explanation_lines(explanation: Explanation) -> Iterator[str]:
    """Yield the screen's lines: the account's terms, then each position's."""
    height = "not known" if explanation.height is None else explanation.height
    account = textwrap.shorten(explanation.address, LONGEST_ADDRESS, placeholder="…")
    yield f"{account}/{explanation.number}, in USDC; basis {explanation.basis}, height {height}"
    decimals = explanation.rows.decimals
    for row in explanation.rows.account:
        yield from term_lines(row.name, row, decimals)
    prices = explanation.liquidation_prices
    tickers = dict.fromkeys(str(row.ticker) for row in explanation.rows.positions)
    for ticker in tickers:
        for row in explanation.rows.positions:
            if row.ticker == ticker:
                yield from term_lines(f"{ticker} {row.name}", row, decimals)
        if ticker in prices:
            yield from price_lines(prices[ticker])
    if not explanation.is_complete:
        yield ""
        yield "NOT COMPLETE: some difference is not accounted for by its parts"


def term_lines(title: str, row: TermRow, decimals: int) -> Iterator[str]:
    """Yield one term: the three sources, and under each what it differs by from the one before."""
    lines: list[Line] = [("chain", fixed(row.chain, decimals), "")]
    lines += part_lines(row.indexer_less_chain, decimals)
    lines.append(("indexer", fixed(row.indexer, decimals), ""))
    lines += part_lines(row.webapp_less_indexer, decimals)
    lines.append(("web app", fixed(row.webapp, decimals), ""))
    yield from block(title, lines)


def part_lines(parts: Sequence[PartRow], decimals: int) -> list[Line]:
    """Return a line for each reason; what lies with several positions is added up."""
    sums: dict[str, int] = {}
    markets: dict[str, set[str | None]] = {}
    for code, ticker, amount in parts:
        sums[code] = sums.get(code, 0) + amount
        markets.setdefault(code, set()).add(ticker)
    return [
        (
            "",
            signed(fixed(amount, decimals)),
            REASONS[code] + (f" ({len(markets[code])} markets)" if len(markets[code]) > 1 else ""),
        )
        for code, amount in sums.items()
    ]


def price_lines(term: LiquidationPriceTerm) -> Iterator[str]:
    """Yield a liquidation price: unrounded, the chain's, the web app's, each with its parts."""
    if term.real is None or term.formula is None:
        lines = [("chain", str(term.chain), ""), ("web app", "none", "its formula has no divisor here")]
        yield from block(f"{term.market} liquidation price", lines)
        return
    lines = [("unrounded", rounded(term.real), "")]
    lines += price_part_lines(term.chain_less_real)
    if isinstance(term.chain, str):
        lines.append(("chain", term.chain, "no price, so no difference"))
    else:
        lines.append(("chain", fixed_price(term.chain), f"integer {term.chain.integer}"))
    if term.webapp_less_real:
        lines.append(("unrounded", "as above", ""))
    lines += price_part_lines(term.webapp_less_real)
    remark = "" if term.webapp is not None else "below zero: the app shows none"
    lines.append(("web app", f"{term.formula:f}", remark))
    yield from block(f"{term.market} liquidation price", lines)


def price_part_lines(parts: Sequence[PricePart]) -> list[Line]:
    """Return a line for each reason."""
    return [("", signed(rounded(part.amount)), part.reason) for part in parts]


def fixed_price(price: OraclePrice) -> str:
    """Write an oracle price without zeros at the end of its fraction."""
    if price.exponent < 0:
        return fixed(price.integer, -price.exponent)
    return str(price.integer * 10**price.exponent)


def rounded(rational: Fraction) -> str:
    """Write a rational, half away from zero at 24 decimals."""
    scaled = div_half_away(rational.numerator * 10**RATIONAL_DECIMALS, rational.denominator)
    text = fixed(scaled, RATIONAL_DECIMALS)
    return f"{text}…" if Fraction(scaled, 10**RATIONAL_DECIMALS) != rational else text


def signed(number: str) -> str:
    """Write the sign of what is added, too."""
    return number if number.startswith("-") else f"+{number}"


def columns_of(number: str) -> tuple[str, str]:
    """Split a number at its point; words and numbers too long for the screen stand left of it."""
    whole, point, fraction = number.partition(".")
    if not whole.lstrip("+-").isdigit():
        return number, ""
    digits = whole.lstrip("+-")
    if len(digits) > MOST_DIGITS:
        sign = whole[: len(whole) - len(digits)]
        return f"{sign}{digits[0]}.{digits[1:13]}…e+{len(digits) - 1}", ""
    if len(fraction.rstrip("…")) > MOST_DECIMALS:
        fraction = f"{fraction[:MOST_DECIMALS]}…"
    return whole, point + fraction


def block(title: str, lines: Sequence[Line]) -> Iterator[str]:
    """Yield a title and its lines, the numbers under their points, remarks beside them or below."""
    yield ""
    yield title
    numbers = [columns_of(number) for _, number, _ in lines]
    left = max(len(whole) for whole, _ in numbers)
    right = max(len(fraction) for _, fraction in numbers)
    start = LABEL + left + right + 2
    for (label, _, remark), (whole, fraction) in zip(lines, numbers, strict=True):
        shown = f"{f'  {label}':<{LABEL}}{whole:>{left}}{fraction:<{right}}"
        if not remark:
            yield shown.rstrip()
        elif COLUMNS - start >= min(NARROWEST_REASON, len(remark)):
            first, *rest = textwrap.wrap(remark, COLUMNS - start)
            yield f"{shown}  {first}"
            yield from (" " * start + line for line in rest)
        else:
            yield shown.rstrip()
            yield from (" " * LABEL + line for line in textwrap.wrap(remark, COLUMNS - LABEL))
