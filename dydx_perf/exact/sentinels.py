"""The chain's own names for what it refuses, and the one place where they become exceptions.

A sentinel is raised as an `error` (the chain's function returned it) or as a `panic` (the
function gave up); the same sentinel can be either, depending on the caller.
"""

from dydx_perf.errors import ChainError

#: sentinel name -> "module/number" as registered by the chain
SENTINEL_CODES = {
    "ErrAssetDoesNotExist": "assets/1",
    "ErrInvalidAssetAtomicResolution": "assets/10",
    "ErrInvalidDenomExponent": "assets/11",
    "ErrNotImplementedMulticollateral": "assets/401",
    "ErrNotImplementedMargin": "assets/402",
    "ErrInvalidOrderQuantums": "clob/4",
    "ErrInvalidOrderSubticks": "clob/6",
    "ErrInvalidPlaceOrder": "clob/12",
    "ErrFillAmountNotDivisibleByStepSize": "clob/18",
    "ErrZeroIndexPriceForPremiumCalculation": "clob/26",
    "ErrOrderConflictsWithClobPairStatus": "clob/34",
    "ErrOperationConflictsWithClobPairStatus": "clob/36",
    "ErrInvalidBuilderCode": "clob/50",
    "ErrInvalidLiquidationsConfig": "clob/1000",
    "ErrNoPerpetualPositionsToLiquidate": "clob/1001",
    "ErrSubaccountHasLiquidatedPerpetual": "clob/1008",
    "ErrLiquidationExceedsSubaccountMaxNotionalLiquidated": "clob/1011",
    "ErrLiquidationExceedsSubaccountMaxInsuranceLost": "clob/1012",
    "ErrInvalidPerpetualPositionSizeDelta": "clob/1014",
    "ErrInvalidQuantumsForInsuranceFundDeltaCalculation": "clob/1015",
    "ErrReduceOnlyWouldIncreasePositionSize": "clob/2001",
    "ErrLongTermOrdersCannotRequireImmediateExecution": "clob/3002",
    "ErrReduceOnlyDisabled": "clob/9003",
    "ErrOrderWouldExceedMaxOpenOrdersEquityTierLimit": "clob/10001",
    "ErrPerpetualDoesNotExist": "perpetuals/1",
    "ErrInitialMarginPpmExceedsMax": "perpetuals/3",
    "ErrMaintenanceFractionPpmExceedsMax": "perpetuals/4",
    "ErrPremiumVoteNotClamped": "perpetuals/10",
    "ErrFundingRateInt32Overflow": "perpetuals/11",
    "ErrPremiumVoteForNonActiveMarket": "perpetuals/18",
    "ErrOpenInterestWouldBecomeNegative": "perpetuals/25",
    "ErrPerpetualInfoDoesNotExist": "perpetuals/26",
    "ErrFailedToUpdateSubaccounts": "subaccounts/102",
    "ErrProductPositionNotUpdatable": "subaccounts/103",
    "ErrCannotModifyPerpOpenInterestForOIMF": "subaccounts/402",
    "ErrInvalidLeverage": "subaccounts/700",
    "ErrLeverageExceedsMaximum": "subaccounts/701",
    "ErrLeverageViolatesMarginRequirements": "subaccounts/703",
}


def error(name: str) -> ChainError:
    """The sentinel `name` returned as an error."""
    return ChainError(name, "error", SENTINEL_CODES.get(name))


def panic(name: str) -> ChainError:
    """The sentinel or message `name` raised as a panic."""
    return ChainError(name, "panic", SENTINEL_CODES.get(name))
