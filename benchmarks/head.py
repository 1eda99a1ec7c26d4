"""python -m benchmarks.head [--device cuda]: the head engine against plain autograd and against the matrix-product peak.

    python -m benchmarks.head                       a setting that a CPU does in a minute
    python -m benchmarks.head --device cuda         T = 8192, d = 1024, V = 151936, bfloat16 products
    python -m benchmarks.head --contexts 512 --dim 64 --vocab 8192

Ratios within one run, rounds alternating: the engine's whole update (its ledger on all contexts included) against (a) the same
update as a user writes it, logits of the minibatch materialised and autograd, no ledger; (b) the time that the necessary products
alone take at the rate measured for one large product in the same precision; (c) Liger's fused linear GRPO loss, where installed.
Necessary products: old logits, log-ratio before and after (2 T d V each), pi of the minibatch into the head (2 n d V) and the
causes' overlaps (2 T n V).
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from entclip.engines.base import Directive
from entclip.engines.head.engine import HeadEngine
from entclip.experiments.experiment import Experiment, parse_experiment

ROUNDS = 5


def experiment_of(contexts: int, dim: int, vocab: int, products: str, optimizer: str) -> Experiment:
    """One rollout of two minibatches, one group of 8 per context."""
    return parse_experiment(
        {
            "name": "head",
            "policy": {"kind": "hidden", "vocab": vocab, "contexts": contexts, "dim": dim, "products": products},
            "reward": {"kind": "bernoulli"},
            "advantage": {"kind": "group", "size": 8},
            "update": {
                "geometry": "euclidean",
                "optimizer": optimizer,
                "learning_rate": 1e-3,
                "batch": 8,
                "minibatches": 2,
                "rollouts": 1,
            },
            "arm": [{"name": "both", "low": 0.2, "high": 0.2}],
        }
    )


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Wall time of one call, the device's queue included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def materialised(state: Any, rollout: Any, subset: torch.Tensor, rate: float) -> torch.Tensor:
    """The same update with the logits of the minibatch stored and autograd: returns the new displacement."""
    moved = state.moved[0].clone().requires_grad_()
    hidden, actions, advantages = state.hidden[subset], rollout.actions[0, subset], rollout.advantages[0, subset]
    old = torch.log_softmax(hidden @ state.head[0].T + state.base, -1).gather(-1, actions)
    ratio = (torch.log_softmax(hidden @ (state.head[0] + moved).T + state.base, -1).gather(-1, actions) - old).exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages).mean(-1).sum()
    (gradient,) = torch.autograd.grad(surrogate, moved)
    return moved.detach() + rate * gradient


def peak(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """Operations per second of one square product, the best of five."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = min(seconds(lambda: a @ b, device) for _ in range(6))
    return 2 * size**3 / best


def liger(state: Any, rollout: Any, subset: torch.Tensor) -> Callable[[], Any] | None:
    """Liger's loss and gradient on the same minibatch, each sample a response of one token; None where it is not installed."""
    if importlib.util.find_spec("liger_kernel") is None:
        return None
    losses: Any = importlib.import_module("liger_kernel.chunked_loss")
    # Chunks are of responses, one at a time without chunk_size; here they have one token each.
    settings: Any = dict(beta=0.0, epsilon_low=0.2, epsilon_high=0.2, compiled=False, use_ref_model=False, chunk_size=4096)
    loss = losses.LigerFusedLinearGRPOLoss(**settings)
    actions = rollout.actions[0, subset].reshape(-1, 1)
    hidden = state.hidden[subset].repeat_interleave(8, 0)[:, None]
    mask, advantages = torch.ones_like(actions), rollout.advantages[0, subset].flatten()

    def work() -> None:
        weight = (state.head[0] + state.moved[0]).requires_grad_()
        loss(hidden, weight, actions, mask, advantages, bias=state.base)[0].backward()

    return work


def main() -> None:
    """Print the ratios of every round and their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    for name in ("contexts", "dim", "vocab"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--optimizer", default="sgd", choices=["sgd", "adamw"])
    args = parser.parse_args()
    cuda = args.device.startswith("cuda")
    sizes = (8192, 1024, 151936) if cuda else (256, 128, 16384)
    given = (args.contexts, args.dim, args.vocab)
    contexts, dim, vocab = (size or default for size, default in zip(given, sizes, strict=True))
    engine = HeadEngine(args.device, "float32", second_order=False)  # its products are no part of the necessary ones
    spec = experiment_of(contexts, dim, vocab, "bfloat16" if cuda else "full", args.optimizer)
    device = engine.device
    machine = torch.cuda.get_device_name(device) if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"{machine}, torch {torch.__version__}")
    print(f"T = {contexts}, d = {dim}, V = {vocab}, minibatch of {contexts // 2} contexts, {args.optimizer}")
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    state, _ = engine.step(state, rollout, rollout.minibatches[0], Directive())  # ratios leave 1; warms up
    subset = torch.as_tensor(rollout.subsets[1], device=device)
    products = 3 * 2 * contexts * dim * vocab + 2 * len(subset) * dim * vocab + 2 * contexts * len(subset) * vocab
    rate = peak(device, torch.bfloat16 if cuda else torch.float32, 8192 if cuda else 1024)
    ideal = products / rate
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    fused, ratios = liger(state, rollout, subset), []
    for k in range(ROUNDS + 1):
        own = seconds(lambda: engine.step(state, rollout, rollout.minibatches[1], Directive()), device)
        if k == 0 and cuda:
            print(f"peak memory beyond parameters {(torch.cuda.max_memory_allocated(device) - before) / 2**30:.2f} GiB")
        try:
            plain = seconds(lambda: materialised(state, rollout, subset, spec.update.learning_rate), device)
        except torch.cuda.OutOfMemoryError:
            plain = float("nan")  # what the engine is for
        gc.collect()
        extra = "" if fused is None else f", Liger {seconds(fused, device):.3f} s"
        if k:  # the first round warms up
            ratios.append((own / plain, ideal / own))
            print(f"round {k}: engine with ledger {own:.3f} s, autograd {plain:.3f} s, products alone {ideal:.3f} s{extra}")
    print(f"engine / autograd: median {statistics.median(a for a, _ in ratios):.2f}")
    print(f"share of the product peak ({rate / 1e12:.2f} T/s): median {statistics.median(b for _, b in ratios):.1%}")


if __name__ == "__main__":
    main()
