"""Short runs of the head engine for its tests, and its policies in dense form."""

import torch

from entclip.engines.base import Directive
from entclip.experiments.experiment import parse_experiment

__all__ = ["ADAM", "SPEC", "dense", "spec_of", "steps_of"]

SPEC = {
    "name": "head",
    "seed": 5,
    "replicas": 3,
    "policy": {"kind": "hidden", "vocab": 40, "contexts": 10, "dim": 6, "sd": 1.0},
    "reward": {"kind": "bernoulli"},
    "advantage": {"kind": "group", "size": 4},
    "update": {"geometry": "euclidean", "learning_rate": 4.0, "batch": 8, "minibatches": 5, "rollouts": 2},
    "arm": [{"name": "both", "low": 0.2, "high": 0.2}],
}
ADAM = {"optimizer": "adamw", "learning_rate": 0.05, "weight_decay": 0.1, "betas": (0.8, 0.95)}


def spec_of(update=None, **sections):
    return parse_experiment({**SPEC, **sections, "update": SPEC["update"] | (update or {})})


def steps_of(engine, spec, objective=None, directive=None, count=None):
    """States before and after, rollout and entry of every update of a run."""
    state = engine.start(spec, objective or spec.arm[0].build())
    for r in range(spec.update.rollouts):
        state.rollout = r
        state, rollout = engine.roll_out(state)
        for minibatch in rollout.minibatches[:count]:
            new, entry = engine.step(state, rollout, minibatch, directive or Directive())
            yield state, new, rollout, minibatch, entry
            state = new


def dense(state, head=None):
    """log pi and log pi_old of all contexts, (R, T, V), from the parameters by log_softmax."""
    moved = state.head + (state.moved if head is None else head)
    logits = [state.hidden @ w.mT + state.base for w in (moved, state.head.expand_as(state.moved))]
    return tuple(torch.log_softmax(x, -1) for x in logits)
