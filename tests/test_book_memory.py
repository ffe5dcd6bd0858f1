"""Memory is taken once: no more for an update or a million lives, and none is lost when it is short (B7)."""

import gc
import os
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable

import pytest
from book_cases import BTC, ETH, A, B, Listener, book, edges, long

from dydx_perf import Book, Subaccount
from dydx_perf.errors import CapacityError

MILLION = 1_000_000
# What a sanitizer keeps of freed memory, to find its use.
QUARANTINE = 2**29 if "asan" in os.environ.get("LD_PRELOAD", "") else 0


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def both_ways(held: Book, usdc: str) -> list[Subaccount]:
    """Return 400 accounts long of the one and short of the other."""
    return [Subaccount(held.chain, f"dydx{n}", usdc=usdc, positions={BTC: 1, ETH: -1}) for n in range(400)]


def test_a_step_of_the_book_allocates_nothing_but_its_answer() -> None:
    """Every way of the store's own part of a change, seen by tracemalloc: no block is left, none is made."""
    held = book(max_subaccounts=500, max_positions=1000)
    held.load(both_ways(held, "1000"))
    store, bitcoin, ether = held._store, held.chain[BTC], held.chain[ETH]
    rows: list[list[tuple[int, int, int, int, int]]] = [
        [(0, 10**9, 5, 0, 0), (1, -(10**8), 7, 3, 0)],  # opened, changed
        [(0, -(10**9), 5, 0, 0), (1, -(10**8), 7, 3, 0)],  # flipped
        [(0, 0, 0, 0, 0), (1, 0, 0, 0, 70_000)],  # closed, chosen
    ]
    slot = store.slot(("dydx7", 0))

    def nothing() -> None:
        """Change nothing."""

    def peak(change: Callable[[], object], step: Callable[[], object]) -> int:
        change()
        step()
        change()
        tracemalloc.clear_traces()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        step()
        _, most = tracemalloc.get_traced_memory()
        return most - before

    prices = iter(range(2_000_000_000, 2_100_000_000, 7))
    indices = iter(range(1, 10**6))
    answer = sys.getsizeof([]) + 32  # the list that comes back, empty
    store.begin()
    tracemalloc.start()
    try:
        assert peak(lambda: bitcoin.set_oracle_price_integer(next(prices)), store.finish) <= answer
        assert peak(lambda: ether.set_funding_index(next(indices)), store.finish) <= answer
        for chosen in rows:
            assert peak(nothing, lambda rows=chosen: store.update(slot, 10**9, rows, 11, 0, False)) <= 64
        assert peak(nothing, store.scan) <= 64
    finally:
        tracemalloc.stop()
        store.end()


def test_prices_without_crossings_leave_no_block_behind() -> None:
    held = book(max_subaccounts=500, max_positions=1000)
    held.load(both_ways(held, "100000"))

    def ticks() -> None:
        for n in range(500):
            held.apply_prices({BTC: str(19_000 + n), ETH: str(1_000 + n % 7)})
            held.update(("dydx7", 0), positions={BTC: str(n % 5)}, usdc=str(100_000 + n))

    ticks()
    gc.collect()
    before = sys.getallocatedblocks()
    ticks()
    gc.collect()
    assert sys.getallocatedblocks() - before < 50


def test_a_million_lives_leave_memory_flat() -> None:
    """Accounts come, open, close and go; slots and blocks are used again."""
    held = book(max_subaccounts=100, max_positions=200)
    names = [(f"dydx1{n:038}", 0) for n in range(100)]
    store = held._store

    def live(count: int) -> None:
        for n in range(count):
            name = names[n % 100]
            store.begin()
            rows = [(0, 10**9, 0, 0, 0), (1, -(10**9), 0, 0, 0)]
            store.add([name], [(10**10, rows, -1, 0, False)])
            store.update(store.slot(name), 10**9, [(0, -(10**8), 0, 0, 0), (1, 0, 0, 0, 0)], -1, 0, False)
            store.finish()
            store.close(store.slot(name))
            store.end()

    live(1_000)
    gc.collect()
    blocks, memory = sys.getallocatedblocks(), resident()
    live(MILLION // 2)
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 20
    assert resident() - memory < 2**20 + QUARANTINE
    assert held.used == {"subaccounts": 0, "positions": 0, "markets": 2, "thresholds": 0}


def test_a_million_positions_opened_and_closed_leave_memory_flat() -> None:
    held = book(max_subaccounts=100, max_positions=200)
    held.load([Subaccount(held.chain, f"dydx{n}", usdc="100000") for n in range(100)])
    store = held._store

    def turn(count: int) -> None:
        store.begin()
        for n in range(count):
            for slot in range(100):
                store.update(slot, 10**9, [(0, 10**8 + n, 0, 0, 0), (1, 10**8, 0, 0, 0)], -1, 0, False)
            for slot in range(100):
                store.update(slot, 10**9, [(0, 0, 0, 0, 0), (1, 0, 0, 0, 0)], -1, 0, False)
        store.finish()
        store.end()

    turn(2)
    blocks, memory = sys.getallocatedblocks(), resident()
    turn(MILLION // 200)
    assert sys.getallocatedblocks() - blocks < 20
    assert resident() - memory < 2**20 + QUARANTINE
    assert held.used["positions"] == 0


def test_observers_that_come_and_go_leave_nothing() -> None:
    held = book()
    held.add(long(held))

    class Listener:
        def hear(self, crossing: object) -> None:
            """Hear."""

    def watch(count: int) -> None:
        for _ in range(count):
            listener = Listener()
            held.watch(A, listener.hear, threshold=3)
            held.unwatch(A, listener.hear, threshold=3)

    watch(10)
    gc.collect()
    blocks = sys.getallocatedblocks()
    watch(5_000)
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 20


def test_a_book_goes_at_once_when_nobody_holds_it() -> None:
    """No cycle keeps its memory until a collection."""
    gc.disable()
    try:
        held = book()
        held.add(long(held))
        held.watch(A, print)
        gone = weakref.ref(held)
        del held
        assert gone() is None
    finally:
        gc.enable()


NO_MEMORY = """
import sys, _testcapi
from dydx_perf import Book, Chain
chain = Chain.sample("v9")
make = lambda: Book(chain, max_subaccounts=50, max_positions=100)
make()
failed = 0
for nth in range(10_000):
    _testcapi.set_nomemory(nth, nth + 1)
    try:
        book = make()
    except MemoryError:
        failed += 1
        continue
    finally:
        _testcapi.remove_mem_hooks()
    break
made = Book(chain, max_subaccounts=50, max_positions=100)
assert len(made) == 0 and made.catch_up() == []
print(failed)
"""


def test_any_allocation_that_fails_at_construction_is_an_error_and_nothing_worse() -> None:
    """Fail the n-th one until all are had."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", NO_MEMORY], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 5 < int(done.stdout) < 1_000


LITTLE_MEMORY = """
import resource
from dydx_perf import Book, CapacityError, Chain
chain = Chain.sample("v9")
Book(chain, max_subaccounts=50, max_positions=100)
with open("/proc/self/statm") as file:
    limit = int(file.read().split()[0]) * resource.getpagesize() + 2**30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
needed = Book.memory_needed(max_subaccounts=1000, max_positions=50_000_000).total
assert needed > 2**30
try:
    Book(chain, max_subaccounts=1000, max_positions=50_000_000)
except CapacityError as error:
    print(error)
book = Book(chain, max_subaccounts=50, max_positions=100)
assert book.catch_up() == []
"""


def test_a_book_that_memory_does_not_hold_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", LITTLE_MEMORY], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no memory for a book of 1")


RESIDENT = """
import os
from dydx_perf import Book, Chain
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
chain = Chain.sample("v9")
Book(chain, max_subaccounts=1, max_positions=1)
before = resident()
book = Book(chain, max_subaccounts=100_000, max_positions=600_000, indexed=INDEXED)
print(resident() - before, book.memory)
"""


@pytest.mark.parametrize("indexed", [False, True], ids=["plain", "indexed"])
def test_memory_is_taken_when_the_book_is_made(indexed: bool) -> None:
    """The pages are there, not promised, in a process that has freed nothing that could serve instead."""
    script = RESIDENT.replace("INDEXED", str(indexed))
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    taken, told = map(int, done.stdout.split())
    assert taken >= told * 0.95


def test_a_forked_process_has_a_book_of_its_own() -> None:
    held = book()
    held.add(long(held))
    listener = Listener()
    held.watch(A, listener.hear)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            crossings = held.apply_prices({BTC: "18000"})
            held.add(long(held, B))
            os.write(writer, f"{edges(crossings)} {len(listener.heard)} {len(held)}".encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1_000).decode() == "[('dydx1a', 0, None, True)] 1 2"
    assert (len(held), len(listener.heard)) == (1, 0)
    assert held[A].net_collateral == 2_000_000_000
    os.close(reader)
    os.close(writer)


def test_a_refused_book_takes_nothing() -> None:
    gc.collect()
    memory = resident()
    for _ in range(50):
        held = book(max_subaccounts=1, max_positions=100_000)
        with pytest.raises(CapacityError):
            held.load([long(held, A), long(held, B)])
        del held
    assert resident() - memory < 20 * 2**20 + QUARANTINE
