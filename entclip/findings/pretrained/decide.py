"""What pairs decide: means over pairs and contrasts with no clipping, with intervals, and how many pairs would decide each."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.findings.pretrained.parts import parts_of
from entclip.findings.pretrained.records import Key, Machine, Record, Run, pairs_of, runs_of, signs_of

__all__ = ["contrast", "decide", "pairs_needed", "pooled", "quantile", "reached", "whole_pairs"]

_LEVEL = 0.99
_MOST = 10_000  # pairs; beyond it nobody waits


def quantile(units: int) -> float:
    """Return half of the 99 % interval (Student's t) of a mean over so many units, in standard errors."""
    from scipy import stats

    return float(stats.t.ppf((1 + _LEVEL) / 2, units - 1))


def pairs_needed(mean: float, spread: float) -> int | None:
    """Return the fewest pairs whose 99 % interval (Student's t) would exclude 0, if mean and standard deviation of a pair are as
    measured; None for over ten thousand."""
    sizes = range(2, _MOST + 1)  # half of the interval falls with their number
    place = bisect_left(sizes, True, key=lambda n: quantile(n) * spread < abs(mean) * math.sqrt(n))
    return sizes[place] if place < len(sizes) else None


def contrast(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, standard error, half width of the 99 % interval and verdict of one number a pair."""
    x, n = np.asarray(values, dtype=float), len(values)
    out: dict[str, Any] = {"mean": float(x.mean()), "pairs": n, "values": x.tolist()}
    if n < 2:
        return out | {"se": None, "half_99": None, "verdict": "undecided", "pairs_needed": None}
    spread = float(x.std(ddof=1))
    half = quantile(n) * spread / math.sqrt(n)
    decided = abs(x.mean()) > half
    verdict = ("raises" if x.mean() > 0 else "lowers") if decided else "undecided"
    needed = pairs_needed(float(x.mean()), spread)
    return out | {"se": spread / math.sqrt(n), "half_99": half, "verdict": verdict, "pairs_needed": needed}


def whole_pairs(experiment: Experiment, records: Mapping[Key, Record], rollouts: int | None = None) -> list[int]:
    """Return the pairs of which every arm, sign and rollout is there; rollouts: how many of them, all without it."""
    lacking = {run.pair for run in runs_of(experiment) if _done(records, run) < (rollouts or experiment.update.rollouts)}
    return [pair for pair in range(pairs_of(experiment)) if pair not in lacking]


def _done(records: Mapping[Key, Record], run: Run) -> int:
    """Return how many rollouts of a run are there, up to the first that is not."""
    return next(k for k in itertools.count() if Key(*run, k) not in records)


def reached(experiment: Experiment, records: Mapping[Key, Record]) -> int:
    """Return the rollout that every run which was begun has reached; 0 if none was."""
    return min((done for run in runs_of(experiment) if (done := _done(records, run))), default=0)


def _units(experiment: Experiment, records: Mapping[Key, Record], rollouts: int) -> dict[str, list[int]]:
    """Return by arm the units that count: pairs of which everything is there, or each arm's own whole runs.

    An antithetic pair counts once all its arms are there, so that arms are compared over the same ones. Single runs under a
    judged reward cancel nothing between arms that a missing one would leave standing: each arm has an interval over its own.
    """
    if experiment.antithetic:
        return dict.fromkeys((arm.name for arm in experiment.arm), whole_pairs(experiment, records, rollouts))
    found: dict[str, list[int]] = {arm.name: [] for arm in experiment.arm}
    for run in runs_of(experiment):
        if _done(records, run) >= rollouts:
            found[run.arm].append(run.pair)
    return found


def decide(experiment: Experiment, records: Mapping[Key, Record], first: int | None = None) -> dict[str, Any]:
    """Return every arm's change over the finished pairs, and its difference from no clipping pair by pair.

    Of accounted updates also the parts of the change; under a judged reward also the scores of the last rollout, with the runs of
    each arm. first: of so many rollouts at the start, as if the experiment had no more; all without it.
    """
    signs, rollouts = signs_of(experiment), range(first or experiment.update.rollouts)
    units = _units(experiment, records, len(rollouts))
    base = next((a.name for a in experiment.arm if a.objective == "none"), None)
    machines = sorted({" in ".join(Machine.of(record)) for record in records.values()})
    out: dict[str, Any] = {
        "experiment": experiment.name,
        "digest": experiment.digest,
        "machines": machines,
        "pairs": whole_pairs(experiment, records, len(rollouts)),
        "arms": {},
    }

    def values(arm: str, name: str, chosen: Iterable[int], pairs: Iterable[int]) -> list[float]:
        """Return sums over rollouts, means over signs, pair by pair."""
        return [sum(records[Key(p, arm, m, k)][name] for m in signs for k in chosen) / len(signs) for p in pairs]

    def beyond(arm: str, name: str, chosen: Iterable[int] = rollouts) -> dict[str, Any] | None:
        """Return the difference from no clipping, pair by pair."""
        common = [] if base is None or arm == base else sorted({*units[arm]} & {*units[base]})
        if base is None or not common:
            return None
        return contrast(np.subtract(values(arm, name, chosen, common), values(base, name, chosen, common)).tolist())

    for arm, pairs in units.items():
        if not pairs:
            continue
        own = [records[Key(p, arm, m, k)] for p in pairs for m in signs for k in rollouts]
        tokens = _count(own, "count_plus") + _count(own, "count_minus")
        found: dict[str, Any] = {
            "measured": contrast(values(arm, "measured", rollouts, pairs)),
            "minus_none": beyond(arm, "measured"),
            "tokens": tokens,
            **{f"clip_fraction_{side}": _count(own, f"clip_count_{side}") / tokens for side in ("low", "high")},
            "last": {name: float(np.mean([r["last"][name] for r in own])) for name in own[0]["last"]},
            "entropy_before": float(np.mean([r["entropy_before"] for r in own if r["rollout"] == 0])),
        }
        if not experiment.antithetic:
            found["runs"] = pairs
            scores = [name for name in own[0] if name.startswith("pass_at_")]
            final = rollouts[-1:]
            found |= {
                name: {"last": contrast(values(arm, name, final, pairs)), "minus_none": beyond(arm, name, final)}
                for name in scores
            }
            found["by_rollout"] = {
                name: [float(np.mean(values(arm, name, [k], pairs))) for k in rollouts] for name in ("entropy", *scores)
            }
            found["minus_none_by_rollout"] = {
                "entropy": [_short(beyond(arm, "measured", range(k + 1))) for k in rollouts],
                **{name: [_short(beyond(arm, name, [k])) for k in rollouts] for name in scores},
            }
        out["arms"][arm] = found | parts_of(own, len(pairs))
    return out


def _short(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if found is None else {name: found[name] for name in ("mean", "half_99")}


def pooled(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two sets of pairs decide together, of experiments that differ in their random numbers alone.

    Pairs count once each, whichever set they are of; shares are those of all tokens together. What only accounted updates have is
    left out.
    """
    if not other["pairs"]:
        return dict(one)
    sets = (one, other)
    arms = {}
    for name in one["arms"]:
        found = [each["arms"][name] for each in sets]

        def both(of: str, found: list[Any] = found) -> dict[str, Any] | None:
            return None if found[0][of] is None else contrast([value for arm in found for value in arm[of]["values"]])

        def mean(values: Sequence[float], counts: Sequence[float]) -> float:
            return float(np.average(values, weights=counts))

        tokens, pairs = [arm["tokens"] for arm in found], [len(each["pairs"]) for each in sets]
        arms[name] = {
            "measured": both("measured"),
            "minus_none": both("minus_none"),
            "tokens": sum(tokens),
            **{key: mean([arm[key] for arm in found], tokens) for key in ("clip_fraction_low", "clip_fraction_high")},
            "last": {key: mean([arm["last"][key] for arm in found], pairs) for key in found[0]["last"]},
            "entropy_before": mean([arm["entropy_before"] for arm in found], pairs),
        }
    machines = sorted({*one["machines"], *other["machines"]})
    together = {"pairs": list(range(sum(len(each["pairs"]) for each in sets))), "planned": one["planned"] + other["planned"]}
    return {"experiment": one["experiment"], "digest": one["digest"], "machines": machines, **together, "arms": arms}


def _count(records: Sequence[Mapping[str, Any]], name: str) -> float:
    return math.fsum(step[name] for record in records for step in record["steps"])
