"""The book's part of `show`: ten thousand generated accounts through a crash, one explained, one rescued."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dydx_perf.book import Book
from dydx_perf.chain import Chain
from dydx_perf.generated import generated_accounts
from dydx_perf.screen import dollars, table

if TYPE_CHECKING:
    from dydx_perf.ext.crossing import Crossing
    from dydx_perf.subaccount import Subaccount

__all__ = ["show_book"]

ACCOUNTS = 10_000
SEED = 20_261_122
BLOCKS = 30
SHOWN_EVERY = 5
SHOWN_CROSSINGS = 4
#: parts per thousand that the first market keeps at each block, and every other one
KEPT_FIRST, KEPT_OTHERS = 988, 983


def show_book(title: str) -> None:
    """Let all markets of the sample fall block by block, and say who crossed which line."""
    print(title)
    chain = Chain.sample("v9")
    made = generated_accounts(chain, ACCOUNTS, SEED)
    needed = Book.memory_needed(max_subaccounts=ACCOUNTS, max_positions=len(made.quantums))
    book = Book(chain, max_subaccounts=ACCOUNTS, max_positions=len(made.quantums))
    made.load_into(book)
    size = f"{needed.total / 2**20:.1f} MiB told beforehand"
    print(f"  {len(book):,} accounts, {len(made.quantums):,} positions, {size}")
    print("  basis: sample (generated accounts on the sample parameters)")
    print(f"  liquidatable at the start: {len(book.liquidatable())}\n")
    first = chain.tickers[0]
    start = chain[first].oracle_price
    crossings: list[Crossing] = []
    rows = []
    for block in range(1, BLOCKS + 1):
        crossings += fall(book, first)
        if block % SHOWN_EVERY == 0:
            price = chain[first].oracle_price
            rows.append(
                (
                    str(block),
                    str(price),
                    f"{price.integer / start.integer - 1:+.1%}",
                    str(sum(crossing.below for crossing in crossings)),
                    str(len(book.liquidatable())),
                )
            )
    table(("block", first, "since start", "became liquidatable", "liquidatable now"), rows)
    print("\n  the last to become liquidatable:")
    for crossing in [c for c in crossings if c.below][-SHOWN_CROSSINGS:]:
        print(f"    {crossing}")
    show_rescue(book.subaccount((crossings[-1].address, crossings[-1].number)))


def fall(book: Book, first: str) -> Sequence[Crossing]:
    """Apply one block of falling prices."""
    chain = book.chain
    return book.apply_block(
        price_integers={
            market.ticker: max(
                market.perpetual.price * (KEPT_FIRST if market.ticker == first else KEPT_OTHERS) // 1000, 1
            )
            for market in chain
        },
        basis="sample",
    )


def show_rescue(account: Subaccount) -> None:
    """Explain one account and say what would bring it back."""
    print(f"\n  one of them, explained: {account}\n")
    for line in str(account.explain()).splitlines():
        print(f"    {line}")
    rescue = account.rescue(level="1.5")
    print("\n  to have 1.5 times its maintenance margin again it needs one of:")
    exact = f"{rescue.deposit_quantums} quote quantums, not one less"
    print(f"    a deposit of {dollars(rescue.deposit)} USDC ({exact})")
    for ticker, reduction in rescue.reductions.items():
        if reduction.size is None:
            print(f"    {ticker}: {reduction.reason}")
        else:
            print(f"    {ticker}: close {reduction.size.normalize():f}")
    print()
