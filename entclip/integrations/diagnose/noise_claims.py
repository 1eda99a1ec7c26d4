"""How large the noise of log-ratios is, by clip shares and by KL; whether it has a bias; whether groups are flat."""

from __future__ import annotations

import numpy as np

from entclip.integrations.diagnose.effect import logged_entropy, update_counts
from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Confidence, Finding, claim
from entclip.integrations.diagnose.noise_sizes import Comparison, by_kl, by_share, compared, widths_doubted
from entclip.integrations.diagnose.run import Run, mean_and_error

__all__: list[str] = []

_TELLS = 1.25  # bounds of a ratio that are no further than this from their middle tell sizes apart
_HARDLY = 2.0  # bounds further than this hardly do
_CERTAIN = 4.0  # standard errors
_BEYOND = 1.5  # of the KL: farther from 1 the mean ratio of samples that are trained on is not by training
_BELOW = 0.5  # of the KL: further below 0 the mean of log(pi_old/pi) of such samples is not by training
_FLAT = 0.5
_LEAST = 1e-3  # of a mean ratio from 1: below it nothing clips otherwise


@claim("noise")
def _noise(run: Run) -> Finding | None:
    """The rms of the log-ratio at the end of a rollout."""
    if run.of_first_updates is not None:
        return None
    share, kl, direct = by_share(run), by_kl(run), run.evidence("log_ratio_rms")
    parts, labels = [], []
    guessed = run.widths is not None and run.widths.assumed
    if share is not None and run.widths is not None:
        guess = f", if the widths are {run.widths.low:g}" if guessed else ""
        parts.append(f"{share.shown} by the clip shares ({share.words}{guess})")
        labels.append("shares")
    if kl is not None:
        parts.append(f"{kl.shown} by {kl.words}")
        labels.append("kl")
    if direct.rows:
        parts.append(f"{direct.value:.2g} logged as {direct.metric}")
        labels.append("logged")
    if not parts:
        return None
    counts = update_counts(run)
    spans = len(counts) > 1 and any(len(set(size.span)) > 1 for size in (share, kl) if size is not None)
    known = f" of {counts[0]} to {counts[-1]} updates" if spans else ""
    text = f"Log-ratio rms at the end of a rollout{known}: {', '.join(parts)}."
    confidence: Confidence = "medium"
    reasons: list[str] = []
    if widths_doubted(run):
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
    count = f"{' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))} updates per rollout"
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
    """A mean of the ratio that is not 1 on samples of the policy in it is no noise.

    E[r] = 1 holds for samples that no update has seen. Those of a rollout have been trained on from its second update: the part
    of log r that training put there has no mean of -sd^2/2, so that E[r] - 1 is up to about the KL, whatever its cause.
    """
    if run.has("ratio_mean") or run.has("ratio_mean_engine"):
        quantity = "ratio_mean" if run.has("ratio_mean") else "ratio_mean_engine"
        whose = " to the sampling engine" if quantity == "ratio_mean_engine" else ""
        return _of_ratio(run, quantity, run.get(quantity) - 1, f"The mean ratio{whose}")
    k1, k3 = run.get("kl_old"), run.get("kl_old_k3")
    if (np.isfinite(k1) & np.isfinite(k3)).any():
        # (r - 1 - log r) - (-log r) = r - 1.
        return _of_ratio(run, "kl_old", k3 - k1, "The mean ratio, from the two KL estimates,")
    if np.isfinite(k1).any():
        mean, error = run.averaged(k1)
        if error is not None and mean < -_CERTAIN * error and mean < -max(1e-4, _BELOW * _kl(run)):
            what = f"The mean log-ratio is {-mean:+.2g}: the mean of log(pi_old/pi) is {mean:.2g}, below 0, which no KL is"
            far = f"; of samples that are trained on it is about 0 or above, here below by over {_BELOW:g} times their KL"
            return _biased(run, "kl_old", -mean, what, far)
    return None


def _of_ratio(run: Run, quantity: str, excess: np.ndarray, name: str) -> Finding | None:
    """The finding for E[r] - 1 by row: of first updates where rows tell them apart, else beyond what training makes."""
    of_engine = quantity == "ratio_mean_engine"
    first = excess[run.inner == 0] if run.inner is not None and not of_engine else excess[:0]
    mean, error = mean_and_error(first)
    if error is not None and abs(mean) > max(_CERTAIN * error, _LEAST):
        return _biased(run, quantity, mean, f"{name} is {1 + mean:.4g} at the first update of a rollout and not 1")
    mean, error = run.averaged(excess)
    if error is not None and abs(mean) > max(_CERTAIN * error, _LEAST, 0.0 if of_engine else _BEYOND * _kl(run)):
        far = f"; of samples that are trained on it differs by about their KL, here by over {_BEYOND:g} times that"
        return _biased(run, quantity, mean, f"{name} is {1 + mean:.4g} and not 1", "" if of_engine else far)
    return None


def _kl(run: Run) -> float:
    """The KL to the old policy as far as the log tells it, half the mean square of the noise; 0 where nothing does."""
    k3, rms, share = run.get("kl_old_k3"), run.get("log_ratio_rms"), by_share(run)
    if np.isfinite(k3).any():
        return float(np.nanmean(k3))
    if np.isfinite(rms).any():
        return float(np.nanmean(rms**2)) / 2
    return 0.0 if share is None else share.rms**2 / 2


def _biased(run: Run, quantity: str, shift: float, what: str, far: str = "") -> Finding:
    label = "ratio-below-one" if shift < 0 else "ratio-above-one"
    consequence = (
        "the low side clips and the high side hardly does" if shift < 0 else "the high side clips more and the low side less"
    )
    return Finding(
        "bias",
        (label,),
        "warn",
        f"{what}. That is a bias and no noise; {consequence}.",
        (run.evidence(quantity),),
        "medium" if far else "high",
        f"E[r] = 1 for fresh samples of the policy in the ratio{far}; {_CAUSES}",
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
