"""Decimal arithmetic of the indexer and of the web app: sums and products exact, every division named.

Three libraries divide in that world, each in its own way; only these places divide at all:

========================= ============================ ================================================
place                     library                      rounding of a quotient
========================= ============================ ================================================
entry and exit price      PostgreSQL ``numeric``       half away from zero, at 20 decimals or more (16
                                                       significant digits): `weighted_mean_numeric`
indexer's TypeScript      big.js (none of the figures  half away from zero at 20 decimals
                          here divides there)
web app                   bignumber.js                 half away from zero at 20 decimals:
                                                       `divide_half_up_20`
========================= ============================ ================================================

None of them cuts. The reference's "cut at 20 decimals" is the cast of the two operands in front of the SQL
division (``dydx_get_weighted_average``), and that cast rounds too. A quotient below 0.0001 has more decimals
than 20: recorded entry prices of SHIB-USD and BONK-USD have 24.

Results do not depend on the caller's decimal context, and no raw operator is used on a Decimal here.
"""

from collections.abc import Iterable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Overflow

#: Room for every digit of a sum or product; a digit lost would raise.
EXACT = Context(
    prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, clamp=0, traps=[Inexact, InvalidOperation, Overflow]
)
ZERO, ONE = Decimal(0), Decimal(1)
#: Decimals of a quotient in big.js and bignumber.js, and of both operands of the SQL division.
DECIMAL_PLACES = 20
NUMERIC_DIGITS_PER_WORD = 4  # PostgreSQL counts in base 10000
NUMERIC_MIN_SIGNIFICANT_DIGITS = 16


def add(*terms: Decimal) -> Decimal:
    """Add all terms, exact."""
    return total(terms)


def total(terms: Iterable[Decimal]) -> Decimal:
    """Add all terms, exact; 0 for none."""
    result = ZERO
    for term in terms:
        result = EXACT.add(result, term)
    return result


def subtract(minuend: Decimal, subtrahend: Decimal) -> Decimal:
    """Return `minuend - subtrahend`, exact."""
    return EXACT.subtract(minuend, subtrahend)


def multiply(*factors: Decimal) -> Decimal:
    """Multiply all factors, exact."""
    result = ONE
    for factor in factors:
        result = EXACT.multiply(result, factor)
    return result


def div_half_away(num: int, den: int) -> int:
    """Divide to the nearest integer, a half away from zero."""
    quotient = (2 * abs(num) + abs(den)) // (2 * abs(den))
    return quotient if (num < 0) == (den < 0) else -quotient


def divide_half_away(dividend: Decimal, divisor: Decimal, decimals: int) -> Decimal:
    """Divide to that many decimals, a half away from zero."""
    num, num_den = dividend.as_integer_ratio()
    den, den_den = divisor.as_integer_ratio()
    quotient = div_half_away(num * den_den * 10**decimals, num_den * den)
    return EXACT.scaleb(Decimal(quotient), -decimals)


def divide_half_up_20(dividend: Decimal, divisor: Decimal) -> Decimal:
    """Divide as bignumber.js and big.js do by default: 20 decimals, a half away from zero (their half up)."""
    return divide_half_away(dividend, divisor, DECIMAL_PLACES)


def round_half_away_20(value: Decimal) -> Decimal:
    """Round as a cast to ``numeric(256, 20)`` does: 20 decimals, a half away from zero."""
    return divide_half_away(value, ONE, DECIMAL_PLACES)


def numeric_leading_word(value: Decimal) -> tuple[int, int]:
    """Return weight and value of the first base-10000 digit, as PostgreSQL stores it; (0, 0) for zero."""
    if value.is_zero():
        return 0, 0
    weight = value.adjusted() // NUMERIC_DIGITS_PER_WORD
    return weight, abs(int(EXACT.scaleb(value, -NUMERIC_DIGITS_PER_WORD * weight)))


def numeric_division_decimals(dividend: Decimal, divisor: Decimal, operand_decimals: int) -> int:
    """Count the decimals PostgreSQL gives a quotient: 16 significant digits, at least those of the operands.

    The weight of the quotient is only guessed, low rather than high, from the operands' first digits.
    """
    dividend_weight, dividend_word = numeric_leading_word(dividend)
    divisor_weight, divisor_word = numeric_leading_word(divisor)
    quotient_weight = dividend_weight - divisor_weight
    if dividend_word <= divisor_word:
        quotient_weight -= 1
    significant = NUMERIC_MIN_SIGNIFICANT_DIGITS - quotient_weight * NUMERIC_DIGITS_PER_WORD
    return max(significant, operand_decimals)


def divide_numeric_20(dividend: Decimal, divisor: Decimal) -> Decimal:
    """Divide as SQL does after casting both to ``numeric(256, 20)``: rounds thrice, half away from zero."""
    dividend, divisor = round_half_away_20(dividend), round_half_away_20(divisor)
    return divide_half_away(dividend, divisor, numeric_division_decimals(dividend, divisor, DECIMAL_PLACES))


def weighted_mean_numeric(
    first_price: Decimal | None, first_weight: Decimal, second_price: Decimal, second_weight: Decimal
) -> Decimal:
    """Average two prices as the indexer's SQL does (``dydx_get_weighted_average``); a missing price is 0."""
    first_value = multiply(first_price, first_weight) if first_price is not None else ZERO
    value = add(first_value, multiply(second_price, second_weight))
    return without_trailing_zeros(divide_numeric_20(value, add(first_weight, second_weight)))


def without_trailing_zeros(value: Decimal) -> Decimal:
    """Return the same number with no zeros at the end of its fraction, no exponent and no negative zero."""
    return EXACT.add(value.normalize(EXACT), ZERO)


def decimal_text(value: Decimal) -> str:
    """Write all digits as the indexer does: no exponent, no zeros at the end of the fraction, no -0."""
    return format(without_trailing_zeros(value), "f")
