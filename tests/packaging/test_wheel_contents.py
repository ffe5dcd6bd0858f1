"""The installed package holds its interfaces, its types and its data, and no source that only a build needs.

Cython sources (`.pyx`) and the C made of them stay out of the wheel: the `.pxd` and `.h` files are the public
interface, and the sdist has the rest.
"""

import re
from importlib.metadata import entry_points, files, metadata, requires
from pathlib import PurePosixPath

import pytest

from dydx_perf.kernel import COMPILED

# Promised to outside Cython code: structs and functions. Other compiled modules are for Python callers.
PROMISED = ["margin", "account", "funding", "pnl", "liquidation", "numtext"]
FOLDER = PurePosixPath("dydx_perf/ext")
INCLUDE = re.compile(
    r'(?:cdef extern from|^\s*#\s*include) "(dydx_perf/ext/[^"]+)"|^\s*#\s*include "([^"]+)"', re.MULTILINE
)


@pytest.fixture(scope="module")
def paths() -> list[PurePosixPath]:
    """Paths of the installed files, byte code left out."""
    return [PurePosixPath(path) for path in files("dydx-perf") or [] if path.suffix != ".pyc"]


@pytest.mark.parametrize("kernel", PROMISED)
def test_each_kernel_ships_with_its_c_and_python_interface(paths, kernel):
    """Cython code finds the .pxd, a type checker the .pyi; the module is there unless the build is pure."""
    assert FOLDER / f"{kernel}.pyi" in paths
    assert FOLDER / f"{kernel}.pxd" in paths
    compiled = [path for path in paths if path.parent == FOLDER and path.match(f"{kernel}.*.so")]
    assert len(compiled) == COMPILED


def test_each_compiled_module_is_typed(paths):
    """A module without a stub would be Any to a type checker. (Cython's own module is nobody's interface.)"""
    modules = {
        path.name.partition(".")[0] for path in paths if path.parent == FOLDER and path.suffix == ".so"
    }
    stubs = {path.stem for path in paths if path.parent == FOLDER and path.suffix == ".pyi"}
    assert modules - {"_cython_shared"} - stubs == set()
    assert bool(modules) == COMPILED


def test_headers_that_interfaces_name_ship(paths):
    """What an installed .pxd or .h includes is installed."""
    named = set()
    for path in files("dydx-perf") or []:
        if path.suffix in {".pxd", ".h"}:
            for face, beside in INCLUDE.findall(path.read_text("utf-8")):
                named.add(PurePosixPath(face) if face else FOLDER / beside)
    assert FOLDER / "fixed.h" in named
    assert named - set(paths) == set()


def test_types_and_data_ship(paths):
    """The package is typed, and its sample parameters and vectors come with it."""
    assert PurePosixPath("dydx_perf/py.typed") in paths
    assert PurePosixPath("dydx_perf/data/v9.json") in paths
    assert len([path for path in paths if path.match("dydx_perf/data/vectors/*.jsonl.gz")]) >= 10


def test_nothing_else_ships(paths):
    """No tests, no C, no Cython source, nothing outside the package but its metadata and its command."""
    strangers = [path for path in paths if path.parts[0] != "dydx_perf" and ".dist-info" not in path.parts[0]]
    assert all(path.stem == "dydx-perf" and path.parts[0] == ".." for path in strangers), strangers
    kinds = {path.suffix for path in paths if path.parts[0] == "dydx_perf"}
    assert kinds <= {".py", ".pyi", ".pxd", ".h", ".json", ".gz", ".dydxfeed", ".typed", ".so", ".pyd", ""}, (
        kinds
    )
    assert not [path for path in paths if "tests" in path.parts or "bench" in path.parts]


def test_numpy_is_the_only_requirement():
    """Everything else is behind an extra."""
    always = [need for need in requires("dydx-perf") or [] if "extra ==" not in need]
    assert always == ["numpy>=1.26"]


def test_metadata_names_licence_and_command():
    """The licence is an SPDX expression; the command is the package's own main."""
    assert metadata("dydx-perf")["License-Expression"] == "Apache-2.0"
    (command,) = entry_points(group="console_scripts", name="dydx-perf")
    assert command.value == "dydx_perf.__main__:main"
