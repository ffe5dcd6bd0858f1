"""One writer, readers on other threads: a read gives the state between two calls, never one within (B4)."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep

import pytest
from book_cases import BTC, ETH, A, B, book, long

from dydx_perf import Book, Position, Risk, Subaccount
from dydx_perf.errors import StaleError, WriterError

NAMES = [(f"dydx{n}", 0) for n in range(40)]
#: prices of both markets, before and after; a state with one of each is within a call
STATES = ({BTC: 2_000_000_000, ETH: 1_000_000_000}, {BTC: 1_700_000_000, ETH: 1_300_000_000})
SECONDS = 1.0


@contextmanager
def eager_switches() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def crowd(wide: bool) -> Book:
    """Accounts of both markets; every fourth one needs plain integers where `wide`."""
    held = book(max_subaccounts=60, max_positions=120)
    held.load(
        [
            Subaccount(
                held.chain,
                *name,
                usdc=f"{-18_000 + 50 * n}",
                positions=[
                    Position(held.chain[BTC], "1"),
                    Position(held.chain[ETH], quantums=2**130 if wide and n % 4 == 0 else -(10**9)),
                ],
            )
            for n, name in enumerate(NAMES)
        ]
    )
    return held


def run(
    readers: list[Callable[[], None]],
    write: Callable[[int], object],
    rounds: int,
    enough: Callable[[], bool] = lambda: True,
) -> None:
    """Write while all readers read, until they have seen enough; what one raises is raised here."""
    errors: list[BaseException] = []
    done = threading.Event()

    def read(reader: Callable[[], None]) -> None:
        try:
            while not done.is_set():
                reader()
        except BaseException as error:  # noqa: BLE001 # raised again by the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=read, args=(reader,)) for reader in readers]
    with eager_switches():
        for thread in threads:
            thread.start()
        try:
            for n in range(50 * rounds):
                write(n)
                if n % 7 == 0:
                    sleep(0)  # hand the turn over, in either state
                if errors or (n >= rounds and enough()):
                    break
        finally:
            done.set()
            for thread in threads:
                thread.join()
    for error in errors:
        raise error


@pytest.mark.parametrize("wide", [False, True])
def test_a_read_is_of_one_of_the_two_states(wide: bool) -> None:
    held = crowd(wide)
    allowed: list[dict[tuple[str, int], Risk]] = []
    liquidatable = []
    for prices in (*STATES, STATES[0]):
        held.apply_block(price_integers=prices)
        allowed.append({name: held[name] for name in NAMES})
        liquidatable.append(held.liquidatable())
    assert liquidatable[0] != liquidatable[1]
    reads = [0, 0, 0]

    def figures() -> None:
        for name in NAMES:
            risk = held[name]
            assert risk in (allowed[0][name], allowed[1][name])
        reads[0] += 1

    def verdicts() -> None:
        assert held.liquidatable() in liquidatable
        reads[1] += 1

    def ranking() -> None:
        ranked = held.at_risk(10)
        assert any(all(row.risk == state[row.address, row.number] for row in ranked) for state in allowed)
        reads[2] += 1

    run(
        [figures, verdicts, ranking],
        lambda n: held.apply_block(price_integers=STATES[n % 2]),
        200 if wide else 1_500,
        enough=lambda: min(reads) > 3,
    )
    assert min(reads) > 3


def test_an_update_of_several_parts_is_seen_whole() -> None:
    held = book()
    held.add(long(held, usdc="0", size="1"))
    states = [held[A]]
    held.update(A, usdc="-30000", positions={BTC: "2", ETH: "5"})
    states.append(held[A])

    def read() -> None:
        assert held[A] in states

    def write(n: int) -> None:
        if n % 2 == 0:
            held.update(A, usdc="0", positions={BTC: "1", ETH: 0})
        else:
            held.update(A, usdc="-30000", positions={BTC: "2", ETH: "5"})

    run([read, read], write, 2_000)


def test_accounts_that_come_and_go_are_whole_or_not_there() -> None:
    held = book(max_subaccounts=50, max_positions=100)
    held.add(long(held, B))
    account = long(held, A)
    there = account.risk
    seen = [0, 0]

    def read() -> None:
        try:
            risk = held[A]
        except KeyError:
            seen[0] += 1
        else:
            assert risk == there
            seen[1] += 1
        assert len(held.at_risk(5)) in (1, 2)
        assert set(held) <= {A, B}

    def write(n: int) -> None:
        if A in held:
            held.remove(A)
        else:
            held.add(account)

    run([read, read], write, 2_000, enough=lambda: min(seen) > 3)
    assert min(seen) > 3


def test_a_second_writer_is_refused_and_the_first_goes_on() -> None:
    held = crowd(wide=True)
    refused = [0]

    def other() -> None:
        try:
            held.update(NAMES[3], usdc="-17000")
        except WriterError:
            refused[0] += 1

    run([other], lambda n: try_write(held, n), 100)
    held.apply_block(price_integers=STATES[0])
    exact = held.subaccount(NAMES[3]).risk
    assert held[NAMES[3]] == exact


def try_write(held: Book, n: int) -> None:
    try:
        held.apply_block(price_integers=STATES[n % 2])
    except (WriterError, StaleError):
        return


def test_a_snapshot_is_of_one_state() -> None:
    """Written by the writer while others read."""
    held = crowd(wide=False)

    def read() -> None:
        for name in NAMES:
            held[name]

    def write(n: int) -> None:
        held.apply_block(price_integers=STATES[n % 2])
        twin = Book.from_bytes(held.to_bytes())
        assert [twin[name] for name in NAMES] == [held[name] for name in NAMES]

    run([read, read], write, 50)
