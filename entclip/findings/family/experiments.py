"""Experiments that set published objectives and controllers side by side, each on tables and with common random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entclip.experiments.experiment import Experiment, parse_experiment

__all__ = ["AGAINST", "FAMILY", "WEIGHTED", "family_experiment"]

_POLICY = {"kind": "dirichlet", "vocab": 64, "alpha": 2.0, "floor": 0.5, "contexts": 32}
_RANDOM = {"kind": "rademacher"}
_TRUE = {"kind": "table", "values": [float(a % 4 == 0) for a in range(64)]}
_NATURAL = {"geometry": "natural", "learning_rate": 0.1, "batch": 2048, "minibatches": 32, "rollouts": 2}
_EUCLIDEAN = {"geometry": "euclidean", "learning_rate": 4.0, "batch": 256, "minibatches": 16, "rollouts": 4}
_UNEQUAL = {"kind": "normal_logits", "vocab": 64, "sd": 2.0, "contexts": 32}  # contexts of different entropies
_MASKED = {"geometry": "euclidean", "learning_rate": 0.2, "batch": 256, "minibatches": 16, "rollouts": 4}
_LEARNING = {"geometry": "natural", "learning_rate": 0.05, "batch": 256, "minibatches": 16, "rollouts": 3}


def _arm(name: str, kind: str, **parameters: Any) -> dict[str, Any]:
    return {"name": name, "objective": {"kind": kind, **parameters}}


def _bounded(name: str, low: float, high: float) -> dict[str, Any]:
    return _arm(name, "clip", low=low, high=high)


_OFF = {"low": 1.0, "high": float("inf")}
# Objectives whose part of the drift is asked for, by name: kind and parameters.
WEIGHTED: Mapping[str, tuple[str, dict[str, Any]]] = {
    "abc_grpo": ("abc_grpo", {}),
    "cispo": ("cispo", {}),
    "cispo_trl": ("cispo_trl", {}),
    "sapo_equal": ("sapo", {"tau_pos": 1.0, "tau_neg": 1.0}),
    "steer_bare": ("steer", {"cap": float("inf"), **_OFF}),
    "steer": ("steer", {}),
    "gppo": ("gppo", {}),
    "ce_gppo": ("ce_gppo", {}),
    "ce_gppo_quarter": ("ce_gppo", {"beta_low": 0.25}),
}
_WEIGHTS = tuple(_arm(name, kind, **parameters) for name, (kind, parameters) in WEIGHTED.items())
_COVARIANCE = tuple(_arm(f"clip_cov_{share:g}", "clip_cov", ratio=share) for share in (2e-4, 2e-2, 0.2))
_BASE = (_arm("none", "none"), _bounded("clip", 0.2, 0.2), _bounded("clip_higher", 0.2, 0.28))
_MASKS = (
    _arm("mask_kept", "high_entropy_mask", low=0.2, high=0.2),
    _arm("mask_all", "high_entropy_mask", low=0.2, high=0.2, normaliser="all"),
    _bounded("clip_as_kept", 0.2, 0.2) | {"control": {"kind": "match_kl", "like": "mask_kept"}},
    _bounded("clip_as_all", 0.2, 0.2) | {"control": {"kind": "match_kl", "like": "mask_all"}},
)
_KNOBS = (
    _bounded("fixed", 0.2, 0.2),
    _bounded("eps_low", 0.2, 0.2) | {"controller": {"kind": "predictive", "sides": "low"}},
    _bounded("eps_high", 0.2, 0.2) | {"controller": {"kind": "predictive", "sides": "high"}},
    _bounded("both", 0.2, 0.2) | {"controller": {"kind": "predictive", "sides": "both"}},
    _bounded("pi_low", 0.2, 0.2) | {"controller": {"kind": "pi"}},
    _bounded("adapo_high", 0.2, 0.2) | {"controller": {"kind": "adapo"}},
    _arm("bonus", "entropy_bonus") | {"controller": {"kind": "adaptive_bonus", "target": None}},
    _arm("repo", "repo_r") | {"controller": {"kind": "repo"}},
    _arm("entropic", "entropic") | {"controller": {"kind": "entropic", "target": None}},
)

# Which arms each run's others are compared with, unit by unit.
AGAINST: Mapping[str, tuple[str, ...]] = {
    "family_natural": ("none", "clip", "clip_higher"),
    "family_euclidean": ("none", "clip", "clip_higher"),
    "family_true": ("none", "clip", "clip_higher"),
    "family_mask": ("clip", "clip_as_kept", "clip_as_all"),
    "family_mask_true": ("clip", "clip_as_kept", "clip_as_all"),
    "family_mask_unequal": ("clip", "clip_as_kept", "clip_as_all"),
    "family_knobs": ("fixed",),
    "family_knobs_euclidean": ("fixed",),
    "family_knobs_true": ("fixed",),
}
FAMILY: Mapping[str, dict[str, Any]] = {
    "family_natural": {"reward": _RANDOM, "update": _NATURAL, "arm": (*_BASE, *_WEIGHTS, *_COVARIANCE)},
    "family_euclidean": {"reward": _RANDOM, "update": _EUCLIDEAN, "arm": (*_BASE, *_WEIGHTS, *_COVARIANCE)},
    "family_true": {"reward": _TRUE, "update": _LEARNING, "arm": (*_BASE, *_WEIGHTS, *_COVARIANCE)},
    "family_mask": {"reward": _RANDOM, "update": _NATURAL, "arm": (_BASE[1], *_MASKS)},
    "family_mask_true": {"reward": _TRUE, "update": _LEARNING, "arm": (_BASE[1], *_MASKS)},
    "family_mask_unequal": {"policy": _UNEQUAL, "reward": _TRUE, "update": _MASKED, "arm": (_BASE[1], *_MASKS)},
    "family_knobs": {"reward": _RANDOM, "update": _NATURAL | {"rollouts": 8}, "arm": _KNOBS},
    "family_knobs_euclidean": {"reward": _RANDOM, "update": _EUCLIDEAN | {"rollouts": 8}, "arm": _KNOBS},
    "family_knobs_true": {"reward": _TRUE, "update": _LEARNING | {"rollouts": 8}, "arm": _KNOBS},
}


def family_experiment(name: str, quick: bool = False) -> Experiment:
    """Return an experiment of this list: 32 contexts, 16 replicas of each, 4 if it has to be quick."""
    return parse_experiment({"name": name, "policy": _POLICY, "replicas": 4 if quick else 16} | FAMILY[name])
