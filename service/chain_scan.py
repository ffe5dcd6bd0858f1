"""`dydx-perf scan --node`: every account of a chain, from a node, on the screen or as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dydx_perf.errors import ConfigError
from dydx_perf.service.answers import encode
from dydx_perf.service.chain_answers import AtRiskAnswer, at_risk_answer
from dydx_perf.service.chain_feed import ChainFeed, ChainSettings
from dydx_perf.service.config import Node
from dydx_perf.service.node import node_queries

__all__ = ["NodeScan", "node_of", "scan_node"]

PORT, TLS_PORT = 9090, 443
LINE_EVERY = 2.0  # seconds, where nothing can be drawn anew
SHOW_EVERY = 1.0
COLOURS = {"safe": "green", "liquidatable": "bold red", "unknown": "yellow"}


@dataclass(frozen=True, slots=True)
class NodeScan:
    """What is asked of a scan.

    Attributes
    ----------
    top : int
        Accounts to list.
    json, follow : bool
    """

    node: Node
    settings: ChainSettings
    top: int = 20
    json: bool = False
    follow: bool = False


def node_of(given: str, tls: bool | None, timeout: float) -> Node:
    """Read HOST[:PORT]; without a port it is 9090, and TLS is used on port 443 only, unless said otherwise.

    Raises
    ------
    ConfigError
    """
    found = re.fullmatch(r"([^\s/:]+|\[[0-9a-fA-F:]+\])(?::([0-9]{1,5}))?", given)
    port = int(found[2] or PORT) if found else 0
    if found is None or not 0 < port < 65_536:
        raise ConfigError("--node", given, "HOST or HOST:PORT")
    return Node(grpc=f"{found[1]}:{port}", tls=port == TLS_PORT if tls is None else tls, timeout=timeout)


async def scan_node(asked: NodeScan) -> None:
    """Read all accounts, show them, and follow the chain where that is asked for."""
    err = Console(stderr=True)
    async with node_queries(asked.node, lambda *_: None) as queries:
        with progress(err) as shown:
            feed = ChainFeed(queries, asked.settings, lambda: shown.page(feed))
            await feed.load()
        began = feed.now
        answer = answered(feed, asked.top)
        if not asked.follow:
            tell(asked, answer)
            return
        tell(asked, answer)
        print(f"following {asked.node.grpc}; Ctrl-C ends it", file=sys.stderr, flush=True)
        async with kept(feed):
            await follow(asked, feed, began)


def answered(feed: ChainFeed, top: int) -> AtRiskAnswer:
    """Return what is known now."""
    return at_risk_answer(feed.followed, feed.standing(), top)


@contextlib.asynccontextmanager
async def kept(feed: ChainFeed) -> AsyncIterator[None]:
    """Keep a chain current while the block lasts; what ends that is raised."""
    body = asyncio.current_task()
    assert body is not None
    keeping = asyncio.create_task(feed.keep())
    keeping.add_done_callback(lambda done: None if done.cancelled() else body.cancel())
    try:
        yield
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


async def follow(asked: NodeScan, feed: ChainFeed, began: float) -> None:
    """Show the chain again whenever it went on, at most once a second."""
    console = Console()
    last: tuple[int | None, bool] = (None, False)
    with (
        Live(console=console, auto_refresh=False) if console.is_terminal else contextlib.nullcontext() as live
    ):
        while True:
            await asyncio.sleep(SHOW_EVERY)
            answer = answered(feed, asked.top)
            now = answer.height, bool(answer.doubts)
            if live is not None and not asked.json:
                live.update(drawn(answer), refresh=True)
            elif now != last:
                tell(asked, answer, brief=True)
            last = now


def tell(asked: NodeScan, answer: AtRiskAnswer, brief: bool = False) -> None:
    """Print an answer: as JSON on one line, as a table, or as one line of text."""
    if asked.json:
        sys.stdout.write(encode(answer).decode() + "\n")
        sys.stdout.flush()
    elif brief:
        print("; ".join(lines(answer)), flush=True)
    else:
        console = Console()
        (console if console.is_terminal else Console(width=150)).print(drawn(answer), highlight=False)


def lines(answer: AtRiskAnswer) -> Iterator[str]:
    """Yield what all accounts come to."""
    low, high = answer.first_page_height, answer.last_page_height
    pages = (
        "the node tells no block"
        if low is None
        else f"pages of blocks {low} to {high}"
        if low != high
        else "all pages of one block"
    )
    yield (
        f"{answer.subaccounts:,} accounts with {answer.positions:,} positions at block "
        f"{answer.height or '-'} ({pages}), {answer.basis}, {answer.age or 0:.1f} s old"
    )
    if answer.liquidatable is None:
        yield f"unknown: {', '.join(doubt.text for doubt in answer.doubts)}"
    else:
        worth, owed = (float(one or 0) for one in (answer.liquidatable_notional, answer.owed))
        yield (
            f"{answer.liquidatable:,} liquidatable with positions worth {worth:,.2f} USDC, "
            f"{owed:,.2f} USDC owed beyond collateral"
        )
    if answer.accounts_in_doubt:
        yield f"{answer.accounts_in_doubt:,} accounts in doubt"


def drawn(answer: AtRiskAnswer) -> RenderableType:
    """Return an answer as a table under its lines."""
    table = Table(expand=False)
    for name in ("account", "verdict"):
        table.add_column(name, no_wrap=True)
    for name in ("net collateral", "maint. margin", "distance", "positions", "worth"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in answer.accounts:
        table.add_row(
            f"{row.address}/{row.number}",
            Text(row.verdict, COLOURS[row.verdict]),
            *(f"{float(one):,.2f}" for one in (row.net_collateral, row.maintenance_margin_requirement)),
            f"{float(row.distance):+,.2f}",
            str(row.positions),
            f"{float(row.notional):,.2f}",
        )
    return Group(*(Text(line) for line in lines(answer)), table)


# ---- progress


class Shown:
    """Progress of the pages, on stderr: a bar on a terminal, else a line every two seconds."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task: TaskID | None = None if bar is None else bar.add_task("", total=None, note="markets")
        self._next = time.monotonic() + LINE_EVERY

    def page(self, feed: ChainFeed) -> None:
        """Show how far it is."""
        if feed.followed is None:
            note, done, total = feed.trouble or "markets", 0, None
        else:
            whole = feed.whole
            walk = whole.running or whole.done
            assert walk is not None
            took = max(feed.now - walk.began_at, 1e-9)
            done, total = walk.accounts, walk.total or None
            note = feed.trouble or f"{walk.pages / took:,.0f} pages/s, {walk.bytes / took / 1e6:,.1f} MB/s"
            if total and self._bar is None and done:
                note += f", {took * (total - done) / done:,.0f} s to go"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
        elif time.monotonic() >= self._next or feed.trouble:
            self._next = time.monotonic() + LINE_EVERY
            of = f" of {total:,}" if total else ""
            print(f"{done:,}{of} accounts: {note}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress(console: Console) -> Iterator[Shown]:
    """Show progress while the block lasts."""
    if not console.is_terminal:
        yield Shown(None)
        return
    columns = (
        TextColumn("{task.completed:,.0f} accounts"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield Shown(bar)
