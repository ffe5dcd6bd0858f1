"""A node's answers from bytes, by v4-proto: the only place of the queries that needs the `grpc` extra."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dydx_perf.errors import FrameError
from dydx_perf.feeds.node_queries import NodeQuery

__all__ = ["RESPONSES", "decoded"]

#: module and class of the answer by the name of its query
RESPONSES = {
    "perpetuals": ("dydxprotocol.perpetuals.query_pb2", "QueryAllPerpetualsResponse"),
    "liquidity_tiers": ("dydxprotocol.perpetuals.query_pb2", "QueryAllLiquidityTiersResponse"),
    "market_prices": ("dydxprotocol.prices.query_pb2", "QueryAllMarketPricesResponse"),
    "clob_pairs": ("dydxprotocol.clob.query_pb2", "QueryClobPairAllResponse"),
    "perpetuals_params": ("dydxprotocol.perpetuals.query_pb2", "QueryParamsResponse"),
    "liquidations_config": ("dydxprotocol.clob.query_pb2", "QueryLiquidationsConfigurationResponse"),
    "equity_tiers": ("dydxprotocol.clob.query_pb2", "QueryEquityTierLimitConfigurationResponse"),
    "rate_limits": ("dydxprotocol.clob.query_pb2", "QueryBlockRateLimitConfigurationResponse"),
    "fee_tiers": ("dydxprotocol.feetiers.query_pb2", "QueryPerpetualFeeParamsResponse"),
    "subaccount": ("dydxprotocol.subaccounts.query_pb2", "QuerySubaccountResponse"),
    "leverage": ("dydxprotocol.clob.query_pb2", "QueryLeverageResponse"),
    "gate": (
        "dydxprotocol.subaccounts.query_pb2",
        "QueryGetWithdrawalAndTransfersBlockedInfoResponse",
    ),
    "fund": ("cosmos.bank.v1beta1.query_pb2", "QueryBalanceResponse"),
    "version": ("cosmos.base.tendermint.v1beta1.query_pb2", "GetNodeInfoResponse"),
}


def decoded(query: NodeQuery, data: bytes) -> Any:
    """Parse an answer's bytes."""
    module, name = RESPONSES[query.name]
    errors = import_module("google.protobuf.message")
    try:
        return getattr(import_module(f"v4_proto.{module}"), name).FromString(data)
    except errors.DecodeError as error:
        raise FrameError(f"a {name}: {error}", None, query.method) from None
