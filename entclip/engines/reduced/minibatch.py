"""The minibatches of the reduced engine: injected, cut from a rollout that was drawn at once, or drawn when they are used."""

from __future__ import annotations

import numpy as np

from entclip.engines.base import Minibatch
from entclip.engines.reduced.chunk import Chunk
from entclip.engines.reduced.point_policy import ratio_of
from entclip.engines.reduced.sampling import Sampler
from entclip.engines.reduced.sight import Sight, entropies
from entclip.engines.reduced.state import ReducedRollout, ReducedState, places
from entclip.engines.samples import Samples, draw_advantages
from entclip.objectives.base import Keep
from entclip.support.errors import SpecError
from entclip.support.random import stream

__all__ = ["samples_of", "shuffled", "survivors"]

_MAX_SLOT_BYTES = 4 * 2**30


def samples_of(
    state: ReducedState,
    rollout: ReducedRollout,
    minibatch: Minibatch,
    sampler: Sampler,
    rows: slice,
    key: int,
    mirror: bool,
    keep: Keep | None,
) -> Samples:
    """Return the minibatch of one chunk: injected, cut from the rollout, or drawn; with `keep`, lost samples have advantage 0."""
    experiment = state.experiment
    if minibatch.sums is not None:
        raise SpecError("the reduced engine takes injected samples, not sums over all actions: give Minibatch.samples.")
    if minibatch.samples is not None:
        actions, values = (x[rows] for x in minibatch.samples)
        if np.any((actions < 0) | (actions >= sampler.population.laws.vocab)):
            raise SpecError(
                f"an injected action is outside 0..{sampler.population.laws.vocab - 1}: give ids of the policy's actions."
            )
        return Samples(actions, values)
    where, batch = (state.rollout, minibatch.index, key), experiment.update.batch
    if rollout.slots is not None:
        part = slice(minibatch.index * batch, (minibatch.index + 1) * batch)
        actions, values = (x[rows, part] for x in rollout.slots)
    else:
        actions = sampler.draw(batch, stream(experiment.seed, "actions", *where))
        rewards = stream(experiment.seed, "rewards", *where)
        values = draw_advantages(experiment, actions, _mean(rollout, rows), rewards, mirror=mirror)
    if keep is not None:
        survives = stream(experiment.seed, "drop", *where).random(values.shape) < np.where(values > 0, keep.plus, keep.minus)
        values = np.where(survives, values, 0.0)
    return Samples(actions, values)


def survivors(
    state: ReducedState, minibatch: Minibatch, chunk: Chunk, sight: Sight, key: int, points: np.ndarray, advantages: np.ndarray
) -> np.ndarray:
    """Return advantages (u, B) of samples at points (u, B), 0 where the objective drops the sample; injected ones survive."""
    if minibatch.samples is not None:
        return advantages
    at = (np.repeat(np.arange(len(points)), points.shape[1]), points.reshape(-1))
    sight = sight.standing_at(state.objective, entropies(chunk)) if "entropy" in state.objective.needs else sight
    old_probs = chunk.old_probs[at]
    keep = state.objective.change(sight.view(ratio_of(chunk.probs[at], old_probs), old_probs, chunk.log_probs[at], at)).survival
    if keep is None:
        return advantages
    chance = np.where(advantages > 0, *(np.broadcast_to(x, len(at[0])).reshape(points.shape) for x in keep))
    coins = stream(state.experiment.seed, "survival", state.rollout, minibatch.index, key).random(advantages.shape)
    return np.where(coins < chance, advantages, 0.0)


def _mean(rollout: ReducedRollout, rows: slice) -> np.ndarray | float:
    return rollout.mean if isinstance(rollout.mean, float) else rollout.mean[rows]


def shuffled(state: ReducedState, rollout: ReducedRollout) -> Samples:
    """Return a whole rollout in whole groups, in random order."""
    experiment = state.experiment
    count = experiment.update.batch * experiment.update.minibatches
    shape = (len(state.weight), count)
    if shape[0] * shape[1] * 16 > _MAX_SLOT_BYTES:
        raise SpecError(
            f'update.minibatch = "shuffled" keeps all {shape[0]} x {shape[1]} samples of a rollout, over 4 GiB: use fewer '
            'contexts, replicas or samples, or update.minibatch = "groups", which stores none.'
        )
    out = Samples(np.empty(shape, dtype=np.int64), np.empty(shape))
    for (rows, key, mirror), sampler in zip(places(state), rollout.samplers, strict=True):
        actions, rewards, order = (stream(experiment.seed, p, state.rollout, key) for p in ("actions", "rewards", "order"))
        drawn = sampler.draw(count, actions)
        values = draw_advantages(experiment, drawn, _mean(rollout, rows), rewards, mirror=mirror)
        index = order.permuted(np.broadcast_to(np.arange(count), drawn.shape), axis=1)
        out.actions[rows], out.advantages[rows] = (np.take_along_axis(x, index, axis=1) for x in (drawn, values))
    return out
