"""Walk back through an account's fills or transfers, page by page, each row once.

Pages go by time, not by number, which would shift while new rows come in. The rows of a page's oldest time
come again on the next one and are left out there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from dydx_perf.errors import GapError
from dydx_perf.feeds.rest import FillRow, TransferRow, fill_rows, transfer_rows
from dydx_perf.feeds.rest_paths import MAX_LIMIT, checked_limit, checked_time, fills_path, transfers_path

__all__ = ["Walk", "fills_walk", "transfers_walk"]


class _Dated(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def created_at(self) -> str: ...


RowT = TypeVar("RowT", bound=_Dated)


class Walk(Generic[RowT]):
    """Ask for `path` and hand the answer's document to `take`, until `path` is None.

    Attributes
    ----------
    path : str or None
        What to ask next; None: everything has come.
    """

    path: str | None

    def __init__(
        self,
        path: Callable[[str | None], str],
        rows: Callable[[Any], list[RowT]],
        since: str | None,
        limit: int,
    ) -> None:
        self._path, self._rows = path, rows
        self._since = checked_time("since", since) or ""
        self._limit = checked_limit(limit)
        self._edge: str | None = None  # the oldest time that came
        self._at_edge: set[str] = set()  # the rows of that time
        self.path = path(None)

    def take(self, document: Any) -> list[RowT]:
        """Return the rows that have not come before, newest first.

        Parameters
        ----------
        document : object
            What `answer` gave; None, for an account that the venue does not know, ends the walk.

        Raises
        ------
        FrameError
        GapError
            As many rows of one time as an answer holds: what is beyond cannot be asked for. The walk stays.
        """
        page = [] if document is None else self._rows(document)
        new = [row for row in page if row.id not in self._at_edge and row.created_at >= self._since]
        if len(page) < (self._limit or MAX_LIMIT) or page[-1].created_at < self._since:
            self.path = None
            return new
        oldest = page[-1].created_at
        if oldest == self._edge and not new:
            raise GapError(f"{len(page)} rows or more were created at {oldest}; ask for more on a page")
        self._at_edge = {row.id for row in page if row.created_at == oldest} | (
            self._at_edge if oldest == self._edge else set()
        )
        self._edge = oldest
        self.path = self._path(oldest)
        return new


def fills_walk(
    address: str, number: int, *, parent: bool = False, since: str | None = None, limit: int = MAX_LIMIT
) -> Walk[FillRow]:
    """Walk back through fills, to those of the time `since`."""

    def path(before: str | None) -> str:
        return fills_path(address, number, parent=parent, limit=limit, created_before_or_at=before)

    return Walk(path, fill_rows, since, limit)


def transfers_walk(
    address: str, number: int, *, parent: bool = False, since: str | None = None, limit: int = MAX_LIMIT
) -> Walk[TransferRow]:
    """Walk back through transfers, to those of the time `since`."""

    def path(before: str | None) -> str:
        return transfers_path(address, number, parent=parent, limit=limit, created_before_or_at=before)

    return Walk(path, transfer_rows, since, limit)
