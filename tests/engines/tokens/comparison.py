"""The tokens engine beside the numpy engine on the same samples, and the experiments for it."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from entclip.engines.base import Directive
from entclip.engines.samples import Samples
from entclip.engines.tabular.sampled import SampledEngine
from entclip.experiments.experiment import parse_experiment
from entclip.ledger.by_sign import SIGNS
from entclip.objectives.base import CAUSES
from entclip.policies.softmax import log_softmax
from tests.family import family
from tests.tolerances import IDENTITY

__all__ = [
    "ADAMS",
    "OBJECTIVES",
    "adam_experiment",
    "assert_same_columns",
    "batches_of",
    "conformance",
    "experiment_of",
    "follow",
]

OBJECTIVES = family(0.05)

SETTINGS = {
    "independent": {"advantage": {"kind": "independent"}, "reward": {"kind": "rademacher"}},
    "group": {"advantage": {"kind": "group", "size": 4}, "reward": {"kind": "bernoulli", "p": 0.3}},
    "std": {"advantage": {"kind": "group", "size": 4, "scale": "std", "eps": 0.1}, "reward": {"kind": "gaussian"}},
    "table": {"advantage": {"kind": "group", "size": 4}, "reward": {"kind": "table", "values": [1.0, 0.0, 0.5, 0.0] * 10}},
}
ENTROPIES = {"entropy_before", "entropy", "measured", "remainder"}


def experiment_of(**changes):
    update = {"learning_rate": 0.2, "batch": 64, "minibatches": 4, "rollouts": 2} | changes.pop("update", {})
    policy = {"kind": "dirichlet", "vocab": 8, "contexts": 40}
    arms = [{"name": "both"}, {"name": "none", "objective": "none"}]
    return parse_experiment({"policy": policy, "update": update, "arm": arms} | changes)


def conformance(geometry, objective, setting, vocab=40):
    rate = {"natural": 0.05, "euclidean": 2.0}[geometry]
    return parse_experiment(
        {
            "policy": {"kind": "dirichlet", "vocab": vocab, "contexts": 6},
            "weights": [0.5, 0.5, 1, 1, 1.5, 1.5],
            "update": {"geometry": geometry, "learning_rate": rate, "batch": 32, "minibatches": 3, "rollouts": 1},
            "arm": [{"name": "a", "objective": OBJECTIVES[objective]}],
            **SETTINGS[setting],
        }
    )


def scales(columns, rate):
    """For each column the size of the terms that it adds up: what its rounding is relative to."""
    h, moved = columns["entropy_before"], columns["_scale"] + sum(np.abs(columns[c]) for c in CAUSES)
    out = {}
    for name, value in columns.items():
        if name in ENTROPIES:
            out[name] = 1 + h
        elif name in (*CAUSES, "_inner", "curvature", "step_variance"):
            out[name] = moved + np.abs(value)
        elif name.startswith("expected_"):
            out[name] = rate + np.abs(value)
        else:
            out[name] = 1 + np.abs(value)
    return out


def assert_same_columns(ours, theirs, rate, dtype):
    own = {name: theirs[name] for name in set(theirs) - set(SIGNS)}  # by sign of A: of the tables alone
    assert set(ours) == set(own)
    for name, scale in scales(own, rate).items():
        if name in ("_bound", "_scale"):  # allowances, not results
            continue
        error = np.abs(ours[name] - theirs[name])
        assert np.all(error <= IDENTITY[dtype] * scale), (name, np.max(error / scale))


def follow(engine, experiment, batches):
    """Entries of an engine on given samples, with the oracle's beside them."""
    objective = experiment.arm[0].build()
    oracle = SampledEngine()
    state, rollout = engine.roll_out(engine.start(experiment, objective))
    theirs, their_rollout = oracle.roll_out(oracle.start(experiment, objective))
    for minibatch, samples in zip(their_rollout, batches, strict=True):
        injected = dataclasses.replace(minibatch, samples=samples)
        state, ours = engine.step(state, rollout, injected, Directive())
        theirs, expected = oracle.step(theirs, their_rollout, injected, Directive())
        yield ours, expected
    logits = state.logits.double().cpu().numpy()
    np.testing.assert_allclose(
        log_softmax(logits), theirs.log_probs[:, 0], rtol=0, atol=3e-6 if engine.dtype == torch.float32 else 1e-13
    )


def batches_of(experiment, actions=12):
    """Repeated actions, real-valued advantages: every path of the sums is used."""
    rng = np.random.default_rng(1)
    shape = (experiment.replicas * experiment.policy.contexts, experiment.update.batch)
    return [Samples(rng.integers(0, actions, shape), rng.normal(size=shape)) for _ in range(experiment.update.minibatches)]


ADAMS = {
    "adam": {"optimizer": "adam"},
    "l2": {"optimizer": "adam", "weight_decay": 0.002},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "betas": [0.8, 0.95], "eps": 1e-5},
}


def adam_experiment(name, **changes):
    update = {"geometry": "euclidean", "learning_rate": 0.03, "batch": 32, "minibatches": 3, "rollouts": 2} | ADAMS[name]
    arms = [{"name": "a", "low": 0.05, "high": 0.05}]
    policy = {"kind": "dirichlet", "vocab": 40, "contexts": 6}
    return parse_experiment({"policy": policy, "update": update, "arm": arms, "weights": [0.5, 0.5, 1, 1, 1.5, 1.5]} | changes)
