"""What the minibatches of an update say before its step, in one process and over all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from entclip.engines.llm.causes import TokenWeights
from entclip.integrations.recording.comparison import MOVED
from entclip.integrations.recording.processes import distributed
from entclip.objectives.base import CAUSES

__all__ = ["Gathered", "Pooled", "pooled"]

_OWN_RATIO = 1e-3  # a log-ratio that is more than rounding of two passes over the same weights


@dataclass
class Gathered:
    """What the minibatches of one update said before its step: ascent directions of the causes that are not `unclipped`, counts.

    surrogate: ascent direction of all causes together, where it is known. acted: how many tokens each cause took hold of.
    on_a_bound: tokens of which rounding decides whether a bound acts. reason: why the update cannot be accounted.
    """

    parts: dict[str, list[Any]] = field(default_factory=dict)
    surrogate: list[Any] | None = None
    counts: list[TokenWeights] = field(default_factory=list)
    rows: int = 0
    tokens: float = 0.0
    log_ratios: float = 0.0
    log_ratios_sq: float = 0.0
    acted: dict[str, float] = field(default_factory=dict)
    on_a_bound: float = 0.0
    minibatches: int = 0
    reason: str | None = None

    def merge(self, other: Gathered) -> None:
        """Add what another minibatch of the same update said."""
        for name, vectors in other.parts.items():
            self.add(name, vectors)
        if other.surrogate is not None:
            self.add_surrogate(other.surrogate)
        self.counts += other.counts
        for name in ("rows", "tokens", "log_ratios", "log_ratios_sq", "on_a_bound", "minibatches"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name, tokens in other.acted.items():
            self.acted[name] = self.acted.get(name, 0.0) + tokens
        self.reason = self.reason or other.reason

    def see(self, found: TokenWeights, log_ratios: Any, kept: Any) -> None:
        """Count the tokens of a minibatch."""
        self.counts.append(found)
        self.rows += len(kept)
        self.tokens += float(kept.sum())
        self.log_ratios += float(log_ratios.sum(dtype=torch.float64))
        self.log_ratios_sq += float((log_ratios.double() ** 2).sum())
        acted = {name: float((weight != 0).sum()) for name, weight in found.by_cause.items() if name != "unclipped"}
        for name, tokens in (acted | {MOVED: float((log_ratios.abs() > _OWN_RATIO).sum())}).items():
            self.acted[name] = self.acted.get(name, 0.0) + tokens

    def add(self, name: str, vectors: list[Any]) -> None:
        """Add an ascent direction of a cause."""
        self.parts[name] = _sum(self.parts.get(name), vectors)

    def add_surrogate(self, vectors: list[Any]) -> None:
        """Add an ascent direction of the whole surrogate."""
        self.surrogate = _sum(self.surrogate, vectors)


def _sum(old: list[Any] | None, new: list[Any]) -> list[Any]:
    return new if old is None else [a + b for a, b in zip(old, new, strict=True)]


class Pooled(NamedTuple):
    """What the minibatches of an update said, over all processes: sums, never means of means."""

    counts: TokenWeights
    rows: float
    tokens: float
    log_ratios: float
    log_ratios_sq: float
    on_a_bound: float
    acted: dict[str, float]


def pooled(gathered: Gathered, device: Any) -> Pooled:
    """Return what all processes say of an update."""
    merged, names = TokenWeights.merged(gathered.counts), (*CAUSES[1:], MOVED)
    sums = (float(gathered.rows), gathered.tokens, gathered.log_ratios, gathered.log_ratios_sq, gathered.on_a_bound)
    numbers = [*sums, *(gathered.acted.get(name, 0.0) for name in names), *merged.counts.values()]
    top = merged.ratio_max
    if distributed():
        added, largest = (torch.tensor(x, dtype=torch.float64, device=device) for x in (numbers, [top]))
        torch.distributed.all_reduce(added)
        torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
        numbers, top = added.tolist(), float(largest)
    rows, tokens, log_ratios, log_ratios_sq, on_a_bound, *rest = numbers
    counts = TokenWeights({}, dict(zip(merged.counts, rest[len(names) :], strict=True)), top)
    return Pooled(counts, rows, tokens, log_ratios, log_ratios_sq, on_a_bound, dict(zip(names, rest, strict=False)))
