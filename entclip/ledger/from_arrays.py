"""ledger_from_arrays: the books of one update that somebody else's code made. Claims T2, T3, T4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from entclip.drift.cumulants import directional_derivatives, entropy_gradient, largest_third_derivative
from entclip.drift.first_order import clip_set_stats
from entclip.ledger.batch import Rows, read_batch
from entclip.objectives.base import CAUSES, Objective, View, clip_events, split_by_cause
from entclip.objectives.given import objective_of
from entclip.objectives.needs import refuse_unserved
from entclip.policies.softmax import SoftmaxPolicy, centered_kappa

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

__all__ = ["ledger_from_arrays"]


def ledger_from_arrays(
    logits_before: ArrayLike,
    logits_after: ArrayLike,
    old_log_probs: ArrayLike,
    actions: ArrayLike,
    advantages: ArrayLike,
    mask: ArrayLike | None,
    clip: Objective | tuple[float, float],
    *,
    weights: ArrayLike | None = None,
) -> pd.DataFrame:
    """Split the entropy change of one update at each context of a batch, from arrays of your own (numpy, torch, lists).

    One row per unmasked context (token position). The update direction of a context is d = logits_after - logits_before, so the
    entropy change splits without assuming an optimiser: `first_order` = Cov_pi(s, d), `curvature` and `remainder` add up to
    `measured`. The causes are what the sampled token's own gradient contributes per unit euclidean learning rate,
    Cov_pi(s, c (e_a - pi)) with c split as unclipped + clip_low + clip_high + other: their ratios say which side of the clip
    moved entropy and which way; their scale is the optimiser's. gap_low and gap_high are E[s | X] - H of the actions beyond a
    bound, NaN where there are none, and pi_low and pi_high their probability: of all actions if old_log_probs has all; from the
    taken action alone pi is r or 0, an estimate whose mean over contexts is right, and so is that of pi times gap.

    A batch is padded, with arrays (..., V) and (...), or ragged: lists with one array (T, V) and (T,) per sequence. Nothing is
    read where mask is 0. Any real dtype will do, bfloat16 included; sums run in float64, a few contexts at a time.

    Args:
        logits_before, logits_after: (..., V), on the same states before and after the update; -inf for an illegal action.
        old_log_probs: log pi_old of the taken action, (...), or of every action, (..., V).
        actions: (...), integers.
        advantages: (...), or one per sequence, (B,) for logits (B, T, V).
        mask: (...), True or 1 where the token counts; None: all do.
        clip: Clip(low, high), its two widths (low, high), or an objective that needs nothing beside ratios and probabilities.
        weights: what each context counts in the loss, (...) or one per sequence; the causes are multiplied by it. Default 1.
    Returns: DataFrame with one row per unmasked context, entropies in nats, causes in nats per unit learning rate. Saved as
        Parquet it is read by `entclip ledger`.
    Raises: ValueError if shapes disagree, values are not finite, an action is no index of a legal action, a log-probability is
        positive, or logits are probabilities.
    """
    import pandas as pd

    objective = objective_of(clip)
    refuse_unserved(objective, frozenset(), "ledger_from_arrays")
    batch = read_batch(logits_before, logits_after, old_log_probs, actions, advantages, mask, weights)
    parts = [
        _columns(objective, rows, *(x[rows.place] for x in (batch.actions, batch.advantages, batch.weights)))
        for rows in batch.rows()
    ]
    return pd.DataFrame({"context": batch.context} | {k: np.concatenate([part[k] for part in parts]) for k in parts[0]})


def _columns(
    objective: Objective, rows: Rows, taken: np.ndarray, advantages: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns of some contexts, each (n,)."""
    actions, advantage = taken[:, None], advantages[:, None]
    log_probs, end = SoftmaxPolicy(rows.before).log_probs, SoftmaxPolicy(rows.after)
    step = rows.after - rows.before
    slope = directional_derivatives(log_probs, step)
    start_entropy = -np.sum(np.exp(log_probs) * log_probs, axis=-1)
    measured = end.entropy - start_entropy
    whole = rows.old.shape[1] > 1
    old = np.take_along_axis(rows.old, actions, axis=-1) if whole else rows.old

    view = View.of(np.take_along_axis(log_probs, actions, axis=-1), old)
    ratio, change = view.ratio, objective.change(view)
    split = split_by_cause(change, np.maximum(advantage, 0), np.maximum(-advantage, 0))
    gradient = entropy_gradient(log_probs)
    # <grad H, e_a - pi>: what one unit of weight on the taken action does to entropy.
    value = np.take_along_axis(gradient, actions, axis=-1)[:, 0] - np.sum(gradient * np.exp(log_probs), axis=-1)
    events = clip_events(change, advantage)
    largest, _ = largest_third_derivative(log_probs, step, nodes=3)
    if whole:
        # An illegal action is beyond no bound; one that pi_old never took is, and has a ratio as large as float64 holds.
        known = np.where(rows.illegal, log_probs, np.maximum(rows.old, -1e4))
        stats = clip_set_stats(objective.change(View.of(log_probs, known)), log_probs, "natural")
        probability, mass = (stats.pi_low, stats.pi_high), (stats.mass_low, stats.mass_high)
    else:
        # Under pi_old the ratio of a sample in a set has the set's probability as its mean, and with kappa its mass.
        excess = np.take_along_axis(centered_kappa(log_probs, "natural"), actions, axis=-1)
        probability = tuple((ratio * side)[:, 0] for side in (change.low, change.high))
        mass = tuple((ratio * excess * side)[:, 0] for side in (change.low, change.high))
    gaps = (np.divide(m, p, out=np.full(len(p), np.nan), where=p > 0) for m, p in zip(mass, probability, strict=True))
    return {
        "entropy_before": start_entropy,
        "entropy": end.entropy,
        "measured": measured,
        "first_order": slope.first,
        "curvature": slope.second / 2,
        "remainder": measured - slope.first - slope.second / 2,
        "remainder_scale": largest / 6,
        **{cause: (ratio * split[cause])[:, 0] * value * weights for cause in CAUSES},
        "ratio": ratio[:, 0],
        "advantage": advantages,
        "weight": weights,
        "clipped_low": events.low[:, 0],
        "clipped_high": events.high[:, 0],
        **dict(zip(("pi_low", "pi_high"), probability, strict=True)),
        **dict(zip(("gap_low", "gap_high"), gaps, strict=True)),
    }
