"""Arrows point one way: parse every import and cimport, and fail on one that the design does not allow."""

import ast
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Pure Python, lowest first: a module may import what stands on a lower line, never a neighbour. `dydx_perf`
# alone is the package's face (__init__). `exact` is the independent model, `ext` the kernels: neither knows
# the other.
LINES = [
    {"errors", "screen"},
    {"exact", "ext"},
    {"kernel", "recording_format"},
    {"units", "address", "recording"},
    {"market", "documents"},
    {"parameters"},
    {"chain_sources"},
    {"chain", "position", "liquidation", "book_prices"},
    {"pnl", "order", "movement", "history", "orderbook"},
    {"subaccount"},
    {"parent", "explain", "forecast", "limits", "scenario"},
    {"preview", "explain_text"},
    {"max_order", "rescue", "worst_case"},
    {"observers"},
    {"book_inputs", "book_memory"},
    {"book_accounts"},
    {"book"},
    {"snapshot", "scan", "generated", "messages", "plain_accounts"},
    {"distribution", "ladder", "shocks"},
    {"stress", "next_block"},
    {"deleveraging", "scenario_set", "value_at_risk"},
    {"plots"},
    {"feeds", "protection"},
    {"dydx_perf"},
    {"recorded", "verify", "show_book"},
    {"account_files"},
    {"show", "offline"},
    {"stress_verb"},
    {"service"},
    {"__main__"},
]
RANK = {name: rank for rank, line in enumerate(LINES) for name in line}

# Within dydx_perf.feeds, lowest first, in the same way: bytes and words, what is kept, the sessions.
FEEDS = [
    {"deadlines", "envelope", "events", "rest", "rest_budget", "sources", "subscriptions", "wire"},
    {"account_messages", "book_rows", "book_writer", "records", "replay", "rest_paths", "trust"},
    {"bounds", "connection", "live_proof", "node_queries", "node_stream", "orders", "rest_walk", "trades"},
    {"accounts", "levels", "node_fills", "node_messages"},
    {"markets", "node", "reconcile", "streamed_accounts"},
    {"node_path", "pools", "recorded_answers"},
    {"fullnode", "node_answers", "whole_chain"},
    {"channels", "whole_chain_stream"},
    {"hot_path"},
    {"indexer"},
]
FEED_RANK = {name: rank for rank, line in enumerate(FEEDS) for name in line}

# Doors to the rooms built on a module: a method opens one when it is called, never at import.
DOORS = {
    "book": {"snapshot"},
    "explain": {"explain_text"},
    "subaccount": {"explain", "preview", "max_order", "rescue", "worst_case", "limits"},
}

# The data package is files only; its folder may be named by anybody, and it imports nothing.
RANK["data"] = 0

# Kernels: what each may cimport.
BASE = {"fixed", "structs"}
KERNELS = {
    "fixed": set(),
    "structs": {"fixed"},
    "numtext": {"fixed"},
    "settle": BASE,
    "arith": BASE,
    "funding": BASE | {"arith", "settle"},
    "margin": BASE | {"settle"},
    "pnl": BASE | {"settle", "margin"},
    "liquidation_price": BASE | {"margin"},
    "liquidation": BASE | {"arith", "margin", "liquidation_price"},
    "account": BASE | {"settle", "margin", "liquidation_price"},
    "whatif": BASE | {"arith", "margin", "account"},
    "crossing": {"account"},
    "crossings": {"structs", "account", "crossing"},
    "book_rows": BASE | {"settle", "margin"},
    "book_columns": {"book_rows", "structs"},
    "account_store": {"structs", "fixed", "account", "crossing", "crossings", "book_rows"},
    "book": BASE | {"margin", "account", "account_store", "book_rows", "book_columns", "crossings"},
    "book_image": BASE | {"margin", "book_rows", "book_columns", "book"},
    "ranking": {"structs", "margin", "account_store"},
    "names": {"book_rows"},
    "slices": {"book_rows"},
    "indexed_rows": BASE | {"settle", "margin", "book_rows", "slices"},
    "triggers": {"book_rows", "slices", "indexed_rows"},
    "indexed_memory": BASE
    | {"settle", "account", "account_store", "book_rows", "crossings", "slices", "names", "indexed_rows"},
    "indexed_accounts": BASE
    | {"settle", "book_rows", "slices", "indexed_rows", "triggers", "indexed_memory"},
    "indexed": BASE
    | {"settle", "account", "book_rows", "slices", "indexed_rows", "triggers", "indexed_accounts"},
    "indexed_faults": {"structs", "margin", "book_rows", "slices", "indexed_rows", "indexed"},
    "indexed_image": {"book_rows", "slices", "indexed_rows", "indexed"},
    "exact_scan": {"structs", "columns"},
    "account_scan": BASE
    | {"margin", "account_store", "book_rows", "book", "exact_scan", "slices", "indexed_rows", "indexed"},
    "scenarios": BASE
    | {"account_store", "settle", "margin", "book_rows", "exact_scan", "slices", "indexed_rows", "indexed"},
    "ladder": BASE | {"margin", "liquidation_price", "slices", "indexed_rows", "indexed"},
    "ring": set(),
    "text_hash": set(),
    "frame": {"fixed", "numtext"},
    "stream": BASE,
    "depth": BASE,
    "order_queue": BASE,
    "feed_lines": BASE | {"account", "account_store", "frame", "depth", "text_hash"},
    "hot_feed": BASE | {"account", "account_store", "frame", "depth", "feed_lines", "text_hash"},
    "node_feed": BASE | {"account", "account_store", "order_queue", "stream", "text_hash"},
    "columns": BASE | {"settle", "funding", "pnl"},
}

# No sockets, no threads, no clock below a service.
FORBIDDEN = {
    "asyncio",
    "socket",
    "time",
    "threading",
    "_thread",
    "ssl",
    "select",
    "selectors",
    "http",
    "urllib",
}
FORBIDDEN |= {"multiprocessing", "concurrent", "subprocess", "signal"}

# What else a place may import, when a function of it is called: the message types of the grpc extra, and what
# the plots extra draws with.
EXTRAS = {"messages": {"v4_proto", "google"}, "feeds": {"v4_proto", "google"}, "plots": {"matplotlib"}}

# What a kernel may import at run time, and what it may cimport: never NumPy's C interface.
IMPORTED = (set(sys.stdlib_module_names) - FORBIDDEN) | {"numpy"}
CIMPORTED = {"cython", "libc", "cpython"}

IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+(c?import)\s+(.+)|(c?import)\s+(.+))$", re.MULTILINE)
HEADER = re.compile(r'cdef extern from "([^"]+)"|^\s*#include "([^"]+)"', re.MULTILINE)


def later(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield what does not run when the module is imported: functions, and what only type checkers read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) or (
            isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        ):
            yield node


def wrong_arrows(module: str, text: str, is_package: bool = False) -> Iterator[str]:
    """Yield what a Python module of the package imports and must not; `module` is its dotted name."""
    place = module.split(".")[1] if "." in module else module
    if place not in RANK:
        yield f"{module} has no place in the layers"
        return
    tree = ast.parse(text)
    room = module.removeprefix("dydx_perf.feeds.") if module.startswith("dydx_perf.feeds.") else None
    if room is not None and room not in FEED_RANK:
        yield f"{module} has no place among the feeds"
        return
    at_import = set(ast.walk(tree)) - {inner for outer in later(tree) for inner in ast.walk(outer)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".") if is_package else module.split(".")[:-1]
            above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            origin = ".".join(part for part in (above, node.module) if part)
            targets = (
                [f"{origin}.{alias.name}" for alias in node.names]
                if origin in ("dydx_perf", "dydx_perf.feeds")
                else [origin]
            )
        else:
            continue
        for target in targets:
            top, _, rest = target.partition(".")
            if top != "dydx_perf":
                behind_extra = top in EXTRAS.get(place, ()) and node not in at_import
                if top not in IMPORTED and not behind_extra and place != "service":
                    yield f"{module} imports {target}"
                continue
            first = rest.split(".")[0]
            other = first if first in RANK and first != "dydx_perf" else "dydx_perf"
            if other in DOORS.get(place, ()) and node not in at_import:
                continue
            if other != place and RANK[other] >= RANK[place]:
                yield f"{module} imports {target}"
            if room is not None and first == "feeds":
                lower = rest.split(".")[1]
                if lower not in FEED_RANK or FEED_RANK[lower] >= FEED_RANK[room]:
                    yield f"{module} imports {target}"


def wrong_cimports(name: str, text: str) -> Iterator[str]:
    """Yield what a kernel source or header imports, cimports or includes and must not; `name` is its stem."""
    if name not in KERNELS:
        yield f"{name} has no place among the kernels"
        return
    for match in IMPORT.finditer(text):
        origin, how, names, plain_how, plain = match.groups()
        if origin == "dydx_perf.ext":
            targets = [
                f"dydx_perf.ext.{word.split()[0].strip('(')}" for word in names.split(",") if word.split()
            ]
        else:
            targets = [origin] if origin else [word.split()[0] for word in plain.split(",")]
        for target in targets:
            if target.startswith("dydx_perf.ext."):
                allowed = target.split(".")[2] in KERNELS[name] | {name}
            else:
                outside = CIMPORTED if (how or plain_how) == "cimport" else IMPORTED
                allowed = target == "dydx_perf.errors" or target.split(".")[0] in outside
            if not allowed:
                yield f"{name} imports {target}"


def short_includes(name: str, text: str, headers: set[str]) -> Iterator[str]:
    """Yield each header of ours named in a way that an outside consumer's compiler cannot find."""
    for match in HEADER.finditer(text):
        if match.group(1) in headers:
            yield f'{name} includes "{match.group(1)}": spell it "dydx_perf/ext/{match.group(1)}"'


def installed() -> Path:
    """Folder of the installed package."""
    spec = find_spec("dydx_perf")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def python_modules() -> Iterator[tuple[str, str, bool]]:
    for path in sorted(installed().rglob("*.py")):
        parts = path.relative_to(installed().parent).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        yield ".".join(parts[:-1] if is_package else parts), path.read_text("utf-8"), is_package


def kernel_texts() -> Iterator[tuple[str, str]]:
    """Interfaces from the installed package; sources, which do not ship, from this folder or the sdist."""
    for path in sorted(installed().glob("ext/*.pxd")):
        yield path.name, path.read_text("utf-8")
    for path in sorted(ROOT.glob("ext/*.pyx")):
        yield path.name, path.read_text("utf-8")
    if sdist := os.environ.get("DYDX_PERF_SDIST"):
        with tarfile.open(sdist) as archive:
            for member in archive:
                if re.fullmatch(r"[^/]+/ext/\w+\.pyx", member.name) and (file := archive.extractfile(member)):
                    yield Path(member.name).name, file.read().decode("utf-8")


@pytest.mark.parametrize(
    ("module", "text", "is_package"), [pytest.param(*m, id=m[0]) for m in python_modules()]
)
def test_python_modules_import_only_what_is_below_them(module, text, is_package):
    """Of ours, only lower layers; of others, only NumPy and what cannot do I/O or look at a clock."""
    assert list(wrong_arrows(module, text, is_package)) == []


@pytest.mark.parametrize(("name", "text"), [pytest.param(*k, id=k[0]) for k in kernel_texts()])
def test_kernels_cimport_only_what_is_below_them(name, text):
    """Of ours, only lower kernels and the errors; of others, only C's and Python's own interfaces."""
    assert list(wrong_cimports(Path(name).stem, text)) == []


@pytest.mark.parametrize(("name", "text"), [pytest.param(*k, id=k[0]) for k in kernel_texts()])
def test_headers_are_named_so_that_an_outside_consumer_finds_them(name, text):
    """One include directory, dydx_perf.get_include(), serves Cython and the C compiler."""
    assert list(short_includes(name, text, {path.name for path in installed().glob("ext/*.h")})) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("dydx_perf.market", "from dydx_perf.chain import Chain"),
        ("dydx_perf.market", "from .chain import Chain"),
        ("dydx_perf.market", "from . import subaccount"),
        ("dydx_perf.position", "def f():\n    import dydx_perf.chain"),
        ("dydx_perf.subaccount", "from dydx_perf import Chain"),
        ("dydx_perf.exact.margin", "from dydx_perf.ext import margin"),
        ("dydx_perf.exact.margin", "from ..units import to_quantums"),
        ("dydx_perf.errors", "import dydx_perf"),
        ("dydx_perf.messages", "import v4_proto"),
        ("dydx_perf.feeds.indexer", "import asyncio"),
        ("dydx_perf.feeds.trust", "from dydx_perf.feeds.indexer import IndexerSession"),
        ("dydx_perf.feeds.trust", "from dydx_perf.feeds import IndexerSession"),
        ("dydx_perf.feeds.trust", "from .bounds import bound_of"),
        ("dydx_perf.feeds.novelty", ""),
        ("dydx_perf.feeds.indexer", "from dydx_perf.service import app"),
        ("dydx_perf.risk", "import time"),
        ("dydx_perf.risk", "from concurrent.futures import Executor"),
        ("dydx_perf.risk", "import pandas as pd"),
        ("dydx_perf.novelty", ""),
    ],
)
def test_a_wrong_arrow_is_found(module, text):
    """The parser sees each way to write an import."""
    assert list(wrong_arrows(module, text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("settle", "from dydx_perf.ext.margin cimport risk_of"),
        ("structs", "from dydx_perf.ext cimport settle"),
        ("margin", "cimport numpy as np"),
        ("margin", "from numpy cimport ndarray"),
        ("margin", "import threading"),
        ("margin", "def f():\n    from dydx_perf import exact"),
        ("funding", "from dydx_perf.ext.pnl cimport (\n    entry,\n)"),
        ("novelty", ""),
    ],
)
def test_a_wrong_cimport_is_found(name, text):
    """The parser sees each way to write a cimport."""
    assert list(wrong_cimports(name, text))


def test_right_arrows_are_let_through():
    """What the design allows is not reported."""
    assert not list(
        wrong_arrows("dydx_perf.market", "from dydx_perf.units import x\nfrom .errors import y\nimport os")
    )
    assert not list(
        wrong_arrows("dydx_perf.exact.margin", "from .arith import a\nfrom ..errors import ChainError")
    )
    assert not list(wrong_arrows("dydx_perf", "from .subaccount import Subaccount", is_package=True))
    assert not list(
        wrong_cimports("margin", "from libc.stdint cimport int64_t\nfrom dydx_perf.ext.fixed cimport i128")
    )
    assert not list(wrong_cimports("margin", "from dydx_perf.errors import InputError\ncimport cython"))
    assert not list(wrong_cimports("columns", "import numpy\nfrom decimal import Decimal"))
