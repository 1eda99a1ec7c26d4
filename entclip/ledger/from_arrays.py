"""ledger_from_arrays: the books of one update that somebody else's code made. Claims T2, T3, T4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from entclip.drift.cumulants import directional_derivatives, entropy_gradient, largest_third_derivative
from entclip.objectives.base import CAUSES, Objective, View, clip_events, split_by_cause
from entclip.objectives.needs import refuse_unserved
from entclip.policies.softmax import SoftmaxPolicy

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ledger_from_arrays"]


def _to_numpy(name: str, value: Any, dtype: Any = np.float64) -> np.ndarray:
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} has dtype {array.dtype}: expected numbers.")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds NaN or infinite values: mask them out or mend them before accounting.")
    return array.astype(dtype)


def ledger_from_arrays(
    logits_before: Any, logits_after: Any, old_log_probs: Any, actions: Any, advantages: Any, mask: Any, clip: Objective
) -> pd.DataFrame:
    """Split the entropy change of one update at each context of a batch, from arrays of your own (numpy or torch).

    One row per unmasked context (token position). The update direction of a context is d = logits_after - logits_before, so the
    entropy change splits without assuming an optimiser: `first_order` = Cov_pi(s, d), `curvature` and `remainder` add up to
    `measured`. The causes are what the sampled token's own gradient contributes per unit euclidean learning rate,
    Cov_pi(s, c (e_a - pi)) with c split as unclipped + clip_low + clip_high + other: their ratios say which side of the clip
    moved entropy and which way; their scale is the optimiser's.

    Args:
        logits_before, logits_after: (..., V), on the same states before and after the update.
        old_log_probs: log pi_old of the taken action, (...).
        actions, advantages, mask: (...); integer actions; mask True or 1 where the token counts.
        clip: Clip(low, high) or another objective that needs nothing beside ratios and probabilities.
    Returns: DataFrame with one row per unmasked context, entropies in nats, causes in nats per unit learning rate.
    Raises: ValueError if shapes disagree, values are not finite or an action is outside 0..V-1.
    """
    import pandas as pd

    refuse_unserved(clip, frozenset(), "ledger_from_arrays")
    before, after = _to_numpy("logits_before", logits_before), _to_numpy("logits_after", logits_after)
    lead = before.shape[:-1]
    named = {"old_log_probs": old_log_probs, "actions": actions, "advantages": advantages, "mask": mask}
    flat = {k: _to_numpy(k, v) for k, v in named.items()}
    for name, value in {"logits_after": after[..., 0], **flat}.items():
        if value.shape != lead:
            raise ValueError(f"{name} has leading shape {value.shape}, logits_before has {lead}: give one entry per context.")
    if after.shape != before.shape:
        raise ValueError(f"logits_after has shape {after.shape}, logits_before {before.shape}: they must be equal.")
    keep = flat["mask"].astype(bool)
    taken = flat["actions"][keep].astype(np.int64)
    if taken.size == 0:
        raise ValueError("mask leaves no context: at least one must be True.")
    if taken.min() < 0 or taken.max() >= before.shape[-1]:
        raise ValueError(f"actions range from {taken.min()} to {taken.max()} but V = {before.shape[-1]}: they must be in 0..V-1.")
    log_probs = SoftmaxPolicy(before[keep]).log_probs
    end = SoftmaxPolicy(after[keep])
    step = after[keep] - before[keep]
    slope = directional_derivatives(log_probs, step)
    start_entropy = -np.sum(np.exp(log_probs) * log_probs, axis=-1)
    measured = end.entropy - start_entropy

    view = View.of(np.take_along_axis(log_probs, taken[:, None], axis=-1), flat["old_log_probs"][keep][:, None])
    ratio, change, advantage = view.ratio, clip.change(view), flat["advantages"][keep][:, None]
    split = split_by_cause(change, np.maximum(advantage, 0), np.maximum(-advantage, 0))
    gradient = entropy_gradient(log_probs)
    # <grad H, e_a - pi>: what one unit of weight on the taken action does to entropy.
    value = np.take_along_axis(gradient, taken[:, None], axis=-1)[:, 0] - np.sum(gradient * np.exp(log_probs), axis=-1)
    events = clip_events(change, advantage)
    largest, _ = largest_third_derivative(log_probs, step, nodes=3)
    columns = {
        "context": np.flatnonzero(keep),
        "entropy_before": start_entropy,
        "entropy": end.entropy,
        "measured": measured,
        "first_order": slope.first,
        "curvature": slope.second / 2,
        "remainder": measured - slope.first - slope.second / 2,
        "remainder_scale": largest / 6,
        **{cause: (ratio * split[cause])[:, 0] * value for cause in CAUSES},
        "ratio": ratio[:, 0],
        "advantage": advantage[:, 0],
        "clipped_low": events.low[:, 0],
        "clipped_high": events.high[:, 0],
    }
    return pd.DataFrame(columns)
