"""One update of a user's model: its gradient by cause, the step that its optimiser took, and what that did to entropy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from entclip.engines.llm.causes import TokenWeights
from entclip.engines.llm.columns import update_columns
from entclip.engines.llm.optimizers import LINEAR, MOMENT, step_by_cause
from entclip.engines.llm.probe import curvature_along, entropy_gradient, probe_log_probs
from entclip.integrations.recording.fingerprint import fingerprint
from entclip.integrations.recording.probe import UserProbe, evaluating
from entclip.objectives.base import CAUSES, Objective
from entclip.support.errors import SpecError

__all__ = ["Gathered", "Stepped", "Watch", "agreed", "unwrapped"]

_AGREE = {torch.float64: 1e-9, torch.float32: 1e-3}  # of the gradient's length: two orders of summation over a model
_COARSE = 0.1  # the same for a model in half precision


def unwrapped(optimizer: Any) -> Any:
    """Return the optimiser of torch inside a wrapper such as accelerate's."""
    while not hasattr(optimizer, "register_step_pre_hook") and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer.optimizer if hasattr(optimizer, "accelerator_state") else optimizer


@dataclass
class Gathered:
    """What the minibatches of one update said before its step: ascent directions of the causes that are not `unclipped`, counts.

    surrogate: ascent direction of all causes together, where it is known.
    """

    parts: dict[str, list[Any]] = field(default_factory=dict)
    surrogate: list[Any] | None = None
    counts: list[TokenWeights] = field(default_factory=list)
    rows: int = 0
    tokens: float = 0.0
    log_ratios: float = 0.0

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

    def __init__(self, model: Any, optimizer: Any, probe: UserProbe, *, bonus: bool) -> None:
        inner = model.module if isinstance(model, torch.nn.parallel.DistributedDataParallel) else model
        self.model, self.optimizer, self.probe, self.bonus = inner, unwrapped(optimizer), probe, bonus
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        own = {id(p) for p in self.model.parameters() if p.requires_grad}
        self.trained = [p for p in self.parameters if id(p) in own]
        _refuse_unseen(self.trained, self.parameters)
        self.linear = type(self.optimizer) in LINEAR and not any(p.dtype in _HALF for p in self.trained)
        self._raw: list[Any] = [None] * len(self.trained)
        self._before: _Before | None = None
        self._known: tuple[tuple[int, ...], list[Any], list[Any]] | None = None
        self._armed, self._checked = False, False
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
        if not on:
            self._raw, self._before = [None] * len(self.trained), None

    def look(self) -> list[Any]:
        """Return log pi of each block of the probe set."""
        if self._known is not None and self._known[0] == self._print():
            return self._known[1]
        with evaluating(self.model):
            return probe_log_probs(self.model, self.probe)  # type: ignore[arg-type]

    def before(self) -> str | None:
        """Take down what the step starts from; returns why the update cannot be accounted, None if it can."""
        ascents = [_ascent(self.optimizer, p, p.grad) for p in self.trained]
        if all(a is None for a in ascents):
            return "no parameter had a gradient"
        if any(a is not None and not bool(torch.isfinite(a).all()) for a in ascents):
            return "the gradient held NaN or infinity"
        applied = [torch.zeros_like(p) if a is None else a.clone() for p, a in zip(self.trained, ascents, strict=True)]
        raw = [
            torch.zeros_like(p) if r is None else _ascent(self.optimizer, p, r)
            for p, r in zip(self.trained, self._raw, strict=True)
        ]
        now, slope = self._slope()
        kind = MOMENT.get(type(self.optimizer), "")
        held = (self.optimizer.state.get(p, {}).get(kind) for p in self.trained)
        moments = [None if m is None else m.clone() for m in held]
        self._before = _Before(now, slope, [p.detach().clone() for p in self.trained], moments, applied, _averaged(raw))
        return None

    def after(self, gathered: Gathered, objective: Objective, old: list[Any], *, keep: bool) -> Stepped:
        """Account for the step that was just taken. keep: whether the next update is likely to start here."""
        b = self._before
        assert b is not None
        causes = self._causes(gathered, b)
        ends = [p.detach().clone() for p in self.trained]
        products = [g * (end - value) for g, end, value in zip(b.slope, ends, b.values, strict=True)]
        inner = float(sum(x.sum(dtype=torch.float64) for x in products))
        if not self.linear:
            causes["whole_step"] = inner - sum(causes.values())
        after = self._slope()[0] if keep else self.look()
        try:
            _load(self.trained, [2 * value - end for value, end in zip(b.values, ends, strict=True)])
            mirrored = self.look()
        finally:
            _load(self.trained, ends)
        merged, rows, tokens, log_ratios = _pooled(gathered, self.trained[0].device)
        second = curvature_along(b.now, after, mirrored)
        columns = update_columns(objective, (old, b.now, after), second, causes, products, merged, rows / tokens)
        columns["log_ratio_mean"] = log_ratios / tokens
        if self.probe.positions is not None:
            columns["position_se"] = _spread(b.now, after)
        return Stepped(columns, rows, float(torch.finfo(b.now[0].dtype).eps))

    def _causes(self, gathered: Gathered, b: _Before) -> dict[str, float]:
        """First-order parts of the step, nats."""
        if type(self.optimizer) not in LINEAR:
            return {}  # not 0: no part of such a step is known
        # One process may have clipped where another has not: all of them add up the same causes in the same order.
        names = CAUSES[1:] if _distributed() else tuple(name for name in CAUSES[1:] if name in gathered.parts)
        none = [torch.zeros_like(p) for p in self.trained] if _distributed() else []
        parts = {name: _averaged(gathered.parts.get(name) or [x.clone() for x in none]) for name in names}
        extra: dict[str, list[Any]] = {}
        whole = b.raw
        if gathered.surrogate is not None:
            surrogate = _averaged(gathered.surrogate)
            if self.bonus:
                extra["bonus"], whole = [r - s for r, s in zip(b.raw, surrogate, strict=True)], surrogate
            else:
                _refuse_another_loss(b.raw, surrogate)
                self._checked = True
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

    @property
    def wants_surrogate(self) -> bool:
        """Tell whether the gradient of the whole surrogate is wanted: to book what else the loss has, or to check it once."""
        return type(self.optimizer) in LINEAR and (self.bonus or not self._checked)

    def _see(self, parameter: Any, place: int) -> None:
        if self._armed:
            self._raw[place] = parameter.grad.detach().clone()

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


def _refuse_another_loss(raw: list[Any], surrogate: list[Any]) -> None:
    """SpecError if the loss's gradient is not that of the surrogate that the ledger was told of."""
    apart = [x - y for x, y in zip(raw, surrogate, strict=True)]
    own, told, both, away = (
        float(sum(torch.sum(x * y, dtype=torch.float64) for x, y in zip(a, b, strict=True)))
        for a, b in ((raw, raw), (surrogate, surrogate), (raw, surrogate), (apart, apart))
    )
    limit = _AGREE.get(raw[0].dtype, _COARSE)
    if away <= limit**2 * max(own, told):
        return
    cosine = both / (own * told) ** 0.5 if own > 0 and told > 0 else 0.0
    size = (own / told) ** 0.5 if told > 0 else float("inf")
    raise SpecError(
        f"the gradient of the loss is not that of the clipped surrogate that the ledger was given: it is {size:.4g} times as "
        f"long, the cosine between them {cosine:.4f}. With cosine 1 the tokens are weighed otherwise: give weights= or scale= "
        "(a loss divided by accumulation steps, a mean over responses, a loss scaler). Otherwise the loss has other terms, such "
        "as an entropy bonus or a KL penalty: say bonus=True, and they get a line of their own."
    )


def _ascent(optimizer: Any, parameter: Any, gradient: Any) -> Any:
    if gradient is None:
        return None
    group = next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))
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


def _pooled(gathered: Gathered, device: Any) -> tuple[TokenWeights, float, float, float]:
    """Counts, responses, tokens and the sum of log-ratios over all processes: sums, never means of means."""
    merged = TokenWeights.merged(gathered.counts)
    numbers = [*merged.counts.values(), float(gathered.rows), gathered.tokens, gathered.log_ratios]
    top = merged.ratio_max
    if _distributed():
        sums, largest = (torch.tensor(x, dtype=torch.float64, device=device) for x in (numbers, [top]))
        torch.distributed.all_reduce(sums)
        torch.distributed.all_reduce(largest, op=torch.distributed.ReduceOp.MAX)
        numbers, top = sums.tolist(), float(largest)
    *counts, rows, tokens, log_ratios = numbers
    return TokenWeights({}, dict(zip(merged.counts, counts, strict=True)), top), rows, tokens, log_ratios


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
