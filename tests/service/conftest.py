"""Tests of the service: collected where the service extra is installed."""

from importlib.util import find_spec

NEEDED = ("aiohttp", "msgspec", "picows", "prometheus_client", "rich", "typer")
collect_ignore_glob = [] if all(find_spec(name) for name in NEEDED) else ["test_*.py"]
if find_spec("grpc") is None:
    collect_ignore_glob += [
        "test_replay_node.py",
        "test_node.py",
        "test_chain_feed.py",
        "test_chain_api.py",
        "test_proof.py",
    ]
