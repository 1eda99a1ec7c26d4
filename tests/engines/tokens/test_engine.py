"""The tokens engine against the numpy engine on the same samples, its sampling law, its blocks, Adam against torch, resuming."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from entclip.engines.base import Directive
from entclip.engines.samples import Samples, Sums
from entclip.engines.tabular.sampled import SampledEngine
from entclip.engines.tokens.draws import inverse_transform
from entclip.engines.tokens.engine import TokensEngine
from entclip.engines.tokens.kernels import reference
from entclip.experiments.experiment import parse_experiment
from entclip.objectives.base import CAUSES
from entclip.policies.softmax import log_softmax
from entclip.runs.runner import check, run
from entclip.support.errors import SpecError
from tests.family import UNBOUNDED, family
from tests.tolerances import IDENTITY, assert_unit_means

OBJECTIVES = family(0.05)

SETTINGS = {
    "independent": {"advantage": {"kind": "independent"}, "reward": {"kind": "rademacher"}},
    "group": {"advantage": {"kind": "group", "size": 4}, "reward": {"kind": "bernoulli", "p": 0.3}},
    "std": {"advantage": {"kind": "group", "size": 4, "scale": "std", "eps": 0.1}, "reward": {"kind": "gaussian"}},
    "table": {"advantage": {"kind": "group", "size": 4}, "reward": {"kind": "table", "values": [1.0, 0.0, 0.5, 0.0] * 10}},
}
ENTROPIES = {"entropy_before", "entropy", "measured", "remainder"}


def _experiment(**changes):
    update = {"learning_rate": 0.2, "batch": 64, "minibatches": 4, "rollouts": 2} | changes.pop("update", {})
    policy = {"kind": "dirichlet", "vocab": 8, "contexts": 40}
    arms = [{"name": "both"}, {"name": "none", "objective": "none"}]
    return parse_experiment({"policy": policy, "update": update, "arm": arms} | changes)


def _conformance(geometry, objective, setting, vocab=40):
    rate = {"natural": 0.05, "euclidean": 2.0}[geometry]
    return parse_experiment(
        {
            "policy": {"kind": "dirichlet", "vocab": vocab, "contexts": 6},
            "weights": [0.5, 0.5, 1, 1, 1.5, 1.5],
            "update": {"geometry": geometry, "learning_rate": rate, "batch": 32, "minibatches": 3, "rollouts": 1},
            "arm": [{"name": "a", "objective": OBJECTIVES[objective]}],
            **SETTINGS[setting],
        }
    )


def scales(columns, rate):
    """For each column the size of the terms that it adds up: what its rounding is relative to."""
    h, moved = columns["entropy_before"], columns["_scale"] + sum(np.abs(columns[c]) for c in CAUSES)
    out = {}
    for name, value in columns.items():
        if name in ENTROPIES:
            out[name] = 1 + h
        elif name in (*CAUSES, "_inner", "curvature", "step_variance"):
            out[name] = moved + np.abs(value)
        elif name.startswith("expected_"):
            out[name] = rate + np.abs(value)
        else:
            out[name] = 1 + np.abs(value)
    return out


def assert_same_columns(ours, theirs, rate, dtype):
    assert set(ours) == set(theirs)
    for name, scale in scales(theirs, rate).items():
        if name in ("_bound", "_scale"):  # allowances, not results
            continue
        error = np.abs(ours[name] - theirs[name])
        assert np.all(error <= IDENTITY[dtype] * scale), (name, np.max(error / scale))


def follow(engine, experiment, batches):
    """Entries of an engine on given samples, with the oracle's beside them."""
    objective = experiment.arm[0].build()
    oracle = SampledEngine()
    state, rollout = engine.roll_out(engine.start(experiment, objective))
    theirs, their_rollout = oracle.roll_out(oracle.start(experiment, objective))
    for minibatch, samples in zip(their_rollout, batches, strict=True):
        injected = dataclasses.replace(minibatch, samples=samples)
        state, ours = engine.step(state, rollout, injected, Directive())
        theirs, expected = oracle.step(theirs, their_rollout, injected, Directive())
        yield ours, expected
    logits = state.logits.double().cpu().numpy()
    np.testing.assert_allclose(
        log_softmax(logits), theirs.log_probs[:, 0], rtol=0, atol=3e-6 if engine.dtype == torch.float32 else 1e-13
    )


def batches_of(experiment, actions=12):
    """Repeated actions, real-valued advantages: every path of the sums is used."""
    rng = np.random.default_rng(1)
    shape = (experiment.replicas * experiment.policy.contexts, experiment.update.batch)
    return [Samples(rng.integers(0, actions, shape), rng.normal(size=shape)) for _ in range(experiment.update.minibatches)]


@pytest.mark.parametrize("kernels", ["eager", "reference"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize(
    ("objective", "setting"),
    [*((o, "group") for o in OBJECTIVES), ("clip", "independent"), ("dual_clip", "std"), ("ce_gppo", "table")],
)
def test_every_column_is_that_of_the_numpy_engine(objective, setting, geometry, dtype, kernels):
    """The same samples in both engines, three updates: every column, clip sets occupied, to 64 ulps of what it adds up."""
    experiment = _conformance(geometry, objective, setting)
    seen = 0.0
    for ours, theirs in follow(TokensEngine(dtype=dtype, kernels=kernels), experiment, batches_of(experiment)):
        assert_same_columns(ours.columns, theirs.columns, experiment.update.learning_rate, dtype)
        seen += float(np.sum(theirs.columns["pi_low"] + theirs.columns["pi_high"]))
    assert seen > 0.1 or objective in UNBOUNDED, "no action beyond a bound: the test would see nothing"


def test_remainder_bound_of_the_passes_holds_and_is_third_order():
    """T3's closed form stands above the remainder of every update and shrinks with the cube of the step."""
    worst = {}
    for rate in (2.0, 0.2):
        experiment = _conformance("euclidean", "clip", "group")
        experiment = experiment.model_copy(update={"update": experiment.update.model_copy(update={"learning_rate": rate})})
        entries = [ours for ours, _ in follow(TokensEngine(kernels="reference"), experiment, batches_of(experiment))]
        assert all(np.all(np.abs(e.columns["remainder"]) <= e.columns["_bound"]) for e in entries)
        worst[rate] = entries[0].columns["_bound"].max()
    assert worst[2.0] / worst[0.2] > 900


@pytest.mark.parametrize(("geometry", "rate"), [("euclidean", 30.0), ("natural", 3.0)])
def test_steps_that_move_the_mass_to_and_fro(geometry, rate):
    """Pull and push of tens of nats that nearly cancel: log Z and H are measured again where little is left of them."""
    experiment = _experiment(update={"geometry": geometry, "learning_rate": rate, "rollouts": 3}, replicas=2)
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
        experiment = _experiment(update={"geometry": "euclidean"})
        state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
        for minibatch in rollout:
            before = state.norm.entropy.numpy()
            state, entry = engine.step(state, rollout, minibatch, Directive())
            assert np.max(np.abs(entry.columns["entropy_before"] - before)) < 1e-14
            exact = reference.measure(state.logits)
            assert np.max(np.abs(entry.columns["entropy"] - exact.entropy.numpy())) < 1e-14
            difference = entry.columns["entropy"] - entry.columns["entropy_before"]
            assert np.max(np.abs(entry.columns["measured"] - difference)) < 1e-14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sampling_follows_the_policy(dtype):
    """Chi-square of 200,000 draws of a row against its probabilities; the same draws reject the probabilities of another row."""
    rng = np.random.default_rng(5)
    logits = torch.tensor(2 * rng.standard_normal((2, 30)), dtype=dtype)
    norm = reference.measure(logits)
    actions = inverse_transform(logits, norm.log_z, rng.random((2, 200_000)))
    expected = 200_000 * torch.exp(logits.double() - norm.log_z[:, None]).numpy()
    observed = np.stack([np.bincount(a, minlength=30) for a in actions.numpy()])
    common = expected.min(axis=0) > 5
    statistic = np.sum((observed - expected)[:, common] ** 2 / expected[:, common], axis=1)
    limit = stats.chi2(common.sum()).isf(2 * stats.norm.sf(5))
    assert np.all(statistic < limit)
    assert np.sum((observed[0] - expected[1])[common] ** 2 / expected[1][common]) > limit


def test_sampling_hits_the_edges_and_never_an_empty_action():
    logits = torch.tensor([[-800.0, 0.0, -800.0, 0.0, -800.0]], dtype=torch.float64)
    uniforms = np.array([[0.0, 0.4999, 0.5, np.nextafter(1, 0)]])
    assert inverse_transform(logits, reference.measure(logits).log_z, uniforms).tolist() == [[1, 1, 3, 3]]


@pytest.mark.parametrize("changes", [{}, {"reward": {"kind": "gaussian"}, "advantage": {"kind": "group", "size": 8}}])
def test_antithetic_pairs_cancel_the_unclipped_walk(changes):
    """In the first update mirrored rewards give opposite steps: the first-order part cancels within each pair, curvature adds."""
    experiment = _experiment(replicas=2, antithetic=True, ledger={"detail": "context"}, **changes)
    frame = run(experiment, "tokens").to_frame("contexts")
    first = frame[(frame["step"] == 0) & (frame["arm"] == "none")]
    first = first.pivot(index="context", columns="replica", values=["unclipped", "curvature"])
    a, b = (first["unclipped"][k].to_numpy() for k in (0, 1))
    assert np.allclose(a, -b, rtol=0, atol=1e-14)
    assert np.abs(a).max() > 1e-4
    assert np.allclose(first["curvature"][0], first["curvature"][1], rtol=1e-10)


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
        experiment = _experiment(update={"rollouts": 1, "minibatches": 2, **update})
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


def test_more_replicas_keep_the_earlier_ones():
    few = run(_experiment(replicas=2, ledger={"detail": "context"}), "tokens").to_frame("contexts")
    many = run(_experiment(replicas=3, ledger={"detail": "context"}), "tokens").to_frame("contexts")
    merged = few.merge(many, on=["arm", "step", "replica", "context"], suffixes=("", "_many"))
    assert len(merged) == len(few)
    assert np.allclose(merged["measured"], merged["measured_many"], rtol=0, atol=1e-13)


def test_minibatches_can_be_drawn_again_and_in_any_order():
    experiment = _experiment()
    engine = TokensEngine()
    _, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    first = rollout.draws.take(2)
    rollout.draws._ahead.clear()
    rollout.draws.take(0)
    assert all(torch.equal(a, b) for a, b in zip(first, rollout.draws.take(2), strict=True))
    assert not torch.equal(first[0], rollout.draws.take(1)[0])


@pytest.mark.statistical
@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize(
    "changes",
    [
        {
            "advantage": {"kind": "group", "size": 8},
            "reward": {"kind": "bernoulli", "p": 0.3},
            "weights": [0.5] * 20 + [1.5] * 20,
        },
        {"advantage": {"kind": "group", "size": 4}, "reward": {"kind": "table", "values": [1, 0, 0, 0, 1, 0, 0, 0.5]}},
        {"reward": {"kind": "table", "values": [1, 0, 0, 0, 1, 0, 0, 0.5]}},
        {"reward": {"kind": "gaussian"}, "antithetic": True},
        {"update": {"minibatch": "shuffled"}},
    ],
)
def test_theory_is_not_rejected(geometry, changes):
    rate = 0.2 if geometry == "natural" else 2.0
    update = {"geometry": geometry, "learning_rate": rate, **changes.get("update", {})}
    verdict = check(_experiment(**{**changes, "replicas": 8, "update": update}), "tokens")
    scores = {(n, k): a[k] for n, a in verdict.summary["arms"].items() for k in a if k.startswith("z_")}
    assert verdict.verdict != "reject", scores


@pytest.mark.statistical
def test_controls_do_what_they_say():
    arms = [
        {"name": "both", "low": 0.05, "high": 0.15},
        {"name": "dropped", "objective": "none", "control": {"kind": "drop", "like": "both"}},
        {"name": "matched", "objective": "none", "control": {"kind": "match_kl", "like": "both"}},
    ]
    ledger = run(_experiment(arm=arms, replicas=20, ledger={"detail": "context"}), "tokens")
    frame = ledger.to_frame().set_index(["arm", "step"])
    matched = ledger.to_frame("contexts").query("arm == 'matched'")
    assert_unit_means(matched, "step_variance", frame.loc["both"]["step_variance"])
    for side, sign in (("high", "plus"), ("low", "minus")):
        share = frame.loc["both"][f"clip_count_{side}"] / frame.loc["both"][f"count_{sign}"]
        se = np.sqrt(64 * 0.25 / 800)  # survivors of 64 samples of 800 units
        assert share.max() * 32 > 5 * se
        assert np.all(np.abs(frame.loc["dropped"][f"count_{sign}"] - 32 * (1 - share)) <= 5 * se)
    assert all(ledger.summary()["arms"][name]["verdict"] != "reject" for name in ("dropped", "matched"))


ADAMS = {
    "adam": {"optimizer": "adam"},
    "l2": {"optimizer": "adam", "weight_decay": 0.002},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1, "betas": [0.8, 0.95], "eps": 1e-5},
}


def _adam_experiment(name, **changes):
    update = {"geometry": "euclidean", "learning_rate": 0.03, "batch": 32, "minibatches": 3, "rollouts": 2} | ADAMS[name]
    arms = [{"name": "a", "low": 0.05, "high": 0.05}]
    policy = {"kind": "dirichlet", "vocab": 40, "contexts": 6}
    return parse_experiment({"policy": policy, "update": update, "arm": arms, "weights": [0.5, 0.5, 1, 1, 1.5, 1.5]} | changes)


@pytest.mark.parametrize("name", ADAMS)
def test_adam_is_torch_adam_on_the_surrogate(name):
    """Six updates over two rollouts against torch.optim on -d(s) mean min(r A, clip(r) A) by autograd; every logit to 1e-10."""
    experiment = _adam_experiment(name)
    spec, engine = experiment.update, TokensEngine()
    state = engine.start(experiment, experiment.arm[0].build())
    theta = state.logits.clone().requires_grad_(True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.optimizer]
    optimizer = kind([theta], lr=spec.learning_rate, betas=spec.betas, eps=spec.eps, weight_decay=spec.weight_decay)
    d = torch.tensor(state.context_weight)[:, None]
    clipped = 0.0
    for _ in range(2):
        state, rollout = engine.roll_out(state)
        old = torch.log_softmax(theta.detach(), dim=-1)
        for minibatch, samples in zip(rollout, batches_of(experiment), strict=True):
            actions, advantages = (torch.tensor(x) for x in samples)
            ratio = torch.exp((torch.log_softmax(theta, dim=-1) - old).gather(1, actions))
            loss = -(d * torch.minimum(ratio * advantages, ratio.clamp(0.95, 1.05) * advantages)).mean(dim=1).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            state, entry = engine.step(state, rollout, dataclasses.replace(minibatch, samples=samples), Directive())
            clipped += entry.columns["clip_count_low"].sum() + entry.columns["clip_count_high"].sum()
            assert torch.max(torch.abs(state.logits - theta.detach())) < 1e-10
    assert clipped > 50


@pytest.mark.parametrize("name", ADAMS)
def test_adam_causes_are_the_parts_of_the_step(name):
    """T13's split, made again with tables: parts of the gradient through the preconditioner of the actual step, along grad H."""
    experiment = _adam_experiment(name)
    spec, engine = experiment.update, TokensEngine()
    objective = experiment.arm[0].build()
    state, rollout = engine.roll_out(engine.start(experiment, objective))
    (b1, b2), rate = spec.betas, spec.learning_rate
    for t, (minibatch, samples) in enumerate(zip(rollout, batches_of(experiment), strict=True), start=1):
        theta, (m, v), old = state.logits.clone(), (x.clone() for x in state.moments), state.old_logits
        probs = torch.softmax(theta, -1)
        actions, advantages = (torch.tensor(x) for x in samples)
        ratio = torch.exp(torch.log_softmax(theta, -1) - torch.log_softmax(old, -1)).gather(1, actions)
        low, high = (ratio < 0.95) & (advantages < 0), (ratio > 1.05) & (advantages > 0)
        each = torch.tensor(state.context_weight)[:, None] * ratio * advantages / 32

        def gradient(weight, actions=actions, probs=probs):
            return torch.zeros_like(probs).scatter_add_(1, actions, weight) - probs * weight.sum(1, keepdim=True)

        parts = {"unclipped": gradient(each), "clip_low": gradient(-each * low), "clip_high": gradient(-each * high)}
        drag = -spec.weight_decay * theta
        coupled = spec.optimizer == "adam"
        g = sum(parts.values()) + (drag if coupled else 0)
        scale = rate / (1 - b1**t) / ((b2 * v + (1 - b2) * g**2).div(1 - b2**t).sqrt() + spec.eps)
        slope = -probs * (torch.log(probs) - (probs * torch.log(probs)).sum(-1, keepdim=True))
        steps = {cause: (1 - b1) * scale * x for cause, x in parts.items()} | {"momentum": scale * b1 * m}
        if spec.weight_decay:
            steps["weight_decay"] = (1 - b1) * scale * drag if coupled else rate * drag
        state, entry = engine.step(state, rollout, dataclasses.replace(minibatch, samples=samples), Directive())
        for cause, step in steps.items():
            expected = (slope * step).sum(-1).numpy()
            terms = (slope * step).abs().sum(-1).numpy() + entry.columns["_scale"]
            assert np.all(np.abs(entry.columns[cause] - expected) <= IDENTITY["float64"] * terms), cause
        total = sum(steps.values())
        measured = -torch.special.entr(torch.softmax(theta, -1)).sum(-1) + torch.special.entr(
            torch.softmax(theta + total, -1)
        ).sum(-1)
        assert np.allclose(entry.columns["measured"], measured.numpy(), rtol=0, atol=1e-13)
        assert not [c for c in entry.columns if c.startswith("expected_")]
    assert np.abs(entry.columns["momentum"]).max() > 1e-4


def test_adam_ignores_a_pull_that_is_rounding():
    """Whole groups without clipping cancel exactly; what rounding leaves must not become a step of size eta (v starts at 0)."""
    experiment = _adam_experiment(
        "adam", update={"geometry": "euclidean", "optimizer": "adam", "eps": 1e-30, "batch": 6, "minibatches": 1}
    )
    engine = TokensEngine()
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    before = state.logits.clone()
    actions = np.tile([0, 1, 2, 3, 4, 5], (6, 1))
    advantages = np.tile([0.1, 0.2, 0.3, -0.1, -0.2, -0.3], (6, 1))
    samples = Samples(actions, advantages)
    state, _ = engine.step(state, rollout, dataclasses.replace(rollout.minibatches[0], samples=samples), Directive())
    assert torch.equal(state.logits[:, 6:], before[:, 6:])
    assert torch.all(state.logits[:, :6] != before[:, :6])


@pytest.mark.parametrize(
    ("dtype", "update"),
    [
        ("float64", {}),
        ("float32", {"geometry": "euclidean"}),
        ("float32", {"geometry": "euclidean", **ADAMS["adamw"], "learning_rate": 0.02}),
    ],
)
def test_interrupted_run_resumes_bit_for_bit(tmp_path, dtype, update):
    experiment = _experiment(update={"rollouts": 3, "minibatches": 2, **update})
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
    experiment = _experiment(perturbation={"law": "flat", "rms": 0.2}, update={"rollouts": 1, "minibatches": 2})
    for ours, theirs in follow(TokensEngine(kernels="reference"), experiment, batches_of(experiment, actions=8)):
        assert_same_columns(ours.columns, theirs.columns, 0.2, "float64")
        assert theirs.columns["pi_low"].max() > 0.1


def test_equal_contexts_are_not_listed_before_they_are_tables():
    experiment = _experiment(policy={"kind": "zipf", "vocab": 9, "contexts": 3}, weights=[1, 2, 3], update={"rollouts": 1})
    engine = TokensEngine()
    state = engine.start(experiment, experiment.arm[0].build())
    assert np.allclose(torch.softmax(state.logits, -1) * sum(1 / k for k in range(1, 10)), 1 / np.arange(1, 10))
    assert np.allclose(state.context_weight, [0.5, 1.0, 1.5])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_device_is_refused():
    with pytest.raises(SpecError, match="no CUDA device can be used"):
        run(_experiment(), "tokens", device="cuda")


def test_refusals_name_the_limit(monkeypatch):
    with pytest.raises(SpecError, match='"cpu" or "cuda"'):
        TokensEngine(device="tpu")
    with pytest.raises(SpecError, match="bfloat16"):
        TokensEngine(dtype="bfloat16")
    huge = _experiment(policy={"kind": "zipf", "vocab": 262_144, "contexts": 10_000_000})
    with pytest.raises(
        SpecError, match=r"38\.\d TiB of memory, most of it for 2 tables of 10,000,000 x 262,144 float64, but .* are free"
    ):
        run(huge, "tokens")
    with pytest.raises(SpecError, match="4 tables"):
        run(huge.model_copy(update={"update": _adam_experiment("adam").update}), "tokens")
    with pytest.raises(SpecError, match="one token per sequence"):
        run(_experiment(policy={"kind": "autoregressive", "vocab": 2, "length": 2}), "tokens")
    monkeypatch.setattr("entclip.engines.tokens.expected._MAX_LEVEL_BYTES", 100)
    with pytest.raises(SpecError, match="3 distinct values over 8 actions"):
        run(_experiment(reward={"kind": "table", "values": [1, 0, 0, 0, 1, 0, 0, 0.5]}), "tokens")
    arms = [{"name": "a"}, {"name": "b", "control": {"kind": "match_kl", "like": "a"}}]
    with pytest.raises(SpecError, match="match_kl"):
        run(_adam_experiment("adam", arm=arms), "tokens")
    experiment, engine = _experiment(), TokensEngine()
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    sums = Sums(*[np.zeros((40, 8))] * 4)
    with pytest.raises(SpecError, match=r"Minibatch\.samples"):
        engine.step(state, rollout, dataclasses.replace(rollout.minibatches[0], sums=sums), Directive())


@pytest.mark.parametrize("kernels", ["eager", "reference"])
def test_runaway_steps_are_an_error(kernels):
    experiment = _experiment(update={"geometry": "natural"})
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
