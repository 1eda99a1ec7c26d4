"""run(experiment, engine) -> Ledger: the one loop. check adds the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from entclip.controllers.base import Controller, Memory, Observed
from entclip.engines.base import Directive, Engine, State
from entclip.engines.named import engine_named
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import Arm
from entclip.ledger.arm import ArmLedger
from entclip.ledger.verdict import Verdict, verdict_of
from entclip.objectives.base import Keep
from entclip.runs.checkpoint import Checkpoints
from entclip.runs.folder import run_folder
from entclip.runs.foresight import refuse_arms, refuse_too_large
from entclip.runs.result import Ledger
from entclip.runs.save import save_run
from entclip.runs.versions import versions_behind
from entclip.support.errors import SpecError
from entclip.support.means import weighted_mean
from entclip.support.workers import in_threads

__all__ = ["check", "directive_for", "run"]

Progress = Callable[[str, int, int], None]
Inspect = Callable[[str, State], None]


def run(
    experiment: Experiment,
    engine: str = "sampled",
    *,
    device: str = "cpu",
    dtype: str = "float64",
    out: str | Path | None = None,
    jobs: int = 2,
    progress: Progress | None = None,
    inspect: Inspect | None = None,
) -> Ledger:
    """Run every case and arm of an experiment and return its ledger.

    Args:
        engine: "sampled" (Monte Carlo with standard errors), "exact" (every outcome with its probability), "reduced" (cost
            independent of the vocabulary), "tokens" (torch, dense), "head" (shared parameters) or "llm" (a language model).
        device, dtype: of the torch engines: "cpu" or "cuda", "float64", "float32", or "bfloat16" where an engine has it.
        out: folder for the ledger; an interrupted run in the same folder resumes from its last whole rollout, bit for bit. A
            folder that holds another run, or that another process writes to, is refused.
        jobs: arms run at the same time, in threads; the result does not depend on it.
        progress: called with (arm, finished updates, all updates of that arm).
        inspect: called with (arm, state) before an arm's first update and after its last.
    Raises: SpecError for what cannot be run and for a folder that cannot be used; DamagedFileError for a checkpoint that cannot
        be resumed from; StorageError if a file cannot be written; IdentityError if the books do not balance.
    """
    machine = engine_named(engine, device, dtype)
    refuse_too_large(experiment, engine, device, dtype, jobs)
    refuse_arms(experiment, engine)
    ledger = Ledger(experiment, engine, device, dtype)
    if out is None:
        _run_cases(ledger, machine, None, jobs, progress, inspect)
        return ledger
    versions = versions_behind(machine)
    with run_folder(Path(out), ledger.name, versions) as checkpoints:
        _run_cases(ledger, machine, checkpoints, jobs, progress, inspect)
        save_run(ledger, Path(out), versions)
        checkpoints.clear()
    return ledger


def _run_cases(
    ledger: Ledger,
    machine: Engine[Any, Any],
    checkpoints: Checkpoints | None,
    jobs: int,
    progress: Progress | None,
    inspect: Inspect | None,
) -> None:
    """Every case and arm of the ledger's experiment, into the ledger."""
    stop = Event()
    for label, case in ledger.experiment.cases():
        done: dict[str, ArmLedger] = {}

        def one(arm: Arm, case: Experiment = case, label: str = label, done: dict[str, ArmLedger] = done) -> ArmLedger:
            return _run_arm(machine, ledger, case, label, arm, done, checkpoints, progress, inspect, stop)

        free = [arm for arm in case.arm if arm.control is None]
        stop.clear()
        # An interrupt or an error ends the other arms at their next update instead of waiting for their last.
        books = in_threads(one, free, max(1, jobs) if machine.facts.concurrent else 1, stop.set)
        done |= {arm.name: found for arm, found in zip(free, books, strict=True)}
        for arm in case.arm:
            if arm.control is not None:
                done[arm.name] = one(arm)
        ledger.arms |= {f"{label}/{a.name}" if label else a.name: done[a.name] for a in case.arm}


def _run_arm(
    engine: Engine[Any, Any],
    ledger: Ledger,
    case: Experiment,
    label: str,
    arm: Arm,
    done: dict[str, ArmLedger],
    checkpoints: Checkpoints | None,
    progress: Progress | None,
    inspect: Inspect | None,
    stop: Event,
) -> ArmLedger:
    books, base, rule = ArmLedger(label, arm.name, case), arm.build(), arm.controller
    state = engine.start(case, base if rule is None else rule.example(base))
    if rule is not None:
        books.memory = rule.start(base, mean_entropy(state, engine.observe(state)))
    for path, content in case.inputs.items():
        if content != ledger.inputs.get(path):
            raise SpecError(f"{path} changed while the run was reading it: run the experiment again.")
    if checkpoints is not None:
        state = checkpoints.load(engine, books, state)
    name = f"{label}/{arm.name}" if label else arm.name
    total = case.update.rollouts * case.update.epochs * case.update.minibatches
    if inspect is not None:
        inspect(name, state)
    while state.rollout < case.update.rollouts:
        if rule is not None:
            state.objective = rule.objective(base, books.memory)
        state, rollout = engine.roll_out(state)
        before = engine.observe(state)
        for minibatch in rollout:
            if stop.is_set():
                return books
            origin = state
            state, entry = engine.step(state, rollout, minibatch, directive_for(arm, done, len(books.rows)))
            if entry is None:
                books.skip()
            else:
                books.append(entry, origin)
            if progress is not None:
                progress(name, len(books.rows) + books.skipped, total)
        after = engine.observe(state)
        books.end_rollout(state, before, after | in_force(rule, books.memory, state))
        if rule is not None:
            rows = [row for row in books.rows if row["rollout"] == state.rollout]
            seen = Observed(state.rollout, case.update.rollouts, mean_entropy(state, after), rows)
            books.memory = rule.update(books.memory, seen)
        state.rollout += 1
        if checkpoints is not None:
            checkpoints.save(engine, books, state)
    if inspect is not None:
        inspect(name, state)
    return books


def mean_entropy(state: State, observed: Mapping[str, np.ndarray]) -> float:
    """Return the mean entropy of the units of a state, nats."""
    return float(weighted_mean(observed["entropy"], state.weight))


def in_force(rule: Controller | None, memory: Memory, state: State) -> dict[str, np.ndarray]:
    """Return what a controller had set for the rollout that ends, as columns: the same for all units, (U,) each."""
    values = {} if rule is None else rule.columns(memory)
    return {name: np.full(len(state.weight), value) for name, value in values.items()}


def directive_for(arm: Arm, done: dict[str, ArmLedger], step: int) -> Directive:
    """Return what a control arm copies from the arm it is like, in the same update."""
    if arm.control is None:
        return Directive()
    row: dict[str, Any] = done[arm.control.like].rows[step]
    if arm.control.kind == "match_kl":
        return Directive(step_variance=row["step_variance"])
    return Directive(keep=Keep(*(1 - row[f"removed_{sign}"] / max(row[f"count_{sign}"], 1e-300) for sign in ("plus", "minus"))))


def check(
    experiment: Experiment,
    engine: str = "sampled",
    *,
    device: str = "cpu",
    dtype: str = "float64",
    out: str | Path | None = None,
    jobs: int = 2,
    progress: Progress | None = None,
) -> Verdict:
    """Run an experiment and judge every cause against its expectation: agree, reject or inconclusive. Arguments as of `run`."""
    return verdict_of(run(experiment, engine, device=device, dtype=dtype, out=out, jobs=jobs, progress=progress).summary())
