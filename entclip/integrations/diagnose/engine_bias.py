"""Whether the policy that sampled is the one that the trainer takes it for: the mean ratio to the sampling engine.

Let q be the probabilities that the engine reports for what it sampled and pi the trainer's before the first update, r = pi/q.
Whatever the two policies are, however old q is, E_q[r] = sum_a pi(a) = 1 as long as q is what was sampled from. It is the mass S
of pi that q can sample where sampling is truncated and q renormalised, and above 1 where q is reported at another temperature
than it was sampled at, or with noise of its own: E[e^n] > 1. Rollouts on which pi was trained before are the exception, as in
bias_claim.py.

    E[r] - 1 = E[r - 1 - log r] - E[-log r]      from the two estimates of KL, exactly, and of whole ratios

A mean of weights that are cut off at a cap is E[min(r, cap)], which is less.
"""

from __future__ import annotations

import math

import numpy as np

from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Confidence, Finding
from entclip.integrations.diagnose.run import Run

__all__ = ["CERTAIN", "LEAST", "of_engine"]

CERTAIN = 4.0  # standard errors
LEAST = 1e-3  # of a mean ratio from 1: below it nothing clips otherwise
_CAUSES = (
    "below 1: truncated sampling whose log-probabilities are renormalised (the mean is the kept mass S); above 1: "
    "log-probabilities that are reported at another temperature than they were sampled at, or with noise of their own; either: "
    "rollouts that were trained on before. Age alone makes neither"
)
# What else compares the two, each a number beside the mean.
_BESIDE = (
    "ratio_mean_engine",
    "kl_engine",
    "kl_engine_k3",
    "ratio_std_engine",
    "chi2_engine",
    "effective_samples",
    "log_prob_gap_engine",
    "prob_gap_engine",
    "rejected",
)


def of_engine(run: Run) -> Finding | None:
    """Return the finding on the ratio to the sampling engine; None where its mean is 1 within its error, or is not logged."""
    whole = run.get("kl_engine_k3") - run.get("kl_engine")
    by_kl = bool(np.isfinite(whole).any())
    excess = whole if by_kl else run.get("ratio_mean_engine") - 1
    mean, error = run.averaged(excess)
    if error is None or abs(mean) <= max(CERTAIN * error, LEAST):
        return None
    capped = not by_kl and "truncated-weights" in run.caveats("ratio_mean_engine")
    side = "below" if mean < 0 else "above"
    source = "by two KL estimates" if by_kl else run.name("ratio_mean_engine")
    if run.ratio_to == "engine":
        more, less = ("low", "high") if mean < 0 else ("high", "low")
        does = f"The clip's ratio is this one: the {more} side clips more and the {less} one less, and none of it is learning."
    else:
        does = "The clip does not see it: its ratio is to the trainer's policy."
    return Finding(
        "bias",
        (f"ratio-{side}-one", "engine"),
        "warn",
        f"The mean ratio to the sampling engine is {1 + mean:.4g} and not 1 ({source}{_spread(run)}): the samples are not of the "
        f"policy they are taken for{', unless the cap on the weights makes it' if capped and mean < 0 else ''}. {does}",
        (Evidence(f"mean ratio to the engine, {source}", 1 + mean, error), *_beside(run)),
        _confidence(capped and mean < 0),
        f"E[r] = 1 for samples of the policy in the ratio, however old it is; {_CAUSES}",
        "What is learnt from such samples is off, whatever the widths. Compare one batch token by token: the engine's "
        "log-probabilities with the trainer's, at the temperature, top-p and precision of the sampling.",
    )


def _confidence(capped: bool) -> Confidence:
    return "medium" if capped else "high"


def _spread(run: Run) -> str:
    """How far the ratio scatters, where a KL tells."""
    x = run.get("kl_engine_k3")
    if not np.isfinite(x).any() or not np.nanmean(x) > 0:
        return ""
    return f"; rms of log r {math.sqrt(2 * float(np.nanmean(x))):.2g}"


def _beside(run: Run) -> tuple[Evidence, ...]:
    return tuple(run.evidence(quantity) for quantity in _BESIDE if run.has(quantity))
