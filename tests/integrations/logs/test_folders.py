"""A folder is the log of one run, in one file or in several."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entclip.integrations.logs import read_log
from entclip.support.errors import SpecError
from tests.integrations.logs.corpus.forms import events

ROWS = [{"step": 1, "entropy": 0.5, "clip_ratio/low_mean": 0.0}, {"step": 2, "entropy": 0.4, "clip_ratio/low_mean": 0.01}]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_folder_is_joined_by_step(tmp_path):
    written(tmp_path, "entropy.csv", "Step,r - entropy\n1,.5\n2,.4\n")
    written(tmp_path, "clip.csv", "Step,r - clip_ratio/low_mean\n2,.02\n1,.01\n")
    written(tmp_path, "notes.txt", "nothing to see")
    log = read_log(tmp_path)
    assert log.columns["entropy"].tolist() == [0.5, 0.4]
    assert log.columns["clip_ratio/low_mean"].tolist() == [0.01, 0.02]


@pytest.mark.parametrize("names", [("a/one.csv", "b/one.csv"), ("seed0.csv", "seed1.csv")])
def test_a_folder_of_several_runs_is_refused(tmp_path, names):
    """Of runs side by side, as CleanRL and Stable-Baselines3 put them, the last file's numbers stood for all of them."""
    for k, name in enumerate(names):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path, name, "Step,entropy\n" + "".join(f"{i},{0.8 - 0.5 * k - 0.01 * i:.3f}\n" for i in range(8)))
    with pytest.raises(SpecError, match=r"several runs: .*one.* and .*have other numbers|several runs: .*seed0.* and .*seed1"):
        read_log(tmp_path)


def test_parts_of_one_run_are_joined(tmp_path):
    """A restart repeats a few steps; a copy, or another metric, says nothing else."""
    head = "Step,entropy\n"
    written(tmp_path, "first.csv", head + "".join(f"{i},{0.8 - 0.01 * i:.3f}\n" for i in range(8)))
    written(tmp_path, "second.csv", head + "".join(f"{i},{0.7 - 0.01 * i:.3f}\n" for i in range(6, 14)))
    written(tmp_path, "third.csv", head + "".join(f"{i},{0.7 - 0.01 * i:.3f}\n" for i in range(6, 14)))
    assert read_log(tmp_path).rows == 14
    (tmp_path / "tb").mkdir()
    for k, rows in enumerate((range(5), range(5))):  # TensorBoard's rule: files that lie together are of one run
        (tmp_path / "tb" / f"events.out.tfevents.{k}").write_bytes(events([{"step": i, "losses/entropy": 1.0 + k} for i in rows]))
    assert read_log(tmp_path / "tb").columns["losses/entropy"].tolist() == [2.0] * 5


def test_of_checkpoints_the_longest_history_counts(tmp_path):
    for step in (1, 2):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        written(folder, "trainer_state.json", json.dumps({"log_history": ROWS[:step]}))
    assert read_log(tmp_path).columns["entropy"].tolist() == [0.5, 0.4]


def test_checkpoints_of_two_runs_are_refused(tmp_path):
    for run, shift in (("a", 0.0), ("b", 0.2)):
        for step in (1, 2):
            (tmp_path / run / f"checkpoint-{step}").mkdir(parents=True)
            rows = [row | {"entropy": row["entropy"] + shift} for row in ROWS[:step]]
            written(tmp_path / run / f"checkpoint-{step}", "trainer_state.json", json.dumps({"log_history": rows}))
    with pytest.raises(SpecError, match="several runs"):
        read_log(tmp_path)
    assert read_log(tmp_path / "b").columns["entropy"].tolist() == pytest.approx([0.7, 0.6])
