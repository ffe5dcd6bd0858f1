"""Risk of one account from Python, funding included: net collateral, initial and maintenance margin."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain as chained
from typing import Any

import pytest
from account_contenders import CONTENDERS, error_in_quantums
from accounts import CHECKED, SIZES, TIMED, accounts, chain
from c_door_build import c_door

GOALS_NS = {4: 120, 20: 300, 60: 600}
UNIT = "a call"


def section(size: int) -> str:
    return f"Risk of one account of {size} positions, funding included"


def in_turn(call: Callable[[Any], Any], inputs: list[Any]) -> tuple[Callable[[], None], int]:
    """A round of calls over the inputs in turn, and how many calls it makes."""
    turns = tuple(chained.from_iterable([inputs] * 2))

    def run() -> None:
        for one in turns:
            call(one)

    return run, len(turns)


@pytest.mark.parametrize("size", SIZES)
def test_subaccount(size, row):
    """`Subaccount.evaluate()` computes anew at every call; `risk` would remember."""
    for account in accounts(size):
        risk = account.evaluate()
        assert (risk.nc, risk.imr, risk.mmr) == account.exact_risk()
        assert risk is not account.evaluate()
    turns = tuple(accounts(size)[:TIMED] * 2)

    def run() -> None:
        for account in turns:
            account.evaluate()

    row(
        section(size),
        "Subaccount.evaluate()",
        UNIT,
        run,
        len(turns),
        "exact",
        ours=True,
        goal_ns=GOALS_NS[size],
    )


@pytest.mark.parametrize("size", SIZES)
def test_subaccount_read_as_ints(size, row):
    """The same, and its three figures taken as Python ints."""
    turns = tuple(accounts(size)[:TIMED] * 2)

    def run() -> None:
        for account in turns:
            risk = account.evaluate()
            risk.nc, risk.imr, risk.mmr  # noqa: B018

    row(section(size), "the same, its three ints read", UNIT, run, len(turns), "exact")


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("size", SIZES)
def test_contender(contender, size, row):
    """What one would write instead, on inputs prepared beforehand."""
    compute, prepare = CONTENDERS[contender]
    inputs = [prepare(account) for account in accounts(size)]
    error = max(
        error_in_quantums(compute(one), account.exact_risk())
        for one, account in zip(inputs, accounts(size), strict=True)
    )
    is_int = contender in ("dydx_perf.exact, plain Python", "Python ints, one tight loop")
    assert error == 0 if is_int else error < 1_000_000
    run, calls = in_turn(compute, inputs[:TIMED])
    answers = f"off by up to {error:.2g} quantums in {CHECKED} accounts" if error else "exact"
    row(section(size), contender, UNIT, run, calls, answers)


@pytest.mark.parametrize("size", SIZES)
def test_kernel_in_c(size, row):
    """The kernel in a C loop over the same accounts."""
    door = c_door().Accounts([m.perpetual for m in chain()], [a.state for a in accounts(size)[:TIMED]])
    door.evaluate_all()
    for number, account in enumerate(accounts(size)[:TIMED]):
        assert door.risk(number) == account.exact_risk()
    row(section(size), "account_risk in C, without Python", UNIT, door.evaluate_all, TIMED, "exact")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("method", ["nothing", "new_object"])
def test_empty_call(size, method, row):
    """What a call of a compiled method costs when there is nothing to do."""

    class Empty(c_door().EmptyAccount):  # a Python subclass, as Subaccount is one
        pass

    run, calls = in_turn(getattr(Empty, method), [Empty() for _ in range(TIMED)])
    answers = {"nothing": "none: an empty call", "new_object": "none: an empty call that makes an object"}
    row(section(size), f"floor: {answers[method][6:]}", UNIT, run, calls, "none")
