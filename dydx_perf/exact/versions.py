"""Releases of the protocol whose arithmetic this package was verified for.

Source: the vectors of `dydx_perf.data` are answers of the chain's own code, of release 9.6. An earlier or
later release may compute the same; nothing here says so.
"""

import re
from typing import Final

__all__ = ["VERIFIED_PROTOCOL_VERSIONS", "is_verified_version"]

#: major and minor number
VERIFIED_PROTOCOL_VERSIONS: Final = ((9, 6),)

_VERSION = re.compile(r"(?:protocol/)?v?(\d{1,4})\.(\d{1,4})(?:\.\d{1,6})?", re.ASCII)


def is_verified_version(version: str) -> bool:
    """Tell whether a node's version, like ``9.6.1`` or ``v9.6.1``, is a verified one; a candidate is not."""
    match = _VERSION.fullmatch(version)
    return match is not None and (int(match[1]), int(match[2])) in VERIFIED_PROTOCOL_VERSIONS
