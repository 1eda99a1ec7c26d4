"""Batches that trainers saved: prime-rl's token export, and tensors under the names of TRL and verl."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from entclip.cli.app import app
from entclip.integrations.prime_rl import read_token_export
from entclip.integrations.saved import read_saved_batch
from entclip.ledger.from_samples import ledger_from_samples
from entclip.objectives.dppo_tv import DppoTv
from entclip.policies.softmax import entropy, log_softmax
from entclip.support.errors import DamagedFileError, SpecError


def _records(step=3, sequences=4):
    """Lines as prime-rl 0.8 writes them, in numbers of our own: prompts masked, and its own masks at .2."""
    rng = np.random.default_rng(step)
    for index in range(sequences):
        length, prompt = int(rng.integers(4, 9)), 2
        old = log_softmax(rng.normal(0, 2, (length, 5)))
        now = log_softmax(old + rng.normal(0, 1.5, old.shape))
        taken = rng.integers(5, size=(length, 1))
        trainer, engine = (np.take_along_axis(x, taken, -1)[:, 0] for x in (now, old))
        counts = np.arange(length) >= prompt
        advantage = np.full(length, rng.choice([-1.0, 0.5]))
        moved = np.exp(trainer) - np.exp(engine)
        high, low = (counts & (sign * advantage > 0) & (sign * moved > 0.2) for sign in (1, -1))
        row = {
            "schema_version": 1,
            "step": step,
            "rank": 0,
            "micro_step": index,
            "micro_sequence_idx": 0,
            "export_sequence_idx": index,
            "env_name": "toy",
            "token_ids": taken[:, 0].tolist(),
            "position_ids": list(range(length)),
            "loss_mask": counts.tolist(),
            "advantages": advantage.tolist(),
            "inference_logprobs": np.where(counts, engine, 0).tolist(),
            "trainer_logprobs": trainer.tolist(),
            "entropy": entropy(now).tolist(),
            "mismatch_kl": [0.0] * length,
            "log_importance_ratio": [0.0] * length,
            "importance_ratio": np.exp(trainer - engine).tolist(),
            "prob_delta": moved.tolist(),
            "is_masked": (low | high).tolist(),
            "is_masked_high": high.tolist(),
            "is_masked_low": low.tolist(),
            "rl_weights": [None] * length,
            "ce_weights": [None] * length,
            "ref_kl_weights": [None] * length,
        }
        row["trainer_logprobs"][0] = None  # a number that was not finite, where nothing is looked at
        yield row


def _write(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rank_0.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rank_0.jsonl"


def test_a_token_export_is_the_ledger_of_its_arrays(tmp_path, capsys):
    rows = list(_records())
    file = _write(tmp_path / "token_exports" / "step_3", rows)
    frame = read_token_export(tmp_path)[3]
    kept = [np.array(row["loss_mask"]) for row in rows]

    def arrays(name):
        return [np.array(row[name], dtype=float)[m] for row, m in zip(rows, kept, strict=True)]

    lists = [arrays(name) for name in ("trainer_logprobs", "inference_logprobs", "advantages")]
    ours = ledger_from_samples(*lists, None, DppoTv(0.2), entropy=arrays("entropy"))
    assert frame["clipped_low"].any()
    assert frame["clipped_high"].any()
    for name in ("unclipped", "clip_low", "clip_high", "other", "ratio", "clipped_low", "clipped_high", "entropy"):
        assert np.allclose(frame[name], ours[name], rtol=0, atol=1e-14), name
    for path in (tmp_path, tmp_path / "token_exports", file.parent, file):
        assert read_token_export(path)[3].equals(frame)
    _write(tmp_path / "token_exports" / "step_4", _records(step=4))
    assert list(read_token_export(tmp_path)) == [3, 4]
    app(["ledger", str(tmp_path)], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "2 updates" in shown
    assert "E_pi Q" in shown
    assert max(map(len, shown.splitlines())) <= 80
    app(["ledger", str(tmp_path), "--json"], standalone_mode=False)
    means = json.loads(capsys.readouterr().out)[str(tmp_path)]
    assert means["step_3"]["clip_low"] == pytest.approx(frame["clip_low"].mean())
    app(["ledger", str(file), "--csv", "-"], standalone_mode=False)
    assert capsys.readouterr().out.count("\n") == len(frame) + 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"schema_version": 2}, SpecError, "line 1: schema_version is 2, and this entclip reads 1"),
        ({"entropy": [None] * 20}, DamagedFileError, "line 1: its arrays differ in length"),
        ({"is_masked_low": None}, SpecError, "is_masked_low is null, as with trainer.loss.type other than default"),
        ({"advantages": "gone"}, DamagedFileError, "line 1 has no advantages"),
        ({"entropy": "null"}, DamagedFileError, "entropy is null at a token that counts"),
    ],
)
def test_another_export_is_refused(tmp_path, change, error, message):
    row = next(iter(_records()))
    for name, value in change.items():
        if value == "gone":
            del row[name]
        elif value in (None, "null"):
            row[name] = [None] * len(row["loss_mask"])
        else:
            row[name] = value
    with pytest.raises(error, match=message):
        read_token_export(_write(tmp_path, [row]))


def test_a_line_that_was_cut_and_an_empty_folder_are_named(tmp_path):
    with pytest.raises(SpecError, match="holds no token export of prime-rl: give token_exports"):
        read_token_export(tmp_path)
    file = _write(tmp_path, _records())
    file.write_text(file.read_text()[:-40])
    with pytest.raises(DamagedFileError, match="line 4 is no JSON"):
        read_token_export(file)


def _saved():
    rng = np.random.default_rng(1)
    old = np.log(rng.uniform(0.05, 0.9, (4, 6)))
    return {
        "now": old + rng.normal(0, 0.3, old.shape).clip(max=-old),
        "old": old,
        "advantages": rng.normal(0, 1, 4),
        "mask": rng.random(old.shape) < 0.7,
        "entropy": rng.uniform(0.5, 1.5, old.shape),
    }


NAMES = {
    "TRL": {"now": "per_token_logps", "old": "old_per_token_logps", "mask": "completion_mask", "entropy": "entropies"},
    "verl": {"now": "log_probs", "old": "old_log_probs", "mask": "response_mask", "entropy": "entropys"},
}


@pytest.mark.parametrize("trainer", NAMES)
@pytest.mark.parametrize("suffix", [".npz", ".pt", ".safetensors", ""])
def test_batches_are_read_under_their_trainers_names(tmp_path, trainer, suffix):
    x = _saved()
    batch = {NAMES[trainer].get(name, name): np.asarray(value, dtype=float) for name, value in x.items()}
    file = tmp_path / f"batch{suffix}"
    if suffix == ".npz":
        np.savez(file, **batch)
    elif suffix == ".pt":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.tensor(value) for name, value in batch.items()}, file)
    elif suffix == ".safetensors":
        pytest.importorskip("safetensors.numpy").save_file(batch, file)
    frame = read_saved_batch(file if suffix else batch, (0.1, 0.2))
    expected = ledger_from_samples(x["now"], x["old"], x["advantages"], x["mask"], (0.1, 0.2), entropy=x["entropy"])
    assert frame.equals(expected)
    assert expected["clipped_low"].any()
    del batch[NAMES[trainer]["now"]]
    first = read_saved_batch(batch | {"advantages": batch["advantages"][:, None]}, (0.1, 0.2))
    assert (first["ratio"] == 1).all()
    assert not first["clipped_low"].any()


def test_tokens_of_tools_do_not_count_and_sums_give_the_euclidean_causes():
    x = _saved()
    batch = {NAMES["verl"].get(name, name): value for name, value in x.items()}
    sums = {"sum_pi_squared": np.full((4, 6), 0.3), "sum_pi_squared_log_pi": np.full((4, 6), -0.2)}
    assert read_saved_batch(batch, (0.1, 0.2))["euclidean_unclipped"].isna().all()
    assert read_saved_batch(batch | sums, (0.1, 0.2))["euclidean_unclipped"].notna().all()
    batch = {NAMES["TRL"].get(name, name): value for name, value in x.items()}
    tools = np.ones((4, 6))
    tools[:, 3] = 0
    assert 3 not in set(read_saved_batch(batch | {"tool_mask": tools}, (0.1, 0.2))["position"])


class Harmful:
    def __reduce__(self):
        return (print, ("this must never run",))


def test_what_is_no_batch_is_refused(tmp_path, capsys):
    file = tmp_path / "proto.pt"
    file.write_bytes(pickle.dumps(Harmful()))
    pytest.importorskip("torch")
    with pytest.raises(SpecError, match="is no plain file of tensors"):
        read_saved_batch(file, (0.2, 0.2))
    assert "must never run" not in capsys.readouterr().out
    with pytest.raises(SpecError, match=r"the batch holds prompt: a ledger needs advantages with completion_mask"):
        read_saved_batch({"prompt": ["a"]}, (0.2, 0.2))
    with pytest.raises(SpecError, match="has neither old_log_probs nor log_probs"):
        read_saved_batch({"response_mask": np.ones((1, 1)), "advantages": np.ones(1)}, (0.2, 0.2))
    with pytest.raises(SpecError, match="is no file"):
        read_saved_batch(tmp_path / "none.npz", (0.2, 0.2))
    (tmp_path / "bad.npz").write_text("no archive")
    with pytest.raises(DamagedFileError, match="cannot be read as a batch"):
        read_saved_batch(tmp_path / "bad.npz", (0.2, 0.2))
