"""python -m benchmarks.sampled: the sampled engine with its full ledger against plain vectorised numpy without one,
as a ratio in one run.

Both do the headline's updates (natural step, clip .2/.2, same sampling, one thread). Rounds alternate, so that a machine that
slows down slows both; the ratio of each round is what counts, not its seconds.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.experiments.load import load
from entclip.runs.runner import run

ROUNDS = 5


def plain(experiment: Experiment, policy: np.ndarray) -> np.ndarray:
    """The same updates with nothing recorded: returns the final logits."""
    u = experiment.update
    rng = np.random.default_rng(0)
    theta = np.log(policy)
    for _ in range(u.rollouts):
        log_z = np.log(np.exp(theta).sum(axis=1, keepdims=True))
        old_log = theta - log_z
        old = np.exp(old_log)
        for _ in range(u.minibatches):
            ratio = np.exp(theta - np.log(np.exp(theta).sum(axis=1, keepdims=True)) - old_log)
            counts = rng.multinomial(u.batch, old)
            up = rng.binomial(counts, 0.5)
            weight = up * (ratio <= 1.2) - (counts - up) * (ratio >= 0.8)
            theta = theta + u.learning_rate * weight / (u.batch * old)
    return theta


def main() -> None:
    experiment = load("headline", ["update.rollouts=2"])
    experiment = experiment.model_copy(update={"arm": tuple(a for a in experiment.arm if a.name == "both")})
    policy = 0.9 * np.random.default_rng(0).dirichlet(np.full(64, 2.0), size=256) + 0.1 / 64
    ratios = []
    for k in range(ROUNDS + 1):
        start = time.perf_counter()
        plain(experiment, policy)
        middle = time.perf_counter()
        run(experiment, jobs=1)
        end = time.perf_counter()
        if k:  # the first round warms up
            ratios.append((end - middle) / (middle - start))
            print(f"round {k}: plain {middle - start:.2f} s, with ledger {end - middle:.2f} s, ratio {ratios[-1]:.2f}")
    print(f"ratio with ledger / plain: median {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
