"""The step of Adam and AdamW taken apart by where it comes from. Claim T13.

With the preconditioner of the actual step held fixed, P = eta/((1 - b1^t) (sqrt(v'/(1 - b2^t)) + eps)), a step is linear in what
made it: an ascent direction g of this update is worth P (1 - b1) g, the moment of earlier updates P b1 m, and decay
-eta lambda theta, or through the averages P (1 - b1) (-lambda theta). They add up to the step.
"""

from __future__ import annotations

from typing import NamedTuple

from entclip.policies.softmax import Array
from entclip.support.namespace import namespace

__all__ = ["Adam", "AdamPrice", "AdamStep", "adam_price", "adam_step"]


class Adam(NamedTuple):
    """One update of Adam: learning rate (a number, or an array that broadcasts), betas, eps, decay and whether it goes through
    the averages (adam) or not (adamw), and the number of the update, counted from 1."""

    learning_rate: Array
    beta1: float
    beta2: float
    eps: float
    decay: float
    coupled: bool
    update: int


class AdamStep(NamedTuple):
    """The step and the averages after it; P; what a gradient of this update is multiplied by to become its step, P (1 - b1); the
    steps of earlier updates and of decay (None where there is none)."""

    step: Array
    first: Array
    second: Array
    precondition: Array
    scale: Array
    momentum: Array
    decay: Array | None


def adam_step(adam: Adam, gradient: Array, value: Array, first: Array, second: Array) -> AdamStep:
    """Return the step that an ascent direction makes at some parameters and averages, all of one shape, as torch's optimisers do.

    Args:
        gradient: ascent direction.   value: the parameters, which decay pulls to 0.   first, second: averages before the update.
    """
    rate, b1, b2, eps, decay, coupled, update = adam
    if decay and coupled:
        gradient = gradient - decay * value
    m, v = b1 * first + (1 - b1) * gradient, b2 * second + (1 - b2) * gradient**2
    precondition = rate / (1 - b1**update) / (namespace(v).sqrt(v / (1 - b2**update)) + eps)
    step, momentum, own = precondition * m, precondition * (b1 * first), None
    if decay and coupled:
        own = precondition * ((b1 - 1) * decay * value)
    elif decay:
        own = -rate * decay * value
        step = step + own
    return AdamStep(step, m, v, precondition, precondition * (1 - b1), momentum, own)


class AdamPrice(NamedTuple):
    """What the parts of a step are worth along a slope, each an inner product over parameters: own <price, g> of the ascent
    direction of this update, past <price, m> of the average of the updates before it, decay <decay_price, theta>."""

    price: Array
    own: float
    past: float
    decay_price: Array
    decay: float


def adam_price(adam: Adam, slope: Array, second: Array) -> AdamPrice:
    """Return what the parts of a step are worth along a slope, from the average of squares that the step left behind.

    It is <slope, part> of the parts of `adam_step`, for an optimiser that has taken its step already, and makes one table of the
    size of the parameters. Claim T13.

    Args:
        slope: what a step along each parameter is worth, such as dH/dtheta.   second: v' of each, after the update.
    """
    rate, b1, b2, eps, decay, coupled, update = adam
    flat = rate * slope
    price = flat / ((namespace(second).sqrt(second / (1 - b2**update)) + eps) * (1 - b1**update))
    return AdamPrice(price, 1 - b1, b1, price if coupled else flat, -decay * (1 - b1) if coupled else -decay)
