"""Funding, PnL and margins of many positions at once, from NumPy columns, exact.

Hazards: the GIL is released while a call runs, so no other thread may write to the arrays meanwhile (a market
index changed after it was checked would read outside the tables). `use_path` is for tests: it changes the
path of every later call in this process.

Every array is one-dimensional, C-contiguous, of exactly the dtype named. Arrays that the call writes may not
share memory with any other array of the call. A refused call has written nothing. Arrays that the call makes
are rows of one block: copy one to keep it without the others.

Each function returns its out arrays and then ``unfit``: the rows, ascending, whose answer does not fit int64
and stands as 0 in the out arrays; only plain Python integers hold those. All other rows are exact. Ordinary
markets leave the list empty.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

import numpy

from dydx_perf.errors import InputError

cdef size_t MAX_MARKETS = 0x7fffffff  # vector gathers read an index as a signed 32-bit number

cdef columns_path_t available[COLUMNS_MAX_PATHS]
cdef int available_count = columns_paths(available)
cdef const columns_path_t *chosen = &available[0]


def paths():
    """Return the names of the paths this processor has, fastest first; all give the same integers."""
    return tuple([available[i].name.decode("ascii") for i in range(available_count)])


def path():
    """Return the name of the path in use, chosen at import: ``avx512``, ``avx2`` or ``plain``."""
    return chosen.name.decode("ascii")


def use_path(name, /):
    """Use another of `paths` from now on, in the whole process.

    Raises
    ------
    InputError
        This processor, or this build, has no path of that name.
    """
    global chosen
    cdef int i
    names = paths()
    if name not in names:
        raise InputError("name", name, " or ".join(names))
    i = names.index(name)
    chosen = &available[i]


def funding_payments(quantums, funding_index, market, current_funding_index, *, out=None):
    """Return what each position pays in funding when it is settled now.

    ``payment = -floor(-(current - own) * quantums / 10**6)``, each position rounded by itself as the chain's
    settlement events are; the change of an account's USDC is rounded once over the sum instead.
    Source: GetSettlementPpmWithPerpetual (x/perpetuals/lib/lib.go).

    Parameters
    ----------
    quantums : int64 array, one per position
        Signed size in base quantums.
    funding_index : int64 array, one per position
        The market's when the position was last settled, ppm of a quote quantum per base quantum.
    market : uint32 array, one per position
        Index into the per-market array.
    current_funding_index : int64 array, one per market
    out : int64 array, one per position, optional
        Where to write; otherwise an array is made.

    Returns
    -------
    payment : int64 array
        Quote quantums; > 0 is paid by the position, < 0 is received.
    unfit : list of int
        Rows whose payment does not fit int64.

    Raises
    ------
    InputError
        Wrong dtype, shape, length or overlap, or a market index outside the per-market array.
    """
    cdef const columns_path_t *using = chosen
    cdef funding_columns_t c
    cdef size_t row = 0, rows
    cdef const int64_t[::1] quantums_view = int64_column("quantums", quantums)
    cdef const int64_t[::1] index_view = int64_column("funding_index", funding_index)
    cdef const uint32_t[::1] market_view = uint32_column("market", market)
    cdef const int64_t[::1] current_view = int64_column("current_funding_index", current_funding_index)
    cdef int64_t[::1] payment_view

    rows = quantums_view.shape[0]
    require_length("funding_index", index_view.shape[0], rows, "quantums")
    require_markets(market_view, rows, current_view.shape[0], "current_funding_index")
    made = out_arrays(("out",), None if out is None else (out,), rows)
    payment_view = made[0]
    if out is not None:
        refuse_overlap(("out",), made, (quantums, funding_index, market, current_funding_index))

    unfit = []
    if rows == 0:
        return made[0], unfit
    c.quantums = &quantums_view[0]
    c.funding_index = &index_view[0]
    c.market = &market_view[0]
    c.current_funding_index = &current_view[0]
    c.payment = &payment_view[0]
    while True:
        with nogil:
            row = using.funding_payments(&c, row, rows)
        if row == rows:
            return made[0], unfit
        unfit.append(row)
        row += 1


def unrealized_pnl(quantums, entry_price, market, oracle_price, divisor, *, out=None):
    """Return the unrealized profit of each position, with nothing lost to rounding.

    ``quantums * (oracle_price - entry_price) = quotient * divisor + remainder``, the quotient rounded down.
    With ``oracle_price = price * 10**d`` and ``divisor = 10**(d - exponent - atomic_resolution - 6)``, d
    decimals being kept of entry prices beyond the price's own exponent, the quotient is in quote quantums.

    Parameters
    ----------
    quantums : int64 array, one per position
        Signed size in base quantums.
    entry_price : int64 array, one per position
        In the unit of `oracle_price`.
    market : uint32 array, one per position
        Index into the per-market arrays.
    oracle_price : uint64 array, one per market
    divisor : uint64 array, one per market
        1 to 10**18.
    out : pair of int64 arrays, one per position, optional
        Where to write quotient and remainder; otherwise arrays are made.

    Returns
    -------
    quotient : int64 array
        Quote quantums, rounded down; > 0 is a profit.
    remainder : int64 array
        0 <= remainder < divisor; the exact profit is ``quotient + remainder / divisor``.
    unfit : list of int
        Rows whose quotient does not fit int64.

    Raises
    ------
    InputError
        Wrong dtype, shape, length or overlap, a market index outside the per-market arrays, or a divisor
        outside its range.
    """
    cdef const columns_path_t *using = chosen
    cdef pnl_columns_t c
    cdef size_t row = 0, rows
    cdef const int64_t[::1] quantums_view = int64_column("quantums", quantums)
    cdef const int64_t[::1] entry_view = int64_column("entry_price", entry_price)
    cdef const uint32_t[::1] market_view = uint32_column("market", market)
    cdef const uint64_t[::1] price_view = uint64_column("oracle_price", oracle_price)
    cdef const uint64_t[::1] divisor_view = uint64_column("divisor", divisor)
    cdef int64_t[::1] quotient_view, remainder_view

    rows = quantums_view.shape[0]
    require_length("entry_price", entry_view.shape[0], rows, "quantums")
    require_length("divisor", divisor_view.shape[0], price_view.shape[0], "oracle_price")
    require_divisors(divisor_view)
    require_markets(market_view, rows, price_view.shape[0], "oracle_price")
    made = out_arrays(("out[0]", "out[1]"), out, rows)
    quotient_view, remainder_view = made
    if out is not None:
        refuse_overlap(("out[0]", "out[1]"), made, (quantums, entry_price, market, oracle_price, divisor))

    unfit = []
    if rows == 0:
        return *made, unfit
    c.quantums = &quantums_view[0]
    c.entry_price = &entry_view[0]
    c.market = &market_view[0]
    c.oracle_price = &price_view[0]
    c.divisor = &divisor_view[0]
    c.quotient = &quotient_view[0]
    c.remainder = &remainder_view[0]
    while True:
        with nogil:
            row = using.unrealized_pnl(&c, row, rows)
        if row == rows:
            return *made, unfit
        unfit.append(row)
        row += 1


def margin_requirements(
    quantums, market, oracle_price, divisor, initial_margin_ppm, scaled_initial_margin_ppm,
    maintenance_fraction_ppm, *, out=None
):
    """Return the net notional of each position and the margins it requires.

    ``net_notional = trunc(quantums * oracle_price / divisor)``, toward zero. On its magnitude n:
    ``initial_margin = ceil(n * scaled_initial_margin_ppm / 10**6)`` and
    ``maintenance_margin = ceil(ceil(n * initial_margin_ppm / 10**6) * maintenance_fraction_ppm / 10**6)``.
    Source: GetNetCollateralAndMarginRequirements (x/perpetuals/lib/lib.go).

    Parameters
    ----------
    quantums : int64 array, one per position
        Signed size in base quantums.
    market : uint32 array, one per position
        Index into the per-market arrays.
    oracle_price, divisor : uint64 arrays, one per market
        With ``power = exponent + atomic_resolution + 6``: ``price * 10**power`` and 1 where it is positive,
        else ``price`` and ``10**-power``. A divisor is 1 to 10**18.
    initial_margin_ppm : uint32 array, one per market
        The tier's own fraction, which the maintenance margin stands on.
    scaled_initial_margin_ppm : uint32 array, one per market
        The fraction as scaled by open interest (or raised by a custom one), which the initial margin uses.
    maintenance_fraction_ppm : uint32 array, one per market
    out : three int64 arrays, one per position each, optional
        Where to write; otherwise arrays are made.

    Returns
    -------
    net_notional : int64 array
        Quote quantums, with the sign of the size.
    initial_margin, maintenance_margin : int64 arrays
        Quote quantums.
    unfit : list of int
        Rows where one of the three does not fit int64.

    Raises
    ------
    InputError
        Wrong dtype, shape, length or overlap, a market index outside the per-market arrays, or a divisor
        outside its range.
    """
    cdef const columns_path_t *using = chosen
    cdef margin_columns_t c
    cdef size_t row = 0, rows, markets, i
    cdef margin_market_t *prepared
    cdef unsigned char[::1] table
    cdef const int64_t[::1] quantums_view = int64_column("quantums", quantums)
    cdef const uint32_t[::1] market_view = uint32_column("market", market)
    cdef const uint64_t[::1] price_view = uint64_column("oracle_price", oracle_price)
    cdef const uint64_t[::1] divisor_view = uint64_column("divisor", divisor)
    cdef const uint32_t[::1] initial_view = uint32_column("initial_margin_ppm", initial_margin_ppm)
    cdef const uint32_t[::1] scaled_view = uint32_column(
        "scaled_initial_margin_ppm", scaled_initial_margin_ppm)
    cdef const uint32_t[::1] fraction_view = uint32_column(
        "maintenance_fraction_ppm", maintenance_fraction_ppm)
    cdef int64_t[::1] net_view, initial_out_view, maintenance_out_view

    rows = quantums_view.shape[0]
    markets = price_view.shape[0]
    require_length("divisor", divisor_view.shape[0], markets, "oracle_price")
    require_length("initial_margin_ppm", initial_view.shape[0], markets, "oracle_price")
    require_length("scaled_initial_margin_ppm", scaled_view.shape[0], markets, "oracle_price")
    require_length("maintenance_fraction_ppm", fraction_view.shape[0], markets, "oracle_price")
    require_divisors(divisor_view)
    require_markets(market_view, rows, markets, "oracle_price")
    names = ("out[0]", "out[1]", "out[2]")
    made = out_arrays(names, out, rows)
    net_view, initial_out_view, maintenance_out_view = made
    if out is not None:
        refuse_overlap(
            names, made,
            (quantums, market, oracle_price, divisor, initial_margin_ppm, scaled_initial_margin_ppm,
             maintenance_fraction_ppm),
        )

    unfit = []
    if rows == 0:
        return *made, unfit
    table = numpy.empty(markets * sizeof(margin_market_t), dtype=numpy.uint8)
    prepared = <margin_market_t *>&table[0]
    for i in range(markets):
        prepared[i].oracle_price = price_view[i]
        prepared[i].divisor = divisor_view[i]
        prepared[i].initial_margin_ppm = initial_view[i]
        prepared[i].scaled_initial_margin_ppm = scaled_view[i]
        prepared[i].maintenance_fraction_ppm = fraction_view[i]
        prepared[i].zero = 0
    c.quantums = &quantums_view[0]
    c.market = &market_view[0]
    c.markets = prepared
    c.net_notional = &net_view[0]
    c.initial_margin = &initial_out_view[0]
    c.maintenance_margin = &maintenance_out_view[0]
    while True:
        with nogil:
            row = using.margin_requirements(&c, row, rows)
        if row == rows:
            return *made, unfit
        unfit.append(row)
        row += 1


# ---- what is refused at the door

cdef object refused_array(str argument, object value, str dtype):
    return InputError(argument, value, f"a C-contiguous one-dimensional {dtype} array")


cdef const int64_t[::1] int64_column(str argument, object value) except *:
    if value is None:  # a memoryview would accept None
        raise refused_array(argument, value, "int64")
    try:
        return value
    except (TypeError, ValueError, BufferError):
        raise refused_array(argument, value, "int64") from None


cdef const uint64_t[::1] uint64_column(str argument, object value) except *:
    if value is None:
        raise refused_array(argument, value, "uint64")
    try:
        return value
    except (TypeError, ValueError, BufferError):
        raise refused_array(argument, value, "uint64") from None


cdef const uint32_t[::1] uint32_column(str argument, object value) except *:
    if value is None:
        raise refused_array(argument, value, "uint32")
    try:
        return value
    except (TypeError, ValueError, BufferError):
        raise refused_array(argument, value, "uint32") from None


cdef int64_t[::1] writable_column(str argument, object value) except *:
    if value is None:
        raise refused_array(argument, value, "writable int64")
    try:
        return value
    except (TypeError, ValueError, BufferError):
        raise refused_array(argument, value, "writable int64") from None


cdef int require_length(str argument, size_t length, size_t expected, str as_many_as) except -1:
    if length != expected:
        raise InputError(argument, length, f"a length of {expected}, as {as_many_as} has")
    return 0


cdef int require_markets(const uint32_t[::1] market, size_t rows, size_t markets, str table) except -1:
    cdef size_t row
    require_length("market", market.shape[0], rows, "quantums")
    if markets > MAX_MARKETS:
        raise InputError(table, markets, f"a length of at most {MAX_MARKETS}")
    if rows == 0:
        return 0
    with nogil:
        row = first_unlisted_market(&market[0], rows, markets)
    if row < rows:
        raise InputError(f"market[{row}]", market[row], f"below {markets}, the length of {table}")
    return 0


cdef int require_divisors(const uint64_t[::1] divisor) except -1:
    cdef size_t markets = divisor.shape[0], market
    if markets == 0:
        return 0
    market = first_bad_divisor(&divisor[0], markets)
    if market < markets:
        raise InputError(f"divisor[{market}]", divisor[market], "1 to 10**18")
    return 0


cdef tuple out_arrays(tuple names, object out, size_t rows):
    """Return the caller's out arrays, checked, or new ones."""
    cdef int64_t[::1] view
    if out is None:
        # one block: the allocator gives a block of this size back to the next call, several it returns to the
        # system, and touching fresh pages costs more than the arithmetic
        return tuple(numpy.empty((len(names), rows), dtype=numpy.int64))
    if not isinstance(out, (tuple, list)) or len(out) != len(names):
        raise InputError("out", out, f"a tuple of {len(names)} arrays")
    for name, array in zip(names, out):
        view = writable_column(name, array)
        require_length(name, view.shape[0], rows, "quantums")
    return tuple(out)


cdef int refuse_overlap(tuple names, tuple outs, tuple inputs) except -1:
    """Refuse an out array that shares memory with another: a later row would read what an earlier wrote."""
    taken = list(inputs)
    for name, array in zip(names, outs):
        for other in taken:
            if numpy.may_share_memory(array, other):  # exact for contiguous arrays: it compares their bounds
                raise InputError(name, array, "an array that shares no memory with the others")
        taken.append(array)
    return 0
