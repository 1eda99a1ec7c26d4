"""Experiments of the statistical suite: what each one runs, and which wrong theories its samples must reject."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from entclip.experiments.experiment import Experiment, parse_experiment

__all__ = ["CASES", "UNITS", "VOCAB", "Case"]

VOCAB = 16
UNITS = 512


@dataclass(frozen=True)
class Case:
    """A one-arm experiment and the wrong theories that its size can tell from the right one."""

    name: str
    arm: dict[str, Any]
    changes: dict[str, Any] = field(default_factory=dict)
    falsifiers: tuple[str, ...] = ()

    def experiment(self, seed: int) -> Experiment:
        """512 contexts of 16 actions and one rollout of 12 updates unless the case says otherwise."""
        update = {"geometry": "natural", "learning_rate": 0.3, "batch": 256, "minibatches": 12, "rollouts": 1}
        base: dict[str, Any] = {"policy": {"kind": "dirichlet", "vocab": VOCAB, "contexts": UNITS}, "seed": seed}
        changes = {**self.changes, "update": update | self.changes.get("update", {})}
        return parse_experiment(base | changes | {"arm": [{"name": "arm", **self.arm}]})


ZIPF = {"kind": "zipf", "vocab": VOCAB, "contexts": UNITS}
MORE = {"kind": "dirichlet", "vocab": VOCAB, "contexts": 2 * UNITS}
MORE_ZIPF = ZIPF | {"contexts": 2 * UNITS}
MANY_ZIPF = ZIPF | {"contexts": 8 * UNITS}
GROUPS = {"kind": "group", "size": 8}
STD_GROUPS = GROUPS | {"scale": "std"}
TABLE = {"kind": "table", "values": [1, 0, 0, 0.5] * 4}
EUCLIDEAN = {"geometry": "euclidean", "learning_rate": 3.0}
# One update of a large batch away from pi_old: its cost does not grow with the batch, and the clip terms dwarf their errors.
ONE_STEP = {"batch": 2**16, "minibatches": 1}
APART = {"law": "flat", "rms": 0.2}
WAVE = {"law": "array", "values": [0.6 * math.sin(a) for a in range(1, VOCAB + 1)]}

BOTH = {"low": 0.2, "high": 0.2}
LOW_ONLY = {"low": 0.2, "high": math.inf}
HIGH_ONLY = {"low": 1.0, "high": 0.2}
TIGHT_LOW = {"low": 0.1, "high": math.inf}
NONE = {"objective": "none"}


def _objective(kind: str, **parameters: float) -> dict[str, Any]:
    return {"objective": {"kind": kind, **parameters}}


CASES = (
    # Clip sides, policies and geometries under the simplest reward.
    Case("natural/none", NONE, {"policy": ZIPF}, ("no_curvature",)),
    Case("natural/both", BOTH, {}, ("swapped", "no_low", "no_high", "no_curvature")),
    Case("natural/low_only", LOW_ONLY, {"policy": ZIPF}, ("no_low", "no_curvature")),
    Case("natural/high_only", HIGH_ONLY, {"policy": ZIPF}, ("no_high", "no_curvature")),
    Case("natural/tight_low", TIGHT_LOW, {"policy": ZIPF}, ("no_low",)),
    Case("natural/two_rollouts", BOTH, {"update": {"rollouts": 2, "minibatches": 6, "learning_rate": 0.4}}, ("no_curvature",)),
    Case("euclidean/none", NONE, {"policy": ZIPF, "update": EUCLIDEAN}, ("no_curvature",)),
    Case("euclidean/both", BOTH, {"update": EUCLIDEAN}, ("swapped", "no_high", "no_curvature")),
    Case("euclidean/low_only", LOW_ONLY, {"policy": MORE, "update": EUCLIDEAN}, ("no_low", "no_curvature")),
    Case("euclidean/high_only", HIGH_ONLY, {"policy": ZIPF, "update": EUCLIDEAN}, ("no_high", "no_curvature")),
    Case("euclidean/tight_low", TIGHT_LOW, {"update": EUCLIDEAN}, ("no_low",)),
    *(
        Case(f"{geometry}/one_update_{name}", arm, {"update": ONE_STEP | step, **start}, wrong)
        for geometry, step in (("natural", {"learning_rate": 0.1}), ("euclidean", EUCLIDEAN))
        for name, arm, start, wrong in (
            ("both", BOTH, {"perturbation": APART}, ("no_low", "no_high", "no_curvature", "m_off")),
            ("low_only", LOW_ONLY, {"policy": ZIPF, "perturbation": WAVE}, ("no_low", "m_off")),
            ("high_only", HIGH_ONLY, {"policy": ZIPF, "perturbation": WAVE}, ("no_high", "m_off")),
        )
    ),
    # Reward laws and advantages.
    Case("natural/bernoulli", BOTH, {"reward": {"kind": "bernoulli", "p": 0.3}, "update": {"learning_rate": 0.6}}),
    Case("euclidean/gaussian", BOTH, {"reward": {"kind": "gaussian"}, "update": {**EUCLIDEAN, "minibatches": 8}}),
    Case(
        "natural/groups",
        BOTH,
        {"reward": {"kind": "bernoulli", "p": 0.3}, "advantage": GROUPS, "update": {"learning_rate": 0.8, "minibatches": 10}},
        ("swapped", "no_low", "no_high", "no_curvature"),
    ),
    Case(
        "euclidean/std_groups",
        BOTH,
        {
            "policy": MORE,
            "reward": {"kind": "bernoulli", "p": 0.3},
            "advantage": STD_GROUPS,
            "update": {"geometry": "euclidean", "learning_rate": 4.0, "batch": 128, "minibatches": 8},
        },
        ("no_high", "no_curvature"),
    ),
    Case(
        "natural/gaussian_std_groups",
        BOTH,
        {"reward": {"kind": "gaussian"}, "advantage": STD_GROUPS, "update": {"minibatches": 8}},
        ("no_low", "no_curvature"),
    ),
    Case("natural/true_reward", BOTH, {"reward": TABLE, "update": {"minibatches": 6}}, ("no_low", "no_high")),
    Case(
        "euclidean/true_reward_groups",
        BOTH,
        {"reward": TABLE, "advantage": GROUPS, "update": {**EUCLIDEAN, "minibatches": 6}},
        ("swapped", "no_low", "no_high"),
    ),
    # Other objectives, each far enough from pi_old for its own part to show.
    *(
        Case(f"{geometry}/{name}", arm, {"policy": MANY_ZIPF, "perturbation": WAVE, "update": {**ONE_STEP, **step}}, wrong)
        for geometry, step in (("natural", {"learning_rate": 0.1}), ("euclidean", EUCLIDEAN))
        for name, arm, wrong in (
            ("dual_clip", _objective("dual_clip", cap=1.3), ("no_low", "no_high", "no_other", "no_curvature")),
            ("cispo", _objective("cispo"), ()),
            ("sapo", _objective("sapo", tau_neg=2.0), ("no_other",)),
            ("ce_gppo", _objective("ce_gppo"), ("no_low", "no_high")),
            ("dppo_tv", _objective("dppo_tv", delta=0.01), ("no_low", "no_high", "no_curvature")),
        )
    ),
    Case(
        "euclidean/cispo_path",
        _objective("cispo"),
        {"policy": MORE_ZIPF, "perturbation": WAVE, "update": EUCLIDEAN},
        ("no_curvature",),
    ),
    # Sequences, weights, mirrored rewards, minibatches drawn at random.
    Case(
        "natural/sequences",
        BOTH,
        {"policy": {"kind": "autoregressive", "vocab": 4, "length": 2, "contexts": UNITS}},
        ("swapped", "no_low", "no_high", "no_curvature"),
    ),
    Case(
        "euclidean/sequence_groups",
        BOTH,
        {
            "policy": {"kind": "autoregressive", "vocab": 4, "length": 2, "contexts": UNITS},
            "reward": {"kind": "bernoulli", "p": 0.3},
            "advantage": STD_GROUPS,
            "update": {**EUCLIDEAN, "minibatches": 8},
        },
        ("no_curvature",),
    ),
    Case("euclidean/weights", BOTH, {"policy": MORE, "weights": [0.5, 1.5] * UNITS, "update": EUCLIDEAN}, ("no_curvature",)),
    Case("natural/antithetic", BOTH, {"antithetic": True, "replicas": 2}, ("no_curvature",)),
    Case("natural/shuffled", BOTH, {"update": {"minibatch": "shuffled", "minibatches": 8}}, ("no_curvature",)),
    # Few units: the score is Student's t, judged as the normal score of the same tail.
    Case("natural/few_units", BOTH, {"policy": ZIPF | {"contexts": 24}}),
)
