"""How large the noise of log-ratios is, by clip shares and by KL; whether it has a bias; whether groups are flat."""

from __future__ import annotations

import math

import numpy as np

from entclip.integrations.diagnose.effect import ASSUMED_UPDATES, logged_entropy
from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Confidence, Finding, claim
from entclip.integrations.diagnose.noise_sizes import Comparison, by_kl, by_share, compared
from entclip.integrations.diagnose.run import Run

__all__: list[str] = []

_LARGE = 0.5  # rms: half of the tokens' probabilities change by a half in a rollout
_TELLS = 1.25  # bounds of a ratio that are no further than this from their middle tell sizes apart
_HARDLY = 2.0  # bounds further than this hardly do
_CERTAIN = 4.0  # standard errors
_FLAT = 0.5


@claim("noise")
def _noise(run: Run) -> Finding | None:
    """The rms of the log-ratio at the end of a rollout."""
    share, kl, direct = by_share(run), by_kl(run), run.evidence("log_ratio_rms")
    parts, labels = [], []
    guessed = run.widths is not None and run.widths.assumed
    if share is not None and run.widths is not None:
        guess = f", if the widths are {run.widths.low:g}" if guessed else ""
        parts.append(f"{share.rms:.2g} by the clip shares ({share.words}{guess})")
        labels.append("shares")
    if kl is not None:
        parts.append(f"{kl.rms:.2g} by {kl.words}")
        labels.append("kl")
    if direct.rows:
        parts.append(f"{direct.value:.2g} logged as {direct.metric}")
        labels.append("logged")
    if not parts:
        return None
    text = f"Log-ratio rms at the end of a rollout: {', '.join(parts)}."
    confidence: Confidence = "medium"
    reasons: list[str] = []
    if share is not None and kl is None and share.rms > _LARGE and guessed:
        text += " That is so large that the widths are hardly those (widths of a sequence's ratio are near 3e-4): give --config."
        confidence = "low"
    if share is not None and kl is not None:
        found = compared(run, share, kl)
        if found is None:
            text, confidence = f"{text} Whether they agree cannot be told: a mean has no error in so few rows.", "low"
        else:
            label, verdict, confidence = _verdict(found, guessed, run.updates is None)
            labels.append(label)
            text = f"{text} {verdict}"
            reasons.append(found.reason)
    sizes = "widths from " + run.widths.source if run.widths else "no widths of a ratio"
    count = f"{run.updates} updates per rollout" if run.updates else f"{ASSUMED_UPDATES} updates per rollout assumed"
    evidence = tuple(size.evidence for size in (share, kl) if size is not None)
    return Finding("noise", tuple(labels), "info", text, evidence, confidence, "; ".join([f"{sizes}, {count}", *reasons]))


def _verdict(found: Comparison, guessed: bool, counted: bool) -> tuple[str, str, Confidence]:
    """Label, sentence and confidence: wide bounds show little by being kept, and guessed widths little at all."""
    span = f"{found.low:.2g} to {found.high:.2g}"
    if found.agrees:
        confidence: Confidence = "high" if found.room < _TELLS else "medium" if found.room < _HARDLY else "low"
        confidence = "medium" if confidence == "high" and (guessed or counted) else confidence
        hardly = ", though bounds so wide show little" if confidence == "low" else ""
        return "agree", f"Their ratio of {found.ratio:.2g} is within {span}, as for one noise: they agree{hardly}.", confidence
    widths = ", or the widths are not those assumed" if guessed else ""
    why = (
        "more is clipped than this KL explains (a bias, or a KL of other updates than those that clip)"
        if found.ratio > found.high
        else "the KL holds more than learning (mismatch, staleness)"
    )
    outside = found.low / found.ratio if found.ratio < found.low else found.ratio / found.high
    confidence = "low" if guessed else "high" if outside > _TELLS and not counted else "medium"
    return "disagree", f"Their ratio of {found.ratio:.2g} is outside {span}, as for one noise: {why}{widths}.", confidence


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
