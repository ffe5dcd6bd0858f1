"""Histograms count every account in the bin where exact comparison puts it (B5)."""

import os
import random
from fractions import Fraction

import numpy as np
import pytest
from scenario_cases import walked

from dydx_perf import Book, Chain, InputError, Subaccount
from dydx_perf.distribution import RATIO_EDGES, distance_histogram, exact_sum, ratio_histogram
from dydx_perf.generated import generated_accounts

DEEP = os.environ.get("DYDX_PERF_EXAMPLES") == "deep"


@pytest.mark.parametrize("seed", range(200 if DEEP else 5))
@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("indexed", [True, False])
def test_bins_hold_whom_fractions_put_there(seed: int, wild: bool, indexed: bool) -> None:
    """Ratios and distances, at edges of the accounts' own and one beside them; sums, too."""
    model = walked(seed, 40, wild=wild, indexed=indexed)
    risks = [model.exact(account) for account in model.accounts.values()]
    rng = random.Random(seed)
    own = {
        Fraction(r.nc, r.mmr)
        for r in risks
        if r.mmr and abs(r.nc) < r.mmr * 10**6 and abs(r.nc) * 10**6 > r.mmr
    }
    edges = sorted({*RATIO_EDGES, *own, *(edge + Fraction(1, 10**18) for edge in own if rng.random() < 0.5)})
    found = ratio_histogram(model.book, edges)
    counts, collateral, margin = ([0] * (len(edges) + 1) for _ in range(3))
    for risk in risks:
        if risk.mmr:
            place = sum(Fraction(risk.nc, risk.mmr) >= edge for edge in edges)
            counts[place] += 1
            collateral[place] += risk.nc
            margin[place] += risk.mmr
    assert list(found.accounts) == counts
    assert (list(found.net_collateral), list(found.maintenance_margin)) == (collateral, margin)
    assert found.without_margin == sum(risk.mmr == 0 for risk in risks)
    whole = sorted(
        {max(min(r.nc - r.mmr + step, 2**62), -(2**62)) for r in risks for step in (-1, 0, 1)} | {0}
    )
    distances = distance_histogram(model.book, whole)
    expected = [0] * (len(whole) + 1)
    for risk in risks:
        expected[sum(risk.nc - risk.mmr >= edge for edge in whole)] += 1
    assert list(distances.accounts) == expected


def test_below_one_is_liquidatable() -> None:
    """The chain's line is an edge, and exactly on it nobody is below."""
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=2_003, max_positions=20_000, indexed=True)
    generated_accounts(chain, 2_000, seed=4).load_into(book)
    for number, distance in enumerate((-1, 0, 1)):
        account = Subaccount(chain, "dydx1edge", number, usdc="0", positions={"BTC-USD": "0.37"})
        account.set_usdc(f"{distance - account.risk.distance}e-6")
        book.add(account)
    found = ratio_histogram(book, ["0", "1"])
    assert sum(found.accounts[:2]) == len(book.liquidatable())
    assert sum(found.accounts) + found.without_margin == 2_003
    assert ("dydx1edge", 0) in book.liquidatable()
    assert ("dydx1edge", 1) not in book.liquidatable()
    assert (found.basis, found.measure) == ("sample", "ratio")


def test_sums_of_large_values_do_not_wrap() -> None:
    values = np.array([2**63 - 1] * 5 + [-(2**63)] * 3 + [-1], np.int64)
    assert exact_sum(values) == sum(values.tolist())


@pytest.mark.parametrize("edges", [[], [1, 1], [2, 1], [0.5], ["x"], [True], [10**16], ["1/0"]])
def test_wrong_edges_are_refused(edges: list[object]) -> None:
    book = walked(1, 3).book
    with pytest.raises(InputError) as refused:
        ratio_histogram(book, edges)  # type: ignore[arg-type]
    assert refused.value.argument == "edges"
    if edges != [10**16]:
        with pytest.raises(InputError):
            distance_histogram(book, edges)  # type: ignore[arg-type]
