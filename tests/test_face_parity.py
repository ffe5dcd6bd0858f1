"""The compiled objects and their plain twin: the same names, the same answers, the same errors."""

from __future__ import annotations

import inspect
from decimal import Decimal
from typing import Any

import pytest
from faces import FACES, FEWER, PLAIN, Plan, integers_of_any_size, near_margin, plans, ticker
from hypothesis import given
from hypothesis import strategies as st

import dydx_perf
from dydx_perf import kernel
from dydx_perf.exact import account as twin

CLASSES = ["Account", "MarketTable", "OraclePrice", "Risk"]


def public(thing: Any) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def test_the_plain_face_is_plain() -> None:
    assert PLAIN.COMPILED is False
    assert PLAIN.Risk is twin.Risk
    assert issubclass(PLAIN.Subaccount, twin.Account)
    assert PLAIN.InputError is dydx_perf.InputError
    assert (len(FACES) == 2) is dydx_perf.COMPILED


def test_the_faces_have_the_same_names() -> None:
    assert PLAIN.__all__ == dydx_perf.__all__
    for name in sorted(
        set(dydx_perf.__all__) & set(vars(PLAIN))
    ):  # not those that are imported when asked for
        ours, theirs = getattr(dydx_perf, name), getattr(PLAIN, name)
        if inspect.isclass(ours):
            assert public(ours) == public(theirs), name
    for name in kernel.__all__:
        assert hasattr(twin, name) or name == "COMPILED"
    assert (twin.BASES, twin.NEVER, twin.ALWAYS) == (kernel.BASES, kernel.NEVER, kernel.ALWAYS)


@pytest.mark.parametrize("name", CLASSES)
def test_the_classes_have_the_same_names_kinds_and_parameters(name: str) -> None:
    ours, theirs = getattr(kernel, name), getattr(twin, name)
    assert public(ours) == public(theirs)
    for member in public(ours):
        one, other = inspect.getattr_static(ours, member), inspect.getattr_static(theirs, member)
        assert callable(getattr(ours, member)) is callable(getattr(theirs, member)), member
        if callable(getattr(ours, member)) and name != "MarketTable":
            assert [p.name for p in inspect.signature(getattr(ours, member)).parameters.values()] == [
                p.name for p in inspect.signature(getattr(theirs, member)).parameters.values()
            ], member
        if not callable(getattr(ours, member)):
            assert inspect.isdatadescriptor(one)
            assert inspect.isdatadescriptor(other)
    special = ["__eq__", "__hash__", "__repr__", "__str__", "__len__"]
    own = [
        [getattr(kind, m, None) is not getattr(object, m, None) for m in special] for kind in (ours, theirs)
    ]
    assert own[0] == own[1]


def answer(ask: Any) -> Any:
    """A comparable answer, or the error with its text."""
    try:
        got = ask()
    except dydx_perf.DydxPerfError as refusal:
        return type(refusal).__name__, str(refusal)
    if type(got).__name__ == "Subaccount":
        return repr(got)
    if type(got).__name__ == "Risk":
        return repr(got), got.time, hash(got)
    if type(got).__name__ == "OraclePrice":
        return got.integer, got.exponent, str(got), repr(got), hash(got)
    return got


def answers(face: Any, plan: Plan, wrong: Any) -> list[Any]:
    chain = plan.chain(face, height=3, time="t")
    account = plan.account(face, chain, height=4)
    names = [ticker(number) for number in plan.perpetuals] + ["none", wrong]
    got = [
        repr(account),
        repr(chain),
        answer(lambda: account.risk),
        answer(account.evaluate),
        (account.equity, account.free_collateral, account.leverage, account.margin_usage, account.usdc),
        (account.height, account.basis, account.state),
    ]
    for name in names:
        got += [
            answer(lambda n=name: account.liquidation_price(n)),
            answer(lambda n=name: account.buying_power(n)),
            answer(lambda n=name: account.liquidation(n).size_delta),
            answer(lambda n=name: account.liquidation(n).order.subticks),
            answer(lambda n=name: account.pnl(n).total),
            answer(lambda n=name: account.set_leverage(n, wrong)),
            answer(lambda n=name: account.set_position(n, wrong)),
            answer(lambda n=name: account.close_position(n)),
            answer(lambda: account.risk),
        ]
    got += [
        answer(lambda: account.set_usdc(wrong)),
        answer(lambda: face.Subaccount(chain, wrong)),
        answer(lambda: face.Subaccount(chain, "a", wrong)),
        answer(lambda: face.Risk.from_integers(wrong, 1, 1)),
        answer(lambda: face.Risk.from_integers(1, 1, 1, wrong)),
        answer(lambda: face.Risk.from_integers(1, 1, 1, 1, wrong)),
        answer(lambda: face.OraclePrice(wrong, 1)),
        answer(lambda: face.OraclePrice(1, wrong)),
        answer(lambda: chain[wrong].oracle_price),
        answer(lambda: account.risk),
    ]
    return got


WRONG = st.one_of(
    st.none(), st.booleans(), st.floats(allow_nan=False), st.text(max_size=4), st.just(Decimal("NaN")),
    integers_of_any_size(), st.binary(max_size=3),
)  # fmt: skip


@FEWER
@given(plan=plans(most=3), wrong=WRONG)
def test_both_give_the_same_answers_and_errors(plan: Plan, wrong: Any) -> None:
    first, second = (answers(face, plan, wrong) for face in (dydx_perf, PLAIN))
    assert first == second


@FEWER
@given(plan=near_margin(), wrong=WRONG)
def test_both_give_the_same_answers_near_the_margin(plan: Plan, wrong: Any) -> None:
    first, second = (answers(face, plan, wrong) for face in (dydx_perf, PLAIN))
    assert first == second
