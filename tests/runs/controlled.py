"""Controllers under test, a small run for them, and books of a rollout made by hand."""

from __future__ import annotations

from typing import Any

from entclip.controllers.base import Controller, Memory, Observed
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.objectives.base import Objective
from entclip.objectives.catalogue import objective

CLIP = objective("clip", low=0.2, high=0.2)
RULES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "predictive": ({"kind": "predictive"}, {}),
    "predictive_both": ({"kind": "predictive", "sides": "both"}, {}),
    "pi": ({"kind": "pi"}, {}),
    "thermostat": ({"kind": "thermostat", "band": 0.0}, {}),
    "adaptive_bonus": ({"kind": "adaptive_bonus", "target": 9.0}, {"objective": "entropy_bonus"}),
    "repo": ({"kind": "repo"}, {"objective": "repo_r"}),
    "adapo": ({"kind": "adapo"}, {}),
    "bapo": ({"kind": "bapo", "rho": 0.6}, {}),
    "entropic": ({"kind": "entropic", "target": 9.0}, {"objective": {"kind": "entropic", "threshold": 0.05}, "low": None}),
    "flexible": ({"kind": "flexible", "schedule": "did"}, {"objective": {"kind": "flexible"}, "low": None}),
}


def experiment(arms: dict[str, tuple[dict[str, Any], dict[str, Any]]], **changes: Any) -> Experiment:
    """A small run with these arms; the natural step and widths at which both sides clip."""
    rows = []
    for name, (rule, own) in arms.items():
        arm = {"name": name, "low": 0.2, "high": 0.2} | own | {"controller": rule}
        if arm["low"] is None:
            del arm["low"], arm["high"]
        rows.append(arm if rule else {k: v for k, v in arm.items() if k != "controller"})
    update = {"learning_rate": 0.3, "batch": 256, "minibatches": 6, "rollouts": 3}
    data: dict[str, Any] = {"policy": {"kind": "dirichlet", "vocab": 16, "contexts": 6}, "update": update, "arm": rows}
    for key, value in changes.items():
        data[key] = data.get(key, {}) | value if isinstance(value, dict) else value
    return parse_experiment(data)


def rows_of(
    pi: float = 0.02, clip: float = 0.001, noise: float = 0.2, measured: float = -0.002, **more: float
) -> list[dict[str, Any]]:
    row = {"pi_low": pi, "pi_high": pi, "clip_low": clip, "clip_high": -clip, "measured": measured, "curvature": -1e-4}
    row |= {"log_ratio_sq": noise**2, "count_plus": 10.0, "count_minus": 10.0, "removed_plus": 2.0, "removed_minus": 1.0} | more
    return [row | {"log_ratio_sq": 0.0, "pi_low": 0.0, "pi_high": 0.0}, *([row] * 5)]


def updated(rule: Controller, base: Objective, entropy: float, start: float = 2.0, rollout: int = 0, rows: Any = None) -> Memory:
    seen = Observed(rollout, 10, entropy, rows_of() if rows is None else rows)
    return rule.update(rule.start(base, start), seen)
