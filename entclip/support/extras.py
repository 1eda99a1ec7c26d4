"""Optional packages: one sentence for each that is missing, and one for an interpreter that a library cannot work in."""

from __future__ import annotations

import sys

from entclip.support.errors import SpecError

__all__ = ["check_docstrings", "install", "not_installed"]


def install(extra: str) -> str:
    """Name the command that installs an extra."""
    return f"in entclip's checkout, run pip install '.[{extra}]'"


def not_installed(what: str, package: str, extra: str) -> str:
    """Say that `what` lacks a package, and which command installs the extra with all that it needs."""
    return f"{what} needs {package}, which is not installed: {install(extra)}."


def check_docstrings(what: str) -> None:
    """Refuse to start what transformers does where there are no docstrings: it reads them to build its classes.

    Raises: SpecError under python -OO or PYTHONOPTIMIZE=2.
    """
    if sys.flags.optimize > 1:
        raise SpecError(
            f"{what} needs docstrings, which transformers reads and python -OO (or PYTHONOPTIMIZE=2) removes: use python -O, or "
            "none of them."
        )
