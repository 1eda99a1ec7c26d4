"""Columns of the tokens engine are those of the numpy engine on the same samples; blocks, resuming, refusals."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from entclip.engines.base import Directive
from entclip.engines.samples import Sums
from entclip.engines.tokens.engine import TokensEngine
from entclip.engines.tokens.kernels import reference
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.engines.tokens.comparison import (
    ADAMS,
    OBJECTIVES,
    adam_experiment,
    assert_same_columns,
    batches_of,
    conformance,
    experiment_of,
    follow,
)
from tests.family import UNBOUNDED


@pytest.mark.parametrize("kernels", ["eager", "reference"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize(
    ("objective", "setting"),
    [*((o, "group") for o in OBJECTIVES), ("clip", "independent"), ("dual_clip", "std"), ("ce_gppo", "table")],
)
def test_every_column_is_that_of_the_numpy_engine(objective, setting, geometry, dtype, kernels):
    """The same samples in both engines, three updates: every column, clip sets occupied, to 64 ulps of what it adds up."""
    experiment = conformance(geometry, objective, setting)
    seen = 0.0
    for ours, theirs in follow(TokensEngine(dtype=dtype, kernels=kernels), experiment, batches_of(experiment)):
        assert_same_columns(ours.columns, theirs.columns, experiment.update.learning_rate, dtype)
        seen += float(np.sum(theirs.columns["pi_low"] + theirs.columns["pi_high"]))
    assert seen > 0.1 or objective in UNBOUNDED, "no action beyond a bound: the test would see nothing"


def test_remainder_bound_of_the_passes_holds_and_is_third_order():
    """T3's closed form stands above the remainder of every update and shrinks with the cube of the step."""
    worst = {}
    for rate in (2.0, 0.2):
        experiment = conformance("euclidean", "clip", "group")
        experiment = experiment.model_copy(update={"update": experiment.update.model_copy(update={"learning_rate": rate})})
        entries = [ours for ours, _ in follow(TokensEngine(kernels="reference"), experiment, batches_of(experiment))]
        assert all(np.all(np.abs(e.columns["remainder"]) <= e.columns["_bound"]) for e in entries)
        worst[rate] = entries[0].columns["_bound"].max()
    assert worst[2.0] / worst[0.2] > 900


@pytest.mark.parametrize(("geometry", "rate"), [("euclidean", 30.0), ("natural", 3.0)])
def test_steps_that_move_the_mass_to_and_fro(geometry, rate):
    """Pull and push of tens of nats that nearly cancel: log Z and H are measured again where little is left of them."""
    experiment = experiment_of(update={"geometry": geometry, "learning_rate": rate, "rollouts": 3}, replicas=2)
    engines = [TokensEngine(kernels=kernels) for kernels in ("reference", "eager")]
    states = [engine.start(experiment, experiment.arm[0].build()) for engine in engines]
    for _ in range(3):
        rollouts = []
        for k in (0, 1):
            states[k], rollout = engines[k].roll_out(states[k])
            rollouts.append(rollout)
        for minibatch in rollouts[0]:
            entries = []
            for k in (0, 1):
                states[k], entry = engines[k].step(states[k], rollouts[k], minibatch, Directive())
                entries.append(entry.columns)
            assert np.max(np.abs(entries[0]["entropy"] - entries[1]["entropy"])) < 1e-10
            assert np.max(np.abs(entries[0]["entropy"] - reference.measure(states[0].logits).entropy.numpy())) < 1e-11
            assert np.all(np.abs(entries[0]["remainder"]) <= entries[0]["_bound"])
        states = [dataclasses.replace(state, rollout=state.rollout + 1) for state in states]


def test_stored_float32_logits_are_what_is_measured():
    """Entropy before an update is the entropy after the one before, to rounding in float64: storing is part of a step."""
    for kernels in ("eager", "reference"):
        engine = TokensEngine(dtype="float32", kernels=kernels)
        experiment = experiment_of(update={"geometry": "euclidean"})
        state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
        for minibatch in rollout:
            before = state.norm.entropy.numpy()
            state, entry = engine.step(state, rollout, minibatch, Directive())
            assert np.max(np.abs(entry.columns["entropy_before"] - before)) < 1e-14
            exact = reference.measure(state.logits)
            assert np.max(np.abs(entry.columns["entropy"] - exact.entropy.numpy())) < 1e-14
            difference = entry.columns["entropy"] - entry.columns["entropy_before"]
            assert np.max(np.abs(entry.columns["measured"] - difference)) < 1e-14


@pytest.mark.parametrize(
    ("kernels", "update"),
    [
        ("eager", {"geometry": "natural"}),
        ("eager", {"geometry": "euclidean"}),
        ("reference", {"geometry": "natural"}),
        ("reference", {"geometry": "euclidean"}),
        ("reference", {"geometry": "euclidean", "optimizer": "adamw", "weight_decay": 0.1}),
    ],
)
def test_result_does_not_depend_on_the_block(kernels, update, monkeypatch):
    """Three actions at a time, a few rows, and all: the same draws, and columns that agree to rounding."""
    frames = []
    for elements in (3, 200, 2**20):
        monkeypatch.setitem(reference.BLOCK_ELEMENTS, "cpu", elements)
        monkeypatch.setitem(reference._TILE_ELEMENTS, "cpu", elements)
        experiment = experiment_of(update={"rollouts": 1, "minibatches": 2, **update})
        engine = TokensEngine(kernels=kernels)
        state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
        actions = rollout.draws.take(1)[0]
        for minibatch in rollout:
            state, entry = engine.step(state, rollout, minibatch, Directive())
        frames.append((actions, entry.columns, state.logits))
    for actions, columns, logits in frames[1:]:
        assert torch.equal(actions, frames[0][0])
        assert_same_columns(columns, frames[0][1], 0.2, "float64")
        assert torch.allclose(logits, frames[0][2], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("dtype", "update"),
    [
        ("float64", {}),
        ("float32", {"geometry": "euclidean"}),
        ("float32", {"geometry": "euclidean", **ADAMS["adamw"], "learning_rate": 0.02}),
    ],
)
def test_interrupted_run_resumes_bit_for_bit(tmp_path, dtype, update):
    experiment = experiment_of(update={"rollouts": 3, "minibatches": 2, **update})
    whole = run(experiment, "tokens", dtype=dtype, out=tmp_path / "whole").to_frame()

    def stop_late(arm, done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(experiment, "tokens", dtype=dtype, out=tmp_path / "cut", jobs=1, progress=stop_late)
    seen = []
    progress = lambda arm, done, total: seen.append(done)  # noqa: E731
    resumed = run(experiment, "tokens", dtype=dtype, out=tmp_path / "cut", jobs=1, progress=progress).to_frame()
    assert seen[0] == 5, "two whole rollouts of two updates were kept"
    assert resumed.equals(whole)


def test_perturbed_start_is_that_of_the_numpy_engine():
    experiment = experiment_of(perturbation={"law": "flat", "rms": 0.2}, update={"rollouts": 1, "minibatches": 2})
    for ours, theirs in follow(TokensEngine(kernels="reference"), experiment, batches_of(experiment, actions=8)):
        assert_same_columns(ours.columns, theirs.columns, 0.2, "float64")
        assert theirs.columns["pi_low"].max() > 0.1


def test_equal_contexts_are_not_listed_before_they_are_tables():
    experiment = experiment_of(policy={"kind": "zipf", "vocab": 9, "contexts": 3}, weights=[1, 2, 3], update={"rollouts": 1})
    engine = TokensEngine()
    state = engine.start(experiment, experiment.arm[0].build())
    assert np.allclose(torch.softmax(state.logits, -1) * sum(1 / k for k in range(1, 10)), 1 / np.arange(1, 10))
    assert np.allclose(state.context_weight, [0.5, 1.0, 1.5])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused():
    with pytest.raises(SpecError, match="no CUDA device can be used"):
        run(experiment_of(), "tokens", device="cuda")


def test_refusals_name_the_limit(monkeypatch):
    with pytest.raises(SpecError, match='"cpu" or "cuda"'):
        TokensEngine(device="tpu")
    with pytest.raises(SpecError, match="bfloat16"):
        TokensEngine(dtype="bfloat16")
    huge = experiment_of(policy={"kind": "zipf", "vocab": 262_144, "contexts": 10_000_000})
    with pytest.raises(
        SpecError, match=r"38\.\d TiB of memory, most of it for 2 tables of 10,000,000 x 262,144 float64, but .* are free"
    ):
        run(huge, "tokens")
    with pytest.raises(SpecError, match="4 tables"):
        run(huge.model_copy(update={"update": adam_experiment("adam").update}), "tokens")
    with pytest.raises(SpecError, match="one token per sequence"):
        run(experiment_of(policy={"kind": "autoregressive", "vocab": 2, "length": 2}), "tokens")
    monkeypatch.setattr("entclip.engines.tokens.expected._MAX_LEVEL_BYTES", 100)
    with pytest.raises(SpecError, match="3 distinct values over 8 actions"):
        run(experiment_of(reward={"kind": "table", "values": [1, 0, 0, 0, 1, 0, 0, 0.5]}), "tokens")
    arms = [{"name": "a"}, {"name": "b", "control": {"kind": "match_kl", "like": "a"}}]
    with pytest.raises(SpecError, match="match_kl"):
        run(adam_experiment("adam", arm=arms), "tokens")
    experiment, engine = experiment_of(), TokensEngine()
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    sums = Sums(*[np.zeros((40, 8))] * 4)
    with pytest.raises(SpecError, match=r"Minibatch\.samples"):
        engine.step(state, rollout, dataclasses.replace(rollout.minibatches[0], sums=sums), Directive())


@pytest.mark.parametrize("kernels", ["eager", "reference"])
def test_runaway_steps_are_an_error(kernels):
    experiment = experiment_of(update={"geometry": "natural"})
    engine = TokensEngine(kernels=kernels)
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    with pytest.raises(ValueError, match="is no finite number"):
        engine.step(state, rollout, rollout.minibatches[0], Directive(learning_rate=1e300))  # beyond what an experiment may ask


_PEAK = """
from pathlib import Path
from entclip.engines.base import Directive
from entclip.engines.tokens.engine import TokensEngine
from entclip.experiments.experiment import parse_experiment

def run(contexts):
    update = {"geometry": "euclidean", "learning_rate": 5.0, "batch": 16, "minibatches": 1, "rollouts": 1}
    policy = {"kind": "zipf", "vocab": 100_000, "contexts": contexts}
    experiment = parse_experiment({"policy": policy, "update": update})
    engine = TokensEngine(dtype="float32")
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    engine.step(state, rollout, rollout.minibatches[0], Directive())
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024  # of this program; getrusage would count its parent's, too

few = run(2)
print((run(50) - few) / (48 * 100_000 * 4))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_blocks_do_not_break_up_the_heap():
    """Peak memory of a process per table of logits: two are held; small results kept between blocks once made it 35.

    How a system counts a peak is not exact enough for more than a limit well between the two.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", _PEAK], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 6, done.stdout
