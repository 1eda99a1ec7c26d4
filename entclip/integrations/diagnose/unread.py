"""Metrics that a log names and has text for in the place of numbers."""

from __future__ import annotations

from entclip.integrations.diagnose.run import Run
from entclip.integrations.logs.names import plain_name

__all__ = ["unread"]


def unread(run: Run, *quantities: str) -> str:
    """Say which name of these quantities has no number that can be read, with a text that it has; empty where none is so."""
    names = {alias.name for alias in run.library.aliases if alias.quantity in quantities}
    for name, text in run.log.unread.items():
        if plain_name(name) in names:
            return f"{name} has no number that can be read ({text!r})"
    return ""
