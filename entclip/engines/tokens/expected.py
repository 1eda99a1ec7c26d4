"""What the tokens engine expects of a rollout's samples: their moments, the rare ones' variance, a matched control's rate."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import get_args

import numpy as np
import torch

from entclip.drift.rare_samples import fourth_moment, rare_sample_variance
from entclip.drift.second_order import expected_step_variance
from entclip.engines.minibatches import scheme_of, step_weight, take_moments
from entclip.engines.tokens.kernels.passes import Tensor
from entclip.engines.tokens.kernels.reference import row_blocks
from entclip.engines.tokens.state import TokensRollout, TokensState, log_probs_of
from entclip.objectives.base import View
from entclip.policies.softmax import entropy
from entclip.rewards.advantage import AdvantageMoments, Moment, PairMoments
from entclip.rewards.reward import TableReward
from entclip.support.errors import SpecError
from entclip.support.progress import followed

__all__ = ["matched_rate", "moments_of", "rare_variance"]

_MAX_LEVEL_BYTES = 2**30


def moments_of(state: TokensState) -> AdvantageMoments:
    """Return the exact moments of the advantages under pi_old; units apart only where the reward depends on the action."""
    experiment = state.experiment
    reward, advantage = experiment.reward, experiment.advantage
    if not isinstance(reward, TableReward):
        return advantage.moments(reward, np.ones((1, 1)))
    vocab = state.logits.shape[1]
    size = 8 * vocab * len(reward.levels)
    if size > _MAX_LEVEL_BYTES:
        raise SpecError(
            f"reward.values has {len(reward.levels)} distinct values over {vocab} actions: their table takes {size / 2**30:.1f} "
            "GiB. Use fewer distinct values (rounded ones)."
        )
    assert state.old_logits is not None
    parts = [
        advantage.moments(reward, torch.exp(log_probs_of(state, rows)[1]).cpu().numpy()) for rows in row_blocks(state.old_logits)
    ]

    def join(arrays: list[np.ndarray], own: int) -> np.ndarray:
        return np.concatenate(arrays) if arrays[0].ndim > own else arrays[0]

    pair = None
    if parts[0].pair is not None:
        pair = PairMoments(*(join([getattr(p.pair, f.name) for p in parts], 2) for f in fields(PairMoments)))
    single = {n: join([getattr(p, n) for p in parts], 1) for n in get_args(Moment)}
    return AdvantageMoments(parts[0].level_probs, **single, pair=pair)


def rare_variance(state: TokensState, rollout: TokensRollout) -> Tensor:
    """Return the variance that rare samples give the curvature of a natural step from the start of a rollout, (U,)."""
    spec, out = state.experiment.update, torch.empty_like(state.norm.log_z)
    for rows in followed(row_blocks(state.logits), "how rare samples scatter"):
        log_probs, old = log_probs_of(state, rows)
        change = state.objective.change(View.of(log_probs, old, state.objective.needs))
        moments = take_moments(rollout.moments, rows)
        out[rows] = rare_sample_variance(
            log_probs, old, entropy(log_probs), fourth_moment(change, moments), learning_rate=spec.learning_rate, batch=spec.batch
        )
    return out


def matched_rate(state: TokensState, rollout: TokensRollout, target: float) -> float:
    """Return the learning rate whose expected Var_pi(step), averaged over units, is `target`."""
    scheme, total = scheme_of(state), 0.0
    squares = state.weight * step_weight(state) ** 2
    for rows in row_blocks(state.logits):
        view = View.of(*log_probs_of(state, rows), state.objective.needs)
        change = state.objective.change(view)
        moments = take_moments(rollout.moments, rows)
        variance = expected_step_variance(
            view.log_probs,
            view.ratio,
            change,
            moments,
            geometry=scheme.geometry,
            batch=scheme.batch,
            shared_group=scheme.shared_group,
        )
        total += float(squares[rows] @ variance.cpu().numpy())
    return math.sqrt(target * float(state.weight.sum()) / total)
