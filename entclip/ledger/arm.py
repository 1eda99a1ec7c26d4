"""The ledger: causes + curvature + remainder = measured, checked on every append, kept as tidy rows with standard errors.

One row per (case, arm, update) holds weighted means over units; summaries per rollout and per run hold sums with standard
errors over independent units (context x replica; antithetic partners count as one unit). Identities, an error if one fails:

(a) measured adds up to entropy after minus entropy before, over the steps of a rollout;
(b) the realised causes add up to <grad H, total step>;
(c) |remainder| <= (largest third derivative of H along the path)/6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.ledger.cancelling import MARK, joined
from entclip.ledger.columns import (
    EXPECTED,
    MEANS,
    OPTIONAL_CAUSES,
    OPTIONAL_MEANS,
    PARTS,
    SCHEMA_VERSION,
    SUMMED,
    UNSPLIT,
    causes_in,
    check_entry,
    column_named,
)
from entclip.ledger.entry import Entry, Units
from entclip.support.means import weighted_mean

__all__ = ["ArmLedger", "IdentityError", "standard_error"]


_ADDED = (*SUMMED, *OPTIONAL_CAUSES)
_ROUNDING = 1e-12  # what rounding leaves of entropies that are summed in float64


class IdentityError(RuntimeError):
    """The books do not balance: a defect in an engine or a formula, never a matter of sampling."""


def standard_error(values: np.ndarray, pair: bool) -> float | None:
    """Return the standard error of the mean over independent units (U,); antithetic pairs (first and second half) are averaged
    first."""
    return _standard_errors(values[None], pair)[0]


def _independent(values: np.ndarray, pair: bool) -> np.ndarray:
    """(K, U) to the values of independent units: antithetic partners are averaged."""
    if not pair:
        return values
    half = values.shape[1] // 2
    return (values[:, :half] + values[:, half:]) / 2


def _skewness(values: np.ndarray, pair: bool) -> float | None:
    """Third standardised moment over independent units (U,): how far from normal a mean of them can be."""
    unit = _independent(values[None], pair)[0]
    centred = unit - unit.mean()
    scale = float(np.max(np.abs(centred)))
    if len(unit) < 3 or scale == 0:
        return None
    centred /= scale  # powers of residuals of the size of rounding would underflow
    return float(np.mean(centred**3)) / float(np.mean(centred**2)) ** 1.5


def _standard_errors(values: np.ndarray, pair: bool) -> list[float | None]:
    """`standard_error` of each row of (K, U): one reduction for all columns of an update."""
    values = _independent(values, pair)
    n = values.shape[1]
    if n < 2:
        return [None] * len(values)
    out: list[float | None] = (np.std(values, axis=1, ddof=1) / math.sqrt(n)).tolist()
    return out


def _independent_units(values: np.ndarray, state: Units) -> np.ndarray:
    """(K, U) to what can be taken as independent: units, or means over the contexts of each replica that shares parameters."""
    return values.reshape(len(values), int(state.replica.max()) + 1, -1).mean(axis=2) if state.shared else values


def _check(entry: Entry, rounding: np.ndarray) -> None:
    c = entry.columns
    bad = [name for name, finite in zip(c, np.isfinite(np.stack(list(c.values()))).all(axis=1), strict=True) if not finite]
    if bad:
        raise IdentityError(f"column {bad[0]} holds NaN or infinity at rollout {entry.rollout}, inner step {entry.inner_step}.")
    gap = np.abs(sum(c[p] for p in causes_in(c)) - c["_inner"])
    if np.any(gap > rounding):
        raise IdentityError(
            f"causes do not add up to <grad H, step>: off by {gap.max():.3g} nats at inner step {entry.inner_step}."
        )
    if "_bound" not in c:  # steps that are not logit steps have no third derivative that could bound the remainder
        return
    excess = np.abs(c["remainder"]) - c["_bound"]
    if np.any(excess > 0):
        raise IdentityError(
            f"the remainder exceeds the third-order bound by {excess.max():.3g} nats at inner step {entry.inner_step}."
        )


def _by_context(entry: Entry) -> list[dict[str, Any]]:
    """One row per unit; of an engine that lists outcomes one per context: the mean over its branches, or the largest."""
    names = [name for name in entry.columns if not name.startswith("_")]
    table = np.stack([entry.columns[name] for name in names])
    if entry.drawn:
        places = [{"replica": int(r), "context": int(c)} for r, c in zip(entry.replica, entry.context, strict=True)]
        return [place | dict(zip(names, own, strict=True)) for place, own in zip(places, table.T.tolist(), strict=True)]
    rows = []
    for context in np.unique(entry.context):
        own = entry.context == context
        values = weighted_mean(table[:, own], entry.weight[own])
        largest = {n: float(x.max()) for n, x in zip(names, table[:, own], strict=True) if column_named(n).units == "max"}
        rows.append({"replica": 0, "context": int(context)} | dict(zip(names, values.tolist(), strict=True)) | largest)
    return rows


class ArmLedger:
    """Rows and running totals of one arm. gaps: any update may turn out to have no row."""

    def __init__(self, case: str, arm: str, experiment: Experiment, *, gaps: bool = False) -> None:
        self.case, self.arm, self.experiment, self.gaps = case, arm, experiment, gaps
        self.rows: list[dict[str, Any]] = []
        self.details: list[dict[str, Any]] = []
        self.summaries: list[dict[str, Any]] = []
        self.totals: dict[str, np.ndarray] = {}
        self.rollout_totals: dict[str, np.ndarray] = {}
        self.entropy_start: float | None = None
        self.entropy_end = math.nan
        self.skipped = 0
        self._rollout_skipped = 0
        self.drawn = 0  # units with samples of their own, where contexts share parameters more than are independent
        self._entropy_expected: float | None = None
        self.memory: dict[str, float] = {}  # what the arm's controller remembers after the last whole rollout

    def append(self, entry: Entry, state: Units) -> None:
        """Check the identities of one update and add it to the books; ValueError for a column that the table does not have."""
        c = entry.columns
        check_entry(c)
        terms = 1 + c["entropy_before"] + sum(np.abs(c[p]) for p in causes_in(c)) + c["_scale"]
        rounding = 256 * entry.precision * terms
        _check(entry, rounding)

        def mean(x: np.ndarray) -> float:
            return float(weighted_mean(x, entry.weight))

        before, after = mean(c["entropy_before"]), mean(c["entropy"])
        if self._entropy_expected is not None and abs(before - self._entropy_expected) > float(rounding.max()):
            raise IdentityError(
                f"entropy before inner step {entry.inner_step} is {before!r}, after the step before it was "
                f"{self._entropy_expected!r}: measured changes do not add up."
            )
        self._entropy_expected, self.entropy_end = after, after
        if self.entropy_start is None:
            self.entropy_start = before
        names = [n for n in (*_ADDED, *EXPECTED) if n in c]
        row: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "case": self.case,
            "arm": self.arm,
            "seed": self.experiment.seed,
            "rollout": entry.rollout,
            "step": len(self.rows) + self.skipped,
            "inner_step": entry.inner_step,
        }
        kept = [*names, *MEANS, *(n for n in OPTIONAL_MEANS if n in c)]
        row |= dict(zip(kept, weighted_mean(np.stack([c[n] for n in kept]), entry.weight).tolist(), strict=True))
        row |= {n: None for n in UNSPLIT if n not in c}  # not 0: the optimiser's step has no parts
        if entry.drawn:
            parts = {f"{n}_se": c[n] for n in _ADDED if n in c}
            parts |= {f"residual_{n}_se": c[n] - c[f"expected_{n}"] for n in PARTS if f"expected_{n}" in c}
            values = _independent_units(np.stack(list(parts.values())) * state.context_weight, state)
            row |= dict(zip(parts, _standard_errors(values, self.experiment.antithetic), strict=True))
        row |= {"entropy_before": before, "entropy": after, "ratio_max": float(c["ratio_max"].max()), "samples": entry.samples}
        row["measured_median"] = float(np.median(c["measured"]))
        row |= _derived(row)
        self.rows.append(row)
        self._add_totals(entry, state, names)
        if self.experiment.ledger.detail == "context":
            keys = {k: row[k] for k in ("schema_version", "case", "arm", "seed", "rollout", "step", "inner_step")}
            self.details += [keys | own for own in _by_context(entry)]

    def skip(self) -> None:
        """Take an update that was not accounted: entropy moved, and no row says how."""
        self.skipped += 1
        self._rollout_skipped += 1
        self._entropy_expected = None

    def _add_totals(self, entry: Entry, state: Units, names: list[str]) -> None:
        if entry.drawn:
            self.drawn = len(entry.weight)
            columns = joined(entry.columns)
            if columns is not entry.columns:
                names = [*names, *(n for n in _ADDED if n in columns and n not in names)]
            values = _independent_units(np.stack([columns[n] for n in names]) * state.context_weight, state)
            for name, value in zip(names, values, strict=True):
                for totals in (self.totals, self.rollout_totals):
                    totals[name] = totals.get(name, 0.0) + value
            if "_rare_variance" in entry.columns:
                self.totals["_rare_variance"] = (
                    self.totals.get("_rare_variance", 0.0) + entry.columns["_rare_variance"] * state.context_weight**2
                )

    def end_rollout(self, state: Units, start: Mapping[str, np.ndarray], end: Mapping[str, np.ndarray]) -> None:
        """Close a rollout: sums, collapses, and for sequences their entropy and its part from visiting prefixes differently.

        start, end: what the engine observed, (U,); branches of the exact engine may differ in number.
        """
        index, length = state.rollout, state.length
        rows = [r for r in self.rows if r["rollout"] == index]
        summary: dict[str, Any] = {k: self.rows[0][k] for k in ("schema_version", "case", "arm", "seed")} | {"rollout": index}
        if self._sparse:
            summary |= self._observed(state, rows, start["entropy"], end["entropy"])
        else:
            summary |= {"entropy_before": rows[0]["entropy_before"], "entropy": rows[-1]["entropy"]}
        summary |= self._sums(rows, self.rollout_totals, summary.get("unaccounted")) | {"collapses": None}
        # What else the engine saw: rewards, lengths. In its order: that of a set would differ from process to process.
        for name in (n for n in end if n not in ("entropy", "sequence_entropy")):
            if column_named(name).filled != "rollout":
                raise ValueError(f"column {name!r} is filled by the {column_named(name).filled}, not between rollouts.")
            summary[name] = float(weighted_mean(end[name], state.weight))
            if name.startswith("entropy_at_"):  # the chances of prefixes are those of the rollout before and after it
                summary[f"{name}_before"] = float(weighted_mean(start[name], state.weight)) if self.totals else None
        if self.totals and len(start["entropy"]) == len(end["entropy"]):
            lost = start["entropy"] - end["entropy"]
            summary["collapses"] = int(np.sum((lost > 1) & (lost > start["entropy"] / 2)))
        if length > 1:
            before, after = start["sequence_entropy"], end["sequence_entropy"]
            summary |= {"sequence_entropy_before": None, "sequence_entropy": None}
            if self.totals:
                first, last = (float(weighted_mean(x, state.weight)) for x in (before, after))
                summary |= {"sequence_entropy_before": first, "sequence_entropy": last}
                summary["visitation"] = last - first - length * summary["measured"]
            # d(s) changes with pi_old, so the token entropy of the next rollout starts elsewhere: visitation has the difference.
            self._entropy_expected = None
        for name in (n for n in summary if n not in self.summaries[-1]) if self.summaries else ():
            if name.removesuffix("_se") in OPTIONAL_CAUSES:  # the first update that had one came in this rollout
                for earlier in self.summaries:
                    earlier[name] = None if summary[name] is None else 0.0
        self.summaries.append(summary)
        self.rollout_totals, self._rollout_skipped = {}, 0

    @property
    def _sparse(self) -> bool:
        """Whether some updates have no row, so that sums over rows are not the whole change."""
        return self.gaps or self.experiment.ledger.every > 1

    def _observed(self, state: Units, rows: list[dict[str, Any]], before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
        """Entropies of a rollout as they were observed before and after it, and what of their difference no row accounts for.

        The rest goes into `measured` and into a line of its own, `unaccounted`, so that the parts still add up.
        """
        first, last = (float(weighted_mean(x, state.weight)) for x in (before, after))
        self.entropy_end = last
        change = _independent_units((after - before)[None] * state.context_weight, state)[0]
        for name in self.totals:
            self.rollout_totals.setdefault(name, np.zeros_like(change))
        rest = change - self.rollout_totals["measured"]
        whole = self._rollout_skipped == 0 and bool(np.max(np.abs(rest)) <= _ROUNDING * (1 + first))
        if whole:
            rest = np.zeros_like(rest)
        for totals in (self.totals, self.rollout_totals):
            totals["unaccounted"] = totals.get("unaccounted", 0.0) + rest
            totals["measured"] = totals["measured"] + rest
        unaccounted = 0.0 if whole else last - first - math.fsum(r["measured"] for r in rows)
        counts = {"updates": len(rows), "skipped": self._rollout_skipped}
        return counts | {"entropy_before": first, "entropy": last, "unaccounted": unaccounted}

    def _sums(
        self, rows: list[dict[str, Any]], totals: dict[str, np.ndarray], unaccounted: float | None = None
    ) -> dict[str, Any]:
        """Sums over updates of every part, their expectations, standard errors, and the control-variate mean.

        unaccounted: what updates without a row add to the measured change.
        """
        pair = self.experiment.antithetic
        out: dict[str, Any] = {}
        summed = [joined(row) for row in rows]
        for name in (n for n in _ADDED if n in self.rows[0] or n in self.totals):
            known = all(r.get(name, 0.0) is not None for r in rows or self.rows)
            out[name] = math.fsum(r.get(name, 0.0) for r in summed) if known else None
            total = totals.get(name, np.zeros_like(totals["measured"])) if totals else None
            out[f"{name}_se"] = standard_error(total, pair) if total is not None and known else None
        if MARK in self.rows[0]:
            out[MARK] = sum(r[MARK] > 0 for r in rows) / max(1, len(rows))
        if unaccounted is not None:
            out["measured"] += unaccounted
            out |= {"unaccounted": unaccounted, "unaccounted_se": standard_error(totals["unaccounted"], pair)}
        predicted = [p for p in PARTS if rows and all(f"expected_{p}" in r for r in rows)]
        for name in PARTS:
            known = name in predicted
            out[f"expected_{name}"] = math.fsum(r[f"expected_{name}"] for r in rows) if known else None
            residual = totals[name] - totals[f"expected_{name}"] if totals and known else None
            out[f"residual_{name}_se"] = None if residual is None else standard_error(residual, pair)
            out[f"residual_{name}_skewness"] = None if residual is None else _skewness(residual, pair)
        # An engine may lack one part's expectation (curvature with shared parameters): the others still are control variates.
        out["measured_cv"] = out["measured"] - sum(out[p] - out[f"expected_{p}"] for p in predicted) if predicted else None
        out["measured_cv_se"] = None
        if predicted and totals:
            noise = sum(totals[p] - totals[f"expected_{p}"] for p in predicted)
            out["measured_cv_se"] = standard_error(totals["measured"] - noise, pair)
        if totals:
            out["units"] = len(totals["measured"]) // (2 if pair else 1)
        return out

    def summary(self) -> dict[str, Any]:
        """Return the arm's object in the JSON of a run (verdicts are added by verdict.py)."""
        rows = self.rows
        out = self._sums(rows, self.totals, math.fsum(s["unaccounted"] for s in self.summaries) if self._sparse else None)
        n = len(rows)
        for name in ("pi_low", "pi_high", "kl"):
            out[name] = math.fsum(r[name] for r in rows) / n
        for side in ("low", "high"):
            mass, prob = (math.fsum(r[f"{k}_{side}"] for r in rows) for k in ("mass", "pi"))
            out[f"gap_{side}"] = mass / prob if prob > 0 else None
            out[f"clip_fraction_{side}"] = math.fsum(r[f"clip_count_{side}"] for r in rows) / sum(r["samples"] for r in rows)
        out["ratio_max"] = max(r["ratio_max"] for r in rows)
        out["collapses"] = sum(s["collapses"] or 0 for s in self.summaries)
        out |= {"entropy_start": self.entropy_start, "entropy_end": self.entropy_end, "updates": n, "skipped": self.skipped}
        if self.totals:
            out["measured_median"] = float(np.median(self.totals["measured"]))
            rare = self.totals.get("_rare_variance")
            if rare is not None:
                per_unit = _independent(rare[None], self.experiment.antithetic)[0]
                out["curvature_rare_se"] = math.sqrt(math.fsum(per_unit)) / len(per_unit)
            out |= {f"clip_events_{s}": math.fsum(r[f"clip_count_{s}"] for r in rows) * self.drawn for s in ("low", "high")}
        if self.summaries and "can_hold" in self.summaries[-1]:
            out["unheld"] = sum(summary["can_hold"] == 0 for summary in self.summaries)
        if self.summaries and "visitation" in self.summaries[-1]:
            out["sequence_entropy_start"] = self.summaries[0]["sequence_entropy_before"]
            out["sequence_entropy_end"] = self.summaries[-1]["sequence_entropy"]
            out["visitation"] = math.fsum(s["visitation"] for s in self.summaries)
        return out


def _derived(row: dict[str, Any]) -> dict[str, Any]:
    """Ratios of means of one row: gaps weighted by probability, clip fractions, root mean square log-ratio."""
    out: dict[str, Any] = {"log_ratio_rms": math.sqrt(row["log_ratio_sq"])}
    if "token_log_ratio_sq" in row:
        out["token_log_ratio_rms"] = math.sqrt(row["token_log_ratio_sq"])
    for side in ("low", "high"):
        prob = row[f"pi_{side}"]
        out[f"gap_{side}"] = row[f"mass_{side}"] / prob if prob > 0 else None
        out[f"clip_fraction_{side}"] = row[f"clip_count_{side}"] / row["samples"]
    return out
