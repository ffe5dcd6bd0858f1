"""Risk and OraclePrice: the frozen answers."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from faces import FACES, FEWER, each_face, figures, integers_of_any_size, plans, refused
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.exact import margin
from dydx_perf.exact.state import RiskState

INTEGERS = integers_of_any_size(300)
RISKS = st.builds(RiskState, INTEGERS, INTEGERS.map(abs), INTEGERS.map(abs))
NO_INTEGERS: list[Any] = [1.0, True, None, "1", Decimal(1), [], float("nan")]


def str_of(value: object) -> str:
    return f"{value.bit_length()} bits" if isinstance(value, int) else repr(value)


def risk_of(face: Any, state: RiskState, *more: Any) -> Any:
    return face.Risk.from_integers(state.nc, state.imr, state.mmr, *more)


@each_face
@given(state=RISKS)
def test_a_risk_keeps_integers_of_any_size(face: Any, state: RiskState) -> None:
    risk = risk_of(face, state)
    assert figures(risk) == state
    assert (risk.net_collateral, risk.initial_margin_requirement) == (state.nc, state.imr)
    assert risk.maintenance_margin_requirement == state.mmr
    with localcontext(prec=3):  # the caller's own context rounds nothing here
        dollars = (
            risk.net_collateral_usdc,
            risk.initial_margin_requirement_usdc,
            risk.maintenance_margin_requirement_usdc,
        )
    assert [Fraction(amount) * 10**6 for amount in dollars] == [state.nc, state.imr, state.mmr]
    assert risk.distance == state.nc - state.mmr


@each_face
@given(state=RISKS)
def test_the_three_questions_are_the_chains(face: Any, state: RiskState) -> None:
    risk = risk_of(face, state)
    assert risk.is_initial_collateralized is (state.nc >= state.imr)
    assert risk.is_maintenance_collateralized is (state.nc >= state.mmr)
    assert risk.is_liquidatable is (state.mmr > 0 and state.mmr > state.nc)


@each_face
@given(a=RISKS, b=RISKS, c=st.sampled_from(["a", "nc", "both"]))
def test_the_riskier_of_two_is_the_chains(face: Any, a: RiskState, b: RiskState, c: str) -> None:
    if c == "nc":  # ties, which independent draws never give
        b = RiskState(a.nc, b.imr, a.mmr)
    elif c == "both":
        b = RiskState(2 * a.nc, a.imr, 2 * a.mmr)
    left, right = risk_of(face, a), risk_of(face, b)
    assert left.is_riskier_than(right) == (margin.compare_risk(a, b) > 0)
    assert right.is_riskier_than(left) == (margin.compare_risk(a, b) < 0)


@each_face
@given(a=RISKS, b=RISKS)
def test_equal_figures_are_equal_whatever_the_height_and_the_basis(
    face: Any, a: RiskState, b: RiskState
) -> None:
    assert risk_of(face, a) == risk_of(face, a, 5, "sample", "noon")
    assert hash(risk_of(face, a)) == hash(risk_of(face, a, 5, "chain"))
    assert (risk_of(face, a) == risk_of(face, b)) is (a == b)
    assert risk_of(face, a) != a


@each_face
@given(
    state=RISKS,
    height=st.none() | st.integers(0, 2**62),
    basis=st.sampled_from(["chain", "estimate", "sample"]),
)
def test_copy_and_pickle_keep_everything(face: Any, state: RiskState, height: int | None, basis: str) -> None:
    risk = risk_of(face, state, height, basis, ("2026-01-01", 3))
    copies = [copy.copy(risk), copy.deepcopy(risk)]
    copies += [pickle.loads(pickle.dumps(risk, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in copies:
        assert type(other) is face.Risk
        assert figures(other) == state
        assert (other.height, other.basis, other.time) == (height, basis, ("2026-01-01", 3))


@each_face
def test_a_risk_never_changes(face: Any) -> None:
    risk = face.Risk.from_integers(1, 2, 3, 4, "chain", "t")
    for name in [name for name in dir(risk) if not name.startswith("_")] + ["anything"]:
        with pytest.raises(AttributeError):
            setattr(risk, name, 9)
        with pytest.raises(AttributeError):
            delattr(risk, name)
    assert repr(risk) == (
        "Risk(net_collateral=1, initial_margin_requirement=2, maintenance_margin_requirement=3, "
        "basis='chain', height=4)"
    )
    with pytest.raises(TypeError, match="comes from a Subaccount"):
        face.Risk()
    with pytest.raises(TypeError, match="acceptable base type"):
        type("Child", (face.Risk,), {})


@each_face
@pytest.mark.parametrize("value", NO_INTEGERS, ids=repr)
def test_a_risk_of_no_integers_is_refused_by_name(face: Any, value: Any) -> None:
    for place, argument in enumerate(("nc", "imr", "mmr")):
        with refused(face, "InputError", argument):
            face.Risk.from_integers(*[value if at == place else 1 for at in range(3)])
    if value is not None:
        with refused(face, "InputError", "height"):
            face.Risk.from_integers(1, 1, 1, value)
    with refused(face, "InputError", "basis"):
        face.Risk.from_integers(1, 1, 1, 1, value)
    with refused(face, "InputError", "other"):
        face.Risk.from_integers(1, 1, 1).is_riskier_than(value)


@each_face
@pytest.mark.parametrize("height", [-1, 2**62 + 1, 2**63, 2**64, -(2**200)])
def test_a_height_out_of_range_is_refused(face: Any, height: int) -> None:
    with refused(face, "InputError", "height"):
        face.Risk.from_integers(1, 1, 1, height)


@each_face
def test_a_dropped_wide_risk_leaves_nothing_in_the_next(face: Any) -> None:
    """Risks are taken from a list of dropped ones; large integers and the time of the last must not stay."""
    for _ in range(300):
        wide = [face.Risk.from_integers(2**200 + n, 1, 2**199, 7, "sample", object()) for n in range(80)]
        assert wide[79].nc == 2**200 + 79
        del wide
        narrow = [face.Risk.from_integers(n, 2, 3) for n in range(80)]
        assert [(r.nc, r.imr, r.mmr, r.height, r.basis, r.time) for r in narrow] == [
            (n, 2, 3, None, "estimate", None) for n in range(80)
        ]


@FEWER
@each_face
@given(plan=plans(most=3))
def test_dropped_risks_of_accounts_leave_nothing_either(face: Any, plan: Any) -> None:
    chain = plan.chain(face, height=9, time="noon")
    account = plan.account(face, chain)
    empty = face.Subaccount(face.Chain(), "dydx1empty")
    for _ in range(3):
        assert figures(account.evaluate()) == plan.risk
        assert account.evaluate().time == "noon"
        nothing = empty.evaluate()
        assert figures(nothing) == RiskState(0, 0, 0)
        assert nothing.time is None


@each_face
def test_many_threads_read_one_risk(face: Any) -> None:
    """A Risk never changes: readers need no lock."""
    risks = [face.Risk.from_integers(5, 6, 7), face.Risk.from_integers(2**130, 2**129, 2**128)]
    wanted = [(r.nc, r.imr, r.mmr, r.is_liquidatable, repr(r), hash(r)) for r in risks]
    wrong = []

    def read() -> None:
        for _ in range(2000):
            got = [(r.nc, r.imr, r.mmr, r.is_liquidatable, repr(r), hash(r)) for r in risks]
            if got != wanted:
                wrong.append(got)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# -- OraclePrice


@each_face
@given(integer=st.integers(0, 2**64 - 1), exponent=st.integers(-32, 32))
def test_an_oracle_price_is_its_integer_and_an_exact_decimal(face: Any, integer: int, exponent: int) -> None:
    price = face.OraclePrice(integer, exponent)
    with localcontext(prec=2):
        assert Fraction(price.decimal) == integer * Fraction(10) ** exponent
    assert (price.integer, price.exponent) == (integer, exponent)
    assert Decimal(str(price)) == price.decimal
    assert "E" not in str(price)
    same = face.OraclePrice(integer, exponent)
    assert price == same
    assert hash(price) == hash(same)
    assert price != face.OraclePrice(integer ^ 1, exponent)
    assert price != integer
    assert copy.deepcopy(price) == copy.copy(price) == price


@each_face
def test_an_oracle_price_never_changes_and_pickles(face: Any) -> None:
    price = face.OraclePrice(6701250000, -5)
    assert str(price) == "67012.50000"
    assert repr(price) == "OraclePrice(integer=6701250000, decimal=Decimal('67012.50000'))"
    for name in ("integer", "exponent", "decimal", "anything"):
        with pytest.raises(AttributeError):
            setattr(price, name, 9)
        with pytest.raises(AttributeError):
            delattr(price, name)
    assert pickle.loads(pickle.dumps(price)) == price
    with pytest.raises(TypeError, match="acceptable base type"):
        type("Child", (face.OraclePrice,), {})


@each_face
@pytest.mark.parametrize("value", [*NO_INTEGERS, -1, 2**64, 10**5000, -(10**5000)], ids=str_of)
def test_a_wrong_oracle_price_is_refused_by_name(face: Any, value: Any) -> None:
    with refused(face, "InputError", "integer"):
        face.OraclePrice(value, -5)
    if value != -1:
        with refused(face, "InputError", "exponent"):
            face.OraclePrice(5, value)


@pytest.mark.parametrize("face", FACES.values() if hasattr(os, "fork") else [])
def test_a_forked_child_sees_the_same_figures(face: Any) -> None:
    risk = face.Risk.from_integers(2**140, 5, 6, 7, "chain", "t")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os.write(writing, f"{risk!r} {risk.time} {risk.is_liquidatable}".encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read().decode() == f"{risk!r} t False"
    assert status == 0
