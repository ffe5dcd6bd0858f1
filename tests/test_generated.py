"""Generated accounts: the seed's alone, and in the book what each is by itself."""

from __future__ import annotations

import numpy as np
import pytest

from dydx_perf import Chain, InputError, Position, Subaccount, show_book
from dydx_perf.book import Book
from dydx_perf.generated import GeneratedAccounts, generated_accounts


def alone(chain: Chain, made: GeneratedAccounts, place: int) -> Subaccount:
    """One generated account without the book."""
    rows = np.flatnonzero(made.account == place)
    positions = [
        Position(
            chain[int(made.perpetual_id[row])],
            quantums=int(made.quantums[row]),
            funding_index=int(made.funding_index[row]),
        )
        for row in rows
    ]
    return Subaccount(
        chain, made.addresses[place], 0, usdc=f"{int(made.usdc[place])}e-6", positions=positions
    )


def test_the_same_seed_makes_the_same_accounts() -> None:
    chain = Chain.sample("v9")
    first, again, other = (generated_accounts(chain, 200, seed) for seed in (7, 7, 8))
    assert np.array_equal(first.quantums, again.quantums)
    assert np.array_equal(first.usdc, again.usdc)
    assert not np.array_equal(first.usdc, other.usdc)


def test_every_account_holds_each_market_once_and_whole_steps() -> None:
    chain = Chain.sample("v9")
    made = generated_accounts(chain, 500, 3)
    pairs = set(zip(made.account.tolist(), made.perpetual_id.tolist(), strict=True))
    assert len(pairs) == len(made.quantums)
    assert set(made.account.tolist()) == set(range(500))
    for perpetual_id, quantums in zip(made.perpetual_id.tolist(), made.quantums.tolist(), strict=True):
        assert quantums != 0
        assert quantums % chain[perpetual_id].clob_pair.step_base_quantums == 0


def test_through_a_crash_the_book_says_what_each_account_says_alone() -> None:
    chain = Chain.sample("v9")
    made = generated_accounts(chain, 300, 11)
    book = Book(chain, max_subaccounts=300, max_positions=len(made.quantums))
    made.load_into(book)
    accounts = [alone(chain, made, place) for place in range(300)]
    liquidatable: set[str] = set()
    for _ in range(12):
        for crossing in show_book.fall(book, "BTC-USD"):
            assert crossing.below == (crossing.address not in liquidatable)
            liquidatable ^= {crossing.address}
        assert liquidatable == {a.address for a in accounts if a.risk.is_liquidatable}
        assert all(book[a.address, 0] == a.risk for a in accounts)
    assert liquidatable


@pytest.mark.parametrize(("count", "seed"), [(0, 1), (1.5, 1), (10**8, 1), (1, -1), (1, None)])
def test_wrong_counts_and_seeds_are_refused(count: object, seed: object) -> None:
    with pytest.raises(InputError):
        generated_accounts(Chain.sample("v9"), count, seed)  # type: ignore[arg-type]


def test_a_chain_without_a_cross_market_is_refused() -> None:
    with pytest.raises(InputError, match="cross market"):
        generated_accounts(Chain(), 1, 1)
