"""Samples of a rollout for the head engine: actions by inverse transform in blocks, rewards, advantages, random drops.

Draws are keyed by (seed, purpose, rollout) and made for all replicas at once, in replica order, so that they depend neither on
the width of the blocks nor on how many replicas there are. Antithetic partners (second half) repeat them with mirrored rewards.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from entclip.engines.samples import advantages_of, draw_rewards, law_mean
from entclip.experiments.experiment import Experiment
from entclip.objectives.base import Keep
from entclip.support.random import stream

__all__ = ["draw_actions", "draw_advantages", "draw_uniforms", "subsets", "survivors"]


def _drawn(experiment: Experiment) -> int:
    """Replicas with random numbers of their own."""
    return experiment.replicas // (2 if experiment.antithetic else 1)


def _for_all(experiment: Experiment, values: np.ndarray) -> np.ndarray:
    return np.concatenate([values, values]) if experiment.antithetic else values


def draw_uniforms(experiment: Experiment, rollout: int, contexts: int) -> np.ndarray:
    """Return u (R, T, B) in [0, 1), which `draw_actions` turns into actions."""
    shape = (_drawn(experiment), contexts, experiment.update.batch)
    return _for_all(experiment, stream(experiment.seed, "actions", rollout).random(shape))


def draw_actions(uniforms: Tensor, parts: Iterable[tuple[slice, Tensor]]) -> Tensor:
    """Return the actions (R, T, B) at which the distribution function of pi_old passes u; parts: blocks of pi_old, (R or 1, T,
    v).

    Sums run in float64: in float32 the last actions of a large vocabulary would have no chance.
    """
    shape, last = uniforms.shape, 0
    below = torch.zeros(shape[:2], dtype=torch.float64, device=uniforms.device)[..., None]
    actions = torch.zeros(shape, dtype=torch.int64, device=uniforms.device)
    for rows, probs in parts:
        passed = probs.double().cumsum(-1).expand(*shape[:2], -1).contiguous()
        actions += torch.searchsorted(passed, uniforms - below, right=True)
        below = below + passed[..., -1:]
        last = rows.stop - 1
    # u beyond the sum of all probabilities, which rounding leaves below 1.
    return actions.clamp_(max=last)


def draw_advantages(experiment: Experiment, rollout: int, contexts: int) -> np.ndarray:
    """Return advantages (R, T, B), whole groups side by side; rewards do not depend on the action."""
    shape = (_drawn(experiment), contexts, experiment.update.batch)
    rewards = draw_rewards(experiment, shape, stream(experiment.seed, "rewards", rollout))
    value = advantages_of(experiment, rewards, law_mean(experiment))
    return np.concatenate([value, -value]) if experiment.antithetic else value


def subsets(experiment: Experiment, rollout: int, contexts: int) -> list[np.ndarray]:
    """Return the contexts of each minibatch: a random partition, the same for all replicas and epochs, sizes equal to within
    one."""
    order = stream(experiment.seed, "order", rollout).permutation(contexts)
    return [np.sort(part) for part in np.array_split(order, experiment.update.minibatches)]


def survivors(experiment: Experiment, key: tuple[int, int, int], keep: Keep, advantages: Tensor) -> Tensor:
    """Return advantages (R, n, B) with those set to 0 that a random drop removes; key: rollout, epoch, minibatch."""
    coins = stream(experiment.seed, "drop", *key).random((_drawn(experiment), *advantages.shape[1:]))
    chance = torch.where(advantages > 0, keep.plus, keep.minus)
    return torch.where(torch.as_tensor(_for_all(experiment, coins), device=advantages.device) < chance, advantages, 0.0)
