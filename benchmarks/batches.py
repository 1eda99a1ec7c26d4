"""python -m benchmarks.batches: what the loss inside verl adds to verl's own, and what reading a saved batch costs.

    verl      forward and backward of entclip_vanilla against those of verl's vanilla, on the same (B, T) tensors; where verl is
              installed (make verl), else left out
    saved     read_saved_batch of such a batch in memory, and writing its Parquet file

CPU seconds of this process, and nanoseconds a token: a forward pass of a model of W weights takes 2 W operations for one.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from entclip.integrations.saved import read_saved_batch


def tensors(rows: int, tokens: int) -> dict[str, torch.Tensor]:
    """Return log-probabilities, advantages and a ragged mask of a batch, (B, T)."""
    g = torch.Generator().manual_seed(0)
    old = -torch.rand((rows, tokens), generator=g) - 1e-3
    now = (old + 0.1 * torch.randn((rows, tokens), generator=g)).clamp(max=-1e-3)
    lengths = torch.randint(tokens // 2, tokens + 1, (rows, 1), generator=g)
    advantages = torch.randn((rows, 1), generator=g).expand(rows, tokens).contiguous()
    return {"old": old, "now": now, "advantages": advantages, "mask": (torch.arange(tokens) < lengths).long()}


def losses(batch: dict[str, torch.Tensor]) -> dict[str, Callable[[], Any]]:
    """Return forward and backward of verl's loss and of ours, by name; none without verl."""
    if importlib.util.find_spec("verl") is None:
        return {}
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.workers.config import ActorConfig

    config = ActorConfig(strategy="fsdp", rollout_n=1, ppo_micro_batch_size_per_gpu=1, clip_ratio_low=0.2, clip_ratio_high=0.28)

    def call(name: str) -> Callable[[], Any]:
        def one() -> None:
            now = batch["now"].clone().requires_grad_()
            arguments = (batch["old"], now, batch["advantages"], batch["mask"], "token-mean", config, None)
            get_policy_loss_fn(name)(*arguments)[0].backward()

        return one

    return {name: call(name) for name in ("vanilla", "entclip_vanilla")}


def saved(batch: dict[str, torch.Tensor], folder: Path) -> dict[str, Callable[[], Any]]:
    """Return the reading of a batch under verl's names, and the writing of its ledger."""
    held = {"old_log_probs": batch["old"], "log_probs": batch["now"], "response_mask": batch["mask"]}
    held["advantages"] = batch["advantages"]
    frame = read_saved_batch(held, (0.2, 0.28))
    return {
        "read_saved_batch": lambda: read_saved_batch(held, (0.2, 0.28)),
        "to_parquet": lambda: frame.to_parquet(folder / "update.parquet"),
    }


def main() -> None:
    """Print seconds and nanoseconds a token of each, and the ratio of the losses round by round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    batch = tensors(options.rows, options.tokens)
    counted = int(batch["mask"].sum())
    with tempfile.TemporaryDirectory() as folder:
        calls = losses(batch) | saved(batch, Path(folder))
        took: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(options.rounds + 1):
            for name, call in calls.items():
                start = time.process_time()
                call()
                if turn:  # the first one warms up
                    took[name].append(time.process_time() - start)
    print(f"{options.rows} responses of up to {options.tokens:,} tokens, {counted:,} in all; medians of {options.rounds} rounds")
    for name, seconds in took.items():
        middle = statistics.median(seconds)
        print(f"{name:18s} {middle:7.3f} s  ({min(seconds):.3f} to {max(seconds):.3f}), {1e9 * middle / counted:6.0f} ns a token")
    if "vanilla" in took:
        ratios = [b / a for a, b in zip(took["vanilla"], took["entclip_vanilla"], strict=True)]
        print(f"entclip_vanilla / vanilla {statistics.median(ratios):.1f}  ({min(ratios):.1f} to {max(ratios):.1f})")


if __name__ == "__main__":
    main()
