"""Samples of the tokens engine: actions by inverse transform on the device, advantages from rewards, chunk by chunk.

The law that is sampled is a table of integers: an action's share is floor(2^62 pi_old), and a uniform number picks a point of
their sum. Integer sums do not depend on the order in which blocks and threads add them, so a draw depends on the seed alone.
Shares are within 2^-62 of pi_old and uniforms are multiples of 2^-53: every action's probability is right to 1.2e-16. Two
devices may differ in the last digit of pi_old, hence in one draw of about 10^11.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from entclip.engines.samples import draw_advantages
from entclip.engines.tokens.kernels.passes import Tensor
from entclip.engines.tokens.kernels.reference import row_blocks
from entclip.experiments.experiment import Experiment
from entclip.objectives.base import Keep
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import Gaussian, TableReward
from entclip.support.errors import SpecError
from entclip.support.progress import followed
from entclip.support.random import stream

__all__ = ["Draws", "inverse_transform"]

CHUNK = 64  # units of one random stream: part of every stream's key
_MAX_SLOT_BYTES = 4 * 2**30
_AHEAD_BYTES = 64 * 2**20


def inverse_transform(logits: Tensor, log_z: Tensor, uniforms: np.ndarray) -> Tensor:
    """Return actions (U, N) that uniforms (U, N) in [0, 1) pick from the policies of logits (U, V)."""
    out = torch.empty(uniforms.shape, dtype=torch.int64, device=logits.device)
    for rows in followed(row_blocks(logits), "drawing samples"):
        share = (torch.exp(logits[rows].double() - log_z[rows, None]) * 2.0**62).to(torch.int64)
        total = torch.cumsum(share, dim=1)
        point = torch.as_tensor(uniforms[rows], device=logits.device) * total[:, -1:]
        # The product may round up to the sum itself, which no action holds.
        out[rows] = torch.searchsorted(total, torch.minimum(point.to(torch.int64), total[:, -1:] - 1), right=True)
    return out


class Draws:
    """The minibatches of one rollout, drawn from pi_old when asked for; the same again when asked for again."""

    def __init__(self, experiment: Experiment, rollout: int, old_logits: Tensor, old_log_z: Tensor) -> None:
        self.experiment, self.rollout = experiment, rollout
        self.old_logits, self.old_log_z = old_logits, old_log_z
        self.units = len(old_logits)
        self.mean_reward = self._mean_reward()
        self._ahead: dict[int, tuple[Tensor, Tensor]] = {}
        spec = experiment.update
        if spec.minibatch == "shuffled":
            self._check_slots(spec.batch * spec.minibatches)
            actions, values = self._shuffled()
            part = [slice(k * spec.batch, (k + 1) * spec.batch) for k in range(spec.minibatches)]
            self._ahead = {k: (actions[:, s], values[:, s]) for k, s in enumerate(part)}

    def take(self, index: int, keep: Keep | None = None) -> tuple[Tensor, Tensor]:
        """Return actions (U, B) int64 and advantages (U, B) float64 of a minibatch, on the device; dropped samples have
        advantage 0."""
        if index not in self._ahead:
            spec = self.experiment.update
            # One pass over pi_old serves several minibatches, as many as fit in a little memory.
            many = max(1, _AHEAD_BYTES // (24 * self.units * spec.batch))
            self._ahead = self._draw(range(index, min(index + many, spec.minibatches)))
        actions, values = self._ahead[index]
        if keep is None:
            return actions, values
        coins = self._concatenated("drop", self.experiment.update.batch, index)
        share = torch.where(values > 0, keep.plus, keep.minus)
        return actions, torch.where(torch.as_tensor(coins, device=values.device) < share, values, 0.0)

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """Key and units of each chunk; antithetic partners share the chunks of the first half."""
        half = self.units // 2 if self.experiment.antithetic else self.units
        return ((start // CHUNK, min(CHUNK, half - start)) for start in range(0, half, CHUNK))

    def _paired(self, parts: list[np.ndarray]) -> np.ndarray:
        """Rows of all units from those of the chunks."""
        return np.concatenate(parts * 2 if self.experiment.antithetic else parts)

    def _concatenated(self, purpose: str, samples: int, *where: int) -> np.ndarray:
        """Uniforms (U, samples): a unit's row does not depend on how many units there are."""
        seed = self.experiment.seed
        streams = (stream(seed, purpose, self.rollout, *where, key).random((n, samples)) for key, n in self._chunks())  # type: ignore[arg-type]
        return self._paired(list(streams))

    def _draw(self, indices: Sequence[int]) -> dict[int, tuple[Tensor, Tensor]]:
        batch = self.experiment.update.batch
        uniforms = np.concatenate([self._concatenated("actions", batch, k) for k in indices], axis=1)
        actions = inverse_transform(self.old_logits, self.old_log_z, uniforms).split(batch, dim=1)
        return {k: (taken, self._advantages(taken, k)) for k, taken in zip(indices, actions, strict=True)}

    def _shuffled(self) -> tuple[Tensor, Tensor]:
        spec, seed = self.experiment.update, self.experiment.seed
        total = spec.batch * spec.minibatches
        actions = inverse_transform(self.old_logits, self.old_log_z, self._concatenated("actions", total))
        values = self._advantages(actions)
        orders = [
            stream(seed, "order", self.rollout, key).permuted(np.broadcast_to(np.arange(total), (n, total)), axis=1)
            for key, n in self._chunks()
        ]
        order = torch.as_tensor(self._paired(orders), device=actions.device)
        return actions.gather(1, order), values.gather(1, order)

    def _check_slots(self, total: int) -> None:
        if self.units * total * 16 > _MAX_SLOT_BYTES:
            raise SpecError(
                f'update.minibatch = "shuffled" keeps all {self.units} x {total} samples of a rollout, over 4 GiB: use fewer '
                'contexts, replicas or samples, or update.minibatch = "groups".'
            )

    def _mean_reward(self) -> np.ndarray:
        """Mean reward of each unit under pi_old, (U, 1), for advantages that are centred on it."""
        reward = self.experiment.reward
        if isinstance(reward, Gaussian):
            return np.full((1, 1), reward.mean)
        mean = reward.level_probs @ reward.levels if not isinstance(reward, TableReward) else np.asarray(reward.values)
        if len(mean) == 1 or not isinstance(self.experiment.advantage, Independent):
            return mean[:1, None]
        table = torch.as_tensor(mean, device=self.old_logits.device)
        parts = [
            torch.exp(self.old_logits[rows].double() - self.old_log_z[rows, None]) @ table for rows in row_blocks(self.old_logits)
        ]
        out: np.ndarray = torch.cat(parts).cpu().numpy()[:, None]
        return out

    def _advantages(self, actions: Tensor, *where: int) -> Tensor:
        """Advantages of actions (U, N), whole groups side by side; those of antithetic partners mirrored."""
        experiment = self.experiment
        if isinstance(experiment.reward, TableReward):
            taken = actions.cpu().numpy()
        else:  # only their number counts: the device need not wait
            taken = np.broadcast_to(np.int64(0), tuple(actions.shape))
        mean = np.broadcast_to(self.mean_reward, (self.units, 1))
        values = []
        for key, n in self._chunks():
            rows, rng = slice(key * CHUNK, key * CHUNK + n), stream(experiment.seed, "rewards", self.rollout, *where, key)
            values.append(draw_advantages(experiment, taken[rows], mean[rows], rng))
        if experiment.antithetic:
            values += [-value for value in values]
        return torch.as_tensor(np.concatenate(values), device=actions.device)
