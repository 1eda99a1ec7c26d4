"""python -m benchmarks.kernels: steps of the tokens engine as ratios to a copy of the same bytes, and to what a user would write.

Every round times every candidate in turn, so that a device that slows down slows all; the ratio of each round counts, not its
milliseconds. Without a GPU it runs a small size on the CPU, where the fused kernels do not run, and says so.

    copy        out.copy_(in): one read and one write of the table, the limit of any step
    autograd    log_softmax, gather, backward, update, entropy;  eager the same by hand;  compiled torch.compile of eager
    fused       euclidean_step alone, with the ratio columns, with all columns;  adam against a copy of its three tables
    engine      whole engine.step: samples, kernel, ledger columns on the host
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from entclip.drift.adam import Adam
from entclip.engines.base import Directive
from entclip.engines.tokens.engine import TokensEngine
from entclip.engines.tokens.kernels import reference
from entclip.engines.tokens.kernels.passes import Comparison, distinct
from entclip.experiments.experiment import parse_experiment
from entclip.objectives.clip import Clip

SAMPLES, TRIALS = 16, 5
# Asked of one H100 or H200 at 2048 x 151,936 float32: numerator, denominator, limit, and its sense.
TARGETS = (
    ("fused", "copy", 1.10, "at most"),
    ("autograd", "fused", 8.0, "at least"),
    ("compiled", "fused", 2.7, "at least"),
    ("fused ratio", "copy", 1.6, "at most"),
    ("fused adam", "copy of 3", 1.15, "at most"),
    ("engine", "fused all", 2.0, "at most"),
)


def _clock(call: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Seconds of one call, from `repeats` in a row."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / repeats
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - begin) / repeats


def _by_hand(theta: torch.Tensor, actions: torch.Tensor, push: torch.Tensor, pull: torch.Tensor) -> torch.Tensor:
    log_probs = torch.log_softmax(theta, dim=-1)
    probs = log_probs.exp()
    entropy = -(probs * log_probs).sum(-1)
    theta.add_(pull[:, None] * probs).scatter_add_(1, actions, push)
    return entropy


def _autograd(theta: torch.Tensor, actions: torch.Tensor, push: torch.Tensor) -> torch.Tensor:
    theta.requires_grad_(True)
    log_probs = torch.log_softmax(theta, dim=-1)
    with torch.no_grad():
        entropy = -(log_probs.exp() * log_probs).sum(-1)
    (gradient,) = torch.autograd.grad((push * log_probs.gather(1, actions)).sum(), theta)
    theta.requires_grad_(False)
    theta.add_(gradient)
    return entropy


def candidates(rows: int, vocab: int, dtype: torch.dtype, device: torch.device, compiled: bool) -> dict[str, Callable[[], Any]]:
    """Closures by name; each keeps its own tables in place, so a call is one more update."""
    generator = torch.Generator(device).manual_seed(0)
    options: dict[str, Any] = dict(dtype=dtype, device=device)
    theta = -torch.log(torch.arange(1, vocab + 1, **options)).repeat(rows, 1)
    out = torch.empty_like(theta)
    actions = torch.multinomial(torch.softmax(theta[0], 0), rows * SAMPLES, True, generator=generator).reshape(rows, SAMPLES)
    push = 1e-3 * torch.randn(rows, SAMPLES, generator=generator, device=device, dtype=torch.float64)
    pull, slots, norm = -push.sum(1), distinct(actions, push), reference.measure(theta)
    small, less = push.to(dtype), pull.to(dtype)
    calls: dict[str, Callable[[], Any]] = {
        "copy": lambda: out.copy_(theta),
        "autograd": lambda: _autograd(theta, actions, small),
        "eager": lambda: _by_hand(theta, actions, small, less),
    }
    if compiled:
        step = torch.compile(_by_hand, dynamic=False)
        calls["compiled"] = lambda: step(theta, actions, small, less)
    kernels: Any = reference
    if device.type == "cuda":
        from entclip.engines.tokens.kernels import fused

        kernels = fused
    label = "fused" if kernels is not reference else "reference"
    view = Comparison(out, norm.log_z, Clip(), "euclidean")
    full = Comparison(out, norm.log_z, Clip(), "euclidean", (0.2, 0.2, 0.2, 0.2))
    m, v, m_out, v_out = (torch.zeros_like(theta) for _ in range(4))
    adam = Adam(torch.full_like(pull, 1e-3), 0.9, 0.999, 1e-8, 0.01, False, 10)
    state = {"norm": norm}

    def euclidean(seen: Comparison | None) -> Callable[[], Any]:
        def one() -> None:
            state["norm"], _ = kernels.euclidean_step(theta, state["norm"], slots, pull, seen)

        return one

    def adam_step() -> None:
        state["norm"], _, _ = kernels.adam_step(theta, m, v, state["norm"], slots, pull, adam)

    def copy_of_three() -> None:
        out.copy_(theta)
        m_out.copy_(m)
        v_out.copy_(v)

    def natural() -> None:
        state["norm"] = kernels.sparse_step(theta, state["norm"], slots)

    calls |= {label: euclidean(None), f"{label} ratio": euclidean(view), f"{label} all": euclidean(full)}
    return calls | {f"{label} adam": adam_step, "copy of 3": copy_of_three, f"{label} natural": natural}


def engine_call(rows: int, vocab: int, dtype: str, device: str) -> tuple[Callable[[], Any], Callable[[], float]]:
    """One engine.step per call, minibatches in turn; and the memory of its steps over both logit tables (CUDA; else NaN)."""
    experiment = parse_experiment(
        {
            "policy": {"kind": "zipf", "vocab": vocab, "contexts": rows},
            "reward": {"kind": "bernoulli", "p": 0.5},
            "advantage": {"kind": "group", "size": 8},
            "update": {"geometry": "euclidean", "learning_rate": 1.0, "batch": SAMPLES, "minibatches": 16, "rollouts": 1},
        }
    )
    engine = TokensEngine(device=device, dtype=dtype)
    held: dict[str, Any] = {}
    held["state"], rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    for k in range(16):
        rollout.draws.take(k)  # drawn once per rollout, timed apart
    turn = iter(range(10**9))
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        start = torch.cuda.memory_allocated()

    def one() -> None:
        minibatch = rollout.minibatches[next(turn) % 16]
        held["state"], _ = engine.step(held["state"], rollout, minibatch, Directive())

    def memory() -> float:
        if device != "cuda":
            return float("nan")
        tables = 2 * held["state"].logits.nbytes
        return (tables + torch.cuda.max_memory_allocated() - start) / tables

    return one, memory


def measure(rows: int, vocab: int, dtype: str, device: str, rounds: int, compiled: bool) -> dict[str, Any]:
    """Milliseconds by candidate (median over rounds) and ratios to the copy and of the targets, with their range."""
    kind = torch.device(device)
    calls = candidates(rows, vocab, getattr(torch, dtype), kind, compiled)
    calls["engine"], memory = engine_call(rows, vocab, dtype, device)
    repeats = TRIALS if kind.type == "cuda" else 1
    for call in calls.values():  # compiles, and fills caches
        _clock(call, kind, 1)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_clock(call, kind, repeats))

    def ratio(top: str, bottom: str) -> list[float]:
        each = [a / b for a, b in zip(times[top], times[bottom], strict=True)]
        return [statistics.median(each), min(each), max(each)]

    wanted = {(top, bottom) for top, bottom, *_ in TARGETS if top in times and bottom in times} | {(n, "copy") for n in times}
    return {
        "milliseconds": {name: 1e3 * statistics.median(t) for name, t in times.items()},
        "ratios": {f"{top} / {bottom}": ratio(top, bottom) for top, bottom in sorted(wanted)},
        "memory of engine steps / both tables": memory(),
    }


def sweep(rows: int, vocab: int, rounds: int) -> None:
    """Each fused pass by width of its tiles and warps, as ratios to the copy: how to choose them on a new device."""
    from entclip.engines.tokens.kernels import fused

    device, shipped = torch.device("cuda"), dict(fused.SHAPES)
    calls = candidates(rows, vocab, torch.float32, device, False)
    for name, key in {"fused": (4, 1, 0), "fused ratio": (4, 1, 1), "fused all": (4, 1, 2), "fused adam": (4, 2, 0)}.items():
        for shape in (fused.Shape(width, warps) for width in (256, 512, 1024, 2048) for warps in (4, 8) if width >= 64 * warps):
            fused.SHAPES[key] = shape
            calls[name]()
            each = [[_clock(calls[one], device, TRIALS) for one in ("copy", name)] for _ in range(rounds)]
            mark = "  shipped" if shape == shipped[key] else ""
            print(f"{name:12s} {shape.block:5d} x {shape.warps}: {statistics.median(b / a for a, b in each):.3f} x copy{mark}")
        fused.SHAPES[key] = shipped[key]


def _versions(device: str) -> str:
    try:
        import triton

        found = f"triton {triton.__version__}"
    except ImportError:
        found = "no triton"
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    return f"{name}; Python {platform.python_version()}, torch {torch.__version__}, {found}"


def main() -> None:
    here = "cuda" if torch.cuda.is_available() else "cpu"
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels", description="Dense steps against a copy of the same bytes."
    )
    parser.add_argument("--device", default=here, choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--rows", type=int, help="contexts (2048 on cuda, 8 on cpu)")
    parser.add_argument("--vocab", type=int, default=151_936)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="time torch.compile on the CPU, too (needs a C++ compiler)")
    parser.add_argument("--sweep", action="store_true", help="tile sizes of the fused step (cuda)")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    rows = a.rows or (2048 if a.device == "cuda" else 8)
    if a.sweep:
        sweep(rows, a.vocab, a.rounds)
        return
    result = measure(rows, a.vocab, a.dtype, a.device, a.rounds, compiled=a.compile or a.device == "cuda")
    if a.json:
        print(json.dumps({"device": _versions(a.device), "rows": rows, "vocab": a.vocab, "dtype": a.dtype, **result}, indent=1))
        return
    print(f"{_versions(a.device)}; {rows} x {a.vocab:,} {a.dtype}, {SAMPLES} samples a row")
    if a.device == "cpu":
        print("No GPU: the eager reference kernels stand in for the fused ones, and no target applies.")
    for name, value in result["milliseconds"].items():
        print(f"{name:18s} {value:10.3f} ms")
    for name, (middle, least, most) in result["ratios"].items():
        print(f"{name:28s} {middle:8.3f}  ({least:.3f} to {most:.3f})")
    print(f"memory of engine steps / both tables {result['memory of engine steps / both tables']:.3f}")
    for top, bottom, limit, sense in TARGETS if a.device == "cuda" else ():
        value = result["ratios"][f"{top} / {bottom}"][0]
        met = value <= limit if sense == "at most" else value >= limit
        print(f"target {top} / {bottom} {sense} {limit}: {value:.3f} {'met' if met else 'NOT met'}")


if __name__ == "__main__":
    main()
