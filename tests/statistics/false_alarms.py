"""How often do the statistical checks reject a right theory, or miss a wrong one? The suite at many fresh seeds.

    python -m tests.statistics.false_alarms --first 201 --seeds 200 --jobs 2 --out docs/data/false_alarms.json

None of the seeds is used by any test. Seeds 1 to 200 were spent on a first design, whose scores ignored skewness: one
false alarm in 39,200 scores. The file is written whole after each seed and a rerun does the seeds
that are missing; it refuses to mix seeds of different sources. Exit code 1 if a right theory was rejected or a wrong one missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tests.statistics.suite import Check, checks, rejected

LIMIT = 5.0
PARTS = ("unclipped", "clip_low", "clip_high", "other", "curvature")


# ------------------------------------------------------------------------------------------------------------------- running


def _sources() -> dict[str, str]:
    """What the scores depend on: digests of the suite and of the package's modules that it loads, and versions."""

    import_module("entclip.engines.tabular.sampled")  # the runner imports it when it needs it

    def digest(paths: list[Path]) -> str:
        return hashlib.sha256(b"".join(p.read_bytes() for p in sorted(paths))).hexdigest()[:12]

    return {
        "suite": digest([Path(__file__).with_name("suite.py")]),
        "package": digest([Path(str(m.__file__)) for name, m in sys.modules.items() if name.split(".")[0] == "entclip"]),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def _timed(seed: int) -> tuple[int, float, list[Check]]:
    start = time.perf_counter()
    found = checks(seed)
    return seed, time.perf_counter() - start, found


def _write(path: Path, record: dict[str, Any]) -> None:
    """Whole or not at all; one line per check and per seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scores = record["scores"]
    head = json.dumps({k: v for k, v in record.items() if k not in ("checks", "scores")}, indent=1)
    names = ",\n".join(f"  {json.dumps(check)}" for check in record["checks"])
    rows = ",\n".join(f'  "{seed}": {json.dumps(scores[seed], separators=(",", ":"))}' for seed in sorted(scores, key=int))
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f'{head[:-2]},\n "checks": [\n{names}\n ],\n "scores": {{\n{rows}\n }}\n}}\n')
    os.replace(temporary, path)


def _rounded(check: Check) -> float | None:
    """Three decimals of a score, one of a falsifier's; null for no number."""
    return round(check.z, 3 if check.kind == "agreement" else 1) if math.isfinite(check.z) else None


def _read(path: Path, sources: dict[str, str]) -> dict[str, Any]:
    if not path.exists():
        return {"sources": sources, "seconds": {}, "checks": [], "scores": {}}
    record: dict[str, Any] = json.loads(path.read_text())
    if record["sources"] != sources:
        sys.exit(
            f"{path} holds seeds of other sources ({record['sources']}, now {sources}): move it away or choose another --out."
        )
    return record


def measure(path: Path, seeds: range, jobs: int) -> dict[str, Any]:
    """Scores of the seeds, from the file as far as it has them."""
    record = _read(path, _sources())
    missing = [s for s in seeds if str(s) not in record["scores"]]
    # The arrays are small: threads inside a process only get in the way. Fresh processes read this before numpy loads.
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        for count, future in enumerate(as_completed([pool.submit(_timed, s) for s in missing]), 1):
            seed, seconds, found = future.result()
            names = [{"name": c.name, "kind": c.kind, "units": c.units} for c in found]
            record["checks"] = record["checks"] or names
            assert record["checks"] == names, f"seed {seed} ran other checks than the seeds before it"
            record["scores"][str(seed)] = [_rounded(c) for c in found]
            record["seconds"][str(seed)] = round(seconds, 2)
            _write(path, record)
            print(f"\r{count}/{len(missing)} seeds", end="", file=sys.stderr, flush=True)
    finally:
        pool.shutdown(cancel_futures=True)  # an error or an interrupt keeps what is written and drops what has not begun
    print(file=sys.stderr)
    return record


# ---------------------------------------------------------------------------------------------------------------- statistics


def _clustered(values: np.ndarray) -> tuple[float, float]:
    """Mean of (seeds, checks) and its standard error over seeds: the scores of one seed share samples."""
    by_seed = values.mean(axis=1)
    return float(by_seed.mean()), float(by_seed.std(ddof=1) / math.sqrt(len(by_seed)))


def _shape(z: np.ndarray) -> dict[str, Any]:
    """Moments and tails of (seeds, checks) against those of the standard normal."""
    mean, mean_se = _clustered(z)
    square, square_se = _clustered(z**2)
    skew, skew_se = _clustered(z**3)
    out: dict[str, Any] = {
        "checks": int(z.shape[1]),
        "scores": int(z.size),
        "mean": mean,
        "mean_se": mean_se,
        "mean_square": square,
        "mean_square_se": square_se,
        "third_moment": skew,
        "third_moment_se": skew_se,
        "max": float(np.abs(z).max()),
    }
    for limit in (2, 3, 4, 5):
        share, se = _clustered((np.abs(z) > limit).astype(float))
        expected = float(2 * stats.norm.sf(limit) * z.size)
        out[f"beyond_{limit}"] = {"observed": round(share * z.size), "se": se * z.size, "expected": expected}
    return out


def _each_check(z: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Is each check's score standard normal over seeds? Smallest p-values, each times the number of checks."""
    n = len(z)
    total = np.sum(z**2, axis=0)
    p = {
        "mean": 2 * stats.norm.sf(np.abs(z.mean(axis=0)) * math.sqrt(n)),
        "variance": np.minimum(1.0, 2 * np.minimum(stats.chi2.cdf(total, n), stats.chi2.sf(total, n))),
        "kolmogorov_smirnov": np.array([stats.kstest(column, "norm").pvalue for column in z.T]),
    }
    out: dict[str, Any] = {"checks": len(names)}
    for kind, values in p.items():
        order = np.argsort(values)[:5]
        out[kind] = {
            "below_0.05": int(np.sum(values < 0.05)),
            "below_0.01": int(np.sum(values < 0.01)),
            "smallest_times_checks": float(min(1.0, values.min() * len(names))),
            "worst": [
                {
                    "name": names[k],
                    "p": float(values[k]),
                    "mean": float(z[:, k].mean()),
                    "mean_square": float(np.mean(z[:, k] ** 2)),
                    "skewness": float(stats.skew(z[:, k])),
                }
                for k in order
            ],
        }
    return out


def summarise(record: dict[str, Any]) -> dict[str, Any]:
    """All numbers of the report from the scores."""
    seeds = sorted(record["scores"], key=int)
    z = np.array([record["scores"][s] for s in seeds], dtype=np.float64)  # null becomes NaN
    kinds = np.array([c["kind"] for c in record["checks"]])
    names = np.array([c["name"] for c in record["checks"]])
    agree, wrong = kinds == "agreement", kinds == "falsifier"
    verdicts = np.array([[rejected(Check(n, v, k, 0)) for n, v, k in zip(names, row, kinds, strict=True)] for row in z])
    seconds = list(record["seconds"].values())
    ours, theirs = z[:, agree], np.abs(z[:, wrong])
    alarms = [
        (str(names[k]), seeds[s], float(np.nan_to_num(z[s, k]))) for s, k in zip(*np.nonzero(verdicts & agree), strict=True)
    ]
    worst = np.unravel_index(np.nanargmax(np.abs(ours)), ours.shape)
    least = np.unravel_index(np.nanargmin(theirs), theirs.shape)
    out: dict[str, Any] = {
        "seeds": len(seeds),
        "seconds_per_seed": {"median": float(np.median(seconds)), "max": max(seconds)},
        "agreement": {
            "checks": int(agree.sum()),
            "scores": int(ours.size),
            "false_alarms": alarms,
            "expected": float(2 * stats.norm.sf(LIMIT) * ours.size),
            "max": {"z": float(ours[worst]), "name": str(names[agree][worst[1]]), "seed": seeds[worst[0]]},
        },
        "falsifiers": {
            "checks": int(wrong.sum()),
            "scores": int(theirs.size),
            "missed": int(np.sum(~verdicts[:, wrong])),
            "min": {"z": float(theirs[least]), "name": str(names[wrong][least[1]]), "seed": seeds[least[0]]},
            "least_mean": float(theirs.mean(axis=0).min()),
            "by_kind": {},
        },
    }
    last = np.array([n.split("/")[3] if n.count("/") == 4 else n.split("/")[-1] for n in names])
    for kind in sorted(set(last[wrong])):
        some = np.abs(z[:, wrong & (last == kind)])
        out["falsifiers"]["by_kind"][kind] = {"checks": some.shape[1], "min": float(some.min())}
    if np.isfinite(ours).all():
        out["all"] = _shape(ours)
        independent = np.array([n.startswith("independent/") for n in names])
        out["by_part"] = {p: _shape(z[:, m]) for p in PARTS if (m := agree & ~independent & (last == p)).any()}
        out["by_part"]["independent simulation"] = _shape(z[:, agree & independent])
        out["each_check"] = _each_check(ours, [str(n) for n in names[agree]])
    return out


# -------------------------------------------------------------------------------------------------------------------- report


def report(s: dict[str, Any]) -> str:
    a, f = s["agreement"], s["falsifiers"]
    lines = [
        f"{s['seeds']} seeds, {s['seconds_per_seed']['median']:.1f} s wall (median; max {s['seconds_per_seed']['max']:.1f} s)",
        f"agreement:  {a['checks']} checks a seed, {a['scores']} scores, {len(a['false_alarms'])} beyond 5 "
        f"(expected {a['expected']:.4f})",
        f"            largest |z| {abs(a['max']['z']):.2f} ({a['max']['name']}, seed {a['max']['seed']})",
        *(f"            ALARM {name}, seed {seed}: z = {z:.2f}" for name, seed, z in a["false_alarms"]),
        f"falsifiers: {f['checks']} checks a seed, {f['scores']} scores, {f['missed']} not rejected; smallest |z| "
        f"{f['min']['z']:.1f} ({f['min']['name']}, seed {f['min']['seed']}), smallest mean |z| {f['least_mean']:.1f}",
        *(f"            {kind:13s} {v['checks']:3d} checks, smallest |z| {v['min']:6.1f}" for kind, v in f["by_kind"].items()),
    ]
    if "all" not in s:
        return "\n".join(lines)
    lines += [
        "",
        f"{'scores':23s} {'number':>7s} {'mean':>15s} {'mean square':>15s} {'third moment':>15s}   beyond 2, 3, 4 (expected)",
    ]
    for name, x in {"all": s["all"], **s["by_part"]}.items():
        tails = ", ".join(f"{x[f'beyond_{k}']['observed']} ({x[f'beyond_{k}']['expected']:.1f})" for k in (2, 3, 4))
        moments = " ".join(f"{x[k]:+8.4f}({x[f'{k}_se']:.4f})" for k in ("mean", "mean_square", "third_moment"))
        lines.append(f"{name:23s} {x['scores']:7d} {moments}   {tails}")
    each = s["each_check"]
    lines += ["", f"each of {each['checks']} checks over seeds against the standard normal:"]
    for kind in ("mean", "variance", "kolmogorov_smirnov"):
        x = each[kind]
        lines.append(
            f"  {kind:19s} p < .05: {x['below_0.05']} (expected {0.05 * each['checks']:.1f}), p < .01: {x['below_0.01']} "
            f"({0.01 * each['checks']:.1f}), smallest p times checks {x['smallest_times_checks']:.3f}"
        )
        lines += [
            f"      {w['name']:46s} p {w['p']:.5f} mean {w['mean']:+.3f} square {w['mean_square']:.3f} skew {w['skewness']:+.2f}"
            for w in x["worst"][:3]
        ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.statistics.false_alarms", description=__doc__.split("\n")[0])
    parser.add_argument("--first", type=int, default=201, help="first seed")
    parser.add_argument("--seeds", type=int, default=200, help="number of seeds")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--out", type=Path, default=Path("docs/data/false_alarms.json"), help="scores and summary (JSON)")
    options = parser.parse_args()
    record = measure(options.out, range(options.first, options.first + options.seeds), options.jobs)
    record["summary"] = summarise(record)
    _write(options.out, record)
    print(report(record["summary"]))
    return int(bool(record["summary"]["agreement"]["false_alarms"]) or record["summary"]["falsifiers"]["missed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
