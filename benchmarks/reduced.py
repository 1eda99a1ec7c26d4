"""python -m benchmarks.reduced: the reduced engine against the dense tokens engine, and against itself at V = 10^9.

    one replica    every update on both engines with the same samples, over a whole run (tracked actions add up, so early and late
                   updates are told apart), and the largest difference of their entropies; dense by its kernels in eager torch,
                   and in the first rollout also by accounting.account, its default on a CPU
    batched        seconds per replica and update of 64 replicas, drawing included, over those of the dense engine
    vocabulary     seconds per update at V = 10^9 over those at 10^5, rounds alternating, start of a run apart
    headline       seconds of a few replicas of headline_152k, all arms, on --jobs threads, and what 1,000 would take

Each with numpy's kernels and, where it is installed, numba's (--kernels); the last with those that a run takes by default.
Compiling is apart: a rollout of each kind is run first. All but the last in seconds of CPU on one thread: a busy machine
lengthens both sides' wall time by chance, up to tenfold.
Plain policy-gradient steps, 16 minibatches of 16 samples in groups of 8, Zipf(1), clip .2/.2, V = 151,936, as in headline_152k.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from entclip.engines.base import Directive
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.reduced.kernels import KernelName, kernels_named
from entclip.engines.samples import Samples
from entclip.engines.tokens.engine import TokensEngine
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.load import load
from entclip.runs.runner import run

REPLICAS, ROUNDS = 64, 3


def experiment_of(vocab: int, replicas: int, rollouts: int) -> Experiment:
    """One arm of headline_152k."""
    base = load("headline_152k")
    update = base.update.model_copy(update={"rollouts": rollouts})
    arm = next(a for a in base.arm if a.name == "both")
    policy = {"kind": "zipf", "vocab": vocab}
    data = base.model_dump(include={"reward", "advantage"}, exclude_none=True)
    return parse_experiment(
        data | {"policy": policy, "replicas": replicas, "update": update.model_dump(), "arm": [arm.model_dump()]}
    )


class Course:
    """A run in progress on one engine: seconds of each update."""

    def __init__(self, engine: Any, experiment: Experiment) -> None:
        self.engine, self.experiment = engine, experiment
        self.state = engine.start(experiment, experiment.arm[0].build())

    def roll_out(self) -> None:
        self.state, self.rollout = self.engine.roll_out(self.state)

    def step(self, k: int, samples: Samples | None = None) -> tuple[float, np.ndarray]:
        """Seconds of CPU of minibatch k, and entropies after it."""
        minibatch = dataclasses.replace(self.rollout.minibatches[k], samples=samples)
        begin = time.process_time()
        self.state, entry = self.engine.step(self.state, self.rollout, minibatch, Directive())
        return time.process_time() - begin, entry.columns["entropy"]

    def whole_rollout(self) -> float:
        """Seconds per replica and update of a rollout, pi_old and samples included."""
        begin = time.process_time()
        self.roll_out()
        for minibatch in self.rollout.minibatches:
            self.state, _ = self.engine.step(self.state, self.rollout, minibatch, Directive())
        self.state.rollout += 1
        return (time.process_time() - begin) / len(self.rollout.minibatches) / len(self.state.weight)


def spread(values: Any) -> str:
    return f"median {np.median(values):.3g}, from {min(values):.3g} to {max(values):.3g}"


def one_replica(vocab: int, rollouts: int, kernels: Sequence[KernelName] = ("numpy",)) -> np.ndarray:
    """Prints all engines update by update; returns the dense engine's seconds."""
    spec = experiment_of(vocab, 1, rollouts)
    dense, own = Course(TokensEngine(kernels="reference"), spec), [Course(ReducedEngine(kernels=k), spec) for k in kernels]
    eager, default, apart = Course(TokensEngine(), spec), [], np.zeros(len(own))
    times: list[list[float]] = []
    for r in range(rollouts):
        for course in (dense, *own, *([eager] if r == 0 else [])):
            course.roll_out()
        for k in range(spec.update.minibatches):
            samples = Samples(*(x.cpu().numpy() for x in dense.rollout.draws.take(k)))
            seconds, entropy = dense.step(k, samples)
            steps = [course.step(k, samples) for course in own]
            times.append([seconds, *(x for x, _ in steps)])
            apart = np.maximum(apart, [float(np.max(np.abs(entropy - same))) for _, same in steps])
            if r == 0:
                default.append(eager.step(k, samples)[0])
    table = np.array(times)
    part = max(1, len(table) // 10)
    for i, name in enumerate(kernels):
        ratios = table[:, 0] / table[:, i + 1]
        for which, rows in (("first tenth", ratios[:part]), ("last tenth", ratios[-part:]), ("whole run", ratios)):
            print(f"{name}, one replica, {which}: dense / reduced {spread(rows)}")
        print(f"{name}, first rollout: dense by accounting.account / reduced {spread(default / table[: len(default), i + 1])}")
        total = table[:, 0].sum() / table[:, i + 1].sum()
        print(f"{name}, one replica, {rollouts} rollouts: dense / reduced of the sums {total:.1f}")
        print(f"{name}: entropies differ by {apart[i]:.1e} nats at most")
    return table[:, 0]


def batched(vocab: int, rollouts: int, dense: np.ndarray, kernels: KernelName) -> None:
    """Prints the cost of a replica among 64."""
    course = Course(ReducedEngine(kernels=kernels), experiment_of(vocab, REPLICAS, rollouts))
    times = [course.whole_rollout() for _ in range(rollouts)]
    base = float(np.median(dense))
    width = max(c.log_probs.shape[1] for c in course.state.chunks)
    for name, value in (("first rollout", times[0]), ("last rollout", times[-1]), ("whole run", statistics.mean(times))):
        print(f"{kernels}, {REPLICAS} replicas, {name}: {1e6 * value:.0f} us a replica and update; dense / it {base / value:.0f}")
    print(f"{kernels}, {REPLICAS} replicas: {width} points at the end, dense {1e3 * base:.1f} ms")


def vocabulary(rollouts: int, replicas: int, kernels: KernelName) -> None:
    """Prints the cost at 10^9 actions over that at 10^5."""
    engine = {v: ReducedEngine(kernels=kernels) for v in (10**5, 10**9)}
    ratios: dict[str, list[float]] = {"first rollout": [], "last rollout": [], "whole run": []}
    for _ in range(ROUNDS):
        courses = {v: Course(engine[v], experiment_of(v, replicas, rollouts)) for v in engine}
        seconds = np.array([[c.whole_rollout() for c in courses.values()] for _ in range(rollouts)])
        for name, (few, many) in zip(ratios, (seconds[0], seconds[-1], seconds.sum(axis=0)), strict=True):
            ratios[name].append(float(many / few))
    for name, values in ratios.items():
        print(f"{kernels}, V = 10^9 / 10^5, {replicas} replicas, {name}: {spread(values)}")


def headline(contexts: int, jobs: int) -> None:
    """Prints what 1,000 replicas of each law of headline_152k would take, from a few."""
    data = load("headline_152k").model_dump(exclude_none=True) | {"replicas": 1, "antithetic": False}
    for policy in data.pop("grid")["policy"]:
        spec = parse_experiment(data | {"policy": policy | {"contexts": contexts}, "grid": {}})
        begin, cpu = time.perf_counter(), time.process_time()
        run(spec, "reduced", jobs=jobs)
        wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
        here, free = (1000 / contexts * x / 60 for x in (wall, cpu / jobs))
        print(f"headline_152k, {policy['kind']}: {contexts} units, six arms, {jobs} threads: {wall:.0f} s ({cpu:.0f} s of CPU)")
        print(f"    1,000 units: {here:.1f} min at this load, {free:.1f} min if {jobs} cores were free")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reduced", description=__doc__.split("\n")[0])
    parser.add_argument("--vocab", type=int, default=151_936)
    parser.add_argument("--rollouts", type=int, default=30)
    parser.add_argument("--headline", type=int, default=64, metavar="UNITS", help="of headline_152k (0: leave it out)")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kernels", nargs="+", choices=["numpy", "numba"], help="default: both where numba is installed")
    a = parser.parse_args()
    torch.set_num_threads(1)
    kernels = a.kernels or list(dict.fromkeys(["numpy", kernels_named(None).name]))
    for name in kernels:
        for replicas in (1, REPLICAS):
            Course(ReducedEngine(kernels=name), experiment_of(a.vocab, replicas, 1)).whole_rollout()
    dense = one_replica(a.vocab, a.rollouts, kernels)
    for name in kernels:
        batched(a.vocab, a.rollouts, dense, name)
        for replicas in (1, REPLICAS):
            vocabulary(a.rollouts, replicas, name)
    if a.headline:
        headline(a.headline, a.jobs)


if __name__ == "__main__":
    main()
