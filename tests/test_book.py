"""The book's door: who gets in, what is refused, who is told, and what a handle is worth (B1, B3, B7)."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from book_cases import BTC, ETH, A, B, book, chain, edges, long, state

from dydx_perf import Book, Crossing, Market, Position, Risk, Subaccount
from dydx_perf.errors import (
    CapacityError,
    InputError,
    StaleError,
    UnknownMarketError,
    UnknownSubaccountError,
)

# ---- risk and crossings


def test_a_crossing_is_told_once_per_edge_on_the_state_after_the_block() -> None:
    held = book()
    assert held.add(long(held)) == []
    assert held.apply_prices({BTC: "19000"}) == []
    (down,) = held.apply_prices({BTC: "18000", ETH: "900"})
    assert edges([down]) == [(*A, None, True)]
    assert (down.is_liquidation, down.handle, down.risk) == (True, held.handle(A), held[A])
    assert down.risk.is_liquidatable
    assert held.apply_prices({BTC: "17000"}) == []
    assert held.liquidatable() == [A]
    (up,) = held.apply_prices({BTC: "19000"})
    assert edges([up]) == [(*A, None, False)]
    assert held.liquidatable() == []
    assert held.apply_prices({}) == []


def test_an_account_that_goes_and_comes_back_within_a_block_crosses_nothing() -> None:
    """The price of one market saves what that of another one would have sunk."""
    held = book()
    held.add(Subaccount(held.chain, *A, usdc="-17500", positions={BTC: "1", ETH: "-1"}))
    assert held.apply_prices({BTC: "18900", ETH: "10"}) == []
    alone = book()
    alone.add(Subaccount(alone.chain, *A, usdc="-17500", positions={BTC: "1", ETH: "-1"}))
    assert edges(alone.apply_prices({BTC: "18900"})) == [(*A, None, True)]


def test_an_account_that_its_own_update_sinks_is_told_by_that_call() -> None:
    held = book()
    assert edges(held.add(long(held, usdc="-19900"))) == [(*A, None, True)]
    assert edges(held.update(A, usdc="-10000")) == [(*A, None, False)]
    assert edges(held.update(held.handle(A), positions={BTC: "0.1"}, usdc="-1999")) == [(*A, None, True)]
    assert edges(held.update(A, positions={BTC: 0})) == [(*A, None, False)]  # nothing is held
    assert held[A] == Risk.from_integers(-1_999_000_000, 0, 0)
    assert held.used["positions"] == 0


def test_a_risk_says_where_its_inputs_are_from() -> None:
    held = book()
    held.add(long(held))
    assert (held[A].height, held[A].basis) == (10, "chain")
    held.apply_prices({BTC: "19999"}, height=12)
    assert (held[A].height, held[A].basis) == (10, "chain")
    held.set_block(12, time="noon")
    assert (held[A].height, held[A].basis, held[A].time) == (12, "chain", "noon")
    assert held.height == 12
    held.apply_prices({ETH: "999"})  # not held
    assert held[A].basis == "chain"
    held.apply_prices({BTC: "19998"})
    assert (held[A].height, held[A].basis) == (None, "estimate")
    held.update(A, usdc="-100", height=13)
    held.apply_prices({BTC: "19998"}, height=13)
    assert (held[A].height, held[A].basis) == (12, "chain")


def test_a_book_and_a_subaccount_say_the_same() -> None:
    held = book()
    account = long(held)
    held.add(account)
    for price in ("19000", "18000.5", "17999.99999", "1"):
        held.apply_prices({BTC: price})
        assert held[A] == account.risk
        assert held.subaccount(A).risk == account.risk
    assert held.subaccount(A).state == account.state


def test_an_account_is_by_value_and_a_subaccount_stays_its_owners() -> None:
    held = book()
    account = long(held)
    held.add(account)
    account.set_usdc("5")
    assert held[A].nc == 2_000_000_000
    held.update(A, usdc="-17999")
    assert account.usdc == 5


def test_a_chosen_margin_fraction_waits_for_its_position() -> None:
    held = book()
    held.add(Subaccount(held.chain, *A, usdc="5000", leverage={BTC: 500_000}))
    assert held.used["positions"] == 1
    held.update(A, positions={BTC: "0.1"})
    assert held[A].imr == 1_000_000_000
    held.update(A, positions={BTC: 0})
    assert (held[A].imr, held.used["positions"]) == (0, 1)
    assert held.subaccount(A).leverage_choices == {BTC: 500_000}
    held.update(A, leverage={BTC: 0})
    assert held.used["positions"] == 0
    held.update(A, positions={BTC: "0.1"})
    assert held[A].imr == 100_000_000


def test_the_riskiest_come_in_the_chains_order() -> None:
    held = book()
    debts = {"a": "-18000", "b": "-19000", "c": "-100", "d": "-19500"}
    for name, usdc in debts.items():
        held.add(long(held, (name, 0), usdc))
    assert [row.address for row in held.at_risk(3)] == ["d", "b", "a"]
    assert [row.risk for row in held.at_risk(9)] == [held[name, 0] for name in "dbac"]
    assert held.at_risk(0) == []
    assert [held[row.handle] for row in held.at_risk(1)] == [held["d", 0]]


# ---- handles and room


def test_a_handle_ends_with_its_account_and_never_names_another() -> None:
    held = book(max_subaccounts=1)
    held.add(long(held))
    old = held.handle(A)
    assert held[old] == held[A]
    held.remove(old)
    held.add(long(held, B))
    for key in (old, A, -1, 0, 1, 2**62, 2**64, 2**32 + 7, ("dydx1b", 1), "dydx1b", None, [], ([], 0)):
        assert key not in held
        with pytest.raises(UnknownSubaccountError, match="is not in the book"):
            held[key]  # type: ignore[index]
    assert held.handle(B) != old
    assert held.name(held.handle(B)) == B


def load_one_column(held: Book) -> list[Crossing]:
    return held.load_columns(
        ["dydx1e"],
        [0],
        np.zeros(1, np.int64),
        account=np.zeros(1, np.uint32),
        perpetual_id=np.zeros(1, np.uint32),
        quantums=np.ones(1, np.int64),
        funding_index=np.zeros(1, np.int64),
    )


@pytest.mark.parametrize("full", ["subaccounts", "positions"])
@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.add(long(b, ("dydx1e", 0))),
        lambda b: b.load([long(b, (f"dydx1{n}", 0)) for n in range(2)]),
        load_one_column,
    ],
    ids=["add", "load", "columns"],
)
def test_a_full_book_refuses_an_account_and_nothing_changes(
    change: Callable[[Book], object], full: str
) -> None:
    held = book(**{f"max_{full}": 2})
    held.load([long(held, A), long(held, B)])
    before = state(held)
    with pytest.raises(CapacityError, match=f"room for 2 {full}: 2 are in it"):
        change(held)
    assert state(held) == before
    held.remove(B)
    assert held.add(long(held, B)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"positions": {ETH: "1"}},
        {"positions": {ETH: "1", BTC: "2"}, "usdc": "7"},
        {"leverage": {ETH: 500_000}, "usdc": "7"},
    ],
    ids=["open", "open and change", "choose"],
)
def test_a_full_book_refuses_a_position_and_nothing_changes(change: dict[str, Any]) -> None:
    held = book(max_positions=2)
    held.load([long(held, A), long(held, B)])
    before = state(held)
    with pytest.raises(CapacityError, match="room for 2 positions: 2 are in it, 1 more do not fit"):
        held.update(A, **change)
    assert state(held) == before
    assert held.update(A, usdc="0", positions={BTC: 0, ETH: "1"}) == []
    held.remove(B)
    assert held.used == {"subaccounts": 1, "positions": 1, "markets": 2, "thresholds": 0}


def test_a_market_that_comes_later_has_room_up_to_the_edge() -> None:
    held = book(max_markets=3)
    held.add(long(held))
    values: dict[str, Any] = {
        "atomic_resolution": -6,
        "price_exponent": -6,
        "oracle_price": "1",
        "initial_margin_ppm": 100_000,
        "maintenance_fraction_ppm": 500_000,
    }
    held.chain.add(Market("SOL-USD", perpetual_id=5, **values))
    with pytest.raises(StaleError):
        held[A]
    held.catch_up()
    held.update(A, positions={"SOL-USD": "7"})
    held.chain.add(Market("DOGE-USD", perpetual_id=6, **values))
    held.catch_up()
    before = state(held)
    with pytest.raises(CapacityError, match="3 markets"):
        held.update(A, positions={"DOGE-USD": "7"})
    assert state(held) == before
    assert held.subaccount(A).risk == held[A]


@pytest.mark.parametrize("argument", ["max_subaccounts", "max_positions", "max_markets", "max_thresholds"])
@pytest.mark.parametrize("value", [-1, 2**31, 1.5, "3", None, True])
def test_room_is_an_int_within_bounds(argument: str, value: Any) -> None:
    if argument == "max_markets" and value is None:
        return
    with pytest.raises(InputError, match=argument):
        book(**{argument: value})
    if value is not None:
        with pytest.raises(InputError, match=argument):
            Book.memory_needed(**{"max_subaccounts": 1, "max_positions": 1, argument: value})


def test_the_memory_is_told_beforehand_per_market_and_in_all() -> None:
    needed = Book.memory_needed(max_subaccounts=1000, max_positions=3000, max_markets=66, max_thresholds=8)
    held = book(max_subaccounts=1000, max_positions=3000, max_thresholds=8)
    assert held.memory == needed.total
    assert needed.per_subaccount == 64
    assert needed.per_position == 36
    assert needed.total > 1000 * 64 + 3000 * 36
    assert held.memory_of(BTC) == needed.per_market - 64 * 36 - 8
    held.add(long(held))
    assert held.memory_of(BTC) == needed.per_market
    assert held.holders(BTC) == 1
    assert Book.memory_needed(max_subaccounts=10**6, max_positions=3 * 10**6).total < 180_000_000


# ---- refusals


REFUSED: list[tuple[str, Callable[[Book], object], type[Exception]]] = [
    ("add what is none", lambda b: b.add("x"), InputError),  # type: ignore[arg-type]
    ("add twice", lambda b: b.add(long(b)), InputError),
    ("load one twice", lambda b: b.load([long(b, B), long(b, B)]), InputError),
    ("load of another chain", lambda b: b.add(long(book(), B)), InputError),
    ("remove nobody", lambda b: b.remove(B), UnknownSubaccountError),
    ("update nobody", lambda b: b.update(B, usdc="1"), UnknownSubaccountError),
    ("a float", lambda b: b.update(A, usdc=1.5), InputError),  # type: ignore[arg-type]
    ("too many decimals", lambda b: b.update(A, usdc="0.0000001"), InputError),
    ("a float size", lambda b: b.update(A, usdc="1", positions={BTC: 0.1}), InputError),  # type: ignore[dict-item]
    ("no market", lambda b: b.update(A, usdc="1", positions={"X-USD": "1"}), UnknownMarketError),
    ("sizes without markets", lambda b: b.update(A, positions=["1"]), InputError),  # type: ignore[list-item]
    ("positions of no kind", lambda b: b.update(A, positions=7), InputError),  # type: ignore[arg-type]
    (
        "a position of another chain",
        lambda b: b.update(A, positions=[Position(chain()[BTC], "1")]),
        InputError,
    ),
    (
        "a position in another market",
        lambda b: b.update(A, positions={BTC: Position(b.chain[ETH], "1")}),
        InputError,
    ),
    (
        "a market twice",
        lambda b: b.update(A, positions=[Position(b.chain[BTC], "1"), Position(b.chain[BTC], "2")]),
        InputError,
    ),
    ("leverage past 32 bits", lambda b: b.update(A, leverage={BTC: 2**32}), InputError),
    ("leverage of no kind", lambda b: b.update(A, leverage=[BTC]), InputError),  # type: ignore[arg-type]
    ("chain without a height", lambda b: b.update(A, usdc="1", basis="chain"), InputError),
    ("a price of nothing", lambda b: b.apply_prices({ETH: "7", BTC: "0"}), InputError),
    ("a price of no market", lambda b: b.apply_prices({BTC: "7", "X-USD": "7"}), UnknownMarketError),
    (
        "a price integer past 64 bits",
        lambda b: b.apply_block(price_integers={ETH: 1, BTC: 2**64}),
        InputError,
    ),
    (
        "one wrong of four kinds",
        lambda b: b.apply_block(price_integers={BTC: 1}, funding_indices={BTC: 1}, open_interests={BTC: -1}),
        InputError,
    ),
    (
        "a tier with a part missing",
        lambda b: b.apply_block(price_integers={BTC: 1}, liquidity_tiers={BTC: {"initial_margin_ppm": 5}}),
        InputError,
    ),
    ("a list of prices", lambda b: b.apply_block(price_integers=[1]), InputError),  # type: ignore[arg-type]
    ("a height below zero", lambda b: b.apply_block(price_integers={BTC: 1}, height=-1), InputError),
    ("watch nobody", lambda b: b.watch(B, print), UnknownSubaccountError),
    ("watch with nothing to call", lambda b: b.watch(A, 7), InputError),  # type: ignore[arg-type]
    ("at risk by a float", lambda b: b.at_risk(1.5), InputError),  # type: ignore[arg-type]
    ("at risk below zero", lambda b: b.at_risk(-1), InputError),
]


@pytest.mark.parametrize(("change", "error"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_refused_call_changes_nothing(change: Callable[[Book], object], error: type[Exception]) -> None:
    held = book()
    held.add(long(held))
    before = state(held)
    with pytest.raises(error):
        change(held)
    assert state(held) == before
    assert held.catch_up() == []


def test_a_book_is_of_a_chain() -> None:
    with pytest.raises(InputError, match="chain"):
        Book("mainnet", max_subaccounts=1, max_positions=1)  # type: ignore[arg-type]


def test_a_chain_changed_past_the_book_makes_reads_refuse_until_it_catches_up() -> None:
    held = book()
    held.add(long(held))
    held.chain[BTC].set_oracle_price("18000", height=11)
    for read in (
        lambda: held[A],
        held.liquidatable,
        lambda: held.at_risk(1),
        held.to_bytes,
        lambda: held.watch(A, print),
        lambda: held.subaccount(A),
    ):
        with pytest.raises(StaleError, match="catch_up"):
            read()
    assert edges(held.catch_up()) == [(*A, None, True)]
    assert held[A].is_liquidatable
    held.chain[BTC].set_oracle_price("20000", height=12)
    # A change catches up by itself, and tells both.
    assert edges(held.add(long(held, B, usdc="-19900"))) in (
        [(*A, None, False), (*B, None, True)],
        [(*B, None, True), (*A, None, False)],
    )


def test_every_operation_says_what_it_is() -> None:
    held = book()
    held.add(long(held))
    (crossing,) = held.apply_prices({BTC: "18000"})
    assert repr(crossing) == "Crossing(dydx1a/0 liquidatable, distance=-540000000)"
    assert repr(held).startswith("Book(1 subaccounts, 1 positions, Chain(2 markets")
    with pytest.raises(TypeError, match="comes from a Book"):
        Crossing()
