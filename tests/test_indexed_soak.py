"""An indexed book of 300 markets through calm, jumps and crashes equals the plain one and a rescan (B2,
B3).

After every step the edges it reports are those of the plain book, and the verdicts that follow from all
edges are those of a rescan in NumPy integers that knows only the inputs. The same at size, without the
plain book but with a rescan every so many steps; accounts and changes come from the environment, and a
seed if you like:

    DYDX_PERF_SOAK=1000000:3000000 make test ARGS="-q -s tests/test_indexed_soak.py -k at_size"
"""

import os
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from soak_model import FRACTIONS, HELD, INITIAL, MARKETS, Mirror, soak_chain, soak_name

from dydx_perf import Book, Position, Subaccount
from dydx_perf.ext.indexed_faults import find_fault

ACCOUNTS, CHANGES, *SEED = [int(part) for part in os.environ.get("DYDX_PERF_SOAK", "20000:6000").split(":")]
#: share of each kind of step, and the size of a price's moves
REGIMES = {"calm": (0.0001, 0.0005, 0.001), "jump": (0.001, 0.01, 0.05, 0.2), "crash": (0.0005, 0.005)}
CRASH_TICKS = 100
KINDS = {
    "price": 60, "return": 8, "block": 2, "funding": 1, "line": 8, "deposit": 6, "open": 5, "close": 4,
    "flip": 3, "resize": 5, "leverage": 1, "tier": 1, "come": 3, "go": 3, "jump": 1, "tend": 6, "crash": 1,
}  # fmt: skip


class Soak:
    """Books and their mirror, driven by one seed."""

    def __init__(self, seed: int, regime: str, accounts: int, *, with_plain: bool) -> None:
        self.random = random.Random(f"{seed} {regime}")
        self.regime = regime
        self.room = accounts + 100
        self.books = [
            Book(
                soak_chain(seed),
                max_subaccounts=self.room,
                max_positions=HELD * self.room,
                indexed=indexed,
            )
            for indexed in ([True, False] if with_plain else [True])
        ]
        self.indexed = self.books[0]
        self.mirror = Mirror(self.indexed.chain, self.room)
        self.popularity = 1 / np.arange(1, MARKETS + 1)
        self.weights = self.popularity.tolist()
        self.names: list[tuple[str, int] | None] = [None] * self.room
        self.row_of = np.zeros(self.room, np.int64)  # by slot
        self.made = accounts
        self.free = list(range(accounts, self.room))
        self.before: tuple[int, int] | None = None  # a price that may come back
        self.base = self.mirror.price.copy()
        self.counts: Counter[str] = Counter()
        self.crashing = self.came = 0
        given = self.mirror.fill(np.random.default_rng(seed), accounts, self.popularity)
        names = [soak_name(number) for number in range(accounts)]
        self.names[:accounts] = names
        self.row_of[:accounts] = np.arange(accounts)
        addresses, numbers = [list(column) for column in zip(*names, strict=True)]
        self.told([book.load_columns(addresses, numbers, **given) for book in self.books])

    def told(self, crossings: list[Any]) -> None:
        """Take over what the books reported of one change; they reported the same."""
        mine = crossings[0]
        rows = self.row_of[mine.handles & 0xFFFFFFFF]
        self.counts["edges"] += len(mine)
        self.mirror.take(rows, mine.edges["below"])
        for other in crossings[1:]:
            assert len(other) == len(mine)
            if mine:
                assert sorted((c.address, c.number, c.below, c.risk.nc, c.risk.mmr) for c in mine) == sorted(
                    (c.address, c.number, c.below, c.risk.nc, c.risk.mmr) for c in other
                )

    def check(self) -> None:
        """Every verdict that the edges add up to, by a rescan."""
        wrong = np.flatnonzero(self.mirror.verdicts() != self.mirror.flagged)
        assert len(wrong) == 0, [self.names[row] for row in wrong[:5]]

    def check_whole(self) -> None:
        """The same, what the book itself says of it, and the invariants."""
        self.check()
        flagged = {self.names[row] for row in np.flatnonzero(self.mirror.flagged)}
        assert set(self.indexed.liquidatable()) == flagged
        assert find_fault(self.indexed._store) is None
        for book in self.books[1:]:
            assert set(book.liquidatable()) == flagged

    # -- steps

    def step(self) -> None:
        """Take one step."""
        kind = self.random.choices(list(KINDS), list(KINDS.values()))[0]
        if self.crashing:
            self.crashing -= 1
            kind = "price" if self.random.random() < 0.8 else kind
        getattr(self, f"step_{kind}")()
        self.counts[kind] += 1

    def set_prices(self, prices: dict[int, int]) -> None:
        """Set prices by market."""
        for market, price in prices.items():
            self.mirror.price[market] = price
        self.counts["changes"] += len(prices)
        changes = {f"M{market}-USD": price for market, price in prices.items()}
        self.told([book.apply_block(price_integers=changes) for book in self.books])

    def moved(self, market: int, scale: float) -> int:
        """Near the price of now, never far from where it began: the mirror's products fit."""
        price = int(self.mirror.price[market] * (1 + self.random.gauss(0, scale)))
        base = int(self.base[market])
        return min(max(price, base // 8, 1), base * 8)

    def popular(self) -> int:
        return self.random.choices(range(MARKETS), self.weights)[0]

    def step_price(self) -> None:
        if self.regime == "crash" and self.crashing:
            down = 0.99644 if self.crashing > CRASH_TICKS // 2 or self.random.random() < 0.8 else 1.003
            self.set_prices({0: max(1, int(self.mirror.price[0] * down))})
            return
        market = self.random.choice((0, self.popular()))
        self.before = market, int(self.mirror.price[market])
        self.set_prices({market: self.moved(market, self.random.choice(REGIMES[self.regime]))})

    def step_crash(self) -> None:
        """Begin a fall of the largest market by 30 % in 100 ticks, or let it come back at once."""
        if self.regime == "crash":
            if self.mirror.price[0] * 2 < self.base[0]:
                self.set_prices({0: int(self.base[0])})
            self.crashing = CRASH_TICKS

    def step_return(self) -> None:
        """A price comes back before anybody looked at whom its move has missed."""
        if self.before is not None:
            self.set_prices(dict([self.before]))

    def step_block(self) -> None:
        scale = self.random.choice(REGIMES[self.regime])
        self.set_prices({market: self.moved(market, scale) for market in range(MARKETS)})

    def step_jump(self) -> None:
        """Out of the window of prices, and back."""
        market = self.random.choice((0, self.popular()))
        price = int(self.mirror.price[market])
        self.set_prices({market: self.random.choice((price * 20, max(1, price // 100_000)))})
        if self.random.random() < 0.5:
            self.change_account()
        self.set_prices({market: price})

    def step_funding(self) -> None:
        """Hourly funding of everyone."""
        self.mirror.funding += np.array([self.random.randrange(-(10**5), 10**5) for _ in range(MARKETS)])
        self.counts["changes"] += MARKETS
        indices = {f"M{market}-USD": int(index) for market, index in enumerate(self.mirror.funding)}
        self.told([book.apply_block(funding_indices=indices) for book in self.books])

    def step_tier(self) -> None:
        market = self.random.choice((0, self.popular()))
        initial, fraction = self.random.choice(INITIAL), self.random.choice(FRACTIONS)
        self.mirror.initial[market], self.mirror.fraction[market] = initial, fraction
        self.counts["changes"] += 1
        tier = {
            "initial_margin_ppm": initial,
            "maintenance_fraction_ppm": fraction,
            "open_interest_lower_cap": 10**13,
            "open_interest_upper_cap": 10**14,
        }
        self.told([book.apply_block(liquidity_tiers={f"M{market}-USD": tier}) for book in self.books])

    def step_tend(self) -> None:
        self.indexed.tend(self.random.choice((1, 10, 1_000)))

    # -- of one account

    def some(self) -> int:
        """A row in use; one time in three somebody who is liquidatable, where there is one near by."""
        while True:
            row = self.random.randrange(self.made)
            if self.random.random() < 0.3:
                below = np.flatnonzero(self.mirror.flagged[row : row + 5_000])
                row = row + int(below[0]) if len(below) else row
            if self.mirror.used[row]:
                return row

    def change_account(self) -> None:
        self.random.choice((self.step_line, self.step_open, self.step_flip, self.step_close))()

    def update(self, row: int, **changes: Any) -> None:
        """Change one account in all books."""
        name = self.names[row]
        assert name is not None
        self.counts["changes"] += 1
        crossings = []
        for book in self.books:
            given = dict(changes)
            if "slot" in given:
                slot = given.pop("slot")
                given["positions"] = [
                    Position(
                        book.chain[int(self.mirror.market[row, slot])],
                        quantums=int(self.mirror.quantums[row, slot]),
                        funding_index=int(self.mirror.index[row, slot]),
                    )
                ]
            crossings.append(book.update(name, **given))
        self.told(crossings)

    def set_usdc(self, row: int, usdc: int) -> None:
        self.mirror.usdc[row] = usdc
        self.update(row, usdc=f"{usdc}e-6")

    def step_line(self) -> None:
        """A balance that puts the account within two quantums of the line, or of five for each position."""
        row = self.some()
        nc, mmr = self.mirror.risk(row, row + 1)
        aim = self.random.choice((-2, -1, 0, 1, 2, 5 * HELD, -5 * HELD, self.random.randint(-50, 50)))
        self.set_usdc(row, int(self.mirror.usdc[row] + mmr[0] - nc[0]) + aim)

    def step_deposit(self) -> None:
        row = self.some()
        _, mmr = self.mirror.risk(row, row + 1)
        share = self.random.uniform(-0.5, 1.0)
        self.set_usdc(row, int(self.mirror.usdc[row]) + int(int(mmr[0]) * share))

    def put(self, row: int, slot: int, quantums: int) -> None:
        self.mirror.quantums[row, slot] = quantums
        self.mirror.index[row, slot] = self.mirror.funding[self.mirror.market[row, slot]]
        self.update(row, slot=slot)

    def held_slot(self, row: int) -> int | None:
        held = np.flatnonzero(self.mirror.quantums[row])
        return int(self.random.choice(held)) if len(held) else None

    def step_open(self) -> None:
        row = self.some()
        free = np.flatnonzero(self.mirror.quantums[row] == 0)
        market = self.popular()
        taken = self.mirror.market[row][self.mirror.quantums[row] != 0]
        if len(free) and market not in taken:
            slot = int(free[0])
            self.mirror.market[row, slot] = market
            value = 10 ** self.random.uniform(6, 10.5)
            size = int(value * self.mirror.unit[market] / self.mirror.price[market]) or 1
            self.put(row, slot, self.random.choice((-1, 1)) * size)

    def step_close(self) -> None:
        row = self.some()
        slot = self.held_slot(row)
        if slot is not None:
            self.put(row, slot, 0)

    def step_flip(self) -> None:
        row = self.some()
        slot = self.held_slot(row)
        if slot is not None:
            self.put(row, slot, -int(self.mirror.quantums[row, slot]))

    def step_resize(self) -> None:
        row = self.some()
        slot = self.held_slot(row)
        if slot is not None:
            size = int(self.mirror.quantums[row, slot] * self.random.choice((0.5, 0.9, 1.1, 1.5)))
            self.put(row, slot, size or 1)

    def step_leverage(self) -> None:
        """A margin fraction of its own moves nobody across the line; without it the account is as before."""
        row = self.some()
        market = f"M{self.popular()}-USD"
        self.update(row, leverage={market: self.random.choice((0, 0, 500_000, 1_000_000))})

    def step_come(self) -> None:
        """A new account, with one position."""
        if not self.free:
            return
        row = self.free.pop(self.random.randrange(len(self.free)))
        self.came += 1
        name = soak_name(self.room + self.came)
        market = self.popular()
        size = (
            int(10 ** self.random.uniform(7, 10) * self.mirror.unit[market] / self.mirror.price[market]) or 1
        )
        self.mirror.market[row, 0], self.mirror.quantums[row] = market, 0
        self.mirror.quantums[row, 0], self.mirror.index[row, 0] = size, self.mirror.funding[market]
        self.mirror.usdc[row] = 0
        nc, mmr = self.mirror.risk(row, row + 1)
        self.mirror.usdc[row] = int(mmr[0] - nc[0]) + self.random.choice((-1, 0, 1, 10**7))
        self.mirror.used[row], self.names[row] = True, name
        self.counts["changes"] += 1
        crossings = []
        for book in self.books:
            position = Position(
                book.chain[market], quantums=size, funding_index=int(self.mirror.index[row, 0])
            )
            usdc = f"{self.mirror.usdc[row]}e-6"
            account = Subaccount(book.chain, *name, usdc=usdc, positions=[position])
            crossings.append(book.add(account))
        self.row_of[self.indexed.handle(name) & 0xFFFFFFFF] = row
        self.made = max(self.made, row + 1)
        self.told(crossings)

    def step_go(self) -> None:
        row = self.some()
        name = self.names[row]
        assert name is not None
        self.counts["changes"] += 1
        for book in self.books:
            assert book.remove(name) == []
        self.mirror.used[row] = self.mirror.flagged[row] = False
        self.mirror.quantums[row] = 0
        self.names[row] = None
        self.free.append(row)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("seed", SEED or range(2))
def test_an_indexed_book_equals_the_plain_one_and_a_rescan_after_every_step(seed: int, regime: str) -> None:
    """Verdicts, edges with their figures, and invariants."""
    soak = Soak(seed, regime, 1_500, with_plain=True)
    for step in range(400):
        try:
            soak.step()
            soak.check()
            if step % 20 == 0:
                soak.check_whole()
        except BaseException as error:
            error.add_note(f"seed {seed}, {regime}, step {step}, {dict(soak.counts)}")
            raise
    soak.check_whole()
    assert soak.counts["edges"] > 500


@pytest.mark.parametrize("regime", REGIMES)
def test_an_indexed_book_at_size_equals_a_rescan(regime: str) -> None:
    """The same without the plain book, a rescan every so many steps; every edge is one on the way too."""
    soak = Soak(SEED[0] if SEED else 0, regime, ACCOUNTS, with_plain=False)
    step, checked = 0, 0
    while soak.counts["changes"] < CHANGES // len(REGIMES):
        try:
            soak.step()
            step += 1
            if step % max(20, ACCOUNTS // 500) == 0:
                soak.check()
                checked += 1
        except BaseException as error:
            error.add_note(f"{regime}, step {step}, {dict(soak.counts)}")
            raise
    soak.check_whole()
    print(f"{regime}: {checked + 1} rescans of {ACCOUNTS:,} accounts, {dict(soak.counts)}")
