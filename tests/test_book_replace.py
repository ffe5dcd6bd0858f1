"""An account of a book replaced whole, as a snapshot of a feed replaces it (B1, C12)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf import Book, Chain, InputError, Position, Subaccount
from dydx_perf.errors import CapacityError

TICKERS = ("BTC-USD", "ETH-USD", "SOL-USD")
NAME = "dydx1replaced", 3

QUANTUMS = st.sampled_from([1, -1, 10**9, -(10**12), 2**63 - 1, -(2**63), 2**63, -(2**70)])
INDICES = st.sampled_from([0, 5, -(10**9), 2**64])


@st.composite
def states(draw: Any) -> dict[str, Any]:
    held = draw(st.dictionaries(st.sampled_from(TICKERS), st.tuples(QUANTUMS, INDICES)))
    return {
        "usdc": draw(st.sampled_from([0, "1.5", "-250000", 10**14])),
        "held": held,
        "leverage": draw(st.dictionaries(st.sampled_from(TICKERS), st.sampled_from([0, 100_000, 900_000]))),
        "height": draw(st.sampled_from([None, 7, 9])),
        "basis": draw(st.sampled_from(["estimate", "sample"])),
    }


def made(chain: Chain, state: dict[str, Any]) -> Subaccount:
    return Subaccount(
        chain,
        *NAME,
        usdc=state["usdc"],
        positions=[
            Position(chain[ticker], quantums=quantums, funding_index=index)
            for ticker, (quantums, index) in state["held"].items()
        ],
        leverage=state["leverage"],
        height=state["height"],
        basis=state["basis"],
    )


@given(st.lists(states(), min_size=2, max_size=4))
def test_a_replaced_account_is_what_it_would_be_in_a_new_book(turns: list[dict[str, Any]]) -> None:
    """Whatever stood there before, past 64 bits or not; height and basis are the new one's."""
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=2, max_positions=8)
    for state in turns:
        account = made(chain, state)
        book.replace(account)
        assert book[NAME] == account.risk
        fresh = Book(chain, max_subaccounts=2, max_positions=8)
        fresh.load([account])
        assert (book[NAME].height, book[NAME].basis) == (fresh[NAME].height, fresh[NAME].basis)
        assert book.subaccount(NAME).state == account.state
        assert book.used["subaccounts"] == 1
    book.rescan()
    assert book[NAME] == account.risk


def test_handle_observers_and_thresholds_stay() -> None:
    """Whoever watches the account is told of the crossing that the new state is."""
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=2, max_positions=8)
    seen: list[Any] = []

    def observer(crossing: Any) -> None:
        seen.append(crossing)

    book.replace(Subaccount(chain, *NAME, usdc=1000, positions={"BTC-USD": "0.01"}))
    handle = book.handle(NAME)
    book.watch(NAME, observer)
    (crossing,) = book.replace(Subaccount(chain, *NAME, usdc=-(10**6), positions={"ETH-USD": "1"}))
    assert crossing.is_liquidation
    assert seen == [crossing]
    assert book.handle(NAME) == handle
    assert [book.holders(ticker) for ticker in ("BTC-USD", "ETH-USD")] == [0, 1]


def test_an_account_that_is_not_there_is_taken_in() -> None:
    """As `load` would."""
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=1, max_positions=2)
    assert book.replace(Subaccount(chain, *NAME, usdc=1)) == []
    assert NAME in book


def test_a_refused_replacement_changes_nothing() -> None:
    """An account of another chain, or one that does not fit."""
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=1, max_positions=1)
    book.replace(Subaccount(chain, *NAME, usdc=5, positions={"BTC-USD": "1"}))
    before = book[NAME]
    with pytest.raises(InputError):
        book.replace(Subaccount(Chain.sample("v9"), *NAME, usdc=1))
    with pytest.raises(CapacityError):
        book.replace(Subaccount(chain, *NAME, positions={"BTC-USD": "2", "ETH-USD": "1"}))
    assert book[NAME] == before
    assert book.subaccount(NAME).positions.keys() == {"BTC-USD"}


def test_prices_and_accounts_of_a_block_are_one_change() -> None:
    """The edges of neither half are told, only those of the whole."""
    chain = Chain.sample("v9")
    for indexed in (False, True):
        book = Book(chain, max_subaccounts=2, max_positions=8, indexed=indexed)
        assert book.add(Subaccount(chain, *NAME, usdc=-20_000, positions={"BTC-USD": "1"})) == []
        price = chain["BTC-USD"].oracle_price.integer
        saved = Subaccount(chain, *NAME, usdc=5, positions={"BTC-USD": "1"})
        assert book.apply_block(price_integers={"BTC-USD": price // 4}, subaccounts=[saved]) == []
        broke = Subaccount(chain, "dydx1another", 0, usdc=-price, positions={"BTC-USD": "1"})
        safe = Subaccount(chain, *NAME, usdc=10**6)
        (crossing,) = book.apply_block(price_integers={"BTC-USD": price}, subaccounts=[broke, safe])
        assert (crossing.address, crossing.below) == ("dydx1another", True)
        assert book[NAME].nc == 10**12


def test_a_refused_block_changes_neither_prices_nor_accounts() -> None:
    """Accounts that do not all fit, one of another chain, or a price that is none."""
    chain = Chain.sample("v9")
    book = Book(chain, max_subaccounts=2, max_positions=2)
    book.add(Subaccount(chain, *NAME, usdc=5, positions={"BTC-USD": "1"}))
    before, price = book.to_bytes(), chain["BTC-USD"].oracle_price.integer
    two = [
        Subaccount(chain, *NAME, positions={"ETH-USD": "1", "BTC-USD": "1"}),
        Subaccount(chain, "dydx1another", 0, positions={"ETH-USD": "1"}),
    ]
    for accounts, prices, error in (
        (two, {"BTC-USD": 5}, CapacityError),
        ([Subaccount(Chain.sample("v9"), *NAME)], {"BTC-USD": 5}, InputError),
        (two[:1], {"BTC-USD": 0}, InputError),
        (["dydx1another"], {"BTC-USD": 5}, InputError),
    ):
        with pytest.raises(error):
            book.apply_block(price_integers=prices, subaccounts=accounts)  # type: ignore[arg-type]
        assert chain["BTC-USD"].oracle_price.integer == price
        assert book.to_bytes() == before
