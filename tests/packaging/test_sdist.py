"""The sdist holds what it takes to build, test and document, and nothing that a build made."""

import tarfile
from importlib.metadata import files
from pathlib import Path, PurePosixPath

import pytest


@pytest.fixture(scope="module")
def names(sdist: Path) -> set[str]:
    """Paths in the sdist, its top folder taken off."""
    with tarfile.open(sdist) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def test_sources_and_project_files_are_in_the_sdist(names):
    """Whoever has the sdist can build the wheel, run the tests and read the licence."""
    expected = {"setup.py", "pyproject.toml", "Makefile", "LICENSE", "README.md", "CHANGELOG.md"}
    expected |= {"ext/margin.pyx", "ext/margin.pxd", "ext/structs.pxd", "ext/fixed.pxd", "ext/fixed.h"}
    expected |= {"tests/conftest.py", "tests/packaging/test_sdist.py", "dydx_perf/py.typed"}
    assert expected - names == set()


def test_nothing_built_is_in_the_sdist(names):
    """No compiled file, no generated C, no copy of a header, no environment."""
    built = {name for name in names if name.endswith((".c", ".so", ".pyd", ".pyc"))}
    built |= {name for name in names if name.startswith(("build/", "dist/", "docs/_build/", ".venv"))}
    built |= {name for name in names if PurePosixPath(name).match("dydx_perf/ext/*.pxd")}
    built |= {name for name in names if PurePosixPath(name).match("dydx_perf/ext/*.h")}
    assert built == set()


def test_every_file_of_the_package_is_installed(names):
    """A package or data file that pyproject.toml forgets would be in the sdist but not in the wheel."""
    installed = {str(path) for path in files("dydx-perf") or []}
    assert {name for name in names if name.startswith("dydx_perf/")} - installed == set()
