"""The files that an experiment reads, by their content: an experiment whose policy file changed is another experiment."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from entclip.experiments.sections import FileSpec, HiddenSpec, LanguageModelSpec, PolicySpec, SnapshotSpec
from entclip.policies.snapshot import BUNDLED

__all__ = ["content_of_inputs"]

_SHIPPED = (*BUNDLED, "tiny", "untrained")  # names that are looked up in the package, whatever is called so here
_WHOLE = 2**28  # bytes of a file that are all read; of a larger one, blocks spread over it
_BLOCKS, _BLOCK = 256, 2**20


def content_of_inputs(policies: Iterable[PolicySpec]) -> dict[str, str]:
    """Return SHA-256 of each file or model folder that policies are read from, by its path as the experiment has it.

    Of a file over 256 MiB the size and 256 blocks of 1 MiB, the first and the last among them: weights that were trained further
    differ everywhere. Of a folder, the files in it. Names that are no file here (a model of the hub) are left out, and so is what
    cannot be read: the run itself says so.
    """
    found = {}
    for path in dict.fromkeys(name for policy in policies if (name := _path_of(policy)) is not None and name not in _SHIPPED):
        try:
            found[path] = _content(path)
        except OSError:
            continue
    return found


def _path_of(policy: PolicySpec) -> str | None:
    if isinstance(policy, FileSpec | HiddenSpec):
        return policy.path
    if isinstance(policy, SnapshotSpec):
        return policy.name
    return policy.model if isinstance(policy, LanguageModelSpec) else None


def _content(path: str) -> str:
    if not os.path.isdir(path):
        return _digest(path)
    names = sorted(entry.name for entry in os.scandir(path) if entry.is_file())
    text = "\n".join(f"{_digest(os.path.join(path, name))} {name}" for name in names)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(path: str) -> str:
    """SHA-256 of an ordinary file; OSError if it is none."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is no file")
    return _remembered(path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=256)
def _remembered(path: str, inode: int, size: int, modified: int, changed: int) -> str:
    """The checksum of a file that has not changed since it was last asked for: a digest is asked for several times in a run."""
    total = hashlib.sha256(str(size).encode() if size > _WHOLE else b"")
    with Path(path).open("rb") as file:
        if size <= _WHOLE:
            while block := file.read(_BLOCK):
                total.update(block)
        else:
            for index in range(_BLOCKS):
                file.seek(index * (size - _BLOCK) // (_BLOCKS - 1))
                total.update(file.read(_BLOCK))
    return total.hexdigest()
