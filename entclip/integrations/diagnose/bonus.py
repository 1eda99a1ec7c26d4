"""The entropy bonus of a run: it raises entropy whatever the clip does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entclip.integrations.diagnose.run import Run
from entclip.integrations.lint.values import is_number

__all__ = ["Bonus", "bonus_of"]


@dataclass(frozen=True)
class Bonus:
    """The weight of the bonus in the loss, above 0, and the name that it has in the log or the configuration."""

    weight: float
    name: str


def bonus_of(run: Run) -> Bonus | None:
    """Return the bonus that the log has, else that of the configuration; None where there is none, or none is known."""
    logged = run.get("entropy_coef")
    if np.isfinite(logged).any():
        weight, name = float(np.nanmean(logged)), run.name("entropy_coef")
    elif run.config is not None and is_number(run.config.entropy_coef.value):
        weight, name = float(run.config.entropy_coef.value), run.config.entropy_coef.key
    else:
        return None
    return Bonus(weight, name) if weight > 0 else None
