"""A whole book as bytes: its columns as they lie in memory, who is in it, and its chain.

A plain book keeps its columns as they are. An indexed one keeps its inputs: what follows from them is
computed anew, the index too.

The format, version 1: 8 bytes ``DYDXBOOK``, then version, length of the header and the header's CRC-32 (4
bytes each, little-endian), the header in JSON, and the sections one after the other. The header names each
section with its length and CRC-32. ``names``, ``beyond`` and ``chain`` are JSON, the others are columns.

A file is written beside its place and moved there when all of it is on the disk: a crash leaves the old file,
or the new one, never half of one.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from dydx_perf.book import Book
from dydx_perf.chain import Chain
from dydx_perf.errors import ChecksumError, InputError, SnapshotError, VersionError
from dydx_perf.exact.state import MARKET_TYPE_ISOLATED, ClobPair, LiquidationsConfig, Perpetual
from dydx_perf.ext import indexed_image
from dydx_perf.ext.book_image import LAYOUT, counts, restore, sections
from dydx_perf.ext.indexed import IndexedStore
from dydx_perf.market import INPUTS, Market
from dydx_perf.parameters import BlockRateLimits, EquityTier, FeeTier, ProtocolParameters, RateLimit
from dydx_perf.units import to_decimal

__all__ = ["read_book", "restored_book", "snapshot", "write_book"]

MAGIC = b"DYDXBOOK"
VERSION = 1
START = struct.Struct("<8sIII")
#: what a chain's parameters are made of; a tuple is an array, each of these an object with its name
KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        BlockRateLimits,
        ClobPair,
        EquityTier,
        FeeTier,
        LiquidationsConfig,
        Perpetual,
        ProtocolParameters,
        RateLimit,
    )
}

Bytes = bytes | memoryview


# ---- values


def to_json(value: object) -> Any:
    """Return a value as JSON has it; what cannot be brought back is refused."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    kind = type(value).__name__
    if KINDS.get(kind) is type(value):
        names = [field.name for field in fields(value)] if is_dataclass(value) else value._fields  # type: ignore[attr-defined]
        return {kind: {name: to_json(getattr(value, name)) for name in names}}
    if type(value) is tuple:
        return [to_json(item) for item in value]
    raise InputError("time", value, "for a snapshot None, a number, a text or a datetime")


def from_json(document: Any) -> Any:
    """Return the value of what `to_json` gave."""
    if isinstance(document, list):
        return tuple(from_json(item) for item in document)
    if isinstance(document, dict):
        ((kind, content),) = document.items()
        if kind == "datetime":
            return datetime.fromisoformat(content)
        return KINDS[kind](**{name: from_json(value) for name, value in content.items()})
    return document


def chain_document(chain: Chain) -> dict[str, Any]:
    """Return everything of a chain."""
    return {
        "description": chain.description,
        "height": chain.height,
        "time": to_json(chain.time),
        "parameters": to_json(chain.parameters),
        "without_price": list(chain.without_price),
        "markets": [
            {
                "ticker": market.ticker,
                "perpetual": to_json(market.perpetual),
                "clob_pair_id": market.clob_pair_id,
                "impact_notional": market.impact_notional,
                "sources": list(market._sources().values()),
            }
            for market in chain
        ],
    }


def restored_market(document: Mapping[str, Any]) -> Market:
    """Return a market of what `chain_document` says of it."""
    perpetual = from_json(document["perpetual"])
    pair = perpetual.clob_pair
    market = Market(
        document["ticker"],
        perpetual_id=perpetual.perpetual_id,
        atomic_resolution=perpetual.atomic_resolution,
        price_exponent=perpetual.exponent,
        oracle_price=to_decimal(perpetual.price, perpetual.exponent),
        initial_margin_ppm=perpetual.initial_margin_ppm,
        maintenance_fraction_ppm=perpetual.maintenance_fraction_ppm,
        open_interest=perpetual.open_interest,
        open_interest_lower_cap=perpetual.open_interest_lower_cap,
        open_interest_upper_cap=perpetual.open_interest_upper_cap,
        funding_index=perpetual.funding_index,
        market_type="isolated" if perpetual.market_type == MARKET_TYPE_ISOLATED else "cross",
        default_funding_ppm=perpetual.default_funding_ppm,
        step_base_quantums=pair.step_base_quantums,
        subticks_per_tick=pair.subticks_per_tick,
        quantum_conversion_exponent=pair.quantum_conversion_exponent,
        status=pair.status,
        impact_notional=document["impact_notional"],
        clob_pair_id=document["clob_pair_id"],
    )
    if market.perpetual != perpetual:
        raise SnapshotError(f"the snapshot's market {market.ticker} is not one that can be made")
    market._given_sources = tuple(
        (int(height), int(basis)) for _, (height, basis) in zip(INPUTS, document["sources"], strict=True)
    )
    return market


def restored_chain(document: Mapping[str, Any]) -> Chain:
    """Return a chain of what `chain_document` says of it."""
    return Chain(
        [restored_market(market) for market in document["markets"]],
        parameters=from_json(document["parameters"]),
        height=document["height"],
        time=from_json(document["time"]),
        description=document["description"],
        without_price=document["without_price"],
    )


# ---- bytes


def as_json(value: object) -> bytes:
    """Return a value as compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def plain_parts(store: Any) -> tuple[dict[str, Any], dict[str, Bytes]]:
    """Return what the header says of a plain book, and its sections."""
    kept = counts(store)
    names = as_json(store.names[: kept["accounts_fresh"]])
    return {"layout": LAYOUT, "counts": kept}, {"names": names, **sections(store)}


def indexed_parts(store: IndexedStore) -> tuple[dict[str, Any], dict[str, Bytes]]:
    """Return what the header says of an indexed book, and its sections."""
    kept = indexed_image.counts(store)
    columns, outside, extra = indexed_image.sections(store)
    documents = {
        "names": [store.names[slot] for slot in range(kept["accounts_fresh"])],
        "outside": outside,
        "extra": extra,
    }
    return {"indexed": True, "layout": indexed_image.LAYOUT, "counts": kept}, {
        **{name: as_json(value) for name, value in documents.items()},
        **{name: column.tobytes() for name, column in columns.items()},
    }


def snapshot(book: Book) -> list[Bytes]:
    """Return a book as bytes, in parts; columns are views of live memory: use them before the next change."""
    store = book._store
    about, columns = indexed_parts(store) if isinstance(store, IndexedStore) else plain_parts(store)
    parts: dict[str, Bytes] = {
        "beyond": as_json([(name, usdc, rows) for name, (usdc, rows) in book._plain.inputs.items()]),
        "chain": as_json(chain_document(book.chain)),
        **columns,
    }
    header = as_json(
        {
            **about,
            "byteorder": sys.byteorder,
            "capacity": {**store.capacity, "subaccounts": store.max_subaccounts},
            "sections": [[name, len(part), zlib.crc32(part)] for name, part in parts.items()],
        }
    )
    return [START.pack(MAGIC, VERSION, len(header), zlib.crc32(header)), header, *parts.values()]


def checked_parts(data: memoryview) -> tuple[dict[str, Any], dict[str, memoryview]]:
    """Return header and sections when every byte is as it was written."""
    if len(data) < START.size or bytes(data[: len(MAGIC)]) != MAGIC:
        raise SnapshotError("this is no snapshot of a book")
    _, version, length, crc = START.unpack(data[: START.size])
    if version > VERSION:
        raise VersionError(f"this snapshot has version {version}; this release knows up to {VERSION}")
    place = START.size + length
    if len(data) < place or zlib.crc32(data[START.size : place]) != crc:
        raise ChecksumError("the snapshot's header is damaged")
    header = json.loads(bytes(data[START.size : place]))
    parts: dict[str, memoryview] = {}
    for name, size, section_crc in header["sections"]:
        part = data[place : place + size]
        if len(part) != size or zlib.crc32(part) != section_crc:
            raise ChecksumError(f"the snapshot's section {name} is damaged")
        parts[name] = part
        place += size
    if place != len(data):
        raise ChecksumError(f"the snapshot has {len(data) - place} bytes too many")
    known = indexed_image.LAYOUT if header.get("indexed") else LAYOUT
    if header["layout"] > known:
        raise VersionError(f"this snapshot has columns of layout {header['layout']}; known up to {known}")
    if header["byteorder"] != sys.byteorder:
        raise SnapshotError(f"this snapshot is of a {header['byteorder']}-endian machine")
    return header, parts


def restore_indexed(store: IndexedStore, parts: Mapping[str, memoryview], names: list[Any]) -> None:
    """Fill an indexed store from its sections."""
    import numpy as np

    columns = {name: np.frombuffer(parts[name], dtype=dtype) for name, dtype in indexed_image.COLUMNS.items()}
    outside, extra = (json.loads(bytes(parts[name])) for name in ("outside", "extra"))
    indexed_image.restore(store, columns, names, outside, extra)


def restored_book(data: Bytes, **capacity: int | None) -> Book:
    """Return the book of a snapshot, on a chain of its own; capacities are the snapshot's unless given."""
    header, parts = checked_parts(memoryview(data))
    try:
        names = [
            None if name is None else (str(name[0]), int(name[1]))
            for name in json.loads(bytes(parts["names"]))
        ]
        chain = restored_chain(json.loads(bytes(parts["chain"])))
        room = {f"max_{name}": value for name, value in header["capacity"].items()}
        room |= {name: value for name, value in capacity.items() if value is not None}
        book = Book(chain, **room, indexed=bool(header.get("indexed")))
        for (address, number), usdc, rows in json.loads(bytes(parts["beyond"])):
            book._plain.inputs[address, number] = usdc, [tuple(row) for row in rows]
        if isinstance(book._store, IndexedStore):
            restore_indexed(book._store, parts, names)
        else:
            restore(book._store, header["counts"], parts, names)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        if isinstance(error, InputError) and error.argument.startswith("max_"):
            raise
        raise SnapshotError(f"the snapshot does not hold together: {error!r}") from error
    if book.catch_up():
        raise SnapshotError("the snapshot does not hold together: verdicts by plain integers")
    return book


# ---- files


def write_book(book: Book, path: str | os.PathLike[str]) -> None:
    """Write a snapshot that replaces `path` whole or not at all."""
    place = Path(path)
    beside = place.with_name(f".{place.name}.{os.urandom(6).hex()}.tmp")
    try:
        with open(beside, "xb") as file:
            for part in snapshot(book):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the move is on the disk once its folder is
        folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_book(path: str | os.PathLike[str], **capacity: int | None) -> Book:
    """Read a snapshot that `write_book` wrote."""
    return restored_book(Path(path).read_bytes(), **capacity)
