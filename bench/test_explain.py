"""An account explained: every term of three sources, every part of every difference."""

from __future__ import annotations

from itertools import chain as chained

import pytest
from accounts import SIZES, accounts

EXPLAINED = 16
#: the goal is for a typical account, which has a few positions
GOALS_NS = {4: 50_000}


@pytest.mark.parametrize("size", SIZES)
def test_explain(size, row):
    """`Subaccount.explain()`: every term with its parts; liquidation prices are split when they are read.

    Nothing is left over, and each column is the account's own figure.
    """
    some = accounts(size)[:EXPLAINED]
    for account in some:
        explanation = account.explain()
        assert explanation.is_complete
        assert explanation["net collateral"].indexer == account.equity
        assert explanation["free collateral"].indexer == account.free_collateral
        assert explanation["free collateral"].webapp == account._webapp().free_collateral
    turns = tuple(chained(some, some))

    def run() -> None:
        for account in turns:
            account.explain()

    row(
        f"An account of {size} positions explained",
        "Subaccount.explain()",
        "a call",
        run,
        len(turns),
        "exact",
        ours=True,
        goal_ns=GOALS_NS.get(size),
    )


@pytest.mark.parametrize("size", SIZES)
def test_prices(size, row):
    """The same with what it leaves for later: each liquidation price split into its parts."""
    some = accounts(size)[:EXPLAINED]

    def run() -> None:
        for account in some:
            _ = account.explain().rows.prices

    section = f"An account of {size} positions explained"
    row(section, "the same, liquidation prices split as well", "a call", run, len(some), "exact")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("form", ["to_dict", "__str__"])
def test_shown(size, form, row):
    """The same as plain values or as text, explained before."""
    explained = [account.explain() for account in accounts(size)[:EXPLAINED]]

    def run() -> None:
        for explanation in explained:
            getattr(explanation, form)()

    names = {"to_dict": "its to_dict()", "__str__": "its text"}
    section = f"An account of {size} positions explained"
    row(section, names[form], "a call", run, len(explained), "all digits")
