"""Settings: where they come from, and that a wrong one never starts anything (D2)."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from dydx_perf.errors import ConfigError
from dydx_perf.service.config import NETWORKS, from_document, load, pairs

ADDRESS = "dydx18p7nz5rqezkyscdz9pv9rchnsesjyjjyfe92t3"


def test_the_defaults_are_mainnet_on_loopback() -> None:
    config = load()
    assert (config.network, config.api.host) == ("mainnet", "127.0.0.1")
    assert (config.websocket, config.rest) == NETWORKS["mainnet"]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_has_addresses(network: str) -> None:
    config = from_document({"network": network})
    assert config.websocket.startswith(("ws://", "wss://"))
    assert config.rest.startswith(("http://", "https://"))


def test_own_addresses_count_before_the_networks() -> None:
    config = from_document(
        {"network": "own", "indexer": {"websocket": "ws://a:1/v4/ws", "rest": "http://a:1/v4/"}}
    )
    assert (config.websocket, config.rest) == ("ws://a:1/v4/ws", "http://a:1/v4")


def test_a_flag_counts_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "service.toml"
    file.write_text(
        f'network = "testnet"\naccounts = ["{ADDRESS}/0"]\n[api]\nport = 1\n[limits]\nstreams = 3\n'
        "[liveness]\nrest_timeout = 2\n"
    )
    environment = {"DYDX_PERF_API_PORT": "2", "DYDX_PERF_LIMITS_STREAMS": "4", "DYDX_PERF_PURE": "1"}
    config = load(file, environment=environment, flags={"api.port": "3"})
    assert (config.network, config.api.port, config.limits.streams) == ("testnet", 3, 4)
    assert config.liveness.rest_timeout == 2.0
    assert config.accounts == (f"{ADDRESS}/0",)


def test_the_environment_has_lists_and_words() -> None:
    environment = {
        "DYDX_PERF_ACCOUNTS": f"{ADDRESS}/0, {ADDRESS}/128",
        "DYDX_PERF_NODE_TLS": "no",
        "DYDX_PERF_API_ALLOW_REMOTE": "true",
        "DYDX_PERF_API_HOST": "0.0.0.0",
    }
    config = load(environment=environment)
    assert config.accounts == (f"{ADDRESS}/0", f"{ADDRESS}/128")
    assert (config.node.tls, config.api.host) == (False, "0.0.0.0")


WRONG: list[tuple[dict[str, Any], str, object, str]] = [
    ({"api": {"port": "x"}}, "api.port", "x", "whole number"),
    ({"api": {"port": 70_000}}, "api.port", 70_000, "65535"),
    ({"api": {"port": True}}, "api.port", True, "whole number"),
    ({"api": {"prt": 1}}, "api.prt", 1, "not known"),
    ({"apii": {}}, "apii", {}, "not known"),
    ({"api": 5}, "api", 5, "table"),
    ({"network": "moon"}, "network", "moon", "mainnet, testnet, local, own"),
    ({"indexer": {"transport": "curl"}}, "indexer.transport", "curl", "picows"),
    ({"log_level": 3}, "log_level", 3, "text"),
    ({"accounts": "a"}, "accounts", "a", "list"),
    ({"accounts": [1]}, "accounts[0]", 1, "text"),
    ({"accounts": ["nobody"]}, "accounts[0]", "nobody", "address"),
    ({"accounts": [f"{ADDRESS}/128000"]}, "accounts[0]", f"{ADDRESS}/128000", "127999"),
    ({"accounts": [f"{ADDRESS}/0", ADDRESS]}, "accounts[1]", ADDRESS, "once"),
    ({"parents": [f"{ADDRESS}/128"]}, "parents[0]", f"{ADDRESS}/128", "127"),
    ({"order_books": ["eth usd"]}, "order_books[0]", "eth usd", "ticker"),
    ({"network": "own"}, "indexer.websocket", "", "own"),
    ({"indexer": {"websocket": "http://a"}}, "indexer.websocket", "http://a", "ws://"),
    ({"indexer": {"rest": "ftp://a"}}, "indexer.rest", "ftp://a", "http://"),
    ({"indexer": {"rest": "http://a:x"}}, "indexer.rest", "http://a:x", "http://"),
    ({"node": {"grpc": "https://a"}}, "node.grpc", "https://a", "host:port"),
    ({"node": {"height_every": 0}}, "node.height_every", 0, "above 0"),
    ({"node": {"height_every": "2 s"}}, "node.height_every", "2 s", "a number"),
    ({"api": {"host": "0.0.0.0"}}, "api.host", "0.0.0.0", "allow_remote"),
    ({"api": {"host": "example.org"}}, "api.host", "example.org", "allow_remote"),
    ({"liveness": {"settle": 0}}, "liveness.settle", 0, "above 0"),
    ({"liveness": {"first_delay": 9, "longest_delay": 1}}, "liveness.first_delay", 9.0, "longest"),
    ({"limits": {"streams": 0}}, "limits.streams", 0, "1"),
]


@pytest.mark.parametrize(("document", "key", "value", "allowed"), WRONG, ids=[row[1] for row in WRONG])
def test_a_wrong_setting_is_named(document: dict[str, Any], key: str, value: object, allowed: str) -> None:
    """Key, value, and what would be allowed."""
    with pytest.raises(ConfigError) as refused:
        from_document(document)
    assert (refused.value.key, refused.value.value) == (key, value)
    assert allowed in refused.value.allowed
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({"DYDX_PERF_API_POT": "1"}, "DYDX_PERF_API_POT"),
        ({"DYDX_PERF_API_PORT": "many"}, "api.port"),
        ({"DYDX_PERF_NODE_TLS": "perhaps"}, "node.tls"),
        ({"DYDX_PERF_LIVENESS_SETTLE": "soon"}, "liveness.settle"),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(environment=environment)
    assert refused.value.key == key


def test_a_flag_that_is_no_setting_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        load(flags={"api.prt": "1"})
    assert refused.value.key == "api.prt"


@pytest.mark.parametrize("content", [None, b"api = [", b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "service.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert refused.value.key == "config"


def test_an_account_without_a_number_is_number_0() -> None:
    assert pairs("accounts", [ADDRESS, f"{ADDRESS}/3"]) == [(ADDRESS, 0), (ADDRESS, 3)]


PAGE = Path(__file__).resolve().parents[2] / "docs" / "service.md"

if PAGE.exists():

    def test_the_settings_that_the_page_shows_are_the_defaults(tmp_path: Path) -> None:
        """But for what it names as an example."""
        shown = PAGE.read_text("utf-8").partition("```toml\n")[2].partition("```")[0]
        file = tmp_path / "service.toml"
        file.write_text(shown.replace("dydx1…", ADDRESS), "utf-8")
        config = load(file)
        assert config == load(
            flags={
                "accounts": [f"{ADDRESS}/0"],
                "parents": [f"{ADDRESS}/0"],
                "order_books": ["BTC-USD"],
            }
        )
