"""Which releases of the protocol count as verified."""

import pytest

from dydx_perf.exact.versions import VERIFIED_PROTOCOL_VERSIONS, is_verified_version


@pytest.mark.parametrize("version", ["9.6", "9.6.1", "v9.6.0", "protocol/v9.6.1"])
def test_a_release_of_the_verified_code_is_verified(version):
    """Whatever the spelling, and whatever the patch."""
    assert (9, 6) in VERIFIED_PROTOCOL_VERSIONS
    assert is_verified_version(version)


@pytest.mark.parametrize(
    "version", ["", "9.7", "9.60", "19.6", "10.6", "9.6.0-rc1", "9.6.1+dev", "9", "v", "9.6 "]
)
def test_any_other_version_is_not(version):
    """A later, an earlier, a candidate, and what is no version at all."""
    assert not is_verified_version(version)
