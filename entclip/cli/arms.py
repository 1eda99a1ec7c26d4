"""The arms of `entclip drift` where objectives or controllers are named at the command line."""

from __future__ import annotations

from typing import Any

from entclip.cli.named import named_tables
from entclip.support.errors import SpecError

__all__ = ["named_arms"]


def named_arms(objectives: str | None, controllers: str | None) -> list[dict[str, Any]]:
    """Return an arm for each objective, and for each controller the one objective with it; the clip where none is named.

    Raises: SpecError for controllers beside several objectives, and for text that cannot be read.
    """
    bare = [{"name": label, "objective": table} for label, table in named_tables("--objective", objectives or "clip").items()]
    if controllers is None:
        return bare
    if len(bare) > 1:
        raise SpecError("--controller moves one objective: name one, or none for the clip.")
    rules = named_tables("--controller", controllers)
    return bare + [bare[0] | {"name": f"{bare[0]['name']}-{label}", "controller": rule} for label, rule in rules.items()]
