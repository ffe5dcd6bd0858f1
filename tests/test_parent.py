"""ParentSubaccount: sums of its children, and nothing that the chain knows of."""

from __future__ import annotations

from decimal import localcontext
from fractions import Fraction
from typing import Any

import pytest
from faces import each_face, near_margin, refused
from hypothesis import given
from hypothesis import strategies as st

USDC = st.integers(-(10**20), 10**20).map(lambda quantums: f"{quantums}e-6")


@each_face
@given(plan=near_margin(), more=st.lists(USDC, max_size=3))
def test_figures_are_the_sums_over_the_children(face: Any, plan: Any, more: list[str]) -> None:
    account = plan.account(face)
    holdings = [("-1.5", ()), *((usdc, account.positions.values()) for usdc in more)]
    children = [
        face.Subaccount(account.chain, "a", 5 + 128 * n, usdc=usdc, positions=held)
        for n, (usdc, held) in enumerate(holdings)
    ]
    with localcontext(prec=2):
        parent = face.ParentSubaccount(reversed(children))
        equity, free = parent.equity, parent.free_collateral
    assert Fraction(equity) == sum(Fraction(child.equity) for child in children)
    assert Fraction(free) == sum(Fraction(child.free_collateral) for child in children)
    assert parent.is_any_liquidatable is any(child.risk.is_liquidatable for child in children)
    assert parent.children == tuple(children)
    assert (parent.address, parent.number) == ("a", 5)
    numbers = ", ".join(str(child.number) for child in children)
    assert repr(parent) == f"ParentSubaccount(a/5, children=[{numbers}])"


@each_face
def test_what_does_not_belong_together_is_refused(face: Any) -> None:
    chain = face.Chain()
    child = face.Subaccount(chain, "a", 1)
    for others in (
        [],
        [face.Subaccount(chain, "b", 129)],
        [face.Subaccount(chain, "a", 2)],
        [face.Subaccount(chain, "a", 1)],
        [face.Subaccount(face.Chain(), "a", 129)],
    ):
        with refused(face, "InputError", "subaccounts"):
            face.ParentSubaccount([child, *others] if others else [])
    face.ParentSubaccount([child, face.Subaccount(chain, "a", 129)])


@each_face
@pytest.mark.parametrize("wrong", [None, 5, 1.5, True, object()], ids=repr)
def test_what_is_no_subaccount_is_refused_by_its_place(face: Any, wrong: Any) -> None:
    child = face.Subaccount(face.Chain(), "a", 1)
    with refused(face, "InputError", "subaccounts"):
        face.ParentSubaccount(wrong)
    with refused(face, "InputError", "subaccounts[1]"):
        face.ParentSubaccount([child, wrong])
    with refused(face, "InputError", "subaccounts[0]"):
        face.ParentSubaccount("ab" * 10**5)
