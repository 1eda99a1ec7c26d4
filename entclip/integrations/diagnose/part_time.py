"""What is said of a clip that acts in a part of the run alone: where, and that its numbers are of that part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Finding
from entclip.integrations.diagnose.run import Run

__all__ = ["part_time"]


def part_time(run: Run, there: Finding) -> Finding:
    """Return the finding on the clip with where it holds, if that is not everywhere: a mean over both is true of neither."""
    if not run.stretches:
        return there
    lines, unit = run.log.lines, run.log.unit
    on: list[tuple[str, float]] = []
    off: list[tuple[str, float]] = []
    evidence = list(there.evidence)
    for each in run.stretches:
        shares, first, last = run.shares[each.first : each.last + 1], int(lines[each.first]), int(lines[each.last])
        count, mean = int(np.isfinite(shares).sum()), float(np.nanmean(shares))
        (on if each.acts else off).append((f"{first} to {last} ({count} rows)", mean))
        evidence.append(Evidence(f"clip share, {'acting' if each.acts else 'not'}", mean, None, first, last, count))
    most = max(mean for _, mean in off)
    does = "does nothing" if most == 0 else f"hardly does anything ({100 * most:.2g} %)"
    acting, idle = (" and ".join(text for text, _ in part) for part in (on, off))
    return replace(
        there,
        labels=(*there.labels, "part-time"),
        level="warn",
        answer=f"Not all the time: it acts in {unit}s {acting} and {does} in {idle}. Where it acts: {there.answer}",
        evidence=tuple(evidence),
        reason="; ".join(text for text in (there.reason, "numbers of the clip are of the rows where it acts") if text),
        change="Find what changed there: updates per rollout, how old the rollouts are, widths, a start with another "
        f"configuration. {there.change}".rstrip(),
    )
