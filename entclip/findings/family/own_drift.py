"""First-order drift of an objective's own under a random reward, from T5 at policies that have moved: nothing is sampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from entclip.drift.expected import DriftTerms, expected_entropy_drift
from entclip.findings.family.experiments import WEIGHTED
from entclip.objectives.base import Objective
from entclip.objectives.catalogue import objective
from entclip.objectives.clip import Clip
from entclip.policies.laws import dirichlet, snapshot, zipf
from entclip.policies.softmax import Geometry, SoftmaxPolicy
from entclip.rewards.reward import Rademacher
from entclip.support.random import stream

__all__ = ["MEMBERS", "members_own_drift"]

Columns = dict[str, dict[str, float]]
GEOMETRIES: tuple[Geometry, ...] = ("natural", "euclidean")
NOISE = 0.3  # standard deviation of log pi/pi_old of an action: half as much again as the usual clip widths
MEMBERS: dict[str, Objective] = {
    "clip": objective("clip"),
    **{name: objective(kind, **parameters) for name, (kind, parameters) in WEIGHTED.items()},
    "cispo_torchrl": objective("cispo_torchrl"),
    "sapo": objective("sapo"),
    "gppo_half_high": objective("ce_gppo", beta_low=1.0, beta_high=0.5),
}
_LISTED: dict[str, Callable[[], SoftmaxPolicy]] = {
    "dirichlet:2": partial(dirichlet, 64, 2.0, 0, contexts=256, floor=0.1),
    "zipf:1": lambda: SoftmaxPolicy(np.tile(zipf(64, 1.0).logits, (256, 1))),
    "smollm2": partial(snapshot, "smollm2-135m"),
}
POLICIES = tuple(_LISTED)
_BLOCK = 32  # contexts at a time: 13 MB of a language model's tokens


def members_own_drift(policies: Iterable[str] = POLICIES) -> Columns:
    """Compute what each member adds to the unclipped update at first order, per unit learning rate, nats.

    The current policy is the old one with independent normal noise of standard deviation .3 on every logit, one draw for each of
    256 contexts; the reward is a coin flip of +-1. own: clip_low + clip_high + other, with its range over contexts. mean_own,
    mean_low, mean_high: means over contexts of it and of the two clip terms, with their standard errors. STEER's statistic is
    that of 32 contexts at a time.
    """
    out: Columns = {}
    for name in policies:
        logits, draw = _LISTED[name]().logits, stream(0, "perturbation", POLICIES.index(name))
        found: dict[str, list[DriftTerms]] = {}
        for start in range(0, len(logits), _BLOCK):
            old = logits[start : start + _BLOCK]
            now = SoftmaxPolicy(old + NOISE * draw.standard_normal(old.shape))
            for geometry in GEOMETRIES:
                for member, chosen in MEMBERS.items():
                    terms = expected_entropy_drift(
                        now,
                        Clip(),
                        Rademacher(),
                        old_policy=SoftmaxPolicy(old),
                        learning_rate=1.0,
                        geometry=geometry,
                        objective=chosen,
                    )
                    found.setdefault(f"{name},{geometry}/{member}", []).append(terms)
        out |= {key: _columns(blocks) for key, blocks in found.items()}
    return out


def _columns(blocks: Sequence[DriftTerms]) -> dict[str, float]:
    low, high, other = (np.concatenate([getattr(b, part) for b in blocks]) for part in ("clip_low", "clip_high", "other"))
    own = low + high + other
    out = {"own": float(own.mean()), "own_min": float(own.min()), "own_max": float(own.max()), "units": float(len(own))}
    for name, value in (("own", own), ("low", low), ("high", high)):
        out[f"mean_{name}"] = float(value.mean())
        out[f"mean_{name}_se"] = float(value.std(ddof=1)) / math.sqrt(len(value))
    return out
