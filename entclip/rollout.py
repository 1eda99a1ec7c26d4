"""Rollouts: samples of the old policy as sums per action, drawn at random or enumerated with their probabilities.

An update needs of its samples only, per action, the sums of A+ and A- and how many of each there were: every objective here is
linear in A+ and A-. So a minibatch is four arrays (..., N, V), whatever the number of samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from entclip.advantage import GroupRelative, Independent
from entclip.reward import DiscreteReward, Gaussian, TableReward
from entclip.spec import Experiment, SpecError

__all__ = [
    "MAX_OUTCOMES",
    "Keep",
    "Samples",
    "Sums",
    "advantages_of",
    "draw_advantages",
    "draw_rewards",
    "draw_sums",
    "enumerate_all",
    "law_mean",
    "shuffled_slots",
    "sums_of_slots",
]

MAX_OUTCOMES = 1_000_000


class Sums(NamedTuple):
    """Per action: sums of A+ and A- over the samples divided by B, and the numbers of samples with A > 0 and A < 0."""

    plus: np.ndarray
    minus: np.ndarray
    n_plus: np.ndarray
    n_minus: np.ndarray


class Samples(NamedTuple):
    """Samples one by one, for engines whose vocabulary is too large for sums per action: actions (U, B), advantages (U, B)."""

    actions: np.ndarray
    advantages: np.ndarray


class Keep(NamedTuple):
    """Probabilities that a sample with A > 0, with A < 0, survives a random drop."""

    plus: float
    minus: float


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
    """Advantages (U, B) of sampled actions (U, B), whole groups side by side.

    mean: exact mean of the reward under pi_old, (U, 1) or a number, which the independent advantage takes off.
    mirror: the antithetic partner, with every reward replaced by its mirror image about the mean.
    """
    value = advantages_of(experiment, draw_rewards(experiment, actions.shape, rng, actions), mean)
    return -value if mirror else value


def draw_rewards(
    experiment: Experiment, shape: tuple[int, ...], rng: np.random.Generator, actions: np.ndarray | None = None
) -> np.ndarray:
    """Rewards of the given shape; a table needs the actions."""
    reward = experiment.reward
    if isinstance(reward, TableReward):
        assert actions is not None
        return np.asarray(reward.values)[actions]
    if isinstance(reward, Gaussian):
        return reward.sample(rng, shape)
    return reward.levels[(rng.random(shape) >= reward.level_probs[0, 0]).astype(np.int64)]


def advantages_of(experiment: Experiment, rewards: np.ndarray, mean: np.ndarray | float) -> np.ndarray:
    """Advantages of rewards (..., B), whole groups side by side; mean is what the independent advantage takes off."""
    advantage = experiment.advantage
    if isinstance(advantage, GroupRelative):
        return advantage.of_rewards(rewards.reshape(*rewards.shape[:-1], -1, advantage.size)).reshape(rewards.shape)
    return rewards - mean


def law_mean(experiment: Experiment) -> float:
    """Mean of a reward that does not depend on the action."""
    reward = experiment.reward
    assert not isinstance(reward, TableReward)
    return reward.mean if isinstance(reward, Gaussian) else float(reward.level_probs[0] @ reward.levels)


def sums_of_slots(
    actions: np.ndarray, advantages: np.ndarray, size: int, keep: tuple[Keep, np.random.Generator] | None = None
) -> Sums:
    """Sums per action from actions (U, B) and advantages (U, B) over `size` actions."""
    units, batch = actions.shape
    cells = (np.arange(units)[:, None] * size + actions).ravel()
    flat = advantages.ravel()
    if keep is not None:
        share, rng = keep
        flat = np.where(rng.random(flat.shape) < np.where(flat > 0, share.plus, share.minus), flat, 0.0)

    def total(x: np.ndarray) -> np.ndarray:
        return np.bincount(cells, weights=x, minlength=units * size).reshape(units, size)

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
    """One minibatch of `batch` fresh samples in whole groups for each unit, from pi_old (U, A); weights 1/R.

    mirror: the antithetic partner, with every reward replaced by its mirror image about the mean.
    keep: random drop (control runs) and its stream.
    """
    if not (isinstance(experiment.advantage, Independent) and experiment.reward.levels is not None):
        slots, values = _slots(experiment, probs, batch, (actions, rewards), mirror)
        return sums_of_slots(slots, values, probs.shape[-1], keep)
    counts, levels = _counts(experiment, probs, batch, (actions, rewards), mirror)
    if keep is not None:
        share, rng = keep
        counts = rng.binomial(counts, np.broadcast_to(np.where(levels > 0, share.plus, share.minus), counts.shape))
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


def shuffled_slots(
    experiment: Experiment,
    probs: np.ndarray,
    rngs: tuple[np.random.Generator, np.random.Generator, np.random.Generator],
    *,
    mirror: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """A whole rollout of batch x minibatches samples in whole groups, in random order: actions and advantages (U, N)."""
    actions, rewards, order = rngs
    total = experiment.update.batch * experiment.update.minibatches
    slots, values = _slots(experiment, probs, total, (actions, rewards), mirror)
    index = order.permuted(np.broadcast_to(np.arange(total), slots.shape), axis=1)
    return np.take_along_axis(slots, index, axis=1), np.take_along_axis(values, index, axis=1)


def _too_many(count: int, what: str) -> SpecError:
    return SpecError(
        f"the exact engine would enumerate {count:,} {what}, over its limit of {MAX_OUTCOMES:,}: use fewer actions, a smaller "
        "batch or fewer minibatches, or the sampled engine."
    )


def _group_vectors(advantage: GroupRelative, reward: DiscreteReward) -> tuple[np.ndarray, np.ndarray]:
    """Reward levels of the members of one group, (O, G), up to their order, which a group's law does not depend on;
    advantages."""
    levels, size = reward.levels, advantage.size
    if len(levels) ** size > MAX_OUTCOMES:
        raise _too_many(len(levels) ** size, "reward vectors of one group")
    vectors = np.unique(np.sort(np.indices((len(levels),) * size).reshape(size, -1).T, axis=1), axis=0)
    return vectors, advantage.of_rewards(levels[vectors])


def _merge(support: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal outcomes become one, their probabilities added: support (O, K), probs (U, O)."""
    _, first, index = np.unique(np.round(support, 12), axis=0, return_index=True, return_inverse=True)
    merged = np.zeros((len(first), len(probs)))
    np.add.at(merged, index.reshape(-1), probs.T)
    return support[first], merged.T


def _add_one(support: np.ndarray, probs: np.ndarray, jumps: np.ndarray, jump_probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Law of the sum after one more independent jump: (O, K) and (U, O) with jumps (J, K) and (U, J)."""
    count = len(support) * len(jumps)
    if count > MAX_OUTCOMES or count * len(probs) > 64 * MAX_OUTCOMES:
        raise _too_many(count, "partial outcomes of one minibatch")
    grown = (support[:, None, :] + jumps[None]).reshape(count, -1)
    joint = (probs[:, :, None] * jump_probs[:, None, :]).reshape(len(probs), count)
    return _merge(grown, joint)


def _one_group(experiment: Experiment, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Law of the sums of one whole group: (O, 4A) and (U, O). Sums: A+, A-, number of A > 0, number of A < 0, per action."""
    units, size = probs.shape
    reward, advantage = experiment.reward, experiment.advantage
    assert isinstance(advantage, GroupRelative)
    assert not isinstance(reward, Gaussian)
    given = np.broadcast_to(reward.level_probs, (size, reward.level_probs.shape[1]))
    vectors, advantages = _group_vectors(advantage, reward)
    supports, laws = [], []
    for levels, values in zip(vectors, advantages, strict=True):  # reward vectors of a group, listed first
        # Orderings of this multiset of levels that a group can have.
        repeats = np.unique(levels, return_counts=True)[1]
        orderings = float(
            np.exp(np.sum(np.log(np.arange(1, len(levels) + 1))) - sum(np.sum(np.log(np.arange(1, n + 1))) for n in repeats))
        )
        support, law = np.zeros((1, 4 * size)), np.full((units, 1), orderings)
        for level, value in zip(levels, values, strict=True):
            jumps = np.kron([[max(value, 0.0), max(-value, 0.0), value > 0, value < 0]], np.eye(size)[:, None, :]).reshape(
                size, -1
            )
            support, law = _add_one(support, law, jumps, probs * given[:, level])
        supports.append(support)
        laws.append(law)
    return _merge(np.concatenate(supports), np.concatenate(laws, axis=1))


def enumerate_all(experiment: Experiment, probs: np.ndarray) -> tuple[Sums, np.ndarray]:
    """Every outcome of one minibatch in whole groups, for each unit's pi_old (U, A): Sums of (U, O, A) and weights (U, O).

    Weights are the outcomes' exact probabilities. Raises: SpecError beyond a million outcomes or for continuous rewards.
    """
    reward, advantage, batch = experiment.reward, experiment.advantage, experiment.update.batch
    if reward.levels is None:
        raise SpecError(
            f"the exact engine lists reward values, but reward.kind = {reward.kind!r} is continuous: "
            "use bernoulli, rademacher or table, or the sampled engine."
        )
    units, size = probs.shape
    if isinstance(advantage, Independent):
        # Atoms are (action, level); an outcome is how many samples fell on each.
        given = np.broadcast_to(reward.level_probs, (size, reward.level_probs.shape[1]))
        used = np.flatnonzero(given.ravel())
        atom_probs = (probs[:, :, None] * given).reshape(units, -1)[:, used]
        support, law = np.zeros((1, len(used))), np.ones((units, 1))
        for _ in range(batch):  # one convolution per sample
            support, law = _add_one(support, law, np.eye(len(used)), atom_probs)
        counts = np.zeros((len(support), given.size))
        counts[:, used] = support
        levels = np.atleast_2d(_level_values(experiment, probs))[:, None, None, :]
        return _sums_of_counts(counts.reshape(1, len(support), *given.shape), levels, batch), law
    jumps, jump_probs = _one_group(experiment, probs)
    support, law = np.zeros((1, 4 * size)), np.ones((units, 1))
    for _ in range(batch // advantage.size):
        support, law = _add_one(support, law, jumps, jump_probs)
    parts = support.reshape(1, len(support), 4, size)
    return Sums(parts[:, :, 0] / batch, parts[:, :, 1] / batch, parts[:, :, 2], parts[:, :, 3]), law
