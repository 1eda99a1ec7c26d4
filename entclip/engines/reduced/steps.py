"""Logit steps from samples: natural, euclidean and Adam, on points; what each cause is worth along them. Claims T5, T13.

Unsampled actions of a euclidean step all move by -eta pi_a sum_b r_b W_b. Under Adam the preconditioner of the actual step is
held fixed (T13): a cause's step is its own euclidean gradient through that preconditioner, the averages of the past are
`momentum`, and what decay does is `weight_decay`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from entclip.drift.adam import Adam, adam_step
from entclip.engines.reduced.chunk import Chunk
from entclip.engines.reduced.point_policy import Points, total, whole_weight
from entclip.engines.reduced.point_sums import PolicySums
from entclip.experiments.sections import UpdateSpec
from entclip.policies.softmax import Geometry

__all__ = ["Optimizer", "Pushes", "Step"]


class Pushes(NamedTuple):
    """The D distinct actions of a minibatch, (D,) each: unit and point, W = sum of c/(r B), ratio, pi_old."""

    at: tuple[np.ndarray, np.ndarray]
    weights: np.ndarray
    ratio: np.ndarray
    old_probs: np.ndarray

    def by_unit(self, x: np.ndarray, units: int) -> np.ndarray:
        """Return sums over a unit's actions, (..., u), of x (..., D)."""
        shape = (*x.shape[:-1], units)
        rows = np.arange(0, math.prod(shape), units)[:, None] + self.at[0]
        return np.bincount(rows.reshape(-1), x.reshape(-1), minlength=math.prod(shape)).reshape(shape)

    def pull(self, push: np.ndarray, units: int) -> np.ndarray:
        """Return sum_b r_b W_b, (..., u): how hard the samples together push all other actions down.

        Advantages of whole groups cancel on-policy. Adam divides by the size of what is left, so rounding is set to 0.
        """
        pull = self.by_unit(push, units)
        rounding = 8 * float(np.finfo(np.float64).eps) * self.by_unit(np.abs(push), units)
        out: np.ndarray = np.where(np.abs(pull) <= rounding, 0.0, pull)
        return out


@dataclass(frozen=True)
class Step:
    """d (u, c), and what the weights W of actions do to entropy to first order: `price` (D,) through their own logits, less
    `pull_price` (u,) times the pull of `scale` W (D,) on all the others. Causes beside the samples'; Adam's averages."""

    pushes: Pushes
    total: np.ndarray
    price: np.ndarray
    pull_price: np.ndarray | None = None
    scale: np.ndarray | None = None
    causes: dict[str, np.ndarray] = field(default_factory=dict)
    averages: tuple[np.ndarray, np.ndarray] | None = None
    pull_size: np.ndarray | None = None  # of the absolute terms of pull_price, under Adam, (u,)
    bonus_size: np.ndarray | float = 0.0  # of the absolute terms of what a bonus does, (u,)

    def value(self, weights: np.ndarray) -> np.ndarray:
        """Return the first-order change of entropy by causes whose weights are W (..., D), (..., u)."""
        units = len(self.total)
        own = self.pushes.by_unit(self.price * weights, units)
        if self.pull_price is None or self.scale is None:
            return own
        # The pull as the step has it, rounding set to 0: Adam's preconditioner may be 10^6 where nothing ever pulled.
        out: np.ndarray = own - self.pull_price * self.pushes.pull(self.scale * weights, units)
        return out

    def size(self, weights: np.ndarray) -> np.ndarray | float:
        """Return the absolute terms that the values of causes with weights W (C, D) are sums of, (u,): what rounding is
        relative to.

        Under Adam causes cancel before the preconditioner sees them: what is left of a push and a pull may be a millionth of
        either, and its preconditioner near eta/eps. Each term then is as much larger than the step. 0 for plain steps, whose
        terms are no larger than the causes.
        """
        if self.pull_size is None or self.scale is None:
            return 0.0
        units, pushed = len(self.total), np.abs(weights).sum(axis=0)
        out: np.ndarray = self.pushes.by_unit(np.abs(self.price) * pushed, units)
        return out + self.pull_size * self.pushes.by_unit(self.scale * pushed, units)


@dataclass(frozen=True)
class Optimizer:
    """The update section's step; `taken` counts the updates before this one."""

    spec: UpdateSpec
    geometry: Geometry
    taken: int

    def step(self, chunk: Chunk, standing: PolicySums, pushes: Pushes, rate: np.ndarray, bonus: Mapping[str, np.ndarray]) -> Step:
        """Return the step of one update. standing: of the chunk's policy; rate: eta d(s), (u,); bonus: weights w of a step of all
        points by cause, (u, c) each."""
        moved, causes = self._bonus(chunk, standing, bonus)
        if self.spec.optimizer != "sgd":
            return self._adam(chunk, pushes, rate, moved, causes)
        step = self._plain(chunk, standing, pushes, rate)
        if not causes:
            return step
        whole = whole_weight(chunk.weight, chunk.count, chunk.probs.shape[1])
        gradient = -chunk.probs * (chunk.log_probs + standing.entropy[:, None]) * whole
        size = rate * total(np.abs(gradient), np.abs(moved))
        parts = {cause: rate * total(gradient, x) for cause, x in causes.items()}
        return replace(step, total=step.total + rate[:, None] * moved, causes=parts, bonus_size=size)

    def _bonus(
        self, chunk: Chunk, standing: PolicySums, bonus: Mapping[str, np.ndarray]
    ) -> tuple[np.ndarray | float, dict[str, np.ndarray]]:
        """The steps of a bonus per unit rate, together and by cause, (u, c) each; see drift.steps.expected_step."""
        weight = whole_weight(chunk.weight, chunk.count, chunk.probs.shape[1]) * chunk.probs
        causes = {
            cause: w if self.geometry == "natural" else chunk.probs * (w - total(weight, w)[:, None])
            for cause, w in bonus.items()
        }
        return sum(causes.values()), causes

    def _plain(self, chunk: Chunk, standing: PolicySums, pushes: Pushes, rate: np.ndarray) -> Step:
        unit = pushes.at[0]
        eta, gradient = rate[unit], -chunk.probs[pushes.at] * (chunk.log_probs[pushes.at] + standing.entropy[unit])
        if self.geometry == "natural":
            moved = np.zeros(chunk.probs.shape)
            moved[pushes.at] = eta * pushes.weights / pushes.old_probs
            return Step(pushes, moved, eta * gradient / pushes.old_probs)
        scale = eta * pushes.ratio
        push = scale * pushes.weights
        moved = chunk.probs * -pushes.pull(push, len(rate))[:, None]
        moved[pushes.at] += push
        return Step(pushes, moved, scale * gradient, standing.kappa, scale)

    def _adam(
        self,
        chunk: Chunk,
        pushes: Pushes,
        rate: np.ndarray,
        bonus: np.ndarray | float,
        bonuses: Mapping[str, np.ndarray],
    ) -> Step:
        """torch's Adam and AdamW, ascending; d(s) is part of the gradient, so rate / learning rate is."""
        spec = self.spec
        assert chunk.averages is not None
        now = Points.of(chunk.log_probs, whole_weight(chunk.weight, chunk.count, chunk.probs.shape[1]), chunk.probs)
        lr = spec.learning_rate
        scale = (rate / lr)[pushes.at[0]] * pushes.ratio
        push = scale * pushes.weights
        slope = now.probs * -pushes.pull(push, len(rate))[:, None]
        slope[pushes.at] += push
        weight = (rate / lr)[:, None]
        if bonuses:
            slope = slope + weight * bonus
        adam = Adam(lr, *spec.betas, spec.eps, spec.weight_decay, spec.optimizer == "adam", self.taken + 1)
        made = adam_step(adam, slope, chunk.log_probs + chunk.shift[:, None], *chunk.averages)
        gradient = -now.mass * now.excess  # of whole points: sums with it are sums over actions
        causes = {name: total(gradient, made.scale * weight * x) for name, x in bonuses.items()}
        bonus_size = total(np.abs(gradient), np.abs(made.scale * weight * bonus)) if bonuses else 0.0
        causes |= {"momentum": total(gradient, made.momentum)}
        if made.decay is not None:
            causes["weight_decay"] = total(gradient, made.decay)
        own = -now.probs * now.excess * made.precondition * (1 - spec.betas[0])
        size = total(np.abs(now.mass), np.abs(own))
        price = scale * own[pushes.at]
        return Step(pushes, made.step, price, now.mean(own), scale, causes, (made.first, made.second), size, bonus_size)
