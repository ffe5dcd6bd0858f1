"""A book that is written and read is the same to the last bit; damaged, newer files are clear errors (B8)."""

import copy
import json
import os
import pickle
import stat
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from book_cases import BTC, ETH, A, B, Listener, book, edges, long
from book_model import Model

from dydx_perf import Book, Chain, Subaccount
from dydx_perf.errors import (
    CapacityError,
    ChecksumError,
    InputError,
    SnapshotError,
    UnknownSubaccountError,
    VersionError,
)
from dydx_perf.ext.book_image import find_fault
from dydx_perf.snapshot import START


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Book, Path]:
    held = book()
    held.load([long(held, A), long(held, B, usdc="-19999")])
    held.remove(A)
    held.add(long(held, A))
    path = tmp_path / "book"
    held.save(path)
    return held, path


def test_what_is_read_is_what_was_written_with_handles_and_the_chain(saved: tuple[Book, Path]) -> None:
    held, path = saved
    old = held.handle(A)
    twin = Book.restore(path)
    assert path.read_bytes() == held.to_bytes() == twin.to_bytes()
    assert list(twin.capacity.items()) == list(held.capacity.items())
    assert (twin.handle(A), twin.handle(B)) == (old, held.handle(B))
    assert [twin[name] for name in (A, B)] == [held[name] for name in (A, B)]
    assert (twin[A].height, twin[A].basis) == (held[A].height, held[A].basis)
    assert [market.perpetual for market in twin.chain] == [market.perpetual for market in held.chain]
    assert twin.chain is not held.chain
    # B was reported before it was written: only what crosses now is told.
    assert edges(twin.apply_prices({BTC: "18000"})) == [(*A, None, True)]
    assert not held[A].is_liquidatable


def test_a_free_place_keeps_its_generation(saved: tuple[Book, Path]) -> None:
    held, path = saved
    stale = held.handle(A)
    held.remove(A)
    held.save(path)
    twin = Book.restore(path)
    twin.add(long(twin, ("dydx1c", 0)))
    with pytest.raises(UnknownSubaccountError):
        twin[stale]


@pytest.mark.parametrize("seed", range(8))
def test_any_book_is_the_same_after_a_round_trip(seed: int, tmp_path: Path) -> None:
    model = Model(seed, wild=seed % 2 == 1, accounts=40)
    for _ in range(60):
        model.step()
    path = tmp_path / "book"
    model.book.save(path)
    twin = Book.restore(path)
    assert twin.to_bytes() == model.book.to_bytes()
    assert {name: twin[name] for name in twin} == {name: model.book[name] for name in model.book}
    assert twin.liquidatable() == model.book.liquidatable()
    assert twin._plain.inputs == model.book._plain.inputs


def test_a_chain_comes_back_whole() -> None:
    chain = Chain.sample("v9")
    chain.parameters = replace(chain.parameters, min_num_votes_per_sample=7)
    held = Book(chain, max_subaccounts=1, max_positions=1)
    for time in (None, 5, "noon", 1.5, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)):
        held.set_block(9, time)
        twin = Book.from_bytes(held.to_bytes()).chain
        assert (twin.time, twin.height, twin.description) == (time, 9, chain.description)
        assert twin.parameters == chain.parameters
        assert twin.without_price == chain.without_price
        for market, other in zip(chain, twin, strict=True):
            assert other.perpetual == market.perpetual
            assert (other.ticker, other.clob_pair_id, other.impact_notional, other.height, other.basis) == (
                market.ticker,
                market.clob_pair_id,
                market.impact_notional,
                market.height,
                market.basis,
            )


def test_a_time_that_cannot_come_back_is_refused() -> None:
    held = book()
    held.set_block(11, object())
    with pytest.raises(InputError, match="time"):
        held.to_bytes()
    held.set_block(12, 12)
    assert Book.from_bytes(held.to_bytes()).height == 12


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_a_copy_is_by_value_on_a_chain_of_its_own_without_observers(make: Callable[[Book], Book]) -> None:
    held = book()
    held.add(long(held))
    listener = Listener()
    held.watch(A, listener.hear, threshold=3)
    twin = make(held)
    assert twin.used["thresholds"] == 0
    assert edges(twin.apply_prices({BTC: "18000"})) == [(*A, None, True)]
    assert not listener.heard
    assert held[A].net_collateral == 2_000_000_000
    assert twin[A].net_collateral == 0


def test_a_crossing_and_its_risk_can_be_pickled() -> None:
    held = book()
    held.add(long(held))
    (crossing,) = held.apply_prices({BTC: "18000"})
    assert pickle.loads(pickle.dumps(crossing)) == crossing == copy.copy(crossing)
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(held._store)


def test_a_book_grows_by_being_read_into_more_room(saved: tuple[Book, Path]) -> None:
    held, path = saved
    wider = Book.restore(path, max_subaccounts=9, max_positions=100, max_markets=70, max_thresholds=2)
    assert wider.capacity == {"subaccounts": 9, "positions": 100, "markets": 70, "thresholds": 2}
    assert wider.handle(A) == held.handle(A)
    assert find_fault(wider._store) is None
    wider.load([Subaccount(wider.chain, f"dydx1{n}", positions={ETH: "1"}) for n in range(7)])
    assert len(wider) == 9
    for room in ({"max_subaccounts": 1}, {"max_positions": 1}, {"max_markets": 1}):
        with pytest.raises((CapacityError, SnapshotError)):
            Book.restore(path, **room)
    with pytest.raises(InputError, match="max_positions"):
        Book.restore(path, max_positions=-1)


# ---- damage


def test_every_flipped_byte_is_noticed(saved: tuple[Book, Path]) -> None:
    _, path = saved
    whole = path.read_bytes()
    step = max(1, len(whole) // 700)
    for place in [*range(START.size + 40), *range(START.size + 40, len(whole), step), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        with pytest.raises(SnapshotError):
            Book.from_bytes(bytes(damaged))


def test_every_length_is_noticed(saved: tuple[Book, Path]) -> None:
    _, path = saved
    whole = path.read_bytes()
    for length in [*range(0, len(whole), max(1, len(whole) // 300)), len(whole) - 1]:
        with pytest.raises(SnapshotError):
            Book.from_bytes(whole[:length])
    with pytest.raises(ChecksumError, match="3 bytes too many"):
        Book.from_bytes(whole + b"123")


def rewritten(whole: bytes, change: Callable[[dict[str, Any], dict[str, bytearray]], None]) -> bytes:
    """A snapshot with other contents and checksums that are right."""
    magic, version, length, _ = START.unpack(whole[: START.size])
    header = json.loads(whole[START.size : START.size + length])
    place, parts = START.size + length, {}
    for name, size, _ in header["sections"]:
        parts[name] = bytearray(whole[place : place + size])
        place += size
    change(header, parts)
    header["sections"] = [[name, len(part), zlib.crc32(part)] for name, part in parts.items()]
    text = json.dumps(header).encode()
    return START.pack(magic, version, len(text), zlib.crc32(text)) + text + b"".join(parts.values())


def test_a_newer_file_says_so(saved: tuple[Book, Path]) -> None:
    whole = saved[1].read_bytes()
    magic, version, length, crc = START.unpack(whole[: START.size])
    with pytest.raises(VersionError, match=f"version {version + 1}"):
        Book.from_bytes(START.pack(magic, version + 1, length, crc) + whole[START.size :])

    def newer(header: dict[str, Any], parts: object) -> None:
        header["layout"] += 1

    with pytest.raises(VersionError, match="layout"):
        Book.from_bytes(rewritten(whole, newer))

    def other_order(header: dict[str, Any], parts: object) -> None:
        header["byteorder"] = "big" if sys.byteorder == "little" else "little"

    with pytest.raises(SnapshotError, match="endian"):
        Book.from_bytes(rewritten(whole, other_order))


COLUMNS = [
    "rows",
    "usdc",
    "generation",
    "first",
    "quantums",
    "funding_index",
    "quote_balance",
    "custom_imf_ppm",
    "account",
    "next",
    "block_market",
    "block_previous",
    "holders",
    "last_block",
]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("column", COLUMNS)
def test_columns_that_do_not_hold_together_are_refused_or_harmless(column: str, seed: int) -> None:
    """Checksums are right and the contents are not: no crash, and what is accepted holds together."""
    model = Model(seed, wild=False, accounts=8, markets=2)
    for _ in range(40):
        model.step()
    whole = model.book.to_bytes()

    def change(header: dict[str, Any], parts: dict[str, bytearray]) -> None:
        part = parts[column]
        if part:
            place = model.rng.randrange(len(part))
            part[place] ^= 1 << model.rng.randrange(8)

    for _ in range(60):
        try:
            twin = Book.from_bytes(rewritten(whole, change))
        except SnapshotError:
            continue
        assert find_fault(twin._store) is None
        twin.apply_prices({market.ticker: market.oracle_price.decimal for market in twin.chain})
        for name in list(twin):
            twin.remove(name)
        assert twin.used["positions"] == 0


@pytest.mark.parametrize(
    "name",
    [
        "accounts_fresh",
        "accounts_used",
        "blocks_fresh",
        "blocks_used",
        "markets",
        "positions",
        "first_free",
        "last_free",
        "free_block",
        "retired",
    ],
)
@pytest.mark.parametrize("value", [0, 1, 3, 5, 2**31, 2**32 - 1, 2**32, -1, None, "x"])
def test_counts_that_do_not_hold_together_are_refused(
    saved: tuple[Book, Path], name: str, value: Any
) -> None:
    whole = saved[1].read_bytes()

    def change(header: dict[str, Any], parts: object) -> None:
        header["counts"][name] = value

    try:
        twin = Book.from_bytes(rewritten(whole, change))
    except (SnapshotError, CapacityError):
        return
    assert twin.to_bytes() == whole


@pytest.mark.parametrize(
    "change",
    [
        lambda header, parts: header.pop("counts"),
        lambda header, parts: header.pop("capacity"),
        lambda header, parts: parts.pop("chain"),
        lambda header, parts: parts.pop("usdc"),
        lambda header, parts: parts.update(names=b"[]"),
        lambda header, parts: parts.update(names=b"["),
        lambda header, parts: parts.update(names=b'[["a",0],["a",0]]'),
        lambda header, parts: parts.update(names=b"[null,null]"),
        lambda header, parts: parts.update(chain=b"{}"),
        lambda header, parts: parts.update(chain=parts["chain"].replace(b"20000", b"20001")),
        lambda header, parts: parts.update(chain=parts["chain"].replace(b'"price":2000000000', b'"price":1')),
        lambda header, parts: parts.update(chain=parts["chain"].replace(b"ClobPair", b"Popen")),
        lambda header, parts: parts.update(beyond=b"[1]"),
    ],
)
def test_a_part_that_is_missing_or_of_another_kind_is_refused(
    saved: tuple[Book, Path], change: Callable[[Any, Any], None]
) -> None:
    with pytest.raises(SnapshotError):
        Book.from_bytes(rewritten(saved[1].read_bytes(), change))


# ---- files


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    saved: tuple[Book, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    held, path = saved
    before = path.read_bytes()
    held.update(A, usdc="0")
    for broken in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, broken, lambda *_: (_ for _ in ()).throw(OSError("the disk is full")))
            with pytest.raises(OSError, match="the disk is full"):
                held.save(path)
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]
    held.save(path)
    assert path.read_bytes() == held.to_bytes() != before
    held.update(A, usdc="1")  # the writer is free again


KILLED = """
import os, sys
from dydx_perf import Book
held = Book.restore(sys.argv[1])
for name in list(held):
    held.update(name, usdc="123")
write = os.fsync
os.{where} = lambda *arguments: os._exit(9)
held.save(sys.argv[1])
"""


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_process_that_dies_while_writing_leaves_the_old_book(saved: tuple[Book, Path], where: str) -> None:
    held, path = saved
    done = subprocess.run([sys.executable, "-P", "-c", KILLED.format(where=where), str(path)], check=False)
    assert done.returncode == 9
    assert Book.restore(path).to_bytes() == held.to_bytes()


def test_the_file_has_the_users_own_mode(saved: tuple[Book, Path]) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(saved[1].stat().st_mode) == 0o666 & ~mask


def test_no_file_is_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Book.restore(tmp_path / "nothing")
    (tmp_path / "text").write_text("a text of more than twenty bytes")
    with pytest.raises(SnapshotError, match="no snapshot"):
        Book.restore(tmp_path / "text")
