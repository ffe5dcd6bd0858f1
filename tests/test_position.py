"""Position: exact units, what it is worth, what it has not been paid yet."""

from __future__ import annotations

import copy
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from faces import Plan, each_face, integers_of_any_size, market_of, perpetuals
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.exact.state import Perpetual, PerpetualPosition

BTC = Perpetual(0, -10, 6_701_250_000, -5, 77, 0, 20_000, 600_000, 0, 0)


def trunc(value: Fraction) -> int:
    return int(value)


@each_face
@given(perpetual=perpetuals(3), quantums=integers_of_any_size(), index=integers_of_any_size())
def test_every_figure_of_a_position(face: Any, perpetual: Perpetual, quantums: int, index: int) -> None:
    market = market_of(face, perpetual)
    with localcontext(prec=4):
        position = face.Position(market, quantums=quantums, funding_index=index, quote_balance=-quantums)
        size, value, due = position.size, position.value, position.unsettled_funding_usdc
    coins = quantums * Fraction(10) ** perpetual.atomic_resolution
    dollars = coins * perpetual.price * Fraction(10) ** perpetual.exponent
    owed = (index - perpetual.funding_index) * quantums
    assert Fraction(size) == coins
    assert Fraction(value) == dollars
    assert position.notional == trunc(dollars * 10**6)
    assert position.unsettled_funding_ppm == owed
    assert Fraction(due) * 10**6 == owed // 10**6
    assert position.side == ("SHORT" if quantums < 0 else "LONG")
    assert position.state == PerpetualPosition(3, quantums, index, -quantums)
    assert face.Position(market, quantums=quantums).unsettled_funding_ppm == 0


@each_face
@given(quantums=st.integers(-(10**30), 10**30))
def test_a_size_is_exact_in_text_and_decimal(face: Any, quantums: int) -> None:
    market = market_of(face, BTC)
    text = format(Decimal(quantums).scaleb(-10), "f") if abs(quantums) < 10**28 else f"{quantums}e-10"
    assert face.Position(market, text).quantums == quantums
    assert face.Position(market, Decimal(f"{quantums}e-10")).quantums == quantums
    assert face.Position(market, quantums).quantums == quantums * 10**10


@each_face
def test_a_position_is_a_value_on_a_live_market(face: Any) -> None:
    market = market_of(face, BTC)
    position = face.Position(
        market, "0.8", entry_price="60000", realized_pnl="-1.5", net_funding=Decimal("0.25")
    )
    assert position == face.Position(
        market, quantums=8_000_000_000, entry_price=60_000, realized_pnl="-1.50", net_funding="0.25"
    )
    assert hash(position) == hash(copy.copy(position))
    assert copy.copy(position) == position
    assert position != face.Position(market_of(face, BTC), "0.8", entry_price="60000", realized_pnl="-1.5",
                                     net_funding="0.25")  # fmt: skip
    assert repr(position) == "Position(M0-USD +0.8000000000, entry_price=60000)"
    assert (position.ticker, position.funding_index, position.quote_balance) == ("M0-USD", 77, 0)
    for name in ("quantums", "market", "entry_price", "anything"):
        with pytest.raises((AttributeError, TypeError)):
            setattr(position, name, 1)
    assert position.value == Decimal("53610")
    market.set_oracle_price("70000")
    assert position.value == 56_000
    with pytest.raises(TypeError, match="a Market belongs to its chain"):
        copy.deepcopy(position)


@each_face
def test_the_account_keeps_what_the_position_says(face: Any) -> None:
    plan = Plan({0: BTC})
    chain = plan.chain(face)
    given_position = face.Position(
        chain["M0-USD"], "-1", funding_index=70, quote_balance=3, custom_imf_ppm=30_000, entry_price="7"
    )
    account = face.Subaccount(chain, "a", positions=[given_position])
    assert account.positions == {"M0-USD": given_position}
    assert account.leverage_choices == {"M0-USD": 30_000}
    later = face.Position(chain["M0-USD"], "-2", custom_imf_ppm=40_000)
    account.set_position("M0-USD", later)
    assert account.positions == {"M0-USD": later}
    assert account.state.leverage == {0: 40_000}
    account.set_position("M0-USD", "-3")  # a bare size leaves the choice as it is
    assert account.state.leverage == {0: 40_000}
    assert account.positions["M0-USD"].custom_imf_ppm == 40_000
    account.set_leverage("M0-USD", 0)
    assert account.state.leverage == account.leverage_choices == {}
    assert account.positions["M0-USD"].custom_imf_ppm == 0
    account.set_leverage(0, 50_000)  # a perpetual id names a market as well
    account.close_position(0)
    assert account.positions == {}
    assert account.leverage_choices == {"M0-USD": 50_000}  # as on the chain, it outlives the position
    account.set_position(0, 1)
    assert account.positions["M0-USD"].custom_imf_ppm == 50_000
    account.set_position("M0-USD", 0)
    assert account.positions == {}
    assert face.Subaccount(chain, "a", positions={"M0-USD": 0}).positions == {}
