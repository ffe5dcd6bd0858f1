"""What a node answered at one height: markets, accounts and parameters, put together into chain-exact inputs.

With these answers a result is the chain's own at that height (basis "chain"); the indexer and the stream
alone leave something open, see `dydx_perf.feeds.sources`. Nothing here sends anything: `queries` of
`node_queries` says what to ask, and the caller hands each answer to `NodePicture.answer`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dydx_perf.book import Book
from dydx_perf.book_inputs import block_steps
from dydx_perf.chain import Chain
from dydx_perf.documents import Field
from dydx_perf.errors import CapacityError, InputError, UnknownMarketError
from dydx_perf.ext.crossing import Crossing
from dydx_perf.feeds.book_writer import BookWriter
from dydx_perf.feeds.node_messages import decoded
from dydx_perf.feeds.node_queries import HEIGHT_KEY, USDC_DENOM, NodeQuery
from dydx_perf.market import MAX_HEIGHT, Basis, Market, checked_integer
from dydx_perf.position import Position
from dydx_perf.subaccount import Subaccount
from dydx_perf.units import to_decimal

__all__ = ["Applied", "Gate", "NodePicture"]

Name = tuple[str, int]

#: field of an answer that holds what was asked for
BODIES = {
    "perpetuals": "perpetual",
    "liquidity_tiers": "liquidity_tiers",
    "market_prices": "market_prices",
    "clob_pairs": "clob_pair",
    "perpetuals_params": "params",
    "liquidations_config": "liquidations_config",
    "equity_tiers": "equity_tier_limit_config",
    "rate_limits": "block_rate_limit_config",
    "fee_tiers": "params",
    "subaccount": "subaccount",
    "leverage": "clob_pair_leverage",
    "fund": "balance",
    "version": "application_version",
}
MARKETS = ("perpetuals", "liquidity_tiers", "market_prices", "clob_pairs")
TIER = ("initial_margin_ppm", "maintenance_fraction_ppm")
CAPS = ("open_interest_lower_cap", "open_interest_upper_cap")
#: why a market is refused whole
OTHER_MARKET = "the book has another perpetual, order book or units by that name"
#: of a market, what a feed cannot change while the chain runs on, and an operator should hear of
FIXED = (
    "atomic_resolution",
    "price_exponent",
    "is_isolated",
    "status",
    "clob_pair_id",
    "default_funding_ppm",
)


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a collateral pool lets withdrawals and transfers out; heights, 0: never."""

    negative_tnc_subaccount_seen_at_block: int
    chain_outage_seen_at_block: int
    withdrawals_and_transfers_unblocked_at_block: int

    def is_blocked(self, height: int) -> bool:
        """Whether the chain refuses them at a height."""
        return height < self.withdrawals_and_transfers_unblocked_at_block


@dataclass(frozen=True, slots=True)
class Applied:
    """What `NodePicture.apply_to` did.

    Attributes
    ----------
    height : int or None
    crossings : list of Crossing
    accounts : mapping of (address, number) to whether the chain has anything for it
        Those now in the book as the node has them.
    new_markets : tuple of str
        Tickers that the book's chain did not have, and has now.
    changes : mapping of ticker to mapping of name to (before, after)
        Parameters that were another in the book. The new ones hold now, but for `price_exponent` (prices are
        counted in the book's own, exactly or not at all) and `default_funding_ppm` (no risk has it).
    refused : mapping of ticker to the reason
        Markets of which something stands as it stood.
    failures : mapping of (address, number) to the error
        Accounts that stand as they stood.
    observer_errors : tuple of Exception
        What observers raised; all that they were told of holds.
    """

    height: int | None
    crossings: list[Crossing]
    accounts: Mapping[Name, bool]
    new_markets: tuple[str, ...]
    changes: Mapping[str, Mapping[str, tuple[Any, Any]]]
    refused: Mapping[str, str]
    failures: Mapping[Name, Exception]
    observer_errors: tuple[Exception, ...]


@dataclass
class _Answers:
    """Answers as they came: lists by page, the rest whole."""

    lists: dict[str, list[Any]] = field(default_factory=dict)
    pending: dict[str, NodeQuery] = field(default_factory=dict)
    whole: dict[tuple[str, tuple[str | int, ...]], Any] = field(default_factory=dict)


class NodePicture:
    """Answers of one node at one height.

    Parameters
    ----------
    height : int, optional
        The height that was asked for; without it the first answer that tells its own sets it.
    time : object, optional
        Of that block, kept as given.

    Notes
    -----
    An answer is a message of v4-proto, any object with the same fields, a mapping of the REST gateway, or a
    message's bytes (which then needs the `grpc` extra).
    """

    def __init__(self, height: int | None = None, *, time: object = None) -> None:
        if height is not None:
            checked_integer("height", height, 0, MAX_HEIGHT)
        self._height = height
        self._told: bool | None = None  # whether the answers tell their height
        self.time = time
        self._answers = _Answers()

    @property
    def height(self) -> int | None:
        """The height of every answer; None: not known, and nothing from here is the chain's at a height."""
        return self._height

    def answer(self, query: NodeQuery, response: Any, *, height: int | None = None) -> NodeQuery | None:
        """Take in the answer to a query, and return the query for its next page, None after the last.

        Parameters
        ----------
        query : NodeQuery
        response : message, mapping or bytes
        height : int, optional
            What the answer's metadata tell under ``x-cosmos-block-height``.

        Raises
        ------
        InputError
            It is of another height than the answers before it, or is not what the query asks for.
        FrameError
            Bytes that are no such message.
        """
        if not isinstance(query, NodeQuery):
            raise InputError("query", query, "a NodeQuery")
        body = decoded(query, bytes(response)) if _is_bytes(response) else response
        self._check_height(query, height)
        if query.paged:
            following = self._add_page(query, Field(query.name, body))
        else:
            following = None
            self._answers.whole[query.name, query.subject] = self._checked(query, Field(query.name, body))
        if query.name != "version":  # a node's version is of no height
            self._height = height if self._height is None else self._height
            self._told = height is not None
        return following

    def _check_height(self, query: NodeQuery, height: int | None) -> None:
        if query.name == "version":
            return
        if height is not None:
            checked_integer("height", height, 0, MAX_HEIGHT)
            if self._height is not None and height != self._height:
                raise InputError("height", height, f"{self._height}, at which all of this picture is")
        if self._told is not None and self._told != (height is not None):
            raise InputError(
                "height", height, f"an answer's {HEIGHT_KEY} for each of a picture's answers, or for none"
            )

    def _add_page(self, query: NodeQuery, body: Field) -> NodeQuery | None:
        found = body[BODIES[query.name]]
        rows = [] if found.value is None else [entry.value for entry in found.each()]
        key = _next_key(body["pagination"])
        held = [] if query.is_first_page else self._answers.lists.get(query.name, [])
        if not query.is_first_page and self._answers.pending.get(query.name) != query:
            raise InputError("query", query.path, "the page that the answer before it asked for")
        self._answers.lists[query.name] = held + rows
        self._answers.pending.pop(query.name, None)
        if not key:
            return None
        self._answers.pending[query.name] = query.after(key)
        return self._answers.pending[query.name]

    def _checked(self, query: NodeQuery, body: Field) -> Any:
        """Read what can be read without a chain, so that a wrong answer is refused when it comes."""
        match query.name:
            case "gate":
                names = Gate.__dataclass_fields__
                return Gate(*(body[name].integer(default=0).value for name in names))
            case "fund":
                balance = body["balance"]
                if balance.value is None:
                    return 0
                denom = balance["denom"].text()
                if denom.value != USDC_DENOM:
                    raise denom.field.refusal(USDC_DENOM)
                return balance["amount"].integer().value
            case "version":
                return body["application_version"]["version"].text().value
            case "fee_tiers":
                return body["params"]["tiers"].value
            case "subaccount":
                found = body["subaccount"]["id"]
                owner, number = found["owner"].text(), found["number"].integer(default=0)
                if (owner.value, number.value) != query.subject:
                    raise found.refusal(f"{query.subject[0]}/{query.subject[1]}, which was asked for")
        found = body[BODIES[query.name]]
        return found.value

    # -- what is there

    def missing(self, accounts: Iterable[Name] = (), *, markets: bool = True) -> tuple[str, ...]:
        """Name the answers that have not come, or not whole, of those that chain-exact risk needs."""
        lists = self._answers.lists.keys() - self._answers.pending.keys()
        needed = [name for name in MARKETS if markets and name not in lists]
        for address, number in accounts:
            for name in ("subaccount", "leverage"):
                if (name, (address, number)) not in self._answers.whole:
                    needed.append(f"{name} {address}/{number}")
        return tuple(needed)

    @property
    def accounts(self) -> tuple[Name, ...]:
        """Accounts whose `Subaccount` was answered."""
        return tuple(subject for name, subject in self._answers.whole if name == "subaccount")  # type: ignore[misc]

    @property
    def has_markets(self) -> bool:
        """Whether everything of the markets is there."""
        return not self.missing()

    @property
    def market_ids(self) -> dict[str, int]:
        """Price market of each perpetual by ticker: what a stream's price updates are numbered by."""
        found = {}
        for perpetual in Field("perpetuals", self._answers.lists.get("perpetuals", ())).each():
            params = perpetual["params"]
            found[params["ticker"].text().value] = params["market_id"].integer(default=0).value
        return found

    @property
    def version(self) -> str | None:
        """The node's version of the protocol."""
        found: str | None = self._answers.whole.get(("version", ()))
        return found

    @property
    def gates(self) -> dict[int, Gate]:
        """Withdrawal gates by perpetual id."""
        return {subject[0]: gate for (name, subject), gate in self._answers.whole.items() if name == "gate"}  # type: ignore[misc]

    @property
    def funds(self) -> dict[str, int]:
        """Insurance funds by the name of their module account, in quote quantums."""
        whole = self._answers.whole.items()
        return {str(subject[0]): amount for (name, subject), amount in whole if name == "fund"}

    # -- chain and accounts

    def _required(self, missing: Sequence[str]) -> None:
        if missing:
            raise InputError("picture", ", ".join(missing), "answers to all of these, with all their pages")

    def chain(self) -> Chain:
        """Make a chain of the markets: basis "chain" where the height is known.

        Raises
        ------
        InputError
            Names the answers that are missing, or the field that cannot be.
        """
        self._required(self.missing())
        lists, whole = self._answers.lists, self._answers.whole
        return Chain.from_node(
            perpetuals=lists["perpetuals"],
            liquidity_tiers=lists["liquidity_tiers"],
            market_prices=lists["market_prices"],
            clob_pairs=lists["clob_pairs"],
            liquidations_config=whole.get(("liquidations_config", ())),
            perpetuals_params=whole.get(("perpetuals_params", ())),
            fee_tiers=whole.get(("fee_tiers", ())),
            equity_tiers=whole.get(("equity_tiers", ())),
            rate_limits=whole.get(("rate_limits", ())),
            height=self._height,
            time=self.time,
        )

    def subaccount(self, address: str, number: int, chain: Chain) -> Subaccount:
        """Put an answered account on a chain, with its own funding indices and the leverage that it chose.

        Its basis is "chain" where the height is known and `Leverage` was answered too, else "estimate".

        Raises
        ------
        InputError
            It was not answered, or holds what the chain would not let it.
        UnknownMarketError
            It holds a position in a market that this chain does not have.
        """
        body = self._answers.whole.get(("subaccount", (address, number)))
        if body is None:
            raise InputError("picture", f"{address}/{number}", "an account whose Subaccount was answered")
        entry = Field(f"subaccount {address}/{number}", body)
        chosen = self._answers.whole.get(("leverage", (address, number)))
        exact: Basis = (
            "estimate" if self._height is None or not self._has_leverage(address, number) else "chain"
        )
        return Subaccount(
            chain,
            address,
            number,
            usdc=to_decimal(_usdc(entry["asset_positions"]), -6),
            positions=[
                position
                for position in (_position(row, chain) for row in _rows(entry["perpetual_positions"]))
                if position.quantums or position.quote_balance
            ],
            leverage=_leverage(Field(f"leverage {address}/{number}", chosen), chain),
            height=self._height,
            basis=exact,
        )

    def _has_leverage(self, address: str, number: int) -> bool:
        return ("leverage", (address, number)) in self._answers.whole

    def apply_to(
        self,
        book: Book,
        *,
        accounts: Iterable[Name] | None = None,
        newer_prices: Mapping[str, int] | None = None,
    ) -> Applied:
        """Bring a book to this height, by one change: markets where all of them were answered, and accounts.

        Parameters
        ----------
        book : Book
        accounts : iterable of (address, number), optional
            By default every account that was answered.
        newer_prices : mapping of ticker to height, optional
            Heights of prices that the book has from elsewhere; a later one than this picture's is kept.

        Notes
        -----
        What cannot be applied is named in `Applied.refused` and stands as it stood; the rest is applied. An
        account comes in as the node has it, whole, whatever the book had.
        """
        writer = BookWriter()
        refused: dict[str, str] = {}
        new: list[str] = []
        changes: dict[str, dict[str, tuple[Any, Any]]] = {}
        steps: list[Callable[[], None]] = []
        if self.has_markets:
            theirs = self.chain()
            new = self._add_new_markets(book, theirs, refused, writer)
            changes = differences(book.chain, theirs)
            later = {
                ticker
                for ticker, height in ({} if newer_prices is None else newer_prices).items()
                if self._height is None or height > self._height
            }
            steps = self._market_steps(book, theirs, later, refused)
        plan = book._plan()
        applied: dict[Name, bool] = {}
        failures: dict[Name, Exception] = {}
        for name in self.accounts if accounts is None else accounts:
            try:
                account = self.subaccount(*name, book.chain)
                plan.put_subaccount(account)
            except (InputError, UnknownMarketError, CapacityError) as error:
                failures[name] = error
            else:
                applied[name] = bool(account.positions or account.usdc_quantums)
        if steps or len(plan):
            writer.write(lambda: book._change_together(steps, plan))
        crossings = writer.crossings()
        raised = writer.error(crossings)
        return Applied(
            self._height,
            crossings,
            applied,
            tuple(new),
            changes,
            refused,
            failures,
            () if raised is None else raised.errors,
        )

    def _add_new_markets(
        self, book: Book, theirs: Chain, refused: dict[str, str], writer: BookWriter
    ) -> list[str]:
        """Take in markets that the book's chain does not have yet, as far as there is room."""
        added = []
        for market in theirs:
            if market.ticker in book.chain or market.perpetual_id in book.chain:
                continue
            if len(book.chain) >= book.capacity["markets"]:
                refused[market.ticker] = "the book has no room for another market"
                continue
            book.chain.add(_copied(market, self._height))
            added.append(market.ticker)
        if added:
            writer.write(book.catch_up)
        return added

    def _market_steps(
        self, book: Book, theirs: Chain, later: set[str], refused: dict[str, str]
    ) -> list[Callable[[], None]]:
        """Take over what no block carries; return the steps that bring the rest to this height."""
        prices: dict[str, int] = {}
        both = [market for market in theirs if _same(market, book.chain)]
        for market in theirs:
            if market not in both:
                refused.setdefault(market.ticker, OTHER_MARKET)
        for ticker in theirs.without_price:
            refused[ticker] = "it has no oracle price"
        for market in both:
            ours = book.chain[market.ticker]
            integer = market.oracle_price.integer
            shift = market.price_exponent - ours.price_exponent
            if market.ticker in later:
                continue
            if shift >= 0:
                prices[market.ticker] = integer * 10**shift
            elif integer % 10**-shift == 0:
                prices[market.ticker] = integer // 10**-shift
            else:
                refused[market.ticker] = (
                    f"its price has the exponent {market.price_exponent}, the book's {ours.price_exponent}"
                )
        for market in both:
            _take_over(market, book.chain[market.ticker])
        return block_steps(
            book.chain,
            price_integers=prices,
            funding_indices={market.ticker: market.funding_index for market in both},
            open_interests={market.ticker: market.open_interest for market in both},
            liquidity_tiers={
                market.ticker: {name: getattr(market.perpetual, name) for name in (*TIER, *CAPS)}
                for market in both
            },
            height=self._height,
            basis="estimate" if self._height is None else "chain",
        )


def differences(ours: Chain, theirs: Chain) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Compare parameters, market by market of those in both: {ticker: {name: (ours, theirs)}}."""
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for market in theirs:
        if market.ticker not in ours:
            continue
        before = ours[market.ticker]
        changed = {
            name: (getattr(before, name), getattr(market, name))
            for name in (*TIER, *FIXED)
            if getattr(before, name) != getattr(market, name)
        }
        for name in CAPS:
            pair = getattr(before.perpetual, name), getattr(market.perpetual, name)
            if pair[0] != pair[1]:
                changed[name] = pair
        if changed:
            found[market.ticker] = changed
    return found


def _is_bytes(response: object) -> bool:
    return isinstance(response, (bytes, bytearray, memoryview))


def _next_key(pagination: Field) -> bytes:
    """Read where the next page starts; the REST gateway has it in base64."""
    if pagination.value is None:
        return b""
    key = pagination["next_key"].value
    if key is None:
        return b""
    if isinstance(key, str):
        try:
            return base64.b64decode(key, validate=True)
        except ValueError:
            raise pagination["next_key"].refusal("base64") from None
    if not isinstance(key, bytes):
        raise pagination["next_key"].refusal("bytes, or base64")
    return key


def _rows(entries: Field) -> list[Field]:
    return [] if entries.value is None else list(entries.each())


def _usdc(balances: Field) -> int:
    """Read the USDC balance; a zero balance has no entry."""
    found = 0
    for entry in _rows(balances):
        asset = entry["asset_id"].integer(default=0)
        if asset.value != 0:
            raise asset.field.refusal("0, USDC: the chain takes nothing else for collateral")
        found += entry["quantums"].serialized_integer(default=0).value
    return found


def _position(row: Field, chain: Chain) -> Position:
    return Position(
        chain[row["perpetual_id"].integer(default=0).value],
        quantums=row["quantums"].serialized_integer(default=0).value,
        funding_index=row["funding_index"].serialized_integer(default=0).value,
        quote_balance=row["quote_balance"].serialized_integer(default=0).value,
    )


def _leverage(chosen: Field, chain: Chain) -> dict[str, int]:
    """Read fractions by market; one of an order book that this chain does not have binds nothing here."""
    markets = {market.clob_pair_id: market.ticker for market in chain}
    found = {}
    for row in _rows(chosen):
        pair = row["clob_pair_id"].integer(default=0).value
        if pair in markets:
            found[markets[pair]] = row["custom_imf_ppm"].integer(default=0).value
    return found


def _same(market: Market, chain: Chain) -> bool:
    """Whether a chain has this market in the same units."""
    return (
        market.ticker in chain
        and chain[market.ticker].perpetual_id == market.perpetual_id
        and chain[market.ticker].clob_pair_id == market.clob_pair_id
        and chain[market.ticker].atomic_resolution == market.atomic_resolution
    )


def _take_over(market: Market, ours: Market) -> None:
    """Give our market what no block input carries: its type, and what its order book may have changed."""
    if market.is_isolated != ours.is_isolated:
        ours.set_market_type("isolated" if market.is_isolated else "cross")
    if market.clob_pair != ours.clob_pair:
        pair = market.clob_pair
        ours.set_order_book(
            step_base_quantums=pair.step_base_quantums,
            subticks_per_tick=pair.subticks_per_tick,
            quantum_conversion_exponent=pair.quantum_conversion_exponent,
            status=pair.status,
        )


def _copied(market: Market, height: int | None) -> Market:
    """Make the same market anew: each belongs to one chain for good."""
    perpetual, pair = market.perpetual, market.clob_pair
    return Market(
        market.ticker,
        perpetual_id=market.perpetual_id,
        atomic_resolution=market.atomic_resolution,
        price_exponent=market.price_exponent,
        oracle_price=market.oracle_price.decimal,
        initial_margin_ppm=market.initial_margin_ppm,
        maintenance_fraction_ppm=market.maintenance_fraction_ppm,
        open_interest=market.open_interest,
        open_interest_lower_cap=perpetual.open_interest_lower_cap,
        open_interest_upper_cap=perpetual.open_interest_upper_cap,
        funding_index=market.funding_index,
        market_type="isolated" if market.is_isolated else "cross",
        step_base_quantums=pair.step_base_quantums,
        subticks_per_tick=pair.subticks_per_tick,
        quantum_conversion_exponent=pair.quantum_conversion_exponent,
        status=market.status,
        default_funding_ppm=market.default_funding_ppm,
        impact_notional=market.impact_notional,
        clob_pair_id=market.clob_pair_id,
        height=height,
        basis="estimate" if height is None else "chain",
    )
