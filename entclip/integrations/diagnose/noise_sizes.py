"""How large the log-ratio's noise is by clip shares and by KL, and between which bounds their ratio lies if both have one noise.

The size is that of noise.py: rms of log(pi/pi_old) over the sampled tokens after the last update of a rollout. `diagnose` and
`predict --from --log` print what `by_share` finds here, with its bounds. For one and the same noise the two sizes differ by
four things, each stated here and none fitted to the log:

- the law of who moves: one normal law for a share m of the actions, m from 1 to 1/10, the others not moving. Of language
  models the law on SmolLM2's policy was off by up to 1.4 in the runs where both sizes were measured (docs/llm.md): that, too;
- the number of updates, where it is not known: from 2 (or the epochs that the log counts) to 64;
- the sampling errors of both means, two standard errors of each;
- a noise that changes over the log. The mean of shares weighs its noisiest rows most, the mean of KL does not: the size by
  shares is therefore the root mean square over stretches of rows.

Both estimates of KL are sigma^2/2 for noise with E[r] = 1. A bias b of the log-ratio adds -b to the mean of log(pi_old/pi) and
only b^2/2 to that of r - 1 - log r, which is therefore read where a log has both, and half the mean square before either: it
is sigma^2/2 by definition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from entclip.integrations.diagnose import noise
from entclip.integrations.diagnose.effect import (
    ASSUMED_UPDATES,
    effects,
    effects_at,
    pooled_shares,
    side_shares,
    update_counts,
)
from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.run import Run
from entclip.report.numbers import rounded

__all__ = [
    "DEFINITION",
    "LARGE",
    "MEASURES",
    "OFF_BY",
    "SIZE",
    "Comparison",
    "Size",
    "by_kl",
    "by_share",
    "compared",
    "widths_doubted",
]

SIZE = "Log-ratio rms at the end of a rollout"  # as diagnose and predict --from say it
DEFINITION = (
    "rms: root mean square of log(pi/pi_old) over the sampled tokens after the last of a rollout's K updates, sqrt(k/K) of it "
    "after k of them"
)
OFF_BY = 1.4  # of the law on SmolLM2's policy, in measured runs: tests/integrations/logs/test_noise.py
LARGE = 0.5  # rms: half of the tokens' probabilities change by a half in a rollout
_MOVING = (1.0, 0.5, 0.25, 0.1)  # of the actions
MEASURES = 0.6  # of its ceiling: a share beyond it tells nothing of the size
_ERRORS = 2.0
_STRETCHES = 20


@dataclass(frozen=True)
class Size:
    """rms of the log-ratio at the end of a rollout; error: relative standard error, None where there is none.

    source: what it is from; law: who is taken to move, empty where that does not matter. bounds: the least and the most by the
    laws of who moves, by the updates that a rollout may have, of which rms is that of 16 where they are not known, and two
    standard errors further out. overall: the most that the rms over all updates of a rollout is, where KL is taken.
    """

    rms: float
    error: float | None
    source: str
    law: str
    evidence: Evidence
    bounds: tuple[float, float]
    overall: float

    @property
    def told(self) -> str:
        """Return the size as text, with what it is from and its bounds."""
        low, high = (rounded(each) for each in self.bounds)
        between = f"{low} to {high}{', whoever moves' if self.law else ''}" if low != high else ""
        more = "; ".join(each for each in (self.law, between) if each)
        return f"{rounded(self.rms)} by {self.source}{f' ({more})' if more else ''}"


@dataclass(frozen=True)
class Comparison:
    """ratio: size by shares over size by KL; low, high: between which it lies for one noise; reason: what they consist of."""

    ratio: float
    low: float
    high: float
    reason: str

    @property
    def agrees(self) -> bool:
        return self.low <= self.ratio <= self.high

    @property
    def room(self) -> float:
        """Return the factor from the middle of the bounds to either."""
        return math.sqrt(self.high / self.low)


def by_share(run: Run) -> Size | None:
    """Return the rms that the shares imply: on the policy law at the logged entropy if there is one, else one law for all."""
    shares, widths = side_shares(run), run.widths
    if shares is None or widths is None or not 0 < shares.total < MEASURES * noise.ceiling(run.updates):
        return None
    found, updates = effects(run), run.updates or ASSUMED_UPDATES
    plain = _plain(run, shares.total, updates)
    sigma = found[0].sigma if found is not None else plain
    if sigma is None or plain is None:
        return None
    further = None if shares.error is None else _plain(run, shares.total + shares.error, updates)
    error = None if further is None else math.log(further / plain)
    law = "on SmolLM2's policy at your entropy" if found is not None else f"one normal law for all {run.actions}"
    law += f", if the widths are {widths.low:g}" if widths.assumed else ""
    evidence = Evidence("clip share, both sides", shares.total, shares.error, rows=shares.rows)
    uneven = _unevenness(run, plain, updates)
    sizes = {updates: sigma * uneven}
    for count in update_counts(run):
        laws = effects_at(run, count) if found is not None else None
        size = laws[0].sigma if laws is not None else _plain(run, shares.total, count)
        sizes |= {} if size is None else {count: size * uneven}
    overall = max(size * math.sqrt(_kl_share(run, count)) for count, size in sizes.items())
    others = [size / law for count, size in sizes.items() for law in _laws(run, shares.total, count)]
    return Size(sigma * uneven, error, "the clip shares", law, evidence, _bounds([*sizes.values(), *others], error), overall)


def _bounds(sizes: list[float], error: float | None) -> tuple[float, float]:
    """The least and the most of some sizes, two standard errors further out."""
    room = math.exp(_ERRORS * (error or 0.0))
    return min(sizes) / room, max(sizes) * room


def by_kl(run: Run) -> Size | None:
    """Return the rms that the mean KL to the old policy implies."""
    quantity = next((q for q in ("kl_old_k2", "kl_old_k3", "kl_old") if run.has(q)), None)
    if quantity is None:
        return None
    evidence, share = run.evidence(quantity, run.acting), _kl_share(run, run.updates or ASSUMED_UPDATES)
    if not evidence.value > 0 or not share > 0:
        return None
    error = None if evidence.error is None else evidence.error / (2 * evidence.value)
    sizes = [noise.from_kl(evidence.value) / math.sqrt(each) for n in update_counts(run) if (each := _kl_share(run, n)) > 0]
    size = noise.from_kl(evidence.value) / math.sqrt(share)
    return Size(size, error, evidence.metric, "", evidence, _bounds([size, *sizes], error), noise.from_kl(evidence.value))


def widths_doubted(run: Run) -> bool:
    """Tell whether the assumed widths make the noise so large that they are hardly the run's, where no KL says otherwise."""
    share = by_share(run)
    assumed = run.widths is not None and run.widths.assumed
    return assumed and share is not None and share.rms > LARGE and by_kl(run) is None


def compared(run: Run, share: Size, kl: Size) -> Comparison | None:
    """Compare the two sizes; None where a mean has no error, or the share is too large for any law."""
    shares = side_shares(run)
    if share.error is None or kl.error is None or shares is None:
        return None
    counts = _updates(run, shares.total)
    # Of each number of updates its own laws: where a share is near its ceiling they lie further apart.
    both = [(each * law, law) for count, each in counts.items() for law in _laws(run, shares.total, count)]
    if not both:
        return None
    laws = [law for _, law in both]
    spread = _ERRORS * math.hypot(share.error, kl.error)
    low, high = (pick(each for each, _ in both) * math.exp(sign * spread) for pick, sign in ((min, -1), (max, 1)))
    law = f"the law (x {min(laws):.3g} to {max(laws):.3g})"
    few, many = update_counts(run)[0], update_counts(run)[-1]
    unknown = f", {few} to {many} updates (x {min(counts.values()):.3g} to {max(counts.values()):.3g})" if len(counts) > 1 else ""
    errors = f"{_ERRORS:g} standard errors (x {math.exp(-spread):.3g} to {math.exp(spread):.3g})"
    return Comparison(share.rms / kl.rms, low, high, f"for one noise the ratio is 1 up to {law}{unknown} and {errors}")


def _plain(run: Run, total: float, updates: int, moving: float = 1.0) -> float | None:
    """rms if a share of the actions moves by one normal law and the others do not."""
    widths = run.widths
    assert widths is not None
    sigma = noise.sigma_of(total / moving, widths.low, widths.high, updates, run.ratio_to == "old")
    return None if sigma is None else sigma * math.sqrt(moving)


def _laws(run: Run, total: float, updates: int) -> list[float]:
    """The size by the law that is taken, over that by each of the others, in so many updates."""
    taken = _taken(run, total, updates)
    sizes = [_plain(run, total, updates, moving) for moving in _MOVING]
    if taken is None:
        return []
    policy = () if effects_at(run, updates) is None else (1 / OFF_BY, OFF_BY)
    return [*(taken / size for size in sizes if size is not None), *policy]


def _taken(run: Run, total: float, updates: int) -> float | None:
    """The size by the law that is taken, in so many updates."""
    found = effects_at(run, updates)
    return _plain(run, total, updates) if found is None else found[0].sigma


def _kl_share(run: Run, updates: int) -> float:
    """Mean square of the noise where KL is taken, over that at the end of a rollout."""
    # Metrics of the last minibatch or epoch have nearly the whole variance; means over a rollout have half of it.
    caveats = {c for alias, _ in run.present if alias.quantity in ("kl_old", "kl_old_k3", "kl_old_k2") for c in alias.caveats}
    if not caveats & {"last-minibatch", "last-epoch"}:
        return noise.mean_square_share(updates, run.ratio_to == "old")
    epochs = updates if "last-minibatch" in caveats else min(run.epochs or updates, updates)
    return 1 - (1 / epochs + 1 / updates) / 2


def _updates(run: Run, total: float) -> dict[int, float]:
    """What the ratio of the sizes is multiplied by when 16 updates are taken and others are true, by their number."""
    if run.updates is not None:
        return {run.updates: 1.0}

    def ratio(updates: int) -> float | None:
        size = _taken(run, total, updates)
        return None if size is None else size * math.sqrt(_kl_share(run, updates))

    usual = ratio(ASSUMED_UPDATES)
    found = {updates: ratio(updates) for updates in update_counts(run)}
    return {n: usual / each for n, each in found.items() if usual is not None and each is not None} or {ASSUMED_UPDATES: 1.0}


def _unevenness(run: Run, plain: float, updates: int) -> float:
    """Root mean square of the size over stretches of rows, over the size of the mean share; 1 where a stretch has no events."""
    pooled = pooled_shares(run)
    if pooled is None or len(pooled) < 2:
        return 1.0
    sizes = [_plain(run, float(part.mean()), updates) for part in np.array_split(pooled, min(_STRETCHES, len(pooled) // 2))]
    known = [size for size in sizes if size is not None]
    return math.sqrt(sum(size**2 for size in known) / len(known)) / plain if len(known) == len(sizes) else 1.0
