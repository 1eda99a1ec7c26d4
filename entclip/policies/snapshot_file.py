"""The file of a snapshot: a .npz of plain arrays (no pickle), written atomically, decoded without trust.

One array for each field of `Snapshot`, little endian whatever the machine; `shape` holds the format number
and V; `about` holds the metadata as JSON in UTF-8 bytes. `decode` checks that these are all there with their
types; what the numbers must satisfy is checked by `entclip.policies.snapshot`, which is the only user of this module.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from entclip.support.arrays import read_npz
from entclip.support.bounded import open_regular
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import write_atomic

__all__ = ["DTYPES", "FIX", "FORMAT", "decode", "write"]

FORMAT = 1  # raised when old code could not read the new files
DTYPES = {
    "top_ids": "<i4",
    "top_log_probs": "<f4",
    "tail_counts": "<i4",
    "tail_log_probs": "<f8",
    "dense_entropy": "<f8",
    "prompt": "<i4",
    "position": "<i4",
    "response_index": "<i4",
}
_MOST_ABOUT = 2**20  # bytes
FIX = "The file is damaged or not a snapshot: make it again with `entclip snapshot`."

Array = npt.NDArray[Any]


def write(target: Path, vocab: int, fields: Mapping[str, Array], about: Mapping[str, str]) -> Path:
    """Write a snapshot's file whole or not at all, and return its path.

    Raises: ValueError if its folder does not exist or it is a folder itself; StorageError if it cannot be written.
    """
    if not target.parent.is_dir() or target.is_dir():
        raise ValueError(f"cannot write a snapshot to {str(target)!r}: give a file name in a folder that exists.")
    arrays: dict[str, Any] = {name: np.asarray(fields[name], dtype) for name, dtype in DTYPES.items()}
    arrays["shape"] = np.array([FORMAT, vocab], "<i8")
    arrays["about"] = np.frombuffer(json.dumps(dict(about), sort_keys=True).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomic(target, buffer.getvalue())
    return target


def decode(source: str | os.PathLike[str] | bytes, where: str) -> tuple[int, dict[str, Array], dict[str, str]]:
    """Read V, the arrays named in `DTYPES` and the metadata out of a file or its bytes; `where` opens error messages.

    Raises: DamagedFileError if the bytes are damaged or not a snapshot; SpecError for another format or if they cannot be read.
    """
    vocab, found = _read(source, ("about", *DTYPES), where)
    about = found.pop("about")
    for name, dtype in DTYPES.items():
        a, ndim = found[name], 2 if name.startswith(("top", "tail")) else 1
        if a.dtype != np.dtype(dtype) or a.ndim != ndim:
            raise DamagedFileError(f"{where}: {name} is {a.dtype} with {a.ndim} axes, not {dtype} with {ndim}. {FIX}")
    return vocab, found, _metadata(about, where)


def sizes(source: str | os.PathLike[str] | bytes, where: str) -> tuple[int, int]:
    """Read the number of contexts and V of a file or its bytes. Raises as `decode`."""
    vocab, found = _read(source, ("dense_entropy",), where)
    return found["dense_entropy"].size, vocab


def _read(source: str | os.PathLike[str] | bytes, names: tuple[str, ...], where: str) -> tuple[int, dict[str, Array]]:
    """Read V and the arrays of these names, all of them, out of a file of this format."""
    if not isinstance(source, bytes):
        with open_regular(Path(source), f"the snapshot {os.fspath(source)!r}"):  # what cannot be read is not called damaged
            pass
    try:
        found = read_npz(source, ("shape", *names), "the file")
    except (SpecError, DamagedFileError) as error:
        raise DamagedFileError(f"{where}: {error} {FIX}") from None
    shape = found.pop("shape", np.zeros(0))
    if shape.shape != (2,) or shape.dtype.kind != "i":
        raise DamagedFileError(f"{where}: its `shape` is not the format and V. {FIX}")
    version, vocab = (int(n) for n in shape)
    if version != FORMAT:
        raise SpecError(
            f"{where}: it has format {version}, this entclip reads format {FORMAT}. Install the entclip that made it."
        )
    if missing := [name for name in names if name not in found]:
        raise DamagedFileError(f"{where}: it has no `{missing[0]}`. {FIX}")
    return vocab, found


def _metadata(about: Array, where: str) -> dict[str, str]:
    try:
        if about.size > _MOST_ABOUT:
            raise ValueError(f"{about.size} bytes")
        return {str(k): str(v) for k, v in json.loads(about.tobytes()).items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise DamagedFileError(f"{where}: its metadata is no JSON object of texts ({error}). {FIX}") from None
