"""What a node answered, put beside what the indexer told: chain-exact state, pools, the protocol's version.

An answer at a height replaces the accounts in it whole, as long as the indexer has not told of a later
event of theirs; from then on the indexer's older or equal events are in it already. The funding index of a
market is not told by the indexer at all: where a node tells the first one, accounts that stand as settled
move to it with the market, in one step, so that nobody is shown funding that was paid long ago.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dydx_perf.book import Book
from dydx_perf.chain import Chain
from dydx_perf.errors import ObserverError
from dydx_perf.feeds.accounts import Accounts, account_subject, market_subject
from dydx_perf.feeds.events import AccountSnapshot, Event, MarketChanged
from dydx_perf.feeds.markets import MarketFeed
from dydx_perf.feeds.node import NodePicture
from dydx_perf.feeds.pools import Pools
from dydx_perf.feeds.trust import Doubts
from dydx_perf.observers import Name

__all__ = ["NodeAnswers"]

#: doubts of an account that a node's whole answer settles
SETTLED = ("unknown_market", "unknown_sign", "over_capacity")


class NodeAnswers:
    """What a session learned from nodes.

    Parameters
    ----------
    book, doubts, accounts
        Of the session.
    markets : MarketFeed
        Where its prices come from.
    """

    def __init__(self, book: Book, doubts: Doubts, accounts: Accounts, markets: MarketFeed) -> None:
        self._book = book
        self._doubts = doubts
        self._accounts = accounts
        self.markets = markets
        self.height: int | None = None
        self.version: str | None = None
        self.pools = Pools(book.chain, doubts)

    def seen(self, height: int | None, version: str | None) -> None:
        """Note a node's newest block, and its version; None: it did not say."""
        if height is not None:
            self.height = height if self.height is None else max(self.height, height)
        if version is not None:
            self.version = version

    def apply(
        self, picture: NodePicture, watched: Iterable[Accounts], now: float, block_time: str
    ) -> tuple[list[Event], list[str], list[Name]]:
        """Apply a picture: return events, markets that were not known, and accounts it was too old for.

        Parameters
        ----------
        picture : NodePicture
        watched : iterable of Accounts
            All accounts that stand on these markets.
        now : float
        block_time : str
        """
        height = picture.height
        self.seen(height, picture.version)
        if height is None:
            self.pools.take(picture)
            return [], [], []  # of no known block: it can confirm nothing
        events: list[Event] = []
        known = [name for name in picture.accounts if name in self._accounts]
        too_old = [name for name in known if self._accounts[name].newest > height]
        names = [name for name in known if name not in too_old]
        if picture.has_markets:
            events += self._first_indices(picture.chain(), watched)
        try:
            applied = picture.apply_to(
                self._book, accounts=names, newer_prices=dict(self.markets.price_height)
            )
        except ObserverError as error:
            self._accounts.observer_errors.append(error)
            return [*events, *error.crossings], [], known
        events += applied.crossings
        for name, exists in applied.accounts.items():
            if not self._accounts.answered(name, exists, height, now, block_time):
                too_old.append(name)
            for code in SETTLED:
                self._doubts.lift(account_subject(name), code)
            events.append(AccountSnapshot(*name, height, exists))
        if picture.has_markets:
            events += self._markets_answered(applied.refused, applied.changes, height, now)
        self.pools.take(picture)
        return events, list(applied.new_markets), too_old

    def _markets_answered(
        self, refused: Mapping[str, str], changes: Mapping[str, Mapping[str, object]], height: int, now: float
    ) -> list[Event]:
        for market in self._book.chain:
            subject = market_subject(market.ticker)
            if subject in refused:
                self.markets.doubts.raise_(subject, "unknown_market")
            else:
                self.markets.doubts.lift(subject, "unknown_market")
                self.markets.confirmed(market.ticker, height, now)
        return [
            self.markets.noticed(MarketChanged(ticker, changed), now)  # type: ignore[arg-type]
            for ticker, changed in changes.items()
        ]

    def _first_indices(self, theirs: Chain, watched: Iterable[Accounts]) -> list[Event]:
        """Set funding indices that were not known, together with the positions that stand as settled."""
        indices = {
            market.ticker: market.funding_index
            for market in theirs
            if market.ticker in self._book.chain
            and self._book.chain[market.ticker]._sources()["funding_index"][0] < 0
            and self._book.chain[market.ticker].funding_index != market.funding_index
        }
        if not indices:
            return []
        book, store = self._book, self._book._store
        moved = {book.chain[ticker]._index: index for ticker, index in indices.items()}
        names = {account.name for accounts in watched for account in accounts if account.name in book}

        def step() -> None:
            for ticker, index in indices.items():
                book.chain[ticker].set_funding_index(index)
            for name in names:
                slot = store.slot(name)
                usdc, rows, height, basis = book._inputs(slot, name)
                settled = [
                    (row[0], row[1], moved[row[0]] if row[1] else 0, *row[3:]) if row[0] in moved else row
                    for row in rows
                ]
                if settled != rows and not store.is_beyond(slot):
                    store.update(slot, usdc, settled, height, basis, False)

        try:
            return list(book._change(step))
        except ObserverError as error:
            self._accounts.observer_errors.append(error)
            return list(error.crossings)

    def watch(self, height: int | None) -> None:
        """Notice pools whose withdrawals are blocked at the chain's present height."""
        heights = [one for one in (height, self.height) if one is not None]
        self.pools.watch(max(heights, default=None))
