"""The versions of the packages that a run's numbers depend on."""

from __future__ import annotations

from typing import Any

from entclip.engines.base import Engine
from entclip.support.files import version_of

__all__ = ["ALWAYS", "versions_behind"]

ALWAYS = ("numpy", "scipy", "pandas", "pyarrow", "entclip")


def versions_behind(engine: Engine[Any, Any]) -> dict[str, str]:
    """Return version by package, "not installed" for one that the engine would use if it were there."""
    return {name: version_of(name) or "not installed" for name in (*ALWAYS, *engine.facts.packages)}
