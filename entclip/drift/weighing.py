"""What the samples of an update weigh, by cause: by action, by the value of the advantage, or by sequence. T4, T5, T8, T16.

The books of an update (accounting.py) need of an objective the weights c/r of its actions, realised and expected, what T8 needs
of one sample's, and the sets that a clip acts on. Most objectives are linear in A+ and A-, and sums per action say it all. One
that goes by |A| itself has a change for each value: its arrays have the values on a first axis, which is summed out. One that
goes by the ratio of a whole sequence has a change for each token of every sequence; tokens are added up prefix by prefix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from entclip.drift.first_order import (
    ActionMoments,
    ClipSetStats,
    clip_set_stats,
    expected_weights,
    mean_square_weights,
    mean_weights,
)
from entclip.drift.rare_samples import fourth_moment
from entclip.drift.second_order import JointValues, SampleWeights, weights_by_sign
from entclip.drift.sequences import SeenSequences
from entclip.objectives.base import Change, Keep, Objective, View, sample_counts, weights_of
from entclip.objectives.drop import both_survived, split_survivors, surviving
from entclip.policies.softmax import Array, Geometry
from entclip.rewards.advantage import AdvantageMoments, Moment
from entclip.rewards.levels import LevelLaw
from entclip.support.namespace import namespace

__all__ = ["ByAction", "ByLevel", "BySequence", "SeenLevels", "Weighing", "weighing_of"]


class Weighing(Protocol):
    """What an objective makes of samples, as arrays of actions (..., V)."""

    @property
    def change(self) -> Change:
        """Return the objective's change."""

    @property
    def keep(self) -> Keep | None:
        """Return the chances to survive every random drop."""

    def realised(self, sums: Any, batch: int) -> tuple[dict[str, Array], Array]:
        """Return the weights c/r that the samples have, by cause and in total, (..., V) each."""

    def of_positive(self, sums: Any, batch: int) -> Array:
        """Return the part of the total weights that the samples with A > 0 have, (..., V)."""

    def expected(self, moments: AdvantageMoments) -> dict[str, Array]:
        """Return E[c|a]/r by cause, (..., V) each. Claim T5."""

    def of_a_sample(self, moments: AdvantageMoments) -> SampleWeights:
        """Return what T8 needs of one sample and of two of a group."""

    def fourth_moment(self, moments: AdvantageMoments) -> Array:
        """Return E[(c/r)^4 | a] of a sample, or what bounds it, (..., V)."""

    def sets(self, log_probs: Array, geometry: Geometry) -> ClipSetStats:
        """Return the probability and entropy value of the clip sets."""

    def counts(self, sums: Any) -> dict[str, Array]:
        """Return the counts of the ledger, of each action, (..., V)."""


def weighing_of(
    objective: Objective,
    view: View,
    keep: Keep | None,
    levels: SeenLevels | None = None,
    sequences: SeenSequences | None = None,
) -> Weighing:
    """Return what the objective makes of samples that a control keeps with chance `keep`."""
    if sequences is not None:
        return BySequence(objective.change(sequences.view), keep, sequences)
    if levels is None:
        change = objective.change(view)
        return ByAction(change, both_survived(change.survival, keep))
    change = objective.change(levels.seen_by(view))
    return ByLevel(change, both_survived(change.survival, keep), levels)


@dataclass(frozen=True)
class ByAction:
    """Weights that are linear in A+ and A-."""

    change: Change
    keep: Keep | None

    def realised(self, sums: Any, batch: int) -> tuple[dict[str, Array], Array]:
        shares = () if self.change.extra_plus is None else (sums.n_plus / batch, sums.n_minus / batch)
        parts = split_survivors(self.change, sums.plus, sums.minus, self.keep, *shares)
        return parts, weights_of(self.change, sums.plus, sums.minus, *shares)

    def of_positive(self, sums: Any, batch: int) -> Array:
        return _positive(self.change, sums.plus, sums.n_plus, batch)

    def expected(self, moments: AdvantageMoments) -> dict[str, Array]:
        return expected_weights(self.change, moments, self.keep)

    def of_a_sample(self, moments: AdvantageMoments) -> SampleWeights:
        return SampleWeights.of(self.change, moments, self.keep)

    def fourth_moment(self, moments: AdvantageMoments) -> Array:
        return fourth_moment(self.change, moments)

    def sets(self, log_probs: Array, geometry: Geometry) -> ClipSetStats:
        return clip_set_stats(self.change, log_probs, geometry)

    def counts(self, sums: Any) -> dict[str, Array]:
        return sample_counts(self.change, sums.n_plus, sums.n_minus)


@dataclass(frozen=True)
class SeenLevels:
    """A LevelLaw beside policies (..., V): the values on a first axis.

    Attributes:
        values: (L, ..., 1).   chances: P(value | action), (L, ..., V) or (L, ..., 1).
        rewards: own rewards, (L, ..., 1) or None.
        index, shares, joint: those of LevelLaw, shares (Q, ..., V or 1) and joint (..., 1, Q, Q); None for independent samples.
    """

    values: Array
    chances: Array
    rewards: Array = None
    index: Any = None
    shares: Array = None
    joint: Array = None

    @classmethod
    def of(cls, law: LevelLaw, lead: tuple[int, ...]) -> SeenLevels:
        """Return the law of units beside policies of shape (*lead, V), lead having as many entries as there are units."""

        def first(x: np.ndarray) -> np.ndarray:
            """(u, A, L) as (L, *lead, A); what is the same for all units stays so."""
            moved = np.moveaxis(x, -1, 0)
            return moved.reshape(len(moved), *(lead if len(x) > 1 else (1,) * len(lead)), x.shape[1])

        values, chances = first(law.values[:, None]), first(law.chances)
        own = None if law.rewards is None else law.rewards.reshape(-1, *(1,) * (len(lead) + 1))
        if law.joint is None or law.shares is None:
            return cls(values, chances, own)
        joint = law.joint.reshape(*(lead if len(law.joint) > 1 else (1,) * len(lead)), 1, *law.joint.shape[1:])
        return cls(values, chances, own, law.index, first(law.shares), joint)

    def seen_by(self, view: View) -> View:
        """Return the view with the values of the advantage."""
        return replace(view, advantage=self.values, rewards=self.rewards, chances=self.chances)

    def by_action(self, name: Moment) -> Array:
        """Return a moment of the advantage, value by value, (L, ..., V) or (L, ..., 1); they add up to those of the samples."""
        xp = namespace(self.values)
        size = xp.clip(self.values if "plus" in name else -self.values, 0.0)
        if name.startswith("share"):
            return self.chances * xp.astype(size > 0, size.dtype)
        return self.chances * size ** (4 if name.endswith("fourth") else 2 if name.endswith("sq") else 1)


@dataclass(frozen=True)
class ByLevel:
    """Weights that go by the value of the advantage."""

    change: Change
    keep: Keep | None
    levels: SeenLevels

    def realised(self, sums: Any, batch: int) -> tuple[dict[str, Array], Array]:
        plus, minus, n_plus, n_minus = self._counted(sums, batch)
        shares = () if self.change.extra_plus is None else (n_plus / batch, n_minus / batch)
        parts = split_survivors(self.change, plus, minus, self.keep, *shares)
        return _summed(parts), _over(weights_of(self.change, plus, minus, *shares))

    def of_positive(self, sums: Any, batch: int) -> Array:
        plus, _, n_plus, _ = self._counted(sums, batch)
        return _over(_positive(self.change, plus, n_plus, batch))

    def expected(self, moments: AdvantageMoments | None) -> dict[str, Array]:
        return _summed(expected_weights(self.change, self.levels, self.keep))

    def of_a_sample(self, moments: AdvantageMoments) -> SampleWeights:
        levels, change, kept = self.levels, self.change, surviving(self.change, self.keep)
        at = ActionMoments.of(levels, levels.values)
        mean, square = _over(mean_weights(kept, at)), _over(mean_square_weights(change, at, self.keep))
        bonus = change.bonus_weights if change.bonus else None
        if levels.joint is None:
            return SampleWeights(mean, square, {}, None, bonus)
        xp, value = namespace(levels.values), levels.values
        up, down = xp.clip(value, 0.0), xp.clip(-value, 0.0)
        signs = (xp.astype(x > 0, value.dtype) for x in (up, down))
        each = weights_of(kept, up, down, *signs)
        pairs = [each[level] * levels.shares[k] for k, level in enumerate(levels.index)]
        return SampleWeights(mean, square, {"weight": pairs}, JointValues(levels.joint), bonus)

    def fourth_moment(self, moments: AdvantageMoments) -> Array:
        return _over(fourth_moment(self.change, self.levels))

    def sets(self, log_probs: Array, geometry: Geometry) -> ClipSetStats:
        """Return those of LOW and HIGH, each value of the advantage counted by its chance."""
        masks = (_over(self.levels.chances * side) for side in (self.change.low, self.change.high))
        return clip_set_stats(replace(self.change, low=next(masks), high=next(masks)), log_probs, geometry)

    def counts(self, sums: Any) -> dict[str, Array]:
        _, _, n_plus, n_minus = self._counted(sums, 1)
        return _summed(sample_counts(self.change, n_plus, n_minus))

    def _counted(self, sums: Any, batch: int) -> tuple[Array, Array, Array, Array]:
        """Sums of A+ and A- over B and counts of either sign, of each value, (L, ..., V)."""
        xp, counts, value = namespace(self.levels.values), sums.levels, self.levels.values
        up, down = (xp.clip(x, 0.0) for x in (value, -value))
        either = (counts * xp.astype(x > 0, value.dtype) for x in (up, down))
        return counts * up / batch, counts * down / batch, next(either), next(either)


@dataclass(frozen=True)
class BySequence:
    """Weights of the tokens of whole sequences, relative to s A/length, s the sequence's ratio.

    Sums and moments are those of sequences; the change has an entry for each token of each sequence, (u, V^length, length).
    """

    change: Change
    keep: Keep | None
    seen: SeenSequences

    def realised(self, sums: Any, batch: int) -> tuple[dict[str, Array], Array]:
        plus, minus = sums.plus[..., None], sums.minus[..., None]
        parts = split_survivors(self.change, plus, minus, self.keep)
        gathered = {name: self.seen.drawn(x) for name, x in parts.items()}
        return gathered, self.seen.drawn(weights_of(self.change, plus, minus))

    def of_positive(self, sums: Any, batch: int) -> Array:
        return self.seen.drawn(_positive(self.change, sums.plus[..., None], None, batch))

    def expected(self, moments: AdvantageMoments) -> dict[str, Array]:
        parts = expected_weights(self.change, _OfSequences(moments), self.keep)
        return {name: self.seen.mean(x) for name, x in parts.items()}

    def of_a_sample(self, moments: AdvantageMoments) -> SampleWeights:
        kept, of = surviving(self.change, self.keep), _OfSequences(moments)
        at = ActionMoments.of(of, kept.gains.plus)
        mean, square = self.seen.mean(mean_weights(kept, at)), self.seen.mean(mean_square_weights(self.change, at, self.keep), 2)
        by_sign = {
            name: [self.seen.mean(w * of.level(k)) for k in range(moments.level_probs.shape[-1])]
            for name, w in weights_by_sign(kept).items()
        }
        pair = None if moments.pair is None else moments.pair.map(lambda x: x[..., None, :, :])
        return SampleWeights(mean, square, by_sign, pair)

    def fourth_moment(self, moments: AdvantageMoments) -> Array:
        return self.seen.mean(fourth_moment(self.change, _OfSequences(moments)), 4)

    def sets(self, log_probs: Array, geometry: Geometry) -> ClipSetStats:
        """Return those of the tokens, each counted by the share of its sequences in LOW and HIGH under pi_old."""
        sides = (self.seen.share(side) for side in (self.change.low, self.change.high))
        return clip_set_stats(replace(self.change, low=next(sides), high=next(sides)), log_probs, geometry)

    def counts(self, sums: Any) -> dict[str, Array]:
        each = sample_counts(self.change, sums.n_plus[..., None], sums.n_minus[..., None])
        return {name: self.seen.added(x) for name, x in each.items()}


@dataclass(frozen=True)
class _OfSequences:
    """Moments of the advantage given the sequence, (u, V^length, 1), where those of actions are asked for."""

    moments: AdvantageMoments

    def by_action(self, name: Moment) -> Array:
        value = self.moments.by_action(name)
        return (value[:, 0] if value.ndim == 3 else value)[..., None]  # without the axis of prefixes

    def level(self, k: int) -> Array:
        """Return the chance of a reward level given the sequence, (V^length, 1) or (1, 1)."""
        return self.moments.level_probs[..., k][..., None]


def _positive(change: Change, plus: Array, n_plus: Array, batch: int) -> Array:
    """Weights of the samples with A > 0, from their sums."""
    scaled = plus * change.gains.plus
    return scaled if change.extra_plus is None else scaled + n_plus / batch * change.extra_plus


def _over(x: Array) -> Array:
    """Sum the values of the advantage out."""
    return namespace(x).sum(x, axis=0)


def _summed(parts: dict[str, Array]) -> dict[str, Array]:
    return {name: _over(x) for name, x in parts.items()}
