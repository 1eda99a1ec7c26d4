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
        if all(isinstance(x, int | float) for x in clip) and 0.5 <= clip[0] < 1 < clip[1] < 2:
            low, high = 1 - clip[0], clip[1] - 1
            raise SpecError(
                f"clip = {clip!r} looks like the interval of the ratio; here are its two widths around 1, clip=({low:.4g}, "
                f"{high:.4g}). If such widths are meant, give Clip({clip[0]:g}, {clip[1]:g})."
            )
        return Clip(*clip)
    raise SpecError(f"clip = {clip!r}: give two widths, clip=(0.2, 0.28) for the interval .8 to 1.28, or an objective.")
