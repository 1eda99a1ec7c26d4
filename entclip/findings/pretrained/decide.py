"""What pairs decide: means over pairs and contrasts with no clipping, with intervals, and how many pairs would decide each."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.findings.pretrained.parts import parts_of
from entclip.findings.pretrained.records import Key, Machine, Record, pairs_of, runs_of, signs_of

__all__ = ["contrast", "decide", "pairs_needed", "pooled", "quantile", "whole_pairs"]

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


def whole_pairs(experiment: Experiment, records: Mapping[Key, Record]) -> list[int]:
    """Return the pairs of which every arm, sign and rollout is there."""
    rollouts = range(experiment.update.rollouts)
    lacking = {run.pair for run in runs_of(experiment) for k in rollouts if Key(*run, k) not in records}
    return [pair for pair in range(pairs_of(experiment)) if pair not in lacking]


def decide(experiment: Experiment, records: Mapping[Key, Record]) -> dict[str, Any]:
    """Return every arm's change over the finished pairs, and its difference from no clipping pair by pair.

    Of accounted updates also the parts of the change; under a judged reward also the scores of the last rollout.
    """
    arms, signs, rollouts = [arm.name for arm in experiment.arm], signs_of(experiment), range(experiment.update.rollouts)
    pairs, base = whole_pairs(experiment, records), next((a.name for a in experiment.arm if a.objective == "none"), None)
    machines = sorted({" in ".join(Machine.of(record)) for record in records.values()})
    out: dict[str, Any] = {
        "experiment": experiment.name,
        "digest": experiment.digest,
        "machines": machines,
        "pairs": pairs,
        "arms": {},
    }

    def values(arm: str, name: str, chosen: Iterable[int] = rollouts) -> list[float]:
        """Return sums over rollouts, means over signs, pair by pair."""
        return [sum(records[Key(p, arm, m, k)][name] for m in signs for k in chosen) / len(signs) for p in pairs]

    def beyond(arm: str, name: str, chosen: Iterable[int] = rollouts) -> dict[str, Any] | None:
        """Return the difference from no clipping, pair by pair."""
        if base is None or arm == base:
            return None
        return contrast(np.subtract(values(arm, name, chosen), values(base, name, chosen)).tolist())

    for arm in arms if pairs else ():
        own = [records[Key(p, arm, m, k)] for p in pairs for m in signs for k in rollouts]
        tokens = _count(own, "count_plus") + _count(own, "count_minus")
        found: dict[str, Any] = {
            "measured": contrast(values(arm, "measured")),
            "minus_none": beyond(arm, "measured"),
            "tokens": tokens,
            **{f"clip_fraction_{side}": _count(own, f"clip_count_{side}") / tokens for side in ("low", "high")},
            "last": {name: float(np.mean([r["last"][name] for r in own])) for name in own[0]["last"]},
            "entropy_before": float(np.mean([r["entropy_before"] for r in own if r["rollout"] == 0])),
        }
        if experiment.rollout_rules.reward != "random":
            scores = [name for name in own[0] if name.startswith("pass_at_")]
            final = rollouts[-1:]
            found |= {
                name: {"last": contrast(values(arm, name, final)), "minus_none": beyond(arm, name, final)} for name in scores
            }
            found["by_rollout"] = {
                name: [float(np.mean(values(arm, name, [k]))) for k in rollouts] for name in ("entropy", *scores)
            }
        out["arms"][arm] = found | parts_of(own, len(pairs))
    if not signs_of(experiment)[1:]:
        out["alone"] = _alone(experiment, records, set(pairs))
    return out


def _alone(experiment: Experiment, records: Mapping[Key, Record], whole: set[int]) -> dict[str, dict[str, list[float]]]:
    """Return by arm, rollout by rollout, the first run that is done of a unit whose other arms are not: a look, no evidence."""
    found: dict[str, dict[str, list[float]]] = {}
    for run in runs_of(experiment):
        own = [records.get(Key(*run, k)) for k in range(experiment.update.rollouts)]
        done = [record for record in own if record is not None]
        if run.pair not in whole and run.arm not in found and len(done) == len(own):
            names = [name for name in done[0] if name.startswith("pass_at_")]
            found[run.arm] = {name: [record[name] for record in done] for name in ("entropy", *names)}
            found[run.arm]["entropy"].insert(0, done[0]["entropy_before"])
    return found


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
