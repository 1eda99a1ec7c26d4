"""How large the noise of log-ratios is, by clip shares and by KL; whether groups are flat."""

from __future__ import annotations

import numpy as np

from entclip.integrations.diagnose.effect import logged_entropy, update_counts
from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Confidence, Finding, claim
from entclip.integrations.diagnose.noise_sizes import DEFINITION, SIZE, Comparison, by_kl, by_share, compared, widths_doubted
from entclip.integrations.diagnose.run import Run

__all__: list[str] = []

_TELLS = 1.25  # bounds of a ratio that are no further than this from their middle tell sizes apart
_HARDLY = 2.0  # bounds further than this hardly do
_FLAT = 0.5


@claim("noise")
def _noise(run: Run) -> Finding | None:
    """The rms of the log-ratio at the end of a rollout."""
    if run.of_first_updates is not None:
        return None
    share, kl, direct = by_share(run), by_kl(run), run.evidence("log_ratio_rms")
    parts, labels = [], []
    guessed = run.widths is not None and run.widths.assumed
    for size, label in ((share, "shares"), (kl, "kl")):
        if size is not None:
            parts.append(size.told)
            labels.append(label)
    if direct.rows:
        parts.append(f"{direct.value:.2g} logged as {direct.metric}")
        labels.append("logged")
    if not parts:
        return None
    counts = update_counts(run)
    known = f" of {counts[0]} to {counts[-1]} updates" if len(counts) > 1 and (share or kl) else ""
    text = f"{SIZE}{known}: {', '.join(parts)}."
    confidence: Confidence = "medium"
    reasons: list[str] = []
    own = run.evidence("kl_old")
    if kl is None and own.rows and own.value < 0:
        text += f" {own.metric} is not used: the mean of log(pi_old/pi) by it is {own.value:.2g}, and no KL is below 0."
    if widths_doubted(run):
        text += " That is so large that the widths are hardly those (widths of a sequence's ratio are near 3e-4): give --config."
        confidence = "low"
    if share is not None and kl is not None:
        found = compared(run, share, kl)
        if found is None:
            text, confidence = f"{text} Whether they agree cannot be told: a mean has no error in so few rows.", "low"
        else:
            label, verdict, confidence = _verdict(found, guessed, run.updates is None)
            if label == "disagree" and len(counts) > 1 and share.bounds[0] <= kl.bounds[1] and kl.bounds[0] <= share.bounds[1]:
                verdict += " The two ranges overlap, but for no one number of updates."
            labels.append(label)
            text = f"{text} {verdict}"
            reasons.append(f"{found.reason}; the size by KL rests on no law of who moves")
    if share is not None and (uses := _uses(run)) > 1:
        text += f" The size by shares may be far off: one batch is used {uses} times, so that each sample is pushed the same way "
        text += "again and again, and the law has pushes up and down alike."
        labels, confidence = [*labels, "one-batch"], "low"
    sizes = "widths from " + run.widths.source if run.widths else "no widths of a ratio"
    count = f"{' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))} updates per rollout"
    evidence = tuple(size.evidence for size in (share, kl) if size is not None)
    reasons = [DEFINITION, f"{sizes}, {count}", *reasons]
    return Finding("noise", tuple(labels), "info", text, evidence, confidence, "; ".join(reasons))


def _uses(run: Run) -> int:
    """How often the samples of one update come again in the next ones, by the configuration; 1 where it does not say."""
    if run.config is None or run.library.passes is None or run.config.library.name not in run.library.configs[:1]:
        return 1
    return run.library.passes(run.config.values) or 1


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
