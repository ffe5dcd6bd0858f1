"""Ordering of two risks, the verdict on an update, and the funding rates of all markets."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

import numpy as np
from accounts import accounts, chain
from c_door_build import c_door

from dydx_perf.exact import funding as exact_funding
from dydx_perf.exact import margin as exact
from dydx_perf.exact.state import Perpetual, RiskState
from dydx_perf.ext import funding, margin

CALL = "a call"
ORDER, TRANSITION = "Which of two risks is riskier", "Verdict on an update below the initial margin"
RATES = "Funding rates of 300 markets from 60 samples each"
CLAMP_PPM, SAMPLES, MARKETS = 6_000_000, 60, 300


def states() -> list[RiskState]:
    return [RiskState(risk.nc, risk.imr, risk.mmr) for risk in (a.evaluate() for a in accounts(20))]


def door():
    made = c_door().Accounts([m.perpetual for m in chain()], [a.state for a in accounts(20)])
    made.evaluate_all()
    return made


def test_order_of_risks(row):
    pairs = tuple(pairwise(account.evaluate() for account in accounts(20)))
    for (a, b), (c, d) in zip(pairs, pairwise(states()), strict=True):
        assert a.is_riskier_than(b) == (exact.compare_risk(c, d) > 0)

    def run() -> None:
        for a, b in pairs:
            a.is_riskier_than(b)

    row(ORDER, "Risk.is_riskier_than()", CALL, run, len(pairs), "exact", ours=True)


def test_order_of_risks_in_c(row):
    made, known = door(), states()
    around = pairwise([*known, known[0]])
    assert made.compare_all() == sum(exact.compare_risk(a, b) > 0 for a, b in around)
    row(ORDER, "compare_risk in C, without Python", CALL, made.compare_all, len(known), "exact")


def test_order_of_risks_in_python_ints(row):
    pairs = tuple(pairwise(states()))

    def run() -> None:
        for a, b in pairs:
            exact.compare_risk(a, b)

    row(ORDER, "dydx_perf.exact, plain Python", CALL, run, len(pairs), "exact")


def test_transition(row):
    pairs = tuple(pairwise(states()))
    for a, b in pairs:
        assert margin.transition(a, b) == exact.state_transition(a, b)

    def run() -> None:
        for a, b in pairs:
            margin.transition(a, b)

    row(TRANSITION, "margin.transition(), objects in", CALL, run, len(pairs), "exact", ours=True)


def test_transition_in_c(row):
    made, known = door(), states()
    around = pairwise([*known, known[0]])
    assert made.transition_all() == sum(exact.state_transition(a, b) == exact.SUCCESS for a, b in around)
    row(TRANSITION, "state_transition in C, without Python", CALL, made.transition_all, len(known), "exact")


def test_transition_in_python_ints(row):
    pairs = tuple(pairwise(states()))

    def run() -> None:
        for a, b in pairs:
            exact.state_transition(a, b)

    row(TRANSITION, "dydx_perf.exact, plain Python", CALL, run, len(pairs), "exact")


def samples():
    return np.random.default_rng(7).integers(-2000, 2000, (MARKETS, SAMPLES)).astype(np.int32)


def tiers():
    return (
        np.full(MARKETS, 100, dtype=np.int32),
        np.full(MARKETS, 50_000, dtype=np.uint32),
        np.full(MARKETS, 600_000, dtype=np.uint32),
    )


def perpetual(default: int, initial: int, fraction: int) -> Perpetual:
    return Perpetual(0, -10, 1, -5, 0, 0, initial, fraction, 0, 0, default_funding_ppm=default)


def exact_rates(rows: list[list[int]]) -> list[int]:
    market = perpetual(100, 50_000, 600_000)
    return [exact_funding.funding_rate_ppm(market, row, CLAMP_PPM) for row in rows]


def test_rates(row):
    votes, tier = samples(), tiers()
    rates, unfit = funding.rates_from_samples(votes, SAMPLES, *tier, CLAMP_PPM)
    assert unfit == []
    assert rates.tolist() == exact_rates(votes.tolist())
    row(
        RATES, "funding.rates_from_samples()", "a market",
        lambda: funding.rates_from_samples(votes, SAMPLES, *tier, CLAMP_PPM), MARKETS, "exact", ours=True,
    )  # fmt: skip


def test_rates_in_python_ints(row):
    rows = samples().tolist()
    row(RATES, "dydx_perf.exact, plain Python", "a market", lambda: exact_rates(rows), MARKETS, "exact")


def test_rates_in_numpy(row):
    votes, (default, initial, fraction) = samples(), tiers()
    bound = initial * (1 - fraction / 1e6) * (CLAMP_PPM / 1e6)

    def rates():
        return np.clip(votes.mean(axis=1) + default, -bound, bound)

    error = max(abs(a - b) for a, b in zip(rates().tolist(), exact_rates(votes.tolist()), strict=True))
    assert fmean(rates().tolist()) != 0
    row(RATES, "NumPy float64", "a market", rates, MARKETS, f"off by up to {error:.2g} ppm")
