"""Minibatches whose gradients no step takes are no part of the next update; the scale of the loss is that of its backward()."""

from __future__ import annotations

import pytest
import torch

from entclip.integrations.torch import EntropyLedger
from tests.integrations.loops import logits_of, made, sample

_NAMES = ("unclipped", "clip_low", "clip_high", "norm_clip", "measured", "samples", "clip_fraction_low")


def _loop(spoil, *, micro=1):
    """Four updates of one rollout; spoil(ledger, optimizer, loss, k) leaves something out before update k."""
    model, optimizer = made(lr=2.0)
    with EntropyLedger(model, optimizer, logits=logits_of, every=1) as ledger:
        contexts, actions, old, advantages, mask = sample(model, 0)
        ledger.rollout(contexts)

        def loss(part, factor=1.0):
            log_probs = torch.log_softmax(model(contexts[part]), -1).gather(-1, actions[part][..., None])[..., 0]
            ledger.minibatch(log_probs, old[part], advantages[part], mask[part], scale=factor)
            ratio, a = torch.exp(log_probs - old[part]), advantages[part][:, None]
            return -factor * (torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask[part]).sum() / mask[part].sum()

        for k in range(4):
            spoil(ledger, optimizer, loss, k)
            for part in torch.arange(8).split(8 // micro):
                loss(part, 1 / micro).backward()
            optimizer.step()
            optimizer.zero_grad()
    return [[row[name] for name in _NAMES] for row in ledger.rows], ledger.notes


def _guard(ledger, optimizer, loss, k):
    if k % 2:
        loss(slice(0, 4)).backward()
        optimizer.zero_grad(set_to_none=k == 1)


def _stop(ledger, optimizer, loss, k):
    if k % 2:
        loss(slice(0, 4))


def _say(ledger, optimizer, loss, k):
    if k % 2:
        loss(slice(0, 4)).backward()
        ledger.discard()
        optimizer.zero_grad()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_guard, "2 for their gradients were cleared before a step."),
        (_stop, "2 for no backward() came through them."),
        (_say, None),
    ],
)
@pytest.mark.parametrize("micro", [1, 2])
def test_what_a_loop_leaves_out_is_no_part_of_the_next_update(spoil, said, micro):
    plain, notes = _loop(lambda *_: None, micro=micro)
    assert len(plain) == 4
    left, more = _loop(spoil, micro=micro)
    assert left == plain
    assert [note for note in more if note not in notes] == (
        [] if said is None else [f"Minibatches that no step took and no row has: {said}"]
    )


def test_gradients_cleared_just_before_the_next_backward_are_seen():
    rows = []
    for skip in (False, True):
        model, optimizer = made(lr=2.0)
        ledger = EntropyLedger(model, optimizer, logits=logits_of, every=1)
        contexts, actions, old, advantages, mask = sample(model, 0)
        ledger.rollout(contexts)
        for k in range(5 if skip else 4):
            log_probs = torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0]
            ledger.minibatch(log_probs, old, advantages, mask)
            optimizer.zero_grad()
            ratio, a = torch.exp(log_probs - old), advantages[:, None]
            (-(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask).sum() / mask.sum()).backward()
            if not (skip and k == 2):
                optimizer.step()
        ledger.close()
        rows.append([[row[name] for name in _NAMES] for row in ledger.rows])
    assert rows[0] == rows[1]
    assert "1 for their gradients were cleared before a step." in ledger.notes[-1]


def test_minibatches_may_share_a_backward():
    def rows(joint, derived):
        model, optimizer = made()
        ledger = EntropyLedger(model, optimizer, logits=logits_of, every=1)
        contexts, actions, old, advantages, mask = sample(model, 0)
        ledger.rollout(contexts)
        losses = []
        for part in (slice(0, 4), slice(4, 8)):
            log_probs = torch.log_softmax(model(contexts[part]), -1).gather(-1, actions[part][..., None])[..., 0]
            ledger.minibatch(log_probs * 1.0 if derived else log_probs, old[part], advantages[part], mask[part], scale=0.5)
            ratio, a = torch.exp(log_probs - old[part]), advantages[part][:, None]
            losses.append(-0.5 * (torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask[part]).sum() / mask[part].sum())
            if not joint:
                losses.pop().backward()
        if joint:
            sum(losses).backward()
        optimizer.step()
        ledger.release()
        return [ledger.rows[0][name] for name in _NAMES]

    plain = rows(False, False)
    for joint, derived in ((True, False), (True, True), (False, True)):
        assert rows(joint, derived) == pytest.approx(plain, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("fused", [False, True])
def test_the_scale_is_that_of_the_backward(fused):
    """It grows between a step and the next backward()."""
    rows = []
    for scaler in (None, torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)):
        model, optimizer = made(lr=1.0, fused=fused)
        ledger = EntropyLedger(model, optimizer, logits=logits_of, every=1, scaler=scaler)
        contexts, actions, old, advantages, mask = sample(model, 0)
        ledger.rollout(contexts)
        for _ in range(7):
            log_probs = torch.log_softmax(model(contexts), -1).gather(-1, actions[..., None])[..., 0]
            ledger.minibatch(log_probs, old, advantages, mask)
            ratio, a = torch.exp(log_probs - old), advantages[:, None]
            loss = -(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * mask).sum() / mask.sum()
            if scaler is None:
                loss.backward()
                optimizer.step()
            else:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            optimizer.zero_grad()
        ledger.close()
        rows.append([[row[name] for name in _NAMES] for row in ledger.rows])
    for ours, theirs in zip(*rows, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-12, abs=1e-14)
