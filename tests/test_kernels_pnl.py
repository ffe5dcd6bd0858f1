"""The indexer's figures as exact integers equal exact fractions, and the Decimals of the plain twin."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dydx_perf.exact.arith import MAX_INT64, MIN_INT64
from dydx_perf.exact.indexer import (
    Holding,
    equity,
    free_collateral,
    human_funding_index,
    unsettled_funding,
    usdc_shown,
)
from dydx_perf.exact.state import Perpetual
from dydx_perf.ext import pnl
from dydx_perf.units import base_quantums_to_size, quote_quantums_to_usdc

MILLION = 10**6
BTC = Perpetual(0, -10, 6_701_250_000, -5, 1_234_567, 0, 20_000, 600_000, 0, 0)
GENESIS = [(-10, -5), (-9, -6), (-6, -9), (-7, -8), (-4, -11), (1, -16), (-12, -3)]

int64 = st.one_of(st.integers(MIN_INT64, MAX_INT64), st.integers(-(10**12), 10**12))


@given(int64, int64, st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
@example(-1, 1, 0, 10)
@example(MAX_INT64, MIN_INT64, 2**64 - 1, 1)
@example(MIN_INT64, MIN_INT64, 2**64 - 1, 2**64 - 1)
@example(MIN_INT64, -1, 2**64 - 1, 2**63 + 1)  # quotient * divisor lies below -2**127
@example(1, 0, 0, 0)
def test_unrealized_pnl(quantums, entry_price, oracle_price, divisor):
    """Quotient toward minus infinity, remainder below the divisor; nothing is lost."""
    product = quantums * (oracle_price - entry_price)
    answer = pnl.unrealized_pnl(quantums, entry_price, oracle_price, divisor)
    if divisor == 0 or not -(2**127) <= product < 2**127:
        assert answer is None
    else:
        assert answer == divmod(product, divisor)


@st.composite
def holdings(draw):
    """Genesis-like positions up to 1e12 USDC each."""
    rows = []
    for place in range(draw(st.integers(0, 5))):
        resolution, exponent = draw(st.sampled_from(GENESIS))
        price = draw(st.integers(1, 10**13))
        perpetual = replace(
            BTC,
            perpetual_id=place,
            atomic_resolution=resolution,
            exponent=exponent,
            price=price,
            funding_index=draw(st.integers(-(10**8), 10**8)),
            initial_margin_ppm=draw(st.integers(0, MILLION)),
        )
        size = draw(st.integers(-(10**12), 10**12)) * 10**15 // price
        rows.append((perpetual, min(max(size, -(2**62)), 2**62), draw(st.integers(-(10**8), 10**8))))
    return rows


@given(st.integers(-(10**17), 10**17), holdings())
@example(0, [])
@example(1, [(BTC, 1, 0)])
@example(-1, [(BTC, -1, 2_000_000)])
def test_equity_and_free_collateral_digit_for_digit(usdc, rows):
    """No genesis-like account is declined; each figure is the plain twin's Decimal."""
    answer = pnl.equity_and_free_collateral(usdc, rows)
    assert answer is not None
    held = [
        Holding(
            base_quantums_to_size(quantums, perpetual.atomic_resolution),
            quote_quantums_to_usdc(perpetual.price * MILLION).scaleb(perpetual.exponent),
            quote_quantums_to_usdc(perpetual.initial_margin_ppm),
        )
        for perpetual, quantums, _ in rows
    ]
    shown = usdc_shown(
        quote_quantums_to_usdc(usdc),
        [
            unsettled_funding(
                holding.size,
                human_funding_index(own, perpetual.atomic_resolution),
                human_funding_index(perpetual.funding_index, perpetual.atomic_resolution),
            )
            for holding, (perpetual, _, own) in zip(held, rows, strict=True)
        ],
    )
    unit = 10 ** answer[2]
    assert Fraction(answer[0], unit) == Fraction(equity(shown, held))
    assert Fraction(answer[1], unit) == Fraction(free_collateral(shown, held))


@pytest.mark.parametrize(
    ("usdc", "rows"),
    [
        (2**63, []),
        (0, [(BTC, 2**63, 0)]),
        (0, [(BTC, 1, -(2**63) - 1)]),
        (0, [(replace(BTC, price=2**64), 1, 0)]),
        (0, [(replace(BTC, price=2**64 - 1, exponent=30), MAX_INT64, 0)]),
        (MAX_INT64, [(replace(BTC, exponent=-40), 1, 0)]),
        (0, [(BTC, 1, MIN_INT64)]),
    ],
)
def test_what_is_outside_the_domain_is_handed_over(usdc, rows):
    """An input past its C type, or digits that 128 bits do not hold."""
    assert pnl.equity_and_free_collateral(usdc, rows) is None
