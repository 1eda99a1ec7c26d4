"""Advantages value by value: which values, with what chances, and how those of one group go together. Claim T7.

The moments of advantage.py are all that an objective needs whose weights are linear in A+ and A-. One whose weight depends on |A|
itself, or on the sample's own reward, needs the law of the values. It is finite where rewards have finitely many levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from entclip.rewards.advantage import (
    Advantage,
    AdvantageMoments,
    GroupRelative,
    Independent,
    PairMoments,
    _level_laws,
    _positive,
    _powers,
    _signed,
)
from entclip.rewards.reward import Gaussian, RewardLaw

__all__ = ["LevelLaw", "level_law", "moments_of_groups", "nearest"]

_MOST = 2_000_000  # numbers of one table
_SAME = 10  # digits, of the largest advantage, to which two values are one


@dataclass(frozen=True)
class LevelLaw:
    """Values of the advantage of one sample and their chances; a first axis of 1 stands for all units.

    Attributes:
        values: the L values, (u, L).   rewards: the own reward at each, (L,); None in groups, where a value does not tell it.
        chances: P(A = value | action), (u, A, L).
        index, shares, joint: of two samples of one group, None where samples are independent: the value of each of Q pairs of
            own reward and value, (Q,); the chance of its own reward given the action, (u, A, Q); the chance that two samples
            have the values of two pairs given their rewards, (u, Q, Q).
    """

    values: np.ndarray
    chances: np.ndarray
    rewards: np.ndarray | None = None
    index: np.ndarray | None = None
    shares: np.ndarray | None = None
    joint: np.ndarray | None = None

    def take(self, rows: slice | np.ndarray) -> LevelLaw:
        """Return the law of some units."""

        def cut(x: np.ndarray | None) -> np.ndarray | None:
            return x if x is None or len(x) == 1 else x[rows]

        values, chances = cut(self.values), cut(self.chances)
        assert values is not None
        assert chances is not None
        return LevelLaw(values, chances, self.rewards, self.index, cut(self.shares), cut(self.joint))


def level_law(advantage: Advantage, reward: RewardLaw, old_probs: np.ndarray) -> LevelLaw:
    """Return the law of the advantage of a sample of pi_old (U, A), value by value.

    Raises: ValueError for continuous rewards, whose advantages are not countable, and for groups with too many outcomes.
    """
    if isinstance(reward, Gaussian):
        raise ValueError(
            "reward.kind = 'gaussian' is continuous, but this objective goes by the values of the advantage one by one: use "
            "bernoulli, rademacher or table."
        )
    if isinstance(advantage, Independent):
        levels, given, law = _level_laws(reward, old_probs)
        return LevelLaw(np.atleast_2d(advantage.values(levels, law)), given[None], levels)
    levels, given, law = _level_laws(reward, old_probs)
    ties = len(given) > 1
    single, chance = _of_one(advantage, levels, np.atleast_2d(law), ties)
    values, index = _distinct(single)
    first, second, together = _of_two(advantage, levels, np.atleast_2d(law), ties)
    one, two = (nearest(x, values[None]) for x in (first, second))
    k, size = len(levels), len(values)
    by_reward = np.zeros((len(chance), k, size))
    for own in range(k):
        by_reward[:, own] = chance @ _marks(index[own], size)
    tables = np.zeros((len(chance), k, size, k, size))
    for i in range(k):
        for j in range(k):
            tables[:, i, :, j] = np.einsum("us,sa,sb->uab", together, _marks(one[i, j], size), _marks(two[i, j], size))
    chances = np.einsum("ak,ukl->ual", given, by_reward)
    if len(given) == 1:  # the action does not matter: own rewards are summed out
        joint = np.einsum("ui,uj,uiajb->uab", np.atleast_2d(law), np.atleast_2d(law), tables)
        return LevelLaw(values[None], chances, None, np.arange(size), np.ones((1, 1, size)), joint)
    met = np.flatnonzero(np.any(by_reward > 0, axis=0).reshape(-1))  # pairs of own reward and value that occur
    joint = tables.reshape(-1, k * size, k * size)[:, met[:, None], met]
    return LevelLaw(values[None], chances, None, met % size, given[None][..., met // size], joint)


def moments_of_groups(advantage: GroupRelative, reward: RewardLaw, old_probs: np.ndarray) -> AdvantageMoments:
    """Return the exact moments of any rule for a group, from all that the others of the group can have got. Claim T7.

    Raises: ValueError for continuous rewards and for groups with too many outcomes.
    """
    if isinstance(reward, Gaussian):
        raise ValueError(
            f"{type(advantage).__name__} has no exact moments under reward.kind = 'gaussian': use bernoulli, rademacher or table."
        )
    levels, given, law = _level_laws(reward, old_probs)
    ties = len(given) > 1
    single, chance = _of_one(advantage, levels, np.atleast_2d(law), ties)
    rows = {name: chance @ table.T for name, table in _powers(single).items()}
    first, second, together = _of_two(advantage, levels, np.atleast_2d(law), ties)
    (p, m), (q, n) = _signed(first), _signed(second)
    up, down, up_j, down_j = (_positive(a) for a in (first, -first, second, -second))
    products = (p * q, m * n, p * n, p * up_j, p * down_j, m * up_j, m * down_j, up * up_j, down * down_j, up * down_j)
    pair = PairMoments(*(np.einsum("us,ijs->uij", together, x) for x in products))
    if len(given) > 1:
        return AdvantageMoments(given, **rows, pair=pair)
    both = law[:, None] * law
    averaged = {name: np.sum(law * x, axis=-1) for name, x in rows.items()}
    return AdvantageMoments(np.ones((1, 1)), **averaged, pair=pair.map(lambda x: np.sum(both * x).reshape(1, 1)))


def nearest(advantages: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return which of the values (u, L) each advantage (u, ...) is, by its index: they differ by rounding."""
    shape = (len(values),) + (1,) * (advantages.ndim - 1)
    best, found = np.full(advantages.shape, np.inf), np.zeros(advantages.shape, np.int64)
    for k in range(values.shape[1]):
        distance = np.abs(advantages - values[:, k].reshape(shape))
        found = np.where(distance < best, k, found)
        best = np.minimum(best, distance)
    return found


def _marks(index: np.ndarray, size: int) -> np.ndarray:
    """A row for each index, with 1 at its place, (S, size)."""
    return np.eye(size)[index]


def _distinct(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct numbers of a table, rounding aside, and which each is."""
    unit = max(float(np.max(np.abs(table))), 1e-300)
    _, first, index = np.unique(np.round(table / unit, _SAME), return_index=True, return_inverse=True)
    values = table.reshape(-1)[first]
    return np.where(np.abs(values) <= 1e-13 * unit, 0.0, values), index.reshape(table.shape)


def _others(levels: np.ndarray, law: np.ndarray, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Reward levels of `count` others, (S, count), up to their order, and the chance of each, (U, S)."""
    kinds = len(levels)
    outcomes = math.comb(count + kinds - 1, count)
    if outcomes * size * kinds**2 > _MOST:
        raise ValueError(
            f"a group of {size} with {kinds} distinct rewards has {outcomes:,} outcomes for the others of a sample: use fewer "
            "distinct rewards or smaller groups."
        )
    counts = _multisets(kinds, count)
    ways = [math.factorial(count) / math.prod(math.factorial(int(n)) for n in row) for row in counts]
    chance = np.prod(law[:, None, :] ** counts[None], axis=-1) * np.asarray(ways)
    return np.stack([np.repeat(np.arange(kinds), row) for row in counts]).reshape(len(counts), count), chance


def _multisets(kinds: int, count: int) -> np.ndarray:
    """How often each kind occurs, (S, kinds), in every multiset of a size."""
    if kinds == 1:
        return np.array([[count]])
    rest = [_multisets(kinds - 1, count - n) for n in range(count + 1)]
    return np.concatenate([np.column_stack([np.full(len(rows), n), rows]) for n, rows in enumerate(rest)])


def _of_one(advantage: GroupRelative, levels: np.ndarray, law: np.ndarray, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """A of a sample at each own level beside every outcome of the others, (K, S), and the chances of those, (U, S)."""
    others, chance = _others(levels, law, advantage.size - 1, advantage.size)
    rewards = np.empty((len(levels), len(others), advantage.size))
    rewards[..., 0], rewards[..., 1:] = levels[:, None], levels[others]
    return advantage.of_rewards(rewards, ties=ties)[..., 0], chance


def _of_two(
    advantage: GroupRelative, levels: np.ndarray, law: np.ndarray, ties: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A of two samples of one group at their own levels, (K, K, S) each, and the chances of the rest's outcomes, (U, S)."""
    rest, chance = _others(levels, law, advantage.size - 2, advantage.size)
    rewards = np.empty((len(levels), len(levels), len(rest), advantage.size))
    rewards[..., 0], rewards[..., 1], rewards[..., 2:] = levels[:, None, None], levels[:, None], levels[rest]
    both = advantage.of_rewards(rewards, ties=ties)
    return both[..., 0], both[..., 1], chance
