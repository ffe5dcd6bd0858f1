"""A guard for any machine: how many times faster the kernels are than plain Python in the same process.

No absolute time decides. Each floor lies several times below what was measured, both sides are taken in turn,
and the fastest round of each counts, so that a busy neighbour does not fail it; a kernel that is lost (an
answer from plain Python, a build without optimisation) does.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from account_contenders import int_inputs, python_ints
from accounts import TIMED, accounts
from timing import fastest

from dydx_perf import COMPILED

ROUNDS = 15

#: times faster than plain Python at least; measured: see docs/performance.md
FLOORS = {
    "risk of 4 positions": 6.0,
    "risk of 20 positions": 10.0,
    "risk of 60 positions": 10.0,
    "liquidation price": 50.0,
    "decimal text": 1.5,
    "funding payments": 15.0,
}


def require_floor(name: str, ours: Callable[[], object], plain: Callable[[], object], per: int = 1) -> None:
    """Fail when `ours` is not FLOORS[name] times faster than `plain`; ours does `per` times as much work."""
    our_seconds, plain_seconds = fastest(ours, plain, ROUNDS)
    ratio = plain_seconds * per / our_seconds
    assert ratio >= FLOORS[name], f"{name}: {ratio:.1f} times faster than plain Python, floor {FLOORS[name]}"


def each(call: Callable[[Any], Any], inputs: list[Any], times: int = 1) -> Callable[[], None]:
    """A round: every input so many times."""

    def run() -> None:
        for _ in range(times):
            for one in inputs:
                call(one)

    return run


def evaluate(account: Any) -> Any:
    return account.evaluate()


def test_the_kernels_are_there():
    """Without them nothing here could hold."""
    assert COMPILED


@pytest.mark.parametrize("size", [4, 20, 60])
def test_risk_of_an_account(size):
    """Against one tight loop of Python ints."""
    held = list(accounts(size)[:TIMED])
    prepared = [int_inputs(account) for account in held]
    for account, inputs in zip(held, prepared, strict=True):
        risk = account.evaluate()
        assert (risk.nc, risk.imr, risk.mmr) == python_ints(inputs)
    require_floor(f"risk of {size} positions", each(evaluate, held, 10), each(python_ints, prepared), 10)


def test_liquidation_price():
    """Against the bisection by plain integers."""
    held = [(account, next(iter(account.positions))) for account in accounts(20)[:2]]
    require_floor(
        "liquidation price",
        each(lambda case: case[0].liquidation_price(case[1]), held, 100),
        each(lambda case: case[0].exact_liquidation_price(case[1]), held),
        100,
    )


def test_decimal_text():
    """Against Decimal."""
    from dydx_perf.ext.numtext import parse_fixed

    random = Random(3)
    texts = [f"{random.randint(0, 99_999)}.{random.randint(0, 99_999):05d}" for _ in range(200)]
    assert [parse_fixed(t, 5) for t in texts] == [int(Decimal(t).scaleb(5)) for t in texts]
    require_floor(
        "decimal text",
        each(lambda text: parse_fixed(text, 5), texts),
        each(lambda text: int(Decimal(text).scaleb(5)), texts),
    )


def test_funding_payments():
    """Against NumPy arrays of Python ints."""
    from column_contenders import object_funding
    from positions import columns

    from dydx_perf.ext.columns import funding_payments

    c = columns().first(20_000)
    arguments = c.quantums, c.funding_index, c.market, c.current_funding_index
    assert funding_payments(*arguments)[0].tolist() == object_funding(c)[0].tolist()
    require_floor("funding payments", lambda: funding_payments(*arguments), lambda: object_funding(c))


def test_the_guard_sees_a_kernel_that_is_lost():
    """When plain integers answer in the kernel's place, as they do past 128 bits, the guard fails."""
    held = list(accounts(20)[:TIMED])
    prepared = [int_inputs(account) for account in held]
    with pytest.raises(AssertionError, match="risk of 20 positions"):
        require_floor(
            "risk of 20 positions",
            each(lambda account: account.exact_risk(), held),
            each(python_ints, prepared),
        )


def test_the_guard_sees_a_kernel_twenty_times_slower():
    """The kernel's work done twenty times over instead of once."""
    held = list(accounts(20)[:TIMED])
    prepared = [int_inputs(account) for account in held]
    with pytest.raises(AssertionError, match="risk of 20 positions"):
        require_floor("risk of 20 positions", each(evaluate, held, 200), each(python_ints, prepared), 10)
