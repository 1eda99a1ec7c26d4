"""ledger_from_arrays: the books of somebody else's update, from their arrays alone."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from typer.testing import CliRunner

from entclip import Clip, ledger_from_arrays
from entclip.cli.app import app
from entclip.ledger.contexts_file import read_contexts
from entclip.policies.softmax import log_softmax
from entclip.support.errors import DamagedFileError


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


def _padded(rng, sequences=6, length=7, vocab=12):
    """A padded batch (B, T, V) with lengths that differ, and the same without padding."""
    before, old_log_probs, actions, _, _ = _batch(rng, sequences * length, vocab)
    after = before + 0.1 * rng.normal(size=before.shape)
    mask = np.arange(length) < rng.integers(1, length + 1, sequences)[:, None]
    shape = (sequences, length)
    return (
        before.reshape(*shape, vocab),
        after.reshape(*shape, vocab),
        old_log_probs.reshape(shape),
        actions.reshape(shape),
        rng.normal(size=sequences),
        mask,
    )


def test_nothing_is_read_where_the_mask_is_0():
    before, after, old, actions, advantages, mask = _padded(np.random.default_rng(3))
    clean = ledger_from_arrays(before, after, old, actions, np.broadcast_to(advantages[:, None], old.shape), mask, Clip())
    hole = ~mask
    before, after, old, actions = before.copy(), after.copy(), old.copy(), actions.astype(float)
    before[hole], after[hole], old[hole], actions[hole] = np.nan, np.inf, 1.0, -100.5
    each = np.broadcast_to(advantages[:, None], old.shape).copy()
    each[hole] = np.nan
    assert clean.equals(ledger_from_arrays(before, after, old, actions, each, mask, Clip()))
    assert clean.equals(ledger_from_arrays(before, after, old, actions, advantages, mask.astype(np.float32), (0.2, 0.2)))


def test_a_ragged_batch_is_a_padded_one_without_its_padding():
    before, after, old, actions, advantages, mask = _padded(np.random.default_rng(4))
    padded = ledger_from_arrays(before, after, old, actions, advantages, mask, (0.2, 0.28), weights=np.arange(6.0))
    parts = [[x[i][mask[i]] for i in range(len(mask))] for x in (before, after, old, actions)]
    ragged = ledger_from_arrays(*parts, list(advantages), None, Clip(0.2, 0.28), weights=list(range(6)))
    assert padded.drop(columns="context").equals(ragged.drop(columns="context"))
    assert list(ragged["context"]) == list(range(mask.sum()))
    assert list(padded["context"]) == list(np.flatnonzero(mask))


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float32"])
def test_tensors_of_lower_precision_give_what_their_rounded_values_give(kind):
    torch = pytest.importorskip("torch")
    before, after, old, actions, advantages, mask = _padded(np.random.default_rng(5))
    rounded = [torch.from_numpy(x).to(getattr(torch, kind)) for x in (before, after, old, advantages)]
    rounded[2] = rounded[2].clamp(max=0)
    whole = [x.double().numpy() for x in rounded]
    ids, counts = torch.from_numpy(actions), torch.from_numpy(mask)
    low = ledger_from_arrays(rounded[0].requires_grad_(), *rounded[1:3], ids, rounded[3], counts, Clip())
    assert low.equals(ledger_from_arrays(*whole[:3], actions, whole[3], mask, Clip()))


def test_illegal_actions_count_for_nothing():
    before, after, old, actions, advantages, mask = _padded(np.random.default_rng(6))
    plain = ledger_from_arrays(before, after, old, actions, advantages, mask, Clip())
    wide = [np.concatenate([x, np.full((*x.shape[:-1], 3), -np.inf)], axis=-1) for x in (before, after)]
    masked = ledger_from_arrays(*wide, old, actions, advantages, mask, Clip())
    # T3's remainder_scale and all sums have three more terms, each exactly 0.
    assert np.allclose(plain.to_numpy(float), masked.to_numpy(float), rtol=0, atol=1e-13, equal_nan=True)
    one_sided = [wide[0], np.where(np.isinf(wide[1]), 0.0, wide[1])]
    with pytest.raises(ValueError, match=r"illegal .* before the update and legal after it"):
        ledger_from_arrays(*one_sided, old, actions, advantages, mask, Clip())
    with pytest.raises(ValueError, match="action that was taken is illegal"):
        ledger_from_arrays(*wide, old, np.full_like(actions, 13), advantages, mask, Clip())


def test_weights_multiply_the_causes_alone():
    before, after, old, actions, advantages, mask = _padded(np.random.default_rng(7))
    one = ledger_from_arrays(before, after, old, actions, advantages, mask, Clip())
    share = 1 / mask.sum(axis=1)  # a mean over each response
    some = ledger_from_arrays(before, after, old, actions, advantages, mask, Clip(), weights=share)
    causes = ["unclipped", "clip_low", "clip_high", "other"]
    each = np.broadcast_to(share[:, None], mask.shape)[mask]
    assert np.allclose(some[causes], one[causes].mul(each, axis=0), rtol=1e-15, atol=0)
    assert some["measured"].equals(one["measured"])


def test_gaps_from_all_actions_and_their_unbiased_estimate_from_the_taken_one():
    """Summed over every action with its probability under pi_old, what the taken action tells is what all actions tell."""
    rng = np.random.default_rng(8)
    vocab = 9
    old, before = log_softmax(rng.normal(size=(5, vocab))), rng.normal(size=(5, vocab))
    whole = ledger_from_arrays(before, before, old, np.zeros(5), np.ones(5), None, Clip(0.1, 0.1))
    log_probs = log_softmax(before)
    ratio, surprisal = np.exp(log_probs - old), -log_probs
    for side, inside in (("low", ratio < 0.9), ("high", ratio > 1.1)):
        probability = (np.exp(log_probs) * inside).sum(axis=1)
        excess = surprisal - (np.exp(log_probs) * surprisal).sum(axis=1, keepdims=True)
        gap = (np.exp(log_probs) * excess * inside).sum(axis=1) / np.where(probability > 0, probability, np.nan)
        assert np.allclose(whole[f"pi_{side}"], probability, rtol=0, atol=1e-14)
        assert np.allclose(whole[f"gap_{side}"], gap, rtol=0, atol=1e-13, equal_nan=True)
        estimates = np.zeros((2, 5))
        for action in range(vocab):
            taken = ledger_from_arrays(before, before, old[:, action], np.full(5, action), np.ones(5), None, Clip(0.1, 0.1))
            chance = np.exp(old[:, action])
            estimates += chance * np.stack([taken[f"pi_{side}"], (taken[f"pi_{side}"] * taken[f"gap_{side}"]).fillna(0.0)])
        assert np.allclose(estimates, [probability, np.nan_to_num(gap) * probability], rtol=0, atol=1e-14)


def test_memory_does_not_grow_with_the_batch():
    """tracemalloc's peak beside the inputs: as much for 140 contexts as for 70, in chunks of 34."""
    rng, vocab, peaks = np.random.default_rng(9), 30_000, []
    for contexts in (70, 140):
        before = rng.normal(size=(contexts, vocab)).astype(np.float32)
        arrays = (before, before, np.full(contexts, -9.0), np.zeros(contexts), np.ones(contexts), None)
        tracemalloc.start()
        ledger_from_arrays(*arrays, Clip())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.02 * peaks[0]


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, lambda x: np.exp(log_softmax(x)), "logits_before look like probabilities"),
        (1, lambda x: np.exp(log_softmax(x)), "logits_after look like probabilities"),
        (2, np.exp, r"a log-probability is at most 0. Mask padding out"),
        (2, lambda x: np.where(np.arange(len(x)) == 0, 1.0, x), "old_log_probs hold 1: "),
        (2, lambda x: x * np.nan, "old_log_probs holds NaN"),
        (3, lambda x: x + 0.9, r"actions hold \d+\.9: they are the indices"),
        (4, lambda x: x[:3], r"advantages has leading shape \(3,\)"),
        (4, lambda x: x / 0.0, "advantages holds NaN or infinite values where the mask is 1"),
        (5, lambda x: x * 0.5, r"mask holds 0.5.*use weights="),
        (5, lambda x: x * np.nan, r"mask holds nan: it says what counts"),
        (5, lambda x: x[:, None], r"mask has leading shape \(40, 1\)"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_cannot_be_meant_is_refused(index, change, message):
    before, old_log_probs, actions, advantages, _ = _batch(np.random.default_rng(10))
    arrays = [before, before, old_log_probs, actions, advantages, np.ones(40)]
    arrays[index] = change(arrays[index])
    with pytest.raises(ValueError, match=message):
        ledger_from_arrays(*arrays, Clip())


def test_the_most_likely_actions_alone_are_no_old_policy():
    before, _, actions, advantages, mask = _batch(np.random.default_rng(11))
    whole = log_softmax(before)
    cut = np.where(whole < np.sort(whole, axis=-1)[:, [-4]], -50.0, whole)
    with pytest.raises(ValueError, match=r"add up to probability .*not of the most likely ones"):
        ledger_from_arrays(before, before, cut, actions, advantages, mask, Clip())
    with pytest.raises(ValueError, match=r"clip\.low must be in"):
        ledger_from_arrays(before, before, whole, actions, advantages, mask, (0.8, 1.28)[::-1])


def test_lists_of_different_lengths_are_refused():
    whole = _padded(np.random.default_rng(12))
    before, after, old, actions, advantages, mask = (list(x) for x in whole)
    with pytest.raises(ValueError, match="actions has 5 sequences, logits_before has 6"):
        ledger_from_arrays(before, after, old, actions[:5], advantages, mask, Clip())
    before[0] = before[0][:-1]
    with pytest.raises(ValueError, match=r"logits_before is a list of arrays of different shapes: give .* alike, both as one"):
        ledger_from_arrays(before, whole[1], old, actions, advantages, mask, Clip())


def test_an_empty_response_and_a_single_context_are_batches():
    """A response without a token is [], which says nothing of V; logits of one axis are one context."""
    before, old, actions, advantages, _ = _batch(np.random.default_rng(14))
    rows = ledger_from_arrays(before[:2], before[:2] + 1, old[:2], actions[:2], advantages[:2], None, Clip())
    ragged = ([x[:1].tolist(), [], x[1:2].tolist()] for x in (before, before + 1, old, actions))
    listed = ledger_from_arrays(*ragged, [advantages[:1], 0.0, advantages[1:2]], None, Clip())
    assert rows.equals(listed)
    one = ledger_from_arrays(before[0], before[0] + 1, old[0], actions[0], advantages[0], None, Clip())
    assert one.equals(rows[:1])


def test_a_saved_frame_is_read_by_the_command(tmp_path):
    before, after, old, actions, advantages, mask = _padded(np.random.default_rng(13))
    frame = ledger_from_arrays(before, after, old, actions, advantages, mask, (0.05, 0.05))
    path = tmp_path / "mine.parquet"
    frame.to_parquet(path)
    said = json.loads(CliRunner().invoke(app, ["ledger", str(path), "--json"], catch_exceptions=False).stdout)[str(path)]
    assert said["contexts"] == len(frame)
    for name in ("measured", "first_order", "clip_low", "clip_high"):
        assert said[name] == pytest.approx(frame[name].mean(), rel=1e-12)
    assert said["gap_high"] == pytest.approx((frame.pi_high * frame.gap_high).sum() / frame.pi_high.sum(), rel=1e-12)
    assert said["clip_fraction_high"] == frame["clipped_high"].mean()
    shown = CliRunner().invoke(app, ["ledger", str(path)], env={"COLUMNS": "80"}, catch_exceptions=False).stdout
    assert "clip high" in shown
    named, *lines = shown.split("\n")
    assert named == str(path)  # a path is not broken, however long it is
    assert max(map(len, lines)) <= 80
    frame.drop(columns="clip_low").to_parquet(path)
    with pytest.raises(DamagedFileError, match=r"it has no column clip_low. Save the frame"):
        read_contexts(path)
    frame.assign(measured=np.nan).to_parquet(path)
    with pytest.raises(DamagedFileError, match="lacks a number"):
        read_contexts(path)


def test_an_interval_where_widths_are_meant_and_weights_that_are_all_0_are_refused():
    logits, one = np.zeros((1, 3)), np.zeros(1)
    for clip, words in (((0.8, 1.2), r"its two widths around 1, clip=\(0.2, 0.2\)"), ((0.8, 1.28), r"clip=\(0.2, 0.28\)")):
        with pytest.raises(ValueError, match=words):
            ledger_from_arrays(logits, logits, one - 1.1, [0], one, None, clip)
    assert len(ledger_from_arrays(logits, logits, one - 1.1, [0], one, None, (0.9, 0.95))) == 1
    assert len(ledger_from_arrays(logits, logits, one - 1.1, [0], one, None, Clip(0.8, 1.2))) == 1
    with pytest.raises(ValueError, match="weights are 0 at every context"):
        ledger_from_arrays(logits, logits, one - 1.1, [0], one, None, (0.2, 0.2), weights=one)
