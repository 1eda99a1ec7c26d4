"""Adam of the tokens engine is torch's on the surrogate, and its causes are the parts of the step."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from entclip.engines.base import Directive
from entclip.engines.samples import Samples
from entclip.engines.tokens.engine import TokensEngine
from tests.engines.tokens.comparison import ADAMS, adam_experiment, batches_of
from tests.tolerances import IDENTITY


@pytest.mark.parametrize("name", ADAMS)
def test_adam_is_torch_adam_on_the_surrogate(name):
    """Six updates over two rollouts against torch.optim on -d(s) mean min(r A, clip(r) A) by autograd; every logit to 1e-10."""
    experiment = adam_experiment(name)
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
    experiment = adam_experiment(name)
    spec, engine = experiment.update, TokensEngine()
    objective = experiment.arm[0].build()
    state, rollout = engine.roll_out(engine.start(experiment, objective))
    (b1, b2), rate = spec.betas, spec.learning_rate
    for t, (minibatch, samples) in enumerate(zip(rollout, batches_of(experiment), strict=True), start=1):
        theta, (m, v), old = state.logits.clone(), (x.clone() for x in state.averages), state.old_logits
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
    experiment = adam_experiment(
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
