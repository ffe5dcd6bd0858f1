"""A build of the package with all kernel mutants in it, in a folder that stays warm between runs."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from mutant import Mutant
from switch import switched

HERE = Path(__file__).resolve().parent
FOLDERS = ("ext", "dydx_perf")
FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "MANIFEST.in")
#: an unoptimised build takes a third of the time; the integers are the same
OPTIMISED, QUICK = '"-O3", "-g0"', '"-O0", "-g0"'
SWITCH = """
#include <stdlib.h>

int dp_mutant = 0;

__attribute__((constructor)) static void read_environment(void)
{
    const char *number = getenv("DP_MUTANT");
    if (number)
        dp_mutant = atoi(number);
}
"""


def built(root: Path, scratch: Path, mutants: Iterable[Mutant]) -> set[int]:
    """Build `root` with these mutants under `scratch`; return the numbers of those the compiler refuses."""
    mutants = list(mutants)
    sources = {Path(name): (root / name).read_bytes() for name in FILES if (root / name).exists()}
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            name = path.relative_to(root)
            if path.is_file() and _is_source(name):
                sources[name] = path.read_bytes()
    for name in ("roundings.h", "roundings.pxd"):
        sources[Path("ext") / name] = (HERE / name).read_bytes()
    setup = sources[Path("setup.py")].decode()
    if OPTIMISED not in setup:
        raise SystemExit(
            f"setup.py no longer has {OPTIMISED}: say in {__file__} what an unoptimised build is"
        )
    sources[Path("setup.py")] = setup.replace(OPTIMISED, QUICK).encode()
    sources[Path("switch.c")] = SWITCH.encode()
    refused: set[int] = set()
    while True:
        wanted = dict(sources)
        for name in sorted({mutant.file for mutant in mutants}):
            own = [mutant for mutant in mutants if mutant.file == name and mutant.number not in refused]
            wanted[Path(name)] = switched(sources[Path(name)].decode(), name, own).encode()
        _write(scratch, wanted)
        _run(["cc", "-shared", "-fPIC", "-o", "switch.so", "switch.c"], scratch)
        told = _run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], scratch)
        if told is None:
            return refused
        errors = _functions_with_errors(told) - refused
        if not errors:
            raise SystemExit(f"the mutants cannot be built in {scratch}:\n{told}")
        refused |= errors


FUNCTION = re.compile(r"In function '\w+?__(\d+)'")


def _functions_with_errors(told: str) -> set[int]:
    """Numbers of the mutants whose function the C compiler refuses."""
    found = set()
    number = 0
    for line in told.splitlines():
        match = FUNCTION.search(line)
        if match:
            number = int(match[1])
        elif ": error: " in line and number:
            found.add(number)
    return found


def _is_source(name: Path) -> bool:
    if "__pycache__" in name.parts or name.suffix in (".so", ".c", ".html"):
        return False
    # the headers beside the compiled modules are setup.py's copies
    return name.suffix not in (".h", ".pxd") or name.parts[0] == "ext"


def _write(folder: Path, wanted: dict[Path, bytes]) -> None:
    """Write what differs, so that only what changed is compiled again; take away what is no longer there."""
    for path in [path for top in FOLDERS for path in (folder / top).rglob("*") if path.is_file()]:
        name = path.relative_to(folder)
        if name not in wanted and _is_source(name):
            path.unlink()
    for name, content in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)


def _run(command: list[str], folder: Path) -> str | None:
    """None, or what a command that failed has to say."""
    environment = {**os.environ, "DYDX_PERF_PURE": "0", "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return f"{done.stdout}\n{done.stderr}" if done.returncode else None


def fresh_difference(root: Path, scratch: Path, number: int, files: Sequence[Path]) -> bool:
    """Whether a test fails in a new process that has this mutant from the first import on."""
    command = [sys.executable, "-P", str(HERE / "fresh.py"), str(root), str(scratch), *map(str, files)]
    environment = {**os.environ, "DP_MUTANT": str(number)}
    return bool(subprocess.run(command, env=environment, capture_output=True).returncode)


def switch(scratch: Path) -> ctypes.c_int:
    """The variable that the kernels of a build ask; before they are imported."""
    library = ctypes.CDLL(str(scratch / "switch.so"), mode=ctypes.RTLD_GLOBAL)
    return ctypes.c_int.in_dll(library, "dp_mutant")
