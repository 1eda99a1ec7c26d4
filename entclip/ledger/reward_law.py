"""R = -a e^H + b: the exchange of entropy for reward along a run, fitted with intervals.

References: Cui et al. 2025, arXiv:2505.22617, who fit it run by run and say themselves that it is not universal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entclip.support.errors import SpecError

__all__ = ["RewardLaw", "fit_reward_law", "points_of"]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class RewardLaw:
    """Least squares over each of several independent runs, and their mean.

    Attributes:
        a, b: means over runs.   a_half, b_half: half of their 95 % intervals, Student's t over runs; NaN for one run.
        rmse: root mean square distance of the points of a run from its own line, mean over runs.
        ahead: the same for the second half of each run from the line of its first half: what the law foretells.
        runs: how many.
    """

    a: float
    b: float
    a_half: float
    b_half: float
    rmse: float
    ahead: float
    runs: int

    @property
    def ceiling(self) -> float:
        """Return b - a, the reward that the law has at H = 0."""
        return self.b - self.a


def fit_reward_law(entropy: np.ndarray, reward: np.ndarray) -> RewardLaw:
    """Fit R = -a e^H + b to each run by least squares, and return the means with intervals over runs.

    Points of one run follow each other and are not independent: an interval from one run's residuals would be far too narrow.

    Args:
        entropy, reward: H in nats and R of the same policies, (runs, K) or (K,), K at least 6.
    Raises: SpecError for shapes that do not fit, numbers that are not finite, or a run whose entropy does not move.
    """
    h, r = (np.atleast_2d(np.asarray(x, dtype=float)) for x in (entropy, reward))
    if h.shape != r.shape or h.ndim != 2 or h.shape[1] < 6:
        raise SpecError(
            f"entropy has shape {h.shape} and reward {r.shape}: give both as (runs, K), with K at least 6 points each."
        )
    if not (np.all(np.isfinite(h)) and np.all(np.isfinite(r))):
        raise SpecError("entropy and reward must be finite: leave rollouts out that have none.")
    if np.any(np.ptp(h, axis=1) <= 1e-12 * (1 + np.abs(h).max(axis=1))):
        raise SpecError("the entropy of a run does not move: no line can be laid through one point.")
    lines = [np.polyfit(np.exp(x), y, 1) for x, y in zip(h, r, strict=True)]
    slopes, heights = np.array(lines).T
    rest = [y - np.polyval(line, np.exp(x)) for line, x, y in zip(lines, h, r, strict=True)]
    half = h.shape[1] // 2
    ahead = [
        y[half:] - np.polyval(np.polyfit(np.exp(x[:half]), y[:half], 1), np.exp(x[half:])) for x, y in zip(h, r, strict=True)
    ]
    return RewardLaw(
        a=-float(slopes.mean()),
        b=float(heights.mean()),
        a_half=_half(slopes),
        b_half=_half(heights),
        rmse=_rms(rest),
        ahead=_rms(ahead),
        runs=len(h),
    )


def _rms(distances: Sequence[np.ndarray]) -> float:
    return float(np.mean([math.sqrt(float(np.mean(x**2))) for x in distances]))


def _half(values: np.ndarray) -> float:
    if len(values) < 2:
        return math.nan
    from scipy import stats

    return float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))


def points_of(rollouts: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return H and R of the policies of one arm's run, each (K,), from `ledger.arms[name].summaries`.

    The reward is what the policies after each rollout expect, where the engine knows it (sampled, exact); else the mean reward of
    the rollout's responses (llm), which belongs to the policy before it.
    Raises: SpecError where the run has no reward that the policy can change.
    """
    for reward, entropy in (("policy_reward", "entropy"), ("reward", "entropy_before")):
        if rollouts and all(row.get(reward) is not None for row in rollouts):
            return np.array([row[entropy] for row in rollouts]), np.array([row[reward] for row in rollouts])
    raise SpecError('this run has no reward that depends on the action: give it reward.kind = "table", or a task to an llm run.')
