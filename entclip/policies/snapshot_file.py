"""The file of a snapshot: a .npz of plain arrays (no pickle), written atomically, decoded without trust.

One array for each field of `Snapshot`, little endian whatever the machine; `shape` holds the format number
and V; `about` holds the metadata as JSON in UTF-8 bytes. `decode` checks that these are all there with their
types; what the numbers must satisfy is checked by `entclip.policies.snapshot`, which is the only user of this module.
"""

from __future__ import annotations

import io
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
FIX = "The file is damaged or not a snapshot: make it again with `entclip snapshot`."

Array = npt.NDArray[Any]


def write(target: Path, vocab: int, fields: Mapping[str, Array], about: Mapping[str, str]) -> Path:
    """Write a snapshot's file whole or not at all: a temporary file beside it, then a rename.

    Returns: target.
    Raises: ValueError if its folder does not exist or it is a folder itself.
    """
    if not target.parent.is_dir() or target.is_dir():
        raise ValueError(f"cannot write a snapshot to {str(target)!r}: give a file name in a folder that exists.")
    arrays: dict[str, Any] = {name: np.asarray(fields[name], dtype) for name, dtype in DTYPES.items()}
    arrays["shape"] = np.array([FORMAT, vocab], "<i8")
    arrays["about"] = np.frombuffer(json.dumps(dict(about), sort_keys=True).encode(), np.uint8)
    # Not tempfile: its files are readable by their owner alone, and a rename would keep that.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            np.savez_compressed(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def decode(data: bytes, where: str) -> tuple[int, dict[str, Array], dict[str, str]]:
    """V, the arrays named in `DTYPES` and the metadata, out of a file's bytes; `where` opens error messages.

    Raises: ValueError if the bytes are damaged, not a snapshot, or of another format.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            version, vocab = (int(n) for n in file["shape"])
            if version == FORMAT:
                about = {str(k): str(v) for k, v in json.loads(file["about"].tobytes()).items()}
                arrays = {name: file[name] for name in DTYPES}
    # numpy, zipfile, zlib, struct and json raise a dozen kinds of error on damaged bytes.
    except Exception as error:
        raise ValueError(f"{where}, {len(data)} bytes ({type(error).__name__}: {error}). {FIX}") from None
    if version != FORMAT:
        raise ValueError(
            f"{where}: it has format {version}, this entclip reads format {FORMAT}. Install the entclip that made it."
        )
    for name, dtype in DTYPES.items():
        a, ndim = arrays[name], 2 if name.startswith(("top", "tail")) else 1
        if a.dtype != np.dtype(dtype) or a.ndim != ndim:
            raise ValueError(f"{where}: {name} is {a.dtype} with {a.ndim} axes, not {dtype} with {ndim}. {FIX}")
    return vocab, arrays, about
