"""Between what people write and the chain's integers, exactly.

Amounts enter as ``str``, ``int`` or ``Decimal`` and become the chain's integers; integers leave as
``Decimal``. Nothing is rounded in either direction: what the target unit cannot hold is refused. A ``float``
is refused because it is rarely the number that was written (``0.1`` is not).

============== ============================================= ========================================
human          chain                                         one unit of the chain is
============== ============================================= ========================================
size, coins    base_quantums                                 10**atomic_resolution coin
USDC           quote_quantums                                10**-6 USDC
oracle price   price integer, uint64                         10**exponent USDC per coin
order price    subticks                                      10**quantum_conversion_exponent
                                                             quote quantums per base quantum
funding rate   ppm per 8 hours                               10**-6 of the notional, each 8 hours
============== ============================================= ========================================
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal, Inexact, InvalidOperation, Overflow

from dydx_perf.errors import InputError

__all__ = [
    "QUOTE_ATOMIC_RESOLUTION",
    "annualised_funding_rate",
    "base_quantums_to_size",
    "funding_rate_1h",
    "funding_rate_8h",
    "price_integer_to_price",
    "price_to_price_integer",
    "price_to_subticks",
    "quote_quantums_to_usdc",
    "size_to_base_quantums",
    "subticks_to_price",
    "to_decimal",
    "to_fixed",
    "usdc_to_quote_quantums",
]

QUOTE_ATOMIC_RESOLUTION = -6  # a quote quantum is 10**-6 USDC

_MAX_CHARACTERS = 100  # longer text is no amount, and its cost must not be the sender's choice
_MAX_EXPONENT = 999  # magnitude, of a text and of a scale; same reason
_UINT64_MAX = 2**64 - 1
_A_NUMBER = "a decimal number in ASCII digits"

# Room for any result, so that scaling by a power of ten never rounds, whatever the caller's own context is;
# the trap would tell.
_EXACT = Context(
    prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN, clamp=0, traps=[Inexact, InvalidOperation, Overflow]
)


def to_fixed(argument: str, value: str | int | Decimal, scale: int) -> int:
    """Return ``value * 10**scale`` as an exact integer; nothing is rounded.

    Parameters
    ----------
    argument : str
        What the caller calls this value; an error names it.
    value : str, int or Decimal
        Text of at most 100 ASCII characters, exponent notation up to 999 allowed (``"1e-7"``); an int of any
        size; a finite Decimal whose own text is such text.
    scale : int
        Number of decimals kept; negative drops integer digits, which must then be zero.

    Raises
    ------
    InputError
        A float, bool or other type, text that is no plain number, NaN, infinity, over-long input, and a value
        with non-zero digits past the scale.
    """
    if isinstance(value, str):
        text = value
    elif isinstance(value, Decimal):
        if not value.is_finite():
            raise InputError(argument, value, "a finite number")
        text = Decimal.__str__(value)  # every digit of it, whatever the context's precision
    elif isinstance(value, bool):
        raise InputError(argument, value, "text, int or Decimal; a bool is no amount")
    elif isinstance(value, int):
        _check_scale("scale", scale)
        return _scaled(argument, value, int(value), 0, scale)
    elif isinstance(value, float):
        raise InputError(argument, value, "a float cannot hold the value exactly; pass text, int or Decimal")
    else:
        raise InputError(argument, value, "text, int or Decimal")
    try:
        return _parse_fixed(text, scale)
    except InputError as refused:
        if refused.argument == "scale":
            raise
        raise InputError(argument, value, refused.allowed) from None


def to_decimal(integer: int, exponent: int) -> Decimal:
    """Return ``integer * 10**exponent`` exactly, with that exponent; the caller's context never rounds it."""
    _check_integer("integer", integer)
    _check_scale("exponent", exponent)
    return _EXACT.scaleb(Decimal(integer), exponent)


def size_to_base_quantums(size: str | int | Decimal, atomic_resolution: int, argument: str = "size") -> int:
    """Return a signed size in coins as base quantums: ``size * 10**-atomic_resolution``, exact or refused."""
    _check_scale("atomic_resolution", atomic_resolution)
    return to_fixed(argument, size, -atomic_resolution)


def base_quantums_to_size(base_quantums: int, atomic_resolution: int) -> Decimal:
    """Return signed base quantums as coins: ``base_quantums * 10**atomic_resolution``, exact."""
    _check_integer("base_quantums", base_quantums)
    _check_scale("atomic_resolution", atomic_resolution)
    return to_decimal(base_quantums, atomic_resolution)


def usdc_to_quote_quantums(usdc: str | int | Decimal, argument: str = "usdc") -> int:
    """Return signed USDC as quote quantums: ``usdc * 10**6``, exact or refused."""
    return to_fixed(argument, usdc, -QUOTE_ATOMIC_RESOLUTION)


def quote_quantums_to_usdc(quote_quantums: int) -> Decimal:
    """Return signed quote quantums as USDC: ``quote_quantums * 10**-6``, exact."""
    _check_integer("quote_quantums", quote_quantums)
    return to_decimal(quote_quantums, QUOTE_ATOMIC_RESOLUTION)


def price_to_price_integer(
    oracle_price: str | int | Decimal, exponent: int, argument: str = "oracle_price"
) -> int:
    """Return an oracle price in USDC per coin as the chain's integer: ``oracle_price * 10**-exponent``.

    Exact or refused; 0 to 2**64 - 1, which is what the chain's field holds (that it never sets 0 is not a
    question of units).
    """
    _check_scale("exponent", exponent)
    price = to_fixed(argument, oracle_price, -exponent)
    if not 0 <= price <= _UINT64_MAX:
        raise InputError(argument, oracle_price, f"0 to {to_decimal(_UINT64_MAX, exponent)}")
    return price


def price_integer_to_price(price: int, exponent: int) -> Decimal:
    """Return the chain's price integer as USDC per coin: ``price * 10**exponent``, exact."""
    _check_integer("price", price)
    _check_scale("exponent", exponent)
    return to_decimal(price, exponent)


def price_to_subticks(
    price: str | int | Decimal,
    atomic_resolution: int,
    quantum_conversion_exponent: int,
    argument: str = "price",
) -> int:
    """Return an order price in USDC per coin as subticks, exact or refused.

    ``price * 10**(6 + atomic_resolution - quantum_conversion_exponent)``, from 0 to 2**64 - 1. Whether it is
    a multiple of the market's subticks_per_tick is the market's question.
    """
    scale = _subticks_scale(atomic_resolution, quantum_conversion_exponent)
    subticks = to_fixed(argument, price, scale)
    if not 0 <= subticks <= _UINT64_MAX:
        raise InputError(argument, price, f"0 to {to_decimal(_UINT64_MAX, -scale)}")
    return subticks


def subticks_to_price(subticks: int, atomic_resolution: int, quantum_conversion_exponent: int) -> Decimal:
    """Return subticks as USDC per coin, exact: the inverse of `price_to_subticks`."""
    _check_integer("subticks", subticks)
    return to_decimal(subticks, -_subticks_scale(atomic_resolution, quantum_conversion_exponent))


def funding_rate_8h(ppm: int) -> Decimal:
    """Return the chain's funding rate (ppm per 8 hours) as a fraction of the notional per 8 hours, exact."""
    _check_integer("ppm", ppm)
    return to_decimal(ppm, -6)


def funding_rate_1h(ppm: int) -> Decimal:
    """Return the chain's funding rate (ppm per 8 hours) as a fraction per hour: an eighth, exact."""
    _check_integer("ppm", ppm)
    return to_decimal(ppm * 125, -9)


def annualised_funding_rate(ppm: int) -> Decimal:
    """Return the chain's funding rate (ppm per 8 hours) as a fraction per 365 days, not compounded, exact."""
    _check_integer("ppm", ppm)
    return to_decimal(ppm * 3 * 365, -6)


def _subticks_scale(atomic_resolution: int, quantum_conversion_exponent: int) -> int:
    """Return the power of ten from USDC per coin to subticks.

    USDC per coin is 10**(6 + atomic_resolution) quote quantums per base quantum.
    """
    _check_scale("atomic_resolution", atomic_resolution)
    _check_scale("quantum_conversion_exponent", quantum_conversion_exponent)
    return atomic_resolution - QUOTE_ATOMIC_RESOLUTION - quantum_conversion_exponent


def _check_integer(argument: str, value: object) -> None:
    """Refuse what is no int: a bool, a float, text."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(argument, value, "an int")


def _check_scale(argument: str, scale: int) -> None:
    """Refuse a power of ten that is no int or whose size would be the cost of the call."""
    _check_integer(argument, scale)
    if not -_MAX_EXPONENT <= scale <= _MAX_EXPONENT:
        raise InputError(argument, scale, f"-{_MAX_EXPONENT} to {_MAX_EXPONENT}")


def _scaled(argument: str, value: int | str, significand: int, exponent: int, scale: int) -> int:
    """Return ``significand * 10**(exponent + scale)``; a refusal to drop digits shows `value`."""
    power = exponent + scale
    unit: int = 10 ** abs(power)
    if power >= 0:
        return significand * unit
    kept, dropped = divmod(significand, unit)
    if dropped:
        allowed = f"at most {scale} decimals" if scale >= 0 else f"a multiple of 10**{-scale}"
        raise InputError(argument, value, allowed)
    return kept


_NUMBER = re.compile(r"([+-]?)(?:([0-9]+)\.?([0-9]*)|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?", re.ASCII)


def _parse_fixed_plain(text: str, scale: int, /) -> int:
    """Twin of ``dydx_perf.ext.numtext.parse_fixed`` in plain Python, for where nothing was compiled."""
    _check_scale("scale", scale)
    if len(text) > _MAX_CHARACTERS:
        raise InputError("text", text, f"at most {_MAX_CHARACTERS} characters")
    number = _NUMBER.fullmatch(text)
    if number is None:
        raise InputError("text", text, _A_NUMBER)
    sign, whole, fraction, bare_fraction, power = number.groups()
    decimals = fraction or bare_fraction or ""
    exponent = int(power or "0")
    if abs(exponent) > _MAX_EXPONENT:
        raise InputError("text", text, f"an exponent of at most {_MAX_EXPONENT}")
    significand = int(f"{sign}{whole or ''}{decimals}")
    return _scaled("text", text, significand, exponent - len(decimals), scale)


_parse_fixed: Callable[[str, int], int]
try:
    from dydx_perf.ext.numtext import parse_fixed as _parse_fixed
except ModuleNotFoundError:  # a build without a C compiler
    _parse_fixed = _parse_fixed_plain
