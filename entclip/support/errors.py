"""Errors that a user can mend."""

from __future__ import annotations

__all__ = ["SpecError"]


class SpecError(ValueError):
    """An experiment that cannot be run as written: the message names the key, its value and the fix."""
