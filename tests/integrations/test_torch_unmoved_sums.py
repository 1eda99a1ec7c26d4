"""Steps that leave the sum of a parameter as it was, and weights that another hand moves: each is measured as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from entclip.integrations.recording.fingerprint import fingerprint
from entclip.integrations.torch import EntropyLedger


def _linear():
    return torch.nn.Sequential(torch.nn.Embedding(12, 16), torch.nn.Linear(16, 8))


def _entropy(model, probe):
    with torch.no_grad():
        log_probs = torch.log_softmax(model(probe), -1)
    return float(-(log_probs.exp() * log_probs).sum(-1).mean())


MODELS = {
    "logit table": (lambda: torch.nn.Embedding(12, 8), lambda m: m.parameters(), lambda p: torch.optim.SGD(p, lr=5.0)),
    "two actions": (lambda: torch.nn.Embedding(12, 2), lambda m: m.parameters(), lambda p: torch.optim.Adam(p, lr=0.03)),
    "head only": (_linear, lambda m: m[1].parameters(), lambda p: torch.optim.SGD(p, lr=0.5)),
}


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(("kind", "moved"), [*((kind, False) for kind in MODELS), ("head only", True)])
def test_every_measured_change_is_that_of_an_independent_look(kind, every, moved):
    """A gradient of logits adds up to 0 over the actions: tables and heads keep their sum. moved: other weights than this
    optimiser's go on after each of its steps."""
    make, trained, optimiser = MODELS[kind]
    torch.manual_seed(0)
    model, probe, seen, changes = make().double(), torch.arange(12), {}, []
    optimizer = optimiser(trained(model))
    optimizer.register_step_pre_hook(lambda *_: seen.update(before=_entropy(model, probe)))
    optimizer.register_step_post_hook(lambda *_: changes.append(_entropy(model, probe) - seen["before"]))
    ledger = EntropyLedger(model, optimizer, every=every, clip=(0.2, 0.28), logits=lambda m, c: m(c), probe=[probe])
    for _ in range(3):
        contexts = torch.randint(12, (16, 10))
        with torch.no_grad():
            log_probs = torch.log_softmax(model(contexts), -1)
        actions = torch.multinomial(log_probs.exp().flatten(0, 1), 1).view(16, 10, 1)
        old, advantages = log_probs.gather(-1, actions)[..., 0], torch.randn(16, 1).double()
        ledger.rollout(contexts)
        for _ in range(4):
            new = torch.log_softmax(model(contexts), -1).gather(-1, actions)[..., 0]
            ratio = torch.exp(new - old)
            ledger.minibatch(new, old, advantages)
            (-torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.28) * advantages).mean()).backward()
            optimizer.step()
            model.zero_grad()
            if moved:
                with torch.no_grad():
                    model[0].weight.mul_(0.9)
    ledger.close()
    frame = ledger.to_frame()
    np.testing.assert_allclose(frame.measured, np.array(changes)[frame.step.to_numpy()], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.complex128, torch.bool])
def test_a_fingerprint_sees_a_shift_between_two_weights_and_an_exchange(dtype):
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 2, (5,), generator=g).bool() if dtype is torch.bool else torch.randn(5, generator=g).to(dtype)
    known = fingerprint([x])
    assert fingerprint([x.clone()]) == known
    swapped = x.clone()
    first, second = (0, 1) if not bool(x[0] == x[1]) else (0, int((x != x[0]).nonzero()[0]))
    swapped[[first, second]] = x[[second, first]]
    assert fingerprint([swapped]) != known
    if dtype is not torch.bool:
        shifted = x.clone()
        shifted[0] += 0.5
        shifted[1] -= 0.5
        assert fingerprint([shifted]) != known
    assert fingerprint([torch.zeros(()), torch.zeros(0)]) == (0, 0)
