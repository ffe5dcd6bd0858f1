"""Fields of JSON documents and of protobuf messages, read strictly: a refused one is named by its path.

A `Field` is a value and where it stands: ``markets['BTC-USD'].oraclePrice``. Nothing is guessed: a field that
is missing and has no default is refused, and so is a float, a bool for a number, or text for an object.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from dydx_perf.errors import InputError
from dydx_perf.units import to_fixed

__all__ = ["Field", "Read", "built"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_INTEGER = re.compile(r"-?[0-9]{1,100}", re.ASCII)
_KEY_SHOWN = 60  # characters of a mapping's key in a path
_PLAIN = (str, bytes, bytearray, memoryview, int, float, list, tuple, set, frozenset)
# First byte of an integer in bytes: version 1 shifted left once, then the sign.
_NON_NEGATIVE, _NEGATIVE = 2, 3


@dataclass(frozen=True, slots=True)
class Read(Generic[T_co]):
    """What a field was read as; `built` goes back to the field when somebody further on refuses the value."""

    field: Field
    value: T_co


@dataclass(frozen=True, slots=True)
class Field:
    """A value of a document or message, and the path by which an error names it; None: it is not there."""

    path: str
    value: object

    def refusal(self, allowed: str) -> InputError:
        """Return the error that names this field, its value and what is allowed."""
        missing = "; the field is missing" if self.value is None else ""
        return InputError(self.path, self.value, f"{allowed}{missing}")

    def __getitem__(self, name: str) -> Field:
        """Look up a key of a mapping or an attribute of a message; its value is None where there is none."""
        path = f"{self.path}.{name}"
        if isinstance(self.value, Mapping):
            return Field(path, self.value.get(name))
        if self.value is None or isinstance(self.value, _PLAIN):
            raise self.refusal("an object or a message")
        found: object = getattr(self.value, name, None)
        # A protobuf message makes up an empty part where none was sent.
        if hasattr(found, "HasField") and hasattr(self.value, "HasField") and not self.value.HasField(name):
            found = None
        return Field(path, found)

    def items(self) -> Iterator[tuple[str, Field]]:
        """Go through the keys and values of a mapping."""
        if not isinstance(self.value, Mapping):
            raise self.refusal("an object")
        for key, value in self.value.items():
            if not isinstance(key, str):
                raise InputError(self.path, key, "text as keys")
            yield key, Field(f"{self.path}[{key[:_KEY_SHOWN]!r}]", value)

    def each(self) -> Iterator[Field]:
        """Go through the members of a list or of any other iterable."""
        if isinstance(self.value, (str, bytes, bytearray, Mapping)) or not isinstance(self.value, Iterable):
            raise self.refusal("a list")
        for index, value in enumerate(self.value):
            yield Field(f"{self.path}[{index}]", value)

    def text(self) -> Read[str]:
        """Read text."""
        if not isinstance(self.value, str):
            raise self.refusal("a text")
        return Read(self, self.value)

    def integer(self, default: int | None = None) -> Read[int]:
        """Read an int, or its decimal text, as JSON carries 64 bits."""
        value = default if self.value is None else self.value
        if isinstance(value, int) and not isinstance(value, bool):
            return Read(self, int(value))
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            return Read(self, int(value))
        raise self.refusal("an integer, as a number or as decimal text of at most 100 digits")

    def serialized_integer(self, default: int | None = None) -> Read[int]:
        """Read an integer of any size in the chain's bytes: 02 (>= 0) or 03 (< 0), then the magnitude.

        The magnitude is highest byte first; no bytes at all are 0. JSON has decimal text instead, read too.
        """
        if not isinstance(self.value, (bytes, bytearray, memoryview)):
            return self.integer(default)
        data = bytes(self.value)
        if not data:
            return Read(self, 0)
        if data[0] not in (_NON_NEGATIVE, _NEGATIVE):
            raise self.refusal("an integer in bytes, the first of which is 02 for >= 0 or 03 for < 0")
        magnitude = int.from_bytes(data[1:], "big")
        return Read(self, -magnitude if data[0] == _NEGATIVE else magnitude)

    def amount(self, scale: int, default: int | None = None) -> Read[int]:
        """Read decimal text times 10**scale, exact or refused."""
        if self.value is None and default is not None:
            return Read(self, default)
        if self.value is None:
            raise self.refusal("a number as decimal text")
        return Read(self, to_fixed(self.path, self.value, scale))  # type: ignore[arg-type] # it checks the type

    def choice(self, choices: Mapping[str | int, T], default: T | None = None) -> Read[T]:
        """Read one of a few names or numbers, as what it stands for."""
        if self.value is None and default is not None:
            return Read(self, default)
        if isinstance(self.value, (str, int)) and not isinstance(self.value, bool) and self.value in choices:
            return Read(self, choices[self.value])
        raise self.refusal(", ".join(map(str, choices)))


def built(make: Callable[..., T], **arguments: Read[object]) -> T:
    """Call `make`; when it refuses an argument, refuse the field that the argument was read from."""
    try:
        return make(**{name: read.value for name, read in arguments.items()})
    except InputError as refused:
        if refused.argument not in arguments:
            raise
        raise arguments[refused.argument].field.refusal(refused.allowed) from None
