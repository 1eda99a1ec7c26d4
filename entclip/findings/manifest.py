"""The manifest of a folder made by `entclip reproduce`: how each item came about, and the files with their checksums."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from entclip.findings.runs import Item
from entclip.ledger.manifest import read_manifest
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import ask_git, version_of

__all__ = ["git_commit", "manifest_of", "refuse_run_folder", "versions"]

_PACKAGES = ("entclip", "numpy", "scipy", "pandas", "pyarrow", "matplotlib", "torch", "transformers")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on; those not installed are left out."""
    found = {name: version for name in _PACKAGES if (version := version_of(name)) is not None}
    return {"python": platform.python_version()} | found


def git_commit() -> str:
    """Return the commit of the source checkout, with "+" if it was changed since; "none" for an installed package."""
    commit = ask_git("rev-parse", "HEAD")
    return commit + ("+" if commit and ask_git("status", "--porcelain", "--", ".") else "") or "none"


def refuse_run_folder(out: Path) -> None:
    """Raise SpecError if the folder is that of a run, which has a manifest of the same name."""
    try:
        held = read_manifest(out)
    except (SpecError, DamagedFileError):
        return
    raise SpecError(f"{out} holds a finished run ({held.experiment}): give entclip reproduce a folder of its own with --out.")


def _files(out: Path, names: Iterable[Path]) -> list[dict[str, Any]]:
    return [
        {
            "path": path.relative_to(out).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in sorted(set(names))
    ]


def manifest_of(
    out: Path, command: Sequence[str], quick: bool, items: Sequence[Item], made: Iterable[Path], seconds: float
) -> dict[str, Any]:
    """Return one JSON-able object: command, versions, commit, total time, and for each item its command, digest, seed, engine
    and time.

    wall_s of a kept or reused item is the time it took when it was made, null where that is not known; of a resumed run the time
    since it was taken up again.
    """
    rows = []
    for item in items:
        data = item.data or {}
        row: dict[str, Any] = {"name": item.name, "status": item.status, "detail": item.detail, "command": item.command}
        row |= {k: data.get(k) for k in ("experiment", "engine", "dtype", "digest", "seed", "wall_s", "versions")}
        files = [] if item.folder is None else [p for p in (out / item.folder).iterdir() if p.is_file() and p.name[0] != "."]
        rows.append(row | {"folder": item.folder, "files": _files(out, files)})
    return {
        "command": " ".join(command),
        "mode": "quick" if quick else "full",
        "versions": versions(),
        "git_commit": git_commit(),
        "wall_s": round(seconds, 1),
        "items": rows,
        "files": _files(out, made),
    }
