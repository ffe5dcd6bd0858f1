"""Who is told of which account: observers held weakly, called once for each crossing."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import BuiltinMethodType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from dydx_perf.errors import CapacityError, InputError

if TYPE_CHECKING:
    from dydx_perf.ext.book import BookStore
    from dydx_perf.ext.crossing import Crossing
    from dydx_perf.ext.crossings import Crossings
    from dydx_perf.ext.indexed import IndexedStore

__all__ = ["Name", "Observer", "Observers", "Threshold"]

#: address and number
Name = tuple[str, int]
Observer = Callable[["Crossing"], object]
#: nc / mmr as text, int, Decimal, Fraction or (numerator, denominator)
Threshold = str | int | Decimal | Fraction | tuple[int, int]
#: the same reduced; None is the chain's own rule of liquidation
Ratio = tuple[int, int]
MAX_TERM = 2**63 - 1


def checked_threshold(threshold: Threshold) -> Ratio:
    """Return numerator and denominator, reduced."""
    allowed = "above zero, exact: text, int, Decimal, Fraction or (numerator, denominator)"
    try:
        if isinstance(threshold, tuple):
            numerator, denominator = threshold
            if not (type(numerator) is type(denominator) is int):
                raise InputError("threshold", threshold, allowed)
            ratio = Fraction(numerator, denominator)
        elif type(threshold) is not bool and isinstance(threshold, str | int | Decimal | Fraction):
            ratio = Fraction(threshold)
        else:
            raise InputError("threshold", threshold, allowed)
    except (ValueError, ZeroDivisionError, OverflowError):  # OverflowError: Decimal("Infinity")
        raise InputError("threshold", threshold, allowed) from None
    if ratio <= 0:
        raise InputError("threshold", threshold, allowed)
    if ratio.numerator > MAX_TERM or ratio.denominator > MAX_TERM:
        raise InputError("threshold", threshold, "a ratio whose reduced terms have at most 63 bits")
    return ratio.numerator, ratio.denominator


def weak_reference(observer: Observer) -> weakref.ref[Any]:
    """Return a weak reference that lives as long as what it names: a bound method as long as its object."""
    if not callable(observer):
        raise InputError("observer", observer, "something that can be called with a Crossing")
    if isinstance(observer, BuiltinMethodType) and not isinstance(observer.__self__, ModuleType):
        # Made anew at each look, so it would be forgotten at once; list.append is the one people try.
        raise InputError("observer", observer, "a function, or a method of a class in Python")
    try:
        return weakref.WeakMethod(observer) if isinstance(observer, MethodType) else weakref.ref(observer)
    except TypeError:
        raise InputError("observer", observer, "something that can be weakly referenced") from None


class Observers:
    """Weak references to observers, by handle and threshold, in the order they came.

    The thresholds themselves are the store's; each is there as long as somebody is told of it.
    """

    def __init__(self, store: BookStore | IndexedStore) -> None:
        self._store = store
        self._of: dict[int, dict[Ratio | None, list[weakref.ref[Any]]]] = {}

    def watch(self, slot: int, observer: Observer, threshold: Threshold | None) -> None:
        """Tell an observer of one more account and threshold; once, however often it is asked for."""
        reference = weak_reference(observer)
        ratio = None if threshold is None else checked_threshold(threshold)
        if ratio is not None:
            try:
                self._store.add_threshold(slot, *ratio)
            except CapacityError:  # what only observers that are no more were told of makes room
                self.tidy()
                self._store.add_threshold(slot, *ratio)
        references = self._of.setdefault(self._store.handle(slot), {}).setdefault(ratio, [])
        if reference not in references:
            references.append(reference)

    def unwatch(self, slot: int, observer: Observer, threshold: Threshold | None) -> None:
        """Forget what was asked for; nothing happens when it was not."""
        reference = weak_reference(observer)
        ratio = None if threshold is None else checked_threshold(threshold)
        references = self._of.get(self._store.handle(slot), {}).get(ratio, [])
        if reference in references:
            references.remove(reference)
            self.tidy()

    def forget(self, handle: int) -> None:
        """Forget everything about an account that went."""
        self._of.pop(handle, None)

    def tidy(self) -> None:
        """Drop observers that are no more, and the thresholds that nobody is left to be told of."""
        for handle, ratios in list(self._of.items()):
            for ratio, references in list(ratios.items()):
                references[:] = [reference for reference in references if reference() is not None]
                if not references:
                    del ratios[ratio]
                    if ratio is not None:
                        self._store.remove_threshold(self._store.slot(handle), *ratio)
            if not ratios:
                del self._of[handle]

    def call(self, crossings: Crossings) -> list[Exception]:
        """Call everybody who is told of each crossing; return what they raised, when all were called."""
        errors: list[Exception] = []
        if not self._of:
            return errors
        for crossing in crossings.among(self._of):
            ratios = self._of.get(crossing.handle, {})
            for reference in tuple(ratios.get(crossing.threshold, ())):
                observer = reference()
                if observer is None:
                    ratios[crossing.threshold].remove(reference)
                    continue
                try:
                    observer(crossing)
                except Exception as error:  # noqa: BLE001 # collected, and raised when all were called
                    errors.append(error)
        return errors
