"""Sources for the tests that build: always an sdist's, for that is all a builder elsewhere has."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_SOURCES = (".git", ".venv*", "build", "dist", "_build", "*.egg-info", "__pycache__", "*.so", ".*_cache")

# An outside consumer of the kernels needs kernels; a pure build has none.
if find_spec("dydx_perf.ext.margin") is None:
    collect_ignore = ["test_cython_consumer.py"]


Backend = Callable[..., subprocess.CompletedProcess[str]]


def call_backend(source: Path, hook: str, out: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run one hook of the build backend in a process of its own, as an installer does."""
    return subprocess.run(
        [sys.executable, "-P", "-c", f"from setuptools import build_meta; build_meta.{hook}({str(out)!r})"],
        cwd=source,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="session")
def backend() -> Backend:
    """Return `call_backend`, for the tests that build."""
    return call_backend


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist under test: the one that CI names, else one built from a copy of the source folder."""
    if named := os.environ.get("DYDX_PERF_SDIST"):
        return Path(named)
    folder = tmp_path_factory.mktemp("sdist")
    copy = folder / "tree"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    done = call_backend(copy, "build_sdist", folder, DYDX_PERF_PURE="1")
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.tar.gz"))


@pytest.fixture
def source(sdist: Path, tmp_path: Path) -> Path:
    """The unpacked sdist, the test's own copy."""
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    return next(tmp_path.glob("dydx_perf-*"))
