"""Integer arithmetic of the chain: every rounding it uses, under a name that says which.

Plain Python integers, so any size is exact. A rational is a pair `(num, den)` in lowest terms
with `den > 0`. Source of each rule: the chain's `lib/` (quantums.go, big_math.go, math.go),
`x/clob/types` and `x/assets/keeper`.
"""

from collections.abc import Sequence
from math import gcd

from dydx_perf.exact.sentinels import error, panic

ONE_MILLION = 1_000_000
QUOTE_ATOMIC_RESOLUTION = -6
MAX_INT32, MIN_INT32 = 2**31 - 1, -(2**31)
MAX_INT64, MIN_INT64 = 2**63 - 1, -(2**63)
MAX_UINT64 = 2**64 - 1
MAX_DENOM_EXPONENT = 32

Rational = tuple[int, int]


def reduced(num: int, den: int) -> Rational:
    """`num / den` in lowest terms with a positive denominator."""
    if den == 0:
        raise panic("division by zero")
    if den < 0:
        num, den = -num, -den
    divisor = gcd(num, den)
    return num // divisor, den // divisor


def div_trunc(num: int, den: int) -> int:
    """`num / den` toward zero."""
    if den == 0:
        raise panic("division by zero")
    quotient = abs(num) // abs(den)
    return quotient if (num < 0) == (den < 0) else -quotient


def div_floor(num: int, den: int) -> int:
    """`num / den` toward minus infinity."""
    if den == 0:
        raise panic("division by zero")
    return num // den


def div_ceil(num: int, den: int) -> int:
    """`num / den` toward plus infinity."""
    if den == 0:
        raise panic("division by zero")
    return -(-num // den)


def mul_ppm_floor(value: int, ppm: int) -> int:
    """`value * ppm / 1e6` toward minus infinity."""
    return value * ppm // ONE_MILLION


def mul_ppm_ceil(value: int, ppm: int) -> int:
    """`value * ppm / 1e6` toward plus infinity."""
    return -(-value * ppm // ONE_MILLION)


def int64_mul_ppm_floor(value: int, ppm: int) -> int:
    """`mul_ppm_floor`, which on the chain panics when the answer does not fit an int64."""
    result = mul_ppm_floor(value, ppm)
    if not MIN_INT64 <= result <= MAX_INT64:
        raise panic("Int64MulPpm overflow")
    return result


def pow10(exponent: int) -> int:
    """`10**exponent`; exponent >= 0."""
    power: int = 10**exponent
    return power


def mul_pow10_trunc(value: int, exponent: int) -> int:
    """`value * 10**exponent` toward zero."""
    return value * pow10(exponent) if exponent >= 0 else div_trunc(value, pow10(-exponent))


def mul_pow10_floor(value: int, exponent: int) -> int:
    """`value * 10**exponent` toward minus infinity."""
    return value * pow10(exponent) if exponent >= 0 else value // pow10(-exponent)


def mul_pow10_ceil(value: int, exponent: int) -> int:
    """`value * 10**exponent` toward plus infinity."""
    return value * pow10(exponent) if exponent >= 0 else div_ceil(value, pow10(-exponent))


def rational_mul_pow10(num: int, den: int, exponent: int) -> Rational:
    """`num / den * 10**exponent`, exact."""
    return reduced(num * pow10(exponent), den) if exponent >= 0 else reduced(num, den * pow10(-exponent))


def round_to_multiple(value: int, multiple: int, round_up: bool) -> int:
    """Nearest multiple of `multiple` at or above (`round_up`) or at or below `value`."""
    if multiple <= 0:
        raise panic("BigIntRoundToMultiple: multiple must be positive")
    quotient = div_ceil(value, multiple) if round_up else value // multiple
    return quotient * multiple


def clamp(value: int, lower: int, upper: int) -> int:
    """Below `lower` gives `lower`, else above `upper` gives `upper`; the lower bound is looked at first."""
    if value < lower:
        return lower
    return min(value, upper)


def base_to_quote_quantums_trunc(quantums: int, atomic_resolution: int, price: int, exponent: int) -> int:
    """Notional in quote quantums: `quantums * price * 10**(exponent + atomic_resolution + 6)` toward zero."""
    return mul_pow10_trunc(quantums * price, exponent + atomic_resolution - QUOTE_ATOMIC_RESOLUTION)


def quote_to_base_quantums_trunc(
    quote_quantums: int, atomic_resolution: int, price: int, exponent: int
) -> int:
    """The size that `quote_quantums` buy at the oracle price, toward zero."""
    power = exponent + atomic_resolution - QUOTE_ATOMIC_RESOLUTION
    return div_trunc(mul_pow10_trunc(quote_quantums, -power), price)


def fill_amount_to_quote_quantums_floor(
    subticks: int, base_quantums: int, quantum_conversion_exponent: int
) -> int:
    """What a fill costs: `subticks * base_quantums * 10**quantum_conversion_exponent`, floored."""
    return mul_pow10_floor(subticks * base_quantums, quantum_conversion_exponent)


def price_to_subticks(
    price: int,
    exponent: int,
    base_atomic_resolution: int,
    quantum_conversion_exponent: int,
    quote_atomic_resolution: int = QUOTE_ATOMIC_RESOLUTION,
) -> Rational:
    """The oracle price as a level of the order book, an exact rational."""
    power = exponent + base_atomic_resolution - quantum_conversion_exponent - quote_atomic_resolution
    return rational_mul_pow10(price, 1, power)


def average_price_subticks(
    quote_quantums: int, base_quantums: int, quantum_conversion_exponent: int
) -> Rational:
    """The mean price of a trade as a level of the order book, an exact rational."""
    if base_quantums == 0:
        raise panic("GetAveragePriceSubticks: bigBaseQuantums = 0")
    return rational_mul_pow10(quote_quantums, base_quantums, -quantum_conversion_exponent)


def median_int32(values: Sequence[int]) -> int:
    """Middle value; of an even count the mean of the two middle ones, rounded away from zero."""
    if not values:
        raise panic("input cannot be empty")
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    total = ordered[middle - 1] + ordered[middle]
    return div_ceil(total, 2) if total > 0 else total // 2


def mean_int32_trunc(values: Sequence[int]) -> int:
    """Mean toward zero."""
    return div_trunc(sum(values), len(values))


def asset_to_coin(quantums: int, atomic_resolution: int, denom_exponent: int) -> tuple[int, int]:
    """Quantums of an asset as an amount of its bank denomination, floored.

    Returns the amount and what that amount is worth in quantums again.
    """
    if abs(atomic_resolution) > MAX_DENOM_EXPONENT:
        raise error("ErrInvalidAssetAtomicResolution")
    if abs(denom_exponent) > MAX_DENOM_EXPONENT:
        raise error("ErrInvalidDenomExponent")
    amount = mul_pow10_floor(quantums, atomic_resolution - denom_exponent)
    return amount, mul_pow10_floor(amount, denom_exponent - atomic_resolution)
