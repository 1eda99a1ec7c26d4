"""Experiments on policies so flat that T11's corrections to the power laws are below a standard error."""

from __future__ import annotations

from typing import Any

from entclip.experiments.experiment import Experiment, parse_experiment

__all__ = ["WIDE", "experiment"]

# Flat enough that T11's corrections to the power laws, of order pi, are below a standard error.
WIDE = {"kind": "dirichlet", "vocab": 1024, "alpha": 2.0, "contexts": 48}


def experiment(geometry: str, policy: dict[str, Any], rate: float, batch: int, **more: Any) -> Experiment:
    update = {"geometry": geometry, "learning_rate": rate, "batch": batch, "minibatches": 4, "rollouts": 1}
    return parse_experiment({"name": "x", "policy": policy, "update": update} | more)
