"""On a CUDA device: the fused kernels as compiled, the engine's columns and memory, refusals. Skipped without one."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import torch

from entclip.engines.base import Directive
from entclip.engines.tokens.draws import inverse_transform
from entclip.engines.tokens.engine import TokensEngine
from entclip.engines.tokens.kernels import reference
from entclip.engines.tokens.kernels.passes import distinct
from entclip.experiments.experiment import parse_experiment
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.engines.tokens.comparison import assert_same_columns, batches_of, conformance, follow

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
VOCAB = 151_936


def _wide(contexts, **update):
    return parse_experiment(
        {
            "policy": {"kind": "zipf", "vocab": VOCAB, "contexts": contexts},
            "reward": {"kind": "bernoulli", "p": 0.5},
            "advantage": {"kind": "group", "size": 8},
            "update": {"geometry": "euclidean", "learning_rate": 5.0, "batch": 16, "minibatches": 4, "rollouts": 1} | update,
            "arm": [{"name": "both", "low": 0.05, "high": 0.05}],
        }
    )


@pytest.mark.parametrize("kernels", ["eager", "reference", "fused"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
def test_columns_are_those_of_the_numpy_engine(geometry, dtype, kernels):
    experiment = conformance(geometry, "dual_clip", "group")
    engine = TokensEngine(device="cuda", dtype=dtype, kernels=kernels)
    for ours, theirs in follow(engine, experiment, batches_of(experiment)):
        assert_same_columns(ours.columns, theirs.columns, experiment.update.learning_rate, dtype)


def test_devices_draw_the_same_actions():
    logits = 2 * torch.randn(64, 50_257, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norm = reference.measure(logits)
    uniforms = np.random.default_rng(0).random((64, 500))
    here = inverse_transform(logits, norm.log_z, uniforms)
    there = inverse_transform(logits.cuda(), norm.log_z.cuda(), uniforms).cpu()
    assert torch.equal(here, there)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_wide_rows_fused_against_eager(optimizer):
    """One step of 64 x 151,936 float32: log Z and H within the stated bound of what is stored."""
    extra = {"optimizer": optimizer, "learning_rate": 0.01} if optimizer == "adamw" else {}
    experiment = _wide(64, **extra)
    engine = TokensEngine(device="cuda", dtype="float32")
    assert engine.kernels == "fused"
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    for minibatch in rollout:
        state, _ = engine.step(state, rollout, minibatch, Directive())
    exact = reference.measure(state.logits)
    x = state.logits.double() - exact.log_z[:, None]
    bound = torch.finfo(torch.float32).eps * (x.exp() * (x.abs() + 8) * (x.abs() + 1 + exact.entropy[:, None])).sum(-1)
    assert torch.all((state.norm.entropy - exact.entropy).abs() <= bound)
    assert torch.all((state.norm.log_z - exact.log_z).abs() <= bound)


def test_memory_stays_near_the_two_tables():
    """Logits and pi_old are 1.2 GB here; everything else of a run together stays within a tenth of them once drawn."""
    experiment = _wide(1024)
    engine = TokensEngine(device="cuda", dtype="float32")
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    for k in range(4):
        rollout.draws.take(k)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for minibatch in rollout:
        state, _ = engine.step(state, rollout, minibatch, Directive())
    tables = 2 * 4 * 1024 * VOCAB
    assert torch.cuda.max_memory_allocated() <= 1.1 * tables


def test_a_run_has_books_that_balance():
    ledger = run(_wide(32), "tokens", device="cuda", dtype="float32")
    arm = ledger.summary()["arms"]["both"]
    assert math.isfinite(arm["measured"])
    assert arm["verdict"] != "reject"


def test_out_of_memory_is_foreseen():
    free = torch.cuda.mem_get_info()[0]
    contexts = int(free // (4 * VOCAB)) + 1
    with pytest.raises(SpecError, match="GiB are free on cuda"):
        run(_wide(contexts), "tokens", device="cuda", dtype="float32")


def test_duplicated_actions_add_up_on_the_device():
    actions = torch.zeros((3, 64), dtype=torch.int64, device="cuda")
    slots = distinct(actions, torch.ones((3, 64), dtype=torch.float64, device="cuda"))
    assert slots.count.tolist() == [1, 1, 1]
    assert slots.push[:, 0].tolist() == [64.0] * 3


if torch.cuda.is_available() and importlib.util.find_spec("triton") is not None:
    from tests.engines.tokens.fused_cases import *  # noqa: F403  the cases that elsewhere are interpreted, compiled
