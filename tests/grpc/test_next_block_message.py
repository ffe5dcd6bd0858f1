"""What orders of the next block are sorted by is the hash of the chain's own message (B11)."""

import pytest
from v4_proto.dydxprotocol.clob.liquidations_pb2 import PerpetualLiquidationInfo
from v4_proto.dydxprotocol.subaccounts.subaccount_pb2 import SubaccountId

from dydx_perf.next_block import liquidation_info


@pytest.mark.parametrize("owner", ["dydx1" + "q" * 38, "", "é" * 100])
@pytest.mark.parametrize("number", [0, 1, 127, 128, 128_000])
@pytest.mark.parametrize("perpetual_id", [0, 1, 300, 2**32 - 1])
def test_the_bytes_are_those_of_the_message(owner: str, number: int, perpetual_id: int) -> None:
    """Of any account and perpetual."""
    message = PerpetualLiquidationInfo(
        subaccount_id=SubaccountId(owner=owner, number=number), perpetual_id=perpetual_id
    )
    assert liquidation_info(owner, number, perpetual_id) == message.SerializeToString(deterministic=True)
