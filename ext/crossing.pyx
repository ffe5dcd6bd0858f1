"""What a book reports: one edge of one account."""

cimport cython


@cython.final
cdef class Crossing:
    """One edge: an account became, or stopped being, liquidatable, or crossed a threshold of its own.

    `below` is True when it is liquidatable, or its nc / mmr is below `threshold` (numerator, denominator), on the
    state after the call; `threshold` is None for the chain's own rule. `risk` is that state's.
    """

    def __init__(self):
        raise TypeError("a Crossing comes from a Book")

    @property
    def is_liquidation(self):
        """Whether this is about the chain's own rule, not about a user's threshold."""
        return self.threshold is None

    def __eq__(self, other):
        if not isinstance(other, Crossing):
            return NotImplemented
        return (self.handle, self.below, self.threshold, self.risk) == (
            other.handle, other.below, other.threshold, other.risk)

    def __hash__(self):
        return hash((self.handle, self.below, self.threshold))

    def __reduce__(self):
        return make_crossing, (self.handle, self.address, self.number, self.threshold, self.below, self.risk)

    def __repr__(self):
        if self.threshold is None:
            what = "liquidatable" if self.below else "no longer liquidatable"
        else:
            what = f"{'below' if self.below else 'no longer below'} {self.threshold[0]}/{self.threshold[1]}"
        return f"Crossing({self.address}/{self.number} {what}, distance={self.risk.distance})"


def make_crossing(handle, address, number, threshold, below, risk):
    """A crossing of its parts; what pickle calls."""
    cdef Crossing crossing = Crossing.__new__(Crossing)
    crossing.handle = handle
    crossing.address = address
    crossing.number = number
    crossing.threshold = threshold
    crossing.below = below
    crossing.risk = risk
    return crossing
