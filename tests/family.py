"""The one list of objectives that the suites go through: every kind, with bounds at a distance that a test's steps pass."""

from __future__ import annotations

import math
from collections.abc import Set
from typing import Any

from entclip.objectives.base import Objective
from entclip.objectives.catalogue import kinds, objective

NOTHING: frozenset[str] = frozenset()


def family(width: float, serves: Set[str] = NOTHING) -> dict[str, dict[str, Any]]:
    """Every kind of objective that needs no more than what is served, as an experiment names it, with bounds about `width`."""
    w = width
    every = {
        "clip": {"kind": "clip", "low": w, "high": 1.5 * w},
        "low_only": {"kind": "clip", "low": w, "high": math.inf},
        "none": {"kind": "none"},
        "dual_clip": {"kind": "dual_clip", "low": 2 * w, "high": w, "cap": 1 + 1.5 * w},
        "cispo": {"kind": "cispo", "low": 1.5 * w, "high": w},
        "sapo": {"kind": "sapo", "tau_pos": 1.0, "tau_neg": 1.8},
        "ce_gppo": {"kind": "ce_gppo", "low": w, "high": w, "beta_low": 0.75, "beta_high": 0.5},
        "dppo_tv": {"kind": "dppo_tv", "delta": w / 50},
        "flexible": {"kind": "flexible", "low": w, "high": 1.5 * w, "low_slope": -w / 2, "high_slope": -w},
        "reinforce": {"kind": "reinforce"},
        "truncated_weights": {"kind": "truncated_weights", "cap": 1 + w},
        "cispo_trl": {"kind": "cispo_trl", "high": 1 + 1.5 * w},
        "cispo_torchrl": {"kind": "cispo_torchrl", "low": w, "high": 1.5 * w},
        "gppo": {"kind": "gppo", "low": w, "high": 1.5 * w},
        "sapo_trinity": {"kind": "sapo_trinity", "tau_pos": 1.0, "tau_neg": 1.8},
        "dppo_kl": {"kind": "dppo_kl", "delta": w**2 / 50},
        "ripo": {"kind": "ripo", "delta": w**2 / 20},
        "abc_grpo": {"kind": "abc_grpo", "low_pos": w, "high_pos": 1.5 * w, "low_neg": 1.5 * w, "high_neg": 2 * w},
        "positive_weight": {"kind": "positive_weight", "lambda_pos": 0.6, "low": w, "high": 1.5 * w},
        "w_reinforce": {"kind": "w_reinforce", "lambda_pos": 0.25, "lambda_neg": 0.75, "low": w, "high": 1.5 * w},
        "entropic": {"kind": "entropic", "alpha": -0.3, "threshold": 0.05, "low": w, "high": 1.5 * w},
        "repo_r": {"kind": "repo_r", "zeta": 0.3, "low": w, "high": 1.5 * w},
        "calibrl": {"kind": "calibrl", "coefficient": 0.2, "expert": 0.05, "low": w, "high": 1.5 * w},
        "erc": {"kind": "erc", "entropy_low": 1 - w / 30, "entropy_high": 1 + w / 30, "low": w, "high": 1.5 * w},
        "clip_b": {"kind": "clip_b", "mu": 0.2, "low": w, "high": 1.5 * w},
        "entropy_bonus": {"kind": "entropy_bonus", "coefficient": 0.3, "low": w, "high": 1.5 * w},
        "reference_kl": {"kind": "reference_kl", "coefficient": 0.4, "low": w, "high": 1.5 * w},
        "random_drop": {"kind": "random_drop", "drop_pos": 0.3, "drop_neg": 0.1},
        "repo": {"kind": "repo", "coefficient": 0.2},
        "high_entropy_mask": {"kind": "high_entropy_mask", "share": 0.4, "low": w, "high": 1.5 * w},
        "gspo": {"kind": "gspo", "low": w, "high": 1.5 * w},
        "gmpo": {"kind": "gmpo", "low": w, "high": 1.5 * w},
        "parl": {"kind": "parl", "coefficient": 0.3, "low": w, "high": 1.5 * w},
        "qae": {"kind": "qae", "quantile": 0.4, "low": w, "high": 1.5 * w},
        "leave_one_out": {"kind": "leave_one_out", "low": w, "high": 1.5 * w},
        "gapo": {"kind": "gapo", "low": w, "high": 3 * w, "group": 2},
        "steer": {"kind": "steer", "lambda_min": 0.6, "low": w, "high": 1.5 * w, "cap": 1 + 2 * w},
        "clip_cov": {"kind": "clip_cov", "ratio": 0.1, "lower": 0.02, "upper": 0.5, "low": 1.5 * w, "high": 2 * w},
        "kl_cov": {"kind": "kl_cov", "ratio": 0.3, "coefficient": 0.2},
        "clip_v": {"kind": "clip_v", "mu": 0.1, "max_fraction": 0.05, "low": w, "high": 1.5 * w},
        "bapo": {
            "kind": "bapo",
            "target": 0.6,
            "low": 2 * w,
            "low_end": w,
            "low_step": w / 4,
            "high": w,
            "high_end": 2 * w,
            "high_step": w / 3,
        },
        "adapo": {"kind": "adapo", "gain": 0.5, "least": w / 2, "most": 2 * w, "low": w, "high": 1.5 * w},
        "aer": {"kind": "aer", "coefficient": 0.3, "target": 5.0, "low": w, "high": 1.5 * w},
        "aepo": {"kind": "aepo", "coefficient": 0.4, "target": 5.0, "low": w, "high": 1.5 * w},
        "cde": {"kind": "cde", "omega": 1.0, "kappa": 2.0, "alpha": 0.2, "low": w, "high": 1.5 * w},
    }
    return {name: given for name, given in every.items() if kinds()[str(given["kind"])]().needs <= serves}


def members(width: float, serves: Set[str] = NOTHING) -> dict[str, Objective]:
    """The same, made."""
    return {name: objective(given.pop("kind"), **given) for name, given in family(width, serves).items()}


# Kinds that have no bound: no action is in a set, whatever its ratio.
UNBOUNDED = {"none", "sapo", "sapo_trinity", "reinforce", "repo", "random_drop"}

# Sides that are off, and bounds at a ratio of 1.
EDGES: dict[str, Objective] = {
    "clip_high_only": objective("clip", low=1, high=0.2),
    "clip_off": objective("clip", low=1, high=math.inf),
    "clip_zero": objective("clip", low=0, high=0),
    "cispo_inf": objective("cispo", low=1, high=math.inf),
    "ce_gppo_inf": objective("ce_gppo", low=0.3, high=math.inf),
}
