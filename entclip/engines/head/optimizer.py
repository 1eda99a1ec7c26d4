"""SGD, Adam and AdamW on rows of the head, with the step split by cause: ascent on the surrogate. Claim T13."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from entclip.drift.adam import Adam, adam_step
from entclip.experiments.sections import UpdateSpec

__all__ = ["Optimizer", "RowStep"]


@dataclass(frozen=True)
class RowStep:
    """The step of some rows (R, v, d), Adam's averages after it, and what a gradient is multiplied by to become a step."""

    step: Tensor
    first: Tensor | None
    second: Tensor | None
    scale: Tensor | float
    own: dict[str, Tensor]  # momentum, weight_decay


@dataclass(frozen=True)
class Optimizer:
    """One update of a run: its settings, learning rate and number, counted from 1."""

    spec: UpdateSpec
    rate: float
    number: int

    def __call__(self, gradient: Tensor, weights: Tensor, first: Tensor | None, second: Tensor | None) -> RowStep:
        """The step that the gradient of the surrogate (R, v, d) makes at these weights and averages."""
        spec = self.spec
        if spec.optimizer == "sgd":
            return RowStep(self.rate * gradient, None, None, self.rate, {})
        assert first is not None
        assert second is not None
        adam = Adam(self.rate, *spec.betas, spec.eps, spec.weight_decay, spec.optimizer == "adam", self.number)
        made = adam_step(adam, gradient, weights, first, second)
        own = {"momentum": made.momentum} | ({} if made.decay is None else {"weight_decay": made.decay})
        return RowStep(made.step, made.first, made.second, made.scale, own)
