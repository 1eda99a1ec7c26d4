"""Whether the mean log-ratio is a bias: farther from 0 than training on the same samples can make it.

E_{pi_old}[r] = 1 holds for samples that no update has seen. Those of a rollout have been trained on from its second update on.
Let x = log r of such a sample be c A k + n: A its advantage, k > 0 how far it moves per unit of advantage (the square of its
score's length, for a step of its own gradient), c the steps taken, n what the other samples did to it, independent of A. Then

    E[r] - 1   = E[x] + KL3,  KL3 = E[r - 1 - log r]          exactly
    E[e^n]     = 1,  E[n] = -sd_n^2/2 >= -KL3                 as n is the noise of fresh samples
    E[c A k]   = c M (k+ - k-)                                M = E[A+] = E[A-], as advantages have mean 0, and k+, k- the means
                                                              of k weighed with A+ and with A-
    E[(cAk)^2] >= (E|c A k|)^2 = (c M (k+ + k-))^2            Jensen

so that |E[c A k]| <= rms |k+ - k-| / (k+ + k-) <= rms (f - 1)/(f + 1) where the moves of good and of bad samples differ by a
factor of at most f. With f = 2, which is the one thing that is assumed,

    -rms/3 - KL3 <= E[log r] <= rms/3,      -rms/3 <= E[r] - 1 <= rms/3 + KL3.

What lies outside is no training. rms^2 = 2 KL3 up to a third of the third moment.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from entclip.integrations.diagnose.engine_bias import CERTAIN, LEAST, of_engine
from entclip.integrations.diagnose.finding import Confidence, Finding, claim
from entclip.integrations.diagnose.noise_sizes import by_share
from entclip.integrations.diagnose.run import Run, mean_and_error

__all__ = ["FACTOR", "by_training"]

FACTOR = 2.0  # between how far good and bad samples move per unit of advantage

_CAUSES = (
    "below 0: truncated sampling (the ratio starts at the kept mass S), a higher sampling temperature or an older sampler; "
    "above 0: the sampler is less sure than the trainer thinks (precision, engine mismatch)"
)


def by_training(rms: float, kl: float, factor: float = FACTOR) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return between what E[log r] and E[r] - 1 of samples lie that were trained on, by the rms of log r and E[r - 1 - log r].

    factor: between how far samples of positive and of negative advantage move per unit of advantage.
    """
    most = rms * (factor - 1) / (factor + 1)
    return (-most - kl, most), (-most, most + kl)


@claim("bias")
def _bias(run: Run) -> Finding | None:
    """A mean of the ratio that is not 1, or of log(pi_old/pi) that is below 0, and that training does not make."""
    own, engine = _of_own_policy(run), of_engine(run)
    if own is None or engine is None:
        return own or engine
    first, second = (own, engine) if own.level == "warn" or engine.level == "info" else (engine, own)
    return replace(
        first,
        labels=tuple(dict.fromkeys((*first.labels, *second.labels))),
        answer=f"{first.answer} {second.answer}",
        evidence=(*first.evidence, *second.evidence),
        reason=f"{first.reason}; {second.reason}",
    )


def _of_own_policy(run: Run) -> Finding | None:
    """The ratio to the trainer's own policy at the start of a rollout."""
    if run.has("ratio_mean"):
        return _of_ratio(run, "ratio_mean", run.get("ratio_mean") - 1, "The mean ratio")
    k1, k3 = run.get("kl_old"), run.get("kl_old_k3")
    if (np.isfinite(k1) & np.isfinite(k3)).any():
        # (r - 1 - log r) - (-log r) = r - 1.
        return _of_ratio(run, "kl_old", k3 - k1, "The mean ratio, from the two KL estimates,")
    if np.isfinite(k1).any():
        mean, error = run.averaged(-k1)
        rms, kl = _size(run)
        if error is not None and mean > max(CERTAIN * error, LEAST / 10):
            what = f"The mean log-ratio is {mean:+.2g}: the mean of log(pi_old/pi) is {-mean:.2g}, below 0, which no KL is"
            return _biased(run, "kl_old", mean, what, _beyond(mean, rms, kl), made=mean <= by_training(rms, kl)[0][1])
    return None


def _of_ratio(run: Run, quantity: str, excess: np.ndarray, name: str) -> Finding | None:
    """The finding for E[r] - 1 by row: of first updates where rows tell them apart, else beyond what training makes."""
    first = excess[run.inner == 0] if run.inner is not None else excess[:0]
    mean, error = mean_and_error(first)
    if error is not None and abs(mean) > max(CERTAIN * error, LEAST):
        return _biased(run, quantity, mean, f"{name} is {1 + mean:.4g} at the first update of a rollout and not 1")
    mean, error = run.averaged(excess)
    if error is None or abs(mean) <= max(CERTAIN * error, LEAST):
        return None
    what = f"{name} is {1 + mean:.4g} and not 1"
    rms, kl = _size(run)
    low, high = by_training(rms, kl)[1]
    # Training that moves good and bad samples alike stays within 0 and the KL.
    if 0 <= mean <= kl:
        return None
    return _biased(run, quantity, mean, what, _beyond(mean, rms, kl), made=low <= mean <= high)


def _size(run: Run) -> tuple[float, float]:
    """The rms of log r and E[r - 1 - log r] as far as the log tells them; 0 where nothing does."""
    k3, rms, share = run.get("kl_old_k3"), run.get("log_ratio_rms"), by_share(run)
    k3 = k3 if np.isfinite(k3).any() else run.get("kl_old_k2")
    if np.isfinite(k3).any():
        kl = max(float(np.nanmean(k3)), 0.0)
    elif np.isfinite(rms).any():
        kl = float(np.nanmean(rms**2)) / 2
    else:
        kl = 0.0 if share is None else share.overall**2 / 2
    return math.sqrt(2 * kl), kl


def _beyond(shift: float, rms: float, kl: float) -> str:
    """What training can have made of it."""
    most = (FACTOR + 1) / (FACTOR - 1)
    if rms == 0:
        return (
            f"; training on the samples makes that where log-ratios have an rms of {most * abs(shift):.2g} or more, which "
            "nothing in this log tells"
        )
    return (
        f"; training on the samples makes at most {rms / most + max(math.copysign(kl, shift), 0.0):.2g} of it, at an rms of "
        f"{rms:.2g} and where good and bad samples move alike up to a factor of {FACTOR:g}"
    )


def _biased(run: Run, quantity: str, shift: float, what: str, far: str = "", *, made: bool = False) -> Finding:
    """The finding; made: whether training on the samples can have made it, so that nothing is told."""
    label = "ratio-below-one" if shift < 0 else "ratio-above-one"
    if made:
        return Finding(
            "bias",
            (label, "or-training"),
            "info",
            f"{what}. Training on these samples can have made that, where good ones move farther than bad ones or the reverse; "
            "so can a bias, and this log does not tell which.",
            (run.evidence(quantity),),
            "low",
            f"E[r] = 1 for fresh samples of the policy in the ratio{far}",
            "Log the mean ratio of the first update of a rollout by itself: there it is 1 unless there is a bias.",
        )
    consequence = (
        "the low side clips and the high side hardly does" if shift < 0 else "the high side clips more and the low side less"
    )
    unknown = "nothing in this log tells" in far
    confidence: Confidence = "low" if unknown else "medium" if far else "high"
    unless = " unless training made it" if unknown else ""
    return Finding(
        "bias",
        (label,),
        "warn",
        f"{what}. That is a bias and no noise{unless}; {consequence}.",
        (run.evidence(quantity),),
        confidence,
        f"E[r] = 1 for fresh samples of the policy in the ratio{far}; {_CAUSES}",
        "Find the cause before touching a width: a ratio that is low for every token makes the low side clip and raise entropy, "
        "one that is high makes the high side clip and lower it, and neither is learning.",
    )
