"""Files written whole or not at all, files read with their dangers known, JSON without NaN, and who made a file."""

from __future__ import annotations

import json
import math
import os
import secrets
import subprocess
from collections.abc import Iterable
from contextlib import AbstractContextManager
from importlib import metadata
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from entclip.support.bounded import open_regular, other_kind
from entclip.support.errors import DamagedFileError, SpecError, StorageError

__all__ = ["ask_git", "open_file", "prepare_file", "prepare_folder", "to_json", "version_of", "write_atomic", "write_through"]


def prepare_folder(out: Path, names: Iterable[str] = ()) -> None:
    """Make the output folder and prove that it and the files of these names can be written, before any work is done."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".write-test-{secrets.token_hex(8)}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise SpecError(f"cannot write to the output folder {out}: {error.strerror}. Choose another with --out.") from None
    for name in names:
        if kind := other_kind(out / name):
            fix = "remove it, or choose another --out" if kind == "a folder" else "choose another path"
            raise SpecError(f"{out / name} is {kind}, where a file is to be written: {fix}.")


def prepare_file(path: Path) -> None:
    """Prove that a file can be written at this path, before any work is done; its folder is made if it is missing."""
    prepare_folder(path.parent, [path.name])


def write_atomic(path: Path, data: bytes) -> None:
    """Write the whole file or nothing.

    Raises: StorageError if the system refuses (a full disk, a limit on sizes), or a folder, a pipe or a device has that name.
    """
    # A device can be renamed over like any file by who may do so: /dev/null would be gone for the whole machine.
    if kind := other_kind(path):
        raise StorageError(f"cannot write {path}: it is {kind}. Choose another path.")
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        try:
            write_through(temporary, data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}. Free space there or choose another folder, and run it again."
        ) from None


def write_through(path: Path, data: bytes) -> None:
    """Write a file that is not there, down to the disk: renaming it then shows it whole. OSError as the system has it."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def open_file(path: Path, fix: str) -> AbstractContextManager[tuple[BufferedReader, int]]:
    """Return a file that entclip wrote, open for reading, and its size; fix: what to do if it is not there.

    Raises: DamagedFileError if there is no such file or something else has its name; StorageError if it cannot be read.
    """
    return open_regular(path, os.fspath(path), fix=fix, refused=DamagedFileError, unreadable=StorageError)


def to_json(value: Any) -> str:
    """Write JSON with infinities as "inf"; NaN is an error."""

    def clean(x: Any) -> Any:
        if isinstance(x, dict):
            return {str(k): clean(v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [clean(v) for v in x]
        if isinstance(x, float | np.floating):
            return ("inf" if x > 0 else "-inf") if math.isinf(x) else float(x)
        return x.item() if isinstance(x, np.generic) else x

    return json.dumps(clean(value), indent=1, allow_nan=False)


def version_of(package: str) -> str | None:
    """Return the installed version of a package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def ask_git(*words: str) -> str:
    """Return what git says in the checkout that this file is in; "" without git or a checkout."""
    try:
        found = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, encoding="utf-8", check=False)
    except OSError:
        return ""
    return found.stdout.strip()
