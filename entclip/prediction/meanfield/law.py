"""The law of one sample's advantage: moments, and the transform whose powers are exact laws of counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from entclip.prediction.meanfield.nodes import gauss_pair
from entclip.rewards.advantage import Advantage, AdvantageMoments, GroupRelative
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher, RewardLaw, TableReward
from entclip.support.errors import SpecError

__all__ = ["SampleLaw", "moved", "sample_law"]


@dataclass(frozen=True)
class SampleLaw:
    """A random advantage that does not depend on the action: discrete (values, probs), or normal of the given std."""

    moments: AdvantageMoments
    size: int
    values: np.ndarray
    probs: np.ndarray
    std: float | None = None

    def moment(self, name: str) -> float:
        return float(self.moments.by_action(name)[..., 0])  # type: ignore[arg-type]

    @property
    def largest(self) -> float:
        """Return the largest |A|; two standard deviations of a normal one."""
        return float(np.max(np.abs(self.values))) if self.std is None else 2 * self.std

    @cached_property
    def atoms(self) -> tuple[tuple[float, float], ...]:
        """Return a few values of A other than 0 and their probabilities: Gauss's rule, at most two points, for either sign.

        It keeps that half's chance and its first three moments."""
        out: list[tuple[float, float]] = []
        if self.std is not None:  # half a normal law has E|A|^k = sqrt(2/pi), 1, 2 sqrt(2/pi) of its standard deviation
            mean = np.sqrt(2 / np.pi)
            d2, d3 = 1 / mean**2 - 1, 2 / mean**2 - 3 / mean**2 + 2
            offsets, shares = gauss_pair(np.array([d2]), np.array([d3]))
            points = [(mean * self.std * (1 + float(o)), float(s) / 2) for o, s in zip(offsets[:, 0], shares[:, 0], strict=True)]
            return tuple(points + [(-value, chance) for value, chance in points])
        for half in (self.values > 0, self.values < 0):
            chance = float(np.sum(self.probs[half]))
            if chance > 0:
                out += two_points(self.values[half], self.probs[half])
        return tuple(sorted(out, key=lambda atom: -atom[1] * atom[0] ** 2))

    @property
    def chance_plus(self) -> float:
        """Return P(A > 0)."""
        return 0.5 if self.std is not None else float(np.sum(self.probs[self.values > 0]))

    @property
    def chance_minus(self) -> float:
        """Return P(A < 0)."""
        return 0.5 if self.std is not None else float(np.sum(self.probs[self.values < 0]))

    @property
    def coupling(self) -> np.ndarray:
        """Return N (2, 2): by the mean moves u = (u_+, u_-) of either sign's weight, u' N u = (G - 1) E[x_i x_j] - G (E x)^2,
        over B that part of a minibatch's covariance that samples have by their mean and by their groups. Claim T11."""
        m = np.array([self.moment("plus"), -self.moment("minus")])
        out: np.ndarray = -self.size * np.outer(m, m)
        pair = self.moments.pair
        if pair is not None:
            pp, mm, pm = (float(np.squeeze(x)) for x in (pair.plus_plus, pair.minus_minus, pair.plus_minus))
            out = out + (self.size - 1) * np.array([[pp, -pm], [-pm, mm]])
        return out

    def halves(self, size: np.ndarray, *, by: np.ndarray, few: np.ndarray | bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Return E[exp(-i size A by); A > 0] and the same of A < 0.

        Where there are `few` samples `size` is in lattice bins, and a move by a fraction of a bin is spread over three."""
        if self.std is None:
            out = tuple(np.zeros(np.broadcast_shapes(size.shape, by.shape), dtype=complex) for _ in range(2))
            for value, prob in zip(self.values, self.probs, strict=True):  # distinct advantages: a handful
                if value != 0:
                    out[int(value < 0)][...] += prob * moved(size * value, by, few)
            return out[0], out[1]
        from scipy.special import wofz

        z = size * by * self.std / np.sqrt(2)  # half of Faddeeva's function
        return wofz(-z) / 2, wofz(z) / 2

    def transform(self, halves: tuple[np.ndarray, np.ndarray], plus: bool, minus: bool) -> np.ndarray:
        """Return E[exp(-i size A' by)], A' the advantage where its sign is kept and 0 where it is not, from its halves."""
        up = halves[0] if plus else self.chance_plus
        down = halves[1] if minus else self.chance_minus
        out: np.ndarray = np.asarray(up + down + (1 - self.chance_plus - self.chance_minus))
        return out


def moved(bins: np.ndarray, angle: np.ndarray, few: np.ndarray | bool = True) -> np.ndarray:
    """Return the transform of a move by a number of bins: where samples are few, over three bins with its mean and square.

    A move by a fraction of a bin has a transform of its own, but one that leaves alternating tails everywhere unless many moves
    add up to a smooth law."""
    whole = np.where(few, np.round(bins), bins)
    rest = bins - whole
    out: np.ndarray = np.exp(-1j * whole * angle) * (1 - 1j * rest * np.sin(angle) - rest**2 * (1 - np.cos(angle)))
    return out


def two_points(values: np.ndarray, probs: np.ndarray) -> list[tuple[float, float]]:
    """Return the points of Gauss's rule, one or two, for a law on `values` whose probabilities need not add up to 1."""
    total = float(np.sum(probs))
    mean = float(values @ probs) / total
    d = values / mean - 1
    square, cube = float(d**2 @ probs) / total, float(d**3 @ probs) / total
    offsets, shares = gauss_pair(np.array([square]), np.array([cube]))
    return [(mean * (1 + float(o)), total * float(s)) for o, s in zip(offsets[:, 0], shares[:, 0], strict=True) if s > 0]


def sample_law(reward: RewardLaw, advantage: Advantage) -> SampleLaw:
    """Return the law of A; SpecError where rewards depend on the action."""
    if isinstance(reward, TableReward):
        raise SpecError("predict: a table reward depends on the action; only random rewards are predicted. Simulate it instead.")
    moments = advantage.moments(reward, np.full(2, 0.5))
    if isinstance(reward, Gaussian):
        scaled = isinstance(advantage, GroupRelative) and advantage.scale == "std"
        if scaled:
            raise SpecError("predict: gaussian rewards scaled by the group's std have no closed law here. Simulate it instead.")
        return SampleLaw(moments, advantage.size, np.zeros(0), np.zeros(0), float(np.sqrt(2 * moments.plus_sq[0])))
    values, probs = _two_levels(reward, advantage)
    return SampleLaw(moments, advantage.size, values, probs)


def _two_levels(reward: Bernoulli | Rademacher, advantage: Advantage) -> tuple[np.ndarray, np.ndarray]:
    """Values of one sample's A and their probabilities: its own level, and how many of its group are at the upper one."""
    from scipy import stats

    levels, chance = reward.levels, reward.level_probs[0]
    if not isinstance(advantage, GroupRelative):
        return advantage.values(levels, chance), chance
    others = np.arange(advantage.size)
    rewards = np.where(np.arange(1, advantage.size) <= others[:, None], levels[1], levels[0])
    own = [np.concatenate([np.full((advantage.size, 1), level), rewards], axis=1) for level in levels]
    values = np.concatenate([advantage.of_rewards(x)[:, 0] for x in own])
    weight = stats.binom.pmf(others, advantage.size - 1, chance[1])
    return values, np.concatenate([c * weight for c in chance])
