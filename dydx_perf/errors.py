"""What this library raises, and nothing else on purpose.

::

    DydxPerfError                   everything below
    ├── InputError                  also ValueError: a refused argument, its value and what is allowed
    ├── UnknownMarketError          also KeyError: the chain at hand does not list this market
    ├── CapacityError               also MemoryError: a fixed budget is full; nothing was changed
    └── ChainError                  the chain itself would answer with this error or panic

A call that raises one of these has changed nothing. Each of them can be pickled and copied.
"""

from __future__ import annotations

import reprlib
from typing import Literal

__all__ = ["CapacityError", "ChainError", "DydxPerfError", "InputError", "UnknownMarketError"]

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


class CapacityError(DydxPerfError, MemoryError):
    """Report that a fixed budget is full; nothing was changed."""


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
