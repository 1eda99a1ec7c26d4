"""Facts of the reduced engine."""

from __future__ import annotations

from entclip.engines.facts import TABLES, EngineFacts, updates_of
from entclip.experiments.experiment import Experiment
from entclip.experiments.shape import shape_of
from entclip.rewards.reward import TableReward
from entclip.support.foresight import Size

__all__ = ["REDUCED", "TRACKED", "WHOLE"]

TRACKED = 256  # most probable actions, tracked from the start: a node near them would be stiff
WHOLE = 2048  # up to so many actions are all tracked
_NODES = 200  # of a typical law
_POINT = 120.0  # bytes of one point of a unit, with room to grow
_UPDATE, _UNIT, _POINT_SECONDS, _SAMPLE = 1e-3, 1e-5, 2e-8, 2e-7  # seconds; docs/performance.md has measurements


def _size(experiment: Experiment, device: str, dtype: str) -> Size:
    shape, u, updates = shape_of(experiment), experiment.update, updates_of(experiment)
    units = experiment.replicas * shape.contexts
    named = isinstance(experiment.reward, TableReward) or experiment.perturbation is not None
    # An action is tracked once it is sampled; likely ones are sampled again and again.
    samples = u.batch * u.minibatches * u.rollouts // (1 if experiment.policy.kind == "uniform" else 2)
    points = shape.vocab if named or shape.vocab <= WHOLE else _NODES + min(shape.vocab, TRACKED + samples)
    listed = (
        0 if experiment.policy.kind in ("uniform", "zipf", "peaked") and not named else shape.contexts * min(shape.vocab, 10**7)
    )
    held = {
        f"{units:,} units x up to {points:,} actions followed one by one": _POINT * units * points,
        f"the policies of {shape.contexts:,} contexts x {shape.vocab:,} actions": 8.0 * 4 * listed,
        f"64 units x {u.batch:,} samples of a minibatch": 8.0 * 6 * min(units, 64) * u.batch,
    }
    if u.minibatch == "shuffled":
        held |= {f"{units:,} units x {u.batch * u.minibatches:,} samples of a rollout": 16.0 * units * u.batch * u.minibatches}
    seconds = updates * (_UPDATE + units * (_UNIT + _POINT_SECONDS * points + _SAMPLE * u.batch)) / 2
    return Size(held, seconds, f"{updates:,} updates of {units:,} units x up to {points:,} actions, {u.batch:,} samples each")


REDUCED = EngineFacts(
    name="reduced",
    short="any vocabulary",
    words="simulated from the exact laws of the counts, at a cost that does not grow with the vocabulary",
    policies=TABLES,
    serves=frozenset({"entropy", "statistics", "reference", "penalty", "survival", "bonus", "advantage"}),
    optimizers=("sgd", "adam", "adamw"),
    packages=("numba",),  # compiled kernels round differently
    lists_actions=False,
    size=_size,
)
