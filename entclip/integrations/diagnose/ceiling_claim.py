"""How far a clip share is from the most that it can be. Claim T16.

A sign-gated share is half the mean probability of a ratio beyond a bound, over the updates of a rollout, of which the first has
none: at most (1 - 1/K)/2. A share over that bound is therefore the mean probability that a ratio of the other updates is
beyond a bound, and is said as such.
"""

from __future__ import annotations

import numpy as np

from entclip.integrations.diagnose.clip_claims import in_percent
from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Finding, claim
from entclip.integrations.diagnose.noise import ceiling
from entclip.integrations.diagnose.noise_sizes import MEASURES
from entclip.integrations.diagnose.run import Run

__all__: list[str] = []

_NEAR = 0.9  # of the ceiling
_CERTAIN = 3.0  # standard errors


def _percent(x: float) -> str:
    return f"{100 * x:.2g} %"


@claim("ceiling")
def _ceiling(run: Run) -> Finding | None:
    """Above, at, near, or so high that the share no longer tells the size of the noise."""
    gated = not run.has("clip_any")
    x = np.where(run.acting, run.shares, np.nan)
    if (
        in_percent(run) is not None
        or not np.isfinite(x).any()
        or run.ratio_to == "engine"
        or not run.counts_bounds
        or run.updates == 1
    ):
        return None
    most, (mean, error) = ceiling(run.updates, gated), run.averaged(x)
    if not 0 < mean <= 1 or mean < MEASURES * most:
        return None
    known = f"{run.updates} updates" if run.updates else "updates unknown"
    room = _CERTAIN * (error or 0)
    evidence = (
        Evidence("clip share, both sides", mean, error, rows=int(np.isfinite(x).sum())),
        Evidence("its ceiling", most),
        Evidence("ratios beyond a bound, of updates after the first", min(mean / most, 1.0)),
    )
    if mean > most + room:
        return Finding(
            "ceiling",
            ("above",),
            "warn",
            f"The share, {_percent(mean)}, is above the most that sign-gated events can have, {_percent(most)} ({known}): it "
            "counts something else, or the ratio is not 1 at the start of a rollout.",
            evidence,
            confidence="medium",
            reason="T16; advantages that go with the ratio, as on reused samples, raise it too",
        )
    if mean < _NEAR * most and mean + room < most:
        return Finding(
            "ceiling",
            ("high",),
            "info",
            f"The share, {_percent(mean)}, is {_percent(mean / most)} of the most that it can be, {_percent(most)} ({known}): "
            f"after the first update so many of the ratios are beyond a bound.{_usual(run)}",
            evidence,
            reason="(1 - 1/K)/2: the sign of A lets half of the events count, and the first update has none (T16)",
            change=_change(run),
        )
    return Finding(
        "ceiling",
        ("near",),
        "warn",
        f"The share, {_percent(mean)}, is {'near' if mean < most else 'at'} its ceiling of {_percent(most)} ({known}): nearly "
        "every ratio is beyond a bound, so it no longer measures anything and only the first update of a rollout is whole.",
        evidence,
        reason="(1 - 1/K)/2: the sign of A lets half of the events count, and the first update has none (T16)",
        change=_change(run),
    )


def _usual(run: Run) -> str:
    return " For ratios of whole sequences that is no fault by itself." if run.clipped == "sequences" else ""


def _change(run: Run) -> str:
    """What would lower it."""
    if run.clipped == "sequences":
        return (
            "If too little of a rollout is learnt from, widen both bounds or take smaller steps: the widths are small beside the "
            "spread of the sequences' ratios."
        )
    return (
        "Widths are small beside the log-ratio noise: widen both, or take smaller steps. Widths meant for sequences (3e-4) on "
        "token ratios look like this."
    )
