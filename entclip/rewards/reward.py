"""Reward laws: finite levels or Gaussian, given the action or independent of it; sampling and mirror images.

A law with finitely many values exposes them as `levels` with P(level | action); the moments of the advantages it leads to
are in advantage.py (claim T7). Everything here is per sample and per action: groups belong to the advantage.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import ConfigDict, Field

from entclip.support.numbers import Real
from entclip.support.rewording import dataclass

__all__ = ["Bernoulli", "DiscreteReward", "Gaussian", "Rademacher", "RewardLaw", "TableReward", "expected_reward"]

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)
_LEAST_SPREAD = 1e-6  # of a Gaussian reward's mean: rounding then leaves ten digits of the spread


@dataclass(frozen=True, config=_CONFIG)
class Bernoulli:
    """Reward 1 with probability p, else 0, whatever the action. p in (0, 1): at 0 or 1 every advantage is 0."""

    p: float = 0.5
    kind: Literal["bernoulli"] = "bernoulli"

    def __post_init__(self) -> None:
        if not 0 < self.p < 1:
            raise ValueError(
                f"Bernoulli p must be strictly between 0 and 1, got {self.p}: otherwise the reward has zero variance, "
                "every advantage is 0 and the policy never moves."
            )

    @property
    def levels(self) -> np.ndarray:
        return np.array([0.0, 1.0])

    @property
    def level_probs(self) -> np.ndarray:
        return np.array([[1 - self.p, self.p]])

    @property
    def symmetric(self) -> bool:
        return self.p == 0.5


@dataclass(frozen=True, config=_CONFIG)
class Rademacher:
    """Reward +1 or -1 with equal probability, whatever the action."""

    kind: Literal["rademacher"] = "rademacher"

    @property
    def levels(self) -> np.ndarray:
        return np.array([-1.0, 1.0])

    @property
    def level_probs(self) -> np.ndarray:
        return np.array([[0.5, 0.5]])

    @property
    def symmetric(self) -> bool:
        return True


@dataclass(frozen=True, config=_CONFIG)
class Gaussian:
    """Normal reward with the given mean and standard deviation std > 0, whatever the action."""

    mean: Real = 0.0
    std: Real = 1.0
    kind: Literal["gaussian"] = "gaussian"

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(
                f"Gaussian std must be positive, got {self.std}: with zero variance every advantage is 0 and the policy "
                "never moves."
            )
        if self.std < _LEAST_SPREAD * abs(self.mean):
            raise ValueError(
                f"Gaussian std = {self.std} is too small beside mean = {self.mean}: float64 rounds such rewards to steps of "
                f"{abs(self.mean) * 2e-16:.2g}. Only differences of rewards matter: use mean = 0."
            )

    @property
    def levels(self) -> None:
        """Return None: the law is continuous, so nothing can be enumerated."""
        return None

    @property
    def symmetric(self) -> bool:
        return True

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        return rng.normal(self.mean, self.std, size=shape)


@dataclass(frozen=True, config=_CONFIG)
class TableReward:
    """A fixed reward for each action: values[a], one number per action (for sequences: per sequence, first token slowest).

    This is a true reward: the advantage depends on the action and the unclipped term of T5 is not 0.
    """

    values: tuple[Real, ...]
    kind: Literal["table"] = "table"

    def __post_init__(self) -> None:
        if len(self.values) < 2:
            raise ValueError(f"TableReward needs at least 2 finite values, one per action, got {list(self.values)!r}.")
        if min(self.values) == max(self.values):
            raise ValueError(
                f"TableReward gives every action the reward {self.values[0]}: with zero variance every advantage is 0 and "
                "the policy never moves. Give at least one action another value."
            )

    @property
    def levels(self) -> np.ndarray:
        return np.unique(np.asarray(self.values))

    @property
    def level_probs(self) -> np.ndarray:
        return (np.asarray(self.values)[:, None] == self.levels).astype(float)

    @property
    def symmetric(self) -> bool:
        """Return False: a table has no mirror image that is the same law."""
        return False


DiscreteReward = Bernoulli | Rademacher | TableReward
RewardLaw = Annotated[Bernoulli | Gaussian | Rademacher | TableReward, Field(discriminator="kind")]


def expected_reward(reward: RewardLaw, probs: np.ndarray) -> np.ndarray | None:
    """Return the mean reward of policies pi (..., V), (...); None where the reward does not depend on the action."""
    if not isinstance(reward, TableReward):
        return None
    out: np.ndarray = probs @ np.asarray(reward.values)
    return out
