"""The pairs of the pretrained model as arms of a run that findings judge: means with standard errors over pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entclip.findings.pretrained.decide import contrast

__all__ = ["arms_of"]

_PARTS = ("clip_low", "clip_high", "curvature")


def arms_of(decided: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return by arm what `decide` found, under the names of a run's summary; errors are those of means over pairs.

    minus_ARM: the change minus that of another arm, the difference taken pair by pair. Of accounted updates also the clip terms
    and curvature, with the gaps weighted by the probability beyond the bound; under a judged reward also each score of the last
    rollout, and the same difference of it, over the runs that both arms have.
    """
    arms: Mapping[str, Any] = decided["arms"]
    out = {}
    for name, arm in arms.items():
        scores = [key for key in arm if key.startswith("pass_at_")]
        numbers = {"measured": arm["measured"]["values"]} | {score: arm[score]["last"]["values"] for score in scores}
        for other, of in arms.items():
            if other != name:
                numbers[f"minus_{other}"] = _minus(decided, arm, of, ("measured",))
                numbers |= {f"{score}_minus_{other}": _minus(decided, arm, of, (score, "last")) for score in scores}
        numbers |= {part: arm["parts_by_pair"][part] for part in _PARTS if "parts_by_pair" in arm}
        columns: dict[str, Any] = {"units": len(arm.get("runs", decided["pairs"]))}
        for column, values in numbers.items():
            if values:
                found = contrast(values)
                columns |= {column: found["mean"], f"{column}_se": found["se"]}
        fractions = ("clip_fraction_low", "clip_fraction_high")
        out[name] = columns | {key: arm[key] for key in (*fractions, "gap_low", "gap_high") if key in arm}
    return out


def _minus(decided: Mapping[str, Any], arm: Mapping[str, Any], other: Mapping[str, Any], path: Sequence[str]) -> list[float]:
    """Return the difference of the contrast at `path` over the pairs that both arms have, pair by pair."""
    of, minus = (dict(zip(one.get("runs", decided["pairs"]), _at(one, path)["values"], strict=True)) for one in (arm, other))
    return [of[pair] - minus[pair] for pair in of if pair in minus]


def _at(found: Any, path: Sequence[str]) -> Any:
    for key in path:
        found = found[key]
    return found
