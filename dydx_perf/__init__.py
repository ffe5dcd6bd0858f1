"""Exact dYdX v4 subaccount risk."""

import os
from typing import TYPE_CHECKING

__all__ = ["__version__", "get_include"]

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name):
        # Reading the installed metadata costs more than the rest of the import: not before it is asked for.
        if name == "__version__":
            from importlib.metadata import version

            return version("dydx-perf")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_include() -> str:
    """Return the directory from which Cython and the C compiler find this package's headers.

    Give it to ``cythonize(include_path=[...])`` and to ``Extension(include_dirs=[...])``; then
    ``from dydx_perf.ext.structs cimport market_t`` works in other Cython code.
    """
    return os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
