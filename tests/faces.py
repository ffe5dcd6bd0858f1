"""The public face twice, over the compiled objects and over their plain twin, and accounts to try both on.

`Plan` holds an account and its markets as plain integers. It builds them on either face, and answers from
`dydx_perf.exact` alone.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

import dydx_perf
import dydx_perf.exact.account  # loaded once, so that what the plain face makes can be pickled
from dydx_perf.exact import margin
from dydx_perf.exact.state import (
    MARKET_TYPE_CROSS,
    MARKET_TYPE_ISOLATED,
    AssetPosition,
    ClobPair,
    Perpetual,
    PerpetualPosition,
    RiskState,
    SubaccountState,
)
from dydx_perf.units import to_decimal

#: what both faces share: it knows nothing of the objects
SHARED = ("dydx_perf.errors", "dydx_perf.exact", "dydx_perf.units", "dydx_perf.ext")
HIGHEST_PRICE = 2**64 - 1
#: for what is slow: a third of what the profile asks for, on each face
FEWER = settings(max_examples=max(settings().max_examples // 3, 1))


def face_on_the_twin() -> Any:
    """Import the package once more, as a build without compiled objects has it."""
    kept = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "dydx_perf"}
    try:
        for name in kept:
            if not name.startswith(SHARED):
                del sys.modules[name]
        sys.modules["dydx_perf.ext.account"] = None  # type: ignore[assignment]
        return importlib.import_module("dydx_perf")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "dydx_perf"]:
            del sys.modules[name]
        sys.modules.update(kept)


PLAIN = face_on_the_twin()
FACES = {"plain": PLAIN} if not dydx_perf.COMPILED else {"compiled": dydx_perf, "plain": PLAIN}
each_face = pytest.mark.parametrize("face", FACES.values(), ids=FACES.keys())


@dataclass
class Plan:
    """An account and the markets around it, as integers."""

    perpetuals: dict[int, Perpetual]
    usdc: int = 0
    positions: dict[int, PerpetualPosition] = field(default_factory=dict)
    leverage: dict[int, int] = field(default_factory=dict)

    @property
    def state(self) -> SubaccountState:
        return SubaccountState(
            (AssetPosition(0, self.usdc),) if self.usdc else (),
            tuple(self.positions[perpetual_id] for perpetual_id in sorted(self.positions)),
            dict(self.leverage),
        )

    @property
    def risk(self) -> RiskState:
        return margin.subaccount_risk(self.perpetuals, self.state)

    def risk_at(self, perpetual_id: int, price: int) -> RiskState:
        moved = {**self.perpetuals, perpetual_id: replace(self.perpetuals[perpetual_id], price=price)}
        return margin.subaccount_risk(moved, self.state)

    def chain(self, face: Any, **arguments: Any) -> Any:
        return face.Chain([market_of(face, perpetual) for perpetual in self.perpetuals.values()], **arguments)

    def account(self, face: Any, chain: Any = None, **arguments: Any) -> Any:
        chain = self.chain(face) if chain is None else chain
        return face.Subaccount(
            chain,
            "dydx1test",
            usdc=to_decimal(self.usdc, -6) if abs(self.usdc) < 10**90 else 0,
            positions=[
                face.Position(
                    chain[position.perpetual_id],
                    quantums=position.quantums,
                    funding_index=position.funding_index,
                    quote_balance=position.quote_balance,
                )
                for position in self.positions.values()
            ],
            leverage={ticker(perpetual_id): ppm for perpetual_id, ppm in self.leverage.items()},
            **arguments,
        )


def ticker(perpetual_id: int) -> str:
    return f"M{perpetual_id}-USD"


def market_of(face: Any, perpetual: Perpetual, **arguments: Any) -> Any:
    pair = perpetual.clob_pair or ClobPair(1, 1, -9)
    return face.Market(
        ticker(perpetual.perpetual_id),
        perpetual_id=perpetual.perpetual_id,
        atomic_resolution=perpetual.atomic_resolution,
        price_exponent=perpetual.exponent,
        oracle_price=to_decimal(perpetual.price, perpetual.exponent),
        initial_margin_ppm=perpetual.initial_margin_ppm,
        maintenance_fraction_ppm=perpetual.maintenance_fraction_ppm,
        open_interest=perpetual.open_interest,
        open_interest_lower_cap=perpetual.open_interest_lower_cap,
        open_interest_upper_cap=perpetual.open_interest_upper_cap,
        funding_index=perpetual.funding_index,
        market_type="isolated" if perpetual.market_type == MARKET_TYPE_ISOLATED else "cross",
        step_base_quantums=pair.step_base_quantums,
        subticks_per_tick=pair.subticks_per_tick,
        quantum_conversion_exponent=pair.quantum_conversion_exponent,
        status=pair.status,
        **arguments,
    )


def figures(risk: Any) -> RiskState:
    """The three integers of a Risk."""
    return RiskState(risk.nc, risk.imr, risk.mmr)


@contextmanager
def refused(face: Any, error: str, argument: str | None = None) -> Iterator[None]:
    """Expect this error of the library, of this argument."""
    with pytest.raises(getattr(face, error)) as caught:
        yield
    assert len(str(caught.value)) < 400
    if argument is not None:
        assert caught.value.argument == argument, str(caught.value)


def around(*centres: int) -> list[int]:
    return sorted({sign * centre + near for centre in centres for near in (-1, 0, 1) for sign in (-1, 1)})


def integers_of_any_size(largest_bits: int = 200) -> st.SearchStrategy[int]:
    """Integers of every magnitude alike, with the bounds of 64 and 128 bits among them."""
    sizes = [2**bits for bits in (4, 20, 40, 60, 64, 100, 127, largest_bits) if bits <= largest_bits]
    bounds = [n for n in around(2**31, 2**62, 2**63, 2**64, 2**127, 2**128) if abs(n) < sizes[-1]]
    return st.one_of(*(st.integers(-size, size) for size in sizes), st.sampled_from(bounds))


PPM = st.one_of(st.sampled_from([0, 1, 20_000, 999_999, 1_000_000]), st.integers(0, 1_000_000))
PRICES = st.one_of(
    st.sampled_from([1, 2, HIGHEST_PRICE - 1, HIGHEST_PRICE]),
    *(st.integers(1, 2**bits - 1) for bits in (8, 24, 40, 64)),
)
CHOSEN_PPM = st.one_of(st.sampled_from([0, 1, 2**21, 2**21 + 1, 2**32 - 1]), st.integers(0, 2_000_000))


@st.composite
def tiers(draw: st.DrawFn) -> dict[str, int]:
    upper = draw(st.one_of(st.just(0), st.integers(0, 2**64 - 1), st.integers(1, 10**6)))
    lower = draw(st.integers(0, upper if upper else 2**64 - 1))
    return {
        "initial_margin_ppm": draw(PPM),
        "maintenance_fraction_ppm": draw(PPM),
        "open_interest_lower_cap": lower,
        "open_interest_upper_cap": upper,
    }


@st.composite
def perpetuals(draw: st.DrawFn, perpetual_id: int, bits: int = 200) -> Perpetual:
    resolution, exponent = draw(
        st.one_of(
            st.sampled_from([(-10, -5), (-9, -6), (-6, -9), (0, -10), (-6, 0)]),
            st.tuples(st.integers(-32, 32), st.integers(-32, 32)),
        )
    )
    return Perpetual(
        perpetual_id=perpetual_id,
        atomic_resolution=resolution,
        exponent=exponent,
        price=draw(PRICES),
        funding_index=draw(integers_of_any_size(bits)),
        open_interest=abs(draw(integers_of_any_size(bits))),
        **draw(tiers()),
        market_type=MARKET_TYPE_CROSS,
        clob_pair=ClobPair(1, 1, -9),
    )


@st.composite
def plans(draw: st.DrawFn, most: int = 5, bits: int = 200) -> Plan:
    """Chains of a few markets and an account in some of them, amounts of any size."""
    count = draw(st.integers(1, most))
    plan = Plan(
        {number: draw(perpetuals(number, bits)) for number in range(count)}, draw(integers_of_any_size(bits))
    )
    for number in draw(st.sets(st.integers(0, count - 1))):
        plan.positions[number] = PerpetualPosition(
            number,
            draw(integers_of_any_size(bits)),
            draw(st.one_of(st.just(plan.perpetuals[number].funding_index), integers_of_any_size(bits))),
            draw(st.one_of(st.just(0), integers_of_any_size(bits))),
        )
    for number in draw(st.sets(st.integers(0, count - 1))):
        plan.leverage[number] = draw(CHOSEN_PPM)
    return plan


@st.composite
def near_margin(draw: st.DrawFn, most: int = 4) -> Plan:
    """Accounts of ordinary size whose balance puts the liquidation price somewhere near, above or below."""
    count = draw(st.integers(1, most))
    plan = Plan({})
    for number in range(count):
        resolution, exponent = draw(
            st.sampled_from([(-10, -5), (-9, -6), (-6, -9), (-7, -8), (0, -10), (-6, 0), (-6, 2)])
        )
        plan.perpetuals[number] = Perpetual(
            perpetual_id=number,
            atomic_resolution=resolution,
            exponent=exponent,
            price=draw(st.one_of(st.integers(1, 50), st.integers(1, 10**12))),
            funding_index=draw(st.integers(-(10**9), 10**9)),
            open_interest=0,
            initial_margin_ppm=draw(PPM),
            maintenance_fraction_ppm=draw(PPM),
            open_interest_lower_cap=0,
            open_interest_upper_cap=0,
            market_type=MARKET_TYPE_CROSS,
            clob_pair=ClobPair(1, 1, -9),
        )
        size = draw(st.one_of(st.integers(1, 20), st.integers(1, 10**14)))
        plan.positions[number] = PerpetualPosition(
            number, draw(st.sampled_from([-1, 1])) * size, draw(st.integers(-(10**9), 10**9))
        )
    risk = plan.risk
    plan.usdc = -risk.nc + draw(
        st.one_of(
            st.integers(-5, 5),
            st.integers(-3, 3).map(lambda near: risk.mmr + near),
            st.integers(-2 * risk.mmr - 10, 5 * risk.mmr + 10),
        )
    )
    return plan
