"""Errors that a user can mend; the command line shows their message alone."""

from __future__ import annotations

__all__ = ["DamagedFileError", "SpecError", "StorageError"]


class SpecError(ValueError):
    """An experiment that cannot be run as written: the message names the key, its value and the fix."""


class DamagedFileError(ValueError):
    """A file that is not what it should be: cut short, altered, or of another run. The message names the file and the fix."""


class StorageError(OSError):
    """A file that the system does not let entclip write or read: a full disk, a limit, a permission. Exit code 74."""
