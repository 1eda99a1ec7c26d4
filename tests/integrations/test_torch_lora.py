"""The ledger where only adapters are trained: a low-rank change of a frozen head, as LoRA makes it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from entclip.integrations.torch import EntropyLedger
from tests.integrations.loops import Table, logits_of, sample, train


class Adapted(Table):
    """The table with a head that stays and a change of rank 2 that is trained; B starts at 0, as in LoRA."""

    def __init__(self):
        super().__init__()
        g = torch.Generator().manual_seed(1)
        self.embedding.requires_grad_(False)
        self.head.requires_grad_(False)
        self.down = torch.nn.Parameter(torch.randn(5, 2, generator=g, dtype=torch.float64))
        self.up = torch.nn.Parameter(torch.zeros(2, self.head.shape[1], dtype=torch.float64))

    def forward(self, contexts):
        return self.embedding[contexts] @ (self.head + 2.0 * self.down @ self.up)


def _entropy(model, contexts):
    log_probs = torch.log_softmax(model(contexts), -1)
    return -(log_probs.exp() * log_probs).sum(-1).mean()


@pytest.mark.parametrize(("kind", "rate"), [(torch.optim.SGD, 1.0), (torch.optim.AdamW, 0.05)])
def test_only_adapters_move_and_their_steps_are_the_causes(kind, rate):
    model = Adapted()
    frozen = [model.embedding.clone(), model.head.clone()]
    adapters = [model.down, model.up]
    optimizer = kind(adapters, lr=rate)
    contexts = sample(model, 0)[0]
    seen = []
    before = {}

    def at_step(*_):
        entropy = _entropy(model, contexts)
        before["slope"] = torch.autograd.grad(entropy, adapters)
        before["entropy"], before["values"] = entropy.item(), [p.detach().clone() for p in adapters]

    def after_step(*_):
        moved = [p.detach() - start for p, start in zip(adapters, before["values"], strict=True)]
        first = sum(float((g * d).sum()) for g, d in zip(before["slope"], moved, strict=True))
        seen.append((_entropy(model, contexts).item() - before["entropy"], first))

    optimizer.register_step_pre_hook(at_step)
    optimizer.register_step_post_hook(after_step)
    with EntropyLedger(model, optimizer, logits=logits_of, every=1, probe=[contexts]) as ledger:
        train(ledger, model, optimizer, rollouts=2, updates=3, norm=0.05)
    frame = ledger.to_frame()
    measured, first = np.array(seen).T
    causes = frame[["unclipped", "clip_low", "clip_high", "other", "momentum", "weight_decay", "norm_clip"]].sum(axis=1)
    assert np.allclose(frame["measured"], measured, rtol=0, atol=1e-12)
    assert np.allclose(causes, first, rtol=0, atol=1e-12)
    assert (np.abs(measured) > 1e-6).all()
    assert (frame[["clip_low", "clip_high"]] != 0).any(axis=None)
    assert torch.equal(model.embedding, frozen[0])
    assert torch.equal(model.head, frozen[1])
