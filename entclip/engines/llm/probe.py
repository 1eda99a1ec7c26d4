"""Entropy on fixed contexts: its value, its gradient, its derivatives along a step, and what the clip sets hold there.

Contexts are positions of fixed sequences, so a change of entropy is the policy's and not the sample's. H is their mean entropy in
nats, of softmax(logits / temperature), summed in float64, a few rows at a time: what is in memory beside log pi of the contexts
does not grow with them, and on a CPU it stays in the cache, which makes the sums four times as fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from entclip.drift.cumulants import entropy_gradient as gradient_of_logits
from entclip.drift.first_order import clip_set_stats
from entclip.engines.llm.sampling import Sequences, response_log_probs
from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import nowhere
from entclip.policies.softmax import entropy

__all__ = [
    "Curvature",
    "Probe",
    "curvature_along",
    "distribution_columns",
    "double_rows",
    "entropy_gradient",
    "probe_entropy",
    "probe_log_probs",
]


# Numbers of an array at a time; a dozen such arrays of float64 are alive. More on a GPU, which waits for every kernel.
_ENTRIES = {"cpu": 2**16, "cuda": 2**22}


@dataclass(frozen=True)
class Probe:
    """Sequences in blocks that bound memory; every response position is a context."""

    blocks: tuple[Sequences, ...]
    temperature: float
    dtype: Any

    @property
    def contexts(self) -> int:
        """Return how many positions count."""
        return int(sum(block.mask.sum() for block in self.blocks))

    def log_probs(self, logits_of: Any, block: Sequences) -> Any:
        """Return log pi at a block's contexts, (contexts, V), in float32 or better."""
        return response_log_probs(logits_of, block, self.temperature, self.dtype, full=True)[block.mask]


@dataclass(frozen=True)
class Curvature:
    """Second-order part of the change of H along a step, nats, and E[Var_pi(d)] of the logit step d it makes."""

    curvature: float
    step_variance: float


def double_rows(*arrays: Any) -> Iterator[tuple[Any, ...]]:
    """Give the same rows of several (n, V) tensors in float64, as many at a time as bound the memory."""
    n, width = arrays[0].shape
    size = max(1, _ENTRIES.get(arrays[0].device.type, _ENTRIES["cuda"]) // width)
    for start in range(0, n, size):
        yield tuple(x[start : start + size].double() for x in arrays)


def probe_log_probs(model: Any, probe: Probe) -> list[Any]:
    """Return log pi (contexts, V) of each block, kept as pi_old."""
    with torch.no_grad():
        return [probe.log_probs(model, block) for block in probe.blocks]


def probe_entropy(log_probs: list[Any]) -> float:
    """Return H, nats, from log pi of each block."""
    total = sum(float(entropy(x).sum()) for block in log_probs for (x,) in double_rows(block))
    return total / sum(len(x) for x in log_probs)


def entropy_gradient(model: Any, probe: Probe, parameters: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return log pi of each block, and the gradient of H for each parameter: T1 in parameter space (T13). One pass serves
    both.

    dH/dtheta = sum over logits of pi (s - H) dlogit/dtheta: what the backward pass starts from is known without a graph of H.
    """
    gradient, contexts = [torch.zeros_like(p) for p in parameters], probe.contexts
    seen = []
    for block in probe.blocks:
        log_probs = probe.log_probs(model, block)
        held = log_probs.detach()
        slope, start = torch.empty_like(held), 0
        for (x,) in double_rows(held):
            slope[start : start + len(x)] = gradient_of_logits(x) / contexts
            start += len(x)
        for total, part in zip(gradient, torch.autograd.grad(log_probs, parameters, slope, materialize_grads=True), strict=True):
            total += part
        seen.append(held)
    return seen, gradient


def curvature_along(before: list[Any], after: list[Any], mirrored: Iterable[Any]) -> Curvature:
    """Return the even part of the change of H along a parameter step, from log pi before it, after it, and after its negative.

    (H(theta + d) - 2 H(theta) + H(theta - d)) / 2 is half the second directional derivative up to a fourth-order term, for one
    forward pass. What measured leaves beyond first order and this is then the odd part, from third order on: the remainder.
    Exact derivatives by nested forward mode cost thirty times as much (a test compares the two).
    """
    total = variance = 0.0
    for x, up, down in _double_rows_of_blocks(before, after, mirrored):
        total += float((entropy(up) - 2 * entropy(x) + entropy(down)).sum()) / 2
        # Moves of log pi and of the logits differ by a constant per context, which a variance does not see.
        probs, move = torch.exp(x), (up - down) / 2
        variance += float((probs * (move - (probs * move).sum(-1, keepdim=True)) ** 2).sum())
    contexts = sum(len(x) for x in before)
    return Curvature(total / contexts, variance / contexts)


def distribution_columns(objective: Objective, new: list[Any], old: list[Any]) -> dict[str, float]:
    """Return probability and entropy-value excess of the clip sets, KL and log-ratio moments on whole distributions: means.

    kappa is the surprisal, the natural step's: the gaps are then those that Park et al. measure.
    """
    sums: dict[str, float] = {}
    for log_probs, old_log_probs in _double_rows_of_blocks(new, old):
        view = View.of(log_probs, old_log_probs)
        # Sets of whole responses have no actions of one context.
        change = Change.dropped(view, *nowhere(view)) if "sequence" in objective.needs else objective.change(view)
        stats, old_probs = clip_set_stats(change, log_probs, "natural"), view.old_probs
        log_ratio = log_probs - old_log_probs
        values = {
            "pi_low": stats.pi_low,
            "pi_high": stats.pi_high,
            "mass_low": stats.mass_low,
            "mass_high": stats.mass_high,
            "kl": -(old_probs * log_ratio).sum(-1),
            "log_ratio_sq": (old_probs * log_ratio**2).sum(-1),
        }
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + float(value.sum())
    contexts = sum(len(x) for x in new)
    return {name: value / contexts for name, value in sums.items()}


def _double_rows_of_blocks(*lists: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for blocks in zip(*lists, strict=True):
        yield from double_rows(*blocks)
