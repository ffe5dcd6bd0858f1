"""Compile c_door.pyx against the installed package, as any outside consumer would, and import it."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import ModuleType

import dydx_perf

SOURCE = Path(__file__).resolve().parent / "c_door.pyx"
FOLDER = Path(__file__).resolve().parent.parent / "build" / "bench"

SETUP = """
from Cython.Build import cythonize
from setuptools import Extension, setup

setup(
    name="c_door",
    ext_modules=cythonize(
        [Extension("c_door", ["c_door.pyx"], include_dirs=[{include!r}], extra_compile_args=["-O3"])],
        include_path=[{include!r}],
    ),
    script_args=["-q", "build_ext", "--inplace"],
)
"""


@cache
def c_door() -> ModuleType:
    """The compiled module; built again when it, or a header of the installed package, changed."""
    include = dydx_perf.get_include()
    headers = sorted(Path(include, "dydx_perf", "ext").glob("*.[hp]*"))
    mark = hashlib.sha256()
    for path in (SOURCE, *(h for h in headers if h.suffix in (".h", ".pxd"))):
        mark.update(path.read_bytes())
    folder = FOLDER / f"c_door-{mark.hexdigest()[:12]}"
    binary = folder / f"c_door{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not binary.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "c_door.pyx").write_bytes(SOURCE.read_bytes())
        (folder / "setup.py").write_text(SETUP.format(include=include))
        subprocess.run([sys.executable, "-P", "setup.py"], cwd=folder, check=True, timeout=300)
    spec = importlib.util.spec_from_file_location("c_door", binary)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
