"""BroRL's simulator at its published size, with entropy added: what more samples per update do, to entropy as well.

    python -m tests.statistics.brorl --data docs/data/brorl.json

V = 128,000 actions, 10,000 of them correct (+1, the others -1), logits 0, AdamW at 1e-3, 1,000 on-policy updates of N samples,
rewards centred by the mean of the batch. The published loss is -(1/N) sum r~ p(a), whose gradient has a factor p(a) that a policy
gradient has not; both are run. A few minutes on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from entclip.engines.base import Directive
from entclip.engines.samples import Samples
from entclip.engines.tokens.engine import TokensEngine
from entclip.experiments.experiment import parse_experiment
from entclip.objectives.base import Change, Objective, View
from entclip.objectives.none import NoClip
from entclip.support.files import prepare_folder, to_json, write_atomic

VOCAB, CORRECT, UPDATES = 128_000, 10_000, 1000
SAMPLES = (4, 16, 512, 51_200)


class ExpectedReward(Objective):
    """The loss -r~ p: on-policy its weight on grad log p is p A."""

    def change(self, view: View) -> Change:
        gain, never = view.ratio * view.old_probs, view.ratio < 0
        return Change.of(gain, gain, never, never)


LOSSES: dict[str, Objective] = {"probability": ExpectedReward(), "policy gradient": NoClip()}


def measure(loss: str, samples: int, updates: int = UPDATES, vocab: int = VOCAB, correct: int = CORRECT) -> dict[str, Any]:
    """One run: probability of the correct actions and entropy before and after, by cause; how single correct actions fared."""
    reward = np.where(np.arange(vocab) < correct, 1.0, -1.0)
    experiment = parse_experiment(
        {
            "policy": {"kind": "uniform", "vocab": vocab},
            "reward": {"kind": "bernoulli"},  # not used: the advantages below are injected
            "update": {
                "geometry": "euclidean",
                "optimizer": "adamw",
                "weight_decay": 0.01,
                "learning_rate": 1e-3,
                "batch": samples,
                "minibatches": 1,
                "rollouts": updates,
            },
        }
    )
    engine = TokensEngine()
    state = engine.start(experiment, LOSSES[loss])
    start = state.norm.entropy.item()
    sums: dict[str, float] = {}
    for index in range(updates):
        state, rollout = engine.roll_out(dataclasses.replace(state, rollout=index))
        actions = rollout.draws.take(0)[0].numpy()
        value = reward[actions]
        drawn = Samples(actions, value - value.mean(axis=1, keepdims=True))  # centred by the batch, not by the exact mean
        state, entry = engine.step(state, rollout, dataclasses.replace(rollout.minibatches[0], samples=drawn), Directive())
        for name in ("measured", "unclipped", "other", "momentum", "weight_decay", "curvature", "remainder"):
            sums[name] = sums.get(name, 0.0) + float(entry.columns[name][0])
    probs = torch.softmax(state.logits[0], 0).numpy()
    change = probs[:correct] * vocab  # relative to the start
    # First order of the samples is one number: the parts of the p-weighted loss, r A and the rest, nearly cancel.
    sums["first_order"] = sums.pop("unclipped") + sums.pop("other")
    return {
        "loss": loss,
        "samples": samples,
        "correct_before": correct / vocab,
        "correct_after": float(probs[:correct].sum()),
        "improved": float((change > 1).mean()),
        "worst": float(change.min()),
        "entropy_before": start,
        "entropy_after": float(state.norm.entropy.item()),
        **sums,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.statistics.brorl", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("docs/data/brorl.json"))
    parser.add_argument("--updates", type=int, default=UPDATES)
    options = parser.parse_args()
    rows = []
    for loss in LOSSES:
        for samples in SAMPLES:
            rows.append(measure(loss, samples, options.updates))
            print(rows[-1], flush=True)
    prepare_folder(options.data.parent)
    write_atomic(options.data, to_json(rows).encode())


if __name__ == "__main__":
    main()
