"""The reduced engine beside the dense simulation on the same samples, and the experiments for it."""

from __future__ import annotations

import numpy as np

from entclip.engines.base import Directive
from entclip.engines.reduced.minibatch import samples_of
from entclip.engines.reduced.state import places
from entclip.engines.samples import Samples
from entclip.experiments.experiment import parse_experiment
from entclip.experiments.start import start_of
from entclip.ledger.arm import ArmLedger

__all__ = ["ADAM", "experiment_of", "follow"]

ZIPF = {"kind": "zipf", "vocab": 500, "contexts": 3}
GROUP = {"kind": "group", "size": 4}
UPDATE = {"geometry": "euclidean", "learning_rate": 3.0, "batch": 32, "minibatches": 3, "rollouts": 2}


def experiment_of(policy=ZIPF, arm=None, **changes):
    changes["update"] = UPDATE | changes.get("update", {})
    defaults = {"reward": {"kind": "bernoulli", "p": 0.4}, "advantage": GROUP, "replicas": 2}
    return parse_experiment(defaults | {"policy": policy, "arm": [{"name": "a"} | (arm or {})]} | changes)


def _log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


class _Dense:
    """An independent dense simulation of torch's Adam and AdamW, and of plain steps, maximising the clipped surrogate."""

    def __init__(self, experiment):
        clip = experiment.arm[0].build()
        self.spec, self.low, self.high = experiment.update, clip.low, clip.high
        self.theta = np.tile(start_of(experiment).log_probs[:, 0], (experiment.replicas, 1))
        self.m, self.v, self.t = np.zeros_like(self.theta), np.zeros_like(self.theta), 0
        self.roll_out()

    def roll_out(self):
        self.old = _log_softmax(self.theta)

    def step(self, samples):
        u, unit = self.spec, np.arange(len(self.theta))[:, None]
        log_probs = _log_softmax(self.theta)
        ratio = np.exp((log_probs - self.old)[unit, samples.actions])
        kept = np.where(samples.advantages > 0, ratio <= 1 + self.high, ratio >= 1 - self.low)
        push = ratio * samples.advantages * kept / u.batch
        gradient = np.zeros_like(self.theta)
        np.add.at(gradient, (np.broadcast_to(unit, push.shape), samples.actions), push)
        pull = push.sum(axis=1, keepdims=True)
        # Groups cancel up to rounding, which Adam would divide by its own size: what it makes of that is no result.
        gradient -= np.exp(log_probs) * np.where(np.abs(pull) < 1e-15, 0.0, pull)
        self.t += 1
        if u.optimizer == "sgd":
            self.theta = self.theta + u.learning_rate * gradient
        else:
            if u.optimizer == "adamw":
                self.theta = self.theta * (1 - u.learning_rate * u.weight_decay)
            else:
                gradient = gradient - u.weight_decay * self.theta
            b1, b2 = u.betas
            self.m, self.v = b1 * self.m + (1 - b1) * gradient, b2 * self.v + (1 - b2) * gradient**2
            root = np.sqrt(self.v / (1 - b2**self.t)) + u.eps
            self.theta = self.theta + u.learning_rate * self.m / (1 - b1**self.t) / root
        new = _log_softmax(self.theta)
        return -np.sum(np.exp(new) * new, axis=1)


def follow(experiment, engine):
    """The largest difference of entropy from the dense simulation over a whole run on the reduced engine's own samples."""
    state, dense = engine.start(experiment, experiment.arm[0].build()), _Dense(experiment)
    ledger, worst, entries = ArmLedger("", "a", experiment), 0.0, []
    for _ in range(experiment.update.rollouts):
        state, rollout = engine.roll_out(state)
        dense.roll_out()
        before = engine.observe(state)
        for minibatch in rollout:
            parts = [
                samples_of(state, rollout, minibatch, sampler, rows, key, mirror, None)
                for (rows, key, mirror), sampler in zip(places(state), rollout.samplers, strict=True)
            ]
            samples = Samples(*(np.concatenate(x) for x in zip(*parts, strict=True)))
            origin = state
            state, entry = engine.step(state, rollout, minibatch, Directive())
            ledger.append(entry, origin)
            entries.append(entry)
            worst = max(worst, float(np.max(np.abs(dense.step(samples) - entry.columns["entropy"]))))
        ledger.end_rollout(state, before, engine.observe(state))
        state.rollout += 1
    return worst, entries


ADAM = {"optimizer": "adam", "learning_rate": 0.01, "batch": 16}
