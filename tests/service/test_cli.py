"""The verbs of the service as people call them: processes, signals, exit statuses, no traceback (D1)."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest
from venue_peers import ACCOUNT, fall, until
from verb_processes import called, line_with, run

from dydx_perf.__main__ import main
from dydx_perf.recording import RecordingReader
from dydx_perf.service.playback import Playback
from dydx_perf.service.replay import serve

VERBS = ("explain", "record", "replay", "scan", "serve", "show", "stress", "verify", "watch")


async def test_help_lists_every_verb() -> None:
    status, out, _ = await run("--help")
    assert status == 0
    assert all(f"    {verb} " in out for verb in VERBS)


@pytest.mark.parametrize("verb", ["serve", "record", "replay", "watch"])
async def test_each_verb_has_help_of_its_own(verb: str) -> None:
    status, out, _ = await run(verb, "--help")
    assert status == 0
    assert "--help" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serve", "--network", "moon"), "network: 'moon' is not allowed: mainnet, testnet, local, own"),
        (("serve", "--set", "api.port"), "KEY=VALUE"),
        (("serve", "--set", "api.prt=1"), "api.prt"),
        (("serve", "--account", "me/0"), "accounts[0]: 'me/0' is not allowed"),
        (("serve", "--config", "/nowhere.toml"), "/nowhere.toml"),
        (("serve", "--set", "api.host=0.0.0.0"), "allow_remote"),
        (("serve", "--port", "x"), "--port"),
        (("serve", "--nothing"), "--nothing"),
        (("replay",), "Missing argument"),
        (("replay", "/nowhere.dydxfeed"), "/nowhere.dydxfeed"),
        (("replay", "sample", "--serve", "--unpaced", "--stepwise"), "--stepwise"),
    ],
)
def test_a_wrong_setting_is_said_and_nothing_starts(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay", __file__), "no recording"),
        (("watch", "--recording", __file__), "no recording"),
        (("record", "/nowhere/a.dydxfeed"), "/nowhere"),
    ],
)
async def test_what_cannot_be_done_is_said_without_a_traceback(arguments: tuple[str, ...], said: str) -> None:
    status, out, err = await run(*arguments)
    assert (status, out) == (1, "")
    assert said in err
    assert "Traceback" not in err


async def test_without_the_extra_one_line_says_which(tmp_path: Path) -> None:
    """A folder in the way of the import stands for a package that is not installed."""
    (tmp_path / "msgspec").mkdir()
    (tmp_path / "msgspec" / "__init__.py").write_text(
        "raise ModuleNotFoundError('no', name='msgspec')\n", "utf-8"
    )
    status, out, err = await run("serve", PYTHONPATH=str(tmp_path))
    assert (status, out) == (2, "")
    assert err == 'dydx-perf serve needs msgspec of the service extra: pip install "dydx-perf[service]"\n'


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_service_starts_answers_and_stops_when_asked(number: signal.Signals) -> None:
    """Exit status 0, nothing on stderr but the log, no traceback."""
    async with serve(Playback.of_frames(fall()), pace="unpaced") as server:
        arguments = ["--network", "own", "--account", f"{ACCOUNT}/0", "--port", "0"]
        arguments += ["--set", f"indexer.websocket={server.websocket}"]
        arguments += ["--set", f"indexer.rest={server.rest}", "--set", "liveness.confirm_snapshots=false"]
        async with called("serve", *arguments) as process, aiohttp.ClientSession() as client:
            base = (await line_with(process.stdout, "answering at")).rpartition(" ")[2]
            async with asyncio.timeout(30.0):
                while True:
                    async with client.get(f"{base}/v1/subaccounts/{ACCOUNT}/0/risk") as response:
                        answer = await response.json()
                    if answer["verdict"] == "safe" and answer["risk"]["net_collateral"] == "460.000000":
                        break
                    await asyncio.sleep(0.05)
            process.send_signal(number)
            out, err = await asyncio.wait_for(process.communicate(), 30.0)
        assert process.returncode == 0
        assert b"Traceback" not in out + err


async def test_a_taken_port_ends_with_status_1() -> None:
    async with serve(Playback.of_frames(fall()), pace="stepwise") as server:
        port = server.rest.rpartition(":")[2].partition("/")[0]
        options = ["--network", "own", "--set", f"indexer.websocket={server.websocket}"]
        options += ["--set", f"indexer.rest={server.rest}"]
        status, _, err = await run("serve", *options, "--port", port)
    assert status == 1
    assert port in err
    assert "Traceback" not in err


async def test_what_is_recorded_can_be_described_and_served(tmp_path: Path) -> None:
    """record, then replay, then replay --serve: the same account is there."""
    path = tmp_path / "a.dydxfeed"
    async with serve(Playback.of_frames(fall()), pace="unpaced") as server:
        options = ["--network", "own", "--account", f"{ACCOUNT}/0"]
        options += ["--set", f"indexer.websocket={server.websocket}"]
        options += ["--set", f"indexer.rest={server.rest}"]
        async with called("record", str(path), *options) as process:
            await line_with(process.stdout, "recording")
            await server.finished.wait()
            await until(lambda: not any(client.waiting for client in server._clients))
            await asyncio.sleep(0.2)
            process.send_signal(signal.SIGTERM)
            out, err = await asyncio.wait_for(process.communicate(), 30.0)
        assert (process.returncode, b"Traceback" in err) == (0, False)
        assert b"frames recorded, 0 left out" in out
    with RecordingReader(path) as reader:
        assert reader.about["network"] == "own"
        assert sum(frame.kind == "received" for frame in reader) == 13
    status, out_text, _ = await run("replay", str(path))
    assert status == 0
    assert f"v4_subaccounts: {ACCOUNT}/0" in out_text
    async with called("replay", str(path), "--serve", "--port", "0", "--node-port", "0") as process:
        address = (await line_with(process.stdout, "websocket ws:")).rpartition(" ")[2]
        async with aiohttp.ClientSession() as client, client.ws_connect(address) as socket:
            assert '"connected"' in (await socket.receive()).data
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 30.0)
    assert process.returncode == 0


async def test_the_sample_is_watched_to_its_end() -> None:
    """What `make run` shows, four times as fast: four crossings, and every frame taken."""
    status, out, err = await run("watch", "--recording", "sample", "--speed", "4")
    assert (status, err) == (0, "")
    assert "made up" in out
    assert out.splitlines()[-1].endswith("frames over a real socket, 4 crossings, 0 frames refused")
    assert "liquidatable" in out


async def test_a_recording_runs_offline_to_its_end() -> None:
    """The one that ships, without a socket: each account's last figures, and what liquidations there were."""
    status, out, err = await run("replay", "sample")
    assert (status, err) == (0, "")
    assert " 0 refused" in out
    assert "liquidations: " in out
    assert "USDC" in out
