"""One update of a user's model: its gradient by cause, the step that its optimiser took, and what that did to entropy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from entclip.engines.llm.columns import update_columns
from entclip.engines.llm.optimizers import LINEAR, MOMENT, adam_reach, step_by_cause
from entclip.engines.llm.probe import curvature_along, entropy_gradient, probe_entropy, probe_log_probs
from entclip.integrations.recording.comparison import Comparison, refuse_scaled
from entclip.integrations.recording.fingerprint import fingerprint
from entclip.integrations.recording.gathered import Gathered, Pooled, pooled
from entclip.integrations.recording.probe import UserProbe, evaluating
from entclip.integrations.recording.processes import averaged, distributed
from entclip.ledger.cancelling import MARK
from entclip.objectives.base import CAUSES, Objective
from entclip.support.errors import SpecError

__all__ = ["CLOSURE", "Stepped", "Watch", "unwrapped"]

CLOSURE = "its step was given a closure, which computes gradients inside the step: call loss.backward() before optimizer.step()"


def unwrapped(optimizer: Any) -> Any:
    """Return the optimiser of torch inside a wrapper such as accelerate's."""
    while not hasattr(optimizer, "register_step_pre_hook") and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer.optimizer if hasattr(optimizer, "accelerator_state") else optimizer


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
        self.split = type(self.optimizer) in LINEAR  # by cause
        self.altered = False  # some step was not what the optimiser makes of its gradients
        self._before: _Before | None = None
        self._known: tuple[tuple[int, ...], list[Any], list[Any]] | None = None
        self._armed = False
        self.backwards = 0  # since `arm`
        self._last: Any = None  # the gradient of the smallest parameter that the last backward() wrote to
        self._emptied = False
        self._hooks: list[Any] = []
        self._raw: list[Any] = []
        _refuse_sparse(inner)
        self._read()

    def close(self) -> None:
        """Take the hooks off the parameters."""
        for hook in self._hooks:
            hook.remove()

    def arm(self, on: bool) -> None:
        """Begin to keep gradients as they are before anything limits their norm, or stop."""
        self._armed, self._last, self._emptied, self.backwards = on, None, False, 0
        self._raw, self._before = [None] * len(self.trained), None

    def begin(self) -> bool:
        """Begin an update at its first minibatch; tell whether other parameters train than in the last one.

        The scale of the loss is read here, for after a step the scaler may change it until the next backward().
        """
        if self._scaler is not None:
            self._scale = float(self._scaler.get_scale())
        if not self._changed():
            return False
        self.close()
        self._read()
        return True

    def _changed(self) -> bool:
        own = {id(p) for p in self.model.parameters() if p.requires_grad}
        now = [id(p) for group in self.optimizer.param_groups for p in group["params"]]
        return now != [id(p) for p in self.parameters] or [x for x in now if x in own] != [id(p) for p in self.trained]

    def _read(self) -> None:
        """Learn which parameters train, and put hooks on them."""
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        own = {id(p) for p in self.model.parameters() if p.requires_grad}
        self.trained = [p for p in self.parameters if id(p) in own]
        _refuse_unseen(self.trained, self.parameters)
        self.linear = self.split and not self.altered and not any(p.dtype in _HALF for p in self.trained)
        group_of = {id(p): group for group in self.optimizer.param_groups for p in group["params"]}
        self._groups = [group_of[id(p)] for p in self.trained]
        self._raw = [None] * len(self.trained)
        self._smallest = min(range(len(self.trained)), key=lambda k: self.trained[k].numel())
        self._known = None
        self._hooks = [
            p.register_post_accumulate_grad_hook(lambda p, place=place: self._see(p, place))
            for place, p in enumerate(self.trained)
        ]

    def emptied(self) -> bool:
        """Tell whether gradients were cleared just before the last backward(), and forget it."""
        was, self._emptied = self._emptied, False
        return was

    @property
    def empty(self) -> bool:
        """Tell whether all gradients that were seen since `arm` have been cleared: None, or 0 where they were not."""
        seen = [(p, raw) for p, raw in zip(self.trained, self._raw, strict=True) if raw is not None]
        if not seen or any(p.grad is not None and bool((p.grad != 0).any()) for p, _ in seen):
            return False
        return any(p.grad is None or bool((raw != 0).any()) for p, raw in seen)

    @property
    def skipped(self) -> bool:
        """Tell whether the loss scaler has left a step out since `begin`, as it does where a gradient held infinity."""
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
        if self._changed():
            return "parameters began or ceased to train between its first minibatch() and its step"
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
            torch.zeros_like(p) if r is None or p.grad is None else _ascent(group, r)
            for group, p, r in zip(self._groups, self.trained, self._raw, strict=True)
        ]
        now, slope = self._slope()
        kind = MOMENT.get(type(self.optimizer), "")
        held = (self.optimizer.state.get(p, {}).get(kind) for p in self.trained)
        moments = [None if m is None else m.clone() for m in held]
        self._before = _Before(now, slope, [p.detach().clone() for p in self.trained], moments, applied, averaged(raw))
        return None

    def after(self, gathered: Gathered, old: list[Any], *, keep: bool) -> Stepped:
        """Account for the step that was just taken. keep: whether the next update is likely to start here."""
        b = self._before
        assert b is not None
        whole = pooled(gathered, self.trained[0].device)
        causes = self._causes(gathered, b, whole)
        ends = [p.detach().clone() for p in self.trained]

        def products() -> Iterator[Any]:
            return (g * (end - value) for g, end, value in zip(b.slope, ends, b.values, strict=True))

        made, size = 0.0, 1 + probe_entropy(b.now) + sum(abs(value) for value in causes.values())
        for x in products():
            made, size = made + float(x.sum(dtype=torch.float64)), size + float(x.abs().sum(dtype=torch.float64))
        rest, precision = made - sum(causes.values()), float(torch.finfo(b.now[0].dtype).eps)
        if self.linear and abs(rest) > _ROUNDING * precision * size:  # a hook of the optimiser, or a rounded learning rate
            self.linear, self.altered = False, True
        if not self.linear:
            causes["whole_step"] = rest
        marks = self._marks(causes, b.slope)
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
        columns |= marks
        columns |= {"log_ratio_mean": whole.log_ratios / whole.tokens, "token_log_ratio_sq": whole.log_ratios_sq / whole.tokens}
        if self.probe.positions is not None:
            columns["position_se"] = _spread(b.now, after)
        return Stepped(columns, whole.rows, precision)

    def _causes(self, gathered: Gathered, b: _Before, said: Pooled) -> dict[str, float]:
        """First-order parts of the step, nats."""
        if not self.split:
            if not self.bonus:
                self._compare(gathered, b, said)
            return {}  # not 0: no part of such a step is known
        # One process may have clipped where another has not: all of them add up the same causes in the same order.
        names = CAUSES[1:] if distributed() else tuple(name for name in CAUSES[1:] if name in gathered.parts)
        none = [torch.zeros_like(p) for p in self.trained] if distributed() else []
        parts = {name: averaged(gathered.parts.get(name) or [x.clone() for x in none]) for name in names}
        extra: dict[str, list[Any]] = {}
        whole = b.raw
        surrogate = averaged(gathered.surrogate) if self.bonus and gathered.surrogate is not None else None
        if not self.bonus:
            self._compare(gathered, b, said)
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

    def _marks(self, causes: dict[str, float], slope: list[Any]) -> dict[str, float]:
        """Tell whether a cause of this step is larger than what any gradient could do to entropy through Adam."""
        if not self.split or "betas" not in self.optimizer.param_groups[0]:
            return {}
        place = {id(p): index for index, p in enumerate(self.trained)}
        of_all = [slope[place[id(p)]] if id(p) in place and p.grad is not None else None for p in self.parameters]
        largest = max(abs(value) for name, value in causes.items() if name not in _NOT_OF_GRADIENTS)
        return {MARK: float(largest > adam_reach(self.optimizer, of_all))}

    def _compare(self, gathered: Gathered, b: _Before, said: Pooled) -> None:
        marks = {name for name, tokens in said.acted.items() if tokens}
        surrogate = None if gathered.surrogate is None else averaged(gathered.surrogate)
        self._comparison.saw(marks, b.raw, surrogate, on_a_bound=said.on_a_bound > 0)

    def wants_surrogate(self, inner_step: int) -> bool:
        """Tell whether the gradient of the whole surrogate is wanted: to book what else the loss has, or to compare the two."""
        return self.split if self.bonus else self._comparison.wanted(inner_step)

    def note(self) -> str | None:
        """Say that steps held more than the optimiser makes of its gradients; None if none did."""
        if not self.altered:
            return None
        return (
            f"Steps were not what {type(self.optimizer).__name__} makes of the gradients: a hook of the optimiser changes "
            "gradients or weights within the step, or its numbers are rounded more than the weights (a learning rate in float32 "
            "with weights in float64). The step was taken as it was; what it had beside the causes is in the line `step`."
        )

    def unseen(self) -> str | None:
        """Say what of the loss was never compared with the surrogate; None if nothing, or nothing rests on it."""
        return None if self.bonus else self._comparison.note()

    def _see(self, parameter: Any, place: int) -> None:
        if self._armed:
            seen = parameter.grad.detach()
            if place == self._smallest:
                # In place as long as gradients accumulate. DistributedDataParallel may move them into its buckets.
                self._emptied |= self._last is not None and not distributed() and self._last.data_ptr() != seen.data_ptr()
                self._last = seen
            self.backwards += 1
            self._raw[place] = seen.clone() if self._scale == 1 else seen / self._scale

    def _print(self) -> tuple[int, ...]:
        """Of all that the model's answers depend on, trained by this optimiser or not."""
        return fingerprint((*self.model.parameters(), *self.model.buffers()))

    def _slope(self) -> tuple[list[Any], list[Any]]:
        """Log pi on the probe set and the gradient of H; of weights that have not moved since, those of the last time."""
        now = self._print()
        if self._known is None or self._known[0] != now:
            with evaluating(self.model):
                try:
                    self._known = (now, *entropy_gradient(self.model, self.probe, self.trained))  # type: ignore[arg-type]
                except RuntimeError as error:
                    if "does not require grad" not in str(error):
                        raise
                    raise SpecError(
                        "the function logits= gives logits without a graph, and entropy's gradient is taken through them: leave "
                        "no_grad(), inference_mode() and detach() out of it."
                    ) from error
        return self._known[1], self._known[2]


_ROUNDING = 256  # roundings of the sums of a step, as the identity of causes allows for
_LINES = ("momentum", "weight_decay", "norm_clip")
_NOT_OF_GRADIENTS = (
    "momentum",
    "weight_decay",
    "whole_step",
)  # causes that no gradient of this update makes
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


def _refuse_sparse(model: Any) -> None:
    for name, part in model.named_modules():
        if getattr(part, "sparse", False) and isinstance(part, (torch.nn.Embedding, torch.nn.EmbeddingBag)):
            raise SpecError(
                f"the module {name or type(part).__name__} has sparse=True: its sparse gradients cannot be split by cause. Make "
                "it with sparse=False for runs with a ledger."
            )


def _ascent(group: Any, gradient: Any) -> Any:
    if gradient is None:
        return None
    return gradient.detach() if group.get("maximize") else -gradient.detach()


def _load(parameters: list[Any], values: list[Any]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def _spread(before: list[Any], after: list[Any]) -> float:
    """Standard error of the mean change over contexts."""
    from entclip.policies.softmax import entropy

    change = torch.cat([entropy(y.double()) - entropy(x.double()) for x, y in zip(before, after, strict=True)])
    return float(change.std() / len(change) ** 0.5) if len(change) > 1 else 0.0
