"""Arrays of numbers out of .npy and .npz files that others made: what a file claims is checked before anything is allocated.

numpy.load trusts headers: 100 bytes can ask for a terabyte, and a compressed megabyte can hold a gigabyte. Here a header must fit
the bytes that are there, an archive may expand by a factor of 100 at most (64 MiB are always granted), all arrays of a file end
at 4 GiB and at half of the memory that is free. No pickles, no other compression than that of numpy, no encrypted members.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from entclip.support.bounded import open_regular
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.memory import available_bytes, gib

__all__ = ["npy_shape", "npz_shapes", "read_npy", "read_npz"]

_MOST = 4 * 2**30
_GRANTED = 64 * 2**20
_EXPANSION = 100
_PIECE = 2**20
_HEADER = 10_000  # bytes; numpy writes 118
_KINDS = "biuf"


def read_npy(path: str | os.PathLike[str], where: str) -> np.ndarray:
    """Return the array of a .npy file of numbers; where: opens every message, such as "policy.path = 'x.npy'".

    Raises: SpecError for a file that cannot be read, holds anything but numbers, or would fill the memory; DamagedFileError for
        one that is no whole .npy file.
    """
    with open_regular(Path(path), where) as (file, size), _damage(where, ".npy", size):
        return _array(file, size, _limit(), where)


def npy_shape(path: str | os.PathLike[str], where: str) -> tuple[int, ...]:
    """Read the shape of the array of a .npy file, from its header alone; SpecError as `read_npy`."""
    with open_regular(Path(path), where) as (file, size), _damage(where, ".npy", size):
        return _claim(file, size, _limit(), where).shape


def npz_shapes(path: str | os.PathLike[str], names: Iterable[str], where: str) -> dict[str, tuple[int, ...]]:
    """Read the shapes of the arrays of these names that a .npz file has, from their headers alone; SpecError as `read_npz`."""
    with _members(path, names, where) as members:
        return {name: _claim(stream, size, limit, f"{where}, `{name}`").shape for name, stream, size, limit in members}


def read_npz(source: str | os.PathLike[str] | bytes, names: Iterable[str], where: str) -> dict[str, np.ndarray]:
    """Return the arrays of these names that a .npz file has; source: its path, or its bytes.

    Raises: as `read_npy`; SpecError, too, for an archive that is encrypted, compressed in another way, or far larger inside.
    """
    out = {}
    with _members(source, names, where) as members:
        for name, stream, size, limit in members:
            out[name] = _array(stream, size, limit, f"{where}, `{name}`")
            if stream.read(1):  # also has the checksum looked at
                raise ValueError(f"`{name}` goes on after its last number")
    return out


@contextmanager
def _members(
    source: str | os.PathLike[str] | bytes, names: Iterable[str], where: str
) -> Iterator[Iterator[tuple[str, Any, int, int]]]:
    """Open name, stream, size and limit of each wanted member, one open at a time."""
    opened = _in_memory(source) if isinstance(source, bytes) else open_regular(Path(source), where)
    with opened as (file, size), _damage(where, ".npz", size), zipfile.ZipFile(_InPieces(file, size)) as archive:
        found = {i.filename.removesuffix(".npy"): i for i in archive.infolist() if i.filename.endswith(".npy")}
        wanted = {name: found[name] for name in names if name in found}
        limit = _limit()
        for name, info in wanted.items():
            if info.flag_bits & 1:
                raise SpecError(f"{where}: `{name}` is encrypted. Save it with numpy.savez.")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise SpecError(f"{where}: `{name}` is compressed by method {info.compress_type}. Save it with numpy.savez.")
        total = sum(info.file_size for info in wanted.values())
        if total > min(limit, max(_GRANTED, _EXPANSION * size)):
            raise SpecError(f"{where}: {gib(total)} of arrays in a file of {gib(size)}. {_ends(limit)}")

        def one_by_one() -> Iterator[tuple[str, Any, int, int]]:
            for name, info in wanted.items():
                with archive.open(info) as stream:
                    yield name, stream, info.file_size, limit

        yield one_by_one()


def _limit() -> int:
    return min(_MOST, available_bytes() // 2)


def _ends(limit: int) -> str:
    return f"At most {gib(limit)} are read here, and {_EXPANSION} times the file: use fewer contexts, or float32."


@contextmanager
def _in_memory(data: bytes) -> Iterator[tuple[BinaryIO, int]]:
    yield io.BytesIO(data), len(data)


@contextmanager
def _damage(where: str, kind: str, size: int) -> Iterator[None]:
    """numpy, zipfile, zlib and struct raise a dozen kinds of errors on damaged bytes: one message for all."""
    try:
        yield
    except (SpecError, DamagedFileError):
        raise
    except MemoryError:
        raise SpecError(f"{where}: the memory that is free does not hold it.") from None
    except Exception as error:
        raise DamagedFileError(f"{where} of {size} bytes cannot be read as a {kind} file of numbers: {error}.") from None


class _InPieces:
    """A file that gives a megabyte at a time: zipfile would read a list of members of any length at once."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        left = self._size - self._file.tell()
        if min(count if count >= 0 else left, left) > _PIECE:
            raise ValueError("its list of members is over a megabyte")
        return self._file.read(count)


class _Claim(NamedTuple):
    """What a header says, once it fits the bytes that are there."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    size: int


def _claim(stream: Any, size: int, limit: int, where: str) -> _Claim:
    """Read the header of the array that begins here and takes `size` bytes with it."""
    shape, fortran, dtype, header = _header(stream)
    if dtype.kind not in _KINDS or dtype.hasobject:
        raise SpecError(f"{where} holds {dtype}: expected real numbers.")
    needed, there = math.prod(shape) * dtype.itemsize, size - header
    if needed != there:
        claimed = " x ".join(map(str, shape)) or "one"
        claims = f"its header claims {claimed} numbers, {gib(needed)}, but {gib(there)} follow."
        raise DamagedFileError(f"{where} is damaged: {claims}")
    if needed > limit:
        raise SpecError(f"{where} holds {gib(needed)} of numbers. {_ends(limit)}")
    return _Claim(shape, fortran, dtype, needed)


def _array(stream: Any, size: int, limit: int, where: str) -> np.ndarray:
    """Read the array that begins here and takes `size` bytes with its header."""
    claim = _claim(stream, size, limit, where)
    flat = np.empty(claim.size, np.uint8)
    for start in range(0, claim.size, _PIECE):
        piece = stream.read(min(_PIECE, claim.size - start))
        flat[start : start + len(piece)] = np.frombuffer(piece, np.uint8)
        if len(piece) < min(_PIECE, claim.size - start):
            raise ValueError("it ends too early")
    return flat.view(claim.dtype).reshape(claim.shape, order="F" if claim.fortran else "C")


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Read shape, order, type and the number of bytes read so far."""
    begin = stream.read(8)
    version = np.lib.format.read_magic(io.BytesIO(begin))
    readers = {(1, 0): (2, np.lib.format.read_array_header_1_0), (2, 0): (4, np.lib.format.read_array_header_2_0)}
    if version not in readers:
        raise ValueError(f"version {version} of the format is for tables with named columns")
    width, reader = readers[version]
    length = stream.read(width)
    count = int.from_bytes(length, "little")
    if count > _HEADER:
        raise ValueError(f"a header of {count} bytes")
    shape, fortran, dtype = reader(io.BytesIO(length + stream.read(count)))
    if any(isinstance(n, bool) or n < 0 for n in shape):
        raise ValueError(f"shape {shape}")
    return shape, fortran, dtype, len(begin) + width + count
