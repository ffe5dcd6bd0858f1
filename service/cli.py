"""The verbs that need the service extra: serve, record, watch, replay, scan of a node.

Each stops on Ctrl-C or SIGTERM after it has closed what it opened. Exit status: 0 when it did what was asked,
1 when it could not, 2 for settings that are wrong, 70 for a defect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from rich.console import Console

import dydx_perf
from dydx_perf.errors import ConfigError, DydxPerfError, FeedError
from dydx_perf.feeds.trust import WatchedRisk
from dydx_perf.recording import RecordingReader
from dydx_perf.service import app, offline
from dydx_perf.service.chain_feed import ChainSettings
from dydx_perf.service.chain_scan import NodeScan, node_of, scan_node
from dydx_perf.service.config import Config, LogLevel, load
from dydx_perf.service.playback import Playback
from dydx_perf.service.recorder import recorder
from dydx_perf.service.replay import Pace, ReplayServer
from dydx_perf.service.replay import serve as serve_replay
from dydx_perf.service.screen import Screen, shown
from dydx_perf.service.watch import Watch
from dydx_perf.units import quote_quantums_to_usdc

__all__ = ["main"]

DEFECT = 70
COLUMNS = 132  # where the terminal has none
LAST_FRAMES = 0.3  # seconds that the last ones may be on their way
SAMPLE = "crash_of_recorded_accounts.dydxfeed"

cli = typer.Typer(
    name="dydx-perf",
    help="Exact dYdX v4 risk of live accounts.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="TOML file of settings.")]
Network = Annotated[str | None, typer.Option(help="mainnet, testnet, local or own.")]
Accounts = Annotated[
    list[str] | None, typer.Option("--account", "-a", help="address/number; may be repeated.")
]
Parents = Annotated[
    list[str] | None, typer.Option("--parent", help="address/number of a parent; repeatable.")
]
Books = Annotated[list[str] | None, typer.Option("--order-book", help="Ticker, like BTC-USD; repeatable.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting: --set api.port=8700; may be repeated.")
]
Port = Annotated[int | None, typer.Option(help="Where to answer; 0: any port that is free.")]


def settings(
    config: Path | None,
    network: str | None,
    accounts: list[str] | None,
    parents: list[str] | None,
    books: list[str] | None,
    sets: list[str] | None,
    **more: object,
) -> Config:
    """Put the file, the environment and the flags together."""
    flags: dict[str, object] = {
        "network": network,
        "accounts": accounts,
        "parents": parents,
        "order_books": books,
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    given = {key: value for key, value in flags.items() if value not in (None, [], ())}
    for one in sets or ():
        key, found, text = one.partition("=")
        if not found:
            raise ConfigError("--set", one, "KEY=VALUE, like api.port=8700")
        given[key.strip()] = text.strip()
    return load(config, environment=os.environ, flags=given)


@cli.command()
def serve(
    config: ConfigFile = None,
    network: Network = None,
    account: Accounts = None,
    parent: Parents = None,
    order_book: Books = None,
    port: Port = None,
    set_: Settings = None,
) -> None:
    """Watch accounts, and answer over HTTP what their risk is."""
    chosen = settings(config, network, account, parent, order_book, set_, api__port=port)
    _log(chosen)
    _run(_serve(chosen))


@cli.command()
def record(
    file: Annotated[Path, typer.Argument(help="Recording to begin, or to go on with.")],
    config: ConfigFile = None,
    network: Network = None,
    account: Accounts = None,
    parent: Parents = None,
    order_book: Books = None,
    set_: Settings = None,
) -> None:
    """Write everything that comes in to a file, with its time."""
    chosen = settings(config, network, account, parent, order_book, set_, record__file=str(file))
    _log(chosen)
    _run(_record(chosen))


@cli.command()
def watch(
    config: ConfigFile = None,
    network: Network = None,
    account: Accounts = None,
    parent: Parents = None,
    order_book: Books = None,
    set_: Settings = None,
    recording: Annotated[
        str | None,
        typer.Option(help='Play a recording instead of a live feed; "sample": the one that ships.'),
    ] = None,
    speed: Annotated[float, typer.Option(min=0.001, max=10_000, help="Times the recorded pace.")] = 1.0,
) -> None:
    """Show the risk of accounts on the screen as it moves."""
    chosen = settings(config, network, account, parent, order_book, set_)
    if recording is None:
        _log(chosen)
        _run(_watch(chosen))
        return
    with contextlib.ExitStack() as stack:
        path = Path(recording)
        if recording == "sample":
            path = stack.enter_context(as_file(files("dydx_perf.data") / SAMPLE))
        _log(chosen, "error")
        _run(_watch_recording(chosen, _playback(path), speed))


@cli.command()
def scan(
    node: Annotated[str, typer.Option(help="HOST[:PORT] of a full node's gRPC; 9090 without a port.")],
    top: Annotated[int, typer.Option(min=0, max=100_000, help="List so many of the riskiest.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="JSON, one line an answer.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with the chain until Ctrl-C.")] = False,
    stream: Annotated[
        bool,
        typer.Option("--stream/--no-stream", help="Follow the node's stream, or ask all again and again."),
    ] = True,
    every: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds between two passes.")] = 60.0,
    tls: Annotated[bool | None, typer.Option("--tls/--no-tls", help="By default on port 443 only.")] = None,
    max_subaccounts: Annotated[
        int | None, typer.Option(min=1, help="Room; by default a quarter more than the node counts.")
    ] = None,
    max_positions: Annotated[
        int | None, typer.Option(min=1, help="Room; by default by the first page.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=3_600, help="Seconds for one query.")] = 10.0,
    patience: Annotated[
        float, typer.Option(min=0, help="Give up after so many seconds without an answer.")
    ] = 60.0,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "error",
) -> None:
    """Read every account of the chain from a node, and list who is at risk.

    `dydx-perf scan FILE` does it for accounts of a file, without a node.
    """
    settings = ChainSettings(
        max_subaccounts=max_subaccounts,
        max_positions=max_positions,
        stream=stream,
        every=every,
        patience=patience,
    )
    asked = NodeScan(node_of(node, tls, timeout), settings, top, json, follow)
    if log_level not in get_args(LogLevel):
        raise ConfigError("--log-level", log_level, ", ".join(get_args(LogLevel)))
    _log(Config(), log_level)
    _run(scan_node(asked))


@cli.command()
def replay(
    file: Annotated[str, typer.Argument(help='Recording; "sample": the one that ships.')],
    serve: Annotated[bool, typer.Option("--serve", help="Answer as the venue did, on loopback.")] = False,
    speed: Annotated[float, typer.Option(min=0.001, max=10_000, help="Times the recorded pace.")] = 1.0,
    unpaced: Annotated[bool, typer.Option("--unpaced", help="As fast as the clients read.")] = False,
    stepwise: Annotated[bool, typer.Option("--stepwise", help="Only on POST /replay/step?items=N.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any port that is free.")] = 8_601,
    node_port: Annotated[int, typer.Option(min=0, max=65_535, help="Of gRPC.")] = 8_602,
) -> None:
    """Run a recording through sessions and print where it ends, or play it back as the venue.

    Without --serve nothing is opened: as fast as it goes, without a socket. With it a WebSocket, REST and
    gRPC answer on loopback as the venue did.
    """
    if unpaced and stepwise:
        raise ConfigError("--stepwise", True, "one of --unpaced and --stepwise")
    with contextlib.ExitStack() as stack:
        path = Path(file)
        if file == "sample":
            path = stack.enter_context(as_file(files("dydx_perf.data") / SAMPLE))
        playback = _playback(path)
        _describe(path, playback)
        if not serve:
            _print_outcome(path)
        else:
            pace: Pace = "unpaced" if unpaced else "stepwise" if stepwise else "recorded"
            _run(_replay(playback, pace, speed, port, node_port))


# ---- what they do


async def _serve(config: Config) -> None:
    with recorder(config.record.file, config.record.queue, lambda: _about(config)) as record:
        watched = Watch(config, record)
        async with app.serve(watched, config.api) as address:
            print(f"answering at {address}", flush=True)
            await watched.run()


async def _record(config: Config) -> None:
    with recorder(config.record.file, config.record.queue, lambda: _about(config)) as record:
        print(f"recording {config.websocket} into {config.record.file}; Ctrl-C ends it", flush=True)
        try:
            await Watch(config, record).run()
        finally:
            if record is not None:
                print(f"{record.frames:,} frames recorded, {record.left_out:,} left out", flush=True)


async def _watch(config: Config) -> None:
    watched = Watch(config)
    async with shown(Screen(watched, config.websocket), _console()):
        await watched.run()


async def _watch_recording(config: Config, playback: Playback, speed: float) -> None:
    """Serve a recording and watch it over the sockets, until it ends."""
    console = _console()
    for name, text in playback.about.items():
        console.print(f"[dim]{name}: {text}[/dim]", highlight=False)
    async with serve_replay(playback, speed=speed) as server:
        watched = Watch(_of_recording(config, playback, server))
        screen = Screen(watched, playback.about.get("title", "a recording"))
        running = asyncio.create_task(watched.run())
        ending = asyncio.create_task(server.finished.wait())
        try:
            async with shown(screen, console):
                await asyncio.wait([running, ending], return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    running.result()
                await asyncio.sleep(LAST_FRAMES)
        finally:
            running.cancel()
            ending.cancel()
            await asyncio.gather(running, ending, return_exceptions=True)
    counts = watched.counts
    print(
        f"{counts.frames:,} frames over a real socket, {screen.crossings} crossings, "
        f"{counts.bad_frames} frames refused"
    )
    if not counts.frames or counts.bad_frames:
        raise FeedError("the recording did not arrive whole")


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=COLUMNS)


async def _replay(playback: Playback, pace: Pace, speed: float, port: int, node_port: int) -> None:
    async with serve_replay(playback, pace=pace, speed=speed, port=port, grpc_port=node_port) as server:
        print(f"websocket {server.websocket}\nrest      {server.rest}", flush=True)
        if server.grpc:
            print(f"grpc      {server.grpc}", flush=True)
        await server.finished.wait()
        print("all of it was played; Ctrl-C ends", flush=True)
        await asyncio.Event().wait()


def _of_recording(config: Config, playback: Playback, server: ReplayServer) -> Config:
    """Return settings that watch what a recording holds, where nothing else is asked for."""
    channels = playback.subscriptions()
    wanted: dict[str, Any] = {
        "accounts": config.accounts or channels.get("v4_subaccounts", ()),
        "parents": config.parents or channels.get("v4_parent_subaccounts", ()),
        "order_books": config.order_books or channels.get("v4_orderbook", ()),
        "network": "own",
        "indexer.websocket": server.websocket,
        "indexer.rest": server.rest,
        "indexer.transport": config.indexer.transport,
    }
    return load(
        flags={key: list(value) if isinstance(value, tuple) else value for key, value in wanted.items()}
    )


def _playback(path: Path) -> Playback:
    try:
        return Playback.of_file(path)
    except OSError as error:
        raise ConfigError("file", str(path), f"a recording that can be read ({error.strerror})") from None


def _describe(path: Path, playback: Playback) -> None:
    items = playback.items
    print(f"{path.name}: {len(items):,} items in {(items[-1].time - items[0].time) / 1e9:.1f} s")
    for name, text in playback.about.items():
        print(f"  {name}: {text}")
    for channel, names in sorted(playback.subscriptions().items()):
        print(f"  {channel}: {', '.join(name for name in names if name) or 'all'}")
    for damage in playback.damage:
        print(f"  damaged: {damage}")


def _print_outcome(path: Path) -> None:
    """Run a recording and print where each account ends."""
    with RecordingReader(path, resynchronise=True) as reader:
        outcome = offline.run(reader)
    print(
        f"run in {outcome.took:.2f} s ({outcome.frames / max(outcome.took, 1e-9):,.0f} frames/s): "
        f"{outcome.frames:,} frames, {outcome.refused:,} refused, {outcome.crossings:,} crossings"
    )
    for risk in outcome.risks:
        print(f"  {risk.address}/{risk.number}: {_figures(risk)}")
    counts = ", ".join(f"{count} {name}" for name, count in outcome.proof.counts.items() if count)
    print(f"  liquidations: {counts or 'none'}")


def _figures(risk: WatchedRisk) -> str:
    why = f" ({', '.join(risk.doubts)})" if risk.doubts else ""
    if risk.risk is None:
        return f"{risk.verdict}{why}"
    equity, distance = (quote_quantums_to_usdc(one) for one in (risk.risk.net_collateral, risk.risk.distance))
    return (
        f"{risk.verdict}{why}, equity {equity:f} USDC, {distance:f} from liquidation, "
        f"{risk.basis} at height {risk.height or '-'}"
    )


def _about(config: Config) -> dict[str, str]:
    return {
        "writer": f"dydx_perf {dydx_perf.__version__}",
        "network": config.network,
        "websocket": config.websocket,
        "rest": config.rest,
    }


# ---- how they run


def _log(config: Config, level: str | None = None) -> None:
    logging.basicConfig(
        level=(level or config.log_level).upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    logging.getLogger("picows").setLevel(logging.ERROR)  # what it warns of is said by the watch


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run until done, or until a signal asks to stop."""
    runner = asyncio.run
    with contextlib.suppress(ImportError):
        import uvloop

        runner = uvloop.run
    runner(_until_stopped(work))


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main(arguments: Sequence[str]) -> int:
    """Run a verb and return its exit status; what is wrong is said in one line."""
    try:
        typer.main.get_command(cli)(list(arguments), prog_name="dydx-perf")
    except SystemExit as end:  # of typer: help, wrong usage, and the end itself
        return end.code if isinstance(end.code, int) else 0
    except Exception as error:  # noqa: BLE001 - nobody is above this but the user
        return _failed(error)
    return 0


def _failed(error: BaseException) -> int:
    """Say what is wrong, and return the exit status."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, DydxPerfError | OSError):
        print(f"dydx-perf: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    logging.getLogger("dydx_perf").debug("a defect", exc_info=error)
    print(
        f"dydx-perf: a defect, please report it: {type(error).__name__}: {error}\n"
        "  (DYDX_PERF_LOG_LEVEL=debug shows where it is)",
        file=sys.stderr,
    )
    return DEFECT
