"""First whole number of a range for which something holds, where it need not hold on one interval only.

A bound tells of a whole range that all of it passes, that none of it does, or that it cannot say; what it
cannot say is halved until the range is one number, and that one is evaluated. So the answer is exact whatever
the bound is worth: a poor bound costs time and never truth.
"""

from collections.abc import Callable

from dydx_perf.errors import CapacityError

#: of a whole range: True all pass, False none does, None not known
Bound = Callable[[int, int], bool | None]

LARGEST_EFFORT = 200_000


def first_passing(
    low: int, high: int, bound: Bound, holds: Callable[[int], bool], last: bool = False
) -> int | None:
    """Lowest number of `low` to `high` that holds, or with `last` the highest; None where none does.

    Raises
    ------
    CapacityError
        Not settled within 200,000 ranges: the numbers around the answer are too alike for the bound.
    """
    if low > high:
        return None
    ranges = [(low, high)]
    for _ in range(LARGEST_EFFORT):
        if not ranges:
            return None
        start, end = ranges.pop()
        known = bound(start, end) if start < end else holds(start)
        if known is False:
            continue
        if known is True:
            return end if last else start
        middle = (start + end) // 2
        halves = [(start, middle), (middle + 1, end)]
        # the one that is popped first stands last
        ranges.extend(halves if last else reversed(halves))
    raise CapacityError(
        f"no answer within {LARGEST_EFFORT} steps between {low} and {high}: a step is worth too little"
    )
