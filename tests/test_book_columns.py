"""Accounts that come in as NumPy columns are the same as those that come in as objects (B1)."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from book_cases import book, edges, state

from dydx_perf import Chain, Position, Subaccount
from dydx_perf.errors import InputError, UnknownMarketError


def columns(count: int, chain_: Chain, seed: int = 1) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments of load_columns, of accounts with none to two positions."""
    rng = np.random.default_rng(seed)
    held = rng.integers(0, 3, count)
    account = np.repeat(np.arange(count, dtype=np.uint32), held)
    first = np.concatenate(([True], account[1:] != account[:-1])) if len(account) else np.array([], bool)
    return (
        [f"dydx{row}" for row in range(count)],
        list(range(count)),
        rng.integers(-(10**9), 10**10, count),
    ), {
        "account": account,
        "perpetual_id": np.where(first, 0, 1).astype(np.uint32),
        "quantums": rng.integers(-(10**10), 10**10, len(account)),
        "funding_index": rng.integers(-(10**6), 10**6, len(account)),
        "quote_balance": rng.integers(-(10**6), 10**6, len(account)),
        "custom_imf_ppm": rng.integers(0, 10**6, len(account)).astype(np.uint32),
    }


@pytest.mark.parametrize("mixed", [False, True])
def test_columns_give_what_objects_give(mixed: bool) -> None:
    one, other = (book(max_subaccounts=300, max_positions=600) for _ in range(2))
    given, named = columns(300, one.chain)
    order = np.random.default_rng(2).permutation(len(named["account"])) if mixed else slice(None)
    crossings = one.load_columns(*given, **{name: column[order] for name, column in named.items()})
    markets = list(other.chain)
    subaccounts = [
        Subaccount(
            other.chain,
            address,
            number,
            usdc=Decimal(int(usdc)).scaleb(-6),
            positions=[
                Position(
                    markets[named["perpetual_id"][row]],
                    quantums=int(named["quantums"][row]),
                    **{
                        name: int(named[name][row])
                        for name in ("funding_index", "quote_balance", "custom_imf_ppm")
                    },
                )
                for row in np.flatnonzero(named["account"] == place)
            ],
        )
        for place, (address, number, usdc) in enumerate(zip(*given, strict=True))
    ]
    assert sorted(edges(crossings)) == sorted(edges(other.load(subaccounts)))
    assert set(one) == set(other)
    assert [one[name] for name in other] == [other[name] for name in other]
    assert one.used == other.used


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("account", np.zeros(3, np.int64), InputError),
        ("account", np.full(3, 2, np.uint32), InputError),
        ("account", np.zeros(2, np.uint32), InputError),
        ("account", [0, 0, 1], InputError),
        ("perpetual_id", np.array([0, 0, 0], np.uint32), InputError),
        ("perpetual_id", np.array([0, 1, 7], np.uint32), UnknownMarketError),
        ("perpetual_id", np.array([0, 1, 2**32 - 1], np.uint32), UnknownMarketError),
        ("quantums", np.zeros(3), InputError),
        ("quantums", None, InputError),
        ("quantums", np.zeros((3, 1), np.int64), InputError),
        ("quote_balance", np.zeros(4, np.int64), InputError),
        ("custom_imf_ppm", np.zeros(3, np.int64), InputError),
    ],
)
def test_wrong_columns_are_refused_and_nothing_changes(name: str, value: Any, error: type[Exception]) -> None:
    held = book()
    before = state(held)
    named = {
        "account": np.array([0, 0, 1], np.uint32),
        "perpetual_id": np.array([0, 1, 0], np.uint32),
        "quantums": np.ones(3, np.int64),
        "funding_index": np.zeros(3, np.int64),
    }
    with pytest.raises(error):
        held.load_columns(["a", "b"], [0, 0], np.zeros(2, np.int64), **{**named, name: value})
    assert state(held) == before
    held.load_columns(["a", "b"], np.zeros(2, np.int64), np.zeros(2, np.int64), **named)  # type: ignore[arg-type]
    assert len(held) == 2


@pytest.mark.parametrize(
    ("addresses", "numbers"),
    [
        (["a"], [0, 1]),
        (["a", "a"], [0, 0]),
        (["a", ""], [0, 0]),
        (["a", 7], [0, 0]),
        (["a", "b"], [0, 128_001]),
    ],
)
def test_wrong_names_are_refused(addresses: Any, numbers: Any) -> None:
    held = book()
    nothing = {
        "account": np.zeros(0, np.uint32),
        "perpetual_id": np.zeros(0, np.uint32),
        "quantums": np.zeros(0, np.int64),
        "funding_index": np.zeros(0, np.int64),
    }
    with pytest.raises(InputError):
        held.load_columns(addresses, numbers, np.zeros(2, np.int64), **nothing)
    assert len(held) == 0
