"""One update small enough to enumerate, away from pi_old, for tests of objectives against the exact engine."""

from __future__ import annotations

from typing import Any

from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.objectives.base import Objective

__all__ = ["GROUPS", "MOVE", "TABLE", "one_update"]

GROUPS = {"reward": {"kind": "bernoulli", "p": 0.3}, "advantage": {"kind": "group", "size": 2}}
TABLE = {"reward": {"kind": "table", "values": [1.0, 0.0, 0.5, 0.2]}, "advantage": {"kind": "group", "size": 2, "scale": "std"}}
MOVE = [0.3, -0.25, 0.15, -0.25]  # ratios 1.21, .70, 1.04, .70 of probabilities .58, .17, .17, .08


def one_update(geometry: str, setting: dict[str, Any], objective: Objective, **changes: Any) -> Experiment:
    """One minibatch of two samples from four actions, the policy already away from pi_old, which is the reference."""
    return parse_experiment(
        {
            "policy": {"kind": "zipf", "vocab": 4},
            "perturbation": {"law": "array", "values": MOVE},
            "update": {"geometry": geometry, "learning_rate": 0.3, "batch": 2, "minibatches": 1, "rollouts": 1},
            "arm": [{"name": "a", "objective": objective}],
        }
        | setting
        | changes
    )
