"""What to ask a node for chain-exact risk: methods, request bytes, and the paths of its REST gateway.

A transport sends `NodeQuery.request` to `NodeQuery.method` (gRPC), or GETs `NodeQuery.path`; all with the
metadata ``x-cosmos-block-height`` of one height, on one host. The answers go to `NodePicture.answer`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from hashlib import sha256

from dydx_perf.address import address_of
from dydx_perf.feeds.rest_paths import quoted
from dydx_perf.feeds.wire import message, number, page_request, text

__all__ = [
    "HEIGHT_KEY",
    "PERPETUALS_PARAMS",
    "USDC_DENOM",
    "NodeQuery",
    "account_queries",
    "all_accounts",
    "fund_address",
    "queries",
]

#: metadata of a request that pins it to a height, and of an answer that tells its own
HEIGHT_KEY = "x-cosmos-block-height"
USDC_DENOM = "ibc/8E27BA2D5493AF5636760E354E46004562C46AB7EC0CC4C1CA14E9E20E2545B5"
PAGE_LIMIT = 1000

SUBACCOUNTS = "/dydxprotocol.subaccounts.Query/"
PERPETUALS = "/dydxprotocol.perpetuals.Query/"
CLOB = "/dydxprotocol.clob.Query/"


@dataclass(frozen=True, slots=True)
class NodeQuery:
    """One question to a node.

    Attributes
    ----------
    name : str
        What it asks for: "perpetuals", "liquidity_tiers", "market_prices", "clob_pairs", "subaccount",
        "subaccounts", "leverage", "perpetuals_params", "liquidations_config", "equity_tiers", "rate_limits",
        "fee_tiers", "gate", "fund" or "version".
    subject : tuple
        (address, number) of an account, (perpetual id,) of a gate, (module account,) of a fund; else empty.
    method : str
        gRPC method, with its leading slash.
    request : bytes
        The request message.
    path : str
        The same on the REST gateway, below the host.
    paged : bool
        Whether the answer comes in pages.
    """

    name: str
    subject: tuple[str | int, ...]
    method: str
    request: bytes
    path: str
    paged: bool = False

    def after(self, next_key: bytes) -> NodeQuery:
        """Ask for the page that starts at a key."""
        path = self.path.partition("?")[0]
        return replace(
            self,
            request=page_request(1, next_key, PAGE_LIMIT),
            path=f"{path}?pagination.key={quoted(base64.b64encode(next_key).decode())}"
            f"&pagination.limit={PAGE_LIMIT}",
        )

    @property
    def is_first_page(self) -> bool:
        """Whether the answer is the beginning of a list."""
        return "pagination.key=" not in self.path


def listed(name: str, method: str, path: str) -> NodeQuery:
    """Ask for a list from its first page on."""
    request = page_request(1, b"", PAGE_LIMIT)
    return NodeQuery(name, (), method, request, f"{path}?pagination.limit={PAGE_LIMIT}", paged=True)


MARKETS = (
    listed("perpetuals", f"{PERPETUALS}AllPerpetuals", "/dydxprotocol/perpetuals/perpetual"),
    listed("liquidity_tiers", f"{PERPETUALS}AllLiquidityTiers", "/dydxprotocol/perpetuals/liquidity_tiers"),
    listed("market_prices", "/dydxprotocol.prices.Query/AllMarketPrices", "/dydxprotocol/prices/market"),
    listed("clob_pairs", f"{CLOB}ClobPairAll", "/dydxprotocol/clob/clob_pair"),
)
#: the smallest answer that tells a height
PERPETUALS_PARAMS = NodeQuery(
    "perpetuals_params", (), f"{PERPETUALS}Params", b"", "/dydxprotocol/perpetuals/params"
)
PARAMETERS = (
    PERPETUALS_PARAMS,
    NodeQuery(
        "liquidations_config",
        (),
        f"{CLOB}LiquidationsConfiguration",
        b"",
        "/dydxprotocol/clob/liquidations_config",
    ),
    NodeQuery(
        "equity_tiers", (), f"{CLOB}EquityTierLimitConfiguration", b"", "/dydxprotocol/clob/equity_tier"
    ),
    NodeQuery("rate_limits", (), f"{CLOB}BlockRateLimitConfiguration", b"", "/dydxprotocol/clob/block_rate"),
    NodeQuery(
        "fee_tiers",
        (),
        "/dydxprotocol.feetiers.Query/PerpetualFeeParams",
        b"",
        "/dydxprotocol/v4/feetiers/perpetual_fee_params",
    ),
    NodeQuery(
        "version",
        (),
        "/cosmos.base.tendermint.v1beta1.Service/GetNodeInfo",
        b"",
        "/cosmos/base/tendermint/v1beta1/node_info",
    ),
)


def account_queries(address: str, number_: int) -> tuple[NodeQuery, NodeQuery]:
    """Ask for an account and the leverage that it chose."""
    request = text(1, address) + number(2, number_)
    where = f"{quoted(address)}/{number_}"
    subject = address, number_
    return (
        NodeQuery(
            "subaccount",
            subject,
            f"{SUBACCOUNTS}Subaccount",
            request,
            f"/dydxprotocol/subaccounts/subaccount/{where}",
        ),
        NodeQuery("leverage", subject, f"{CLOB}Leverage", request, f"/dydxprotocol/clob/leverage/{where}"),
    )


def all_accounts() -> NodeQuery:
    """Ask for the first page of all accounts, and how many there are."""
    return NodeQuery(
        "subaccounts",
        (),
        f"{SUBACCOUNTS}SubaccountAll",
        message(1, number(3, PAGE_LIMIT) + number(4, 1)),
        f"/dydxprotocol/subaccounts/subaccount?pagination.limit={PAGE_LIMIT}&pagination.count_total=true",
        paged=True,
    )


def gate_query(perpetual_id: int) -> NodeQuery:
    """Ask whether the collateral pool of a perpetual lets anything out."""
    return NodeQuery(
        "gate",
        (perpetual_id,),
        f"{SUBACCOUNTS}GetWithdrawalAndTransfersBlockedInfo",
        number(1, perpetual_id),
        f"/dydxprotocol/subaccounts/withdrawals_and_transfers_blocked_info/{perpetual_id}",
    )


def fund_query(module: str) -> NodeQuery:
    """Ask what an insurance fund holds."""
    address = fund_address(module)
    return NodeQuery(
        "fund",
        (module,),
        "/cosmos.bank.v1beta1.Query/Balance",
        text(1, address) + text(2, USDC_DENOM),
        f"/cosmos/bank/v1beta1/balances/{address}/by_denom?denom={quoted(USDC_DENOM)}",
    )


def queries(
    accounts: Iterable[tuple[str, int]] = (),
    *,
    markets: bool = True,
    parameters: bool = False,
    pools: Iterable[tuple[int, bool]] = (),
) -> tuple[NodeQuery, ...]:
    """List what to ask a node, all at one height.

    Parameters
    ----------
    accounts : iterable of (address, number)
    markets : bool
        Perpetuals, liquidity tiers, prices and order books: without them no result is the chain's.
    parameters : bool
        What holds for all markets, and the node's version.
    pools : iterable of (perpetual id, is isolated)
        Whose collateral pool and insurance fund are wanted. Of cross markets one perpetual is enough: all of
        them share both.
    """
    asked = list(MARKETS) if markets else []
    for address, number_ in accounts:
        asked += account_queries(address, number_)
    if parameters:
        asked += PARAMETERS
    for perpetual_id, isolated in pools:
        asked.append(gate_query(perpetual_id))
        fund = fund_query(f"insurance_fund:{perpetual_id}" if isolated else "insurance_fund")
        if fund not in asked:
            asked.append(fund)
    return tuple(asked)


def fund_address(module: str) -> str:
    """Return the address of a module account: the first 20 bytes of its name's SHA-256."""
    return address_of(sha256(module.encode()).digest()[:20])
