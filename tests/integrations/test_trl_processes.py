"""Two processes of TRL under DistributedDataParallel keep the books of one: sums and counts are pooled, never means of means."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("trl", reason="needs the trl extra")

from entclip.integrations.trl import EntropyLedger
from entclip.ledger.folder import read_frame
from tests.integrations.tiny import WORDS, tiny_trainer

ROOT = Path(__file__).resolve().parents[2]
GROUP, WHOLE, UPDATES = 4, 8, 3  # completions of a prompt; of an update
RATE, EPS = 0.02, 1e-3


def _rollout(prompts, trainer):
    """Completions that depend on the prompt and the place in its group, and not on who asks; those of one prompt are longer."""
    ids = trainer.processing_class(prompts)["input_ids"]
    lengths = [2 + place % GROUP * (1 + row[0] % 2) for place, row in enumerate(ids)]
    completions = [
        [2 + (7 * row[0] + 3 * row[-1] + 5 * (place % GROUP) + t * (1 + place % GROUP)) % WORDS for t in range(length)]
        for place, (row, length) in enumerate(zip(ids, lengths, strict=True))
    ]
    return {"prompt_ids": ids, "completion_ids": completions, "logprobs": [[0.0] * len(row) for row in completions]}


def _reward(completion_ids, **_):
    return [float(sum(ids) % 2) + 0.1 * len(ids) for ids in completion_ids]


def train(folder, processes=1):
    """One rollout, updates on all its completions each time, so that the clip acts; AdamW and a limit on the norm."""
    trainer = tiny_trainer(
        folder / "trl",
        rollout=_rollout,
        reward=_reward,
        per_device_train_batch_size=WHOLE // processes,
        steps_per_generation=1,
        num_iterations=UPDATES,
        max_steps=UPDATES,
        learning_rate=RATE,
        adam_epsilon=EPS,
        max_grad_norm=0.5,
        shuffle_dataset=False,
    )
    EntropyLedger(folder / f"books-{processes}", every=1, probes=GROUP).attach(trainer)
    trainer.train()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_processes_are_one(tmp_path):
    train(tmp_path)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    script = tmp_path / "train.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        "from tests.integrations.test_trl_processes import train\n"
        "train(Path(sys.argv[1]), 2)\n"
    )
    page = (ROOT / "docs/in-trl.md").read_text()
    launch = re.search(r"^(accelerate launch .*)train\.py$", page, re.MULTILINE)[1].split()[2:]  # the command for CPUs, as shown
    launch += ["--main_process_port", str(port), str(script), str(tmp_path)]
    both = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *launch],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=900,
    )
    assert both.returncode == 0, both.stderr[-3000:]
    one, two = (read_frame(tmp_path / f"books-{n}").select_dtypes("number") for n in (1, 2))
    assert len(one) == UPDATES
    for acted in ("clip_count_low", "clip_count_high", "norm_clip", "momentum"):
        assert (one[acted] != 0).any(), acted
    counts = [name for name in one if name.startswith(("clip_count", "clip_fraction", "count_", "removed_")) or name == "samples"]
    assert np.allclose(one[counts], two[counts], rtol=1e-12, atol=0)
    # The two sum an update's gradient in another order, 2^-24 of its entries, which are at most the limit on the norm. Adam makes
    # of that at most RATE/EPS as much in each weight, and UPDATES steps add it up; an entropy, or a part of its change, moves by
    # that times the length of its gradient, of order 1, along independent roundings. Eight times as much is allowed.
    bound = 8 * 2.0**-24 * 0.5 * RATE / EPS * UPDATES
    rest = one.drop(columns=counts)
    apart = (rest - two.drop(columns=counts)).abs() / (1 + rest.abs())
    assert apart.max(axis=None) < bound, apart.max().nlargest(5)
    assert (rest["measured"].abs() > 100 * bound).all()
