"""What goes into a book: columns checked, and the plain integers for accounts that no column holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from dydx_perf.errors import InputError, UnknownMarketError
from dydx_perf.exact.margin import subaccount_risk
from dydx_perf.exact.state import USDC_ASSET_ID, AssetPosition, PerpetualPosition, SubaccountState
from dydx_perf.ext.book_columns import first_repeated
from dydx_perf.market import (
    UINT32_MAX,
    UINT64_MAX,
    Amount,
    Basis,
    Market,
    checked_integer,
    checked_source,
)
from dydx_perf.observers import Name
from dydx_perf.position import Position
from dydx_perf.subaccount import MAX_SUBACCOUNT_NUMBER, Subaccount

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dydx_perf.chain import Chain

__all__ = [
    "Columns",
    "PlainRisks",
    "Row",
    "block_steps",
    "changed_rows",
    "checked_columns",
    "checked_names",
    "is_beyond",
    "subaccount_rows",
]

#: market index, quantums, funding index, quote balance, custom_imf_ppm
Row = tuple[int, int, int, int, int]
TIER = (
    "initial_margin_ppm",
    "maintenance_fraction_ppm",
    "open_interest_lower_cap",
    "open_interest_upper_cap",
)
#: input of a Market, lowest and highest value
INTEGERS: dict[str, tuple[str, int | None, int | None]] = {
    "price_integers": ("oracle_price", 1, UINT64_MAX),
    "funding_indices": ("funding_index", None, None),
    "open_interests": ("open_interest", 0, None),
}
NOTHING: Row = (0, 0, 0, 0, 0)
NOTHING_ELSE: Mapping[int, int] = {}
OPTIONAL = {"quote_balance", "custom_imf_ppm"}
MAX_ADDRESS = 128  # characters


def fits(value: int) -> bool:
    """Whether a column holds it."""
    return -(2**63) <= value < 2**63


def is_beyond(usdc: int, rows: Iterable[Row]) -> bool:
    """Whether a value does not fit its column."""
    return not (fits(usdc) and all(fits(row[1]) and fits(row[2]) and fits(row[3]) for row in rows))


class PlainRisks:
    """Risk by plain integers, for accounts that 128 bits do not hold."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        #: what the columns do not hold: USDC and rows by account
        self.inputs: dict[Name, tuple[int, list[Row]]] = {}

    def __call__(
        self,
        name: Name,
        usdc: int,
        rows: list[Row],
        beyond: bool,
        prices: Mapping[int, int] = NOTHING_ELSE,
    ) -> tuple[int, int, int]:
        """Net collateral, initial and maintenance margin requirement; `prices`: others, by market index."""
        if beyond:
            usdc, rows = self.inputs[name]
        markets = list(self.chain)
        held = [(markets[row[0]].perpetual, row) for row in rows]
        if prices:
            held = [(replace(one, price=prices.get(row[0], one.price)), row) for one, row in held]
        risk = subaccount_risk(
            {perpetual.perpetual_id: perpetual for perpetual, _ in held},
            SubaccountState(
                (AssetPosition(USDC_ASSET_ID, usdc),) if usdc else (),
                tuple(PerpetualPosition(p.perpetual_id, row[1], row[2], row[3]) for p, row in held),
                {p.perpetual_id: row[4] for p, row in held},
            ),
        )
        return risk.nc, risk.imr, risk.mmr


def subaccount_rows(subaccount: Subaccount) -> list[Row]:
    """Return the rows of a subaccount: its positions, then margin fractions chosen without a position."""
    rows = [
        (p.market._index, p.quantums, p.funding_index, p.quote_balance, p.custom_imf_ppm)
        for p in subaccount._positions.values()
    ]
    for ticker, ppm in subaccount._leverage.items():
        if ppm and ticker not in subaccount._positions:
            rows.append((subaccount.chain[ticker]._index, 0, 0, 0, ppm))
    return rows


def checked_position(chain: Chain, ticker: str | None, position: Amount | Position) -> Position:
    """Return what is to be held in a market; a size is settled to the current funding index."""
    if isinstance(position, Position):
        if position.market is not chain[position.ticker if ticker is None else ticker]:
            raise InputError("positions", position, "positions in markets of this book's own chain")
        return position
    if ticker is None:
        raise InputError("positions", position, "a mapping of ticker to size, or Position objects")
    try:
        return Position(chain[ticker], position)
    except InputError as refusal:
        raise InputError(f"positions[{ticker!r}]", position, refusal.allowed) from None


def changed_rows(
    chain: Chain,
    held: Iterable[Row],
    positions: Mapping[str, Amount | Position] | Iterable[Position],
    leverage: Mapping[str, int],
) -> list[Row]:
    """Check what is to change of an account that holds `held`; return new rows of the markets concerned."""
    if not isinstance(leverage, Mapping):
        raise InputError("leverage", leverage, "a mapping of ticker to custom_imf_ppm")
    if not isinstance(positions, Iterable):
        raise InputError("positions", positions, "a mapping of ticker to size, or Position objects")
    by_market = {row[0]: row for row in held}
    pairs = positions.items() if isinstance(positions, Mapping) else ((None, given) for given in positions)
    changed: dict[int, Row] = {}
    for ticker, given in pairs:
        position = checked_position(chain, ticker, given)
        market = position.market._index
        if market in changed:
            raise InputError("positions", position, "one position per market")
        _, _, _, _, chosen = by_market.get(market, NOTHING)
        is_nothing = position.quantums == 0 and position.quote_balance == 0
        changed[market] = (
            market,
            position.quantums,
            0 if is_nothing else position.funding_index,
            position.quote_balance,
            position.custom_imf_ppm or chosen,
        )
    for ticker, ppm in leverage.items():
        market = chain[ticker]._index
        checked_integer(f"leverage[{ticker!r}]", ppm, 0, UINT32_MAX)
        _, quantums, funding_index, quote_balance, _ = changed.get(market, by_market.get(market, NOTHING))
        changed[market] = (market, quantums, funding_index, quote_balance, ppm)
    return list(changed.values())


def block_steps(
    chain: Chain,
    *,
    liquidity_tiers: Mapping[str, Mapping[str, int]] | None = None,
    height: int | None,
    basis: Basis | None = None,
    **integers: Mapping[str, int] | None,
) -> list[Callable[[], None]]:
    """Check all that a block changes in a chain; return the steps that change it, which then cannot fail."""
    source = checked_source(height, basis)
    steps: list[Callable[[], None]] = []
    for argument, (name, lowest, highest) in INTEGERS.items():
        changes = by_market(chain, argument, integers.get(argument))
        for market, value in changes:
            # A block has hundreds of prices: the argument is named only where something is wrong with it.
            if (
                type(value) is not int
                or not (-UINT64_MAX if lowest is None else lowest) <= value <= UINT64_MAX
            ):
                checked_integer(f"{argument}[{market.ticker!r}]", value, lowest, highest)
        if changes:
            steps.append(partial(set_integers, changes, name, source))
    for market, tier in by_market(chain, "liquidity_tiers", liquidity_tiers):
        if not isinstance(tier, Mapping) or set(tier) != set(TIER):
            raise InputError(f"liquidity_tiers[{market.ticker!r}]", tier, ", ".join(TIER))
        Market._checked_tier(*(tier[name] for name in TIER))
        steps.append(partial(market.set_liquidity_tier, **tier, height=height, basis=basis))
    return steps


def set_integers(changes: list[tuple[Market, Any]], name: str, source: tuple[int, int]) -> None:
    """Set one input of many markets, which was checked."""
    for market, value in changes:
        market._set_integer(name, value, source)


def by_market(chain: Chain, argument: str, values: object) -> list[tuple[Market, Any]]:
    """Return the values of a mapping with their markets."""
    if values is None:
        return []
    if not isinstance(values, Mapping):
        raise InputError(argument, values, "a mapping of ticker to value")
    return [(chain[ticker], value) for ticker, value in values.items()]


class Columns(NamedTuple):
    """Accounts and their positions as the store takes them: C-contiguous, positions by ascending account."""

    names: list[Name]
    usdc: NDArray[np.int64]
    account: NDArray[np.uint32]
    market: NDArray[np.uint32]
    quantums: NDArray[np.int64]
    funding_index: NDArray[np.int64]
    quote_balance: NDArray[np.int64]
    custom_imf_ppm: NDArray[np.uint32]


def checked_names(addresses: Sequence[str], numbers: Sequence[int]) -> list[Name]:
    """Return (address, number) of each account."""
    listed: list[object] = numbers.tolist() if hasattr(numbers, "tolist") else list(numbers)
    if len(addresses) != len(listed):
        raise InputError("numbers", len(listed), f"one per address: {len(addresses)}")
    address: object
    for address in addresses:
        if type(address) is not str or not 0 < len(address) <= MAX_ADDRESS:
            raise InputError("addresses", address, f"texts of 1 to {MAX_ADDRESS} characters")
    for number in set(listed):
        if type(number) is not int or not 0 <= number <= MAX_SUBACCOUNT_NUMBER:
            raise InputError("numbers", number, f"ints of 0 to {MAX_SUBACCOUNT_NUMBER}")
    return list(zip(addresses, cast(list[int], listed), strict=True))


def checked_column(argument: str, column: object, dtype: str, rows: int) -> NDArray[Any]:
    """Return a column of that dtype and length, contiguous."""
    import numpy as np

    if not isinstance(column, np.ndarray) or column.dtype != dtype or column.ndim != 1:
        raise InputError(argument, column, f"a one-dimensional array of {dtype}")
    if len(column) != rows:
        raise InputError(argument, len(column), f"{rows} rows")
    return np.ascontiguousarray(column)


def checked_columns(
    chain: Chain,
    *,
    names: list[Name],
    usdc: object,
    account: object,
    perpetual_id: object,
    **positions: object,
) -> Columns:
    """Check everything that the store does not; `positions` by their names in `Columns`, or None."""
    import numpy as np

    balances = checked_column("usdc", usdc, "int64", len(names))
    rows = len(account) if isinstance(account, np.ndarray) else 0
    owners = checked_column("account", account, "uint32", rows)
    perpetuals = checked_column("perpetual_id", perpetual_id, "uint32", rows)
    dtypes = {
        "quantums": "int64",
        "funding_index": "int64",
        "quote_balance": "int64",
        "custom_imf_ppm": "uint32",
    }
    columns: dict[str, Any] = {
        name: np.zeros(rows, dtype)
        if name in OPTIONAL and positions[name] is None
        else checked_column(name, positions[name], dtype, rows)
        for name, dtype in dtypes.items()
    }
    if rows and owners.max() >= len(names):
        raise InputError("account", int(owners.max()), f"rows of accounts: 0 to {len(names) - 1}")
    # perpetual ids -> places in the chain's table
    ids = np.array([market.perpetual_id for market in chain], dtype=np.uint32)
    order = np.argsort(ids).astype(np.uint32)
    found = np.searchsorted(ids, perpetuals, sorter=order)
    listed = np.append(order, len(ids)).astype(np.uint32)[found]
    wrong = np.flatnonzero(np.append(ids, 0)[listed] != perpetuals)
    for row in (*np.flatnonzero(listed == len(ids))[:1], *wrong[:1]):
        raise UnknownMarketError(int(perpetuals[row]))
    if rows and (owners[1:] < owners[:-1]).any():
        by_owner = np.argsort(owners, kind="stable")
        owners, listed = owners[by_owner], listed[by_owner]
        columns = {name: column[by_owner] for name, column in columns.items()}
    repeated = first_repeated(owners, listed, np.zeros(len(ids), dtype=np.uint32))
    if repeated >= 0:
        raise InputError("account", names[owners[repeated]], "one position per account and market")
    return Columns(names, balances, owners, listed, **columns)
