"""The output folder of a run while it is written: one writer, one run, and nothing in the way."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from entclip.ledger.manifest import MANIFEST, RUN_FILES, RunName, read_manifest
from entclip.runs.checkpoint import Checkpoints
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import prepare_folder
from entclip.support.lock import folder_lock

__all__ = ["run_folder"]


@contextmanager
def run_folder(out: Path, name: RunName, versions: Mapping[str, str]) -> Iterator[Checkpoints]:
    """Hold an output folder for one run until the block is left; gives the checkpoints of that run.

    A folder may hold the same run, finished or not, which is then replaced as a whole.
    Raises: SpecError if it cannot be written, another process writes to it, or it holds something else; DamagedFileError and
    StorageError for checkpoints that cannot be resumed from.
    """
    prepare_folder(out, (*RUN_FILES, MANIFEST))
    with folder_lock(out):
        checkpoints = Checkpoints(out, name, versions)
        _refuse_another_run(out, name, begun=os.path.isdir(checkpoints.folder))
        checkpoints.open()
        yield checkpoints


def _refuse_another_run(out: Path, name: RunName, begun: bool) -> None:
    """SpecError if the folder holds files of a run other than this one. begun: whether it has checkpoints of this one."""
    other = "choose another folder with --out, or delete what is in this one."
    try:
        held = read_manifest(out)
    except SpecError:  # no manifest
        there = [file for file in RUN_FILES if (out / file).exists()]
        # A run that was cut off while it was saved has left some, and its checkpoints.
        if there and not begun:
            raise SpecError(f"{out} holds {there[0]}, which no {MANIFEST} lists and this run would replace: {other}") from None
    except DamagedFileError as error:
        if not begun:
            raise SpecError(f"{error} Or {other}") from None
    else:
        if held.name != name:
            raise SpecError(f"{out} holds another finished run ({held.experiment}, {held.name}), not {name}: {other}")
