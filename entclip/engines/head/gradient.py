"""The policy gradient of a minibatch in the head, by cause: sample weights, and per-context logit gradients of a block.

With c/r = W per sample (objectives.drop.split_survivors), u = r W and C_s = sum_i u_si over the samples i of context s,

    G_s = sum_i u_si e_{a_si} - C_s pi_s   (R, n, V),      gradient in the head  dJ/dW = sum_s G_s' h_s.

Every context of the minibatch counts with the mean over its own samples, as in a table of its own: one-hot hidden states give the
euclidean step of the tabular engines. For the mean over tokens divide the learning rate by the number of contexts of a minibatch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from entclip.engines.head.state import HeadState
from entclip.objectives.base import Keep, View, sample_counts
from entclip.objectives.drop import split_survivors
from entclip.policies.softmax import importance_ratio

__all__ = ["Gradient", "gradient_of", "logit_gradient", "sample_log_probs"]


@dataclass(frozen=True)
class Gradient:
    """One minibatch: its contexts (n,), actions (R, n, B), u = r W of each sample in total and by cause, (R, n, B); what the
    ledger counts, per context (R, n)."""

    contexts: Tensor
    actions: Tensor
    total: Tensor
    causes: dict[str, Tensor]
    counts: dict[str, Tensor]


def sample_log_probs(state: HeadState, contexts: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Return log r and log pi_old of sampled actions (R, n, B) in their contexts (n,)."""
    rounded = state.products.rounded
    hidden = rounded(state.hidden[contexts])
    replica = torch.arange(len(actions), device=actions.device)[:, None, None]
    moved = torch.einsum("nd,rnbd->rnb", hidden, rounded(state.moved[replica, actions]))
    head = state.head[replica if len(state.head) > 1 else torch.zeros_like(replica), actions]
    old = torch.einsum("nd,rnbd->rnb", hidden, rounded(head)) + state.base[actions]
    shift = (state.log_z - state.old_log_z)[:, contexts, None]
    return moved - shift.to(moved.dtype), old - state.old_log_z[:, contexts, None].to(old.dtype)


def gradient_of(state: HeadState, contexts: Tensor, actions: Tensor, advantages: Tensor, keep: Keep | None) -> Gradient:
    """Return weights of the samples of a minibatch; with `keep` they are the survivors of a random drop (removed ones have A =
    0)."""
    batch = actions.shape[-1]
    log_ratio, log_old = sample_log_probs(state, contexts, actions)
    ratio = importance_ratio(log_ratio, 0.0)
    now, old = (x[:, contexts, None].to(ratio.dtype) for x in (state.entropy, state.old_entropy))
    change = state.objective.change(View(ratio, log_old.exp(), log_old + log_ratio, now, old))
    gains = change.gains
    d = torch.as_tensor(state.context_weight[: len(state.hidden)], dtype=ratio.dtype, device=ratio.device)[contexts, None]
    plus, minus = advantages.clamp(min=0) * d / batch, (-advantages).clamp(min=0) * d / batch
    weights = split_survivors(change, plus, minus, keep)
    total = plus * gains.plus - minus * gains.minus
    each = sample_counts(change, (advantages > 0).double(), (advantages < 0).double())
    counts = {name: x.sum(-1) for name, x in each.items()}
    return Gradient(contexts, actions, ratio * total, {cause: ratio * w for cause, w in weights.items()}, counts)


def logit_gradient(gradient: Gradient, pushes: Tensor, probs: Tensor, rows: slice) -> Tensor:
    """Return G (R, n, v) of a block from sample weights u (R, n, B) and pi of the minibatch's contexts (R, n, v)."""
    out = -pushes.sum(-1, keepdim=True) * probs
    place = gradient.actions - rows.start
    inside = (place >= 0) & (place < probs.shape[-1])
    return out.scatter_add_(-1, torch.where(inside, place, 0), torch.where(inside, pushes, 0.0))
