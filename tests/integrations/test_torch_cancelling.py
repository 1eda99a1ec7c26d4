"""Causes that cancel under Adam, whose second moment is that of the step that was taken."""

from __future__ import annotations

import pytest
import torch

from entclip.engines.llm.optimizers import adam_reach
from entclip.integrations.torch import EntropyLedger
from tests.integrations.loops import logits_of, made, sample


@pytest.mark.parametrize("updates", [1, 2, 30])
def test_no_gradient_moves_adam_further_than_its_reach(updates):
    """A gradient that comes after many that were 0 is the one that moves furthest."""
    weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.9, 0.99), eps=0.0)
    slope = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for k in range(updates):
        weight.grad = slope.sign() * (1e-3 if k == updates - 1 else 1e-16)
        before = weight.detach().clone()
        optimizer.step()
    moved = -float(slope @ (weight.detach() - before))
    assert moved == pytest.approx(adam_reach(optimizer, [slope]), rel=1e-9)


@pytest.mark.parametrize("beyond", [False, True])
def test_causes_beyond_it_are_said(beyond):
    """The embedding of one context has clipped tokens alone: its gradient and second moment are 0, and eps divides."""
    model, optimizer = made(torch.optim.Adam, lr=0.05)
    contexts, actions, old, _, mask = sample(model, 0)
    advantages = torch.ones(8, dtype=torch.float64)
    old = torch.where((contexts == contexts[0, 0]) & beyond, old - 0.5, old)
    with EntropyLedger(model, optimizer, logits=logits_of, every=1) as ledger:
        ledger.rollout(contexts)
        log_probs = torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0]
        ledger.minibatch(log_probs, old, advantages, mask)
        (-(torch.exp(log_probs - old).clamp(max=1.2) * mask).sum() / mask.sum()).backward()
        optimizer.step()
    row = ledger.rows[0]
    assert (abs(row["clip_high"]) > 1e3) == beyond
    assert abs(row["unclipped"] + row["clip_high"]) < 1
    said = [note for note in ledger.notes if "larger than what any gradient could do" in note]
    assert len(said) == beyond
