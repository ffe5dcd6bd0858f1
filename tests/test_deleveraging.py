"""Deleveraging follows the chain's rules, position by position (B11)."""

import os
from fractions import Fraction

import pytest
from scenario_cases import state, walked

from dydx_perf import Book, Chain, ChainError, InputError, Subaccount, UnknownMarketError
from dydx_perf.deleveraging import accounts_below_zero, deleveraging_cases, deleveraging_exposure
from dydx_perf.exact import liquidation as rules
from dydx_perf.exact.margin import is_liquidatable, subaccount_risk

BTC = "BTC-USD"
DEEP = os.environ.get("DYDX_PERF_EXAMPLES") == "deep"


def market_book(indexed: bool = True) -> Book:
    """A long that owes 1,000 USDC at 20,000, two shorts opposite it, a long beside it."""
    chain = Chain.sample("v9")
    chain[BTC].set_oracle_price("20000")
    book = Book(chain, max_subaccounts=8, max_positions=8, indexed=indexed)
    book.add(Subaccount(chain, "dydx1broke", 0, usdc="-21000", positions={BTC: "1"}))
    book.add(Subaccount(chain, "dydx1short", 0, usdc="50000", positions={BTC: "-0.8"}))
    book.add(Subaccount(chain, "dydx1short", 1, usdc="50000", positions={BTC: "-0.6"}))
    book.add(Subaccount(chain, "dydx1long", 0, usdc="50000", positions={BTC: "2"}))
    return book


@pytest.mark.parametrize("indexed", [True, False])
def test_a_short_sees_who_stands_opposite_and_at_which_price(indexed: bool) -> None:
    """One coin on 21,000 USDC of debt is taken at 21,000; a short of 0.8 gives all of it, or 0.4 at least."""
    book = market_book(indexed)
    exposure = deleveraging_exposure(book, ("dydx1short", 0), BTC)
    (opposite,) = exposure.opposite
    assert (opposite.case.address, opposite.case.net_collateral) == ("dydx1broke", -1_000_000_000)
    assert opposite.case.price == Fraction(21_000)
    assert opposite.case.quote_quantums == 21_000_000_000
    assert opposite.base_quantums == exposure.most == -exposure.quantums == 8 * 10**9
    assert opposite.quote_quantums == 16_800_000_000
    assert opposite.refusal is None
    assert exposure.least == 4 * 10**9
    assert (exposure.same_side, exposure.chance) == (2, 1)
    assert deleveraging_exposure(book, ("dydx1short", 0), BTC, max_iterated=1).chance == Fraction(1, 2)
    assert deleveraging_exposure(book, ("dydx1short", 0), BTC, max_iterated=1).least == 0
    nobody = deleveraging_exposure(book, ("dydx1long", 0), BTC)
    assert (nobody.opposite, nobody.most, nobody.least, nobody.same_side) == ((), 0, 0, 2)
    assert [(b.address, b.net_collateral) for b in accounts_below_zero(book)] == [("dydx1broke", -(10**9))]


def test_a_match_that_would_harm_the_other_side_is_refused() -> None:
    """A short whose own bankruptcy price lies below the one asked: the prices do not overlap."""
    book = market_book()
    book.add(Subaccount(book.chain, "dydx1short", 2, usdc="20500", positions={BTC: "-1"}))
    exposure = deleveraging_exposure(book, ("dydx1short", 2), BTC)
    assert "ErrFailedToUpdateSubaccounts" in str(exposure.opposite[0].refusal)
    assert (exposure.most, exposure.least) == (0, 0)


def test_in_final_settlement_everybody_is_closed() -> None:
    """Who owes nothing at the oracle price, who is below zero at its bankruptcy price."""
    book = market_book()
    assert len(deleveraging_cases(book, BTC)) == 1
    book.chain[BTC].set_order_book(status="FINAL_SETTLEMENT")
    cases = {(c.address, c.number): c for c in deleveraging_cases(book, BTC)}
    assert len(cases) == 4
    assert {c.at_oracle_price for c in cases.values()} == {True, False}
    assert cases["dydx1long", 0].price == 20_000
    assert cases["dydx1broke", 0].price == 21_000
    assert not cases["dydx1broke", 0].needs_unfilled


@pytest.mark.parametrize("seed", range(100 if DEEP else 5))
def test_cases_are_those_of_the_rules(seed: int) -> None:
    """Each liquidatable account below zero, with its bankruptcy price, of books in any state."""
    model = walked(seed, 40, wild=seed % 3 == 0, indexed=bool(seed % 2))
    perpetuals = {m.perpetual_id: m.perpetual for m in model.chain}
    states = {name: state(model.chain, account) for name, account in model.accounts.items()}
    risks = {name: subaccount_risk(perpetuals, held) for name, held in states.items()}
    assert {one[:2]: one[2] for one in accounts_below_zero(model.book)} == {
        name: risk.nc for name, risk in risks.items() if risk.nc < 0
    }
    for market in model.chain:
        expected = {}
        for name, held in states.items():
            size = sum(p.quantums for p in held.perpetual_positions if p.perpetual_id == market.perpetual_id)
            if size and risks[name].nc < 0 and is_liquidatable(risks[name]):
                case = rules.Liquidation(
                    perpetuals, held, market.perpetual_id, model.chain.parameters.liquidations
                )
                assert rules.can_deleverage(case)[0]
                quote = rules.bankruptcy_price_quote_quantums(case, -size)
                expected[name] = (size, quote, risks[name].nc)
        cases = deleveraging_cases(model.book, market.ticker)
        found = {(c.address, c.number): (c.quantums, c.quote_quantums, c.net_collateral) for c in cases}
        assert found == expected
        assert [c.net_collateral for c in cases] == sorted(c.net_collateral for c in cases)
        for name, held in states.items():
            size = sum(p.quantums for p in held.perpetual_positions if p.perpetual_id == market.perpetual_id)
            if not size:
                continue
            exposure = deleveraging_exposure(model.book, name, market.ticker)
            opposite = {n: e for n, e in expected.items() if (e[0] > 0) != (size > 0)}
            assert {(o.case.address, o.case.number) for o in exposure.opposite} == set(opposite)
            same = [
                sum(p.quantums for p in other.perpetual_positions if p.perpetual_id == market.perpetual_id)
                for other in states.values()
            ]
            same = [abs(q) for q in same if q and (q > 0) == (size > 0)]
            assert exposure.same_side == len(same)
            assert exposure.least <= exposure.most <= abs(size) or exposure.least == 0
            for one in exposure.opposite:
                assert one.base_quantums == min(abs(size), abs(one.case.quantums))


def test_wrong_questions_are_refused() -> None:
    book = market_book()
    with pytest.raises(ChainError):
        deleveraging_exposure(book, ("dydx1short", 0), "ETH-USD")
    with pytest.raises(UnknownMarketError):
        deleveraging_cases(book, "NONE-USD")
    with pytest.raises(InputError):
        deleveraging_exposure(book, ("dydx1short", 0), BTC, max_iterated=-1)


def test_an_account_at_zero_owes_nothing() -> None:
    """Liquidatable, and not to be deleveraged."""
    book = market_book()
    book.add(Subaccount(book.chain, "dydx1zero", 0, usdc="-20000", positions={BTC: "1"}))
    assert ("dydx1zero", 0) in book.liquidatable()
    assert [case.address for case in deleveraging_cases(book, BTC)] == ["dydx1broke"]
