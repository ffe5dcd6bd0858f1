"""The indexer's and the web app's account figures: against naive fractions and recorded accounts.

The models here use Fraction and int only. Every test runs under a decimal context of one digit that raises on
any loss, so that no answer can depend on the caller's context.
"""

from __future__ import annotations

import decimal
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dydx_perf.exact import decimals, indexer
from dydx_perf.exact.decimals import decimal_text
from dydx_perf.exact.indexer import LONG, SHORT

Json = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def context_that_keeps_one_digit() -> Iterator[None]:
    before = decimal.getcontext()
    every = [decimal.Inexact, decimal.Rounded, decimal.Subnormal, decimal.InvalidOperation, decimal.Overflow]
    decimal.setcontext(decimal.Context(prec=1, Emin=-1, Emax=1, traps=every))
    yield
    decimal.setcontext(before)


def number(integer: int, places: int) -> Decimal:
    """`integer / 10**places`; built from text, which no context rounds."""
    return Decimal(f"{integer}e-{places}")


def numbers(lowest: int, highest: int, places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(lowest, highest).map(lambda integer: number(integer, places))


def fraction(value: Decimal) -> Fraction:
    return Fraction(*value.as_integer_ratio())


def nearest_half_away(value: Fraction, places: int) -> Fraction:
    """Naive rounding: the candidates around the value, the nearer one, the farther from zero on a tie."""
    scaled = value * 10**places
    candidates = [scaled.__floor__(), scaled.__floor__() + 1]
    return Fraction(min(candidates, key=lambda one: (abs(one - scaled), -abs(one))), 10**places)


# --- decimals ---

ANY = st.builds(number, st.integers(-(10**45), 10**45), st.integers(0, 30))


@given(ANY, ANY, st.integers(0, 25))
@example(Decimal("0.5"), Decimal(1), 0)
@example(Decimal("-0.5"), Decimal(1), 0)
@example(Decimal("0.5"), Decimal(-1), 0)
@example(Decimal("0.49999999999999999999999999999"), Decimal(1), 0)
@example(Decimal("-1.5"), Decimal("-1"), 0)
def test_division_rounds_a_half_away_from_zero(dividend: Decimal, divisor: Decimal, places: int) -> None:
    """A quotient is the nearest at that many decimals, the one farther from zero on a tie."""
    if divisor.is_zero():
        with pytest.raises(ZeroDivisionError):
            decimals.divide_half_away(dividend, divisor, places)
        return
    quotient = decimals.divide_half_away(dividend, divisor, places)
    assert fraction(quotient) == nearest_half_away(fraction(dividend) / fraction(divisor), places)


def test_named_divisions_keep_20_decimals() -> None:
    """Two thirds and a tie at the 21st decimal, of either sign."""
    assert decimal_text(decimals.divide_half_up_20(Decimal(2), Decimal(3))) == "0.66666666666666666667"
    for sign in ("", "-"):
        tie = Decimal(f"{sign}0.000000000000000000005")
        assert decimals.round_half_away_20(tie) == Decimal(f"{sign}0.00000000000000000001")


@given(st.lists(ANY, max_size=8))
def test_sums_and_products_lose_nothing(terms: list[Decimal]) -> None:
    """Sums and products of any length equal those of fractions."""
    product = Fraction(1)
    for term in terms:
        product *= fraction(term)
    assert fraction(decimals.add(*terms)) == sum(map(fraction, terms), Fraction(0))
    assert fraction(decimals.multiply(*terms)) == product


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.2300", "1.23"), ("-0.00", "0"), ("1E+3", "1000"), ("-1e-24", "-0.000000000000000000000001"),
        ("1200", "1200"), ("0E-30", "0"), ("123456789012345678901234567.5", "123456789012345678901234567.5"),
    ],
)  # fmt: skip
def test_text_is_plain_and_shortest(value: str, text: str) -> None:
    """Numbers are written without exponent, without zeros at the end of a fraction, without -0."""
    assert decimal_text(Decimal(value)) == text
    assert decimals.without_trailing_zeros(Decimal(value)).as_tuple() == Decimal(text).as_tuple()


# --- account figures ---

SIZES = numbers(-(10**14), 10**14, 10)
PRICES = numbers(0, 10**20, 12)
FRACTIONS = numbers(0, 10**6, 6)
USDC = numbers(-(10**18), 10**18, 6)
HOLDINGS = st.lists(st.builds(indexer.Holding, SIZES, PRICES, FRACTIONS), max_size=5)


@given(USDC, HOLDINGS)
def test_equity_and_free_collateral_equal_the_naive_sums(
    usdc: Decimal, holdings: list[indexer.Holding]
) -> None:
    """Equity is USDC plus signed values; free collateral is less base margin; nothing is rounded."""
    values = [fraction(one.size) * fraction(one.oracle_price) for one in holdings]
    margins = [
        abs(value) * fraction(one.initial_margin_fraction)
        for value, one in zip(values, holdings, strict=True)
    ]
    equity = fraction(usdc) + sum(values)
    assert fraction(indexer.equity(usdc, holdings)) == equity
    assert fraction(indexer.free_collateral(usdc, holdings)) == equity - sum(margins)


@given(SIZES, PRICES, PRICES)
def test_unrealized_pnl_is_the_move_times_the_size(size: Decimal, price: Decimal, entry: Decimal) -> None:
    """Size times price difference, exact, for either side."""
    answer = indexer.unrealized_pnl(size, price, entry)
    assert fraction(answer) == fraction(size) * (fraction(price) - fraction(entry))


@given(SIZES, st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70), st.integers(-12, 0))
def test_unsettled_funding_is_the_chains_before_its_floor(
    size: Decimal, old: int, new: int, places: int
) -> None:
    """Human indices give the ppm of the chain's settlement: -(new - old) * quantums, in USDC."""
    settled, latest = (indexer.human_funding_index(index, places) for index in (old, new))
    quantums = fraction(size) * 10**-places
    expected = -(new - old) * quantums / 10**12
    assert fraction(indexer.unsettled_funding(size, settled, latest)) == expected


def test_funding_and_usdc_add_up() -> None:
    """Net funding and the USDC shown are the sums with the unsettled part; the entry shows side and size."""
    unsettled = [Decimal("-0.25"), Decimal("0.125")]
    assert indexer.net_funding(Decimal("1.5"), unsettled[0]) == Decimal("1.25")
    shown = indexer.usdc_shown(Decimal("-10"), unsettled)
    assert shown == Decimal("-10.125")
    assert indexer.usdc_entry(shown) == (SHORT, Decimal("10.125"))
    assert indexer.usdc_entry(Decimal("0.000001")) == (LONG, Decimal("0.000001"))
    assert indexer.usdc_entry(Decimal("0.00")) is None
    assert indexer.signed_usdc(SHORT, Decimal("10.125")) == shown
    assert indexer.signed_usdc(LONG, Decimal(3)) == Decimal(3)


def test_parent_and_margin_fraction_and_total() -> None:
    """A parent is the plain sum, also of negative children; the two products and sums are exact."""
    assert indexer.parent_sum([Decimal("1.5"), Decimal(-2), Decimal(0)]) == Decimal("-0.5")
    assert indexer.maintenance_margin_fraction(Decimal("0.05"), Decimal("0.6")) == Decimal("0.03")
    assert indexer.total_pnl(Decimal("1.25"), Decimal("-0.5"), Decimal("0.0625")) == Decimal("0.8125")


# --- the web app ---

WEBAPP_HOLDINGS = st.lists(st.builds(indexer.WebappHolding, SIZES, PRICES, FRACTIONS, FRACTIONS), max_size=4)


@given(USDC, WEBAPP_HOLDINGS)
def test_webapp_account_equals_the_naive_model(usdc: Decimal, holdings: list[indexer.WebappHolding]) -> None:
    """Equity and free collateral are clamped at 0, ratios have 20 decimals, None without equity."""
    account = indexer.webapp_account(usdc, holdings)
    values = [fraction(one.size) * fraction(one.oracle_price) for one in holdings]
    equity = max(fraction(usdc) + sum(values), Fraction(0))
    risk = sum(
        (abs(value) * fraction(one.selected_imf) for value, one in zip(values, holdings, strict=True)),
        Fraction(0),
    )
    assert fraction(account.equity) == equity
    assert fraction(account.raw_free_collateral) == equity - risk
    free = max(equity - risk, Fraction(0))
    assert fraction(account.free_collateral) == free
    assert fraction(account.maintenance_risk) == sum(
        abs(value) * fraction(one.maintenance_margin_fraction)
        for value, one in zip(values, holdings, strict=True)
    )
    if equity == 0:
        assert account.leverage is None
        assert account.margin_usage is None
        return
    assert account.leverage is not None
    assert account.margin_usage is not None
    assert fraction(account.leverage) == nearest_half_away(sum(map(abs, values), Fraction(0)) / equity, 20)
    assert fraction(account.margin_usage) == 1 - nearest_half_away(free / equity, 20)
    assert 0 <= account.margin_usage <= 1


def webapp_holding(size: str, price: str, imf: str = "0.05", mmf: str = "0.03") -> indexer.WebappHolding:
    return indexer.WebappHolding(Decimal(size), Decimal(price), Decimal(imf), Decimal(mmf))


def test_webapp_parent_adds_clamped_equities_and_nothing_else() -> None:
    """A child under water takes nothing off the parent's equity; all other figures are the parent's own."""
    parent = indexer.webapp_account(Decimal(100), [webapp_holding("1", "200")])
    winner = indexer.webapp_account(Decimal(10), [webapp_holding("1", "5")])
    loser = indexer.webapp_account(Decimal(-50), [webapp_holding("1", "20")])
    assert loser.equity == 0
    view = indexer.webapp_parent_account(parent, [winner, loser])
    assert view == replace(parent, equity=Decimal(315))
    assert view.free_collateral == Decimal(290)


@pytest.mark.parametrize(
    ("base", "price", "open_interest", "lower", "upper", "effective"),
    [
        ("0.05", "10", "5", "20", "120", "0.335"),  # k = 0.3
        ("0.05", "10", "2", "20", "120", "0.05"),
        ("0.05", "10", "1", "20", "120", "0.05"),  # below the lower cap: never under the base
        ("0.05", "10", "12", "20", "120", "1"),
        ("0.05", "10", "50", "20", "120", "1"),
        ("0.05", "10", "5", "0", "0", "0.05"),
        ("0.05", None, "5", "20", "120", "0.05"),
        ("0.05", "10", None, "20", "120", "0.05"),
        ("0.05", "10", "5", None, "120", "0.05"),
        ("0.05", "10", "5", "20", None, "0.05"),
        ("0.1", "1", "2", "1", "4", "0.399999999999999999997"),  # k = 0.33333333333333333333
        ("0.1", "1", "3", "1", "4", "0.700000000000000000003"),  # k = 0.66666666666666666667
    ],
)  # fmt: skip
def test_webapp_effective_imf(
    base: str,
    price: str | None,
    open_interest: str | None,
    lower: str | None,
    upper: str | None,
    effective: str,
) -> None:
    """The base grows with open interest between the caps; a missing figure or equal caps leave it."""
    inputs = [None if text is None else Decimal(text) for text in (price, open_interest, lower, upper)]
    assert indexer.webapp_effective_imf(Decimal(base), *inputs) == Decimal(effective)


def test_webapp_selected_leverage_and_imf() -> None:
    """The setting if any, else one over the base, else 1; it can only raise the margin fraction."""
    assert indexer.webapp_selected_leverage(50_000, Decimal("0.02")) == Decimal(20)
    assert indexer.webapp_selected_leverage(0, Decimal("0.03")) == Decimal("33.33333333333333333333")
    assert indexer.webapp_selected_leverage(0, Decimal(0)) == Decimal(1)
    assert indexer.webapp_selected_imf(Decimal(20), Decimal("0.02")) == Decimal("0.05")
    assert indexer.webapp_selected_imf(Decimal(50), Decimal("0.2")) == Decimal("0.2")
    assert indexer.webapp_selected_imf(Decimal(3), Decimal("0.2")) == Decimal("0.33333333333333333333")


def test_webapp_position_figures() -> None:
    """Leverage, maximum leverage and margin shown of one position, and their missing cases."""
    holding = webapp_holding("-2", "300", imf="0.1")
    account = indexer.webapp_account(Decimal(1000), [holding])
    broke = indexer.webapp_account(Decimal(0), [holding])
    assert account.equity == Decimal(400)
    assert indexer.webapp_position_leverage(holding, account) == Decimal("1.5")
    assert indexer.webapp_position_leverage(holding, broke) is None
    assert indexer.webapp_max_leverage(Decimal("0.03")) == Decimal("33.33333333333333333333")
    assert indexer.webapp_max_leverage(Decimal(0)) is None
    assert indexer.webapp_position_margin(holding, account, is_cross=True) == Decimal(60)
    assert indexer.webapp_position_margin(holding, account, is_cross=False) == Decimal(400)


def test_webapp_unrealized_pnl_is_a_share_of_the_margin_it_took() -> None:
    """PnL over cost by selected leverage, which is never taken below 1; none without a cost."""
    holding = webapp_holding("-2", "300")

    def share(entry: str, leverage: str) -> Decimal | None:
        return indexer.webapp_unrealized_pnl_percent(
            holding.size, holding.oracle_price, Decimal(entry), Decimal(leverage)
        )

    assert share("320", "10") == Decimal("0.625")  # 40 of a margin of 64
    assert share("320", "-10") == Decimal("0.625")
    assert share("320", "0.5") == Decimal("0.0625")  # never less than the whole cost
    assert share("0", "10") is None


def test_webapp_buying_power() -> None:
    """Free collateral times one over the effective fraction, else the base, else 1; quotient first."""
    free = Decimal(900)
    assert indexer.webapp_buying_power(free, Decimal("0.03"), Decimal("0.02")) == Decimal(
        "29999.999999999999999997"
    )
    for missing in (None, Decimal(0)):
        assert indexer.webapp_buying_power(free, missing, Decimal("0.02")) == Decimal(45000)
        assert indexer.webapp_buying_power(free, missing, missing) == free
    assert indexer.webapp_buying_power(free, None) == free


@given(
    SIZES.filter(bool), PRICES, numbers(0, 999_999, 6), numbers(-(10**12), 10**12, 6), numbers(0, 10**10, 6)
)
def test_webapp_liquidation_price_is_where_equity_meets_the_margin(
    size: Decimal, price: Decimal, mmf: Decimal, equity: Decimal, others: Decimal
) -> None:
    """With only this price moved there, equity is the maintenance risk; a negative price is none at all."""
    holding = indexer.WebappHolding(size, price, Decimal(1), mmf)
    answer = indexer.webapp_liquidation_price(holding, equity, others)
    slope = fraction(size) - abs(fraction(size)) * fraction(mmf)
    boundary = (fraction(others) + fraction(size) * fraction(price) - fraction(equity)) / slope
    rounded = nearest_half_away(boundary, 20)
    assert answer == (None if rounded < 0 else answer)
    if answer is None:
        assert boundary < 0
        return
    assert fraction(answer) == rounded
    equity_there = fraction(equity) + fraction(size) * (boundary - fraction(price))
    assert equity_there == fraction(others) + abs(fraction(size)) * boundary * fraction(mmf)


def test_webapp_liquidation_price_of_edges() -> None:
    """0 is a price, a divisor of 0 is none, and under water a long alone shows price / (1 - mmf)."""
    holding = webapp_holding("2", "100", mmf="0.03")
    assert indexer.webapp_liquidation_price(holding, Decimal(200), Decimal(0)) == 0
    assert indexer.webapp_liquidation_price(holding, Decimal(201), Decimal(0)) is None
    assert indexer.webapp_liquidation_price(holding, Decimal(201), Decimal(1)) == 0
    assert indexer.webapp_liquidation_price(webapp_holding("0", "100"), Decimal(1), Decimal(0)) is None
    assert indexer.webapp_liquidation_price(webapp_holding("2", "1", mmf="1"), Decimal(1), Decimal(5)) is None
    under_water = indexer.webapp_account(Decimal(-500), [holding])
    shown = indexer.webapp_liquidation_price(holding, under_water.equity, Decimal(0))
    assert shown == Decimal("103.09278350515463917526")
    short = webapp_holding("-2", "100", mmf="0.03")
    assert indexer.webapp_liquidation_price(short, Decimal(6), Decimal(0)) == Decimal(100)


# --- recordings ---

RECORDED: Json = json.loads(files("dydx_perf.data").joinpath("recorded_accounts.json").read_text("ascii"))
MARKETS: dict[str, dict[str, Json]] = {
    one["name"]: {row[0]: dict(zip(one["columns"], row, strict=True)) for row in one["rows"]}
    for one in RECORDED["market_sets"]
}
SUBACCOUNTS = [(account, one) for account in RECORDED["accounts"] for one in account["subaccounts"]]


def margin_fraction(account: Json, ticker: str, key: str = "initial_margin_fraction") -> Decimal:
    return Decimal(MARKETS[account["market_set"]][ticker][key])


@pytest.mark.parametrize(
    ("account", "subaccount"),
    SUBACCOUNTS,
    ids=[f"{a['date']}-{s['subaccount_number']}" for a, s in SUBACCOUNTS],
)
def test_recorded_accounts_come_out_digit_for_digit(account: Json, subaccount: Json) -> None:
    """Equity, free collateral and every unrealized PnL are the indexer's own texts."""
    usdc = Decimal(subaccount["usdc"])
    holdings = [
        indexer.Holding(
            Decimal(one["size"]), Decimal(one["oracle_price"]), margin_fraction(account, one["ticker"])
        )
        for one in subaccount["positions"]
    ]
    assert decimal_text(indexer.equity(usdc, holdings)) == subaccount["equity"]
    assert decimal_text(indexer.free_collateral(usdc, holdings)) == subaccount["free_collateral"]
    for one in subaccount["positions"]:
        pnl = indexer.unrealized_pnl(*(Decimal(one[key]) for key in ("size", "oracle_price", "entry_price")))
        assert decimal_text(pnl) == one["unrealized_pnl"], one["ticker"]


def test_recorded_parents_are_sums() -> None:
    """Parents' equity and free collateral are the indexer's own texts."""
    parents = [account for account in RECORDED["accounts"] if "parent_equity" in account]
    assert len(parents) == 3
    for account in parents:
        for key in ("equity", "free_collateral"):
            children = [Decimal(one[key]) for one in account["subaccounts"]]
            assert decimal_text(indexer.parent_sum(children)) == account[f"parent_{key}"]


def test_recorded_account_without_liquidation_price() -> None:
    """The case behind a report to the web app: both prices are negative, so there is none."""
    account, subaccount = next(
        pair for pair in SUBACCOUNTS if pair[0]["name"] == "two small longs without a liquidation price"
    )
    holdings = [
        indexer.WebappHolding(
            Decimal(one["size"]),
            Decimal(one["oracle_price"]),
            margin_fraction(account, one["ticker"]),
            margin_fraction(account, one["ticker"], "maintenance_margin_fraction"),
        )
        for one in subaccount["positions"]
    ]
    shown_account = indexer.webapp_account(Decimal(subaccount["usdc"]), holdings)
    assert decimal_text(shown_account.equity) == subaccount["equity"]
    assert decimal_text(shown_account.free_collateral) == subaccount["free_collateral"]
    assert decimal_text(shown_account.maintenance_risk) == "0.67150841202"
    for holding, expected in zip(holdings, ("-987967.61", "-8338.92"), strict=True):
        others = decimals.subtract(shown_account.maintenance_risk, holding.maintenance_risk)
        assert indexer.webapp_liquidation_price(holding, shown_account.equity, others) is None
        slope = fraction(holding.size) * (1 - fraction(holding.maintenance_margin_fraction))
        missing = fraction(others) + fraction(holding.value) - fraction(shown_account.equity)
        assert nearest_half_away(missing / slope, 2) == Fraction(expected)
