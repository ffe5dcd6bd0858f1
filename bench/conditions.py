"""Under which conditions a run was measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sysconfig
from collections.abc import Sequence
from datetime import date
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def said(command: Sequence[str]) -> str:
    """Return what a command prints on its first line, nothing where it cannot be run."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.partition("\n")[0].strip()


def processor() -> str:
    """Name of the processor, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def package(name: str) -> str:
    """Version of an installed package, or that it is missing."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


@cache
def numba_is_there() -> bool:
    """Whether Numba can be imported; where it lags behind Python or NumPy it cannot."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def commit() -> str:
    """The commit measured, marked where files of the package differ from it."""
    name = said(["git", "rev-parse", "--short=12", "HEAD"])
    changed = said(["git", "status", "--porcelain", "--untracked-files=no", "--", "ext", "dydx_perf"])
    return f"{name}, with changes" if name and changed else name or "not known"


def load() -> str:
    """The machine's load averages of 1, 5 and 15 minutes."""
    return " ".join(f"{average:.2f}" for average in os.getloadavg()) if hasattr(os, "getloadavg") else ""


def conditions() -> dict[str, str]:
    """What a reader has to know to compare."""
    from dydx_perf.ext import columns

    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    return {
        "commit": commit(),
        "date": date.today().isoformat(),
        "processor": f"{processor()}, {os.cpu_count()} cores, {platform.machine()}",
        "vector paths": ", ".join(columns.paths()),
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "compiler": said([compiler, "--version"]) or compiler,
        "NumPy, Numba": f"{package('numpy')}, {package('numba')}",
    }
