"""Settings of the service: a TOML file, then the environment, then flags; nothing starts on a wrong one.

A key that is not known, a value of another type and one out of range are refused with a `ConfigError` that
names the key as it stands in the file, whatever the source was.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from dydx_perf.errors import ConfigError

__all__ = [
    "NETWORKS",
    "Api",
    "Config",
    "Indexer",
    "Limits",
    "Liveness",
    "Network",
    "Node",
    "Record",
    "WholeChain",
    "from_document",
    "load",
    "pairs",
]

ENVIRONMENT = "DYDX_PERF_"

Network = Literal["mainnet", "testnet", "local", "own"]
Transport = Literal["auto", "picows", "aiohttp"]
LogLevel = Literal["debug", "info", "warning", "error"]
Count = Annotated[int, Meta(ge=1, le=100_000_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Port = Annotated[int, Meta(ge=0, le=65_535)]

#: where a network's indexer is
NETWORKS: dict[str, tuple[str, str]] = {
    "mainnet": ("wss://indexer.dydx.trade/v4/ws", "https://indexer.dydx.trade/v4"),
    "testnet": ("wss://indexer.v4testnet.dydx.exchange/v4/ws", "https://indexer.v4testnet.dydx.exchange/v4"),
    "local": ("ws://localhost:3003/v4/ws", "http://localhost:3002/v4"),
}

ADDRESS = re.compile(r"[a-z]{2,20}1[02-9ac-hj-np-z]{6,90}")
HOST_AND_PORT = re.compile(r"[^\s/:]+:[0-9]{1,5}|\[[0-9a-fA-F:]+\]:[0-9]{1,5}")
TICKER = re.compile(r"[A-Z0-9.,_$-]{1,64}")
SUBACCOUNTS = 128_000
#: how msgspec calls a type, and how the file's author does
WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
PARENTS = 128


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of the file."""


class Indexer(Section, frozen=True):
    """Where the indexer is; empty: the network's own."""

    websocket: str = ""
    rest: str = ""
    transport: Transport = "auto"
    batched: bool = True


class Node(Section, frozen=True):
    """A full node for unary queries; empty: none, and every figure is an estimate.

    Attributes
    ----------
    height_every : float
        Seconds between questions for its height alone: what the indexer lags behind is seen within them.
    """

    grpc: str = ""
    tls: bool = True
    timeout: Seconds = 5.0
    height_every: Seconds = 2.0


class WholeChain(Section, frozen=True):
    """Every account of the chain, from a node; see `dydx_perf.service.chain_feed.ChainSettings`.

    Attributes
    ----------
    node : str
        ``host:port``; empty: that of [node].
    max_subaccounts, max_positions : int
        Room; 0: as the node's first page lets expect.
    """

    enabled: bool = False
    node: str = ""
    tls: bool = True
    timeout: Seconds = 10.0
    max_subaccounts: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    max_positions: Annotated[int, Meta(ge=0, le=100_000_000)] = 0
    stream: bool = True
    every: Seconds = 60.0
    accounts_per_stream: Annotated[int, Meta(ge=1, le=150_000)] = 50_000


class Api(Section, frozen=True):
    """Where the service answers. Another host than loopback needs `allow_remote`."""

    host: str = "127.0.0.1"
    port: Port = 8600
    allow_remote: bool = False


class Limits(Section, frozen=True):
    """Budgets that are taken once, and what is asked of others."""

    max_subaccounts: Count = 4_096
    max_positions: Count = 65_536
    max_frame_bytes: Annotated[int, Meta(ge=65_536, le=268_435_456)] = 16 * 1024 * 1024
    max_answer_bytes: Annotated[int, Meta(ge=65_536, le=268_435_456)] = 16 * 1024 * 1024
    rest_share: Annotated[float, Meta(gt=0, le=1)] = 0.8
    rest_concurrency: Annotated[int, Meta(ge=1, le=64)] = 4
    rest_waiting: Count = 1_024
    streams: Annotated[int, Meta(ge=1, le=10_000)] = 64
    stream_queue: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_024


class Liveness(Section, frozen=True):
    """How long silence is borne, in seconds, and how long is waited before trying again.

    What the sessions wait for is described with `dydx_perf.feeds.deadlines.Deadlines`.

    Attributes
    ----------
    confirm_snapshots : bool
        Whether an account is "unknown" after each snapshot until REST or a node agrees.
    """

    settle: Seconds = 2.0
    answer: Seconds = 10.0
    silence: Seconds = 40.0
    pulse: Seconds = 10.0
    halt: Seconds = 15.0
    oracle_silence: Seconds = 15.0
    oracle_age: Seconds = 600.0
    confirm_snapshots: bool = True
    verify_after: Seconds = 2.0
    reconcile_every: Seconds = 60.0
    connect_timeout: Seconds = 10.0
    rest_timeout: Seconds = 5.0
    first_delay: Seconds = 0.5
    longest_delay: Seconds = 30.0
    attempts: Annotated[int, Meta(ge=1, le=20)] = 4


class Record(Section, frozen=True):
    """A file that everything received is appended to; empty: nothing is recorded."""

    file: str = ""
    queue: Count = 65_536


class Config(Section, frozen=True):
    """All settings, each with its default.

    Attributes
    ----------
    accounts, parents : tuple of str
        ``address/number``.
    order_books : tuple of str
        Tickers.
    """

    network: Network = "mainnet"
    accounts: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    order_books: tuple[str, ...] = ()
    log_level: LogLevel = "info"
    indexer: Indexer = Indexer()
    node: Node = Node()
    whole_chain: WholeChain = WholeChain()
    api: Api = Api()
    limits: Limits = Limits()
    liveness: Liveness = Liveness()
    record: Record = Record()

    @property
    def watches_indexer(self) -> bool:
        """Whether the indexer is connected to: not where the whole chain is all that is asked for."""
        return bool(self.accounts or self.parents or self.order_books) or not self.whole_chain.enabled

    @property
    def chain_node(self) -> Node:
        """Where the whole chain comes from."""
        whole = self.whole_chain
        if not whole.node:
            return self.node
        return Node(grpc=whole.node, tls=whole.tls, timeout=whole.timeout)

    @property
    def websocket(self) -> str:
        """Address of the indexer's WebSocket."""
        return self.indexer.websocket or NETWORKS[self.network][0]

    @property
    def rest(self) -> str:
        """Base address of the indexer's REST interface."""
        return (self.indexer.rest or NETWORKS[self.network][1]).rstrip("/")


def load(
    path: str | os.PathLike[str] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """Read the settings; a flag counts before the environment, and that before the file.

    Parameters
    ----------
    path : path, optional
        A TOML file.
    environment : mapping of str to str, optional
        Variables like ``DYDX_PERF_API_PORT``; others are not looked at, but one that begins like a section
        and names no key of it is refused. Lists have commas.
    flags : mapping of str to object, optional
        By key, like ``api.port``. Texts are read as in the environment.

    Raises
    ------
    ConfigError
    """
    document = _read(path)
    keys = dict(_keys(Config))
    names = {ENVIRONMENT + key.replace(".", "_").upper(): key for key in keys}
    sections = tuple(f"{ENVIRONMENT}{key.partition('.')[0].upper()}_" for key in keys if "." in key)
    for name, text in sorted((environment or {}).items()):
        if name in names:
            _put(document, names[name], _value(names[name], text, keys))
        elif name.startswith(sections):
            raise ConfigError(name, text, "a variable that names a setting, like DYDX_PERF_API_PORT")
    for key, value in (flags or {}).items():
        if key not in keys:
            raise ConfigError(key, value, "a key of the settings, like api.port")
        _put(document, key, _value(key, value, keys) if isinstance(value, str) else value)
    return from_document(document)


def from_document(document: Mapping[str, Any]) -> Config:
    """Check a document as TOML gives it, whole.

    Raises
    ------
    ConfigError
    """
    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise _refusal(document, str(error)) from None
    _check(config)
    return config


def pairs(key: str, names: Sequence[str], numbers: int = SUBACCOUNTS) -> list[tuple[str, int]]:
    """Read ``address/number`` of each; a name that comes twice is refused.

    Raises
    ------
    ConfigError
    """
    read: list[tuple[str, int]] = []
    for place, name in enumerate(names):
        address, _, number = name.partition("/")
        number = number or "0"
        allowed = f"an address and a number from 0 to {numbers - 1}, like dydx1…/0, once"
        if not ADDRESS.fullmatch(address) or not re.fullmatch(r"[0-9]{1,6}", number):
            raise ConfigError(f"{key}[{place}]", name, allowed)
        pair = address, int(number)
        if pair[1] >= numbers or pair in read:
            raise ConfigError(f"{key}[{place}]", name, allowed)
        read.append(pair)
    return read


def _check(config: Config) -> None:
    """Refuse what no type can."""
    pairs("accounts", config.accounts)
    pairs("parents", config.parents, PARENTS)
    for place, ticker in enumerate(config.order_books):
        if not TICKER.fullmatch(ticker) or ticker in config.order_books[:place]:
            raise ConfigError(f"order_books[{place}]", ticker, "a ticker like BTC-USD, once")
    for key, address, schemes in (
        ("indexer.websocket", config.indexer.websocket, ("ws", "wss")),
        ("indexer.rest", config.indexer.rest, ("http", "https")),
    ):
        if not address:
            if config.network == "own":
                raise ConfigError(key, address, 'an address: the network is "own"')
        elif not _is_url(address, schemes):
            raise ConfigError(key, address, f"an address that begins with {schemes[0]}:// or {schemes[1]}://")
    for key, node in (("node.grpc", config.node.grpc), ("whole_chain.node", config.whole_chain.node)):
        if node and not HOST_AND_PORT.fullmatch(node):
            raise ConfigError(key, node, "host:port")
    if config.whole_chain.enabled and not config.chain_node.grpc:
        raise ConfigError("whole_chain.node", "", "host:port: it is enabled, and [node] has none either")
    if not _is_loopback(config.api.host) and not config.api.allow_remote:
        raise ConfigError("api.host", config.api.host, "a loopback host, or any with api.allow_remote = true")
    if config.liveness.first_delay > config.liveness.longest_delay:
        raise ConfigError(
            "liveness.first_delay", config.liveness.first_delay, "at most liveness.longest_delay"
        )


def _is_url(address: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: str | os.PathLike[str] | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError("config", os.fspath(path), f"a file that can be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("config", os.fspath(path), f"a file in TOML ({error})") from None


def _keys(section: type[msgspec.Struct], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each key with its type."""
    for field in msgspec.structs.fields(section):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from _keys(field.type, f"{before}{field.encode_name}.")
        else:
            yield before + field.encode_name, field.type


def _put(document: dict[str, Any], key: str, value: object) -> None:
    *sections, name = key.split(".")
    for section in sections:
        table = document.setdefault(section, {})
        if not isinstance(table, dict):
            raise ConfigError(section, table, "a table")
        document = table
    document[name] = value


def _value(key: str, text: str, keys: Mapping[str, Any]) -> object:
    """Read a text as the key's type wants it."""
    kind = keys[key]
    if kind is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if text.lower() not in words:
            raise ConfigError(key, text, "true or false")
        return words[text.lower()]
    bare = get_args(kind)[0] if hasattr(kind, "__metadata__") else kind
    if bare in (int, float):
        try:
            return bare(text)
        except ValueError:
            raise ConfigError(key, text, "a number" if bare is float else "a whole number") from None
    if getattr(bare, "__origin__", None) is tuple:
        return [word.strip() for word in text.split(",") if word.strip()]
    return text


def _refusal(document: Mapping[str, Any], message: str) -> ConfigError:
    """Say which key it is; msgspec gives its path in the message."""
    reason, _, path = message.partition(" - at `$")
    key = path.rstrip("`").lstrip(".")
    unknown = re.search(r"unknown field `(.*)`", reason)
    if unknown:
        key = f"{key}.{unknown[1]}".lstrip(".")
        return ConfigError(key, _at(document, key), "a key of the settings; this one is not known")
    wanted = reason.removeprefix("Expected ").partition(", got")[0].replace("`", "")
    kind, _, bound = wanted.partition(" ")
    allowed = f"{WORDS.get(kind, kind)} {bound}".strip().replace("> 0.0", "above 0")
    if choice := re.search(r"Invalid enum value", reason):
        names = {"network": Network, "indexer.transport": Transport, "log_level": LogLevel}
        allowed = ", ".join(get_args(names[key])) if key in names else choice[0]
    return ConfigError(key, _at(document, key), allowed)


def _at(document: Mapping[str, Any], key: str) -> object:
    """Return what stands at a key like ``api.port`` or ``accounts[0]``."""
    value: Any = document
    for step in re.findall(r"[^.\[\]]+", key):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (LookupError, ValueError, TypeError):
            return None
    return value
