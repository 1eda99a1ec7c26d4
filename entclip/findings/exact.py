"""Findings that need no sampling: first-order effects and noise terms at given policies, from the package's own formulas.

Each function returns {policy: {column: value}}: the mean over the policy's contexts, and with _min and _max the range over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from entclip.drift.first_order import expected_first_order
from entclip.drift.noise import noise_drift
from entclip.findings.family.own_drift import members_own_drift
from entclip.policies.laws import dirichlet, peaked, snapshot, uniform, zipf
from entclip.policies.softmax import Geometry, SoftmaxPolicy, centered_kappa, entropy, kappa
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import TableReward

__all__ = ["EXACT", "POLICIES"]

Columns = dict[str, dict[str, float]]
_GEOMETRIES: tuple[Geometry, ...] = ("natural", "euclidean")
_BLOCK = 32  # contexts at a time: 13 MB of a language model's tokens


def _listed() -> dict[str, Callable[[], SoftmaxPolicy]]:
    """Return policies by name, built when used: flat to peaked tables, and the tokens of a real language model."""
    exponents = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0)
    tables: dict[str, Callable[[], SoftmaxPolicy]] = {f"zipf:{s:g}": partial(zipf, 64, s) for s in exponents}
    return {
        "uniform": lambda: uniform(64),
        **tables,
        "peaked:4": lambda: peaked(64, 4.0),
        "dirichlet:2": lambda: dirichlet(64, 2.0, 0, contexts=256, floor=0.1),
        "smollm2": lambda: snapshot("smollm2-135m"),
    }


POLICIES = tuple(_listed())
_TOKENS = ("zipf:1", "zipf:2", "dirichlet:2", "smollm2")  # one flat, two heavy tails, one real


def _blocks(name: str, contexts: int | None) -> Iterator[np.ndarray]:
    """Yield log pi of a policy, (contexts, V) in blocks, most probable action first."""
    log_probs = np.atleast_2d(_listed()[name]().log_probs)[:contexts]
    for start in range(0, len(log_probs), _BLOCK):
        yield -np.sort(-log_probs[start : start + _BLOCK], axis=-1)


def _over_contexts(
    name: str, columns: Callable[[np.ndarray], dict[str, np.ndarray]], contexts: int | None = None
) -> dict[str, float]:
    """Return mean, smallest and largest value of each column over the (first so many) contexts of a policy, and the share above
    0."""
    blocks = [columns(block) for block in _blocks(name, contexts)]
    out: dict[str, float] = {}
    for key in blocks[0]:
        value = np.concatenate([block[key] for block in blocks])
        out |= {key: float(value.mean()), f"{key}_min": float(value.min()), f"{key}_max": float(value.max())}
        out[f"{key}_positive"] = float(np.mean(value > 0))
    return out


def noise_sign() -> Columns:
    """Return T9 per unit eta^2 m2/(2B): the drift of an unclipped on-policy update under a random reward, from noise alone."""

    def of(log_probs: np.ndarray, geometry: Geometry) -> dict[str, np.ndarray]:
        return {"noise": noise_drift(log_probs, learning_rate=1.0, second_moment=2.0, batch=1, geometry=geometry)}

    return {f"{name}/{g}": _over_contexts(name, partial(of, geometry=g)) for g in _GEOMETRIES for name in POLICIES}


def quadrants() -> Columns:
    """Compute what each region of advantage and surprisal does at first order under a random reward, per unit eta M.

    A sample of A > 0 pushes its action up, one of A < 0 down, so a region's pushes are worth sign(A) Cov_pi(kappa, 1[region]).
    e1: A > 0, s < H;  e2: A > 0, s > H;  e3: A < 0, s < H;  e4: A < 0, s > H.
    """

    def of(log_probs: np.ndarray, geometry: Geometry) -> dict[str, np.ndarray]:
        rare = (-log_probs > entropy(log_probs)[..., None]).astype(float)
        weights = {"e1": 1 - rare, "e2": rare, "e3": rare - 1, "e4": -rare}
        return expected_first_order(weights, log_probs, learning_rate=1.0, geometry=geometry)

    return {f"{name}/{g}": _over_contexts(name, partial(of, geometry=g)) for g in _GEOMETRIES for name in _TOKENS}


def dropped_baseline() -> Columns:
    """Compute, for euclidean steps, the share of probability, and of first-order effect, whose sign is wrong once E_pi[kappa]
    is left out."""

    def of(log_probs: np.ndarray) -> dict[str, np.ndarray]:
        exact = centered_kappa(log_probs, "euclidean")
        wrong = exact * kappa(log_probs, "euclidean") < 0
        probs = np.exp(log_probs)
        size = probs * np.abs(exact)
        return {
            "wrong_probability": np.sum(probs * wrong, axis=-1),
            "wrong_effect": np.sum(size * wrong, axis=-1) / np.sum(size, axis=-1),
        }

    return {name: _over_contexts(name, of) for name in _TOKENS}


def advantage_halves() -> Columns:
    """Compute, on-policy with a reward of 1 for some actions, what samples of A > 0 and of A < 0 do at first order, per unit eta.

    likely: the most probable action is right; rare: those beyond the likeliest 90 % of the probability are. The first 32 contexts
    of each policy, since a table of rewards is made for each.
    """

    def of(log_probs: np.ndarray, geometry: Geometry, right: str) -> dict[str, np.ndarray]:
        out: dict[str, list[float]] = {"plus": [], "minus": []}
        for row in log_probs:
            probs = np.exp(row)
            chosen = np.arange(len(row)) == 0 if right == "likely" else np.cumsum(probs) - probs >= 0.9
            moments = Independent().moments(TableReward(tuple(chosen.astype(float))), probs)
            weights = {"plus": moments.by_action("plus"), "minus": -moments.by_action("minus")}
            for key, value in expected_first_order(weights, row, learning_rate=1.0, geometry=geometry).items():
                out[key].append(float(value))
        return {key: np.array(values) for key, values in out.items()}

    return {
        f"{name},{right}/{g}": _over_contexts(name, partial(of, geometry=g, right=right), _BLOCK)
        for g in _GEOMETRIES
        for right in ("likely", "rare")
        for name in _TOKENS
    }


EXACT: dict[str, Callable[[], Columns]] = {
    "noise_sign": noise_sign,
    "quadrants": quadrants,
    "dropped_baseline": dropped_baseline,
    "advantage_halves": advantage_halves,
    "own_drift": members_own_drift,
}
