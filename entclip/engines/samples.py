"""Rollouts: samples of the old policy as sums per action, drawn at random or enumerated with their probabilities.

An update needs of its samples only, per action, the sums of A+ and A- and how many of each there were: every objective here is
linear in A+ and A-. So a minibatch is four arrays (..., N, V), whatever the number of samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.objectives.base import Keep
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.levels import LevelLaw, nearest
from entclip.rewards.reward import DiscreteReward, Gaussian, TableReward

__all__ = [
    "Samples",
    "Sums",
    "advantages_of",
    "chances_of",
    "draw_advantages",
    "draw_levels",
    "draw_rewards",
    "draw_sums",
    "law_mean",
    "shuffled_slots",
    "sums_of_levels",
    "sums_of_slots",
]


class Sums(NamedTuple):
    """Per action: sums of A+ and A- over the samples divided by B, and the numbers of samples with A > 0 and A < 0.

    levels: how many samples have each value of the advantage, (..., L, V), where an objective goes by those.
    """

    plus: np.ndarray
    minus: np.ndarray
    n_plus: np.ndarray
    n_minus: np.ndarray
    levels: np.ndarray | None = None

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> Sums:
        """Return the same with every array changed."""
        return Sums(*(None if x is None else change(x) for x in self))  # type: ignore[arg-type]


class Samples(NamedTuple):
    """Samples one by one, for engines whose vocabulary is too large for sums per action: actions (U, B), advantages (U, B)."""

    actions: np.ndarray
    advantages: np.ndarray


def _level_values(experiment: Experiment, probs: np.ndarray) -> np.ndarray:
    """Advantage of each reward level under the independent advantage, (..., L) or (L,)."""
    reward, advantage = experiment.reward, experiment.advantage
    assert isinstance(advantage, Independent)
    assert not isinstance(reward, Gaussian)
    given = reward.level_probs
    law = given[0] if given.shape[0] == 1 else probs @ given
    return advantage.values(reward.levels, law)


def _mean_reward(reward: DiscreteReward, probs: np.ndarray) -> np.ndarray:
    """Exact mean of a reward with finitely many levels under pi_old, (U, 1) or (1, 1)."""
    mean_given_action = reward.level_probs @ reward.levels
    return mean_given_action[:, None] if len(mean_given_action) == 1 else (probs @ mean_given_action)[:, None]


def _counts(
    experiment: Experiment, probs: np.ndarray, batch: int, rng: tuple[np.random.Generator, np.random.Generator], mirror: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Independent advantages with finitely many levels: counts (U, A, L) by multinomials, values (U or 1, 1, L)."""
    actions, rewards = rng
    reward = experiment.reward
    assert not isinstance(reward, Gaussian)
    counts = actions.multinomial(batch, probs)
    values = np.atleast_2d(_level_values(experiment, probs))[:, None, :]
    if isinstance(reward, TableReward):
        return counts[..., None] * reward.level_probs.astype(np.int64), values
    law = reward.level_probs[0]
    if len(law) == 2:
        second = rewards.binomial(counts, law[1])
        split = np.moveaxis(np.stack([counts - second, second]), 0, -1)  # each level contiguous
    else:
        split = rewards.multinomial(counts, law)
    return (split[..., ::-1] if mirror else split), values


def _slots(
    experiment: Experiment, probs: np.ndarray, samples: int, rng: tuple[np.random.Generator, np.random.Generator], mirror: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Samples one by one: actions and advantages, each (U, samples), whole groups side by side."""
    actions_rng, rewards_rng = rng
    reward, advantage = experiment.reward, experiment.advantage
    units = len(probs)
    counts = actions_rng.multinomial(samples, probs)
    actions = np.repeat(np.broadcast_to(np.arange(probs.shape[-1]), counts.shape).ravel(), counts.ravel()).reshape(units, samples)
    if advantage.size > 1:
        actions = actions_rng.permuted(actions, axis=1)  # sorted actions would put equal ones into one group
    mean: np.ndarray | float = 0.0
    if isinstance(advantage, Independent):
        mean = reward.mean if isinstance(reward, Gaussian) else _mean_reward(reward, probs)
    return actions, draw_advantages(experiment, actions, mean, rewards_rng, mirror=mirror)


def draw_advantages(
    experiment: Experiment, actions: np.ndarray, mean: np.ndarray | float, rng: np.random.Generator, *, mirror: bool = False
) -> np.ndarray:
    """Return advantages (U, B) of sampled actions (U, B), whole groups side by side.

    mean: exact mean of the reward under pi_old, (U, 1) or a number, which the independent advantage takes off.
    mirror: the antithetic partner, with every reward replaced by its mirror image about the mean.
    """
    value = advantages_of(experiment, draw_rewards(experiment, actions.shape, rng, actions), mean)
    return -value if mirror else value


def draw_rewards(
    experiment: Experiment, shape: tuple[int, ...], rng: np.random.Generator, actions: np.ndarray | None = None
) -> np.ndarray:
    """Return rewards of the given shape; a table needs the actions."""
    reward = experiment.reward
    if isinstance(reward, TableReward):
        assert actions is not None
        return np.asarray(reward.values)[actions]
    if isinstance(reward, Gaussian):
        return reward.sample(rng, shape)
    return reward.levels[(rng.random(shape) >= reward.level_probs[0, 0]).astype(np.int64)]


def advantages_of(experiment: Experiment, rewards: np.ndarray, mean: np.ndarray | float) -> np.ndarray:
    """Return advantages of rewards (..., B), whole groups side by side; mean is what the independent advantage takes off."""
    advantage = experiment.advantage
    if isinstance(advantage, GroupRelative):
        ties = isinstance(experiment.reward, TableReward)
        return advantage.of_rewards(rewards.reshape(*rewards.shape[:-1], -1, advantage.size), ties=ties).reshape(rewards.shape)
    return rewards - mean


def law_mean(experiment: Experiment) -> float:
    """Return the mean of a reward that does not depend on the action."""
    reward = experiment.reward
    assert not isinstance(reward, TableReward)
    return reward.mean if isinstance(reward, Gaussian) else float(reward.level_probs[0] @ reward.levels)


def chances_of(keep: Keep, actions: np.ndarray, advantages: np.ndarray) -> np.ndarray:
    """Return the chance of each sample to survive a drop, (U, B), from chances by sign: numbers, or of each action, (U, A)."""
    plus, minus = (np.take_along_axis(x, actions, axis=1) if isinstance(x, np.ndarray) else x for x in keep)
    return np.where(advantages > 0, plus, minus)


def sums_of_slots(
    actions: np.ndarray, advantages: np.ndarray, size: int, keep: tuple[Keep, np.random.Generator] | None = None
) -> Sums:
    """Return sums per action from actions (U, B) and advantages (U, B) over `size` actions."""
    units, batch = actions.shape
    places = (np.arange(units)[:, None] * size + actions).ravel()
    flat = advantages.ravel()
    if keep is not None:
        survives = keep[1].random(advantages.shape) < chances_of(keep[0], actions, advantages)
        flat = np.where(survives.ravel(), flat, 0.0)

    def total(x: np.ndarray) -> np.ndarray:
        return np.bincount(places, weights=x, minlength=units * size).reshape(units, size)

    return Sums(total(np.maximum(flat, 0)) / batch, total(np.maximum(-flat, 0)) / batch, total(flat > 0), total(flat < 0))


def draw_sums(
    experiment: Experiment,
    probs: np.ndarray,
    batch: int,
    actions: np.random.Generator,
    rewards: np.random.Generator,
    *,
    mirror: bool = False,
    keep: tuple[Keep, np.random.Generator] | None = None,
) -> Sums:
    """Draw one minibatch of `batch` fresh samples in whole groups for each unit, from pi_old (U, A); weights 1/R.

    mirror: the antithetic partner, with every reward replaced by its mirror image about the mean.
    keep: random drop (control runs) and its stream.
    """
    if not (isinstance(experiment.advantage, Independent) and experiment.reward.levels is not None):
        slots, values = _slots(experiment, probs, batch, (actions, rewards), mirror)
        return sums_of_slots(slots, values, probs.shape[-1], keep)
    counts, levels = _counts(experiment, probs, batch, (actions, rewards), mirror)
    if keep is not None:
        plus, minus = (x[..., None] if isinstance(x, np.ndarray) else x for x in keep[0])
        counts = keep[1].binomial(counts, np.broadcast_to(np.where(levels > 0, plus, minus), counts.shape))
    return _sums_of_counts(counts, levels, batch)


def _sums_of_counts(counts: np.ndarray, levels: np.ndarray, batch: int) -> Sums:
    """From counts (..., A, L) of samples at advantage levels (..., 1, L)."""
    # One pass per level and sign that occurs, over planes of floats: numpy's reduction over a short last axis is far slower.
    planes = [counts[..., k].astype(float) for k in range(counts.shape[-1])]
    shape = np.broadcast_shapes(planes[0].shape, levels[..., 0].shape)
    sums = []
    for sign in (1, -1):
        part = np.maximum(sign * levels, 0)
        used = [k for k in range(len(planes)) if np.any(part[..., k])]
        value = sum((planes[k] * (part[..., k] / batch) for k in used), np.zeros(()))
        count = sum((planes[k] * (part[..., k] > 0) for k in used), np.zeros(()))
        sums.append((np.broadcast_to(value, shape), np.broadcast_to(count, shape)))
    (plus, n_plus), (minus, n_minus) = sums
    return Sums(plus, minus, n_plus, n_minus)


def draw_levels(
    experiment: Experiment,
    probs: np.ndarray,
    law: LevelLaw,
    slots: tuple[np.ndarray, np.ndarray] | None,
    rngs: tuple[np.random.Generator, np.random.Generator],
    *,
    mirror: bool = False,
    keep: tuple[Keep, np.random.Generator] | None = None,
) -> Sums:
    """Draw one minibatch as `draw_sums` does, or take its slots, and count samples by the value of their advantage.

    keep: chances to survive, as numbers or (L, U, A), and the stream of the drop.
    """
    if slots is None and isinstance(experiment.advantage, Independent):
        counts, _ = _counts(experiment, probs, experiment.update.batch, rngs, mirror)
        counts = np.moveaxis(counts, -1, -2)
    else:
        actions, values = slots or _slots(experiment, probs, experiment.update.batch, rngs, mirror)
        units, size, number = len(probs), probs.shape[-1], law.values.shape[1]
        cell = (np.arange(units)[:, None] * number + nearest(values, law.values)) * size + actions
        counts = np.bincount(cell.ravel(), minlength=units * number * size).reshape(units, number, size)
    if keep is not None:
        up = np.moveaxis(law.values, 1, 0)[..., None] > 0
        chance = np.where(up, *keep[0])  # (L, U, A)
        counts = keep[1].binomial(counts, np.broadcast_to(np.moveaxis(chance, 0, 1), counts.shape))
    return sums_of_levels(counts, law.values, experiment.update.batch)


def sums_of_levels(counts: np.ndarray, values: np.ndarray, batch: int) -> Sums:
    """Return sums per action from counts (..., L, A) of samples by the value (..., L) of their advantage."""
    value, number = values[..., None], counts.astype(float)
    plus, minus = (np.sum(number * np.maximum(x, 0), axis=-2) / batch for x in (value, -value))
    up, down = (np.sum(number * (x > 0), axis=-2) for x in (value, -value))
    return Sums(plus, minus, up, down, number)


def shuffled_slots(
    experiment: Experiment,
    probs: np.ndarray,
    rngs: tuple[np.random.Generator, np.random.Generator, np.random.Generator],
    *,
    mirror: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a whole rollout of batch x minibatches samples in whole groups, in random order: actions and advantages (U, N)."""
    actions, rewards, order = rngs
    total = experiment.update.batch * experiment.update.minibatches
    slots, values = _slots(experiment, probs, total, (actions, rewards), mirror)
    index = order.permuted(np.broadcast_to(np.arange(total), slots.shape), axis=1)
    return np.take_along_axis(slots, index, axis=1), np.take_along_axis(values, index, axis=1)
