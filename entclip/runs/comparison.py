"""Objectives side by side: one experiment, the same random numbers, one arm for each, and what can be told apart."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from entclip.controllers.base import Controller
from entclip.engines.accounting import RunawayError
from entclip.engines.base import State
from entclip.engines.reach import Reach, reach
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.ledger.arm import ArmLedger, standard_error
from entclip.ledger.columns import OPTIONAL_CAUSES, PARTS
from entclip.objectives.base import Objective
from entclip.runs.foresight import refuse_arms
from entclip.runs.result import Ledger
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from entclip.support.workers import in_threads

__all__ = ["Comparison", "Contender", "Difference", "compare", "lined_up", "paired_units", "units_of"]

_CONFIDENCE = 0.95
_ROUNDING = 1e-12  # nats; exact engines have no error but this


@dataclass(frozen=True)
class Contender:
    """One objective's run.

    Attributes:
        arm: its summary, with verdicts.
        books: its ledger.
        change: mean entropy change, sampled parts replaced by theory along the path where there is one (control variate), nats.
        start, end: expected reward and reachable actions of the policies before and after, None where they are not known.
    """

    name: str
    objective: Objective
    arm: Mapping[str, Any]
    books: ArmLedger
    change: float
    start: Reach | None
    end: Reach | None

    @property
    def units(self) -> np.ndarray:
        """Return the same of each independent unit; empty for an exact engine."""
        return units_of(self.books, self.arm)


@dataclass(frozen=True)
class Difference:
    """Entropy change (nats) or reward of one contender minus another's, its standard error and half of its 95 % interval.

    half is None where units are too few to say, 0 for an exact engine.
    """

    value: float
    se: float | None
    half: float | None

    @property
    def sign(self) -> int:
        """Return 1 or -1 where the interval is clear of 0, else 0."""
        clear = self.half is not None and abs(self.value) > max(self.half, _ROUNDING)
        return int(math.copysign(1, self.value)) if clear else 0


@dataclass(frozen=True)
class Comparison:
    """Objectives on one experiment; `failed` says of those that could not be run why."""

    experiment: Experiment
    ledger: Ledger
    contenders: tuple[Contender, ...]
    failed: Mapping[str, str] = field(default_factory=dict)

    def difference(self, a: Contender, b: Contender, pairs: int = 1) -> Difference:
        """Return a's entropy change minus b's over paired units, with an interval that holds for so many pairs at once."""
        if not a.books.totals or not b.books.totals:
            return Difference(a.change - b.change, None, 0.0)
        x, y = paired_units((a.books, a.arm), (b.books, b.arm))
        return self._of_units(x - y, pairs)

    def reward_difference(self, a: Contender, b: Contender) -> Difference | None:
        """Return a's expected reward at the end minus b's, over the same units; None where it is not known."""
        if a.end is None or b.end is None or a.end.reward is None or b.end.reward is None:
            return None
        x, y = a.end.rewards, b.end.rewards
        if not a.books.totals or not b.books.totals or x is None or y is None:
            return Difference(a.end.reward - b.end.reward, None, 0.0)
        return self._of_units(np.subtract(*_alike(x, y)), 1)

    def _of_units(self, apart: np.ndarray, pairs: int) -> Difference:
        """The mean of the differences of units, with its error and an interval that holds for so many pairs at once."""
        value, half = float(np.mean(apart)), self.experiment.antithetic
        se, count = standard_error(apart, half), len(apart) // (2 if half else 1)
        if se is None:
            return Difference(value, None, None)
        from scipy import stats

        quantile = float(stats.t.ppf(1 - (1 - _CONFIDENCE) / (2 * pairs), count - 1))
        return Difference(value, se, quantile * se)

    def ranks(self) -> dict[str, tuple[int, int]]:
        """Return the best and the worst place of each contender, 1 for the largest entropy change.

        Two change places unless the interval of their paired difference is clear of 0; all intervals hold together.
        """
        every, pairs = self.contenders, max(1, len(self.contenders) * (len(self.contenders) - 1) // 2)
        out = {}
        for a in every:
            signs = [self.difference(a, b, pairs).sign for b in every if b is not a]
            out[a.name] = (1 + signs.count(-1), len(every) - signs.count(1))
        return out

    def summary(self) -> dict[str, Any]:
        """Return the run's JSON object with a `comparison`, one object for each objective by falling entropy change."""
        ranks = self.ranks()
        rows = [self._row(c, ranks[c.name]) for c in sorted(self.contenders, key=lambda c: -c.change)]
        return self.ledger.summary() | {"comparison": rows, "failed": dict(self.failed)}

    def _row(self, c: Contender, rank: tuple[int, int]) -> dict[str, Any]:
        against = self.difference(c, self.contenders[0])
        expected = [c.arm.get(f"expected_{part}") for part in PARTS]
        known = all(value is not None for value in expected)
        certain = [c.arm.get(cause) for cause in OPTIONAL_CAUSES if cause not in PARTS]  # a bonus is the same whatever is drawn
        row = {
            "objective": c.name,
            "change": c.change,
            "change_se": standard_error(c.units, self.experiment.antithetic) if len(c.units) else None,
            "predicted": math.fsum(value or 0.0 for value in (*expected, *certain)) if known else None,
            "difference": against.value,
            "difference_se": against.se,
            "difference_half_width": against.half,
            "rank_best": rank[0],
            "rank_worst": rank[1],
        }
        for key in ("reward", "reachable"):
            for when, facts in (("start", c.start), ("end", c.end)):
                row[f"{key}_{when}"] = None if facts is None else getattr(facts, key)
        gained = self.reward_difference(c, self.contenders[0])
        row["reward_difference"] = None if gained is None else gained.value
        row["reward_difference_half_width"] = None if gained is None else gained.half
        return row


def lined_up(
    experiment: Experiment,
    objectives: Mapping[str, Objective],
    engine: str,
    controllers: Mapping[str, Controller | Mapping[str, Any]] | None = None,
) -> Experiment:
    """Return the experiment with an arm for each objective, and for the first one with each controller.

    Args:
        objectives, engine, controllers: as for `compare`.
    Raises: SpecError for what cannot be run with any objective, and for an experiment with more than one case.
    """
    moved = controllers or {}
    if not objectives or len(objectives) + len(moved) < 2:
        raise SpecError("compare needs at least two objectives, or one and a controller: there is nothing to set one beside.")
    first = next(iter(objectives))
    if len(experiment.cases()) > 1:
        raise SpecError(
            f"{experiment.name} has {len(experiment.cases())} cases, and compare takes one: choose it with --set, and drop the "
            "others with --set 'grid={}'."
        )
    data = {k: v for k, v in experiment.cases()[0][1].model_dump(exclude_none=True).items() if k != "grid"}
    arms: list[dict[str, Any]] = [{"name": name, "objective": one} for name, one in objectives.items()]
    arms += [{"name": f"{first}-{label}", "objective": objectives[first], "controller": rule} for label, rule in moved.items()]
    whole = parse_experiment(data | {"arm": arms})
    refuse_arms(whole, engine)
    return whole


def compare(
    experiment: Experiment,
    objectives: Mapping[str, Objective],
    engine: str = "sampled",
    *,
    controllers: Mapping[str, Controller | Mapping[str, Any]] | None = None,
    device: str = "cpu",
    dtype: str = "float64",
    jobs: int = 2,
    progress: Callable[[str, int, int], None] | None = None,
) -> Comparison:
    """Run one experiment with each objective, and with each controller, in place of its arms, on the same random numbers.

    Args:
        objectives: by the names that they have in the result; the first is what the others are compared with.
        controllers: rules that move the first objective between rollouts; each is a contender FIRST-NAME of its own.
        engine, device, dtype, jobs, progress: as for `run`.
    Raises: SpecError for what cannot be run with any objective, and for an experiment with more than one case.
    """
    whole = lined_up(experiment, objectives, engine, controllers)
    arms = {arm.name: arm for arm in whole.arm}
    chosen = {name: arm.build() for name, arm in arms.items()}
    lock, failed = threading.Lock(), {}

    def one(name: str) -> tuple[ArmLedger, Reach | None, Reach | None] | None:
        seen: list[Reach | None] = []

        def inspect(arm: str, state: State) -> None:
            seen.append(reach(state))

        own = whole.model_copy(update={"arm": (arms[name],)})
        try:
            ledger = run(own, engine, device=device, dtype=dtype, jobs=1, progress=progress, inspect=inspect)
        except RunawayError as error:
            with lock:
                failed[name] = str(error)
            return None
        return ledger.arms[name], seen[0], seen[-1]

    ledger = Ledger(whole, engine, device, dtype)
    found = dict(zip(chosen, in_threads(one, chosen, jobs), strict=True))
    contenders = []
    for name, result in found.items():
        if result is None:
            continue
        ledger.arms[name], start, end = result
        arm = ledger.judged(ledger.arms[name])
        change = arm["measured"] if arm["measured_cv"] is None else arm["measured_cv"]
        contenders.append(Contender(name, chosen[name], arm, ledger.arms[name], change, start, end))
    if not contenders:
        raise SpecError(f"none of the objectives could be run: {next(iter(failed.values()))}")
    return Comparison(whole, ledger, tuple(contenders), failed)


def units_of(books: ArmLedger, arm: Mapping[str, Any], parts: Sequence[str] | None = None) -> np.ndarray:
    """Return the entropy change of each independent unit without the noise of `parts` (None: all with an expectation), nats."""
    if not books.totals:
        return np.zeros(0)
    replaced = _known(arm) if parts is None else parts
    value: np.ndarray = books.totals["measured"] - sum(books.totals[p] - books.totals[f"expected_{p}"] for p in replaced)
    return value


def paired_units(a: tuple[ArmLedger, Mapping[str, Any]], b: tuple[ArmLedger, Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the units of two arms, ledger and summary of each, as equally many, nats.

    Where one has contexts for units and the other replicas, contexts are averaged. Parts are replaced by theory where both arms
    have it: what luck did to one alone would be taken for a difference.
    """
    both = [part for part in _known(a[1]) if part in _known(b[1])]
    return _alike(units_of(*a, both), units_of(*b, both))


def _alike(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As many units of both: contexts are averaged where one has replicas."""
    count = min(len(x), len(y))
    return x.reshape(count, -1).mean(axis=1), y.reshape(count, -1).mean(axis=1)


def _known(arm: Mapping[str, Any]) -> list[str]:
    """Parts of the entropy change that have an expectation in this arm."""
    return [part for part in PARTS if arm[f"expected_{part}"] is not None]
