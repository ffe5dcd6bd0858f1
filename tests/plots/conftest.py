"""Tests of pictures: left uncollected where the `plots` extra is not installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("matplotlib") else ["test_*.py"]
