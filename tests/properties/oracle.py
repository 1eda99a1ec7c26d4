"""Independent computations that properties compare the package with: published weights, enumeration, complex entropy.

Nothing here calls a formula of entclip. Extended precision (numpy longdouble) where it is wider than float64.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from entclip.objectives.base import Objective
from entclip.rewards.advantage import Advantage, Independent
from entclip.rewards.reward import RewardLaw
from tests.properties.published import clip_sets, gated, published_weight
from tests.properties.strategies import Update

CAUSES = ("unclipped", "clip_low", "clip_high", "other")


# ---- Entropy and its derivatives --------------------------------------------------------------------------------------------


def complex_entropy(logits: np.ndarray) -> np.ndarray:
    """H = -sum p log p of real or complex logits (entropy is analytic)."""
    shifted = logits - np.max(logits.real, axis=-1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return -np.sum(np.exp(log_p) * log_p, axis=-1)


def complex_gradient(logits: np.ndarray) -> np.ndarray:
    """dH/dtheta_a = p_a (s_a - H) of complex logits: its complex step gives second derivatives without cancellation."""
    shifted = logits - np.max(logits.real, axis=-1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    p = np.exp(log_p)
    return p * (np.sum(p * log_p, axis=-1, keepdims=True) - log_p)


def dense_hessian(log_p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """T1's matrix as theory.md prints it, and the same matrix with every term taken absolutely."""
    p = np.exp(log_p)
    h = -p @ log_p
    matrix = -np.diag(p * (log_p + h + 1)) + np.outer(p, p) * (log_p[:, None] + log_p + 2 * h + 1)
    size = np.abs(log_p) + h + 1
    return matrix, np.diag(p * size) + np.outer(p, p) * (size[:, None] + size)


def entropy_size(log_p: np.ndarray) -> float:
    """Sum of the absolute terms of H and of what its exponents' rounding (|l| ulps each) makes of them."""
    return float(np.sum(np.exp(log_p) * (1 + np.abs(log_p)) ** 2))


# ---- What each side of an objective does -------------------------------------------------------------------------------------


def by_cause(o: Objective, r: np.ndarray, a: np.ndarray, old: np.ndarray) -> dict[str, np.ndarray]:
    """c(r, A) in four parts: r A; its change on LOW (for A < 0; CISPO: any sign), on HIGH (A > 0), and elsewhere."""
    change = published_weight(o, r, a, old) - r * a
    low, high = clip_sets(o, r, old)
    if gated(o):
        low, high = low & (a < 0), high & (a > 0)
    return {
        "unclipped": r * a,
        "clip_low": np.where(low, change, 0.0),
        "clip_high": np.where(high, change, 0.0),
        "other": np.where(low | high, 0.0, change),
    }


# ---- Enumeration of one minibatch -------------------------------------------------------------------------------------------


def group_advantages(advantage: Advantage, rewards: np.ndarray, mean: float) -> np.ndarray:
    """Advantages of rewards (..., B): reward minus its exact mean, or relative to consecutive groups."""
    if isinstance(advantage, Independent):
        return rewards - mean
    x = rewards.reshape(*rewards.shape[:-1], -1, advantage.size)
    centred = x - x.mean(-1, keepdims=True)
    if advantage.scale == "std":
        std, flat = x.std(-1, ddof=advantage.ddof, keepdims=True), np.ptp(x, axis=-1, keepdims=True) == 0
        centred = np.where(flat, 0.0, centred / np.where(flat, 1.0, std + advantage.eps))
    return centred.reshape(rewards.shape)


class Outcomes(NamedTuple):
    """Every minibatch: actions and advantages (O, B), and its probability (O,)."""

    actions: np.ndarray
    advantages: np.ndarray
    chance: np.ndarray


def all_outcomes(old: np.ndarray, reward: RewardLaw, advantage: Advantage, batch: int) -> Outcomes:
    given = np.broadcast_to(reward.level_probs, (len(old), len(reward.levels)))
    action, level = np.nonzero(given)
    p = old[action] * given[action, level]
    index = np.indices((len(p),) * batch).reshape(batch, -1).T
    mean = math.fsum(p * reward.levels[level])
    return Outcomes(action[index], group_advantages(advantage, reward.levels[level][index], mean), np.prod(p[index], axis=1))


def sample_steps(
    actions: np.ndarray, c: np.ndarray, log_p: np.ndarray, geometry: str, scale: float, batch: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Step (O, V) of minibatches, sample by sample: c e_a/pi_a or c (e_a - pi); and the sum of its absolute terms."""
    p = np.exp(log_p)
    hot = (actions[..., None] == np.arange(len(p))).astype(float)
    scale = scale / (actions.shape[-1] if batch is None else batch)
    if geometry == "natural":
        return scale * np.einsum("ob,obv->ov", c, hot) / p, scale * np.einsum("ob,obv->ov", np.abs(c), hot) / p
    steps = np.einsum("ob,obv->ov", c, hot - p)
    return scale * steps, scale * np.einsum("ob,obv->ov", np.abs(c), hot + p)


class Enumerated(NamedTuple):
    """Steps of all outcomes: in total (O, V), per cause, absolute terms, probabilities."""

    total: np.ndarray
    causes: dict[str, np.ndarray]
    size: np.ndarray
    chance: np.ndarray


def enumerate_steps(u: Update) -> Enumerated:
    old = u.pair.old_probs
    out = all_outcomes(old, u.reward, u.advantage, u.batch)
    r, o = u.pair.ratio[out.actions], old[out.actions]

    def step(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return sample_steps(out.actions, c, u.pair.log_p, u.geometry, u.learning_rate)

    c = published_weight(u.objective, r, out.advantages, o)
    causes = {name: step(part)[0] for name, part in by_cause(u.objective, r, out.advantages, o).items()}
    # The formulas add and subtract the unclipped weight r A on the way: it counts among the terms.
    return Enumerated(step(c)[0], causes, step(np.abs(c) + r * np.abs(out.advantages))[1], out.chance)


# ---- First order for any vocabulary -----------------------------------------------------------------------------------------


class FirstOrder(NamedTuple):
    """eta Cov_pi(kappa, w) by cause, and the sum of its absolute terms with the rounding of their exponents."""

    causes: dict[str, float]
    terms: float


def first_order(
    o: Objective, plus: np.ndarray, minus: np.ndarray, log_p: np.ndarray, log_old: np.ndarray, geometry: str, rate: float
) -> FirstOrder:
    """T5, T10 in extended precision: published weights are homogeneous in A, so w = [M+ c(r, 1) + M- c(r, -1)]/r."""
    p, l = np.exp(log_p.astype(np.longdouble)), log_p.astype(np.longdouble)
    entropy = -np.sum(p * l)
    kappa = -l if geometry == "natural" else -p * (l + entropy)
    value = p * (kappa - np.sum(p * kappa))
    size = p * (np.abs(kappa) + np.sum(p * np.abs(kappa))) if geometry == "natural" else p * p * (np.abs(l) + entropy)
    r, old, one = np.exp(log_p - log_old), np.exp(log_old), np.ones_like(log_p)
    up, down = by_cause(o, r, one, old), by_cause(o, r, -one, old)
    causes = {c: float(rate * np.sum(value * (plus * (up[c] / r) + minus * (down[c] / r)))) for c in CAUSES}
    parts = plus * (1 + np.abs(published_weight(o, r, one, old)) / r) + minus * (
        1 + np.abs(published_weight(o, r, -one, old)) / r
    )
    # A float64 p carries |l| ulps; the mean of the euclidean kappa is of the order of its largest terms.
    size = size * (1 + np.abs(l)) + p * np.sum(size * (1 + np.abs(l)))
    return FirstOrder(causes, float(rate * np.sum(size * parts)))
