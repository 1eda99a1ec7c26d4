"""Scalars of a TensorBoard event file, read as its format defines it: no package of TensorBoard's is needed.

A file is a sequence of records: length (8 bytes), a checksum (4), the record, a checksum (4). A record is a protocol buffer:
Event {step = 2, summary = 5}, Summary {value = 1}, Value {tag = 1, simple_value = 2, tensor = 8}, TensorProto
{tensor_content = 4, float_val = 5, double_val = 6}. Other fields are passed over, as protocol buffers provide. Checksums are
not checked; what is cut off at the end of a running job's file is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BufferedReader

__all__ = ["looks_like_events", "rows"]

_LARGEST_RECORD = 64_000_000  # bytes; images and histograms are passed over, a scalar takes 50


def looks_like_events(head: bytes) -> bool:
    """Tell whether a file begins with a record that holds the version mark every event file has."""
    return len(head) > 24 and b"brain.Event:" in head[:64]


def rows(file: BufferedReader, skipped: list[int]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield a row for each stretch of records with one step: most writers make a record of every scalar. Numbered from 1."""
    held: tuple[int, dict[str, float]] | None = None
    for number, row in _records(file, skipped):
        # A name that comes again with its step is another row.
        if held is not None and row["step"] == held[1]["step"] and not (row.keys() & held[1].keys()) - {"step"}:
            held[1].update(row)
            continue
        if held is not None:
            yield held
        held = number, row
    if held is not None:
        yield held


def _records(file: BufferedReader, skipped: list[int]) -> Iterator[tuple[int, dict[str, float]]]:
    number = 0
    while len(head := file.read(12)) == 12:
        number += 1
        (length,) = struct.unpack("<Q", head[:8])
        if length > _LARGEST_RECORD:
            skipped[0] += 1
            return
        record = file.read(length)
        if len(record) < length or len(file.read(4)) < 4:
            skipped[0] += 1
            return
        try:
            row = dict(_event(record))
        except (ValueError, IndexError, struct.error, UnicodeDecodeError):
            skipped[0] += 1
            continue
        if len(row) > 1:
            yield number, row


def _event(record: bytes) -> Iterator[tuple[str, float]]:
    step = 0
    values: list[tuple[str, float]] = []
    for number, value in _fields(record):
        if number == 2 and isinstance(value, int):
            step = value
        elif number == 5 and isinstance(value, bytes):
            values += [
                scalar for n, v in _fields(value) if n == 1 and isinstance(v, bytes) and (scalar := _scalar(v)) is not None
            ]
    yield "step", float(step)
    yield from values


def _scalar(message: bytes) -> tuple[str, float] | None:
    tag, number = "", None
    for field, value in _fields(message):
        if field == 1 and isinstance(value, bytes):
            tag = value.decode("utf-8")
        elif field == 2 and isinstance(value, bytes):
            (number,) = struct.unpack("<f", value)
        elif field == 8 and isinstance(value, bytes):
            number = _tensor(value)
    return (tag, number) if tag and number is not None else None


def _tensor(message: bytes) -> float | None:
    """The number of a tensor that holds one."""
    for field, value in _fields(message):
        if field in (4, 5) and isinstance(value, bytes) and len(value) == 4:
            return float(struct.unpack("<f", value)[0])
        if field in (4, 6) and isinstance(value, bytes) and len(value) == 8:
            return float(struct.unpack("<d", value)[0])
    return None


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer: numbers as int, everything else as bytes. ValueError where it is none."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _varint(message, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + length > len(message):
            raise ValueError("cut")
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of over 64 bits")
