"""After any sequence of changes figures and crossings equal two full rescans by plain integers (B2).

A failing seed is in the name of the test and in its message; it repeats everything.
"""

import os

import pytest
from book_model import Model

# A long search by hand: make test DYDX_PERF_EXAMPLES=deep ARGS="-k book_model".
DEEP = os.environ.get("DYDX_PERF_EXAMPLES") == "deep"
SEEDS = range(200 if DEEP else 12)
STEPS = 2_000 if DEEP else 150


def run(model: Model, seed: int, steps: int) -> None:
    """Take steps; a failure names the seed and the step."""
    for step in range(steps):
        try:
            model.step()
        except BaseException as error:
            error.add_note(f"seed {seed}, step {step}")
            raise


@pytest.mark.parametrize("seed", SEEDS)
def test_a_book_of_ordinary_amounts_equals_two_full_rescans(seed: int) -> None:
    run(Model(seed, wild=False), seed, STEPS)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_book_of_amounts_past_64_and_128_bits_equals_two_full_rescans(seed: int) -> None:
    run(Model(seed, wild=True), seed, STEPS)


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_markets_of_several_blocks_of_positions_equal_two_full_rescans(seed: int) -> None:
    """Two markets and 150 accounts: every market has more than one block of 64 places."""
    model = Model(seed, wild=seed % 2 == 1, accounts=150, markets=2)
    while len(model.book) < 140:
        model.step_add()
        model.rescan()
    run(model, seed, STEPS // 5)


@pytest.mark.parametrize("seed", range(6))
def test_the_sequences_reach_what_they_are_for(seed: int) -> None:
    """A test of the test: crossings of both kinds and ways, accounts in 64 bits, in 128, and beyond."""
    model = Model(seed, wild=True, accounts=30)
    seen: set[object] = set()
    for _ in range(STEPS * 4):
        seen.add(model.step())
        seen |= {("crossing", c.is_liquidation, c.below) for c in model.edges}
        for name in model.accounts:
            slot = model.book._store.slot(name)
            risk = model.book[name]
            size = max(abs(risk.nc), risk.imr)
            seen.add("64 bits" if size < 2**63 else "128 bits" if size < 2**127 else "more")
            if model.book._store.is_beyond(slot):
                seen.add("beyond")
                assert name in model.book._plain.inputs
        assert model.book._plain.inputs.keys() <= model.accounts.keys()
    assert seen >= {
        *(("crossing", liquidation, below) for liquidation in (True, False) for below in (True, False)),
        "64 bits",
        "128 bits",
        "more",
        "beyond",
        *(name.removeprefix("step_") for name in dir(Model) if name.startswith("step_")),
    }
