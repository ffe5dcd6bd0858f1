"""Compile ext/*.pyx into dydx_perf.ext.*; everything else is declared in pyproject.toml.

Switches, by environment variable:

DYDX_PERF_PURE      1: no extension at all; 0: fail rather than fall back; unset: compile where it can be done
DYDX_PERF_SANITIZE  sanitizers of gcc or clang, for example ``address,undefined``
DYDX_PERF_FUZZ      1: kernels that read foreign bytes tell a fuzzer where they are (tests/fuzz/counters.c)
DYDX_PERF_TRACE     1: line events in the kernels, so that coverage sees .pyx files
DYDX_PERF_ANNOTATE  1: an HTML page per module that shows where Cython touches Python
DYDX_PERF_WERROR    1: warnings of Cython and of the C compiler are errors
DYDX_PERF_FORCE     1: compile again what is up to date
"""

import os
import shutil
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.errors import CompileError, LinkError, PlatformError

SOURCES = Path("ext")
FACE = Path("dydx_perf/ext")  # the import path of the compiled modules

PURE = os.environ.get("DYDX_PERF_PURE", "")
SANITIZE = os.environ.get("DYDX_PERF_SANITIZE", "")
FUZZ = os.environ.get("DYDX_PERF_FUZZ") == "1"
TRACE = os.environ.get("DYDX_PERF_TRACE") == "1"
ANNOTATE = os.environ.get("DYDX_PERF_ANNOTATE") == "1"
WERROR = os.environ.get("DYDX_PERF_WERROR") == "1"
FORCE = os.environ.get("DYDX_PERF_FORCE") == "1"

# What a fuzzer is to be guided through. gcc's hooks, which clang's fuzzer does not have: the shim has them.
READERS = {"frame", "stream", "node_feed"} if FUZZ else set()
GUIDED = ["-fsanitize-coverage=trace-pc,trace-cmp"]

SHARED = "dydx_perf.ext._cython_shared"

# Each kind of build keeps its own C files and binaries: Cython and setuptools compare times, not switches.
VARIANT = (
    "fuzz" if FUZZ else "sanitize" if SANITIZE else "trace" if TRACE else "pure" if PURE == "1" else "release"
)
BUILD = Path("build") / VARIANT

# What the kernels need of a compiler: 128-bit integers, and overflow checks that link (clang without its own
# runtime library compiles them to a call nobody answers).
PROBE = """
#include <Python.h>
int main(int argc, char **argv)
{
    volatile __int128 value = argc;
    __int128 product;
    (void)argv;
    return __builtin_mul_overflow(value, value, &product) || product / value != value;
}
"""


def why_not_compiled() -> str | None:
    """Return the reason for a pure build, None where the kernels can be compiled."""
    if PURE == "1":
        return "DYDX_PERF_PURE=1"
    # setuptools brings its own distutils, which is importable only after setuptools is.
    from distutils.ccompiler import new_compiler
    from distutils.sysconfig import customize_compiler

    compiler = new_compiler()
    customize_compiler(compiler)
    if compiler.compiler_type == "msvc":
        return "MSVC has no 128-bit integers"
    include = [sysconfig.get_path("include"), sysconfig.get_path("platinclude")]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.c"
        source.write_text(PROBE)
        try:
            objects = compiler.compile([str(source)], output_dir=folder, include_dirs=include)
            compiler.link_executable(objects, str(Path(folder) / "probe"))
        except (CompileError, LinkError, PlatformError) as error:
            return f"no C compiler that has 128-bit integers and finds Python's headers: {error}"
    return None


def place_headers() -> None:
    """Copy ext/*.pxd and ext/*.h to where their import name spells: Cython finds them only there."""
    headers = {header.name: header for kind in ("*.pxd", "*.h") for header in SOURCES.glob(kind)}
    for kind in ("*.pxd", "*.h"):
        for copy in FACE.glob(kind):
            if copy.name not in headers:
                copy.unlink()
    for name, header in headers.items():
        shutil.copy2(
            header, FACE / name
        )  # with its time, by which Cython and setuptools decide what to rebuild


def forget_removed_sources(modules: list[str]) -> None:
    """Empty the build folder but for wanted binaries: setuptools would ship a file whose source is gone."""
    for kept in BUILD.glob("lib*/**/*"):
        if kept.is_file() and kept.name.partition(".")[0] not in modules:
            kept.unlink()


def kernel_extensions() -> list[Extension]:
    """Translate the kernels to C and say how each is compiled."""
    from Cython.Build import cythonize
    from Cython.Compiler import Options

    Options.warning_errors = WERROR
    macros = [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1")] if TRACE else []
    if SANITIZE:
        # Python's own flags hold -fwrapv, which makes signed overflow defined and UBSan blind to it.
        checks = [f"-fsanitize={SANITIZE}", "-fno-sanitize-recover=all"]
        compile_args = ["-O1", "-g", "-UNDEBUG", "-fno-omit-frame-pointer", "-fno-wrapv", *checks]
        link_args = checks
    else:
        compile_args = ["-O3", "-g0", "-fvisibility=hidden"]
        link_args = []
    if WERROR:
        compile_args.append("-Werror")
    headers = [str(path) for kind in ("*.pxd", "*.h") for path in sorted(FACE.glob(kind))]
    sources = {f"dydx_perf.ext.{source.stem}": str(source) for source in sorted(SOURCES.glob("*.pyx"))}
    # Cython's own memoryview code (160 KB a module) is compiled once, its source made by cythonize. Coverage
    # does not cope with that, nor with C that is not beside its .pyx.
    if not TRACE:
        sources[SHARED] = "ext/_cython_shared.c"
    made = [path.stat().st_mtime for path in (SOURCES if TRACE else BUILD / "c").glob("**/*.c")]
    return cythonize(
        [
            Extension(
                name,
                [source, *["tests/fuzz/counters.c"] * (name.rpartition(".")[2] in READERS)],
                include_dirs=[".", str(FACE)],
                depends=[*headers, "setup.py"],
                define_macros=macros,
                extra_compile_args=compile_args + GUIDED * (name.rpartition(".")[2] in READERS),
                extra_link_args=link_args,
            )
            for name, source in sources.items()
        ],
        shared_utility_qualified_name=None if TRACE else SHARED,
        include_path=["."],
        build_dir=None if TRACE else str(BUILD / "c"),
        nthreads=0
        if WERROR
        else os.cpu_count() or 1,  # workers do not inherit warning_errors where they spawn
        annotate=ANNOTATE,
        force=FORCE or min(made, default=0.0) < Path("setup.py").stat().st_mtime,
        compiler_directives={
            "language_level": 3,
            "cdivision": True,
            "boundscheck": TRACE or bool(SANITIZE),
            "wraparound": False,
            "initializedcheck": False,
            "linetrace": TRACE,
            "auto_pickle": False,
            "autotestdict": False,
        },
    )


reason = why_not_compiled()
if reason and PURE == "0":
    raise SystemExit(
        f"dydx_perf: the kernels cannot be compiled ({reason}) and DYDX_PERF_PURE=0 asks for them"
    )
if reason:
    VARIANT, BUILD = "pure", Path("build") / "pure"
    print(f"dydx_perf: {reason}; built without kernels: the exact Python arithmetic is used for everything")
place_headers()
extensions = [] if reason else kernel_extensions()
forget_removed_sources([extension.name.rpartition(".")[2] for extension in extensions])
setup(
    ext_modules=extensions,
    options={"build": {"build_base": str(BUILD)}, "build_ext": {"parallel": os.cpu_count(), "force": FORCE}},
)
