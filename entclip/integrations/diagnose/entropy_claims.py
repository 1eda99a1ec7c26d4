"""Where entropy went, how much of it the clip can have caused, whether differences of rows mean anything, and what to change."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from entclip.integrations.diagnose.effect import ASSUMED_UPDATES, Course, course, effects, logged_entropy, side_shares
from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Confidence, Finding, Level, claim
from entclip.integrations.diagnose.run import Run, mean_and_error
from entclip.integrations.lint.values import is_number

__all__: list[str] = []

_COLLAPSE = 0.5  # of the entropy at the start
_SMALL = 0.03  # of the entropy: a change that nobody asks about
_AWAY = 0.2  # of the entropy at the start: how far it must have been in between to have gone and returned
_TOKEN = 12.5  # nats: no entropy of one token is larger


@dataclass(frozen=True)
class Most:
    """What each side can have done over the whole log, nats, from the least to the most of the stated laws, each two standard
    errors of the logged share further out.

    The low side can only raise entropy by it, the high side lower it, where their gaps are positive (T6).
    """

    low: tuple[float, float]
    high: tuple[float, float]
    rollouts: float
    merged: bool


def _most(run: Run) -> Most | None:
    found, shares = effects(run), side_shares(run)
    if not found or shares is None:
        return None
    # Of a merged share either side may have all of it.
    merged = shares.low is None
    rollouts = run.rollouts if run.rollouts is not None else run.log.rows * run.stride / ASSUMED_UPDATES
    times = rollouts * (2 if merged else 1)
    low, high = ([getattr(effect, side) * times for effect in found] for side in ("low", "high"))
    wide = min(2 * (shares.error or 0.0) / shares.total, 1.0)
    ends = [(min(side) * (1 - wide), max(side) * (1 + wide)) for side in (low, high)]
    return Most(ends[0], ends[1], rollouts, merged)


def _moved(course: Course) -> str:
    size = max(abs(course.start), 1.0) if course.density else abs(course.start)
    small = _SMALL * size
    if abs(course.change) < small and course.error < 2 * small:
        gone = min(abs(course.away - course.start), abs(course.away - course.end))
        return "returns" if gone > max(_AWAY * size, 5 * course.error) else "steady"
    if not course.certain:
        return "unclear"
    if course.change > 0:
        return "rises"
    return "collapses" if not course.density and course.end < _COLLAPSE * course.start else "falls"


def _level(label: str, course: Course, run: Run) -> Level:
    """A collapse is an error where actions are tokens; elsewhere an entropy of which no value is negative may be a density's."""
    if label == "collapses":
        return "error" if run.library.tokens else "warn"
    more = label == "rises" and not course.density and course.end > max(course.start / _COLLAPSE, course.start + _COLLAPSE)
    return "warn" if more or label == "returns" else "info"


def _course(run: Run) -> Course | None:
    """The course of an entropy per token."""
    x = logged_entropy(run)
    if x is None or np.nanmedian(x) > _TOKEN:
        return None
    return course(run)


@claim("entropy")
def _entropy(run: Run) -> Finding | None:
    """Up, down, or neither."""
    if not run.has("entropy"):
        return Finding("entropy", ("unlogged",), "info", "The log has no entropy.", change="Log it, as a mean over tokens.")
    found = _course(run)
    if found is None:
        return None
    label = _moved(found)
    words = {
        "steady": "is steady",
        "returns": "is where it began, and was not in between",
        "unclear": "cannot be told from the scatter of the rows",
        "rises": "rises",
        "falls": "falls",
        "collapses": "collapses",
    }[label]
    between = f"{found.away:.3g} in between, " if label == "returns" else ""
    return Finding(
        "entropy",
        (label,),
        _level(label, found, run),
        f"Entropy {words}: {found.start:.3g} in the first fifth of the rows, {between}{found.end:.3g} in the last "
        f"({found.change:+.2g} +- {found.error:.2g}).",
        (run.evidence("entropy"),),
        "low" if label == "unclear" else "medium" if label == "collapses" and not run.library.tokens else "high",
        "scatter of the rows at both ends"
        + (
            ""
            if run.library.tokens or found.density
            else "; if actions are continuous this is a density's entropy, which has no half"
        ),
        "Look at the stretch in between: what happened there and what undid it." if between else "",
    )


@claim("cause")
def _cause(run: Run) -> Finding | None:
    """How much of the change the clip can have caused at most (T6), and what the rest must be."""
    found = _course(run)
    if found is None:
        return None
    label, most, shares = _moved(found), _most(run), side_shares(run)
    if label in ("steady", "unclear", "returns"):
        return None
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
            f"The {side} side can have caused all of the {found.change:+.2g}: its bound, {sign}{with_it[1]:.2g}, is larger. So "
            f"can {_text(run, label)}."
        )
    else:
        text = (
            f"Of the {found.change:+.2g} the {side} side can have caused {sign if with_it[1] else ''}{with_it[1]:.2g} at most "
            f"({_percent(share[0])} to {_percent(share[1])} by the noise law); the rest is {_text(run, label)}."
        )
    if label != "rises" and shares is not None and (shares.low or 0) > (shares.high or 0):
        labels.append("low-side-holds-up")
        largest = most.low[1]
        text = (
            f"Not the low side: clipping there holds entropy up (by at most {largest:.2g}); a wider low bound (raising "
            f"eps_low) would clip less, and entropy would fall by up to {largest:.2g} more. {text}"
        )
    if most.merged:
        labels.append("side-unknown")
        text += " The share is merged, so this gives each side all of it."
    confidence: Confidence = "low" if run.updates is None or (run.widths and run.widths.assumed) else "medium"
    return Finding(
        "cause",
        tuple(labels),
        "info",
        text,
        (
            Evidence("clip at the low bound, nats at most", most.low[1]),
            Evidence("clip at the high bound, nats at most", -most.high[1]),
            Evidence("entropy change", found.change, found.error),
            Evidence("rollouts", most.rollouts),
        ),
        confidence,
        "T6 on SmolLM2's policy at your entropy, noise from flat in pi to pi^(-1/4) and two standard errors of the share, "
        "gaps positive as both laws have them; a "
        f"token's push at most its own random walk; {run.updates or f'{ASSUMED_UPDATES} (assumed)'} updates per rollout, widths "
        f"from {run.widths.source if run.widths else '-'}; the other side's effect, of opposite sign, is not taken off",
    )


def _percent(x: float) -> str:
    return f"{100 * x:.0f} %"


def _bonus(run: Run) -> float:
    logged = run.get("entropy_coef")
    if np.isfinite(logged).any():
        return float(np.nanmean(logged))
    value = run.config.entropy_coef.value if run.config is not None else 0.0
    return float(value) if value is not None and is_number(value) else 0.0


def _rest(run: Run, label: str) -> str:
    return "bonus" if label == "rises" and _bonus(run) > 0 else "covariance"


def _text(run: Run, label: str) -> str:
    """What moves entropy beside the clip, the likeliest first."""
    covariance = "the covariance of advantage and surprisal (T5's unclipped term: the reward's own doing)"
    if label == "rises":
        bonus = f"the entropy bonus ({_bonus(run):g}), " if _bonus(run) > 0 else ""
        return f"{bonus}{covariance} or the noise of the updates (curvature, T9)"
    rewards = run.get("reward")
    if np.isfinite(rewards).sum() >= 10:
        x = rewards[np.isfinite(rewards)]
        half = len(x) // 2
        (a, ea), (b, eb) = mean_and_error(x[:half]), mean_and_error(x[half:])
        if ea is not None and eb is not None and b - a > 3 * math.hypot(ea, eb):
            return f"{covariance}, which fits a reward that rises ({a:.2g} to {b:.2g})"
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
            "Differences of consecutive rows are not read: rows are different batches, so a difference mixes the update with the "
            "change of batch (in a test with TRL 3 of 7 had the wrong sign).",
            reason="no two rows are known to be the same states",
            change="Evaluate the same states before and after a step (EntropyLedger), or log a batch number.",
        )
    steps = np.diff(x)[same]
    mean, error = mean_and_error(steps)
    text = f"{mean:+.2g}{f' +- {error:.1g}' if error is not None else ''} per update"
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


@claim("change")
def _change(run: Run) -> Finding | None:
    """What a change of a width would do, with the sign, the size and both readings."""
    shares, found = side_shares(run), _course(run)
    if shares is None or found is None or shares.total == 0 or run.ratio_to != "old":
        return None
    label, most = _moved(found), _most(run)
    if label in ("unclear", "returns"):
        return None
    if label == "steady":
        return Finding(
            "change", ("nothing",), "info", "Entropy is steady: nothing has to change.", confidence="medium", reason="no trend"
        )
    per = {side: getattr(most, side)[1] / most.rollouts for side in ("low", "high")} if most is not None else {}
    size = {side: f", by up to {x:.1g} nats a rollout" if x > 0 else "" for side, x in per.items()}
    if label == "rises":
        labels: tuple[str, ...] = ("lower-high", "raise-low")
        text = (
            "To hold entropy down: *lower* eps_high (more is clipped there, and clipping at the high bound lowers entropy), or "
            "*raise* "
            f"eps_low (less is clipped there, and clipping at the low bound raises entropy{size.get('low', '')})."
        )
    else:
        labels = ("raise-high", "lower-low")
        text = (
            f"To hold entropy up: *raise* eps_high (less is clipped there, and clipping at the high bound lowers entropy"
            f"{size.get('high', '')}), or *lower* eps_low (more is clipped there, and clipping at the low bound raises "
            f"entropy). Do not widen "
            "the low bound."
        )
    small = most is not None and (most.low if label == "rises" else most.high)[1] < 0.5 * abs(found.change)
    if small:
        labels = (*labels, "not-enough")
        text += " Widths alone cannot undo this change: it is mostly not the clip's."
    return Finding(
        "change",
        labels,
        "info",
        text,
        confidence="medium",
        reason="signs hold where the clipped tokens have above-average entropy value (positive gaps, T6), which a log cannot "
        "show",
    )
