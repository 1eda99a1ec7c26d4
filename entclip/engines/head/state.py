"""The state of the head engine, and the policy of a block of actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from entclip.engines.base import Rollout, State
from entclip.engines.head.products import Products, blocks
from entclip.rewards.advantage import AdvantageMoments

__all__ = [
    "Block",
    "HeadRollout",
    "HeadState",
    "block_from",
    "block_of",
    "displacement",
    "normalised",
    "old_logits",
]


@dataclass(kw_only=True)
class HeadState(State):
    """Shared parameters of R replicas: logits = base + h_t (head + moved)'.

    The head at the start of the rollout and its displacement since are kept apart: a log-ratio is then a product of its own and
    not a difference of large logits, so float32 and bfloat16 products lose nothing that clipping depends on.
    """

    hidden: Tensor  # (T, d)
    base: Tensor  # (V,)
    head: Tensor  # (1 or R, V, d): one for all replicas until they part
    moved: Tensor  # (R, V, d)
    first: Tensor | None  # Adam's averages, (R, V, d)
    second: Tensor | None
    updates: int
    old_log_z: Tensor  # (1 or R, T) float64
    old_entropy: Tensor  # (1 or R, T) float64
    log_z: Tensor  # (R, T) float64
    entropy: Tensor  # (R, T) float64, nats
    products: Products
    width: int  # actions of a block

    @property
    def vocab(self) -> int:
        """Return V, the number of actions."""
        return len(self.base)

    @property
    def eps(self) -> float:
        """Return the rounding of the arithmetic."""
        return max(float(torch.finfo(self.hidden.dtype).eps), self.products.eps)


@dataclass(frozen=True, kw_only=True)
class HeadRollout(Rollout):
    """Samples of pi_old in every context, (R, T, B), and the contexts of each minibatch."""

    actions: Tensor
    advantages: Tensor
    subsets: list[np.ndarray]
    moments: AdvantageMoments


class Block(NamedTuple):
    """Some actions in all contexts, each (R, T, v); of pi_old (1 or R, T, v)."""

    old_log_probs: Tensor
    log_ratio: Tensor
    log_probs: Tensor


def old_logits(state: HeadState, rows: slice) -> Tensor:
    """Return logits of pi_old of a range of actions, (1 or R, T, v)."""
    return state.products(state.hidden, state.head[:, rows].mT) + state.base[rows]


def displacement(state: HeadState, moved: Tensor, rows: slice) -> Tensor:
    """Return what a displacement (R, V, d) of the head adds to the logits of a range of actions, (R, T, v)."""
    return state.products(state.hidden, moved[:, rows].mT)


def block_of(state: HeadState, rows: slice) -> Block:
    """Return log pi_old, log r and log pi of a range of actions."""
    return block_from(old_logits(state, rows), displacement(state, state.moved, rows), state.old_log_z, state.log_z)


def block_from(logits: Tensor, displaced: Tensor, old_log_z: Tensor, log_z: Tensor) -> Block:
    """Return the same from the two products and the normalisers (. , T), which are float64 and enter rounded once."""
    old = logits - old_log_z[..., None].to(logits.dtype)
    log_ratio = displaced - (log_z - old_log_z)[..., None].to(logits.dtype)
    return Block(old, log_ratio, old + log_ratio)


def normalised(state: HeadState) -> tuple[Tensor, Tensor]:
    """Return log Z and entropy of every context, (R, T) float64, from the parameters alone, in one pass (online log-sum-exp)."""
    shape = (len(state.moved), len(state.hidden))
    top = torch.full(shape, -1e30, dtype=torch.float64, device=state.hidden.device)
    total, mean = torch.zeros_like(top), torch.zeros_like(top)
    for rows in blocks(state.vocab, state.width):
        logits = old_logits(state, rows) + displacement(state, state.moved, rows)
        higher = torch.maximum(top, logits.amax(-1).double())
        below = top - higher
        x = logits - higher[..., None].to(logits.dtype)
        weight = x.exp()
        mean = below.exp() * (mean + total * below) + torch.linalg.vecdot(weight, x).double()
        total = below.exp() * total + weight.sum(-1).double()
        top = higher
    return top + total.log(), total.log() - mean / total
