"""The objective that a caller means by `clip`: two widths, or an objective."""

from __future__ import annotations

from typing import Any

from entclip.objectives.base import Objective
from entclip.objectives.clip import Clip
from entclip.support.errors import SpecError

__all__ = ["objective_of"]


def objective_of(clip: Any) -> Objective:
    """Return the clip of two widths, (low, high), or the objective that was given.

    Raises: SpecError for anything else, one width included: it would not say of which side.
    """
    if isinstance(clip, Objective):
        return clip
    if isinstance(clip, tuple | list) and len(clip) == 2:
        return Clip(*clip)
    raise SpecError(f"clip = {clip!r}: give two widths, clip=(0.2, 0.28) for the interval .8 to 1.28, or an objective.")
