"""ledger_from_samples: an update's entropy change by cause from what trainers save: log-probabilities of tokens, no logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from entclip.drift.samples import SampledParts, euclidean_value, natural_value, sampled_parts
from entclip.ledger.batch_values import binary, finite, not_positive, numbers, spacing
from entclip.objectives.base import CAUSES, Objective
from entclip.objectives.given import objective_of
from entclip.objectives.needs import refuse_unserved

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EUCLIDEAN", "Tokens", "lacking", "ledger_from_samples"]

EUCLIDEAN = tuple(f"euclidean_{cause}" for cause in CAUSES)
_ROUNDING = 0.01  # of sums that a trainer made in half precision
_SUMS = ("entropy", "sum_pi_sq", "sum_pi_sq_log_pi")


def ledger_from_samples(
    log_probs: Any,
    old_log_probs: Any,
    advantages: Any,
    mask: Any,
    clip: Objective | tuple[float, float],
    *,
    entropy: Any = None,
    sum_pi_sq: Any = None,
    sum_pi_sq_log_pi: Any = None,
    weights: Any = None,
) -> pd.DataFrame:
    """Split the first-order entropy change of one update at each token of a batch, from log-probabilities of the tokens taken.

    The causes unclipped, clip_low, clip_high and other are c (s - H) with c(r, A) split as in `ledger_from_arrays`: what a token
    contributes per unit learning rate of the natural geometry, in which the baseline of a context is its entropy H. Those of the
    euclidean geometry, euclidean_unclipped and so on, need the baseline E_pi Q = - sum pi^2 log pi - H sum pi^2, and are NaN
    without it. Where no entropy is given, H is the mean surprisal of the batch: causes then hold differences between contexts,
    too, and own_baseline is False. What the model did after the update is not in such data: there is no measured change.

    Args:
        log_probs, old_log_probs: log pi and log pi_old of the tokens taken, (B, T), or lists with one array (T,) per response.
        advantages: (B, T), or one per response, (B,). mask: (B, T), 1 where the token counts; None: all do.
        clip: Clip(low, high), its two widths, or an objective that needs nothing beside ratios and probabilities.
        entropy, sum_pi_sq, sum_pi_sq_log_pi: of each token's context under pi, (B, T): H, sum pi^2, sum pi^2 log pi.
        weights: what each token counts in the loss, (B, T) or (B,); default 1.
    Returns: DataFrame with one row per token that counts; entropies in nats, causes in nats per unit learning rate. Saved as
        Parquet it is read by `entclip ledger`.
    Raises: ValueError if shapes disagree, values are not finite where the mask is 1, a log-probability is positive, or an entropy
        negative.
    """
    objective = objective_of(clip)
    refuse_unserved(objective, frozenset(), "ledger_from_samples")
    sums = dict(zip(_SUMS, (entropy, sum_pi_sq, sum_pi_sq_log_pi), strict=True))
    given = {"log_probs": log_probs, "old_log_probs": old_log_probs, "advantages": advantages, "mask": mask}
    tokens = Tokens.read(given | sums | {"weights": weights})
    x = tokens.values
    return tokens.frame(sampled_parts(objective, x["log_probs"], x["old_log_probs"], x["advantages"]))


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch that count: of each its response, its place in it, and its numbers by name."""

    sequence: np.ndarray
    position: np.ndarray
    values: dict[str, np.ndarray]

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Tokens:
        """Read arrays by name; None for those that there are not. Raises: ValueError as ledger_from_samples."""
        rows = _rows(given)
        kept = binary("mask", rows.pop("mask")) != 0
        sequence, position = rows.pop("sequence")[kept], rows.pop("position")[kept]
        values = {name: finite(name, row[kept]) for name, row in rows.items()}
        if not len(sequence):
            raise ValueError("mask leaves no token: at least one must be 1.")
        for name in ("log_probs", "old_log_probs"):
            if name not in values:
                raise ValueError(f"{name} is None: give that of each token taken; with equal policies both are the same array.")
            held = given[name]
            not_positive(name, values[name], spacing(held[0] if isinstance(held, list | tuple) else held))
        for name in _SUMS[:2]:
            if name in values and values[name].min() < 0:
                raise ValueError(
                    f"{name} holds {values[name].min():.6g}: it is never negative. Mask it out where it is not known."
                )
        if "sum_pi_sq" in values and values["sum_pi_sq"].max() > 1 + _ROUNDING:
            raise ValueError(f"sum_pi_sq holds {values['sum_pi_sq'].max():.6g}: a sum of squared probabilities is at most 1.")
        if "sum_pi_sq_log_pi" in values and (top := values["sum_pi_sq_log_pi"].max()) > _ROUNDING:
            raise ValueError(f"sum_pi_sq_log_pi holds {top:.6g}: it is a sum of pi^2 log pi, which is never positive.")
        weight = values["weights"]
        if weight.min() < 0 or weight.sum() == 0:
            raise ValueError(
                f"weights hold {weight.min()}: they say how much a token counts in the loss, 0 or more, and not all of them 0."
            )
        return cls(sequence, position, values)

    def frame(self, parts: SampledParts) -> pd.DataFrame:
        """Return one row per token, with causes from what an objective made of each."""
        import pandas as pd

        x, own, nothing = self.values, "entropy" in self.values, np.full(len(self.sequence), np.nan)
        lp, weight = x["log_probs"], x["weights"]
        baseline = x["entropy"] if own else np.full(len(lp), -np.average(lp, weights=weight))
        value = natural_value(lp, baseline)
        euclidean = euclidean_value(lp, *(x[name] for name in _SUMS)) if all(name in x for name in _SUMS) else nothing
        return pd.DataFrame(
            {
                "sequence": self.sequence,
                "position": self.position,
                "log_ratio": lp - x["old_log_probs"],
                "ratio": parts.ratio,
                "advantage": x["advantages"],
                "weight": weight,
                "surprisal": -lp,
                "entropy": baseline if own else nothing,
                "own_baseline": np.full(len(lp), own),
                **{cause: c * value * weight for cause, c in parts.weights.items()},
                **{name: c * euclidean * weight for name, c in zip(EUCLIDEAN, parts.weights.values(), strict=True)},
                "clipped_low": parts.low,
                "clipped_high": parts.high,
                "clipped_other": parts.other,
            }
        )


def lacking(frame: pd.DataFrame) -> list[str]:
    """Return what a frame of `ledger_from_samples` has no numbers for, and why, one sentence each."""
    out = []
    if not frame["own_baseline"].all():
        out.append(
            "entropies of the contexts are missing: the baseline is the batch's mean surprisal, so that causes hold differences "
            "between contexts, too."
        )
    if frame[list(EUCLIDEAN)].isna().to_numpy().any():
        out.append(
            "the baseline E_pi Q = - sum pi^2 log pi - H sum pi^2 is missing: causes are those of the natural geometry, and "
            "those of a step of the logits themselves are left out."
        )
    out.append("the policy after the update is missing: no measured change, curvature or remainder.")
    return out


def _rows(given: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All arrays flattened to one entry per token, with the index of its response and its place in it."""
    parts = {name: _sequences(name, value) for name, value in given.items() if value is not None}
    shapes = [part.shape for part in parts["log_probs"]]
    out: dict[str, list[np.ndarray]] = {}
    for name, value in parts.items():
        if len(value) != len(shapes):
            raise ValueError(f"{name} has {len(value)} responses, log_probs {len(shapes)}: give one entry for each.")
        shared = name in ("advantages", "weights")
        for part, shape in zip(value, shapes, strict=True):
            if part.shape != shape and not (shared and part.size == 1):
                raise ValueError(
                    f"{name} of a response has shape {part.shape}, log_probs {shape}: give one entry per token"
                    + (", or one per response." if shared else ".")
                )
            out.setdefault(name, []).append(np.broadcast_to(part.reshape(-1) if part.size == 1 else part, shape))
    lengths = [shape[0] for shape in shapes]
    flat = {name: np.concatenate(value) for name, value in out.items()}
    total = sum(lengths)
    flat.setdefault("mask", np.ones(total))
    flat.setdefault("weights", np.ones(total))
    flat["sequence"] = np.repeat(np.arange(len(lengths)), lengths)
    flat["position"] = np.concatenate([np.arange(n) for n in lengths]) if lengths else np.empty(0, dtype=int)
    return flat


def _sequences(name: str, value: Any) -> list[np.ndarray]:
    """One array (T,) per response, or one number for what a response shares."""
    if isinstance(value, Sequence) and not all(np.ndim(_plain(each)) == 0 for each in value):
        return [numbers(name, each) for each in value]
    array = numbers(name, value)
    if array.ndim == 1 and name in ("advantages", "weights"):
        array = array[:, None]
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}: give one row of tokens per response, (B, T), or a list of rows.")
    return list(array)


def _plain(value: Any) -> Any:
    return value.detach().cpu() if hasattr(value, "detach") else value
