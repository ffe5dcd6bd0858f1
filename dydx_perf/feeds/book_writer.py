"""Several changes of a book that are one step to the outside: crossings netted, observers' errors put off."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dydx_perf.errors import ObserverError
from dydx_perf.ext.crossing import Crossing

__all__ = ["BookWriter", "net_crossings"]


class BookWriter:
    """Changes of a book within one message."""

    def __init__(self) -> None:
        self._crossings: list[Crossing] = []
        self._errors: list[Exception] = []

    def write(self, change: Callable[[], Iterable[Crossing]]) -> None:
        """Change the book; what its observers raise is kept for `error`."""
        try:
            self._crossings += change()
        except ObserverError as error:
            self.add(error.crossings, error.errors)

    def add(self, crossings: Iterable[Crossing], errors: Iterable[Exception]) -> None:
        """Take over what a change of its own has given."""
        self._crossings += crossings
        self._errors += errors

    @property
    def has_error(self) -> bool:
        """Whether observers raised."""
        return bool(self._errors)

    def crossings(self) -> list[Crossing]:
        """Return what was crossed since the last call, on the state after it."""
        found, self._crossings = net_crossings(self._crossings), []
        return found

    def error(self, crossings: Iterable[Crossing]) -> ObserverError | None:
        """Return what observers raised since the last call, None: nothing."""
        errors, self._errors = self._errors, []
        return ObserverError(errors, list(crossings)) if errors else None


def net_crossings(crossings: list[Crossing]) -> list[Crossing]:
    """Keep the crossings that hold after all of them: a line crossed there and back is none."""
    by_line: dict[tuple[int, tuple[int, int] | None], list[Crossing]] = {}
    for crossing in crossings:
        by_line.setdefault((crossing.handle, crossing.threshold), []).append(crossing)
    kept = {id(found[-1]) for found in by_line.values() if len(found) % 2}
    return [crossing for crossing in crossings if id(crossing) in kept]
