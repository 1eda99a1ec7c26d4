"""One update of a user's model: its gradient by cause, the step that its optimiser took, and what that did to entropy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from entclip.engines.llm.causes import TokenWeights
from entclip.engines.llm.columns import update_columns
from entclip.engines.llm.optimizers import LINEAR, MOMENT, step_by_cause
from entclip.engines.llm.probe import curvature_along, entropy_gradient, probe_log_probs
from entclip.integrations.recording.comparison import MOVED, Comparison, refuse_scaled
from entclip.integrations.recording.fingerprint import fingerprint
from entclip.integrations.recording.probe import UserProbe, evaluating
from entclip.objectives.base import CAUSES, Objective
from entclip.support.errors import SpecError

__all__ = ["Gathered", "Stepped", "Watch", "agreed", "unwrapped"]

_OWN_RATIO = 1e-3  # a log-ratio that is more than rounding of two passes over the same weights


def unwrapped(optimizer: Any) -> Any:
    """Return the optimiser of torch inside a wrapper such as accelerate's."""
    while not hasattr(optimizer, "register_step_pre_hook") and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer.optimizer if hasattr(optimizer, "accelerator_state") else optimizer


@dataclass
class Gathered:
    """What the minibatches of one update said before its step: ascent directions of the causes that are not `unclipped`, counts.

    surrogate: ascent direction of all causes together, where it is known. acted: how many tokens each cause took hold of.
    on_a_bound: tokens of which rounding decides whether a bound acts.
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


@dataclass(frozen=True)
class Stepped:
    """Columns of one update, how many responses it had, and the spacing of the numbers behind them."""

    columns: dict[str, float]
    samples: float
    precision: float


@dataclass
class _Before:
    now: list[Any]
    slope: list[Any]
    values: list[Any]
    moments: list[Any]
    applied: list[Any]
    raw: list[Any]


class Watch:
    """Looks at a model before and after a step of its optimiser; leaves weights, gradients and modes as they were."""

    def __init__(self, model: Any, optimizer: Any, probe: UserProbe, objective: Objective, *, bonus: bool, scaler: Any) -> None:
        inner = model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model
        self.model, self.optimizer, self.probe, self.bonus = inner, unwrapped(optimizer), probe, bonus
        self._objective, self._scaler, self._scale, self._comparison = objective, scaler, 1.0, Comparison(objective)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        own = {id(p) for p in self.model.parameters() if p.requires_grad}
        self.trained = [p for p in self.parameters if id(p) in own]
        _refuse_unseen(self.trained, self.parameters)
        self.split = type(self.optimizer) in LINEAR  # by cause
        self.linear = self.split and not any(p.dtype in _HALF for p in self.trained)
        group_of = {id(p): group for group in self.optimizer.param_groups for p in group["params"]}
        self._groups = [group_of[id(p)] for p in self.trained]
        self._raw: list[Any] = [None] * len(self.trained)
        self._before: _Before | None = None
        self._known: tuple[tuple[int, ...], list[Any], list[Any]] | None = None
        self._armed = False
        self._hooks = [
            p.register_post_accumulate_grad_hook(lambda p, place=place: self._see(p, place))
            for place, p in enumerate(self.trained)
        ]

    def close(self) -> None:
        """Take the hooks off the parameters."""
        for hook in self._hooks:
            hook.remove()

    def arm(self, on: bool) -> None:
        """Begin to keep gradients as they are before anything limits their norm, or stop."""
        self._armed = on
        if on and self._scaler is not None:
            self._scale = float(self._scaler.get_scale())
        if not on:
            self._raw, self._before = [None] * len(self.trained), None

    @property
    def skipped(self) -> bool:
        """Tell whether the loss scaler has left a step out since `arm`, as it does where a gradient held infinity."""
        return self._scaler is not None and float(self._scaler.get_scale()) < self._scale

    def look(self) -> list[Any]:
        """Return log pi of each block of the probe set."""
        if self._known is not None and self._known[0] == self._print():
            return self._known[1]
        return self._looked()

    def _looked(self) -> list[Any]:
        with evaluating(self.model):
            return probe_log_probs(self.model, self.probe)  # type: ignore[arg-type]

    def _block_by_block(self) -> Iterator[Any]:
        with evaluating(self.model), torch.no_grad():
            for block in self.probe.blocks:
                yield self.probe.log_probs(self.model, block)

    def before(self) -> str | None:
        """Take down what the step starts from; returns why the update cannot be accounted, None if it can."""
        ascents = [_ascent(group, p.grad) for group, p in zip(self._groups, self.trained, strict=True)]
        if all(a is None for a in ascents):
            return "no parameter had a gradient"
        if any(a is not None and not bool(torch.isfinite(a).all()) for a in ascents):
            return "the gradient held NaN or infinity"
        applied = [torch.zeros_like(p) if a is None else a.clone() for p, a in zip(self.trained, ascents, strict=True)]
        if (fused := getattr(self.optimizer, "grad_scale", None)) is not None:  # which divides by the scale inside its step
            for vector in applied:
                vector /= fused.to(vector.device)
        raw = [
            torch.zeros_like(p) if r is None else _ascent(group, r)
            for group, p, r in zip(self._groups, self.trained, self._raw, strict=True)
        ]
        now, slope = self._slope()
        kind = MOMENT.get(type(self.optimizer), "")
        held = (self.optimizer.state.get(p, {}).get(kind) for p in self.trained)
        moments = [None if m is None else m.clone() for m in held]
        self._before = _Before(now, slope, [p.detach().clone() for p in self.trained], moments, applied, _averaged(raw))
        return None

    def after(self, gathered: Gathered, old: list[Any], *, keep: bool) -> Stepped:
        """Account for the step that was just taken. keep: whether the next update is likely to start here."""
        b = self._before
        assert b is not None
        whole = _pooled(gathered, self.trained[0].device)
        causes = self._causes(gathered, b, whole)
        ends = [p.detach().clone() for p in self.trained]

        def products() -> Iterator[Any]:
            return (g * (end - value) for g, end, value in zip(b.slope, ends, b.values, strict=True))

        if not self.linear:
            causes["whole_step"] = sum(float(x.sum(dtype=torch.float64)) for x in products()) - sum(causes.values())
        after = self._slope()[0] if keep else self._looked()
        try:
            for parameter, value, end in zip(self.trained, b.values, ends, strict=True):
                _load([parameter], [2 * value - end])
            second = curvature_along(b.now, after, self._block_by_block())
        finally:
            _load(self.trained, ends)
        columns = update_columns(
            self._objective, (old, b.now, after), second, causes, products(), whole.counts, whole.rows / whole.tokens
        )
        columns |= {"log_ratio_mean": whole.log_ratios / whole.tokens, "token_log_ratio_sq": whole.log_ratios_sq / whole.tokens}
        if self.probe.positions is not None:
            columns["position_se"] = _spread(b.now, after)
        return Stepped(columns, whole.rows, float(torch.finfo(b.now[0].dtype).eps))

    def _causes(self, gathered: Gathered, b: _Before, pooled: _Pooled) -> dict[str, float]:
        """First-order parts of the step, nats."""
        if not self.split:
            return {}  # not 0: no part of such a step is known
        # One process may have clipped where another has not: all of them add up the same causes in the same order.
        names = CAUSES[1:] if _distributed() else tuple(name for name in CAUSES[1:] if name in gathered.parts)
        none = [torch.zeros_like(p) for p in self.trained] if _distributed() else []
        parts = {name: _averaged(gathered.parts.get(name) or [x.clone() for x in none]) for name in names}
        extra: dict[str, list[Any]] = {}
        whole = b.raw
        surrogate = None if gathered.surrogate is None else _averaged(gathered.surrogate)
        if not self.bonus:
            marks = {name for name, tokens in pooled.acted.items() if tokens}
            self._comparison.saw(marks, b.raw, surrogate, on_a_bound=pooled.on_a_bound > 0)
        elif surrogate is not None:
            refuse_scaled(b.raw, b.applied, surrogate)
            extra["bonus"], whole = [r - s for r, s in zip(b.raw, surrogate, strict=True)], surrogate
        unclipped = [total - sum(rest) for total, *rest in zip(whole, *parts.values(), strict=True)]
        if any(bool((a != r).any()) for a, r in zip(b.applied, b.raw, strict=True)):
            extra["norm_clip"] = [a - r for a, r in zip(b.applied, b.raw, strict=True)]
        gradients = parts | {"unclipped": unclipped} | extra
        place = {id(p): index for index, p in enumerate(self.trained)}
        before = [
            {"value": b.values[i], "moment": b.moments[i]} if (i := place.get(id(p))) is not None and p.grad is not None else None
            for p in self.parameters
        ]
        spread = {name: [v[place[id(p)]] if id(p) in place else None for p in self.parameters] for name, v in gradients.items()}
        slope = [b.slope[place[id(p)]] if id(p) in place else None for p in self.parameters]
        # In every row, so that sums over rows are of one kind.
        return dict.fromkeys((*CAUSES, *_LINES), 0.0) | step_by_cause(self.optimizer, before, spread, slope)

    def wants_surrogate(self, inner_step: int) -> bool:
        """Tell whether the gradient of the whole surrogate is wanted: to book what else the loss has, or to compare the two."""
        return self.split and (self.bonus or self._comparison.wanted(inner_step))

    def unseen(self) -> str | None:
        """Say what of the loss was never compared with the surrogate; None if nothing, or nothing rests on it."""
        return None if self.bonus or not self.split else self._comparison.note()

    def _see(self, parameter: Any, place: int) -> None:
        if self._armed:
            seen = parameter.grad.detach()
            self._raw[place] = seen.clone() if self._scale == 1 else seen / self._scale

    def _print(self) -> tuple[int, ...]:
        """Of all that the model's answers depend on, trained by this optimiser or not."""
        return fingerprint((*self.model.parameters(), *self.model.buffers()))

    def _slope(self) -> tuple[list[Any], list[Any]]:
        """Log pi on the probe set and the gradient of H; of weights that have not moved since, those of the last time."""
        now = self._print()
        if self._known is None or self._known[0] != now:
            with evaluating(self.model):
                self._known = (now, *entropy_gradient(self.model, self.probe, self.trained))  # type: ignore[arg-type]
        return self._known[1], self._known[2]


_LINES = ("momentum", "weight_decay", "norm_clip")
_HALF = (torch.bfloat16, torch.float16)


def _refuse_unseen(trained: list[Any], parameters: list[Any]) -> None:
    if not trained:
        raise SpecError(
            "the optimiser trains no parameter of the model: its entropy will not move. Give the ledger the model and the "
            "optimiser of your loop, and leave requires_grad on."
        )
    for p in parameters:
        if hasattr(p, "ds_id") or type(p).__name__ == "DTensor" or p.numel() == 0:
            raise SpecError(
                "the parameters are sharded over processes (FSDP, DeepSpeed ZeRO-3): the ledger needs each whole. Train with one "
                "process or with DistributedDataParallel."
            )


def _ascent(group: Any, gradient: Any) -> Any:
    if gradient is None:
        return None
    return gradient.detach() if group.get("maximize") else -gradient.detach()


def _averaged(vectors: list[Any]) -> list[Any]:
    """Means over the processes of a distributed training, whose losses are means over their own tokens."""
    if not _distributed():
        return vectors
    for vector in vectors:
        torch.distributed.all_reduce(vector)
        vector /= torch.distributed.get_world_size()
    return vectors


def agreed(reason: str | None, tokens: float, device: Any) -> str | None:
    """Return why an update cannot be accounted, the same in every process; None if it can.

    reason: of this process. tokens: of its minibatch that count.
    """
    others = 0.0
    if _distributed():
        seen = torch.tensor([float(reason is not None), tokens], dtype=torch.float64, device=device)
        torch.distributed.all_reduce(seen)
        others, tokens = seen.tolist()
    if reason is None and others:
        return "another process could not account for its part"
    return reason or (None if tokens else "no token of its minibatch counted, or minibatch() was not called")


class _Pooled(NamedTuple):
    """What the minibatches of an update said, over all processes: sums, never means of means."""

    counts: TokenWeights
    rows: float
    tokens: float
    log_ratios: float
    log_ratios_sq: float
    on_a_bound: float
    acted: dict[str, float]


def _pooled(gathered: Gathered, device: Any) -> _Pooled:
    merged, names = TokenWeights.merged(gathered.counts), (*CAUSES[1:], MOVED)
    sums = (float(gathered.rows), gathered.tokens, gathered.log_ratios, gathered.log_ratios_sq, gathered.on_a_bound)
    numbers = [*sums, *(gathered.acted.get(name, 0.0) for name in names), *merged.counts.values()]
    top = merged.ratio_max
    if _distributed():
        added, largest = (torch.tensor(x, dtype=torch.float64, device=device) for x in (numbers, [top]))
        torch.distributed.all_reduce(added)
        torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
        numbers, top = added.tolist(), float(largest)
    rows, tokens, log_ratios, log_ratios_sq, on_a_bound, *rest = numbers
    counts = TokenWeights({}, dict(zip(merged.counts, rest[len(names) :], strict=True)), top)
    return _Pooled(counts, rows, tokens, log_ratios, log_ratios_sq, on_a_bound, dict(zip(names, rest, strict=False)))


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1


def _load(parameters: list[Any], values: list[Any]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def _spread(before: list[Any], after: list[Any]) -> float:
    """Standard error of the mean change over contexts."""
    from entclip.policies.softmax import entropy

    change = torch.cat([entropy(y.double()) - entropy(x.double()) for x, y in zip(before, after, strict=True)])
    return float(change.std() / len(change) ** 0.5) if len(change) > 1 else 0.0
