"""The chain's, the indexer's and the web app's figures of an account as integers of one unit, with all parts.

Every amount of an account is a whole number of 10**-decimals USDC, `decimals` chosen so that none of them is
rounded: 26 more than the finest value of a position, for a margin fraction of the web app has 20 decimals of
a quotient times 6 of the tier's fraction. So the parts of a difference are integers, and so is what they
leave over. The figures themselves are those of `dydx_perf.exact.margin` and `dydx_perf.exact.indexer`.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain as chained
from operator import itemgetter
from typing import NamedTuple

from dydx_perf.exact.arith import ONE_MILLION
from dydx_perf.exact.decimals import DECIMAL_PLACES, div_half_away
from dydx_perf.exact.margin import adjusted_initial_margin_ppm
from dydx_perf.exact.state import Perpetual, RiskState

#: why two sources differ: a code that stays, and the sentence for people
REASONS = {
    "funding_floor": "the chain floors the sum of funding to a quote quantum",
    "notional_trunc": "the chain truncates the value of a position to a quote quantum",
    "quote_balance": "the indexer does not know the position's quote balance",
    "scaling": "open interest has raised the initial margin fraction; the indexer uses the base",
    "choice": "the subaccount has chosen a higher initial margin fraction; the indexer does not know it",
    "initial_ceil": "the chain rounds the initial margin up to a quote quantum",
    "maintenance_ceil": "the chain rounds the maintenance margin up, twice",
    "webapp_scaling": "the web app scales by open interest, to 20 decimals; the indexer uses the base",
    "webapp_choice": "the web app counts the chosen leverage; the indexer does not know it",
    "webapp_no_fraction": "the web app takes leverage 1 where the tier's initial margin fraction is 0",
    "webapp_division": "the web app's quotient has 20 decimals",
    "equity_clamp": "the web app shows no equity below zero",
    "free_clamp": "the web app shows no free collateral below zero",
    "other_values": "the chain truncates the other positions' values",
    "other_margins": "the chain rounds the other positions' margins up, twice",
    "own_value": "the chain truncates the position's value at that price",
    "own_margin": "the chain rounds the position's margin there up, twice",
    "grid": "the first whole price step with less collateral than margin",
    "no_margin": "nearer prices have no maintenance margin: no liquidation",
    "price_clamp": "the web app's formula takes an equity below zero for zero",
}

QUOTE_DECIMALS = 6
FUNDING_DECIMALS = 12  # ppm of a quote quantum
WEBAPP_FRACTION_DECIMALS = DECIMAL_PLACES + 6
#: powers of ten are most of the work: 160 is more than any exponents of a market can ask for
POW10: tuple[int, ...] = tuple([10**power for power in range(161)])
ONE_6, ONE_12, ONE_14, ONE_20, ONE_26, ONE_40 = (POW10[power] for power in (6, 12, 14, 20, 26, 40))
LOWEST_PRICE = 1

#: (code, ticker or None, amount)
PartRow = tuple[str, str | None, int]
AMOUNT = itemgetter(2)


class MarketTerms(NamedTuple):
    """What the rows need of a market whoever holds it; worth keeping as long as the perpetual is the same."""

    perpetual: Perpetual
    power: int  # of ten: USDC for one base quantum, times the price integer
    scaled: int  # the chain's initial margin fraction, scaled by open interest, ppm
    mmf: int  # maintenance margin fraction, 10**-12
    effective: int  # the web app's, scaled by open interest, 10**-26
    selected: int  # the web app's for who has chosen none, 10**-26
    steps: tuple[tuple[str, int], ...]  # by what that differs from the tier's: those that are not zero


class HeldRow(NamedTuple):
    """A position as it is explained."""

    ticker: str
    market: MarketTerms
    quantums: int
    funding_index: int
    quote_balance: int
    custom_imf_ppm: int


TermFields = tuple[str, str | None, int, int, int, tuple[PartRow, ...], tuple[PartRow, ...]]


held_row: Callable[[tuple[str, MarketTerms, int, int, int, int]], HeldRow] = partial(tuple.__new__, HeldRow)


class TermRow(NamedTuple):
    """One quantity of all three sources."""

    name: str
    ticker: str | None
    chain: int
    indexer: int
    webapp: int
    indexer_less_chain: tuple[PartRow, ...]
    webapp_less_indexer: tuple[PartRow, ...]


#: a row of its fields in a tuple, without its own `__new__`, which costs more than the arithmetic
term_row: Callable[[TermFields], TermRow] = partial(tuple.__new__, TermRow)


class PriceRow(NamedTuple):
    """A liquidation price: each number is so many times 10**exponent / divisor USDC for one coin.

    `real` is what the formula gives with the true equity when nothing is rounded.
    """

    ticker: str
    divisor: int
    exponent: int
    chain: int | None  # None: NEVER or ALWAYS
    real: int
    formula: int  # of the web app; it shows none below zero
    chain_less_real: tuple[PartRow, ...]
    webapp_less_real: tuple[PartRow, ...]


class PositionRow(NamedTuple):
    """What an account's rows need of one position; amounts in the account's unit."""

    value: int
    lost_value: int  # value less the chain's
    notional: int  # the chain's, quote quantums
    mmr: int  # the chain's, quote quantums
    lost_margin: int  # real-valued maintenance margin less the chain's


def kept(*parts: PartRow) -> tuple[PartRow, ...]:
    """The parts that move something."""
    return tuple(filter(AMOUNT, parts))


def account_decimals(held: Sequence[HeldRow]) -> int:
    """Decimals of a USDC amount with which nothing about these positions is rounded."""
    return max([QUOTE_DECIMALS, *[-row.market.power for row in held]]) + WEBAPP_FRACTION_DECIMALS


def effective_fraction(perpetual: Perpetual) -> int:
    """The web app's effective margin fraction: scaled by open interest, in 10**-26."""
    base, lower = perpetual.initial_margin_ppm, perpetual.open_interest_lower_cap
    span = perpetual.open_interest_upper_cap - lower
    if span == 0:
        return base * ONE_20
    power = perpetual.atomic_resolution + perpetual.exponent + QUOTE_DECIMALS
    # quote quantums = above / unit
    above = perpetual.open_interest * perpetual.price * POW10[max(power, 0)]
    unit = POW10[max(-power, 0)]
    scale = div_half_away((above - lower * unit) * ONE_20, span * unit)
    return min(base * ONE_20 + max(scale, 0) * (ONE_MILLION - base), ONE_26)


def chosen_fraction(custom_imf_ppm: int) -> int:
    """The web app's way from a chosen fraction to a leverage and back: 1 / (1e6 / ppm), in 10**-26."""
    leverage = div_half_away(ONE_MILLION * ONE_20, custom_imf_ppm)
    return div_half_away(ONE_40, leverage) * ONE_6


def webapp_fraction(
    base: int, effective: int, custom_imf_ppm: int
) -> tuple[int, tuple[tuple[str, int], ...]]:
    """The web app's selected margin fraction in 10**-26, and by what it differs from the tier's, summing up.

    `base` is the tier's in ppm, `effective` that of `effective_fraction`. Without a chosen fraction the app
    goes from the tier's to a leverage and back, which returns the same: an error of half of 10**-20 in a
    leverage of 1 or more is below half of 10**-20 in its reciprocal.
    """
    base_26 = base * ONE_20
    if custom_imf_ppm:
        code, wanted = "webapp_choice", custom_imf_ppm * ONE_20
        selected = max(chosen_fraction(custom_imf_ppm), effective)
    else:
        code, wanted = "webapp_no_fraction", base_26 or ONE_26
        selected = max(wanted, effective)
    wanted = max(wanted, effective)
    steps = (
        ("webapp_scaling", effective - base_26),
        (code, wanted - effective),
        ("webapp_division", selected - wanted),
    )
    return selected, tuple([step for step in steps if step[1]])


def market_terms(perpetual: Perpetual) -> MarketTerms:
    """What explaining takes of a market: its divisions, once for all of its holders."""
    power = perpetual.atomic_resolution + perpetual.exponent
    interest = truncated(perpetual.open_interest * perpetual.price, power + QUOTE_DECIMALS)
    base, effective = perpetual.initial_margin_ppm, effective_fraction(perpetual)
    return MarketTerms(
        perpetual,
        power,
        adjusted_initial_margin_ppm(perpetual, interest),
        base * perpetual.maintenance_fraction_ppm,
        effective,
        *webapp_fraction(base, effective, 0),
    )


def position_terms(
    row: HeldRow, decimals: int, quanta: tuple[int, int, int]
) -> tuple[PositionRow, TermRow, TermRow, TermRow]:
    """What the account needs of a position, and its value, initial margin and maintenance margin.

    `quanta`: a quote quantum in the account's unit, over 1, 10**6 and 10**12.
    """
    ticker, (perpetual, power, scaled, mmf, effective, selected, steps), quantums, _, _, chosen = row
    base, (quantum, quantum_6, quantum_12) = perpetual.initial_margin_ppm, quanta
    product = quantums * perpetual.price
    notional = truncated(product, power + QUOTE_DECIMALS)
    # In 10**-decimals, so that a margin fraction of as many decimals as the suffix says multiplies it whole.
    signed_26 = product * POW10[decimals - WEBAPP_FRACTION_DECIMALS + power]
    value, chain_value = signed_26 * ONE_26, notional * quantum
    value_26, whole = abs(signed_26), abs(notional)
    value_6, value_12 = value_26 * ONE_20, value_26 * ONE_14
    lost_value = value - chain_value
    value_parts = (("notional_trunc", ticker, lost_value),) if lost_value else ()
    used = chosen if chosen > scaled else scaled
    initial = -(-whole * used // ONE_MILLION)
    lost = (value_6 - whole * quantum_6) * used
    initial_parts: tuple[PartRow, ...] = tuple(
        filter(
            AMOUNT,
            (
                ("notional_trunc", ticker, lost),
                ("initial_ceil", ticker, (whole * used - initial * ONE_MILLION) * quantum_6),
            ),
        )
    )
    if used != base:
        initial_parts = (
            *kept(
                ("scaling", ticker, value_6 * (base - scaled)), ("choice", ticker, value_6 * (scaled - used))
            ),
            *initial_parts,
        )
    if chosen:
        selected, steps = webapp_fraction(base, effective, chosen)
    webapp_parts = (
        tuple([(code, ticker, value_26 * step) for code, step in steps]) if value_26 and steps else ()
    )
    mmr = maintenance(perpetual, whole)
    real, chain_margin, real_of_chain = value_12 * mmf, mmr * quantum, whole * quantum_12 * mmf
    margin_parts = tuple(
        filter(
            AMOUNT,
            (
                ("notional_trunc", ticker, real - real_of_chain),
                ("maintenance_ceil", ticker, real_of_chain - chain_margin),
            ),
        )
    )
    return (
        tuple.__new__(PositionRow, (value, lost_value, notional, mmr, real - chain_margin)),
        term_row(("value", ticker, chain_value, value, value, value_parts, ())),
        term_row(
            (
                "initial margin",
                ticker,
                initial * quantum,
                value_6 * base,
                value_26 * selected,
                initial_parts,
                webapp_parts,
            )
        ),
        term_row(("maintenance margin", ticker, chain_margin, real, real, margin_parts, ())),
    )


def truncated(value: int, power: int) -> int:
    """`value * 10**power` toward zero."""
    if power >= 0:
        return value * POW10[power]
    return value // POW10[-power] if value >= 0 else -(-value // POW10[-power])


def maintenance(perpetual: Perpetual, whole: int) -> int:
    """Maintenance margin of a value, rounded up twice: `dydx_perf.exact.margin.maintenance_margin`."""
    initial = -(-whole * perpetual.initial_margin_ppm // ONE_MILLION)
    return -(-initial * perpetual.maintenance_fraction_ppm // ONE_MILLION)


class Sums(NamedTuple):
    """What the liquidation prices of an account share; in the account's unit unless it says other."""

    decimals: int
    equity: int
    webapp_equity: int
    maintenance: int  # real-valued
    risk: RiskState  # the chain's, quote quantums
    lost_funding: int
    quote_balances: int
    lost_values: int
    lost_margins: int


class AccountRows(NamedTuple):
    """All rows of an account; those of its prices are made of `held` and `sums` when they are read."""

    decimals: int
    account: tuple[TermRow, ...]
    positions: tuple[TermRow, ...]
    held: tuple[tuple[HeldRow, PositionRow, int | None], ...]
    sums: Sums

    @property
    def prices(self) -> tuple[PriceRow, ...]:
        """Liquidation prices of the positions that have a size, where the formula has a divisor."""
        rows = [price_row(*one, self.sums) for one in self.held if one[0].quantums]
        return tuple([row for row in rows if row is not None])


def account_rows(
    usdc: int,
    held: Sequence[HeldRow],
    risk: RiskState,
    liquidation_prices: Sequence[int | None],
) -> AccountRows:
    """Set the three sources side by side.

    `risk` and the liquidation price integers (None: NEVER, ALWAYS, or a size of zero) are those to be
    explained: nothing here computes them again, so what the parts leave over is a check of them, too.
    """
    decimals = account_decimals(held)
    quantum = POW10[decimals - QUOTE_DECIMALS]
    quanta = quantum, POW10[decimals - QUOTE_DECIMALS - 6], POW10[decimals - QUOTE_DECIMALS - 12]
    rows, terms = [], []
    funding_ppm = balances = values = lost_values = lost_margins = 0
    for one, price in zip(held, liquidation_prices, strict=True):
        _, market, quantums, funding_index, quote_balance, _ = one
        own, *three = position_terms(one, decimals, quanta)
        value, lost_value, _, _, lost_margin = own
        funding_ppm -= (market[0].funding_index - funding_index) * quantums
        balances += quote_balance
        values += value
        lost_values += lost_value
        lost_margins += lost_margin
        rows.append((one, own, price))
        terms += three
    balances *= quantum
    funding = funding_ppm * POW10[decimals - FUNDING_DECIMALS]
    lost_funding = funding - funding_ppm // ONE_MILLION * quantum
    shown = usdc * quantum + funding + values
    account = account_terms(terms, risk, quantum, shown, (lost_funding, balances))
    equity, _, margins, _ = account
    sums: Sums = tuple.__new__(
        Sums,
        (
            decimals,
            shown,
            equity[4],
            margins[3],
            risk,
            lost_funding,
            balances,
            lost_values,
            lost_margins,
        ),
    )
    return tuple.__new__(AccountRows, (decimals, account, tuple(terms), tuple(rows), sums))


def account_terms(
    terms: Sequence[TermRow], risk: RiskState, quantum: int, shown: int, lost: tuple[int, int]
) -> tuple[TermRow, TermRow, TermRow, TermRow]:
    """Net collateral, margins, free collateral; `terms`: three a position; `lost`: funding, balances."""
    lost_funding, balances = lost
    initial = summed("initial margin", terms[1::3], risk.imr * quantum)
    margins = summed("maintenance margin", terms[2::3], risk.mmr * quantum)
    clamped = max(shown, 0)
    _, _, initial_chain, initial_indexer, initial_webapp, initial_parts, initial_webapp_parts = initial
    free = clamped - initial_webapp
    free_webapp = max(free, 0)
    equity_chain, equity_parts = risk.nc * quantum, all_parts([row[5] for row in terms[::3]])
    if lost_funding or balances:
        equity_parts = (
            *kept(("funding_floor", None, lost_funding), ("quote_balance", None, -balances)),
            *equity_parts,
        )
    equity_webapp = kept(("equity_clamp", None, clamped - shown))
    return (
        term_row(("net collateral", None, equity_chain, shown, clamped, equity_parts, equity_webapp)),
        initial,
        margins,
        term_row(
            (
                "free collateral",
                None,
                equity_chain - initial_chain,
                shown - initial_indexer,
                free_webapp,
                (*equity_parts, *negated(initial_parts)),
                (
                    *equity_webapp,
                    *negated(initial_webapp_parts),
                    *kept(("free_clamp", None, free_webapp - free)),
                ),
            )
        ),
    )


def negated(parts: Sequence[PartRow]) -> list[PartRow]:
    """The parts of what is subtracted."""
    return [(code, ticker, -amount) for code, ticker, amount in parts]


def all_parts(several: Iterable[tuple[PartRow, ...]]) -> tuple[PartRow, ...]:
    """The parts of several terms, one after the other."""
    return tuple(chained.from_iterable(several))


def summed(name: str, terms: Sequence[TermRow], chain: int) -> TermRow:
    """The account's sum of its positions' terms, with all their parts; the chain's own sum is given."""
    if not terms:
        return term_row((name, None, chain, 0, 0, (), ()))
    _, _, _, indexer, webapp, indexer_less_chain, webapp_less_indexer = zip(*terms, strict=True)
    return term_row(
        (
            name,
            None,
            chain,
            sum(indexer),
            sum(webapp),
            all_parts(indexer_less_chain),
            all_parts(webapp_less_indexer),
        )
    )


def price_row(held: HeldRow, own: PositionRow, integer: int | None, sums: Sums) -> PriceRow | None:
    """Split a liquidation price; None where the formula has no divisor.

    With all else held, the account at a price is `value(price) - margin(price) + rest` above its margin. Real
    numbers make that linear, zero at `-rest / divisor`; the web app's rest has the clamped equity, and its
    quotient 20 decimals. The chain's integers are below zero at the chain's price by an amount of their own,
    and what they have lost of the real numbers there is value, margin and a part of the rest. All of it over
    the divisor is the difference of the prices.
    """
    (perpetual, power, _, mmf, *_), quantums = held.market, held.quantums
    decimals, risk = sums.decimals, sums.risk
    divisor = quantums * ONE_12 - abs(quantums) * mmf
    if divisor == 0:
        return None
    # The prices' unit: USDC over quantums of 10**-12, and no coarser than 20 decimals.
    exponent = FUNDING_DECIMALS - decimals - perpetual.atomic_resolution
    finer = POW10[max(exponent + DECIMAL_PLACES, 0)]
    exponent = min(exponent, -DECIMAL_PLACES)
    other_margins = sums.maintenance - abs(own.value) // ONE_12 * mmf
    real = (own.value + other_margins - sums.equity) * finer
    dividend = (own.value + other_margins - sums.webapp_equity) * finer
    places = POW10[-DECIMAL_PLACES - exponent]
    formula = div_half_away(dividend, divisor * places) * places * divisor
    webapp_parts = kept(("price_clamp", None, dividend - real), ("webapp_division", None, formula - dividend))
    if integer is None:
        return PriceRow(held.ticker, divisor, exponent, None, real, formula, (), webapp_parts)
    rest = risk.nc - own.notional - (risk.mmr - own.mmr)
    notional, mmr = notional_and_margin(perpetual, quantums, integer)
    code = "grid"
    if quantums < 0 and integer > LOWEST_PRICE:
        nearer, nearer_margin = notional_and_margin(perpetual, quantums, integer - 1)
        if rest + nearer - nearer_margin < 0:
            code = "no_margin"
    value = quantums * integer * POW10[decimals + power]
    quantum = POW10[decimals - QUOTE_DECIMALS]
    parts = kept(
        ("funding_floor", None, sums.lost_funding * finer),
        ("quote_balance", None, -sums.quote_balances * finer),
        ("other_values", None, (sums.lost_values - own.lost_value) * finer),
        ("other_margins", None, (own.lost_margin - sums.lost_margins) * finer),
        ("own_value", None, (value - notional * quantum) * finer),
        ("own_margin", None, (mmr * quantum - abs(value) // ONE_12 * mmf) * finer),
        (code, None, (rest + notional - mmr) * quantum * finer),
    )
    chain = integer * divisor * POW10[perpetual.exponent - exponent]
    return PriceRow(held.ticker, divisor, exponent, chain, real, formula, parts, webapp_parts)


def notional_and_margin(perpetual: Perpetual, quantums: int, price: int) -> tuple[int, int]:
    """Signed value and maintenance margin in quote quantums at another price."""
    power = perpetual.atomic_resolution + perpetual.exponent + QUOTE_DECIMALS
    notional = truncated(quantums * price, power)
    return notional, maintenance(perpetual, abs(notional))
