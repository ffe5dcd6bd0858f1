"""What holds beside the figures: pickle, copy, fork, threads, memory, subclasses, and what fails half-way."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import threading
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import pytest
from faces import FACES, Plan, each_face, figures

from dydx_perf import kernel
from dydx_perf.exact import account as twin
from dydx_perf.exact.state import Perpetual, PerpetualPosition

BTC = Perpetual(0, -10, 6_701_250_000, -5, 0, 0, 20_000, 600_000, 0, 0)
ETH = Perpetual(1, -9, 3_500_000_000, -6, 0, 0, 20_000, 600_000, 0, 0)
WIDE = 2**130
MARKET_FIELDS = (
    "perpetual_id atomic_resolution exponent price funding_index open_interest initial_margin_ppm "
    "maintenance_fraction_ppm open_interest_lower_cap open_interest_upper_cap height basis"
)
KINDS = {"compiled": kernel, "plain": twin}
each_kind = pytest.mark.parametrize("objects", KINDS.values(), ids=KINDS.keys())


def new_account(face: Any, *, wide: bool = False) -> Any:
    plan = Plan({0: BTC, 1: ETH}, 5_000_000_000)
    plan.positions[0] = PerpetualPosition(0, 10**9, 0)
    plan.positions[1] = PerpetualPosition(1, -WIDE if wide else -(10**9), 0)
    return plan.account(face)


# -- pickle and copy


@each_face
@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_is_live_is_neither_copied_nor_pickled_and_says_so(face: Any, make: Any) -> None:
    account = new_account(face)
    for live, name in (
        (account, "Subaccount"),
        (account.chain, "Chain"),
        (account.chain["M0-USD"], "Market"),
    ):
        with pytest.raises(TypeError, match=f"a {name} .* not copied or pickled"):
            make(live)
    with pytest.raises(TypeError, match="MarketTable"):
        make(account.chain.table)


@each_face
def test_the_state_of_an_account_is_pickled_instead(face: Any) -> None:
    account = new_account(face)
    perpetual = account.chain["M0-USD"].perpetual
    assert pickle.loads(pickle.dumps(account.state)) == account.state
    assert pickle.loads(pickle.dumps(perpetual)) == perpetual
    assert pickle.loads(pickle.dumps(account.risk)) == account.risk


# -- fork and threads


@pytest.mark.parametrize("face", FACES.values() if hasattr(os, "fork") else [])
def test_a_forked_child_has_an_account_of_its_own(face: Any) -> None:
    account = new_account(face)
    before = account.risk
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        same = account.risk == before
        account.chain["M0-USD"].set_oracle_price("1")
        os.write(writing, f"{same} {figures(account.risk)}".encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as answered:
        text = answered.read().decode()
    assert account.risk == before  # the child's price is the child's
    account.chain["M0-USD"].set_oracle_price("1")
    assert text == f"True {figures(account.risk)}"


@each_face
def test_readers_see_the_risk_of_some_moment_while_one_thread_writes(face: Any) -> None:
    account = new_account(face)
    market = account.chain["M0-USD"]
    prices = ["60000", "61000", "62000"]
    possible = set()
    for price in prices:
        market.set_oracle_price(price)
        possible.add(figures(account.risk))
    wrong, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            got = figures(account.evaluate())
            if got not in possible:
                wrong.append(got)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for turn in range(300):
        market.set_oracle_price(prices[turn % 3])
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong


# -- memory


def resident_pages() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) if statm.exists() else 0


@each_face
@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
def test_making_and_dropping_leaves_no_memory_behind(face: Any, wide: bool) -> None:
    account = new_account(face, wide=wide)
    chain, positions = account.chain, account.positions.values()
    account_turns = 12_000 if face.COMPILED and not wide else 300

    def turn(times: int) -> None:
        for _ in range(times):
            other = face.Subaccount(chain, "a", usdc=1, positions=positions)
            assert other.risk.mmr > 0
            other.set_usdc(2)
            for _ in range(8):
                other.evaluate()
            other.liquidation_price("M0-USD")

    turn(account_turns // 10)
    gc.collect()
    tracemalloc.start()
    turn(50)
    gc.collect()
    before, pages = tracemalloc.get_traced_memory()[0], resident_pages()
    turn(account_turns // 20)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000
    turn(account_turns)
    gc.collect()
    assert resident_pages() - pages < 1_000  # 4 MB; a leaked position of each would be more


@each_face
def test_dropping_frees_what_was_held(face: Any) -> None:
    class Stamp:
        """Something to watch; a Risk keeps the time it was given."""

    stamp = Stamp()
    watched = weakref.ref(stamp)
    chain = Plan({0: BTC}).chain(face, time=stamp)
    account = face.Subaccount(chain, "a", positions={"M0-USD": 1})
    risks = [account.evaluate() for _ in range(100)] + [account.risk]
    del stamp, chain, account
    gc.collect()
    assert watched() is not None
    del risks
    gc.collect()
    assert watched() is None


# -- subclasses, and what fails half-way


@each_face
@pytest.mark.parametrize("wide", [False, True], ids=["narrow", "wide"])
def test_an_error_of_a_subclass_leaves_the_account_usable(face: Any, wide: bool) -> None:
    class Watched(face.Subaccount):  # type: ignore[misc]
        fails = False

        def exact_risk(self) -> tuple[int, int, int]:
            if self.fails:
                raise RuntimeError("on purpose")
            return super().exact_risk()  # type: ignore[no-any-return]

        def exact_liquidation_price(self, market: str) -> Any:
            if self.fails:
                raise RuntimeError("on purpose")
            return super().exact_liquidation_price(market)

    model = new_account(face, wide=wide)
    account = Watched(model.chain, "a", usdc="5000", positions=model.positions.values())
    first, price = account.risk, account.liquidation_price("M0-USD")
    assert first == model.risk
    asks_python = wide or not face.COMPILED
    Watched.fails = True
    model.chain["M0-USD"].set_oracle_price("1000")
    for ask in (lambda: account.risk, account.evaluate, lambda: account.liquidation_price("M0-USD")):
        if asks_python:
            with pytest.raises(RuntimeError, match="on purpose"):
                ask()
        else:
            ask()
    Watched.fails = False
    assert account.risk == model.risk != first
    assert account.liquidation_price("M0-USD") == model.liquidation_price("M0-USD") == price
    account.extra = 1  # a subclass has room for its own
    assert account.extra == 1


@each_face
def test_a_hook_that_writes_does_not_leave_an_old_risk_behind(face: Any) -> None:
    class Busy(face.Subaccount):  # type: ignore[misc]
        writes = False

        def exact_risk(self) -> tuple[int, int, int]:
            answer: tuple[int, int, int] = super().exact_risk()
            if self.writes:
                self.writes = False
                self.set_usdc(7)
                self.chain["M0-USD"].set_oracle_price("5")
            return answer

    model = new_account(face, wide=True)
    account = Busy(model.chain, "a", usdc=3, positions=model.positions.values())
    account.writes = True
    assert account.risk.nc != account.evaluate().nc
    model.set_usdc(7)
    assert account.risk == model.risk


@each_kind
def test_a_write_that_fails_half_way_changes_nothing(objects: Any) -> None:
    face = FACES["compiled" if objects is kernel and kernel.COMPILED else "plain"]
    account = new_account(face)
    index = account.chain["M0-USD"]._index
    before, price = account.risk, account.liquidation_price("M0-USD")
    good = ("M0-USD", index, 1, 2, 3, 4)

    class Broken:
        def __iter__(self) -> Any:
            yield good
            raise RuntimeError("on purpose")

    wrong: list[tuple[Any, type[Exception]]] = [
        ([good, ("M1-USD", 99, 1, 2, 3, 4)], face.InputError),
        ([good, ("M1-USD", -1, 1, 2, 3, 4)], face.InputError),
        (Broken(), RuntimeError),
        (None, TypeError),
    ]
    if objects is kernel and kernel.COMPILED:  # the twin leaves amounts to the subclass
        wrong += [
            ([good, ("M1-USD", index, "1", 2, 3, 4)], TypeError),
            ([good, ("M1-USD", index, 1, 2, 3, 2**32)], OverflowError),
            ([good, ("M1-USD", index)], ValueError),
            ([good, None], TypeError),
        ]
    for rows, error in wrong:
        with pytest.raises(error):
            account.write(9, rows, 1, 1)
        assert account.risk == account.evaluate() == before
        assert (account.risk.height, account.risk.basis) == (before.height, before.basis)
        assert account.liquidation_price("M0-USD") == price


@each_kind
def test_a_sequence_that_lies_about_its_length_is_safe(objects: Any) -> None:
    face = FACES["compiled" if objects is kernel and kernel.COMPILED else "plain"]
    account = new_account(face)
    index = account.chain["M0-USD"]._index

    class Liar(list[Any]):
        def __len__(self) -> int:
            return 0

    account.write(9, Liar([(str(n), index, n, 0, 0, 0) for n in range(1000)]))
    assert account.evaluate() is not None


@each_face
def test_an_account_without_its_subclass(face: Any) -> None:
    objects = kernel if face.COMPILED else twin
    table = objects.MarketTable()
    with pytest.raises(TypeError):
        objects.Account(None)
    with pytest.raises(TypeError):
        objects.Account()
    account = objects.Account(table)
    with pytest.raises(face.UnknownMarketError):
        account.liquidation_price("M0-USD")
    with pytest.raises(face.InputError):
        table.set(0, **dict.fromkeys(MARKET_FIELDS.split(), 1))
    account.write(WIDE * 2**100, [])
    if face.COMPILED:
        with pytest.raises(OverflowError, match="128 bits"):
            account.evaluate()
    assert len(table) == 0
    assert (table.height, table.time) == (None, None)
    for name in ("height", "time"):
        with pytest.raises(AttributeError):
            setattr(table, name, 5)
    with pytest.raises(AttributeError):
        account.table = table
