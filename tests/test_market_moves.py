"""A market whose inputs the table changes itself: one truth, wherever it is read."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dydx_perf import Book, Chain, Market, Position, Subaccount
from dydx_perf.errors import InputError
from dydx_perf.kernel import MarketTable
from dydx_perf.units import to_decimal

TIER = {
    "initial_margin_ppm": 50_000,
    "maintenance_fraction_ppm": 600_000,
    "open_interest_lower_cap": 10**9,
    "open_interest_upper_cap": 10**12,
}
#: setter, its argument, its place among the inputs
INPUTS = {
    "price": ("set_oracle_price_integer", 0),
    "funding_index": ("set_funding_index", 1),
    "open_interest": ("set_open_interest", 2),
}
BASES = ("chain", "estimate", "sample")


def market(ticker: str, number: int, **values: Any) -> Market:
    usual = {"atomic_resolution": -9, "price_exponent": -6, "oracle_price": "10"}
    return Market(ticker, perpetual_id=number, **{**usual, **TIER, **values})


def chain_of(state: list[dict[str, int]]) -> Chain:
    """A chain that never saw anything but these values."""
    return Chain(
        [
            market(
                f"M{n}",
                n,
                oracle_price=to_decimal(values["price"], -6),
                funding_index=values["funding_index"],
                open_interest=values["open_interest"],
            )
            for n, values in enumerate(state)
        ]
    )


def account(chain: Chain) -> Subaccount:
    positions = [Position(one, quantums=10**10 * (-1) ** n, funding_index=0) for n, one in enumerate(chain)]
    return Subaccount(chain, "dydx1a", 0, usdc="100", positions=positions)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_market_reads_what_changed_whoever_changed_it(seed: int) -> None:
    """After any changes of any size all properties, height, basis and risk are those of a new chain."""
    random = Random(seed)
    chain = Chain([market(f"M{n}", n) for n in range(3)])
    book = Book(chain, max_subaccounts=2, max_positions=8)
    book.add(account(chain))
    followed = account(chain)
    state = [{"price": 10**7, "funding_index": 0, "open_interest": 0} for _ in range(3)]
    sources = [[(-1, 1)] * 4 for _ in range(3)]
    for _ in range(12):
        place = random.randrange(3)
        one = chain[place]
        name = random.choice([*INPUTS, "tier"])
        height, basis = random.choice([None, *range(5)]), random.choice(BASES[1:])
        said = (-1 if height is None else height, BASES.index(basis))
        if name == "tier":
            one.set_liquidity_tier(**TIER, height=height, basis=basis)
            sources[place][3] = said
        else:
            largest = random.choice((2**10, 2**40, 2**63, 2**64 if name == "price" else 2**70))
            value = random.randrange(1, largest)
            value = -value if name == "funding_index" and random.random() < 0.5 else value
            setter, index = INPUTS[name]
            state[place][name], sources[place][index] = value, said
            getattr(one, setter)(value, height=height, basis=basis)
        if random.random() < 0.5:
            assert one.perpetual is one.perpetual
        book.catch_up()
    fresh = chain_of(state)
    for now, then, values, said_of in zip(chain, fresh, state, sources, strict=True):
        assert now.perpetual == then.perpetual
        assert (now.oracle_price.integer, now.funding_index, now.open_interest) == tuple(values.values())
        assert now.scaled_initial_margin_ppm == then.scaled_initial_margin_ppm
        assert list(now._sources().values()) == said_of
        lowest = min(height for height, _ in said_of)
        assert now.height == (None if lowest < 0 else lowest)
        assert now.basis == BASES[max(basis for _, basis in said_of)]
    assert followed.risk == book["dydx1a", 0] == account(fresh).risk
    copy = Book.from_bytes(book.to_bytes())
    assert [one.perpetual for one in copy.chain] == [one.perpetual for one in chain]
    assert [one._sources() for one in copy.chain] == [one._sources() for one in chain]


def test_a_price_that_128_bits_do_not_hold_with_the_open_interest_is_kept_by_plain_integers() -> None:
    """The table refuses the change, the market makes it, and every figure is exact; so is the way back."""
    wide = {"atomic_resolution": 30, "price_exponent": 2, "open_interest": 1, "oracle_price": "100"}
    chain = Chain([market("M", 0, **wide)])
    held = Subaccount(chain, "dydx1a", 0, positions=[Position(chain["M"], quantums=5)])
    before = held.risk
    chain["M"].set_oracle_price_integer(2**63)
    assert chain["M"].oracle_price.integer == chain["M"].perpetual.price == 2**63
    assert held.risk.nc == 5 * 2**63 * 10**38
    chain["M"].set_oracle_price_integer(1)
    assert held.risk == before


def test_the_table_names_a_row_that_is_not_there() -> None:
    """Wherever one is asked for."""
    table = MarketTable()
    table.add()
    for ask in (
        lambda: table.move(1, 0, 1, -1, 0),
        lambda: table.moved(1, 0),
        lambda: table.sources(1),
    ):
        with pytest.raises(InputError):
            ask()
    assert table.sources(0) == [(-1, 0)] * 4
    assert table.moved(0, 0) is None


def test_books_on_one_chain_each_find_what_changed_since_they_last_looked() -> None:
    """However often, in whatever order, and whether or not a market came meanwhile."""
    random = Random(5)
    chain = Chain([market(f"M{n}", n) for n in range(6)])
    books = [Book(chain, max_subaccounts=2, max_positions=8) for _ in range(3)]
    for book in books:
        book.add(account(chain))
    for step in range(300):
        place = random.randrange(6)
        chain[place].set_oracle_price_integer(random.randrange(10**6, 10**8))
        if step % 100 == 50:
            chain.add(market(f"N{step}", step))
        book = books[random.randrange(3)]
        book.catch_up()
        assert book["dydx1a", 0] == account_risk(chain)
    for book in books:
        book.catch_up()
        before = book["dydx1a", 0]
        book.rescan()
        assert book["dydx1a", 0] == before == account_risk(chain)


def account_risk(chain: Chain) -> Any:
    positions = [Position(chain[n], quantums=10**10 * (-1) ** n, funding_index=0) for n in range(6)]
    return Subaccount(chain, "dydx1b", 0, usdc="100", positions=positions).risk
