"""How large the noise of log-ratios is, by clip shares and by KL; whether it has a bias; whether groups are flat."""

from __future__ import annotations

import math

import numpy as np

from entclip.integrations.diagnose import noise
from entclip.integrations.diagnose.effect import ASSUMED_UPDATES, effects, logged_entropy, side_shares
from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Confidence, Finding, claim
from entclip.integrations.diagnose.run import Run

__all__: list[str] = []

_MEASURES = 0.6  # of its ceiling: a share beyond it tells nothing of the size
_LARGE = 0.5  # rms: half of the tokens' probabilities change by a half in a rollout
_AGREE = 2.0
_CERTAIN = 4.0  # standard errors
_LATE = {"last-minibatch", "last-epoch"}
_FLAT = 0.5


@claim("noise")
def _noise(run: Run) -> Finding | None:
    """The rms of the log-ratio at the end of a rollout."""
    by_share, law, evidence = _by_share(run)
    by_kl, kl_evidence = _by_kl(run)
    direct = run.evidence("log_ratio_rms")
    parts, labels = [], []
    if by_share is not None:
        guess = f", if the widths are {run.widths.low:g}" if run.widths is not None and run.widths.assumed else ""
        parts.append(f"{by_share:.2g} by the clip shares ({law}{guess})")
        labels.append("shares")
    if by_kl is not None:
        parts.append(f"{by_kl:.2g} by {kl_evidence[0].metric}")
        labels.append("kl")
    if direct.rows:
        parts.append(f"{direct.value:.2g} logged as {direct.metric}")
        labels.append("logged")
    if not parts:
        return None
    text = f"Log-ratio rms at the end of a rollout: {', '.join(parts)}"
    confidence: Confidence = "medium"
    if by_share is not None and by_kl is None and by_share > _LARGE and run.widths is not None and run.widths.assumed:
        text += ": so large that the widths are hardly those (widths of a sequence's ratio are near 3e-4); give --config"
        confidence = "low"
    if by_share is not None and by_kl is not None and by_kl > 0:
        ratio = by_share / by_kl
        agree = 1 / _AGREE < ratio < _AGREE
        labels.append("agree" if agree else "disagree")
        if agree:
            text += ": they agree"
            confidence = "high" if not (run.widths and run.widths.assumed) else "medium"
        elif ratio > 1:
            text += ": they disagree; few tokens move far more than a normal law has it, or the widths are not those assumed"
        else:
            text += ": they disagree; the KL holds more than learning (mismatch, staleness), or the widths are wider"
    sizes = "widths from " + run.widths.source if run.widths else "no widths of a ratio"
    count = f"{run.updates} updates per rollout" if run.updates else f"{ASSUMED_UPDATES} updates per rollout assumed"
    return Finding("noise", tuple(labels), "info", text + ".", (*evidence, *kl_evidence), confidence, f"{sizes}, {count}")


def _by_share(run: Run) -> tuple[float | None, str, tuple[Evidence, ...]]:
    """The rms that the shares imply: on the policy law at the logged entropy if there is one, else one law for all tokens."""
    shares, widths = side_shares(run), run.widths
    if shares is None or widths is None or not 0 < shares.total < _MEASURES * noise.ceiling(run.updates):
        return None, "", ()
    evidence = (Evidence("clip share, both sides", shares.total, shares.error, rows=shares.rows),)
    found = effects(run)
    if found is not None:
        return found[0].sigma, "on SmolLM2's policy at your entropy", evidence
    sigma = noise.sigma_of(shares.total, widths.low, widths.high, run.updates or ASSUMED_UPDATES, run.ratio_to == "old")
    return sigma, "one normal law for all tokens", evidence


def _by_kl(run: Run) -> tuple[float | None, tuple[Evidence, ...]]:
    for quantity in ("kl_old_k3", "kl_old"):
        if run.has(quantity):
            evidence = run.evidence(quantity)
            if not evidence.value > 0:
                return None, ()
            # Metrics of the last minibatch or epoch have nearly the whole variance; means over a rollout have half of it.
            last = any(_LATE & set(alias.caveats) for alias, _ in run.present if alias.quantity == quantity)
            updates = run.updates or ASSUMED_UPDATES
            share = (updates - 1) / updates if last else noise.mean_square_share(updates, run.ratio_to == "old")
            return (noise.from_kl(evidence.value) / math.sqrt(share) if share > 0 else None), (evidence,)
    return None, ()


_CAUSES = (
    "below 0: truncated sampling (the ratio starts at the kept mass S), a higher sampling temperature or an older sampler; "
    "above 0: "
    "the sampler is less sure than the trainer thinks (precision, engine mismatch)"
)


@claim("bias")
def _bias(run: Run) -> Finding | None:
    """A mean of the ratio that is not 1 is no noise."""
    for quantity, target, what in (
        ("ratio_mean", 1.0, "the mean ratio"),
        ("ratio_mean_engine", 1.0, "the mean ratio to the sampling engine"),
    ):
        x = run.get(quantity)
        if np.isfinite(x).any():
            mean, error = run.averaged(x)
            if error is not None and abs(mean - target) > max(_CERTAIN * error, 1e-3):
                return _biased(run, quantity, math.log(mean) if mean > 0 else -math.inf, f"{what} is {mean:.4g} and not 1")
            return None
    k1, k3 = run.get("kl_old"), run.get("kl_old_k3")
    both = np.isfinite(k1) & np.isfinite(k3)
    if both.any():
        # (r - 1 - log r) - (-log r) = r - 1.
        mean, error = run.averaged(k3 - k1)
        if error is not None and abs(mean) > max(_CERTAIN * error, 1e-3):
            return _biased(
                run, "kl_old", math.log1p(max(mean, -0.999)), f"the mean ratio, from the two KL estimates, is {1 + mean:.4g}"
            )
        return None
    if np.isfinite(k1).any():
        mean, error = run.averaged(k1)
        if error is not None and mean < -_CERTAIN * error and mean < -1e-4:
            return _biased(run, "kl_old", -mean, f"the mean of log(pi_old/pi) is {mean:.2g}, below 0, which no KL is")
    return None


def _biased(run: Run, quantity: str, shift: float, what: str) -> Finding:
    label = "ratio-below-one" if shift < 0 else "ratio-above-one"
    consequence = (
        "the low side clips and the high side hardly does" if shift < 0 else "the high side clips more and the low side less"
    )
    return Finding(
        "bias",
        (label,),
        "warn",
        f"The log-ratio has a mean of {shift:+.2g}: {what}. That is a bias and no noise; {consequence}.",
        (run.evidence(quantity),),
        "high",
        f"E[r] = 1 for samples of the policy in the ratio; {_CAUSES}",
        "Find the cause before touching a width: a ratio that is low for every token makes the low side clip and raise entropy, "
        "one "
        "that is high makes the high side clip and lower it, and neither is learning.",
    )


@claim("flat-groups")
def _flat(run: Run) -> Finding | None:
    """Groups whose rewards are all equal push nothing."""
    if run.has("flat_groups"):
        evidence = run.evidence("flat_groups")
        if not 0 <= evidence.value <= 1:
            return None
        share = evidence.value
        text = (
            f"{100 * share:.0f} % of the groups have equal rewards ({evidence.metric}): their advantage is 0, so reward and clip "
            f"push with the other {100 * (1 - share):.0f} % only."
        )
        return _flat_finding(share, text, evidence)
    if run.has("reward_std"):
        x = run.get("reward_std")
        share = float(np.mean(x[np.isfinite(x)] == 0))
        where = f"In {100 * share:.0f} % of the rows no group has a spread of rewards"
        text = f"{where} ({run.name('reward_std')} = 0): nothing pushes there."
        return _flat_finding(share, text, run.evidence("reward_std")) if share > 0 else None
    return None


def _flat_finding(share: float, text: str, evidence: Evidence) -> Finding:
    many = share > _FLAT
    return Finding(
        "flat-groups",
        ("many" if many else "few",),
        "warn" if many else "info",
        text,
        (evidence,),
        reason="an advantage relative to the group is 0 there",
        change="Prompts of middling difficulty, or dynamic sampling. A clip share counts their tokens, too, so it understates "
        "the share of the pushes that the clip drops."
        if many
        else "",
    )


@claim("entropy-size")
def _size(run: Run) -> Finding | None:
    """An entropy per token is at most the log of the vocabulary's size."""
    x = logged_entropy(run)
    if x is None or not np.nanmedian(x) > 12.5:
        return None
    length = run.evidence("length")
    per_token = (
        f"; divided by {length.metric} it is {np.nanmedian(x) / length.value:.2g}" if length.rows and length.value > 0 else ""
    )
    return Finding(
        "entropy-size",
        ("summed",),
        "error",
        f"{run.name('entropy')} is {np.nanmedian(x):.3g} nats, above log V of any vocabulary: it is a sum over "
        f"tokens{per_token}.",
        (run.evidence("entropy"),),
        reason="log(270,000) = 12.5",
        change="Aggregate it as a mean over tokens before comparing runs or lengths: a longer response raises a sum and no "
        "entropy.",
    )
