"""After any sequence of changes figures and crossings equal two full rescans by plain integers (B2).

A failing seed is in the name of the test and in its message; it repeats everything.
"""

import os

import pytest
from book_model import Model

from dydx_perf import Book, Chain, Market, Position, Subaccount
from dydx_perf.ext.book_image import find_fault

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


@pytest.mark.parametrize("custom_imf_ppm", [0, 2**21, 2**21 + 1, 2**32 - 1])
@pytest.mark.parametrize("quantums", [10**10, 2**40, 2**55, -(2**62), 2**63 - 1, -(2**63)])
def test_prices_take_a_position_over_every_edge_and_back(quantums: int, custom_imf_ppm: int) -> None:
    """From a few quote quantums past 64-bit sums and 128-bit products, both ways, funding in between."""
    chain = Chain(
        [
            Market(
                "M-USD",
                perpetual_id=0,
                atomic_resolution=-6,
                price_exponent=-6,
                oracle_price="1",
                initial_margin_ppm=50_000,
                maintenance_fraction_ppm=600_000,
            )
        ]
    )
    market = chain["M-USD"]
    position = Position(market, quantums=quantums, funding_index=0, custom_imf_ppm=custom_imf_ppm)
    account = Subaccount(chain, "dydx1a", usdc="5", positions=[position])
    book = Book(chain, max_subaccounts=1, max_positions=1)
    book.add(account)
    prices = [1 << bits for bits in (0, 1, 20, 33, 34, 50, 63)] + [2**64 - 1]
    for price in (*prices, *reversed(prices), prices[-1], prices[0], prices[4], prices[1]):
        for change in ({"price_integers": {"M-USD": price}}, {"funding_indices": {"M-USD": price - 2**40}}):
            book.apply_block(**change)
            risk = book["dydx1a", 0]
            assert (risk.nc, risk.imr, risk.mmr) == account.exact_risk()
            assert find_fault(book._store) is None
        book.rescan()
        assert find_fault(book._store) is None
