"""Files written whole or not at all, JSON without NaN, and who made a file."""

from __future__ import annotations

import json
import math
import os
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from entclip.support.errors import SpecError

__all__ = ["ask_git", "prepare_folder", "to_json", "version_of", "write_atomic"]


def prepare_folder(out: Path) -> None:
    """Make the output folder and prove that it can be written, before any work is done."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".write-test-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise SpecError(f"cannot write to the output folder {out}: {error.strerror}. Choose another with --out.") from None


def write_atomic(path: Path, data: bytes) -> None:
    """Write the whole file or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def to_json(value: Any) -> str:
    """JSON with infinities as "inf"; NaN is an error."""

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
    """The installed version of a package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def ask_git(*words: str) -> str:
    """What git says in the checkout that this file is in; "" without git or a checkout."""
    try:
        found = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip()
