"""The bound of the certified scan at its edge: built cases that need it, and hostile books (B3, B4).

docs/bounds.md derives it. The twin here is the rule in Python's floats, with the bound as an argument: a
smaller bound gives a wrong verdict where the kernel, with five quantums a position, gives the right one.
"""

import random
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from soak_model import HELD, Mirror, soak_chain, soak_name

from dydx_perf import Book, Chain, Market, Position, Subaccount
from dydx_perf.ext.indexed_faults import find_fault
from dydx_perf.ext.indexed_memory import scan_paths

BOUND = 5


class Corner(NamedTuple):
    """A position that the estimate is as far from as it can be."""

    price: int
    power: int  # of ten, of a base quantum at a price of 1
    initial_margin_ppm: int
    maintenance_fraction_ppm: int
    quantums: int
    gap: int  # what the chain's integers give, less the estimate

    def exact(self) -> int:
        """The chain's nc - mmr of it, in plain integers."""
        notional = abs(self.quantums) * self.price // 10**-self.power
        margin = -(-notional * self.initial_margin_ppm // 10**6)
        margin = -(-margin * self.maintenance_fraction_ppm // 10**6)
        return (notional if self.quantums > 0 else -notional) - margin

    def estimate(self) -> int:
        """The twin of the kernel's part: four roundings, then the nearest integer."""
        both = float(self.initial_margin_ppm) * float(self.maintenance_fraction_ppm)
        weight = (1e12 - both if self.quantums > 0 else 1e12 + both) / 1e12
        return round(float(self.quantums) * (weight / 10.0**-self.power * float(self.price)))


# Found by a search: all roundings one way, in the largest part that is not left to integers.
LONG = Corner(75_827_383_336, -3, 2_137, 999_917, 29_634_366, -4)
SHORT = Corner(4_555_744_149_659, -12, 997_954, 998_072, -242_957_572_495_823, 3)
COUNTS = [1, 2, 7, 40, 200]


def verdict(estimate: int, bound: int) -> bool | None:
    """The rule: whether an account is certainly liquidatable or certainly not; None is for integers."""
    return True if estimate < -bound else False if estimate > bound else None


def corner_book(corner: Corner, held: int, distance: int, path: str | None = None) -> Book:
    """An account of `held` such positions, at nc - mmr = `distance` once prices rose sixteenfold."""
    chain = Chain(
        [
            Market(
                f"M{number}-USD",
                perpetual_id=number,
                atomic_resolution=-6,
                price_exponent=corner.power,
                oracle_price=f"{corner.price // 16 + 1}e{corner.power}",
                initial_margin_ppm=corner.initial_margin_ppm,
                maintenance_fraction_ppm=corner.maintenance_fraction_ppm,
            )
            for number in range(held)
        ]
    )
    book = Book(chain, max_subaccounts=9, max_positions=held, indexed=True, scan_path=path)
    positions = [Position(market, quantums=corner.quantums, funding_index=0) for market in chain]
    usdc = distance - held * corner.exact()
    book.add(Subaccount(chain, "corner", 0, usdc=f"{usdc}e-6", positions=positions))
    book.apply_block(price_integers={market.ticker: corner.price for market in chain})
    return book


@pytest.mark.parametrize("corner", [LONG, SHORT], ids=["long", "short"])
def test_the_corners_are_as_far_off_as_the_proof_allows(corner: Corner) -> None:
    """Within (-4.51, 3.51) a whole number is at least -4 and at most 3; both are there."""
    assert corner.exact() - corner.estimate() == corner.gap
    assert abs(corner.estimate()) < 2**51


@pytest.mark.parametrize("held", COUNTS)
def test_a_smaller_bound_gives_a_wrong_verdict_where_ours_asks_the_integers(held: int) -> None:
    """Three quantums a position are too few for longs, and two for shorts; five are enough for both."""
    long = held * LONG.exact() - held * LONG.gap  # the estimate, less the collateral
    if held > 1:
        collateral = -1 - held * LONG.exact()  # liquidatable by one quantum
        assert verdict(long + collateral, 3 * held) is False  # "safe", and wrong
        assert verdict(long + collateral, 4 * held - 2) is False
    for distance in (-1, 0):
        assert verdict(distance - held * LONG.gap, BOUND * held) is None
        assert verdict(distance - held * SHORT.gap, BOUND * held) is None
    assert verdict(0 - held * SHORT.gap, 2 * held) is True  # "liquidatable", and safe in truth


@pytest.mark.parametrize("path", scan_paths())
@pytest.mark.parametrize("held", COUNTS)
@pytest.mark.parametrize("corner", [LONG, SHORT], ids=["long", "short"])
def test_accounts_of_corners_are_decided_right(corner: Corner, held: int, path: str) -> None:
    """One quantum to each side of the line, by the tick, by the scan, and after looking again."""
    distances = {-1, 0, 1, *(sign * (BOUND * held + step) for sign in (-1, 1) for step in (-1, 0, 1))}
    for distance in sorted(distances):
        book = corner_book(corner, held, distance, path)
        assert book["corner", 0].distance == distance
        for _ in range(2):
            assert bool(book.liquidatable()) == (distance < 0), (held, distance)
            assert find_fault(book._store) is None
            book._store.scan_rows()
        book.rescan()
        assert bool(book.liquidatable()) == (distance < 0)


def test_no_position_is_further_off_than_the_proof_says() -> None:
    """Random ones up to the largest part, aimed at where integers and estimate round apart."""
    rng = random.Random(11)
    seen = set()
    for _ in range(20_000):
        power = -rng.randrange(0, 13)
        price = rng.randrange(1, 2 ** rng.randrange(2, 50))
        initial = rng.choice((1, 2_137, 50_000, 999_999, 10**6))
        fraction = rng.choice((1, 600_000, 999_983, 10**6))
        most = int(Fraction(2**50, price) * 10**-power)
        size = min(most, 2**53 - 1) >> rng.randrange(50)
        for sign in (1, -1):
            corner = Corner(price, power, initial, fraction, sign * (size or 1), 0)
            if abs(corner.estimate()) < 2**51:
                gap = corner.exact() - corner.estimate()
                assert (-4 <= gap <= 1) if sign > 0 else (-3 <= gap <= 3), corner
                seen.add((sign, gap))
    assert {(1, -3), (1, 0), (-1, 1)} <= seen


HOSTILE = {
    "within the bound": lambda rng, mmr, held: int(rng.integers(-BOUND * held - 1, BOUND * held + 2)),
    "no slack": lambda rng, mmr, held: 0,
    "one below": lambda rng, mmr, held: -1,
}


@pytest.mark.parametrize("kind", [*HOSTILE, "dust"])
def test_hostile_books_are_decided_right(kind: str) -> None:
    """Everybody within the bound of zero, or of dust that has no margin: ticks, blocks, funding and scans."""
    count = 1_000
    chain = soak_chain(7, markets=40)
    mirror = Mirror(chain, count)
    rng = np.random.default_rng(5)
    given = mirror.fill(rng, count, 1 / np.arange(1, 41))
    if kind == "dust":
        mirror.quantums[:] = np.sign(mirror.quantums) * rng.integers(1, 4, mirror.quantums.shape)
        given["quantums"] = mirror.quantums[np.nonzero(mirror.quantums)]
        mirror.usdc[:] = rng.integers(-3, 4, count)
    else:
        nc, mmr = mirror.risk()
        held = np.count_nonzero(mirror.quantums, axis=1)
        mirror.usdc += mmr - nc + np.array([HOSTILE[kind](rng, 0, int(n)) for n in held])
    given["usdc"] = mirror.usdc.copy()
    names = [soak_name(number) for number in range(count)]
    book = Book(chain, max_subaccounts=count, max_positions=count * HELD, indexed=True)
    book.load_columns(*(list(column) for column in zip(*names, strict=True)), **given)
    markets = list(chain)
    for step in range(40):
        moved = [markets[step % 3]] if step % 4 else markets
        prices = {m.ticker: max(1, m.perpetual.price + (1 if step % 2 else -1)) for m in moved}
        funding = {m.ticker: m.funding_index + 1 - 2 * (step % 2) for m in moved} if step % 5 == 0 else {}
        book.apply_block(price_integers=prices, funding_indices=funding)
        mirror.price[:] = [m.perpetual.price for m in markets]
        mirror.funding[:] = [m.funding_index for m in markets]
        below = {names[row] for row in np.flatnonzero(mirror.verdicts())}
        assert set(book.liquidatable()) == below, step
        book._store.scan_rows()
        assert set(book.liquidatable()) == below, step
    assert find_fault(book._store) is None
