"""What this library raises, and nothing else on purpose.

::

    DydxPerfError                   everything below
    ├── InputError                  also ValueError: a refused argument, its value and what is allowed
    ├── UnknownMarketError          also KeyError: the chain at hand does not list this market
    ├── UnknownSubaccountError      also KeyError: no such account in the book, or a handle of one that went
    ├── CapacityError               also MemoryError: a fixed budget is full; nothing was changed
    ├── StaleError                  the picture is behind what it is of
    ├── FeedError                   what a venue sent, or did not send
    │   ├── FrameError              a frame that cannot be read, with the place; nothing of it was applied
    │   ├── GapError                messages were lost: the picture is not whole until a new snapshot
    │   ├── VenueError              the venue refused what was asked
    │   └── ConnectError            it cannot be reached, or the connection was lost
    ├── WriterError                 also RuntimeError: a book is already being changed
    ├── ObserverError               observers raised; every one of them was called
    ├── SnapshotError               a file that is no snapshot or recording, or no whole one
    │   ├── VersionError            a newer release wrote it
    │   └── ChecksumError           it is damaged
    ├── ConfigError                 also ValueError: a setting of the service, with its key
    └── ChainError                  the chain itself would answer with this error or panic

A call that raises one of these has changed nothing; but an ObserverError comes after the change, and carries
what the call would have returned. Each of them can be pickled and copied.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, Literal

__all__ = [
    "CapacityError",
    "ChainError",
    "ChecksumError",
    "ConfigError",
    "ConnectError",
    "DydxPerfError",
    "FeedError",
    "FrameError",
    "GapError",
    "InputError",
    "ObserverError",
    "SnapshotError",
    "StaleError",
    "UnknownMarketError",
    "UnknownSubaccountError",
    "VenueError",
    "VersionError",
    "WriterError",
]

_SHOWN = 60  # characters of a refused value that a message repeats
_SHOWN_BITS = 192  # an integer of this many bits still has fewer than 60 digits
_REPR = reprlib.Repr()  # walks a large container no further than it shows
_REPR.maxlong = _REPR.maxstring = _REPR.maxother = _SHOWN


class DydxPerfError(Exception):
    """Base of every error this library raises on purpose."""


class InputError(DydxPerfError, ValueError):
    """Refuse an argument: names it, its value and what is allowed.

    Parameters
    ----------
    argument : str
        Name of the argument as the caller wrote it.
    value : object
        The refused value, kept whole; the message repeats at most 60 characters of it.
    allowed : str
        What would have been accepted, or why this was not.
    """

    argument: str
    value: object
    allowed: str

    def __init__(self, argument: str, value: object, allowed: str) -> None:
        super().__init__(argument, value, allowed)
        self.argument = argument
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.argument}: {_shown(self.value)} is not allowed: {self.allowed}"


class UnknownMarketError(DydxPerfError, KeyError):
    """Report a market that the chain at hand does not list.

    Parameters
    ----------
    market : object
        The name or number that was looked up.
    """

    market: object

    def __init__(self, market: object) -> None:
        super().__init__(market)
        self.market = market

    def __str__(self) -> str:  # KeyError would print the bare repr of its argument
        return f"market {_shown(self.market)} is not known"


class UnknownSubaccountError(DydxPerfError, KeyError):
    """Report an account that the book does not hold.

    Parameters
    ----------
    subaccount : object
        The (address, number) or the handle that was looked up; a handle ends with its account.
    """

    subaccount: object

    def __init__(self, subaccount: object) -> None:
        super().__init__(subaccount)
        self.subaccount = subaccount

    def __str__(self) -> str:
        return f"subaccount {_shown(self.subaccount)} is not in the book"


class CapacityError(DydxPerfError, MemoryError):
    """Report that a fixed budget is full; nothing was changed."""


class StaleError(DydxPerfError):
    """Report that what is asked is behind what it is of; nothing stale is shown as if it were not."""


class WriterError(DydxPerfError, RuntimeError):
    """Report a second change while one is under way: a book has one writer."""


class ObserverError(DydxPerfError):
    """Report that observers raised; all were called, and the book is as it should be.

    Parameters
    ----------
    errors : sequence of Exception
        What they raised, in the order of the calls.
    crossings : sequence of Crossing
        What the call would have returned.
    """

    errors: tuple[Exception, ...]
    crossings: list[Any]

    def __init__(self, errors: Sequence[Exception], crossings: Sequence[Any]) -> None:
        super().__init__(errors, crossings)
        self.errors = tuple(errors)
        self.crossings = list(crossings)

    def __str__(self) -> str:
        kinds = ", ".join(sorted({type(error).__name__ for error in self.errors}))
        return f"{len(self.errors)} calls of observers failed: {kinds}"


class FeedError(DydxPerfError):
    """Base of what goes wrong between a venue and the picture kept of it."""


class FrameError(FeedError):
    """Report a frame that cannot be read; nothing of it was applied.

    Parameters
    ----------
    reason : str
        What was expected.
    place : int or None
        Offset in bytes at which reading stopped; None where the frame is well formed and says what cannot be.
    field : str
        Path of the field, like ``contents[0].oraclePrices.BTC-USD``; empty: none is known.
    """

    reason: str
    place: int | None
    field: str

    def __init__(self, reason: str, place: int | None = None, field: str = "") -> None:
        super().__init__(reason, place, field)
        self.reason = reason
        self.place = place
        self.field = field

    def __str__(self) -> str:
        where = f" in {self.field}" if self.field else ""
        at = "" if self.place is None else f" at byte {self.place}"
        return f"frame refused{where}{at}: {self.reason}"


class GapError(FeedError):
    """Report that messages were lost: what was built from them is not whole until a new snapshot."""


class VenueError(FeedError):
    """Report that the venue refused what was asked.

    Parameters
    ----------
    message : str
        The venue's own words.
    status : int or None
        Of an HTTP answer; None for a message on a connection.
    code : str or None
        The venue's own code: "GEOBLOCKED", "COMPLIANCE_BLOCKED".
    retry_after : float or None
        Seconds for which it wants to hear nothing.
    """

    message: str
    status: int | None
    code: str | None
    retry_after: float | None

    def __init__(
        self,
        message: str,
        status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, status, code, retry_after)
        self.message = message
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @property
    def is_temporary(self) -> bool:
        """Whether it may be answered later: there were too many questions, or the fault is the venue's."""
        return self.status is not None and (self.status == 429 or self.status >= 500)

    def __str__(self) -> str:
        return self.message if self.status is None else f"{self.status}: {self.message}"


class ConnectError(FeedError):
    """Report that a venue cannot be reached, or that a connection to it was lost."""


class ConfigError(DydxPerfError, ValueError):
    """Refuse a setting of the service.

    Parameters
    ----------
    key : str
        As it stands in the file, like ``feeds.websocket``.
    value : object
        What it was set to.
    allowed : str
        What would have been accepted.
    """

    key: str
    value: object
    allowed: str

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(key, value, allowed)
        self.key = key
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.value)} is not allowed: {self.allowed}"


class SnapshotError(DydxPerfError):
    """Report a file that is no snapshot or recording, or not a whole one; of a snapshot nothing was taken."""


class VersionError(SnapshotError):
    """Report a snapshot or recording of a newer release."""


class ChecksumError(SnapshotError):
    """Report a damaged snapshot or recording."""


class ChainError(DydxPerfError):
    """Report what the chain itself would answer to this input.

    Parameters
    ----------
    chain_name : str
        The protocol's sentinel (``"ErrNotImplementedMargin"``), or the panic text without its variable part.
    kind : "error" or "panic"
        Whether the chain returns an error or panics.
    code : str or None
        ``"module/number"`` of a registered sentinel; None for a panic or an unregistered error.
    """

    chain_name: str
    kind: Literal["error", "panic"]
    code: str | None

    def __init__(
        self, chain_name: str, kind: Literal["error", "panic"] = "error", code: str | None = None
    ) -> None:
        super().__init__(chain_name, kind, code)
        self.chain_name = chain_name
        self.kind = kind
        self.code = code

    def __str__(self) -> str:
        code = "" if self.code is None else f" ({self.code})"
        return f"the chain answers with the {self.kind} {self.chain_name}{code}"


def _shown(value: object) -> str:
    """Return at most 60 characters of a value's repr, without building a long repr first."""
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        # int -> text is refused by Python past 4300 digits and slow well before that
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (str, bytes)):
        text = repr(value[:_SHOWN])
    else:
        try:
            text = _REPR.repr(value)
        except ValueError:  # a huge integer inside a container: the refusal must not be hidden by its text
            text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
