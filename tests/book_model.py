"""A book as a dictionary of plain integers, rescanned whole at every step: the compiled one must equal it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

from dydx_perf import Chain, Market, Position, Subaccount
from dydx_perf.book import Book
from dydx_perf.exact.margin import compare_risk, is_liquidatable, subaccount_risk
from dydx_perf.exact.state import AssetPosition, PerpetualPosition, RiskState, SubaccountState
from dydx_perf.ext import indexed_faults
from dydx_perf.ext.book_image import find_fault

Name = tuple[str, int]
Threshold = tuple[int, int]

THRESHOLDS = ((3, 2), (1, 1), (2**40 + 1, 2**40), (5, 1), (1, 3))


@dataclass
class Account:
    """Inputs of one account, and what was last seen of it."""

    usdc: int = 0
    positions: dict[str, tuple[int, int, int]] = field(
        default_factory=dict
    )  # size, funding index, quote balance
    leverage: dict[str, int] = field(default_factory=dict)
    liquidatable: bool = False
    below: dict[Threshold, bool] = field(default_factory=dict)


def random_market(rng: random.Random, number: int, wild: bool) -> Market:
    """A market; a wild one has amounts that pass 64 bits now and then."""
    resolution = rng.choice((-10, -9, -7, -6, -4))
    exponent = rng.randint(-18, 6) if wild else -6 - resolution - rng.randint(0, 9)
    return Market(
        f"M{number}-USD",
        perpetual_id=number * 3 + 1,
        atomic_resolution=resolution,
        price_exponent=exponent,
        oracle_price=Decimal(f"1E{exponent}"),
        **random_tier(rng, wild),
        open_interest=rng.choice((0, 10**12, 10**15)),
        funding_index=rng.randint(-(10**9), 10**9),
    )


def random_tier(rng: random.Random, wild: bool) -> dict[str, int]:
    """The four parameters of a liquidity tier."""
    lower = rng.choice((0, 10**9, 10**12))
    return {
        "initial_margin_ppm": rng.choice((0, 10_000, 20_000, 50_000, 100_000, 333_333, 1_000_000)),
        "maintenance_fraction_ppm": rng.choice((0, 400_000, 500_000, 600_000, 1_000_000)),
        "open_interest_lower_cap": lower,
        "open_interest_upper_cap": rng.choice(
            (0, lower, lower + 1, lower + 10**12, 2**63 if wild else 10**14)
        ),
    }


class Model:
    """A book and its plain twin, driven by one seed."""

    def __init__(
        self, seed: int, wild: bool, accounts: int = 12, markets: int = 5, indexed: bool = False
    ) -> None:
        self.rng = rng = random.Random(seed)
        self.wild = wild
        self.max_accounts = accounts
        self.chain = Chain([random_market(rng, number, wild) for number in range(markets)])
        for market in self.chain:
            market.set_oracle_price_integer(self.price())
        self.book = Book(
            self.chain,
            max_subaccounts=accounts,
            max_positions=accounts * markets,
            max_thresholds=64,
            indexed=indexed,
        )
        self.find_fault: Callable[[Any], str | None] = indexed_faults.find_fault if indexed else find_fault
        self.accounts: dict[Name, Account] = {}
        self.called: list[Any] = []
        self.edges: list[Any] = []

    # -- values

    def price(self) -> int:
        """A price integer; near 2**64 for a wild market at times."""
        rng = self.rng
        if self.wild and rng.random() < 0.15:
            return rng.choice((1, 2, 2**64 - 1, rng.getrandbits(64) or 1))
        return max(1, int(10 ** rng.uniform(3, 12)))

    def moved(self, market: Market) -> int:
        """Near the price of now, mostly."""
        rng = self.rng
        if rng.random() < 0.1:
            return self.price()
        move = rng.choice((0.0001, 0.001, 0.01, 0.1, 0.5))
        return min(2**64 - 1, max(1, int(market.perpetual.price * rng.uniform(1 - move, 1 + move))))

    def size(self, market: Market) -> int:
        """Base quantums worth about a thousand USDC, give or take; wild ones any at all."""
        rng = self.rng
        if self.wild and rng.random() < 0.25:
            bits = rng.choice((56, 60, 63, 64, 70, 127, 200))
            return rng.choice((-1, 1)) * (rng.getrandbits(bits) or 1)
        value = 10 ** rng.uniform(6, 11)
        power = market.price_exponent + market.atomic_resolution + 6
        size = int(value / (market.perpetual.price * 10.0**power)) or 1
        return rng.choice((-1, 1)) * min(size, 2**62)

    def funding_index(self, market: Market) -> int:
        """Near the index of now; a wild one may pass 64 bits."""
        if self.wild and self.rng.random() < 0.05:
            return self.rng.choice((-1, 1)) * self.rng.getrandbits(self.rng.choice((62, 64, 90)))
        return market.funding_index + self.rng.randint(-(10**6), 10**6)

    def balance(self, account: Account) -> int:
        """USDC that leaves the account near its margin, mostly."""
        rng = self.rng
        if self.wild and rng.random() < 0.15:
            return rng.choice((-1, 1)) * rng.getrandbits(rng.choice((62, 63, 64, 100)))
        risk = self.exact(replace(account, usdc=0))
        if rng.random() < 0.3:
            return risk.mmr - risk.nc + rng.randint(-2, 2)
        return int((risk.mmr - risk.nc) + risk.mmr * rng.randint(-50, 200) // 100)

    # -- the plain twin

    def exact(self, account: Account) -> RiskState:
        """Risk by plain integers."""
        state = SubaccountState(
            (AssetPosition(0, account.usdc),) if account.usdc else (),
            tuple(
                PerpetualPosition(self.chain[ticker].perpetual_id, *position)
                for ticker, position in account.positions.items()
            ),
            {self.chain[ticker].perpetual_id: ppm for ticker, ppm in account.leverage.items()},
        )
        return subaccount_risk({market.perpetual_id: market.perpetual for market in self.chain}, state)

    def rescan(self) -> set[tuple[Name, Threshold | None, bool]]:
        """Evaluate every account and return the edges since the last rescan."""
        edges: set[tuple[Name, Threshold | None, bool]] = set()
        for name, account in self.accounts.items():
            risk = self.exact(account)
            now = is_liquidatable(risk)
            if now != account.liquidatable:
                edges.add((name, None, now))
                account.liquidatable = now
            for threshold, was in account.below.items():
                below = self.is_below(risk, threshold)
                if below != was:
                    edges.add((name, threshold, below))
                    account.below[threshold] = below
        return edges

    @staticmethod
    def is_below(risk: RiskState, threshold: Threshold) -> bool:
        """Tell whether nc / mmr < numerator / denominator."""
        return risk.mmr > 0 and risk.nc * threshold[1] < risk.mmr * threshold[0]

    # -- steps: each returns what the book reported

    def some(self) -> Name:
        return self.rng.choice(list(self.accounts))

    def key(self, name: Name) -> int | Name:
        """The account by handle or by name."""
        return self.book.handle(name) if self.rng.random() < 0.5 else name

    def markets(self) -> list[Market]:
        return self.rng.sample(list(self.chain), self.rng.randint(1, len(self.chain)))

    def step_prices(self) -> list[Any]:
        prices = {market.ticker: self.moved(market) for market in self.markets()}
        return self.book.apply_block(price_integers=prices, height=self.rng.choice((None, 7)))

    def step_human_prices(self) -> list[Any]:
        prices = {m.ticker: m.oracle_price.decimal for m in self.markets()}
        return self.book.apply_prices(prices)

    def step_funding(self) -> list[Any]:
        return self.book.apply_block(
            funding_indices={market.ticker: self.funding_index(market) for market in self.markets()}
        )

    def step_block(self) -> list[Any]:
        return self.book.apply_block(
            price_integers={market.ticker: self.moved(market) for market in self.markets()},
            funding_indices={market.ticker: self.funding_index(market) for market in self.markets()},
            open_interests={
                market.ticker: self.rng.getrandbits(
                    self.rng.choice((40, 50, 63, 70) if self.wild else (40, 50))
                )
                for market in self.markets()
            },
            liquidity_tiers={
                market.ticker: random_tier(self.rng, self.wild) for market in self.markets()[:1]
            },
        )

    def step_directly(self) -> list[Any]:
        for market in self.markets():
            market.set_oracle_price_integer(self.moved(market))
        return self.book.catch_up()

    def step_balance(self) -> list[Any]:
        name = self.some()
        account = self.accounts[name]
        account.usdc = self.balance(account)
        return self.book.update(self.key(name), usdc=usdc_text(account.usdc))

    def step_positions(self) -> list[Any]:
        name = self.some()
        account = self.accounts[name]
        changed = []
        for market in self.rng.sample(list(self.chain), self.rng.randint(1, 2)):
            held = account.positions.get(market.ticker)
            kind = self.rng.choice(("open", "close", "flip", "resize", "balance"))
            position = (self.size(market), self.funding_index(market), 0)
            if kind == "close" or (held is None and kind != "open"):
                position = (0, 0, 0)
            elif kind == "flip" and held:
                position = (-held[0], held[1], held[2])
            elif kind == "resize" and held:
                position = (held[0] // 2, *held[1:])
            elif kind == "balance" and held:
                position = (held[0], held[1], self.rng.randint(-(10**9), 10**9))
            changed.append(
                Position(market, quantums=position[0], funding_index=position[1], quote_balance=position[2])
            )
            account.positions.pop(market.ticker, None)
            if position[0] or position[2]:
                account.positions[market.ticker] = position
        if self.rng.random() < 0.3:
            account.usdc = self.balance(account)
            return self.book.update(self.key(name), usdc=usdc_text(account.usdc), positions=changed)
        return self.book.update(self.key(name), positions=changed)

    def step_leverage(self) -> list[Any]:
        name = self.some()
        market = self.rng.choice(list(self.chain))
        ppm = self.rng.choice((0, 50_000, 700_000, 1_500_000, 2**21, 2**21 + 1, 2**32 - 1))
        self.accounts[name].leverage[market.ticker] = ppm
        return self.book.update(self.key(name), leverage={market.ticker: ppm})

    def new_subaccount(self, name: Name) -> Subaccount:
        account = Account()
        held = self.rng.sample(list(self.chain), self.rng.randint(0, min(3, len(self.chain))))
        for market in held:
            account.positions[market.ticker] = (self.size(market), self.funding_index(market), 0)
        if self.rng.random() < 0.3:
            account.leverage[self.rng.choice(list(self.chain)).ticker] = self.rng.choice((90_000, 400_000))
        account.usdc = self.balance(account)
        self.accounts[name] = account
        return Subaccount(
            self.chain,
            *name,
            usdc=usdc_text(account.usdc),
            positions=[
                Position(self.chain[ticker], quantums=size, funding_index=index)
                for ticker, (size, index, _) in account.positions.items()
            ],
            leverage=account.leverage,
        )

    def step_add(self) -> list[Any]:
        free = self.max_accounts - len(self.accounts)
        names = [(f"dydx{self.rng.getrandbits(60)}", self.rng.randint(0, 3)) for _ in range(min(free, 3))]
        return self.book.load([self.new_subaccount(name) for name in names])

    def step_together(self) -> list[Any]:
        """Prices, funding, accounts that are replaced and one that comes in, all by one change."""
        names = self.rng.sample(list(self.accounts), min(len(self.accounts), self.rng.randint(0, 4)))
        if len(self.accounts) < self.max_accounts:
            names.append((f"dydx{self.rng.getrandbits(60)}", 0))
        replaced = []
        for name in names:
            was = self.accounts.get(name, Account())
            replaced.append(self.new_subaccount(name))
            self.accounts[name].liquidatable, self.accounts[name].below = was.liquidatable, was.below
        return self.book.apply_block(
            price_integers={market.ticker: self.moved(market) for market in self.markets()},
            funding_indices={market.ticker: self.funding_index(market) for market in self.markets()[:1]},
            subaccounts=replaced,
        )

    def step_remove(self) -> list[Any]:
        name = self.some()
        crossings = self.book.remove(self.key(name))
        del self.accounts[name]
        return crossings

    def step_watch(self) -> list[Any]:
        name = self.some()
        account = self.accounts[name]
        threshold = self.rng.choice(THRESHOLDS)
        if threshold in account.below:
            self.book.unwatch(name, self.observe, threshold=threshold)
            del account.below[threshold]
        elif sum(len(a.below) for a in self.accounts.values()) < 64:
            self.book.watch(self.key(name), self.observe, threshold=threshold)
            account.below[threshold] = self.is_below(self.exact(account), threshold)
        return []

    def step_restore(self) -> list[Any]:
        """Go on with the book of a snapshot, which is the same to the last bit."""
        data = self.book.to_bytes()
        self.book = Book.from_bytes(data)
        self.chain = self.book.chain
        assert self.book.to_bytes() == data
        for name, account in self.accounts.items():
            for threshold in account.below:
                self.book.watch(name, self.observe, threshold=threshold)
        return []

    def step_rescan(self) -> list[Any]:
        return self.book.rescan()

    def observe(self, crossing: Any) -> None:
        self.called.append(crossing)

    # -- one step, compared

    def step(self) -> str:
        """Take a step and compare everything with two full rescans; return its kind."""
        kinds = ["prices"] * 5 + ["funding", "block", "directly", "human_prices", "rescan", "add", "restore"]
        kinds += ["together"] * 2
        if self.accounts:
            kinds += ["balance"] * 3 + ["positions"] * 4 + ["leverage", "remove", "watch"]
        kind = self.rng.choice(kinds)
        self.called.clear()
        crossings = self.edges = getattr(self, f"step_{kind}")()
        reported = [((c.address, c.number), c.threshold, c.below) for c in crossings]
        assert len(set(reported)) == len(reported), (kind, reported)
        assert set(reported) == self.rescan(), kind
        watched = [c for c in crossings if c.threshold is not None]
        assert self.called == watched, (kind, self.called)
        self.compare()
        return kind

    def compare(self) -> None:
        """Every figure of every account, the liquidatable ones, and the ranking."""
        book = self.book
        assert self.find_fault(book._store) is None
        assert len(book) == len(self.accounts)
        assert set(book) == set(self.accounts)
        risks = {name: self.exact(account) for name, account in self.accounts.items()}
        for name, exact in risks.items():
            risk = book[name]
            assert (risk.nc, risk.imr, risk.mmr) == (exact.nc, exact.imr, exact.mmr), name
        assert set(book.liquidatable()) == {name for name, risk in risks.items() if is_liquidatable(risk)}
        ranked = book.at_risk(self.rng.randint(0, len(risks) + 1))
        for first, second in pairwise(ranked):
            assert compare_risk(risks[first[:2]], risks[second[:2]]) >= 0
        names = {row[:2] for row in ranked}
        for name, risk in risks.items():
            if ranked and name not in names:
                assert compare_risk(risks[ranked[-1][:2]], risk) >= 0


def usdc_text(quantums: int) -> str:
    """USDC of an amount in quote quantums."""
    sign, size = ("-" if quantums < 0 else ""), abs(quantums)
    return f"{sign}{size // 10**6}.{size % 10**6:06d}"
