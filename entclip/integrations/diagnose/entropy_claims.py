"""Whether the run broke, where entropy went, how much of it the clip can have caused, whether differences of rows are read."""

from __future__ import annotations

import math

import numpy as np

from entclip.integrations.diagnose.bonus import bonus_of
from entclip.integrations.diagnose.bound import Most, course_per_token, most_of, moved
from entclip.integrations.diagnose.effect import Course, end_rows, logged_entropy, side_shares
from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Confidence, Finding, Level, claim
from entclip.integrations.diagnose.run import Run, mean_and_error, rounding
from entclip.integrations.diagnose.unread import unread
from entclip.report.numbers import plus_minus, rounded, signed

__all__: list[str] = []

_MUCH = 2.0  # times the entropy at the start, or nats above it: entropy that rises by more is worth a warning


def _level(label: str, course: Course, run: Run) -> Level:
    """A collapse is an error where actions are tokens; elsewhere an entropy of which no value is negative may be a density's."""
    if label == "collapses":
        return "error" if run.library.tokens else "warn"
    more = label == "rises" and not course.density and course.end > max(course.start * _MUCH, course.start + 1 / _MUCH)
    return "warn" if more or label == "returns" else "info"


@claim("broken")
def _broken(run: Run) -> Finding | None:
    """A number that updates make is none from some row on: what comes before it is the run, and what broke it the question."""
    if run.broken is None:
        return None
    name, line, rows = run.broken.name, run.broken.line, run.broken.rows
    stretch = f"in {rows} rows, to the last one" if rows > 1 else "in the last row"
    return Finding(
        "broken",
        ("no-number",),
        "error",
        f"The run broke: {name} is NaN, infinite or over 1e15 from {run.log.unit} {line} on, {stretch}. All that follows is "
        f"about the {run.log.rows} row{'s' if run.log.rows != 1 else ''} before.",
        (Evidence(f"{name}, last number", float(run.log.columns[name][-1]), first=line, last=line, rows=rows),),
        reason="a policy with such a number is lost, and nothing that is logged later is about a clip",
        change="Look at the rows just before: gradient norm, learning rate, log-probabilities of -inf (a mask, a padded token), "
        "and go back to a checkpoint before that.",
    )


@claim("entropy")
def _entropy(run: Run) -> Finding | None:
    """Up, down, or neither."""
    if not run.has("entropy"):
        named = next((alias.name for alias in run.library.aliases if alias.quantity == "entropy" and run.never(alias.name)), None)
        text = f"{named} has no number in any row" if named else unread(run, "entropy") or "The log has no entropy"
        return Finding("entropy", ("unlogged",), "info", f"{text}.", change="Log it, as a mean over tokens.")
    found = course_per_token(run)
    if found is None:
        return None
    label = moved(found)
    words = {
        "steady": "is steady",
        "returns": "is where it began, and was not in between",
        "unclear": "cannot be told from the scatter of the rows",
        "rises": "rises",
        "falls": "falls",
        "collapses": "collapses",
    }[label]
    between = f"{rounded(found.away, 3)} in between, " if label == "returns" else ""
    rows = "the rows" if run.broken is None else "these rows"
    estimate = _estimate(run)
    return Finding(
        "entropy",
        (label,),
        _level(label, found, run),
        f"Entropy {words}: {rounded(found.start, 3)} in the first fifth of {rows}, {between}{rounded(found.end, 3)} in the last "
        f"({signed(found.change)}{plus_minus(found.error)}).{estimate}",
        (run.evidence("entropy"),),
        "low" if label == "unclear" else "medium" if estimate or (label == "collapses" and not run.library.tokens) else "high",
        "scatter of the rows at both ends"
        + (
            ""
            if run.library.tokens or found.density
            else "; if actions are continuous this is a density's entropy, which has no half"
        ),
        "Look at the stretch in between: what happened there and what undid it." if between else "",
    )


def _estimate(run: Run) -> str:
    """What is said where the number is estimated from the sampled tokens alone; empty where it is an entropy."""
    if "sampled-entropy" in run.caveats("entropy"):
        return f" An estimate: {run.name('entropy')} is made of the sampled tokens, each weighed by its ratio to the engine."
    if "sampled-surprisal" not in run.caveats("entropy"):
        return ""
    x = run.get("kl_old")
    kl = float(np.nanmean(x)) if np.isfinite(x).any() else 0.0
    held = f", and it holds the KL of {rounded(kl)} to the old policy" if kl > 0 else ""
    return f" An estimate: {run.name('entropy')} is the mean of -log pi of the sampled tokens{held}."


@claim("cause")
def _cause(run: Run) -> Finding | None:
    """How much of the change the clip can have caused at most (T6), and what the rest must be."""
    found = course_per_token(run)
    if found is None:
        return None
    label, most, shares = moved(found), most_of(run), side_shares(run)
    if label in ("steady", "unclear", "returns"):
        return None
    if shares is not None and shares.total == 0 and run.of_first_updates is not None:
        return Finding(
            "cause",
            ("unbounded",),
            "info",
            "How much of it the clip did is not known: all rows are first updates of rollouts, which cannot clip. Besides what "
            f"the others did there is {_text(run, label)}.",
            confidence="low",
            reason="no row is of an update in which a clip can act",
        )
    if shares is not None and shares.total == 0 and run.rounded_away is not None:
        return Finding(
            "cause",
            ("unbounded",),
            "info",
            f"How much of it the clip did is not known: its shares are printed as {run.rounded_away[1]}. Besides the clip there "
            f"is {_text(run, label)}.",
            confidence="low",
            reason="a share that is rounded to 0 has no bound but half of its last digit",
        )
    if shares is not None and shares.total == 0:
        return Finding(
            "cause",
            ("not-the-clip", _rest(run, label)),
            "info",
            f"Not the clip: it never acted. What moved entropy is {_text(run, label)}.",
            reason="its share is 0 in every row",
        )
    if most is None:
        return Finding(
            "cause",
            ("unbounded",),
            "info",
            f"How much of it the clip did cannot be bounded from this log; besides the clip there is {_text(run, label)}.",
            confidence="low",
            reason="that takes clip shares and an entropy per token of a language model",
        )
    with_it = most.low if label == "rises" else most.high
    share = [x / abs(found.change) for x in with_it]
    size = "clip-too-small" if share[1] < 0.5 else "clip-part" if share[1] < 1 else "clip-could"
    labels = [size, "open" if size == "clip-could" else _rest(run, label)]
    side = "low" if label == "rises" else "high"
    sign = "+" if label == "rises" else "-"
    if size == "clip-could":
        text = (
            f"The {side} side can have caused all of the {signed(found.change)}, or none: its bound is "
            f"{_wide(most, share[0])}, so this log does not decide it. What else can have is {_text(run, label)}."
        )
    else:
        text = (
            f"Of the {signed(found.change)} the {side} side can have caused {sign if with_it[1] else ''}{with_it[1]:.2g} at most "
            f"({_percent(share[0])} to {_percent(share[1])} by the noise law{_and_updates(most)}); the rest is "
            f"{_text(run, label)}."
        )
    if label != "rises" and shares is not None and (shares.low or 0) > (shares.high or 0):
        labels.append("low-side-holds-up")
        up, further = "", "further, by how much this log does not bound"
        if most.tells("low", found.change):
            up, further = f" (by at most {most.low[1]:.2g})", f"by up to {most.low[1]:.2g} more"
        text = (
            f"Not the low side: clipping there holds entropy up{up}; a wider low bound (raising eps_low) would clip less, and "
            f"entropy would fall {further}. {text}"
        )
    if most.merged:
        labels.append("side-unknown")
        text += " The share is merged: each side gets all of it."
    confidence: Confidence = "low" if run.updates is None or (run.widths and run.widths.assumed) else "medium"
    return Finding(
        "cause",
        tuple(labels),
        "info",
        text,
        (
            *(
                Evidence(f"clip at the {each} bound, nats at most{_vacuous(most, each, found)}", value)
                for each, value in (("low", most.low[1]), ("high", -most.high[1]))
            ),
            Evidence("entropy change", found.change, found.error),
            *(() if most.rollouts is None else (Evidence("rollouts", most.rollouts),)),
        ),
        confidence,
        "T6 on SmolLM2's policy at your entropy, noise from flat in pi to pi^(-1/4) and two standard errors of the share, "
        "gaps positive as both laws have them; a "
        f"token's push at most its own random walk; {_span(most.updates)} updates per rollout, widths "
        f"from {run.widths.source if run.widths else '-'}; the other side's effect, of opposite sign, is not taken off",
    )


def _wide(most: Most, least: float) -> str:
    """Where a bound lies that may be above the change: from where to where, if another number of updates would decide."""
    if len(most.updates) == 1 or least >= 1:
        return "above that"
    return f"{_percent(least)} to over 100 % of that by the noise law{_and_updates(most)} (--config tells how many)"


def _and_updates(most: Most) -> str:
    """The numbers of updates that were taken where none is known."""
    return "" if len(most.updates) == 1 else f" and {_span(most.updates)} updates per rollout"


def _span(counts: tuple[int, ...]) -> str:
    return " to ".join(dict.fromkeys((str(counts[0]), str(counts[-1]))))


def _vacuous(most: Most, side: str, course: Course) -> str:
    if most.tells(side, course.change):
        return ""
    more = getattr(most, side)[1] > max(course.start, course.end)
    return f" ({'more than the entropy itself' if more else 'no less than the change'}: it decides nothing)"


def _percent(x: float) -> str:
    return f"{100 * x:.0f} %"


def _rest(run: Run, label: str) -> str:
    return "bonus" if label == "rises" and bonus_of(run) is not None else "covariance"


def _text(run: Run, label: str) -> str:
    """What moves entropy beside the clip, the likeliest first."""
    covariance = "the covariance of advantage and surprisal (T5's unclipped term: the reward's own doing)"
    if label == "rises":
        bonus = bonus_of(run)
        first = "" if bonus is None else f"the entropy bonus ({bonus.weight:g}), "
        return f"{first}{covariance} or the noise of the updates (curvature, T9)"
    rewards = run.get("reward")
    if np.isfinite(rewards).sum() >= 10:
        x = rewards[np.isfinite(rewards)]
        half = len(x) // 2
        (a, ea), (b, eb) = mean_and_error(x[:half]), mean_and_error(x[half:])
        if ea is not None and eb is not None and b - a > 3 * math.hypot(ea, eb):
            # Halves have the smaller errors; what is told is of the same fifths as entropy.
            ends = end_rows(len(x))
            return f"{covariance}, which fits a reward that rises ({rounded(x[:ends].mean())} to {rounded(x[-ends:].mean())})"
    return f"{covariance}, or curvature"


@claim("differences")
def _differences(run: Run) -> Finding | None:
    """Differences of rows are entropy changes of an update only where the rows are the same states."""
    if run.has("measured"):
        return Finding(
            "differences",
            ("measured",),
            "info",
            "Changes on the same states are logged: read those.",
            (run.evidence("measured"),),
        )
    x = logged_entropy(run)
    if x is None:
        return None
    same = _same_states(run)
    if same is None or not same.any():
        return Finding(
            "differences",
            ("refused",),
            "info",
            "Differences of consecutive rows are not read, as each row is another batch. A difference mixes the update with the "
            "change of batch: in a test with TRL 3 of 7 had the wrong sign.",
            reason="no two rows are known to be the same states",
            change="Evaluate the same states before and after a step (EntropyLedger), or log a batch number.",
        )
    steps = np.diff(x)[same]
    steps[np.abs(steps) <= rounding(x)] = 0.0
    mean, error = mean_and_error(steps)
    text = f"{signed(mean)}{plus_minus(error, 1)} per update"
    return Finding(
        "differences",
        ("read",),
        "info",
        f"{int(same.sum())} pairs of rows are the same states: entropy changes by {text}.",
        (Evidence("entropy change on the same states", mean, error, rows=int(np.isfinite(steps).sum())),),
        reason="one batch is used several times in a row",
    )


def _same_states(run: Run) -> np.ndarray | None:
    """Which differences of neighbouring rows are between the same states, (rows - 1,); None if unknown."""
    batch = run.get("batch")
    if np.isfinite(batch).all():
        same: np.ndarray = np.diff(batch) == 0
        return same
    if (
        run.config is None
        or run.library.passes is None
        or not run.by_update
        or run.config.library.name not in run.library.configs[:1]
    ):
        return None
    passes = run.library.passes(run.config.values)
    inner = run.inner
    if passes is None or passes < 2:
        return None
    place = inner if inner is not None else np.arange(run.log.rows) % passes
    after: np.ndarray = place[1:] % passes > 0
    return after
