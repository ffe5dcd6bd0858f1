"""Decimal text to an exact integer.

The C function in ``numtext.h`` reads what fits int64; the rest of what can be written in 100 characters
(more digits, exponent notation) takes plain Python integers here. No float and no Decimal context comes near
a number.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongAndOverflow
from cpython.unicode cimport PyUnicode_Check, PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t

from dydx_perf.errors import InputError

cdef extern from "Python.h" nogil:
    bint PyUnicode_IS_ASCII(object text) noexcept
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL


cdef enum:
    MAX_CHARACTERS = 100  # longer text is no price, and its cost must not be the sender's choice
    MAX_EXPONENT = 999    # magnitude; same reason
    MAX_SCALE = 999       # magnitude


def parse_fixed(text, scale, /):
    """Return ``text * 10**scale`` as an exact integer of any size.

    Nothing is rounded: text with non-zero digits past the scale is refused.

    Parameters
    ----------
    text : str or bytes
        ``[+-] digits [. digits] [e [+-] digits]`` in ASCII, digits on at least one side of the point, at most
        100 characters, an exponent of at most 999.
    scale : int
        Number of decimals kept; negative drops integer digits, which must then be zero. -999 to 999.

    Returns
    -------
    int

    Raises
    ------
    InputError
        Names ``text`` or ``scale``.
    """
    cdef Py_ssize_t length = 0
    cdef const char *characters
    cdef int64_t value = 0
    cdef int overflow = 0
    cdef long decimals
    cdef numtext_status_t status

    if not isinstance(scale, int) or isinstance(scale, bool):
        raise InputError("scale", scale, "an int")
    decimals = PyLong_AsLongAndOverflow(scale, &overflow)
    if overflow or decimals > MAX_SCALE or decimals < -MAX_SCALE:
        raise InputError("scale", scale, f"-{MAX_SCALE} to {MAX_SCALE}")

    if PyUnicode_Check(text):
        # the length first: asking for UTF-8 of long non-ASCII text would encode and keep all of it
        length = PyUnicode_GET_LENGTH(text)
        if length > MAX_CHARACTERS:
            raise InputError("text", text, f"at most {MAX_CHARACTERS} characters")
        if not PyUnicode_IS_ASCII(text):
            raise InputError("text", text, "a decimal number in ASCII digits")
        characters = PyUnicode_AsUTF8AndSize(text, &length)
    elif PyBytes_Check(text):
        length = PyBytes_GET_SIZE(text)
        if length > MAX_CHARACTERS:
            raise InputError("text", text, f"at most {MAX_CHARACTERS} characters")
        characters = PyBytes_AS_STRING(text)
    else:
        raise InputError("text", text, "str or bytes")

    status = numtext_to_fixed(characters, <size_t>length, <int>decimals, &value)
    if status == NUMTEXT_OK:
        return value
    if status == NUMTEXT_MALFORMED:
        raise InputError("text", text, "a decimal number in ASCII digits")
    if status == NUMTEXT_INEXACT:
        raise InputError("text", text, exact_at(decimals))
    # bytes past ASCII may stand after an exponent mark; of latin-1 only 0-9 are decimal
    return parse_any_size(text, characters[:length].decode("latin-1"), decimals)


cdef str exact_at(long scale):
    """Say which numbers a scale can hold."""
    if scale >= 0:
        return f"at most {scale} decimals"
    return f"a multiple of 10**{-scale}"


cdef object parse_any_size(object text, str number, long scale):
    """Parse what the C function handed back: exponent notation, or more than int64 holds.

    Whatever stands before an exponent is known to be well formed.
    """
    cdef str significand, mark, exponent, unsigned, whole, fraction
    cdef object shift = scale  # an object: Cython would raise ten to a C integer in double
    significand, mark, exponent = number.replace("E", "e").partition("e")
    if mark:
        unsigned = exponent[1:] if exponent[:1] in ("+", "-") else exponent
        if not unsigned.isdecimal():
            raise InputError("text", text, "a decimal number in ASCII digits")
        if int(unsigned) > MAX_EXPONENT:
            raise InputError("text", text, f"an exponent of at most {MAX_EXPONENT}")
        shift += int(exponent)
    whole, _, fraction = significand.partition(".")
    digits = int(whole + fraction)  # the sign, if any, leads `whole`
    shift -= len(fraction)
    if shift >= 0:
        return digits * 10**shift
    kept, dropped = divmod(digits, 10**-shift)
    if dropped:
        raise InputError("text", text, exact_at(scale))
    return kept
