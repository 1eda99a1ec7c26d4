"""The experiments of docs/common-advice.md: `python -m benchmarks.advice` writes docs/data/common_advice.json (seconds).

Tables of 64 actions, an eighth of them right, 64 contexts that see the same random numbers in every arm: differences between
arms are taken context by context. Arms differ in how far they have learned, so entropy is also compared where the mean success
first reaches a third, with jackknife errors over contexts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from entclip import objective
from entclip.engines.base import Directive
from entclip.engines.named import engine_named
from entclip.experiments.experiment import Experiment
from entclip.objectives.base import Objective

__all__ = ["ARMS", "RUNS", "experiment", "path", "results"]

OUT = Path(__file__).parents[1] / "docs" / "data" / "common_advice.json"
ACTIONS = 64
RIGHT = np.arange(ACTIONS) % 8 == 0
SUCCESS = 1 / 3
RUNS = {"page": (64, 6), "check": (8, 3)}  # contexts and rollouts; a test runs the second again
ARMS: dict[str, Objective] = {
    "(.2, .2)": objective("clip"),
    "(.2, .28)": objective("clip", high=0.28),
    "(.4, .2)": objective("clip", low=0.4),
    "(1, .2)": objective("clip", low=1.0),
    "KL .03": objective("reference_kl", coefficient=0.03),
    "KL .3": objective("reference_kl", coefficient=0.3),
}


def experiment(contexts: int, rollouts: int) -> Experiment:
    """Natural steps, groups of 8 without division, 16 minibatches of 1,024 samples per context."""
    return Experiment.model_validate(
        {
            "name": "common_advice",
            "policy": {"kind": "normal_logits", "sd": 2.0, "vocab": ACTIONS, "contexts": contexts},
            "reward": {"kind": "table", "values": RIGHT.astype(float).tolist()},
            "advantage": {"kind": "group", "size": 8, "scale": "none"},
            "update": {"geometry": "natural", "learning_rate": 0.05, "batch": 1024, "minibatches": 16, "rollouts": rollouts},
            "arm": [{"name": "both", "objective": "clip"}],
        }
    )


def path(spec: Experiment, arm: Objective) -> np.ndarray:
    """Entropy and success of each context before the run and after each update, (updates + 1, 2, contexts)."""
    engine: Any = engine_named("sampled")
    state = engine.start(spec, arm)

    def look() -> np.ndarray:
        log_probs = state.log_probs[:, 0]
        probs = np.exp(log_probs)
        return np.stack([-np.sum(probs * log_probs, axis=-1), np.sum(probs[..., RIGHT], axis=-1)])

    out = [look()]
    for _ in range(spec.update.rollouts):
        state, rollout = engine.roll_out(state)
        for minibatch in rollout:
            state, _entry = engine.step(state, rollout, minibatch, Directive())
            out.append(look())
    return np.array(out)


def at_success(run: np.ndarray) -> float:
    """Mean entropy where the mean success first reaches a third, linear between updates; NaN if it never does."""
    entropy, success = run[:, 0].mean(axis=-1), run[:, 1].mean(axis=-1)
    after = int(np.argmax(success >= SUCCESS))
    if success[after] < SUCCESS or after == 0:
        return float("nan")
    share = (SUCCESS - success[after - 1]) / (success[after] - success[after - 1])
    return float(entropy[after - 1] + share * (entropy[after] - entropy[after - 1]))


def paired(difference: np.ndarray) -> list[float]:
    """Mean over contexts and the half-width of its 95 % interval."""
    n = difference.size
    return [float(difference.mean()), float(student.ppf(0.975, n - 1) * difference.std(ddof=1) / np.sqrt(n))]


def jackknife(run: np.ndarray, base: np.ndarray) -> list[float]:
    """Difference at equal success and the half-width of its 95 % interval, leaving out one context at a time from both."""
    whole, n = at_success(run) - at_success(base), run.shape[-1]
    left = [at_success(np.delete(run, i, axis=-1)) - at_success(np.delete(base, i, axis=-1)) for i in range(n)]
    error = np.sqrt((n - 1) / n * np.sum((np.array(left) - np.mean(left)) ** 2))
    return [float(whole), float(student.ppf(0.975, n - 1) * error)]


def results(contexts: int, rollouts: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every arm: entropy and success at the start and the end, and its differences from (.2, .2) with 95 % half-widths."""
    spec = experiment(contexts, rollouts)
    base = path(spec, ARMS["(.2, .2)"])
    for name, arm in ARMS.items():
        run = base if arm == ARMS["(.2, .2)"] else path(spec, arm)
        means = run.mean(axis=-1)
        found: dict[str, Any] = {
            "entropy": [float(means[0, 0]), float(means[-1, 0])],
            "success": [float(means[0, 1]), float(means[-1, 1])],
        }
        if run is not base:
            found["difference"] = paired(run[-1, 0] - base[-1, 0])
            found["difference_success"] = paired(run[-1, 1] - base[-1, 1])
            if not np.isnan(at_success(run) - at_success(base)):
                found["difference_at_equal_success"] = jackknife(run, base)
        yield name, found


def main() -> None:
    """Run everything and write the file."""
    found = {name: dict(results(*sizes)) for name, sizes in RUNS.items()}
    OUT.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")
    for name, arms in found.items():
        for arm, numbers in arms.items():
            print(name, arm, json.dumps(numbers))


if __name__ == "__main__":
    main()
