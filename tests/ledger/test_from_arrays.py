"""ledger_from_arrays: the books of somebody else's update, from their arrays alone."""

from __future__ import annotations

import numpy as np
import pytest

from entclip import Clip, ledger_from_arrays
from entclip.policies.softmax import log_softmax


def _batch(rng, contexts=40, vocab=16):
    old = rng.normal(size=(contexts, vocab))
    before = old + 0.3 * rng.normal(size=(contexts, vocab))
    actions = rng.integers(vocab, size=contexts)
    advantages = rng.normal(size=contexts)
    old_log_probs = np.take_along_axis(log_softmax(old), actions[:, None], axis=-1)[:, 0]
    mask = rng.random(contexts) < 0.8
    return before, old_log_probs, actions, advantages, mask


def _policy_gradient_step(before, old_log_probs, actions, advantages, clip, eta):
    """One euclidean step per context on its own sample, clip written out."""
    log_probs = log_softmax(before)
    ratio = np.exp(np.take_along_axis(log_probs, actions[:, None], axis=-1)[:, 0] - old_log_probs)
    clipped = ((advantages > 0) & (ratio > 1 + clip.high)) | ((advantages < 0) & (ratio < 1 - clip.low))
    c = np.where(clipped, 0.0, ratio * advantages)
    return before + eta * c[:, None] * (np.eye(before.shape[1])[actions] - np.exp(log_probs)), clipped


def test_causes_add_up_to_the_first_order_change_of_a_policy_gradient_step():
    before, old_log_probs, actions, advantages, mask = _batch(np.random.default_rng(0))
    clip, eta = Clip(0.1, 0.1), 1e-3
    after, clipped = _policy_gradient_step(before, old_log_probs, actions, advantages, clip, eta)
    frame = ledger_from_arrays(before, after, old_log_probs, actions, advantages, mask, clip)
    assert len(frame) == mask.sum()
    causes = eta * frame[["unclipped", "clip_low", "clip_high", "other"]].sum(axis=1)
    assert np.allclose(causes, frame["first_order"], rtol=0, atol=1e-14)
    assert np.array_equal((frame["clipped_low"] | frame["clipped_high"]).to_numpy(), clipped[mask])
    assert frame["clipped_low"].any()
    assert frame["clipped_high"].any()
    total = frame[["first_order", "curvature", "remainder"]].sum(axis=1)
    assert np.allclose(total, frame["measured"], rtol=0, atol=1e-14)
    assert (frame["remainder"].abs() <= 1.5 * frame["remainder_scale"] + 1e-13).all()
    wrong = ledger_from_arrays(before, after, old_log_probs, actions, advantages, mask, Clip(0.1, 10.0))
    assert not np.allclose(
        eta * wrong[["unclipped", "clip_low", "clip_high"]].sum(axis=1), wrong["first_order"], rtol=0, atol=1e-14
    )


def test_torch_and_numpy_agree():
    torch = pytest.importorskip("torch")
    before, old_log_probs, actions, advantages, mask = _batch(np.random.default_rng(1))
    after = before + 0.01
    arrays = (before, after, old_log_probs, actions, advantages, mask)
    ours = ledger_from_arrays(*arrays, Clip())
    theirs = ledger_from_arrays(*(torch.from_numpy(x) for x in arrays), Clip())
    assert ours.equals(theirs)
    assert np.abs(ours["measured"]).max() < 1e-14, "a shift of all logits changes nothing"


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, lambda x: x * np.nan, "logits_before holds NaN"),
        (1, lambda x: x[:, :-1], "logits_after has shape"),
        (2, lambda x: x[:-1], "old_log_probs has leading shape"),
        (3, lambda x: x + 100, "must be in 0..V-1"),
        (5, lambda x: x & False, "mask leaves no context"),
    ],
)
def test_bad_arrays(index, change, message):
    before, old_log_probs, actions, advantages, mask = _batch(np.random.default_rng(2))
    arrays = [before, before, old_log_probs, actions, advantages, mask]
    arrays[index] = change(arrays[index])
    with pytest.raises(ValueError, match=message):
        ledger_from_arrays(*arrays, Clip())
