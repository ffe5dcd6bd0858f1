"""Read accounts from files: answers of the indexer, this project's recordings, and a plain format of its own.

============================ ====================================================== =========================
what the file holds          how it is recognised                                   its markets
============================ ====================================================== =========================
an answer of the indexer     ``subaccount``, ``subaccounts`` or ``childSubaccounts``; a markets file
(subaccount, parent, address) in a WebSocket message under ``contents``
recorded accounts            ``format.name`` "dydx_perf recorded accounts"          in the file
accounts of one's own        ``accounts``; TOML or JSON                             ``chain``, a markets file
============================ ====================================================== =========================

A markets file is the indexer's ``/v4/perpetualMarkets`` answer, or a ``v4_markets`` snapshot.

A file of one's own, in TOML; JSON has the same names. Amounts are text or numbers, read digit by digit::

    chain = "v9"                      # the shipped sample, or a markets file beside this one: "markets.json"

    [prices]                          # optional: oracle prices instead of the chain's
    BTC-USD = "66000"

    [[accounts]]
    address = "main"                  # any name
    number = 0                        # optional
    usdc = "-25000"
    leverage = { BTC-USD = 100_000 }  # optional: custom_imf_ppm
    [accounts.positions]
    BTC-USD = "0.5"                   # signed coins
    ETH-USD = { size = "-2", entry_price = "3100" }  # or with what a Position has beside its size

Nothing is guessed: an unknown key, a market that the chain does not have or a number that does not fit is
refused by the name of the file and the path in it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dydx_perf.chain import SAMPLES, Chain
from dydx_perf.documents import Field
from dydx_perf.errors import InputError
from dydx_perf.market import Market
from dydx_perf.position import Position
from dydx_perf.recorded import FORMAT_NAME, subaccounts_of_recording
from dydx_perf.subaccount import Subaccount
from dydx_perf.units import to_decimal, to_fixed

__all__ = ["AccountFile", "read_accounts"]

USDC = "USDC"
#: an indexer's USDC contains unsettled funding: ppm of a quote quantum
USDC_DECIMALS, QUANTUM_DECIMALS = 12, 6
EQUITY_DECIMALS = 64  # of the finest value: 10**-32 coins at a price of 10**-32
SIDES: dict[str | int, int] = {"LONG": 1, "SHORT": -1}
POSITION_KEYS = (
    "size",
    "funding_index",
    "quote_balance",
    "entry_price",
    "exit_price",
    "realized_pnl",
    "net_funding",
)
INTEGER_KEYS = ("funding_index", "quote_balance")


@dataclass(frozen=True, slots=True)
class AccountFile:
    """The accounts of a file in its order, and what had to be settled in reading them."""

    accounts: tuple[Subaccount, ...]
    notes: tuple[str, ...] = ()


def read_accounts(path: str | Path, markets: str | Path | None = None) -> AccountFile:
    """Read the accounts of a file.

    Parameters
    ----------
    path : str or Path
        JSON, or TOML where the name ends in ``.toml``.
    markets : str or Path, optional
        Markets file; needed for answers of the indexer, refused where the file has its own markets.

    Raises
    ------
    InputError
        The file cannot be read, or is none of these, or something in it is not allowed.
    """
    document = parsed(Path(path))
    root = Field(Path(path).name, document)
    if not isinstance(document, Mapping):
        raise root.refusal("an object")
    if "format" in document:
        refuse_markets(markets, "recorded accounts have their own")
        return recorded_file(root)
    if "accounts" in document:
        return own_file(root, Path(path).parent, markets)
    found = indexer_bodies(root)
    if markets is None:
        raise InputError(
            "--markets", None, "a file with the indexer's perpetualMarkets answer, which this needs"
        )
    return indexer_file(found, markets_chain(Path(markets)))


def refuse_markets(markets: str | Path | None, why: str) -> None:
    """Refuse a markets file where the accounts have one."""
    if markets is not None:
        raise InputError("--markets", str(markets), f"no markets file: {why}")


def parsed(path: Path) -> Any:
    """Read a file as plain values; numbers with a point stay the text they are."""
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() == ".toml":
            return tomllib.loads(text, parse_float=str)
        return json.loads(text, parse_float=str, parse_constant=str, object_pairs_hook=without_repeats)
    except OSError as failure:
        raise InputError(path.name, str(path), f"a file that can be read ({failure.strerror})") from None
    except RecursionError:
        raise InputError(path.name, str(path), "objects nested less deep") from None
    except ValueError as failure:  # of the syntax, of the encoding, or of a number past all bounds
        kind = "TOML" if path.suffix.lower() == ".toml" else "JSON"
        raise InputError(path.name, str(path), f"{kind} in UTF-8 ({failure})") from None


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; a key that comes twice would hide what came first."""
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"the key {repeated!r} is there twice in one object")
    return found


def contents(root: Field) -> Field:
    """Return the body of an answer: in a WebSocket message it stands under `contents`."""
    return root["contents"] if isinstance(root.value, Mapping) and "contents" in root.value else root


def markets_chain(path: Path) -> Chain:
    """Read a markets file."""
    body = contents(Field(path.name, parsed(path)))
    if not isinstance(body.value, Mapping) or not isinstance(body.value.get("markets"), Mapping):
        raise InputError(
            path.name, str(path), "the indexer's perpetualMarkets answer: an object with markets"
        )
    try:
        return Chain.from_indexer(body.value)
    except InputError as refused:
        raise InputError(f"{path.name}: {refused.argument}", refused.value, refused.allowed) from None


# -- the indexer


def indexer_bodies(root: Field) -> list[Field]:
    """Find the subaccounts of an answer: itself, its children, or a list of either."""
    body = contents(root)
    if not isinstance(body.value, Mapping):
        raise body.refusal("an object")
    if "subaccount" in body.value:
        body = body["subaccount"]
    if not isinstance(body.value, Mapping):
        raise body.refusal("an object")
    for key in ("subaccounts", "childSubaccounts"):
        if key in body.value:
            return [found for child in body[key].each() for found in indexer_bodies(child)]
    if "subaccountNumber" not in body.value:
        raise root.refusal(
            "an indexer's subaccount, parent or address, recorded accounts, or an object with accounts"
        )
    return [body]


def indexer_file(bodies: list[Field], chain: Chain) -> AccountFile:
    """Put the subaccounts of an answer on a chain."""
    accounts: dict[tuple[str, int], Subaccount] = {}
    notes: list[str] = []
    for body in bodies:
        account, remarks = indexer_account(body, chain)
        key = account.address, account.number
        if key in accounts:
            raise body["subaccountNumber"].refusal("each subaccount once")
        accounts[key] = account
        notes += remarks
    return AccountFile(tuple(accounts.values()), tuple(notes))


def indexer_account(body: Field, chain: Chain) -> tuple[Subaccount, list[str]]:
    """Read one subaccount, and note USDC with digits past a quote quantum, and prices of another moment."""
    balances = body["assetPositions"]
    name = f"{body['address'].text().value}/{body['subaccountNumber'].integer().value}"
    usdc = 0
    notes: list[str] = []
    for symbol, entry in balances.items():
        if symbol != USDC:
            raise balances.refusal("USDC alone: the chain takes nothing else for collateral")
        fine = signed(entry, USDC_DECIMALS)
        usdc, rest = divmod(fine, 10 ** (USDC_DECIMALS - QUANTUM_DECIMALS))
        if rest:
            notes.append(
                f"{name}: USDC {to_decimal(fine, -USDC_DECIMALS):f} counts as "
                f"{to_decimal(usdc, -QUANTUM_DECIMALS):f}: unsettled funding is in it, which the chain floors"
            )
    positions = []
    for ticker, entry in body["openPerpetualPositions"].items():
        market = known_market(entry, ticker, chain)
        size = signed(entry, -market.atomic_resolution)
        past = {name: entry[key] for name, key in PAST.items() if entry[key].value is not None}
        positions.append(position_of(entry, market, {"quantums": Field(entry["size"].path, size), **past}))
    height = body["latestProcessedBlockHeight"]
    account = built_account(
        body,
        chain,
        address=body["address"].text().value,
        number=body["subaccountNumber"].integer().value,
        usdc=to_decimal(usdc, -QUANTUM_DECIMALS),
        positions=positions,
        height=None if height.value is None else height.integer().value,
        basis="estimate",
    )
    reported = body["equity"]
    if reported.value is not None and not notes:
        fixed = reported.amount(EQUITY_DECIMALS).value
        if fixed != to_fixed("equity", account.equity, EQUITY_DECIMALS):
            notes.append(
                f"{name}: equity was reported as {reported.value} and is {account.equity:f} by this markets "
                "file: its prices are of another moment"
            )
    return account, notes


#: what the indexer tells of a position's past, under the names of `Position`
PAST = {
    "entry_price": "entryPrice",
    "exit_price": "exitPrice",
    "realized_pnl": "realizedPnl",
    "net_funding": "netFunding",
}


def signed(entry: Field, decimals: int) -> int:
    """Read a size with its side as a signed integer: positions carry a sign of their own, balances none."""
    size, side = entry["size"].amount(decimals).value, entry["side"].choice(SIDES).value
    if size < 0 < side:
        raise entry["size"].refusal("zero or more on the side LONG")
    return side * abs(size)


def known_market(place: Field, ticker: str, chain: Chain) -> Market:
    """Look a market up; one without a price cannot be valued."""
    if ticker in chain:
        return chain[ticker]
    if ticker in chain.without_price:
        raise InputError(
            place.path, ticker, "a market with an oracle price: the markets file has none for it"
        )
    raise InputError(place.path, ticker, "a market of the chain")


def position_of(place: Field, market: Market, arguments: Mapping[str, Field]) -> Position:
    """Make a position; a refused argument is named by where it was read."""
    try:
        return Position(market, **{name: field.value for name, field in arguments.items()})  # type: ignore[arg-type]
    except InputError as refused:
        field = arguments.get(refused.argument, place)
        raise InputError(field.path, refused.value, refused.allowed) from None


def built_account(place: Field, chain: Chain, **arguments: Any) -> Subaccount:
    """Make a subaccount; what it refuses is named with the path of the account."""
    try:
        return Subaccount(chain, **arguments)
    except InputError as refused:
        raise InputError(f"{place.path}.{refused.argument}", refused.value, refused.allowed) from None


# -- recorded accounts


def recorded_file(root: Field) -> AccountFile:
    """Read recordings in the format of the one that ships."""
    root["format"]["name"].choice({FORMAT_NAME: FORMAT_NAME})
    try:
        records = subaccounts_of_recording(root.value)  # type: ignore[arg-type]
    except (KeyError, TypeError, AttributeError, ArithmeticError) as damage:
        raise InputError(
            root.path, type(damage).__name__, f"recorded accounts in whole; missing or wrong: {damage}"
        ) from None
    except ValueError as damage:
        raise InputError(root.path, type(damage).__name__, f"recorded accounts; {damage}") from None
    return AccountFile(tuple(record.subaccount for record in records))


# -- accounts of one's own


def own_file(root: Field, folder: Path, markets: str | Path | None) -> AccountFile:
    """Read accounts as people write them down."""
    known_keys(root, ("chain", "prices", "accounts"))
    named = root["chain"]
    if named.value is None:
        if markets is None:
            raise named.refusal("the name of a sample (v9) or of a markets file; or give --markets")
        chain = markets_chain(Path(markets))
    else:
        refuse_markets(markets, f"{root.path} names its chain")
        name = named.text().value
        chain = Chain.sample(name) if name in SAMPLES else markets_chain(folder / name)
    if root["prices"].value is not None:
        for ticker, price in root["prices"].items():
            market = known_market(price, ticker, chain)
            try:
                market.set_oracle_price(price.value)  # type: ignore[arg-type] # it checks the type
            except InputError as refused:
                raise price.refusal(refused.allowed) from None
    accounts: dict[tuple[str, int], Subaccount] = {}
    for entry in root["accounts"].each():
        account = own_account(entry, chain)
        if accounts.setdefault((account.address, account.number), account) is not account:
            raise entry.refusal("each address and number once")
    return AccountFile(tuple(accounts.values()))


def known_keys(place: Field, keys: tuple[str, ...]) -> None:
    """Refuse a key that means nothing here: it would be a figure that does not count."""
    for key, value in place.items():
        if key not in keys:
            raise InputError(value.path, value.value, f"no such key; known are {', '.join(keys)}")


def own_account(entry: Field, chain: Chain) -> Subaccount:
    """Read one account."""
    known_keys(entry, ("address", "number", "usdc", "positions", "leverage"))
    positions = []
    held = entry["positions"]
    for ticker, value in held.items() if held.value is not None else ():
        market = known_market(value, ticker, chain)
        fields = {"size": value}
        if isinstance(value.value, Mapping):
            known_keys(value, POSITION_KEYS)
            fields = {key: value[key] for key in POSITION_KEYS if value[key].value is not None}
            fields |= {
                key: Field(fields[key].path, fields[key].integer().value)
                for key in INTEGER_KEYS
                if key in fields
            }
        if "size" not in fields:
            raise value["size"].refusal("signed coins")
        size = fields["size"].amount(-market.atomic_resolution).value
        if size or "quote_balance" in fields:
            positions.append(position_of(value, market, fields))
    leverage = {}
    chosen = entry["leverage"]
    for ticker, ppm in chosen.items() if chosen.value is not None else ():
        leverage[known_market(ppm, ticker, chain).ticker] = ppm.integer().value
    number = entry["number"].integer(default=0).value
    usdc = entry["usdc"].value
    return built_account(
        entry,
        chain,
        address=entry["address"].text().value,
        number=number,
        usdc=0 if usdc is None else usdc,
        positions=positions,
        leverage=leverage,
    )
