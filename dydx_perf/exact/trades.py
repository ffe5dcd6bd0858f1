"""Trades of any size in one market: what they do to a settled subaccount, exactly and as straight lines.

The exact side rounds as the chain does. The straight side leaves every rounding out and says how far that can
be off, so that a whole range of sizes can be judged by its two ends (`dydx_perf.exact.search`).

Let s be the side (+1 buys), p the position before, q the size, u the fill price and v the oracle price, both
in quote quantums for one base quantum; P = p + s*q; a fee of f and a builder's fee of b, as fractions.

* value |N| = floor(v*|P|) lies in (v*|P| - 1, v*|P|];
* the fill F = floor(u*q) in (u*q - 1, u*q]; its fee ceil(f*F) within (-|f|, 1 + |f|) of f*u*q; the builder's
  fee within (-b, 1) of b*u*q, or of b*q where it is taken on the base amount;
* so net collateral is within 1 + 1 + (1 + |f|) + (1 + b) = 4 + |f| + b of
  nc0 - N(p) + v*P - s*u*q - f*u*q - (b*u*q or b*q), which is linear in q;
* maintenance margin ceil(ceil(|N|*i)*m) lies in ((v*|P| - 1)*i*m, v*|P|*i*m + m + 1), linear where P keeps
  its sign;
* initial margin ceil(|N|*g) lies in ((v*|P| - 1)*g, v*|P|*g + 1); with open interest the fraction g changes
  in steps, but on a range on which open interest goes one way only it lies between its values at the ends.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from dydx_perf.exact.arith import ONE_MILLION, mul_ppm_ceil
from dydx_perf.exact.margin import (
    SUCCESS,
    adjusted_initial_margin_ppm,
    is_initial_collateralized,
    maintenance_margin,
    notional,
    state_transition,
)
from dydx_perf.exact.search import Bound
from dydx_perf.exact.state import Perpetual, RiskState


def power_of_ten(exponent: int) -> Fraction:
    """10**exponent, exact."""
    return Fraction(10**exponent) if exponent >= 0 else Fraction(1, 10**-exponent)


def oracle_price_of_quantum(perpetual: Perpetual) -> Fraction:
    """Quote quantums for one base quantum at the oracle price, exact."""
    return perpetual.price * power_of_ten(perpetual.exponent + perpetual.atomic_resolution + 6)


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades on one side at one price, by their size in base quantums.

    Units: quantums are base quantums, everything else quote quantums. `others` is the risk of the settled
    subaccount without the position's value and margins; balance and quote balance are in it.
    """

    perpetual: Perpetual
    others: RiskState
    held: int  # signed
    custom_imf_ppm: int
    is_buy: bool
    fill_price: Fraction  # quote quantums for one base quantum
    fee_ppm: int
    builder_fee_ppm: int = 0
    is_builder_fee_on_base: bool = False
    moves_open_interest: bool = False
    counterparty: int = 0  # signed base quantums of the other side; only with moves_open_interest
    oracle_price: Fraction = field(init=False)
    current: RiskState = field(init=False)  # before a trade

    def __post_init__(self) -> None:
        object.__setattr__(self, "oracle_price", oracle_price_of_quantum(self.perpetual))
        object.__setattr__(self, "current", self.risk(0))

    # -- exact

    def position(self, size: int) -> int:
        """Signed base quantums after a trade."""
        return self.held + size if self.is_buy else self.held - size

    def value(self, size: int) -> int:
        """What a fill is worth, floored."""
        return size * self.fill_price.numerator // self.fill_price.denominator

    def fees(self, size: int) -> tuple[int, int]:
        """Fee and builder's fee, each rounded up."""
        value = self.value(size)
        on = size if self.is_builder_fee_on_base else value
        return mul_ppm_ceil(value, self.fee_ppm), mul_ppm_ceil(on, self.builder_fee_ppm)

    def usdc_delta(self, size: int) -> int:
        """What a trade adds to the balance."""
        value = self.value(size)
        return (-value if self.is_buy else value) - sum(self.fees(size))

    def open_interest(self, size: int) -> int:
        """Open interest after a trade; it may lie below zero, which the chain refuses."""
        if not self.moves_open_interest:
            return self.perpetual.open_interest
        after = self.position(size)
        other = self.counterparty - (after - self.held)
        return (
            self.perpetual.open_interest
            + max(after, 0)
            - max(self.held, 0)
            + max(other, 0)
            - max(self.counterparty, 0)
        )

    def initial_fraction_ppm(self, size: int) -> int:
        """Initial margin fraction after a trade: scaled by open interest, or the subaccount's own."""
        scaled = adjusted_initial_margin_ppm(
            self.perpetual, notional(self.perpetual, self.open_interest(size))
        )
        return max(scaled, self.custom_imf_ppm)

    def maintenance(self, size: int) -> int:
        """Maintenance margin of the whole subaccount after a trade."""
        value = abs(notional(self.perpetual, self.position(size)))
        return self.others.mmr + maintenance_margin(self.perpetual, value)

    def risk(self, size: int) -> RiskState:
        """Risk of the subaccount after a trade."""
        value = notional(self.perpetual, self.position(size))
        initial = mul_ppm_ceil(abs(value), self.initial_fraction_ppm(size))
        return RiskState(
            self.others.nc + value + self.usdc_delta(size),
            self.others.imr + initial,
            self.others.mmr + maintenance_margin(self.perpetual, abs(value)),
        )

    def integers(self, size: int) -> tuple[int, ...]:
        """All that the risk after a trade is made of, each monotonic in the size on either side of `bend`."""
        return (
            notional(self.perpetual, self.position(size)),
            self.value(size),
            *self.fees(size),
            self.initial_fraction_ppm(size),
            min(self.open_interest(size), 0),
        )

    @property
    def bend(self) -> int:
        """Size at which the position crosses zero; 0 or less where it only grows.

        Up to it a straight line of the magnitude falls, from it on it rises. Open interest goes one way on
        either side of it, too: a trade that closes cannot raise it, and one that opens cannot lower it,
        whatever the other side holds.
        """
        return -self.held if self.is_buy else self.held

    # -- straight

    def straight_value(self, size: int) -> Fraction:
        """Magnitude of the position's value, no rounding."""
        return abs(self.position(size)) * self.oracle_price

    def straight_collateral(self, size: int) -> Fraction:
        """Net collateral, no rounding; off by less than `collateral_error`."""
        fill = size * self.fill_price
        fees = fill * Fraction(self.fee_ppm, ONE_MILLION)
        fees += (size if self.is_builder_fee_on_base else fill) * Fraction(self.builder_fee_ppm, ONE_MILLION)
        return (
            self.others.nc + self.position(size) * self.oracle_price - (fill if self.is_buy else -fill) - fees
        )

    @property
    def collateral_error(self) -> Fraction:
        """4 + |f| + b quote quantums: see the top of this module."""
        return 4 + Fraction(abs(self.fee_ppm) + self.builder_fee_ppm, ONE_MILLION)

    def maintenance_bounds(self, size: int) -> tuple[Fraction, Fraction]:
        """Lines below and above the maintenance margin of the whole subaccount."""
        perpetual = self.perpetual
        fraction = Fraction(perpetual.initial_margin_ppm * perpetual.maintenance_fraction_ppm, ONE_MILLION**2)
        value = self.straight_value(size)
        above = Fraction(perpetual.maintenance_fraction_ppm, ONE_MILLION) + 1
        return self.others.mmr + (value - 1) * fraction, self.others.mmr + value * fraction + above

    def initial_bounds(self, size: int, lowest_ppm: int, highest_ppm: int) -> tuple[Fraction, Fraction]:
        """Lines below and above the initial margin of the whole subaccount, for fractions in between."""
        value = self.straight_value(size)
        return (
            self.others.imr + (value - 1) * Fraction(lowest_ppm, ONE_MILLION),
            self.others.imr + value * Fraction(highest_ppm, ONE_MILLION) + 1,
        )

    # -- of whole ranges on one side of the bend

    def judge_line(
        self, sizes: tuple[int, int], bounds: Callable[[int], tuple[Fraction, Fraction]]
    ) -> bool | None:
        """Whether net collateral covers a requirement on the whole range; None where that is not plain."""
        error = self.collateral_error
        slacks = [(self.straight_collateral(size), *bounds(size)) for size in sizes]
        if all(collateral - error >= above for collateral, _, above in slacks):
            return True
        if all(collateral + error < below for collateral, below, _ in slacks):
            return False
        return None

    def judge_initial(self, sizes: tuple[int, int]) -> bool | None:
        """Whether the whole range leaves the account initially collateralized."""
        fractions = sorted(map(self.initial_fraction_ppm, sizes))
        return self.judge_line(sizes, lambda size: self.initial_bounds(size, fractions[0], fractions[-1]))

    def judge_level(self, sizes: tuple[int, int], level: Fraction) -> bool | None:
        """Whether the whole range leaves nc at `level` times mmr or above."""

        def bounds(size: int) -> tuple[Fraction, Fraction]:
            below, above = self.maintenance_bounds(size)
            return level * below, level * above

        return self.judge_line(sizes, bounds)

    def judge_transition(self, sizes: tuple[int, int]) -> bool | None:
        """Whether the whole range passes the state transition rule; None: not plain.

        With both maintenance margins above zero the rule is new.mmr <= mmr and
        new.nc * mmr - nc * new.mmr >= 0, where a tie goes to the smaller margin.
        """
        current = self.current
        margins = sorted(map(self.maintenance, sizes))
        if margins[0] > current.mmr:
            return False
        error = self.collateral_error
        collateral = [self.straight_collateral(size) for size in sizes]
        if current.mmr == 0:
            if margins[-1] > 0:
                return None
            if min(collateral) - error > current.nc:
                return True
            return False if max(collateral) + error <= current.nc else None
        if margins[-1] == 0:
            return False
        lowest, highest = [], []
        for size, straight in zip(sizes, collateral, strict=True):
            below, above = self.maintenance_bounds(size)
            if current.nc < 0:
                below, above = above, below
            lowest.append((straight - error) * current.mmr - current.nc * above)
            highest.append((straight + error) * current.mmr - current.nc * below)
        if max(highest) < 0:
            return False
        if margins[-1] <= current.mmr and margins[0] > 0 and min(lowest) >= 0:
            return True
        return None

    def are_alike(self, sizes: tuple[int, int]) -> bool:
        """Whether every size of the range comes to the same integers: monotonic ones end as they began."""
        return self.integers(sizes[0]) == self.integers(sizes[1])

    # -- the chain's verdict

    def passes(self, size: int) -> bool:
        """Whether the chain lets a trade through, isolated rules aside.

        A match is compared with the account after open interest moved, whose imr differs; the rule does
        not look at it.
        """
        if self.open_interest(size) < 0:
            return False
        new = self.risk(size)
        return is_initial_collateralized(new) or state_transition(self.current, new) == SUCCESS

    def judge_passes(self, sizes: tuple[int, int]) -> bool | None:
        """Whether the chain lets the whole range through, or none of it; None: not plain."""
        below_zero = [self.open_interest(size) < 0 for size in sizes]
        if all(below_zero):
            return False
        initial = self.judge_initial(sizes)
        transition = None if initial else self.judge_transition(sizes)
        if not any(below_zero) and (initial or transition):
            return True
        if initial is False and transition is False:
            return False
        return self.passes(sizes[0]) if self.are_alike(sizes) else None


def straight_ranges(trades: Trades, step: int, most: int) -> list[tuple[int, int]]:
    """Ranges (first, last) of whole steps, 1 to `most`, up to the bend and from there on."""
    last = min(max(trades.bend, 0) // step, most)
    return [(first, end) for first, end in ((1, last), (last + 1, most)) if first <= end]


def in_steps(judge: Callable[[tuple[int, int]], bool | None], step: int) -> Bound:
    """A judge of sizes as a bound on numbers of steps."""
    return lambda start, end: judge((start * step, end * step))
