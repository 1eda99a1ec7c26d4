"""The ledger's columns from a pass's sums and a minibatch's samples: accounting.py without tables. Claims T2 to T8, T13.

A euclidean step is d = u + c pi: pushes u of the sampled actions and a pull c on all, so that every moment of d under pi is a
sum over samples and a few sums over the vocabulary (kernels/__init__.py names them). Under Adam the pass adds up the moments of d
itself. The remainder is bounded by T3's closed form for the step's range.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from entclip.drift.cumulants import proved_remainder
from entclip.engines.accounting import Scheme
from entclip.engines.tokens.kernels.passes import Norm, Slots, Tensor
from entclip.objectives.base import Keep, Objective, View, sample_counts
from entclip.objectives.drop import split_survivors
from entclip.policies.softmax import importance_ratio
from entclip.rewards.advantage import AdvantageMoments

__all__ = ["Columns", "Taken", "adam_columns", "plain_columns", "take"]

Columns = dict[str, Tensor]


@dataclass(frozen=True)
class Taken:
    """A minibatch at the policies it is used with, each (U, B): log pi, log pi_old, ratio, advantage, c/(r B) by cause and in
    total, and what the ledger counts."""

    log_probs: Tensor
    old_log_probs: Tensor
    ratio: Tensor
    advantage: Tensor
    weights: dict[str, Tensor]
    total: Tensor
    counts: dict[str, Tensor]


def take(
    objective: Objective,
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantage: Tensor,
    keep: Keep | None,
    entropies: tuple[Tensor, Tensor] = (None, None),
) -> Taken:
    """Return weights of samples one by one.

    keep: survival probabilities of a random drop, whose victims have advantage 0. entropies: H of pi and of pi_old, (U,), for
    objectives that look at them.
    """
    now, old = (None if x is None else x[:, None] for x in entropies)
    ratio = importance_ratio(log_probs, old_log_probs)
    view, batch = View(ratio, torch.exp(old_log_probs), log_probs, now, old), advantage.shape[1]
    change = objective.change(view)
    gains = change.gains
    plus, minus = advantage.clamp(min=0) / batch, (-advantage).clamp(min=0) / batch
    weights = split_survivors(change, plus, minus, keep)
    total = plus * gains.plus - minus * gains.minus
    counts = sample_counts(change, (advantage > 0).double(), (advantage < 0).double())
    return Taken(log_probs, old_log_probs, view.ratio, advantage, weights, total, counts)


def _counts(taken: Taken) -> Columns:
    return {name: each.sum(-1) for name, each in taken.counts.items()}


def _view_columns(sums: Columns, mean_value: Tensor) -> Columns:
    """Ratio columns; mean_value: E_pi[value], which the masses are centred by."""
    names = ("pi_low", "pi_high", "kl", "log_ratio_sq")
    columns = {name: sums[name] for name in names}
    for side in ("low", "high"):
        columns[f"mass_{side}"] = sums[f"value_{side}"] - mean_value * sums[f"pi_{side}"]
    columns["ratio_max"] = importance_ratio(sums["log_ratio_max"], torch.zeros_like(mean_value))
    return columns


def _close(columns: Columns, causes: list[str], before: Norm, after: Norm, spread: Tensor, vocab: int, eps: float) -> Columns:
    """Entropies, remainder and its bound: T3's closed form, the rounding of what it is a residual of, and that of both norms."""
    columns |= {"entropy_before": before.entropy, "entropy": after.entropy, "measured": after.entropy - before.entropy}
    columns["remainder"] = columns["measured"] - sum(columns[c] for c in causes) - columns["curvature"]
    rounding = 64 * eps * (1 + before.entropy + columns["_scale"] + columns["curvature"].abs())
    known = (1 + before.entropy) * before.error + (1 + after.entropy) * after.error
    columns["_bound"] = proved_remainder(spread, vocab) + rounding + known
    return columns


def plain_columns(
    scheme: Scheme,
    before: Norm,
    after: Norm,
    sums: Columns,
    taken: Taken,
    slots: Slots,
    slot_log_probs: Tensor,
    pull: Tensor,
    rate: Tensor,
    vocab: int,
    eps: float,
    moments: AdvantageMoments | None,
) -> Columns:
    """Return columns (U,) of a euclidean or natural step: d_a = push_a at the slots, plus pull pi_a everywhere.

    Args:
        sums: POWERS, RATIO and, with moments, EXPECTED of the policy before the step.
        slot_log_probs: log pi of the slots' actions (U, B) before the step; pull: c = -eta sum_b r_b W_b (U,), 0 if natural.
        rate: eta or eta d(s), (U,).  eps: of the arithmetic behind the sums.
        moments: those of an advantage that ignores the action; None where expectations are not defined.
    """
    h = before.entropy[:, None]
    k, p = taken.log_probs + h, torch.exp(taken.log_probs)
    columns: Columns = {}
    if scheme.geometry == "natural":
        price = rate[:, None] * -p * k / torch.exp(taken.old_log_probs)
    else:
        price = rate[:, None] * taken.ratio * (sums["c2"][:, None] - p * k)
    for cause, weight in taken.weights.items():
        columns[cause] = (weight * price).sum(-1)
    pu = torch.exp(slot_log_probs)
    u, ku = slots.push * slots.used, slot_log_probs + h
    mean = (pu * u).sum(-1) + pull * sums["p2"]
    square = (pu * u * u + 2 * pull[:, None] * pu * pu * u).sum(-1) + pull**2 * sums["p3"]
    along = (pu * ku * u).sum(-1) + pull * sums["c2"]
    across = (pu * ku * u * u + 2 * pull[:, None] * pu * pu * ku * u).sum(-1) + pull**2 * sums["c3"]
    variance = square - mean**2
    columns |= {"curvature": -(across - 2 * mean * along + variance) / 2, "step_variance": variance}
    columns |= {"_inner": -along, "_scale": (pu * ku * u).abs().sum(-1) + pull.abs() * sums["c2_abs"]}
    # sqrt(P2) bounds the largest probability, so the pull moves no logit by more than |c| sqrt(P2).
    spread = u.amax(-1).clamp(min=0) - u.amin(-1).clamp(max=0) + pull.abs() * sums["p2"].sqrt()
    columns = _close(columns, list(taken.weights), before, after, spread, vocab, eps)
    mean_value = torch.zeros_like(mean) if scheme.geometry == "natural" else -sums["c2"]
    if moments is not None:
        columns |= _expected(scheme, sums, rate, mean_value, moments)
    return columns | _view_columns(sums, mean_value) | _counts(taken)


def _expected(scheme: Scheme, sums: Columns, rate: Tensor, mean_value: Tensor, moments: AdvantageMoments) -> Columns:
    """T5 and T8 from EXPECTED sums. A change h = g - 1 of the gains is what clipping does; a gain of 1 has no covariance."""
    plus, minus = float(moments.plus[0]), float(moments.minus[0])
    out = {"expected_unclipped": torch.zeros_like(rate)}
    for side in ("low", "high"):
        out[f"expected_clip_{side}"] = rate * (sums[f"gain_value_{side}"] - mean_value * sums[f"gain_{side}"])
    change = {s: -sums[f"el_{s}"] - mean_value * sums[f"h_{s}"] for s in ("plus", "minus")}
    whole = rate * (plus * change["plus"] - minus * change["minus"])
    out["expected_other"] = whole - out["expected_clip_low"] - out["expected_clip_high"]
    forms = {
        key: _form(sums, *key, natural=scheme.geometry == "natural")
        for key in (("plus", "plus"), ("plus", "minus"), ("minus", "minus"))
    }
    pp, pm, mm = forms["plus", "plus"], forms["plus", "minus"], forms["minus", "minus"]
    shared, batch = scheme.shared_group, scheme.batch
    pair = (1 - shared) * (plus**2 * pp - 2 * plus * minus * pm + minus**2 * mm)
    if shared > 0:
        assert moments.pair is not None
        both, neither, mixed = (
            float(m.reshape(-1)[0]) for m in (moments.pair.plus_plus, moments.pair.minus_minus, moments.pair.plus_minus)
        )
        pair = pair + shared * (both * pp + neither * mm - 2 * mixed * pm)
    trace = sums["trace"]
    if scheme.geometry == "euclidean":
        p2, p3, c2, c3 = (sums[n] for n in ("p2", "p3", "c2", "c3"))
        constant = p2**2 + 2 * p2 * c2 - p3 - c3
        trace = trace - 2 * p2 * sums["trace_b"] - 2 * c2 * sums["trace_c"] + constant * sums["trace_d"]
    out["expected_curvature"] = rate**2 / 2 * (trace / batch + (1 - 1 / batch) * pair)
    return out


def _form(sums: Columns, one: str, two: str, *, natural: bool) -> Tensor:
    """u' (Hess H) v for the mean steps u, v of gains of two signs (T3): e - E[h] p (euclidean) or e (natural)."""
    q = {("plus", "plus"): "pp", ("plus", "minus"): "pm", ("minus", "minus"): "mm"}[one, two]
    square, across = sums[f"q_{q}"], sums[f"ql_{q}"]
    mean = {s: sums[f"e_{s}"] for s in (one, two)}
    along = {s: sums[f"el_{s}"] for s in (one, two)}
    if not natural:
        hu, hv = sums[f"h_{one}"], sums[f"h_{two}"]
        square = square - hu * sums[f"x_{two}"] - hv * sums[f"x_{one}"] + hu * hv * sums["p3"]
        across = across - hu * sums[f"xl_{two}"] - hv * sums[f"xl_{one}"] + hu * hv * sums["c3"]
        mean = {s: m - sums[f"h_{s}"] * sums["p2"] for s, m in mean.items()}
        along = {s: a - sums[f"h_{s}"] * sums["c2"] for s, a in along.items()}
    return -(across - mean[one] * along[two] - mean[two] * along[one] + square - mean[one] * mean[two])


def adam_columns(
    scheme: Scheme,
    before: Norm,
    after: Norm,
    sums: Columns,
    taken: Taken,
    slots: Slots,
    prices: Tensor,
    pull: Tensor,
    scale: Tensor,
    decays: bool,
    vocab: int,
    eps: float,
) -> Columns:
    """Return columns (U,) of an update by Adam. The split of causes follows T13's convention:

    the preconditioner of the actual step, D = eta/(1 - b1^t)/(sqrt(v'/(1 - b2^t)) + eps), is held fixed, bias corrections and
    all; a cause is <grad H, D (1 - b1) g_cause> with its own policy gradient; `momentum` is <grad H, D b1 m>, the part of earlier
    updates; `weight_decay` what decay adds. They add up to <grad H, step>. There are no expectations under Adam.

    Args:
        sums: ADAM, step_max, step_min and RATIO.  prices: <grad H, step> per unit of gradient at each slot (U, B).
        pull: what all other actions' gradient is per pi_a, (U,).  scale: what multiplies a sample's gradient, d(s), (U,).
    """
    price = prices.gather(1, slots.of_sample)
    pushes = {cause: scale[:, None] * taken.ratio * weight for cause, weight in taken.weights.items()}
    pulls = {cause: -push.sum(-1) for cause, push in pushes.items()}
    # The pull was set to 0 where it is only rounding; the causes share what is left of it, since Adam's price for it is huge.
    pulls["unclipped"] = pull - sum(x for cause, x in pulls.items() if cause != "unclipped")
    columns = {cause: (push * price).sum(-1) + pulls[cause] * sums["pull_price"] for cause, push in pushes.items()}
    columns["momentum"] = sums["momentum"]
    if decays:
        columns["weight_decay"] = sums["weight_decay"]
    causes = list(columns)
    mean, along = sums["d1"], sums["l1"]
    variance = sums["d2"] - mean**2
    columns |= {"curvature": -(sums["l2"] - 2 * mean * along + variance) / 2, "step_variance": variance}
    # A gradient near 0 has a preconditioner near eta/eps: what opposite causes leave is exact to their own size only.
    size = sum((push * price).abs().sum(-1) + (pulls[cause] * sums["pull_price"]).abs() for cause, push in pushes.items())
    columns |= {"_inner": -along, "_scale": sums["inner_abs"] + sums["momentum"].abs() + size}
    columns = _close(columns, causes, before, after, sums["step_max"] - sums["step_min"], vocab, eps)
    return columns | _view_columns(sums, -sums["c2"]) | _counts(taken)
