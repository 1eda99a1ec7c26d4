"""Weights on grad log pi by cause against the surrogate itself, and optimiser steps by cause (T13) against the optimiser."""

import math

import pytest
import torch

from entclip import Clip
from entclip.engines.llm.causes import token_share, token_weights
from entclip.engines.llm.optimizers import MOMENT, carry, step_by_cause
from entclip.objectives.base import Keep, weight
from entclip.objectives.clip import surrogate
from entclip.objectives.none import NoClip
from tests.family import members
from tests.seen import seen

OBJECTIVES = members(0.2)


def batch(seed=0, rows=5, length=7):
    g = torch.Generator().manual_seed(seed)
    old = -3 * torch.rand(rows, length, generator=g, dtype=torch.float64)
    new = old + 0.4 * torch.randn(rows, length, generator=g, dtype=torch.float64)
    lengths = torch.tensor([7, 1, 4, 6, 2])[:rows]
    mask = torch.arange(length) < lengths[:, None]
    advantages = torch.tensor([[1.2], [-0.7], [0.4], [-1.1], [0.3]], dtype=torch.float64)[:rows]
    return torch.where(mask, new, 0.0), torch.where(mask, old, 0.0), advantages, mask


def test_shares_of_ragged_responses():
    *_, mask = batch()
    token, sequence = token_share(mask, "token"), token_share(mask, "sequence")
    torch.testing.assert_close(token[mask], torch.full((20,), 1 / 20, dtype=torch.float64))
    torch.testing.assert_close(sequence[1, 0], torch.tensor(1 / 5, dtype=torch.float64))
    torch.testing.assert_close(sequence[2, :4], torch.full((4,), 1 / 20, dtype=torch.float64))
    assert not token[~mask].any()
    assert not sequence[~mask].any()
    assert float(sequence.sum()) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize("aggregation", ["token", "sequence"])
def test_weights_are_the_gradient_of_the_clipped_surrogate(aggregation):
    new, old, advantages, mask = batch()
    clip, share = Clip(0.2, 0.28), token_share(mask, aggregation)
    leaf = new.clone().requires_grad_()
    value = (surrogate(clip, torch.exp(leaf - old), advantages) * share).sum()
    (gradient,) = torch.autograd.grad(value, leaf)
    found = token_weights(clip, new, old, advantages, mask, share)
    torch.testing.assert_close(sum(found.by_cause.values()), gradient, rtol=1e-10, atol=1e-14)
    clipped = ((torch.exp(new - old) > 1.28) & (advantages > 0) & mask).sum()
    assert found.counts["clip_count_high"] == float(clipped) > 0
    assert found.counts["clip_count_low"] == float(((torch.exp(new - old) < 0.8) & (advantages < 0) & mask).sum()) > 0
    assert found.ratio_max == pytest.approx(float(torch.exp(new - old)[mask].max()), rel=1e-14)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_causes_of_every_objective_add_up_to_its_weight(objective):
    new, old, advantages, mask = batch(1)
    share = token_share(mask, "token")
    found = token_weights(objective, new, old, advantages, mask, share)
    want = weight(objective, seen(torch.exp(new - old), torch.exp(old)), advantages) * share
    torch.testing.assert_close(sum(found.by_cause.values()), want, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(found.by_cause["unclipped"], torch.exp(new - old) * advantages * share, rtol=1e-12, atol=1e-15)


def test_a_random_drop_keeps_the_unclipped_part_unbiased():
    new, old, advantages, mask = batch(2)
    share, chance = token_share(mask, "token"), 0.75
    g = torch.Generator().manual_seed(3)
    repeats = 1000
    sums = torch.zeros(repeats, dtype=torch.float64)
    for k in range(repeats):
        coins = (torch.rand(mask.shape, generator=g) < chance).double()
        found = token_weights(NoClip(), new, old, advantages, mask, share, Keep(chance, chance), coins)
        sums[k] = found.by_cause["unclipped"].sum()
        torch.testing.assert_close(sum(found.by_cause.values()), torch.exp(new - old) * advantages * coins * share)
    want = float((torch.exp(new - old) * advantages * share).sum())
    error = float(sums.std()) / math.sqrt(repeats)
    assert abs(float(sums.mean()) - want) < 5 * error


def train(kind, steps, causes=("unclipped", "clip_low"), **options):
    """A few steps of an optimiser on random gradients; last step by cause, carried and not, and the step it took."""
    g = torch.Generator().manual_seed(4)
    parameters = [torch.nn.Parameter(torch.randn(3, 2, generator=g, dtype=torch.float64)) for _ in range(2)]
    optimizer = kind(parameters, lr=0.05, **options)
    moments = {}
    for _ in range(steps):
        gradients = {c: [torch.randn(3, 2, generator=g, dtype=torch.float64) for _ in parameters] for c in causes}
        held = [optimizer.state.get(p, {}).get(MOMENT[kind]) for p in parameters]
        before = [
            {"value": p.detach().clone(), "moment": None if m is None else m.clone()}
            for p, m in zip(parameters, held, strict=True)
        ]
        for index, p in enumerate(parameters):
            p.grad = -sum(gradients[c][index] for c in causes)
        optimizer.step()
        carry(moments, gradients, options.get("betas", (0.9, 0.0))[0])
    slope = [torch.randn(3, 2, generator=g, dtype=torch.float64) for _ in parameters]
    taken = sum(float((s * (p.detach() - b["value"])).sum()) for s, p, b in zip(slope, parameters, before, strict=True))
    return optimizer, before, gradients, slope, moments, taken


ADAM = {"betas": (0.9, 0.95), "eps": 1e-6}


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {}),
        (torch.optim.SGD, {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.2}),
        (torch.optim.SGD, {"momentum": 0.8, "nesterov": True, "weight_decay": 0.2}),
        (torch.optim.Adam, ADAM),
        (torch.optim.Adam, ADAM | {"amsgrad": True}),
        (torch.optim.Adam, ADAM | {"weight_decay": 0.3}),
        (torch.optim.AdamW, ADAM | {"weight_decay": 0.3}),
    ],
)
def test_steps_by_cause_add_up_to_the_step(kind, options, steps):
    optimizer, before, gradients, slope, _, taken = train(kind, steps, **options)
    parts = step_by_cause(optimizer, before, gradients, slope)
    scale = sum(abs(v) for v in parts.values())
    assert abs(sum(parts.values()) - taken) < 1e-13 * scale
    moving = kind is not torch.optim.SGD or "momentum" in options
    assert ("momentum" in parts) == moving
    if moving:
        assert (parts["momentum"] != 0) == (steps > 1)
        assert (parts["weight_decay"] != 0) == bool(options.get("weight_decay"))


def test_momentum_carried_by_cause_leaves_no_line_of_its_own():
    optimizer, before, gradients, slope, moments, taken = train(torch.optim.AdamW, 4, **ADAM, weight_decay=0.3)
    parts = step_by_cause(optimizer, before, gradients, slope, moments)
    line = step_by_cause(optimizer, before, gradients, slope)
    assert "momentum" not in parts
    assert abs(sum(parts.values()) - taken) < 1e-13 * sum(abs(v) for v in parts.values())
    carried = sum(parts[c] - line[c] for c in gradients)
    assert carried == pytest.approx(line["momentum"], rel=1e-10)


def test_a_cause_that_pauses_keeps_its_momentum():
    moments = {}
    carry(moments, {"clip_low": [torch.ones(1)]}, 0.9)
    carry(moments, {"clip_high": [torch.ones(1)]}, 0.9)
    assert float(moments["clip_low"][0]) == pytest.approx(0.09)
    assert float(moments["clip_high"][0]) == pytest.approx(0.1)
