"""Requests to a node in protocol buffers' bytes: texts, unsigned numbers and messages are all they hold.

A number of 0 and an empty text are left out, as the schema language has it.
"""

from __future__ import annotations

__all__ = ["message", "number", "page_request", "text", "varint"]


def varint(value: int) -> bytes:
    """Encode an unsigned number, seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(field: int, body: bytes) -> bytes:
    """Encode a field that holds bytes: a message, a text or packed numbers; also when they are none."""
    return varint(field << 3 | 2) + varint(len(body)) + body


def text(field: int, value: str) -> bytes:
    """Encode a text field."""
    return message(field, value.encode()) if value else b""


def number(field: int, value: int) -> bytes:
    """Encode an unsigned number."""
    return varint(field << 3) + varint(value) if value else b""


def page_request(field: int, key: bytes, limit: int) -> bytes:
    """Encode the part of a request that asks for a page."""
    return message(field, (message(1, key) if key else b"") + number(3, limit))
