"""Two processes under DistributedDataParallel keep the books of one: gradients and counts are summed, never means of means."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from entclip.integrations.torch import EntropyLedger
from entclip.ledger.folder import read_frame
from tests.integrations.loops import logits_of, made, sample

ROOT = Path(__file__).resolve().parents[2]


def train(out, rank=0, world=1):
    """Two rollouts, three updates each, on this process's rows of every minibatch; a limit on the gradient's norm acts."""
    model, optimizer = made(torch.optim.AdamW, lr=0.05)
    wrapped = torch.nn.parallel.DistributedDataParallel(model) if world > 1 else model
    rows = slice(0, 8) if world == 1 else slice(0, 3) if rank == 0 else slice(3, 8)  # of different numbers of tokens
    with EntropyLedger(wrapped, optimizer, logits=logits_of, every=1, out=out) as ledger:
        for seed in range(2):
            contexts, actions, old, advantages, mask = sample(model, seed)
            mask[:3] &= seed == 0  # in the second rollout no token of the first process counts
            ledger.rollout(contexts if rank == 0 else contexts[:1])  # the first process's are everybody's probe set
            for _ in range(3):
                log_probs = torch.log_softmax(wrapped(contexts[rows]), -1).gather(-1, actions[rows][..., None])[..., 0]
                share = world * mask[rows] / mask.sum()  # the mean over processes is then the mean over all tokens
                ledger.minibatch(log_probs, old[rows], advantages[rows], mask[rows], weights=share)
                ratio, a = torch.exp(log_probs - old[rows]), advantages[rows][:, None]
                (-(torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a) * share).sum()).backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
                optimizer.step()
                optimizer.zero_grad()


def test_two_processes_are_one(tmp_path):
    train(tmp_path / "one")
    code = (
        "import sys, torch; from pathlib import Path; from tests.integrations.test_torch_processes import train;"
        "rank, folder = int(sys.argv[1]), Path(sys.argv[2]);"
        "torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2);"
        "train(folder / 'two', rank, 2); torch.distributed.destroy_process_group()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(rank), str(tmp_path)], env=environment, cwd=ROOT) for rank in range(2)
    ]
    assert [process.wait(timeout=240) for process in both] == [0, 0]
    one, two = (read_frame(tmp_path / name).select_dtypes("number") for name in ("one", "two"))
    assert len(one) == 6
    assert (one["clip_fraction_high"] > 0).any()
    assert (one["norm_clip"] != 0).any()
    assert np.allclose(one, two, rtol=1e-12, atol=1e-13, equal_nan=True)
