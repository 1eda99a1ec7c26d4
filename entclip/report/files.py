"""The report of a run as files."""

from __future__ import annotations

from pathlib import Path

from entclip.report.document import Picture, document
from entclip.report.github import text
from entclip.report.page import page

__all__ = ["write_report"]


def write_report(run_folder: Path, out: Path) -> tuple[str, ...]:
    """Write report.html (which needs no other file), report.md and its figures, each whole or not at all; returns their names.

    Raises: SpecError if the folder is not that of a finished run or `out` cannot be written; DamagedFileError for a damaged run;
    StorageError if a file cannot be written.
    """
    from entclip.ledger.folder import open_run
    from entclip.support.files import prepare_folder, write_atomic

    open_run(run_folder)  # before `out` is made
    prepare_folder(out, ("report.html", "report.md", "rollouts.png", "figure.png"))
    sections = document(run_folder)
    files = {"report.html": page(sections).encode(), "report.md": text(sections).encode()}
    files |= {block.name: block.image for section in sections for block in section.blocks if isinstance(block, Picture)}
    for name, data in files.items():
        write_atomic(out / name, data)
    return tuple(files)
