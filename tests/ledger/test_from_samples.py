"""ledger_from_samples: against ledger_from_arrays on the same tokens, what is missing, ragged and padded input, and refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from entclip import ledger_from_arrays
from entclip.cli.app import app
from entclip.ledger.from_samples import EUCLIDEAN, lacking, ledger_from_samples
from entclip.ledger.samples_file import read_samples
from entclip.objectives.base import CAUSES
from entclip.objectives.dual_clip import DualClip
from entclip.policies.softmax import entropy, log_softmax
from entclip.report.samples import samples_means
from entclip.support.errors import DamagedFileError

ROWS, LENGTH, VOCAB = 6, 5, 7


def _batch():
    """A batch whose whole distributions are known, and what a trainer would save of it."""
    rng = np.random.default_rng(2)
    old = log_softmax(rng.normal(0, 1, (ROWS, LENGTH, VOCAB)))
    now = log_softmax(old + rng.normal(0, 0.5, old.shape))
    actions = rng.integers(VOCAB, size=(ROWS, LENGTH))
    mask = np.arange(LENGTH) < rng.integers(1, LENGTH + 1, size=(ROWS, 1))
    probs, taken = np.exp(now), actions[..., None]
    saved = {
        "log_probs": np.take_along_axis(now, taken, -1)[..., 0],
        "old_log_probs": np.take_along_axis(old, taken, -1)[..., 0],
        "advantages": rng.normal(0, 1, ROWS),
        "mask": mask,
    }
    sums = {"entropy": entropy(now), "sum_pi_sq": (probs**2).sum(-1), "sum_pi_sq_log_pi": (probs**2 * now).sum(-1)}
    return (now, old, actions), saved, sums


@pytest.mark.parametrize("clip", [(0.1, 0.2), DualClip(0.1, 0.2, 1.02)], ids=["clip", "dual"])
def test_what_logits_say_is_what_the_sums_say(clip):
    (now, _, actions), saved, sums = _batch()
    whole = ledger_from_arrays(now, now, saved["old_log_probs"], actions, saved["advantages"], saved["mask"], clip)
    frame = ledger_from_samples(*saved.values(), clip, **sums)
    for cause in CAUSES:
        assert np.allclose(frame[f"euclidean_{cause}"], whole[cause], rtol=0, atol=1e-13)
    assert (whole["clip_low"] != 0).any()
    assert (whole["clip_high"] != 0).any()
    for ours in ("advantage", "clipped_low", "clipped_high"):
        assert np.array_equal(frame[ours], whole[ours])
    assert np.allclose(frame["ratio"], whole["ratio"], rtol=1e-14, atol=0)  # log pi is normalised once more there
    assert frame["clipped_other"].any() == isinstance(clip, DualClip)
    natural = frame["ratio"] * frame["advantage"] * (frame["surprisal"] - frame["entropy"])
    assert np.allclose(frame["unclipped"], natural, rtol=0, atol=1e-15)
    kept = ~(frame["clipped_low"] | frame["clipped_high"] | frame["clipped_other"])
    assert np.allclose(frame[list(CAUSES)].sum(axis=1), np.where(kept, natural, 0), rtol=0, atol=1e-14)


def test_what_is_missing_is_named_and_left_out():
    _, saved, sums = _batch()
    assert len(lacking(ledger_from_samples(*saved.values(), (0.2, 0.2), **sums))) == 1
    known = ledger_from_samples(*saved.values(), (0.2, 0.2), entropy=sums["entropy"])
    assert known[list(EUCLIDEAN)].isna().all(axis=None)
    assert [said.split(" is missing")[0] for said in lacking(known)] == [
        "the baseline E_pi Q = - sum pi^2 log pi - H sum pi^2",
        "the policy after the update",
    ]
    bare = ledger_from_samples(*saved.values(), (0.2, 0.2))
    assert bare["entropy"].isna().all()
    assert "the baseline is the batch's mean surprisal" in lacking(bare)[0]
    pooled = bare["ratio"] * bare["advantage"] * (bare["surprisal"] - bare["surprisal"].mean())
    assert np.allclose(bare["unclipped"], pooled, rtol=0, atol=1e-14)
    means = samples_means(known)
    assert means["euclidean_unclipped"] is None
    assert means["unclipped"] == pytest.approx(known["unclipped"].mean())


def test_ragged_lists_tensors_and_masked_rubbish_give_the_same():
    torch = pytest.importorskip("torch")
    _, saved, sums = _batch()
    padded = ledger_from_samples(*saved.values(), (0.2, 0.2), **sums)
    mask = saved["mask"]
    ragged = [[row[m] for row, m in zip(saved[name], mask, strict=True)] for name in ("log_probs", "old_log_probs")]
    lists = {name: [row[m] for row, m in zip(value, mask, strict=True)] for name, value in sums.items()}
    pd.testing.assert_frame_equal(padded, ledger_from_samples(*ragged, saved["advantages"], None, (0.2, 0.2), **lists))
    rubbish = {name: torch.tensor(np.where(mask, value, np.nan)) for name, value in (saved | sums).items() if np.ndim(value) == 2}
    rubbish["mask"] = torch.tensor(mask)
    arrays = [rubbish.get(name, torch.tensor(value)) for name, value in saved.items()]
    pd.testing.assert_frame_equal(padded, ledger_from_samples(*arrays, (0.2, 0.2), **{name: rubbish[name] for name in sums}))


def test_errors_are_over_responses():
    _, saved, sums = _batch()
    frame = ledger_from_samples(*saved.values(), (0.2, 0.2), **sums)
    twice = pd.concat([frame, frame])  # every token again, in the same responses: nothing new has been seen
    one, two = samples_means(frame), samples_means(twice)
    assert two["unclipped"] == pytest.approx(one["unclipped"])
    assert two["unclipped_se"] == pytest.approx(one["unclipped_se"])
    single = samples_means(frame[frame["sequence"] == frame["sequence"].iloc[0]])
    assert single["unclipped_se"] is None


@pytest.mark.statistical
def test_the_error_is_that_of_the_ratio():
    rng, found = np.random.default_rng(0), []
    for _ in range(400):
        lengths = rng.integers(1, 9, size=60)
        rows = [rng.normal(rng.normal(), 1, n) - 3 for n in lengths]  # tokens of a response are alike
        low = [np.minimum(row, -0.01) for row in rows]
        frame = ledger_from_samples(
            low, low, rng.choice([-1.0, 1.0], 60), None, (0.2, 0.2), entropy=[np.full(n, 3.0) for n in lengths]
        )
        means = samples_means(frame)
        found.append((means["unclipped"], means["unclipped_se"]))
    values, errors = np.array(found).T
    spread = values.std(ddof=1)
    assert abs(np.sqrt(np.mean(errors**2)) / spread - 1) < 5 / np.sqrt(2 * 400)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"old_log_probs": np.zeros((ROWS, 3))}, r"old_log_probs of a response has shape \(3,\), log_probs \(5,\)"),
        ({"advantages": np.zeros(2)}, "advantages has 2 responses, log_probs 6"),
        ({"log_probs": np.full((ROWS, LENGTH), 0.5)}, r"log_probs hold 0\.5: a log-probability is at most 0"),
        ({"advantages": np.full(ROWS, np.nan)}, "advantages holds NaN or infinite values where the mask is 1"),
        ({"mask": np.zeros((ROWS, LENGTH))}, "mask leaves no token"),
        *(({"mask": np.full((ROWS, LENGTH), x)}, f"mask holds {x}: it says what counts, 0 or 1") for x in (0.5, 2.0, np.nan)),
        ({"sum_pi_sq": np.full((ROWS, LENGTH), 1.5)}, "sum_pi_sq holds 1.5: a sum of squared probabilities is at most 1"),
        ({"sum_pi_sq_log_pi": np.full((ROWS, LENGTH), 0.5)}, "sum_pi_sq_log_pi holds 0.5: .* never positive"),
        ({"entropy": np.full((ROWS, LENGTH), -1.0)}, "entropy holds -1: it is never negative"),
        ({"weights": np.zeros(ROWS)}, r"weights hold 0\.0: they say how much a token counts"),
        ({"log_probs": np.zeros(4)}, r"log_probs has shape \(4,\): give one row of tokens per response"),
    ],
)
def test_bad_input_is_refused(change, message):
    _, saved, sums = _batch()
    given = saved | sums | change
    with pytest.raises(ValueError, match=message):
        ledger_from_samples(*(given.pop(name) for name in saved), (0.2, 0.2), **given)


def test_a_saved_frame_is_read_by_the_ledger_command(tmp_path, capsys, monkeypatch):
    _, saved, sums = _batch()
    frame = ledger_from_samples(*saved.values(), (0.1, 0.2), entropy=sums["entropy"])
    monkeypatch.chdir(tmp_path)  # the table's title names the file, however long the way to it is
    file = Path("update.parquet")
    frame.to_parquet(file)
    pd.testing.assert_frame_equal(read_samples(file), frame)
    assert app(["ledger", str(file), "--json"], standalone_mode=False) in (0, None)
    shown = json.loads(capsys.readouterr().out)[str(file)]
    assert shown["clip_low"] == pytest.approx(frame["clip_low"].mean())
    app(["ledger", str(file)], standalone_mode=False)
    text = capsys.readouterr().out
    assert "E_pi Q" in text
    assert max(map(len, text.splitlines())) <= 80
    frame.drop(columns="surprisal").assign(surprisal="x").to_parquet(file)
    with pytest.raises(DamagedFileError, match="its column surprisal holds no such values"):
        read_samples(file)
    frame.drop(columns="clip_low").to_parquet(file)
    with pytest.raises(DamagedFileError, match="no column clip_low"):
        read_samples(file)


def test_missing_old_log_probs_are_refused():
    with pytest.raises(ValueError, match="old_log_probs is None"):
        ledger_from_samples([[-0.1]], None, [1.0], None, (0.2, 0.28))
