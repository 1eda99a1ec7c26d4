"""The statistical suite as data: `checks(seed)` runs everything that is judged by standard errors, at any seed.

Agreement checks are residuals, realised minus expected, of each cause and of curvature (T5, T8, T10), and one-update drifts
against a simulation that shares nothing with the package. Falsifiers are the same scores under a wrong theory. Every part has
random numbers of its own, so scores of different parts of one seed are independent.

Sizes. A falsifier shifts its score by (wrong - right expectation) / standard error = m. It is missed when a normal score of mean
m falls within the limit of 5: with probability Phi(5 - m), 1e-12 at m = 12 and 4e-51 at m = 20. Every falsifier here has m > 20
on average over seeds; false_alarms.py reports the smallest score of any.

All scores are verdict.normal_score: Student's t and the skewness of the units are allowed for, so 5 has the normal's tail.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from entclip import Clip, SoftmaxPolicy, expected_entropy_drift, run
from entclip.ledger.columns import PARTS
from entclip.ledger.verdict import judge, normal_score
from entclip.objectives.catalogue import objective
from tests.statistics.cases import CASES, UNITS, VOCAB, ZIPF, Case

__all__ = ["ONE_UPDATE", "Check", "checks", "rejected"]

SEEDS_PER_SUITE = 1000  # experiments of one suite seed use seeds [1000 seed, 1000 seed + 999]

Kind = Literal["agreement", "falsifier"]


@dataclass(frozen=True)
class Check:
    """One normal score of so many independent units. An agreement check is met at |z| <= 5, a falsifier is rejected beyond."""

    name: str
    z: float
    kind: Kind
    units: int


def rejected(check: Check) -> bool:
    """The verdict's limit; a score that is no number judges nothing, so it fails an agreement check and rejects no falsifier."""
    if check.kind == "agreement":
        return not abs(check.z) <= 5
    return abs(check.z) > 5


# ---------------------------------------------------------------------------------------- residuals of the package's own runs


_WRONG: dict[str, Callable[[dict[str, Any]], dict[str, float]]] = {
    "swapped": lambda arm: {"clip_low": arm["expected_clip_high"], "clip_high": arm["expected_clip_low"]},
    "no_low": lambda arm: {"clip_low": 0.0},
    "no_high": lambda arm: {"clip_high": 0.0},
    "no_other": lambda arm: {"other": 0.0},
    "no_curvature": lambda arm: {"curvature": 0.0},
    "m_off": lambda arm: {side: 1.05 * arm[f"expected_{side}"] for side in ("clip_low", "clip_high")},
}


def _score(arm: dict[str, Any], part: str) -> float | None:
    """The verdict's z; None for a part that is identically 0, judged by rounding; NaN, an alarm, for one that was not judged."""
    z, verdict = arm[f"z_{part}"], arm[f"verdict_{part}"]
    if z is not None:
        return z
    return None if verdict == "agree" else math.nan


def _mean_score(values: np.ndarray, expected: float) -> float:
    """The score of a mean of independent values, as the verdict makes it."""
    centred = values - values.mean()
    skewness = float(np.mean(centred**3) / np.mean(centred**2) ** 1.5)
    t = float((values.mean() - expected) / (values.std(ddof=1) / math.sqrt(len(values))))
    return normal_score(t, len(values), skewness)


def _case_checks(case: Case, seed: int) -> list[Check]:
    """Scores of every part of one run that is not identically 0, then the worst score of each wrong theory."""
    experiment = case.experiment(seed)
    ledger = run(experiment, jobs=1)
    arm = ledger.summary()["arms"]["arm"]
    units = arm["units"]
    out = []
    for part in PARTS:
        z = _score(arm, part)
        if z is not None:
            out.append(Check(f"{case.name}/{part}", z, "agreement", units))
    for name in case.falsifiers:
        wrong = _WRONG[name](arm)
        judged = judge(arm | {f"expected_{part}": value for part, value in wrong.items()})
        worst = max((_score(judged, part) or 0.0 for part in wrong), key=abs)
        out.append(Check(f"{case.name}/{name}", worst, "falsifier", units))
    return out


# ------------------------------------------------------------------------------ one update, simulated without the package


def _slope(surrogate: Callable[[np.ndarray], np.ndarray], ratio: np.ndarray) -> np.ndarray:
    """d surrogate / d log r, the weight c on grad log pi, by a central difference: no published gradient is copied."""
    h = 1e-5
    return (surrogate(ratio * math.exp(h)) - surrogate(ratio * math.exp(-h))) / (2 * h)


def _min_clip(ratio: np.ndarray, advantage: np.ndarray) -> np.ndarray:
    return np.minimum(ratio * advantage, np.clip(ratio, 0.8, 1.2) * advantage)


def _dual(ratio: np.ndarray, advantage: np.ndarray) -> np.ndarray:
    inner = _min_clip(ratio, advantage)
    return np.where(advantage < 0, np.maximum(inner, 1.3 * advantage), inner)


def _gate(ratio: np.ndarray, advantage: np.ndarray) -> np.ndarray:
    tau = np.where(advantage > 0, 1.0, 2.0)
    return 4 / tau / (1 + np.exp(-tau * (ratio - 1))) * advantage


def _bounded(r: np.ndarray, a: np.ndarray) -> np.ndarray:
    """CE-GPPO as published: the gradient that the clip would drop keeps a bounded weight (beta .75 below, 1 above)."""
    return np.where((a < 0) & (r < 0.8), 0.75 * 0.8 * a, np.where((a > 0) & (r > 1.2), 1.2 * a, r * a))


def _masked(r: np.ndarray, a: np.ndarray, old: np.ndarray) -> np.ndarray:
    change = old * (r - 1)
    return np.where(((a > 0) & (change > 0.01)) | ((a < 0) & (change < -0.01)), 0.0, r * a)


# Weight c(r, A) of each sample, and the parameters of the same objective in the package.
ONE_UPDATE: dict[str, tuple[Callable[..., np.ndarray], dict[str, float]]] = {
    "clip": (lambda r, a, old: _slope(lambda x: _min_clip(x, a), r), {"low": 0.2, "high": 0.2}),
    "dual_clip": (lambda r, a, old: _slope(lambda x: _dual(x, a), r), {"cap": 1.3}),
    "sapo": (lambda r, a, old: _slope(lambda x: _gate(x, a), r), {"tau_neg": 2.0}),
    "cispo": (lambda r, a, old: np.clip(r, 0.8, 1.2) * a, {}),
    "ce_gppo": (lambda r, a, old: _bounded(r, a), {}),
    "dppo_tv": (lambda r, a, old: _masked(r, a, old), {"delta": 0.01}),
}
_LOW_AND_HIGH = ("clip", "dual_clip", "ce_gppo")  # objectives whose sides a sample's sign and ratio tell without the package


def _rewards(law: str, rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, dict[str, Any]]:
    """Advantages of samples and the package's name for their law."""
    from entclip import Bernoulli, GroupRelative, Independent, Rademacher

    if law == "rademacher":
        return rng.choice([-1.0, 1.0], size=shape), {"reward": Rademacher(), "advantage": Independent()}
    rewards = (rng.random((shape[0], shape[1] // 8, 8)) < 0.3).astype(float)
    centred = rewards - rewards.mean(axis=2, keepdims=True)
    scale = rewards.std(axis=2, keepdims=True)
    value = np.where(scale > 0, centred / np.where(scale > 0, scale, 1.0), 0.0)
    advantage = GroupRelative(size=8, scale="std", ddof=0)
    return value.reshape(shape), {"reward": Bernoulli(0.3), "advantage": advantage}


def _entropy(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    total = weights.sum(axis=-1)
    return np.log(total) - (weights * (logits - logits.max(axis=-1, keepdims=True))).sum(axis=-1) / total


def _one_update_checks(name: str, geometry: str, law: str, rng: np.random.Generator) -> list[Check]:
    """Mean slope and curvature of H along independently simulated steps against `expected_entropy_drift`."""
    weight, parameters = ONE_UPDATE[name]
    units, batch, h = 16 * UNITS, 32, 1e-3  # many small batches: curvature, a square, is skewed at any batch
    eta = 0.3 if geometry == "natural" else 3.0
    actions = np.arange(1, VOCAB + 1)
    old_logits, logits = -np.log(actions), -np.log(actions) + 0.6 * np.sin(actions)
    old, pi = (np.exp(x) / np.exp(x).sum() for x in (old_logits, logits))

    action = rng.choice(VOCAB, size=(units, batch), p=old)
    advantage, laws = _rewards(law, rng, (units, batch))
    ratio = (pi / old)[action]
    c = weight(ratio, advantage, old[action])
    low, high = (advantage < 0) & (ratio < 0.8), (advantage > 0) & (ratio > 1.2)
    parts = {"total": c}
    if name in _LOW_AND_HIGH:
        parts |= {"clip_low": (c - ratio * advantage) * low, "clip_high": (c - ratio * advantage) * high}

    rows = np.arange(units)[:, None] * VOCAB

    def step(weights: np.ndarray) -> np.ndarray:
        by_action = np.bincount((rows + action).ravel(), weights.ravel(), units * VOCAB).reshape(units, VOCAB) / batch
        return eta * (by_action / pi if geometry == "natural" else by_action - by_action.sum(axis=1, keepdims=True) * pi)

    terms = expected_entropy_drift(
        SoftmaxPolicy(logits),
        Clip(),
        old_policy=SoftmaxPolicy(old_logits),
        learning_rate=eta,
        geometry=geometry,
        objective=objective(name, **parameters),
        order=2,
        batch=batch,
        **laws,
    )
    first = {"clip_low": terms.clip_low, "clip_high": terms.clip_high, "total": terms.total - terms.curvature}
    out, samples = [], {}
    # Differences of H at h = 1e-3 times the step: their own error is h^2 of a third, fourth derivative, far below the scatter.
    for part, weights in parts.items():
        move = h * step(weights)
        up, down = _entropy(logits + move), _entropy(logits - move)
        samples[part] = ((up - down) / (2 * h), float(first[part]))
        if part == "total":
            samples["curvature"] = ((up + down - 2 * _entropy(logits)) / (2 * h * h), float(terms.curvature))
    for part, (value, expected) in samples.items():
        out.append(Check(f"independent/{geometry}/{name}/{part}", _mean_score(value, expected), "agreement", units))
        if part in ("clip_low", "clip_high"):
            wrong = f"independent/{geometry}/{name}/no_{part.removeprefix('clip_')}"
            out.append(Check(wrong, _mean_score(value, 0.0), "falsifier", units))
    return out


# ------------------------------------------------------------------------------ a whole rollout, simulated without the package


def _rollout_check(geometry: str, low: float, high: float, seed: int, rng: np.random.Generator) -> Check:
    """Measured entropy change of one rollout in the package and in ten lines of numpy, by their joint standard error."""
    eta, updates, batch = (0.3 if geometry == "natural" else 3.0), 12, 256
    case = Case("rollout", {"low": low, "high": high}, {"policy": ZIPF, "update": {"geometry": geometry, "learning_rate": eta}})
    arm = run(case.experiment(seed), jobs=1).summary()["arms"]["arm"]
    old = 1 / np.arange(1, VOCAB + 1)
    old = old / old.sum()
    theta = np.tile(np.log(old), (UNITS, 1))
    for _ in range(updates):
        pi = np.exp(theta - np.log(np.exp(theta).sum(axis=1, keepdims=True)))
        ratio = pi / old
        counts = rng.multinomial(batch, old, size=UNITS)
        up = rng.binomial(counts, 0.5)
        kept = (up * (ratio <= 1 + high) - (counts - up) * (ratio >= 1 - low)) / batch
        if geometry == "natural":
            theta = theta + eta * kept / old
        else:
            theta = theta + eta * (kept * ratio - (kept * ratio).sum(axis=1, keepdims=True) * pi)
    other = _entropy(theta) - _entropy(np.log(old))
    se = math.hypot(arm["measured_se"], other.std(ddof=1) / math.sqrt(UNITS))
    side = "tight_low" if math.isinf(high) else "high_only"
    return Check(f"independent/{geometry}/rollout_{side}", float((arm["measured"] - other.mean()) / se), "agreement", UNITS)


def checks(seed: int) -> list[Check]:
    """The whole suite at one seed: the same checks in the same order whatever the seed."""
    out = []
    first = SEEDS_PER_SUITE * seed
    for index, case in enumerate(CASES):
        out += _case_checks(case, first + index)
    index = len(CASES)
    for name in ONE_UPDATE:
        for geometry in ("natural", "euclidean"):
            for law in ("rademacher", "std_groups") if name == "clip" else ("rademacher",):
                rng = np.random.default_rng(first + index)
                found = _one_update_checks(name, geometry, law, rng)
                out += [replace(c, name=f"{c.name}/{law}") for c in found] if name == "clip" else found
                index += 1
    for geometry, low, high in (("natural", 0.1, math.inf), ("euclidean", 1.0, 0.2)):
        out.append(_rollout_check(geometry, low, high, first + index, np.random.default_rng(first + index + 1)))
        index += 2
    return out
