"""What is said of a clip share that is another one in another part of the run: a mean over all of it is true of no part."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Finding
from entclip.integrations.diagnose.run import Run

__all__ = ["changing"]

_PARTS = ((24, 4), (12, 2))  # numbers that make so many parts, of six each at least
_FACTOR = 2.0  # between two parts: by less a mean is off by half of it at most
_CERTAIN = 5.0  # standard errors, of the largest of six differences
_OF_SIDES = {"clip_low": "the low side", "clip_high": "the high side"}


@dataclass(frozen=True)
class _Part:
    mean: float
    error: float
    first: int
    last: int
    rows: int


def changing(run: Run, there: Finding) -> Finding:
    """Return the finding on the clip with the parts between which a share changes by a factor of two, if there are such."""
    if run.stretches:  # on and off is said already
        return there
    told = [(words, found) for words, x in _shares(run) if (found := _apart(run, x)) is not None]
    if not told:
        return there
    unit = run.log.unit
    texts, evidence = [], list(there.evidence)
    for words, (first, second) in told:
        shares = [f"{100 * part.mean:.2g} % in {unit}s {part.first} to {part.last}" for part in (first, second)]
        texts.append(f"{words}{' ' if words else ''}{shares[0]}, {shares[1]}")
        name = f"clip share{f', {words}' if words else ''}"
        evidence += [Evidence(name, part.mean, part.error, part.first, part.last, part.rows) for part in (first, second)]
    return replace(
        there,
        labels=(*there.labels, "changing"),
        answer=f"{there.answer} Not the same throughout: {'; '.join(texts)}. Numbers of the clip are means over all of it.",
        evidence=tuple(evidence),
    )


def _shares(run: Run) -> Iterator[tuple[str, np.ndarray]]:
    """Shares by row: of each side where the log has both, else of all events."""
    if all(run.has(side) for side in _OF_SIDES):
        yield from ((words, run.get(side)) for side, words in _OF_SIDES.items())
    else:
        yield "", run.shares


def _apart(run: Run, x: np.ndarray) -> tuple[_Part, _Part] | None:
    """The parts with the smallest and the largest share, the earlier first, if they are a factor apart and that is no scatter."""
    numbers, lines = _by_rollout(run, x)
    count = next((parts for least, parts in _PARTS if len(numbers) >= least), 0)
    if not count:
        return None
    parts = [
        _Part(float(y.mean()), float(y.std(ddof=1)) / math.sqrt(len(y)), int(at[:, 0].min()), int(at[:, 1].max()), len(y))
        for y, at in zip(np.array_split(numbers, count), np.array_split(lines, count), strict=True)
    ]
    least, most = min(parts, key=lambda part: part.mean), max(parts, key=lambda part: part.mean)
    apart = most.mean > _FACTOR * least.mean and most.mean - least.mean > _CERTAIN * math.hypot(least.error, most.error)
    if not apart:
        return None
    return (least, most) if least.first < most.first else (most, least)


def _by_rollout(run: Run, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over whole rollouts where rows are updates of one, else the rows that have a number; and lines from and to."""
    inner = run.inner
    if inner is None:
        known = np.isfinite(x)
        return x[known], np.stack([run.log.lines[known]] * 2, axis=1)
    places, rollout = int(inner.max()) + 1, np.cumsum(inner == 0)
    whole = np.flatnonzero(np.bincount(rollout, np.isfinite(x)) == places)
    means = run.rollout_means(x)
    bounds = [run.log.lines[rollout == each][[0, -1]] for each in whole]
    return means, np.array(bounds).reshape(-1, 2)
