"""Pnl: the indexer's figures by fractions, and as it reported them itself."""

from __future__ import annotations

import copy
import pickle
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from faces import Plan, each_face, market_of, refused
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.exact.state import Perpetual
from dydx_perf.recorded import recorded_subaccounts

BTC = Perpetual(0, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0)
DOLLARS = st.decimals(-(10**12), 10**12, places=8, allow_nan=False)


@each_face
@given(
    quantums=st.integers(-(10**20), 10**20),
    price=st.integers(1, 2**64 - 1),
    entry=DOLLARS.map(abs),
    realized=DOLLARS,
    funding=DOLLARS,
    indices=st.tuples(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70)),
)
def test_every_part_is_exact(
    face: Any, quantums: int, price: int, entry: Decimal, realized: Decimal, funding: Decimal,
    indices: tuple[int, int],
) -> None:  # fmt: skip
    chain = Plan({0: BTC}).chain(face)
    chain["M0-USD"].set_oracle_price_integer(price)
    chain["M0-USD"].set_funding_index(indices[1])
    position = face.Position(
        chain["M0-USD"], quantums=quantums, funding_index=indices[0], quote_balance=1, entry_price=entry,
        realized_pnl=realized, net_funding=funding,
    )  # fmt: skip
    with localcontext(prec=3):
        pnl = face.Subaccount(chain, "a", positions=[position]).pnl("M0-USD")
        total = pnl.total
    coins = Fraction(quantums, 10**10)
    unrealized = coins * (Fraction(price, 10**5) - Fraction(entry))
    paid = Fraction(funding) + Fraction((indices[0] - indices[1]) * quantums, 10**12)
    assert Fraction(pnl.unrealized) == unrealized
    assert Fraction(pnl.net_funding) == paid
    assert (pnl.entry_price, pnl.realized) == (entry, realized)
    assert Fraction(total) == unrealized + paid + Fraction(realized)
    assert copy.deepcopy(pnl) == pnl


def test_the_recorded_accounts_are_reproduced_digit_for_digit() -> None:
    seen = 0
    for record in recorded_subaccounts():
        account = record.subaccount
        assert account.equity == record.reported_equity
        assert account.free_collateral == record.reported_free_collateral
        for ticker, reported in record.reported_unrealized_pnl.items():
            assert account.pnl(ticker).unrealized == reported
            seen += 1
    assert seen > 40


def test_a_pnl_is_a_value() -> None:
    account = next(r.subaccount for r in recorded_subaccounts() if r.subaccount.positions)
    pnl = account.pnl(next(iter(account.positions)))
    assert pickle.loads(pickle.dumps(pnl)) == pnl
    with pytest.raises(AttributeError):
        pnl.realized = Decimal(1)  # type: ignore[misc]


@each_face
def test_what_has_no_pnl_is_refused(face: Any) -> None:
    chain = face.Chain([market_of(face, BTC), market_of(face, Perpetual(1, -9, 5, -6, 0, 0, 1, 1, 0, 0))])
    account = face.Subaccount(chain, "a", positions={"M0-USD": 1})
    with refused(face, "InputError", "entry_price"):
        account.pnl("M0-USD")
    with refused(face, "InputError", "market"):
        account.pnl("M1-USD")
    unknown: Any
    for unknown in ("M2-USD", None, 1.0, True, [], "x" * 10**5):
        with refused(face, "UnknownMarketError"):
            account.pnl(unknown)
