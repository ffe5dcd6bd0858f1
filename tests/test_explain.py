"""Explanations: every difference is accounted for, and each source's figures are those of a model."""

from __future__ import annotations

import copy
import json
import os
import pickle
from collections.abc import Iterable
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from faces import CHOSEN_PPM, FEWER, PLAIN, PPM, Plan, near_margin, plans
from hypothesis import given, settings
from hypothesis import strategies as st
from what_if_cases import small_account

import dydx_perf
from dydx_perf import OraclePrice, Subaccount
from dydx_perf.exact import margin
from dydx_perf.exact.explanation import REASONS
from dydx_perf.exact.state import (
    MARKET_TYPE_ISOLATED,
    Perpetual,
    PerpetualPosition,
)
from dydx_perf.explain import Explanation, Part, PricePart, Term
from dydx_perf.explain_text import COLUMNS
from dydx_perf.recorded import recorded_subaccounts

TOLD = os.environ.get("DYDX_PERF_SHARED")
SAMPLES = (Path(TOLD) if TOLD else Path(__file__).resolve().parents[2] / "shared") / "samples"
ACCOUNT_TERMS = ("net collateral", "initial margin", "maintenance margin", "free collateral")
ZERO, ONE = Decimal(0), Decimal(1)


# -- the web app's figures, once more, with decimals alone


def quotient(dividend: Decimal, divisor: Decimal) -> Decimal:
    """Half up at 20 decimals, as bignumber.js."""
    with localcontext(prec=3000):
        cut = dividend / divisor
        return cut.quantize(Decimal("1e-20"), rounding=ROUND_HALF_UP)


class WebApp:
    """The web app's account, in the app's own words and order of operations."""

    def __init__(self, account: Subaccount) -> None:
        self.usdc = account.usdc
        self.risks: dict[str, tuple[Decimal, Decimal, Decimal, Decimal]] = {}
        for ticker, position in account.positions.items():
            market = position.market
            size = Decimal(position.quantums).scaleb(market.atomic_resolution)
            price = Decimal(market.perpetual.price).scaleb(market.price_exponent)
            behind = Decimal(position.funding_index - market.funding_index).scaleb(
                -12 - market.atomic_resolution
            )
            self.usdc += size * behind
            base = Decimal(market.initial_margin_ppm).scaleb(-6)
            interest = Decimal(market.open_interest).scaleb(market.atomic_resolution)
            lower = Decimal(market.perpetual.open_interest_lower_cap).scaleb(-6)
            upper = Decimal(market.perpetual.open_interest_upper_cap).scaleb(-6)
            effective = base
            if upper != lower:
                scale = quotient(interest * price - lower, upper - lower)
                effective = min(base + max(scale * (1 - base), ZERO), ONE)
            chosen = account.leverage_choices.get(ticker, 0)
            leverage = quotient(Decimal(10**6), Decimal(chosen)) if chosen else ONE
            if not chosen and base:
                leverage = quotient(ONE, base)
            selected = max(quotient(ONE, leverage), effective)
            mmf = base * Decimal(market.maintenance_fraction_ppm).scaleb(-6)
            self.risks[ticker] = size * price, abs(size * price) * selected, size, mmf
        self.equity = max(self.usdc + sum((value for value, *_ in self.risks.values()), ZERO), ZERO)
        self.initial = sum((initial for _, initial, *_ in self.risks.values()), ZERO)
        self.maintenance = sum((abs(value) * mmf for value, _, _, mmf in self.risks.values()), ZERO)
        self.free = max(self.equity - self.initial, ZERO)

    def liquidation_price(self, ticker: str) -> Decimal | None:
        value, _, size, mmf = self.risks[ticker]
        divisor = size - abs(size) * mmf
        if divisor == 0:
            return None
        price = quotient(self.maintenance - abs(value) * mmf + value - self.equity, divisor)
        return None if price < 0 else price


def accounted(account: Subaccount) -> Explanation:
    """Explain an account and check all that holds of any explanation."""
    explanation = account.explain()
    assert explanation.is_complete
    for term in explanation:
        assert term.unexplained == (0, 0)
        for part in (*term.indexer_less_chain, *term.webapp_less_indexer):
            assert part.amount
            assert part.reason == REASONS[part.code]
    with localcontext(prec=3000):
        check_sources(account, explanation)
    check_prices(account, explanation)
    check_texts(account, explanation)
    return explanation


def check_sources(account: Subaccount, explanation: Explanation) -> None:
    """Each column is that of its source."""
    equity, initial, maintenance, free = (explanation[name] for name in ACCOUNT_TERMS)
    nc, imr, mmr = account.exact_risk()
    assert [t.chain * 10**6 for t in (equity, initial, maintenance, free)] == [nc, imr, mmr, nc - imr]
    assert (equity.indexer, free.indexer) == (account.equity, account.free_collateral)
    app = WebApp(account)
    assert (equity.webapp, initial.webapp) == (app.equity, app.initial)
    assert (maintenance.webapp, free.webapp) == (app.maintenance, app.free)
    of_market = {(term.market, term.name): term for term in explanation if term.market}
    for ticker, position in account.positions.items():
        value, initial_risk, _, mmf = app.risks[ticker]
        alone = margin.position_risk(
            position.market.perpetual, position.quantums, 0, account.leverage_choices.get(ticker, 0)
        )
        for name, chain, shown, webapp in (
            ("value", alone.nc, value, value),
            ("initial margin", alone.imr, abs(value) * position.market.initial_margin_fraction, initial_risk),
            ("maintenance margin", alone.mmr, abs(value) * mmf, abs(value) * mmf),
        ):
            term = of_market.pop((ticker, name))
            assert (term.chain * 10**6, term.indexer, term.webapp) == (chain, shown, webapp)
    assert not of_market


def check_prices(account: Subaccount, explanation: Explanation) -> None:
    """The chain's price, the web app's, and between them the exact root of a straight line."""
    prices = explanation.liquidation_prices
    assert {ticker: term.chain for ticker, term in prices.items()} == account.liquidation_prices
    with localcontext(prec=3000):
        app = WebApp(account)
    for ticker, term in prices.items():
        assert term.unexplained == (0, 0)
        with localcontext(prec=3000):
            assert term.webapp == app.liquidation_price(ticker)
        value, _, size, mmf = map(Fraction, app.risks[ticker])
        divisor = size - abs(size) * mmf
        assert (term.real is None) == (divisor == 0)
        if term.real is None:
            continue
        others = Fraction(app.maintenance) - abs(value) * mmf
        rest = Fraction(account.equity) - value - others
        assert divisor * term.real + rest == 0
        assert all(part.amount and part.reason for part in (*term.chain_less_real, *term.webapp_less_real))
        codes = [part.code for part in term.chain_less_real]
        assert len(set(codes)) == len(codes)
        if not isinstance(term.chain, OraclePrice):
            assert not codes
            continue
        assert ("grid" in codes) != ("no_margin" in codes)


def check_texts(account: Subaccount, explanation: Explanation) -> None:
    """The dictionary holds the same numbers, in words that JSON keeps; the text's lines fit the screen."""
    document = json.loads(json.dumps(explanation.to_dict()))
    assert document["is_complete"] is True
    with localcontext(prec=3000):
        for entry, term in zip(document["terms"], explanation, strict=True):
            assert (entry["name"], entry["market"]) == (term.name, term.market)
            assert [Decimal(entry[key]) for key in ("chain", "indexer", "webapp")] == [
                term.chain,
                term.indexer,
                term.webapp,
            ]
            for key, parts in (
                ("indexer_less_chain", term.indexer_less_chain),
                ("webapp_less_indexer", term.webapp_less_indexer),
            ):
                assert [(p["code"], p["market"], Decimal(p["amount"])) for p in entry[key]] == [
                    (part.code, part.market, part.amount) for part in parts
                ]
        assert "e" not in json.dumps([e["chain"] for e in document["terms"]]).lower()
    for entry, (ticker, price) in zip(
        document["liquidation_prices"], explanation.liquidation_prices.items(), strict=True
    ):
        assert (entry["market"], entry["chain"]) == (ticker, str(price.chain))
        assert entry["real"] == (None if price.real is None else str(price.real))
        if price.real is not None and entry["chain_integer"] is not None:
            parts = sum(Fraction(part["amount"]) for part in entry["chain_less_real"])
            assert Fraction(entry["chain"]) - Fraction(entry["real"]) == parts
        if entry["formula"] is not None:
            parts = sum(Fraction(part["amount"]) for part in entry["webapp_less_real"])
            assert Fraction(entry["formula"]) - Fraction(entry["real"]) == parts
    assert max(map(len, str(explanation).splitlines())) <= COLUMNS
    assert "NOT COMPLETE" not in str(explanation)
    assert copy.deepcopy(explanation) == pickle.loads(pickle.dumps(explanation)) == explanation


# -- accounts as they come, and as they may come


@pytest.mark.parametrize(
    "record",
    [pytest.param(r, id=f"{r.name}, {r.subaccount.number}") for r in recorded_subaccounts()],
)
def test_the_recorded_accounts_are_accounted_for(record: Any) -> None:
    """Nothing is left over, and the indexer's column is what it reported, digit for digit."""
    explanation = accounted(record.subaccount)
    assert explanation["net collateral"].indexer == record.reported_equity
    assert explanation["free collateral"].indexer == record.reported_free_collateral


if SAMPLES.is_dir():
    from dydx_perf.account_files import read_accounts

    ANSWERS = [
        *SAMPLES.glob("ws/recorded/v4_*subaccounts.subscribed*.json"),
        *SAMPLES.glob("rest/*ubaccount*recorded*.json"),
        *SAMPLES.glob("rest/address.*.json"),
    ]

    @pytest.mark.parametrize("path", [pytest.param(p, id=p.name) for p in sorted(ANSWERS)])
    def test_the_sample_answers_are_accounted_for(path: Path) -> None:
        """Every answer and snapshot among the samples, with markets of its time."""
        year = "2023-11" if path.name == "v4_subaccounts.subscribed.position.json" else "2024-04"
        read = read_accounts(path, SAMPLES / f"ws/recorded/v4_markets.subscribed.{year}.json")
        assert read.accounts
        for account in read.accounts:
            accounted(account)

    def test_the_answers_are_all_there() -> None:
        assert len(ANSWERS) == 10


@st.composite
def troubled(draw: st.DrawFn) -> Plan:
    """Accounts near their margin with all at once that sources see differently."""
    plan = draw(near_margin())
    for number, perpetual in plan.perpetuals.items():
        worth = margin.notional(perpetual, draw(st.integers(1, 10**13)))
        lower = draw(st.integers(0, min(2 * worth, 2**62)))
        upper = draw(st.one_of(st.just(0), st.just(lower), st.integers(lower, 2**63)))
        plan.perpetuals[number] = replace(
            perpetual,
            open_interest=draw(st.integers(0, 10**13)),
            open_interest_lower_cap=lower,
            open_interest_upper_cap=upper,
        )
        position = plan.positions[number]
        if draw(st.booleans()):
            plan.positions[number] = replace(position, quote_balance=draw(st.integers(-(10**9), 10**9)))
        if draw(st.booleans()):
            plan.leverage[number] = draw(st.one_of(CHOSEN_PPM, PPM))
    if len(plan.perpetuals) == 1 and draw(st.booleans()):
        plan.perpetuals[0] = replace(plan.perpetuals[0], market_type=MARKET_TYPE_ISOLATED)
    if draw(st.booleans()):
        plan.usdc -= draw(st.integers(0, 10**12))
    return plan


@given(troubled())
def test_differences_of_every_kind_are_accounted_for(plan: Plan) -> None:
    accounted(plan.account(dydx_perf))


@given(plans(most=4))
@FEWER
def test_amounts_of_any_size_are_accounted_for(plan: Plan) -> None:
    """Past 128 bits, with the coarsest and the finest exponents that a market may have."""
    accounted(plan.account(dydx_perf))


@given(troubled())
@FEWER
def test_the_plain_objects_explain_the_same(plan: Plan) -> None:
    mine, twin = plan.account(dydx_perf).explain(), plan.account(PLAIN).explain()
    assert mine.to_dict() == twin.to_dict()
    assert str(mine) == str(twin)


# -- each reason by itself

BTC = Perpetual(0, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0)


def parts_of(term: Term, side: str) -> dict[str, Decimal]:
    parts: Iterable[Part] = getattr(term, side)
    return {part.code: part.amount for part in parts}


def one(
    usdc: int = 10**9, quantums: int = 10**9, chosen: int = 0, position: Any = None, **change: Any
) -> Any:
    perpetual = replace(BTC, **change)
    held = PerpetualPosition(0, quantums, 0, **(position or {}))
    plan = Plan({0: perpetual}, usdc, {0: held}, {0: chosen} if chosen else {})
    return plan.account(dydx_perf)


def test_scaling_and_choice_are_told_apart() -> None:
    """Half way between its caps the fraction is 51 %; a choice of 60 % comes on top, one of 40 % does not."""
    scaled = {"open_interest": 10**10, "open_interest_upper_cap": 2 * 67_012_500_000}
    account = one(**scaled)
    term = account.explain()["initial margin"]
    assert account.chain["M0-USD"].scaled_initial_margin_ppm == 510_000
    value = Decimal("6701.25")
    assert parts_of(term, "indexer_less_chain") == {"scaling": value * Decimal("-0.49")}
    assert parts_of(term, "webapp_less_indexer") == {"webapp_scaling": value * Decimal("0.49")}
    term = one(chosen=600_000, **scaled).explain()["initial margin"]
    assert parts_of(term, "indexer_less_chain") == {
        "scaling": value * Decimal("-0.49"),
        "choice": value * Decimal("-0.09"),
    }
    # 1 / 0.6 has no end, and the app cuts it before it divides again
    webapp = parts_of(term, "webapp_less_indexer")
    assert webapp["webapp_choice"] == value * Decimal("0.09")
    assert abs(webapp.get("webapp_division", ZERO)) < Decimal("1e-15")
    assert parts_of(one(chosen=400_000, **scaled).explain()["initial margin"], "indexer_less_chain") == {
        "scaling": value * Decimal("-0.49")
    }


def test_a_choice_above_all_shows_the_division_twice() -> None:
    """A fraction of 4,294.967295 is a leverage of 0.0002...: what is cut there is large in its reciprocal."""
    term = one(chosen=2**32 - 1).explain()["initial margin"]
    assert parts_of(term, "webapp_less_indexer")["webapp_division"] != 0


def test_the_web_app_takes_leverage_one_without_a_fraction() -> None:
    term = one(initial_margin_ppm=0).explain()["initial margin"]
    assert parts_of(term, "webapp_less_indexer") == {"webapp_no_fraction": Decimal("6701.25")}


def test_funding_is_floored_once_and_quote_balances_are_the_chains_own() -> None:
    """A third of a quantum due: the chain books -1, the indexer shows all of it."""
    account = one(quantums=3, funding_index=111_111, position={"quote_balance": 7})
    term = account.explain()["net collateral"]
    assert account.risk.nc == 10**9 + 7 - 1 + 20
    assert parts_of(term, "indexer_less_chain") == {
        "funding_floor": Decimal("0.000000666667"),
        "quote_balance": Decimal("-0.000007"),
        "notional_trunc": Decimal("0.00000010375"),
    }


def test_an_account_under_water_is_shown_as_empty() -> None:
    """Equity and free collateral of 0, and a liquidation price that does not see the deficit."""
    account = one(usdc=-7_000_000_000)
    explanation = account.explain()
    assert parts_of(explanation["net collateral"], "webapp_less_indexer") == {
        "equity_clamp": Decimal("298.75")
    }
    free = parts_of(explanation["free collateral"], "webapp_less_indexer")
    assert free == {"equity_clamp": Decimal("298.75"), "free_clamp": Decimal("134.025")}
    price = explanation.liquidation_prices["M0-USD"]
    assert price.webapp == quotient(Decimal("67012.5"), Decimal("0.988"))
    assert price.real == Fraction(70_000) / Fraction("0.988")
    clamp = next(part.amount for part in price.webapp_less_real if part.code == "price_clamp")
    assert clamp == Fraction("-2987.5") / Fraction("0.988")


def test_margin_as_large_as_the_value_leaves_no_formula() -> None:
    """A long with a maintenance margin of 100 %: no divisor, so no price of the web app to be explained."""
    explanation = one(initial_margin_ppm=10**6, maintenance_fraction_ppm=10**6).explain()
    price = explanation.liquidation_prices["M0-USD"]
    assert (price.real, price.formula, price.webapp, price.unexplained) == (None, None, None, (0, 0))
    assert "no divisor" in str(explanation)
    entry = explanation.to_dict()["liquidation_prices"][0]
    assert (entry["real"], entry["formula"], entry["webapp"]) == (None, None, None)


def test_without_a_margin_there_is_no_liquidation() -> None:
    """A short under water at any price, too small for a margin: it begins where the margin does."""
    account = one(usdc=-(10**6), quantums=-1, maintenance_fraction_ppm=1)
    price = account.explain().liquidation_prices["M0-USD"]
    assert isinstance(price.chain, OraclePrice)
    codes = [part.code for part in price.chain_less_real]
    assert "no_margin" in codes
    assert "grid" not in codes


def test_a_margin_may_begin_at_the_second_price() -> None:
    """At 1 the short is worth nothing whole and has no margin; at 2 it is liquidatable."""
    account = one(usdc=-1, quantums=-6 * 10**9, atomic_resolution=-10, exponent=-6)
    price = account.explain().liquidation_prices["M0-USD"]
    assert isinstance(price.chain, OraclePrice)
    assert price.chain.integer == 2
    assert "no_margin" in [part.code for part in price.chain_less_real]


@pytest.mark.parametrize("power", [-2, -1, 0, 1])
def test_open_interest_scales_at_any_power_of_ten(power: int) -> None:
    """Its value is 750 USDC between caps of 500 and 1,000, however coarse or fine a base quantum is."""
    account = one(
        quantums=1,
        atomic_resolution=power - 6,
        exponent=0,
        price=30,
        open_interest=int(25_000_000 * Decimal(10) ** -power),
        open_interest_lower_cap=500_000_000,
        open_interest_upper_cap=1_000_000_000,
    )
    term = accounted(account)["initial margin"]
    assert account.chain["M0-USD"].scaled_initial_margin_ppm == 510_000
    assert term.webapp == term.indexer * 51 / 2
    assert [part.code for part in term.webapp_less_indexer] == ["webapp_scaling"]


def test_a_long_stops_at_the_grid() -> None:
    """Below its price a long only loses: nothing nearer is without a margin."""
    price = one(usdc=-(6 * 10**9)).explain().liquidation_prices["M0-USD"]
    assert isinstance(price.chain, OraclePrice)
    codes = [part.code for part in price.chain_less_real]
    assert "grid" in codes
    assert "no_margin" not in codes


def test_a_choice_without_a_size_moves_nothing() -> None:
    """No part is zero, whatever the fractions are."""
    accounted(one(quantums=0, chosen=600_000, position={"quote_balance": 5}))


def test_an_explanation_is_of_its_moment() -> None:
    account = one()
    before = account.explain()
    text, document = str(before), before.to_dict()
    account.chain["M0-USD"].set_oracle_price("50000")
    account.set_usdc("1")
    assert (str(before), before.to_dict()) == (text, document)
    assert account.explain() != before


def test_terms_are_found_by_name() -> None:
    explanation = one().explain()
    assert explanation["free collateral"] in list(explanation)
    assert [term.name for term in explanation][:4] == list(ACCOUNT_TERMS)
    assert [term.market for term in explanation][4:] == ["M0-USD"] * 3
    with pytest.raises(KeyError):
        explanation["value"]


def test_a_wrong_figure_is_not_explained_away() -> None:
    """Were the risk or a price off by one, the parts would not add up, and the text would say so."""
    explanation = one().explain()
    rows = explanation.rows
    for spoiled in (
        replace(explanation, rows=rows._replace(account=(
            rows.account[0]._replace(chain=rows.account[0].chain + 1), *rows.account[1:]))),
        replace(explanation, rows=rows._replace(positions=(
            rows.positions[0]._replace(webapp=rows.positions[0].webapp + 1), *rows.positions[1:]))),
    ):  # fmt: skip
        assert_not_complete(spoiled)


def assert_not_complete(spoiled: Explanation) -> None:
    assert not spoiled.is_complete
    assert not spoiled.to_dict()["is_complete"]
    assert str(spoiled).endswith("NOT COMPLETE: some difference is not accounted for by its parts")


@pytest.mark.parametrize("column", ["chain", "real", "formula"])
def test_a_wrong_price_is_not_explained_away(column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices are split when they are read; were a column of one off, its parts would not add up."""
    explanation = one(quantums=-(10**9) - 1).explain()
    assert explanation.is_complete
    (row,) = explanation.rows.prices
    spoiled = row._replace(**{column: getattr(row, column) + 1})
    monkeypatch.setattr("dydx_perf.exact.explanation.price_row", lambda *split: spoiled)
    assert_not_complete(explanation)


def test_codes_and_sentences() -> None:
    """Every code has a sentence of one line, without a full stop, for the text and for JSON alike."""
    for code, reason in REASONS.items():
        assert code.replace("_", "").isalpha()
        assert 20 < len(reason) < 100
        assert not reason.endswith(".")
        assert Part(code, ZERO).reason == PricePart(code, Fraction(0)).reason == reason


def test_text_of_a_short_account() -> None:
    """What `str` looks like, to the letter."""
    account = one(quantums=-(10**9) - 1, chosen=100_000)
    lines = str(account.explain()).splitlines()
    assert lines[0] == "dydx1test/0, in USDC; basis estimate, height not known"
    assert [line for line in lines if line and not line.startswith(" ")][1:] == [
        *ACCOUNT_TERMS,
        "M0-USD value",
        "M0-USD initial margin",
        "M0-USD maintenance margin",
        "M0-USD liquidation price",
    ]
    start = lines.index("M0-USD initial margin") + 1
    assert "\n".join(lines[start : start + 8]) == INITIAL_MARGIN
    assert "\n".join(lines[-9:]) == LIQUIDATION_PRICE
    assert max(map(len, lines)) <= COLUMNS


INITIAL_MARGIN = """\
  chain      670.125001
            -536.1000005361    the subaccount has chosen a higher initial margin fraction; the indexer does
                               not know it
              +0.000000070125  the chain truncates the value of a position to a quote quantum
              -0.0000004       the chain rounds the initial margin up to a quote quantum
  indexer    134.025000134025
            +536.1000005361    the web app counts the chosen leverage; the indexer does not know it
  web app    670.125000670125"""

LIQUIDATION_PRICE = """\
  unrounded     9881.422915019762855731225287…
                  +0.000009764251897350372609…  the chain truncates the position's value at that price
                  -0.000004665437668101360751…  the chain rounds the position's margin there up, twice
                  +0.000009881422915019762856…  the first whole price step with less collateral than margin
  chain         9881.42293                      integer 988142293
  unrounded as above
              +56336.462460474308290513834002…  the web app's formula takes an equity below zero for zero
                  +0.000000000000000000000711…  the web app's quotient has 20 decimals
  web app      66217.88537549407114624506"""


@given(st.integers(0, 10**6))
@settings(max_examples=80)
def test_each_part_is_what_its_sentence_says(seed: int) -> None:
    """That parts add up is not enough: two of them could be wrong by the same amount."""
    account = small_account(seed)
    terms = {(term.name, term.market): term for term in account.explain()}
    for ticker, position in account.positions.items():
        market = position.market
        exact = abs(Fraction(position.size) * Fraction(market.oracle_price.decimal))
        whole = Fraction(abs(position.notional), 10**6)
        base, scaled = (
            Fraction(ppm, 10**6) for ppm in (market.initial_margin_ppm, market.scaled_initial_margin_ppm)
        )
        used = max(scaled, Fraction(position.custom_imf_ppm, 10**6))
        mmf = base * Fraction(market.maintenance_fraction_ppm, 10**6)
        initial, maintenance = terms["initial margin", ticker], terms["maintenance margin", ticker]
        assert moved(initial) == nonzero(
            scaling=exact * (base - scaled),
            choice=exact * (scaled - used),
            notional_trunc=(exact - whole) * used,
            initial_ceil=whole * used - Fraction(initial.chain),
        )
        assert moved(maintenance) == nonzero(
            notional_trunc=(exact - whole) * mmf,
            maintenance_ceil=whole * mmf - Fraction(maintenance.chain),
        )


def moved(term: Term) -> dict[str, Fraction]:
    return {part.code: Fraction(part.amount) for part in term.indexer_less_chain}


def nonzero(**amounts: Fraction) -> dict[str, Fraction]:
    return {code: amount for code, amount in amounts.items() if amount}
