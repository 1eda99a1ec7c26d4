"""What happened in a run of the corpus, simulated token by token from a stated truth; no formula of entclip is used.

A run has rollouts of K updates. A share `sure` of its tokens is certain and never moves; the log-ratio of every other token is a
random walk with one step per update, of standard deviation sigma / sqrt(K - 1) each, minus half its variance, plus a shift where
the two policies of the ratio differ. Advantages are +1 or -1 whatever the token.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Situation", "updates_of"]


@dataclass(frozen=True)
class Situation:
    """Truths: widths, updates per rollout, noise at the last update, shift, share of A > 0, entropy's course, rewards."""

    rollouts: int = 30
    updates: int = 4
    sigma: float = 0.2
    shift: float = 0.0
    first: float = 0.0  # noise that is there before any update: engine, precision
    low: float = 0.2
    high: float = 0.2
    cap: float = 3.0
    positive: float = 0.5
    sure: float = 0.5
    heavy: float = 0.0  # share of the moving tokens that move four times as far
    start: float = 0.7
    end: float = 0.7
    reward: tuple[float, float] = (0.5, 0.5)
    flat: float = 0.1
    length: float = 600.0
    tokens: int = 6000
    scatter: float = 0.02  # of the entropy from batch to batch


def updates_of(truth: Situation, seed: int) -> list[dict[str, float]]:
    """One row for each update: every quantity that a trainer could log of it."""
    rng = np.random.default_rng(seed)
    rows = []
    for rollout in range(truth.rollouts):
        t = truth.tokens
        moving = rng.random(t) >= truth.sure
        scale = np.where(moving, np.where(rng.random(t) < truth.heavy, 4.0, 1.0), 0.0)
        step = truth.sigma / max(truth.updates - 1, 1) ** 0.5
        # Fresh tokens for each update, as each has a minibatch of its own.
        for inner in range(truth.updates):
            sd = scale * (step * inner**0.5) + truth.first * moving
            x = rng.standard_normal(t) * sd - sd**2 / 2
            x += truth.shift * (moving if inner or truth.first else 0.0)
            ratio, up = np.exp(x), rng.random(t) < truth.positive
            progress = (rollout * truth.updates + inner) / max(truth.rollouts * truth.updates - 1, 1)
            entropy = truth.start * (truth.end / truth.start) ** progress
            rows.append(
                {
                    "rollout": rollout,
                    "inner_step": inner,
                    "clip_low": float(np.mean(~up & (ratio < 1 - truth.low))),
                    "clip_high": float(np.mean(up & (ratio > 1 + truth.high))),
                    "clip_any": float(np.mean((ratio < 1 - truth.low) | (ratio > 1 + truth.high))),
                    "dual": float(np.mean(~up & (ratio > truth.cap))),
                    "kl": float(np.mean(-x)),
                    "kl3": float(np.mean(ratio - 1 - x)),
                    "ratio": float(np.mean(ratio)),
                    "entropy": float(entropy * (1 + truth.scatter * rng.standard_normal())),
                    "reward": float(np.interp(progress, [0, 1], truth.reward) + 0.03 * rng.standard_normal()),
                    "flat": float(np.clip(truth.flat + 0.05 * rng.standard_normal(), 0, 1)),
                    "length": float(truth.length * (1 + 0.03 * rng.standard_normal())),
                }
            )
    return rows
