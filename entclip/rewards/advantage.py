"""Advantages and their exact moments: independent (reward minus its mean) and group-relative (GRPO). Claim T7.

The theory needs, for an advantage A with A+ = max(A, 0) and A- = max(-A, 0), the means M+-(a) = E[A+-|a], the second moments
E[A+-^2|a], and for two samples i, j of one group E[A+_i A+_j], E[A-_i A-_j], E[A+_i A-_j]. `moments` computes them exactly: by
convolution of the group's reward sums where the reward has finitely many levels, in closed form where it is Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from dataclasses import fields
from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field

from entclip.rewards.reward import DiscreteReward, Gaussian, RewardLaw
from entclip.support.numbers import NotNegative
from entclip.support.rewording import dataclass, shown

__all__ = ["LARGEST_GROUP", "Advantage", "AdvantageMoments", "GroupRelative", "Independent", "Moment", "PairMoments"]

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)
Moment = Literal["plus", "minus", "plus_sq", "minus_sq", "plus_fourth", "minus_fourth", "share_plus", "share_minus"]
_ZERO = 1e-13  # an advantage below this share of the largest one is 0 up to rounding
_TIE = 4 * float(np.finfo(np.float64).eps)  # rewards that differ by less, relative to the largest, are equal
LARGEST_GROUP = 4096  # the moments of a group with so many members take some ten seconds
_MAX_GROUP_SUMS = 200_000


@plain_dataclass(frozen=True)
class PairMoments:
    """Within-group pair moments by reward level, each (..., L, L) for the levels (l_i, l_j) of two samples of one group.

    Attributes:
        plus_plus, minus_minus, plus_minus: E[A+_i A+_j], E[A-_i A-_j], E[A+_i A-_j].
        plus_if_plus, plus_if_minus, minus_if_plus, minus_if_minus: E[A+_i 1(A_j > 0)], E[A+_i 1(A_j < 0)], and of A-_i.
        both_plus, both_minus, opposite: P(A_i > 0, A_j > 0), P(A_i < 0, A_j < 0), P(A_i > 0, A_j < 0).
    """

    plus_plus: np.ndarray
    minus_minus: np.ndarray
    plus_minus: np.ndarray
    plus_if_plus: np.ndarray
    plus_if_minus: np.ndarray
    minus_if_plus: np.ndarray
    minus_if_minus: np.ndarray
    both_plus: np.ndarray
    both_minus: np.ndarray
    opposite: np.ndarray

    def map(self, change: Callable[[np.ndarray], np.ndarray]) -> PairMoments:
        """Return the same with every table changed."""
        return PairMoments(*(change(getattr(self, f.name)) for f in fields(self)))


@plain_dataclass(frozen=True)
class AdvantageMoments:
    """Exact moments of the advantage of one sample, and of two samples of one group.

    Attributes:
        level_probs: P(level | action), (V, L) for action-dependent rewards, (..., V, L) where it differs from unit to unit;
            (1, 1), all ones, when the action does not matter.
        plus, minus: E[A+ | level], E[A- | level], (..., L).   plus_sq, minus_sq: E[A+^2 | level], E[A-^2 | level], (..., L).
        plus_fourth, minus_fourth: E[A+^4 | level], E[A-^4 | level], (..., L): how far the square of one sample scatters.
        share_plus, share_minus: P(A > 0 | level), P(A < 0 | level), (..., L).
        pair: PairMoments, or None when samples are independent.
    """

    level_probs: np.ndarray
    plus: np.ndarray
    minus: np.ndarray
    plus_sq: np.ndarray
    minus_sq: np.ndarray
    plus_fourth: np.ndarray
    minus_fourth: np.ndarray
    share_plus: np.ndarray
    share_minus: np.ndarray
    pair: PairMoments | None = None

    def by_action(self, name: Moment) -> np.ndarray:
        """Return the named moment given the action, (..., V) or (..., 1): sum_l P(l|a) E[. | l]."""
        table: np.ndarray = getattr(self, name)
        value: np.ndarray = (
            table @ self.level_probs.T if self.level_probs.ndim == 2 else np.sum(table[..., None, :] * self.level_probs, axis=-1)
        )
        return value

    @property
    def action_dependent(self) -> bool:
        return self.level_probs.shape[-2] > 1


def _level_laws(reward: DiscreteReward, old_probs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return level values (L,), P(level | action) (V or 1, L) and the marginal law of the level under pi_old (..., L)."""
    values, given_action = reward.levels, reward.level_probs
    if given_action.shape[0] == 1:
        return values, given_action, given_action[0]
    if given_action.shape[0] != old_probs.shape[-1]:
        raise ValueError(
            f"the reward table has {given_action.shape[0]} values but the policy has {old_probs.shape[-1]} actions: "
            "give one value per action."
        )
    return values, given_action, old_probs @ given_action


def _from_levels(
    given_action: np.ndarray, law: np.ndarray, levels: dict[str, np.ndarray], pair: PairMoments | None
) -> AdvantageMoments:
    """Average over levels where the action does not matter: one pseudo-level is all the theory needs then."""
    if given_action.shape[0] > 1:
        return AdvantageMoments(given_action, **levels, pair=pair)
    averaged = {name: np.sum(law * value, axis=-1, keepdims=True) for name, value in levels.items()}
    if pair is not None:
        both = law[:, None] * law
        pair = pair.map(lambda m: np.sum(both * m).reshape(1, 1))
    return AdvantageMoments(np.ones((1, 1)), **averaged, pair=pair)


def _signed(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(a, 0.0), np.maximum(-a, 0.0)


def _positive(a: np.ndarray) -> np.ndarray:
    """1 where an advantage is positive, by more than rounding leaves of 0; else 0."""
    return (a > _ZERO * np.max(np.abs(a), initial=0.0)).astype(np.float64)


def _powers(a: np.ndarray) -> dict[str, np.ndarray]:
    """Moments of an advantage of known value, by name."""
    plus, minus = _signed(a)
    shares = {"share_plus": _positive(a), "share_minus": _positive(-a)}
    squares, fourths = {"plus_sq": plus**2, "minus_sq": minus**2}, {"plus_fourth": plus**4, "minus_fourth": minus**4}
    return {"plus": plus, "minus": minus, **squares, **fourths, **shares}


@dataclass(frozen=True, config=_CONFIG)
class Independent:
    """A = reward minus its exact mean under the old policy in that context; samples do not interact."""

    kind: Literal["independent"] = "independent"

    @property
    def size(self) -> int:
        return 1

    def values(self, levels: np.ndarray, law: np.ndarray) -> np.ndarray:
        """Return the advantage of each reward level, (..., L), when levels (L,) have the marginal law (..., L)."""
        return levels - np.sum(law * levels, axis=-1, keepdims=True)

    def moments(self, reward: RewardLaw, old_probs: np.ndarray) -> AdvantageMoments:
        """Return the exact moments of the advantage under pi_old (..., V). Claim T7."""
        if isinstance(reward, Gaussian):
            mean, square = np.full(1, reward.std / math.sqrt(2 * math.pi)), np.full(1, reward.std**2 / 2)
            fourth = 6 * square**2  # half of 3 sd^4
            half = np.full(1, 0.5)
            return AdvantageMoments(np.ones((1, 1)), mean, mean, square, square, fourth, fourth, half, half)
        values, given_action, law = _level_laws(reward, old_probs)
        return _from_levels(given_action, law, _powers(self.values(values, law)), None)


@dataclass(frozen=True, config=_CONFIG)
class GroupRelative:
    """GRPO: within a group of `size` samples, A = (reward - group mean) / scale.

    scale "none" divides by 1 (Dr. GRPO, Park et al.); "std" by the group's standard deviation with `ddof` in {0, 1} plus `eps`.
    A group whose rewards are all equal has A = 0.
    """

    size: int = 8
    scale: Literal["none", "std"] = "none"
    ddof: Literal[0, 1] = 1
    eps: NotNegative = 0.0
    kind: Literal["group"] = "group"

    def __post_init__(self) -> None:
        if self.size < 2:
            raise ValueError(
                f"advantage.size (group size) must be at least 2, got {self.size}: a group of 1 equals its own mean, so "
                "every advantage is 0 (0/0 with std scaling). Use the independent advantage instead."
            )
        if self.size > LARGEST_GROUP:
            raise ValueError(
                f"advantage.size (group size) must be at most {LARGEST_GROUP}, got {shown(self.size)}: the exact moments of a "
                "group take a time that grows as its square. Use smaller groups, or the independent advantage."
            )

    def of_rewards(self, rewards: np.ndarray, *, ties: bool = False) -> np.ndarray:
        """Return the advantages of rewards (..., size), one group on the last axis.

        ties: whether a reward may equal the mean of its group up to rounding, as values of a table may:
            what rounding leaves of such an advantage is then 0, since its sign would be taken for one.
        """
        centered = rewards - rewards.mean(axis=-1, keepdims=True)
        if ties:
            centered[np.abs(centered) <= _TIE * np.max(np.abs(rewards), axis=-1, keepdims=True)] = 0.0
        if self.scale == "none":
            return centered
        std = np.sqrt(np.sum(centered**2, axis=-1, keepdims=True) / (self.size - self.ddof))
        # Equal rewards leave rounding noise, not 0, after centring: without this test 0/0 would become +-1.
        flat = np.ptp(rewards, axis=-1, keepdims=True) == 0
        return np.where(flat, 0.0, centered / np.where(flat, 1.0, std + self.eps))

    def moments(self, reward: RewardLaw, old_probs: np.ndarray) -> AdvantageMoments:
        """Return the exact moments under pi_old (..., V), coupling within the group included. Claim T7."""
        if isinstance(reward, Gaussian):
            return self._gaussian_moments(reward)
        values, given_action, law = _level_laws(reward, old_probs)
        rows, pairs = [], []
        for reference, own in self._references(values):
            gaps = values - reference
            others, chance = self._sums_of_others(gaps, law, self.size - 1)
            tables = _powers(self._advantage(gaps[own, None], others))
            rows.append({name: chance @ table.T for name, table in tables.items()})
            pairs.append(self._pair_moments(gaps, own, law))
        levels = {name: np.concatenate([row[name] for row in rows], -1) for name in rows[0]}
        pair = PairMoments(*(np.concatenate(x, -2) for x in zip(*pairs, strict=True)))
        return _from_levels(given_action, law, levels, pair)

    def _references(self, values: np.ndarray) -> list[tuple[float, np.ndarray]]:
        """Return what rewards are compared with, and the levels of one's own reward that each comparison serves.

        A group's spread would cancel if its squares were those of large rewards, or of differences much larger than its own. So
        with std scaling each level is its own reference; the unscaled advantage is linear and one reference does.
        """
        if self.scale == "std":
            return [(value, np.array([k])) for k, value in enumerate(values)]
        return [(values[len(values) // 2], np.arange(len(values)))]

    def _pair_moments(self, gaps: np.ndarray, own: np.ndarray, law: np.ndarray) -> list[np.ndarray]:
        """Return E[A_i A_j] by sign, own level i and any level j: the remaining size - 2 samples are summed out."""
        others, chance = self._sums_of_others(gaps, law, self.size - 2)
        shift = np.stack([gaps, gaps**2], axis=-1)
        # first[i, j, s]: advantage at level i when the partner is at j and the other samples sum to s; second: the partner's
        first = self._advantage(gaps[own, None, None], others + shift[None, :, None, :])
        second = self._advantage(gaps[None, :, None], others + shift[own, None, None, :])
        (p_i, m_i), (p_j, m_j) = _signed(first), _signed(second)
        up_i, down_i, up_j, down_j = (_positive(a) for a in (first, -first, second, -second))
        products = (
            p_i * p_j,
            m_i * m_j,
            p_i * m_j,
            p_i * up_j,
            p_i * down_j,
            m_i * up_j,
            m_i * down_j,
            up_i * up_j,
            down_i * down_j,
            up_i * down_j,
        )
        shape = (*law.shape[:-1], len(own), len(gaps))
        return [(chance @ t.reshape(-1, len(others)).T).reshape(shape) for t in products]

    def _advantage(self, gap: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return A of a sample `gap` above the reference; others[..., 0] and [..., 1]: sum and sum of squares of the others'
        gaps."""
        total, squares = gap + others[..., 0], gap**2 + others[..., 1]
        centered = gap - total / self.size
        if self.scale == "none":
            return centered
        # Where nobody differs from the reference, which is a member, A is 0 over any spread.
        spread = np.where(squares == 0, 1.0, squares - total**2 / self.size)
        return centered / (np.sqrt(spread / (self.size - self.ddof)) + self.eps)

    def _sums_of_others(self, values: np.ndarray, law: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the support (S, 2) of (sum, sum of squares) of `count` values, and its probabilities (..., S), by
        convolution."""
        support, probs = np.zeros((1, 2)), np.ones((*law.shape[:-1], 1))
        jumps = np.stack([values, values**2 if self.scale == "std" else np.zeros_like(values)], axis=-1)
        unit = np.maximum(np.max(np.abs(jumps), axis=0), 1e-300)
        for _ in range(count):  # one convolution per further group member
            grown = (support[:, None, :] + jumps[None, :, :]).reshape(-1, 2)
            joint = (probs[..., :, None] * law[..., None, :]).reshape(*law.shape[:-1], -1)
            # Sums that agree to 1e-10 of the largest reward are the same sum: merging keeps lattices polynomial.
            _, first, index = np.unique(np.round(grown / unit, 10), axis=0, return_index=True, return_inverse=True)
            if len(first) > _MAX_GROUP_SUMS:
                raise ValueError(
                    f"the rewards of a group of {self.size} have over {_MAX_GROUP_SUMS} distinct sums with {len(values)} "
                    "distinct reward values: use fewer values, values on a common grid (such as multiples of 0.1), "
                    "or a smaller group."
                )
            merged = np.zeros((*law.shape[:-1], len(first)))
            # numpy takes an ellipsis here; its stubs do not know.
            np.add.at(merged, (..., index.reshape(-1)), joint)  # type: ignore[arg-type]
            support, probs = grown[first], merged
        return support, probs

    def _gaussian_moments(self, reward: Gaussian) -> AdvantageMoments:
        """Return the closed forms of T7 for normal rewards. A is its direction on the sphere times a length that std scaling
        removes (up to eps)."""
        g = self.size
        if self.scale == "none":
            m, m2 = reward.std * math.sqrt((g - 1) / (2 * math.pi * g)), reward.std**2 * (g - 1) / g
            m4 = 3 * m2**2
        else:
            shrink = (g - self.ddof) / g
            first, second, last = self._eps_factors(reward.std)
            log_m = math.lgamma((g - 1) / 2) - math.lgamma(g / 2)
            m = math.sqrt(shrink * (g - 1) / math.pi) / 2 * math.exp(log_m) * first
            m2 = shrink * second
            m4 = 3 * shrink**2 * (g - 1) / (g + 1) * last  # a coordinate of the unit sphere in G - 1 dimensions
        rho = -1 / (g - 1)
        root = math.sqrt(max(1 - rho**2, 0.0))
        same = m2 * (root + rho * (math.pi - math.acos(rho))) / (2 * math.pi)
        opposite = m2 * (root - rho * math.acos(rho)) / (2 * math.pi)
        mean, square, fourth, half = (np.full(1, x) for x in (m, m2 / 2, m4 / 2, 0.5))
        # The partner's sign depends on the directions alone: E[X+ 1(Y > 0)] = E[X+] (1 + rho)/2, and Sheppard's chances.
        agree, differ = m * (1 + rho) / 2, m * (1 - rho) / 2
        alike, unlike = (0.25 + s * math.asin(rho) / (2 * math.pi) for s in (1, -1))
        pairs = (same, same, opposite, agree, differ, differ, agree, alike, alike, unlike)
        pair = PairMoments(*(np.full((1, 1), x) for x in pairs))
        return AdvantageMoments(np.ones((1, 1)), mean, mean, square, square, fourth, fourth, half, half, pair)

    def _eps_factors(self, std: float) -> tuple[float, float, float]:
        """Return E[(s/(s+eps))^k], k = 1, 2, 4: the group's s is std chi_{G-1}/sqrt(G - ddof), independent of the direction."""
        if self.eps == 0:
            return 1.0, 1.0, 1.0
        from scipy import integrate, stats

        law = stats.chi(self.size - 1)
        unit = std / math.sqrt(self.size - self.ddof)
        top = float(law.ppf(1 - 1e-16))

        def factor(power: int) -> float:
            # In t = log x the layer x ~ eps/unit, however thin, is as wide as any other.
            value, _ = integrate.quad(
                lambda t: law.pdf(math.exp(t)) * math.exp(t) / (1 + self.eps / unit * math.exp(-t)) ** power,
                math.log(top) - 60,
                math.log(top),
                epsabs=0.0,
                epsrel=1e-12,
                limit=200,
            )
            return float(value)

        return factor(1), factor(2), factor(4)


Advantage = Annotated[Independent | GroupRelative, Field(discriminator="kind")]
