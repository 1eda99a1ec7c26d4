"""What a whole run will take, all cases, arms and ledger rows together, and what cannot be run, before anything is made."""

from __future__ import annotations

from entclip.engines.facts import updates_of
from entclip.engines.registry import facts_of
from entclip.engines.serving import refuse_unfit
from entclip.experiments.experiment import Experiment
from entclip.experiments.shape import shape_of
from entclip.support.errors import SpecError
from entclip.support.foresight import Size, refuse_oversize
from entclip.support.memory import available_bytes

__all__ = ["foresee", "refuse_arms", "refuse_too_large"]

_ROW = 8_000.0  # bytes of one row of a ledger, some seventy numbers by name, and of the table that is made of it


def foresee(experiment: Experiment, engine: str, device: str = "cpu", dtype: str = "float64", jobs: int = 2) -> Size:
    """Estimate the memory and the time of a run; cases that the engine does not run count nothing: it says so itself.

    Raises: SpecError for an unknown engine or a policy's file that cannot be read.
    """
    facts = facts_of(engine)
    cases = [case for _, case in experiment.cases() if case.policy.kind in facts.policies]
    rows = sum(updates_of(case) * (_units(case) if case.ledger.detail == "context" else 1) for case in cases)
    sizes = [facts.size(case, device, dtype) for case in cases]
    held: dict[str, float] = {f"{rows:,} rows of the ledger": _ROW * rows}
    if sizes and device == "cpu":
        peak = max(sizes, key=lambda size: size.memory)
        together = min(jobs, max(len(case.arm) for case in cases)) if facts.concurrent else 1
        held |= {words: size * together for words, size in peak.held.items()}
    updates = sum(updates_of(case) for case in cases)
    work = sizes[0].work if len(sizes) == 1 else f"{len(sizes):,} cases, {updates:,} updates in all"
    return Size(held, sum(size.seconds for size in sizes) + 1e-3 * rows, work)


def _units(case: Experiment) -> int:
    return case.replicas * shape_of(case).contexts


def refuse_too_large(experiment: Experiment, engine: str, device: str = "cpu", dtype: str = "float64", jobs: int = 2) -> None:
    """Raise SpecError for a run that this machine's memory cannot hold, or that would take over a month."""
    size = foresee(experiment, engine, device, dtype, jobs)
    refuse_oversize(size, available_bytes(), f"{experiment.name} on the engine {engine}", _FIX)


def refuse_arms(experiment: Experiment, engine: str) -> None:
    """Raise SpecError, before any arm is run, if one of them cannot be: others may take hours."""
    facts = facts_of(engine)
    for _, case in experiment.cases():
        for arm in case.arm:
            base, rule = arm.build(), arm.controller
            refuse_unfit(facts, case, base if rule is None else rule.example(base))
            if rule is not None and not facts.drawn:
                raise SpecError(
                    f"arm {arm.name} has a controller, which goes by the entropy of a run, but the {facts.name} engine lists all "
                    "outcomes: simulate it, for example with --engine sampled."
                )


_FIX = "use fewer or smaller cases, contexts, replicas, samples (update.batch) or updates (minibatches, rollouts)"
