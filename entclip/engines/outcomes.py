"""Every outcome of a rollout with its probability, for the exact engine."""

from __future__ import annotations

import numpy as np

from entclip.engines.samples import Sums, _level_values, _sums_of_counts, sums_of_levels
from entclip.engines.tabular.branches import MAX_OUTCOMES, multisets
from entclip.experiments.experiment import Experiment
from entclip.objectives.base import Keep
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.levels import LevelLaw, nearest
from entclip.rewards.reward import DiscreteReward, Gaussian
from entclip.support.errors import SpecError

__all__ = ["enumerate_all"]


def _too_many(count: float, what: str) -> SpecError:
    number = f"{count:,.0f}" if count < 1e15 else f"{count:.1e}"
    return SpecError(
        f"the exact engine would enumerate {number} {what}, over its limit of {MAX_OUTCOMES:,}: use fewer actions, a smaller "
        "batch or fewer minibatches, or the sampled engine."
    )


def _group_vectors(advantage: GroupRelative, reward: DiscreteReward) -> tuple[np.ndarray, np.ndarray]:
    """Reward levels of the members of one group, (O, G), up to their order, which a group's law does not depend on;
    advantages."""
    levels, size = reward.levels, advantage.size
    if len(levels) ** size > MAX_OUTCOMES:
        raise _too_many(len(levels) ** size, "reward vectors of one group")
    vectors = np.unique(np.sort(np.indices((len(levels),) * size).reshape(size, -1).T, axis=1), axis=0)
    return vectors, advantage.of_rewards(levels[vectors], ties=True)


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


def _one_group(
    experiment: Experiment, probs: np.ndarray, keep: Keep | None, levels_of_a: LevelLaw | None
) -> tuple[np.ndarray, np.ndarray]:
    """Law of the sums of one whole group: (O, K A) and (U, O). K = 4: A+, A-, number of A > 0, number of A < 0, per action.

    With values of the advantage to tell apart, K is their number, and the sums are counts of each.
    """
    units, size = probs.shape
    reward, advantage = experiment.reward, experiment.advantage
    assert isinstance(advantage, GroupRelative)
    assert not isinstance(reward, Gaussian)
    given = np.broadcast_to(reward.level_probs, (size, reward.level_probs.shape[1]))
    vectors, advantages = _group_vectors(advantage, reward)
    kinds = 4 if levels_of_a is None else levels_of_a.values.shape[1]
    which = None if levels_of_a is None else nearest(advantages[None], levels_of_a.values)[0]
    supports, laws = [], []
    for row, (levels, values) in enumerate(zip(vectors, advantages, strict=True)):  # reward vectors of a group, listed first
        # Orderings of this multiset of levels that a group can have.
        repeats = np.unique(levels, return_counts=True)[1]
        orderings = float(
            np.exp(np.sum(np.log(np.arange(1, len(levels) + 1))) - sum(np.sum(np.log(np.arange(1, n + 1))) for n in repeats))
        )
        support, law = np.zeros((1, kinds * size)), np.full((units, 1), orderings)
        for member, (level, value) in enumerate(zip(levels, values, strict=True)):
            added = np.array([max(value, 0.0), max(-value, 0.0), value > 0, value < 0])
            if which is not None:
                added = np.eye(kinds)[which[row, member]]
            able = np.flatnonzero(given[:, level])  # actions that can have this reward
            jumps = np.kron(added[None], np.eye(size)[able, None, :]).reshape(len(able), -1)
            chance = probs[:, able] * given[able, level]
            if keep is not None:  # a sample that does not survive adds nothing
                survives = keep.plus if value > 0 else keep.minus
                kept = chance * (survives if which is None else survives[which[row, member]])[:, able]  # type: ignore[index]
                lost = np.sum(chance - kept, axis=1, keepdims=True)
                jumps, chance = np.append(jumps, np.zeros((1, kinds * size)), axis=0), np.append(kept, lost, axis=1)
            support, law = _add_one(support, law, jumps, chance)
        supports.append(support)
        laws.append(law)
    return _merge(np.concatenate(supports), np.concatenate(laws, axis=1))


def enumerate_all(
    experiment: Experiment, probs: np.ndarray, keep: Keep | None = None, values: LevelLaw | None = None
) -> tuple[Sums, np.ndarray]:
    """Return every outcome of one minibatch in whole groups, for each unit's pi_old (U, A): Sums of (U, O, A) and weights (U, O).

    Weights are the outcomes' exact probabilities.

    Args:
        keep: chances that a sample of each action survives a random drop, (U, A) each; sums are then those of the survivors.
        values: those of the advantage, to count samples by; the chances in `keep` are then (L, U, A) each.
    Raises: SpecError beyond a million outcomes or for continuous rewards.
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
        levels = np.atleast_2d(_level_values(experiment, probs))
        kinds = len(used) + (keep is not None)
        count = multisets(kinds, batch)
        if count > 1.001 * MAX_OUTCOMES:  # known at once; getting there one sample at a time takes minutes
            raise _too_many(count, "outcomes of one minibatch")
        atoms = probs[:, :, None] * given
        if keep is not None:
            chances = (np.asarray(x) for x in keep)
            each = (x[..., None] if values is None else np.moveaxis(x, 0, -1) for x in chances)
            atoms = atoms * np.where(levels[:, None, :] > 0, *each)
        atom_probs = atoms.reshape(units, -1)[:, used]
        if keep is not None:  # the last kind: lost, and nothing else is known of it
            atom_probs = np.append(atom_probs, 1 - np.sum(atom_probs, axis=1, keepdims=True), axis=1)
        support, law = np.zeros((1, kinds)), np.ones((units, 1))
        for _ in range(batch):  # one convolution per sample
            support, law = _add_one(support, law, np.eye(kinds), atom_probs)
        counts = np.zeros((len(support), given.size))
        counts[:, used] = support[:, : len(used)]
        if values is not None:
            table = np.moveaxis(counts.reshape(1, len(support), *given.shape), -1, -2)
            return sums_of_levels(table, values.values[:, None], batch), law
        return _sums_of_counts(counts.reshape(1, len(support), *given.shape), levels[:, None, None, :], batch), law
    jumps, jump_probs = _one_group(experiment, probs, keep, values)
    support, law = np.zeros((1, jumps.shape[1])), np.ones((units, 1))
    for _ in range(batch // advantage.size):
        support, law = _add_one(support, law, jumps, jump_probs)
    parts = support.reshape(1, len(support), -1, size)
    if values is not None:
        return sums_of_levels(parts, values.values[:, None], batch), law
    return Sums(parts[:, :, 0] / batch, parts[:, :, 1] / batch, parts[:, :, 2], parts[:, :, 3]), law
