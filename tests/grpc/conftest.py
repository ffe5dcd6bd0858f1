"""Tests against v4-proto: left uncollected where the `grpc` extra is not installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("v4_proto") else ["test_*.py"]
