"""The pairs of the pretrained model as arms of a run that findings judge: means with standard errors over pairs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from entclip.findings.pretrained.decide import contrast

__all__ = ["arms_of"]

_PARTS = ("clip_low", "clip_high", "curvature")


def arms_of(decided: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return by arm what `decide` found, under the names of a run's summary; errors are those of means over pairs.

    minus_ARM: the change minus that of another arm, the difference taken pair by pair. Of accounted updates also the clip terms
    and curvature, with the gaps weighted by the probability beyond the bound.
    """
    arms: Mapping[str, Any] = decided["arms"]
    changes = {name: np.asarray(arm["measured"]["values"]) for name, arm in arms.items()}
    out = {}
    for name, arm in arms.items():
        numbers = {"measured": changes[name]}
        numbers |= {f"minus_{other}": changes[name] - changes[other] for other in arms if other != name}
        numbers |= {part: np.asarray(arm["parts_by_pair"][part]) for part in _PARTS if "parts_by_pair" in arm}
        columns: dict[str, Any] = {"units": len(decided["pairs"])}
        for column, values in numbers.items():
            found = contrast(values.tolist())
            columns |= {column: found["mean"], f"{column}_se": found["se"]}
        fractions = ("clip_fraction_low", "clip_fraction_high")
        out[name] = columns | {key: arm[key] for key in (*fractions, "gap_low", "gap_high") if key in arm}
    return out
