"""How many outcomes and branches the exact engine lists, told from an experiment before any is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.support.random import chunk_size

__all__ = ["MAX_OUTCOMES", "Outcomes", "branches_of", "multisets", "outcomes_of", "updated_together"]

MAX_OUTCOMES = 1_000_000
_CHUNKS = 4  # fewer, and calls of numpy on small blocks take more time than their arithmetic


@dataclass(frozen=True)
class Outcomes:
    """Sizes of the list of what a minibatch can be.

    outcomes: at most so many.   partial: lines of the longest list on the way there.   columns: numbers of each line.
    pairs: of reward levels of two samples, where the advantages of one group go together.
    """

    outcomes: float
    partial: float
    columns: int
    pairs: int = 0


def updated_together(row: int) -> int:
    """Return how many units with so many numbers each the exact engine updates at a time."""
    return _CHUNKS * chunk_size(row)


def multisets(kinds: float, size: int) -> float:
    """Count the multisets of a size of so many kinds, C(size + kinds - 1, size); infinite beyond float64."""
    if size < 1:
        return 1.0
    value = math.lgamma(size + kinds) - math.lgamma(size + 1) - math.lgamma(kinds) if kinds < 1e15 else math.inf
    return math.exp(value) if value < 700 else math.inf


def outcomes_of(experiment: Experiment, actions: int, *, drops: bool) -> Outcomes:
    """Bound the number of different minibatches of a context with so many actions.

    An independent sample is an action with a reward level, a minibatch is a multiset of samples. A group is a multiset of
    samples, too; all groups with equal rewards are one outcome. A minibatch of groups is a multiset of groups.

    Args:
        drops: an objective loses samples at random; what is lost is one more kind.
    """
    advantage, batch = experiment.advantage, experiment.update.batch
    if experiment.reward.levels is None:  # continuous: the engine refuses it
        return Outcomes(1.0, 1.0, 1)
    given = experiment.reward.level_probs
    having = np.count_nonzero(given, axis=0) * (actions if len(given) == 1 else 1)  # actions that can have each level
    kinds = int(having.sum())
    if advantage.size == 1:
        kinds += drops
        return Outcomes(multisets(kinds, batch), multisets(kinds, batch - 1) * kinds, kinds)
    size, groups = advantage.size, batch // advantage.size
    listed = multisets(kinds + drops * len(having), size)
    each = listed if drops else listed - sum(multisets(float(n), size) for n in having) + 1
    partial = max(listed, multisets(each, groups - 1) * each)
    return Outcomes(multisets(each, groups), partial, actions * max(4, 2 * size), len(having) ** 2 if len(given) > 1 else 1)


def branches_of(outcomes: float, contexts: int, updates: int, *, joint: bool) -> list[float]:
    """Bound the units before the first and after each update: as long as no branches meet, and up to the limit.

    The list ends with the last update or, since an experiment may ask for 10^24 of them, where it no longer grows.

    Args:
        joint: a statistic of the objective joins the contexts, so that a branch is an outcome of each of them.
    """
    growth, found = outcomes ** (contexts if joint else 1) if outcomes < MAX_OUTCOMES else math.inf, [float(contexts)]
    limit = float(max(MAX_OUTCOMES, contexts))
    while len(found) <= updates and found[-1] < min(found[-1] * growth, limit):
        found.append(min(found[-1] * growth, limit))
    return found
