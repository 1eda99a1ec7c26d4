"""A folder that one process at a time may write to."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from entclip.support.errors import SpecError
from entclip.support.files import write_atomic

__all__ = ["folder_lock"]

_LOCK, _HOLDER = ".lock", ".lock-holder.json"


@contextmanager
def folder_lock(folder: Path, option: str = "--out") -> Iterator[None]:
    """Hold an existing folder against other writers, threads of this process included, until the block is left.

    The operating system holds the lock for the process and drops it when the process ends, however it ends. The empty file .lock
    stays: removing it would let two processes lock two files of the same name. option: what chooses another folder.

    Raises: SpecError that names the holder if there is one, or if the folder cannot be locked.
    """
    from filelock import FileLock, Timeout

    lock, holder = FileLock(folder / _LOCK), folder / _HOLDER
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SpecError(
            f"{folder} is being written by {_holder(holder)}: wait until it is done, or choose another folder with {option}."
        ) from None
    except OSError as error:
        raise SpecError(f"cannot lock the output folder {folder}: {error.strerror}. Choose another with {option}.") from None
    try:
        # In a file of its own, for some versions of filelock empty the lock file when they try it.
        about = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_atomic(holder, json.dumps(about).encode())
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _holder(path: Path) -> str:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return f"process {about['pid']} on {about['host']} since {about['since']}"
    except (OSError, ValueError, KeyError, TypeError):  # the holder is about to write it, or has just removed it
        return "another process"
