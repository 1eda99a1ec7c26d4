"""SGD, Adam and AdamW on rows of the head, with the step split by cause: ascent on the surrogate.

Adam's convention of claim T13: the preconditioner of the actual step is held fixed. With
P = rate / ((1 - b1^t) (sqrt(v/(1 - b2^t)) + eps)) a cause with gradient g takes the step P (1 - b1) g, `momentum`
P b1 m of the update before, and `weight_decay` is -rate wd W (adamw) or P (1 - b1) (-wd W) (adam): they add up to the step.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from entclip.experiments.sections import UpdateSpec

__all__ = ["Optimizer", "RowStep"]


@dataclass(frozen=True)
class RowStep:
    """The step of some rows (R, v, d), Adam's moments after it, and what a gradient is multiplied by to become a step."""

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
        """The step that the gradient of the surrogate (R, v, d) makes at these weights and moments."""
        spec = self.spec
        if spec.optimizer == "sgd":
            return RowStep(self.rate * gradient, None, None, self.rate, {})
        assert first is not None
        assert second is not None
        b1, b2 = spec.betas
        decayed = gradient - spec.weight_decay * weights if spec.optimizer == "adam" and spec.weight_decay else gradient
        m = b1 * first + (1 - b1) * decayed
        v = b2 * second + (1 - b2) * decayed**2
        precondition = (self.rate / (1 - b1**self.number)) / ((v / (1 - b2**self.number)).sqrt() + spec.eps)
        step, own = precondition * m, {"momentum": precondition * (b1 * first)}
        if spec.weight_decay:
            if spec.optimizer == "adamw":
                own["weight_decay"] = -self.rate * spec.weight_decay * weights
                step = step + own["weight_decay"]
            else:
                own["weight_decay"] = precondition * ((b1 - 1) * spec.weight_decay * weights)
        return RowStep(step, m, v, precondition * (1 - b1), own)
