"""A minibatch as a user's loop gives it: checked, in one shape and arithmetic, with weights of its tokens by cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from entclip.engines.llm.causes import TokenWeights, token_share, token_weights
from entclip.ledger.batch_values import binary, no_probabilities, not_positive, numbers, spacing
from entclip.objectives.base import Objective
from entclip.support.errors import SpecError

__all__ = ["Minibatch", "read_minibatch"]

_ABOVE = 1e-3  # what a log-probability may be above 0: two float32 sums over a vocabulary, subtracted
_DECIDED = 0.01  # of a token's weight: what it may change with a rounding of its ratio where it lies on no bound
_WHOLE = (torch.float32, torch.float64)
_NO_GRADIENT = {
    "use_reentrant": "the model recomputes activations by reentrant checkpointing, which gives no gradient to anybody but "
    "backward(). Use use_reentrant=False (in transformers and TRL gradient_checkpointing_kwargs={'use_reentrant': False}).",
    "donated buffer": "the model is compiled, and its graph gives one gradient only. Set "
    "torch._functorch.config.donated_buffer = False before compiling, or train without torch.compile in runs with a ledger.",
    "backward through the graph a second time": "minibatch() came after loss.backward(), which frees the graph: call it before.",
}


@dataclass(frozen=True)
class Minibatch:
    """The tokens of a minibatch, all (N, T), 0 where they do not count; log_probs with its graph.

    log_ratios: of an objective that takes other ratios than those of the tokens.
    """

    log_probs: Any
    old: Any
    new: Any
    advantages: Any
    kept: Any
    share: Any
    log_ratios: Any = None

    @property
    def whole(self) -> bool:
        """Tell whether every number is finite."""
        return all(bool(torch.isfinite(x).all()) for x in (self.old, self.new, self.advantages, self.share))

    def weights(self, objective: Objective) -> TokenWeights:
        """Return c(r, A) of each token by cause, and counts."""
        return token_weights(objective, self._now, self.old, self.advantages, self.kept, self.share)

    def on_a_bound(self, objective: Objective) -> int:
        """Count tokens whose weight jumps within the rounding of their ratio: the same sums in another order decide otherwise."""
        if self.new.dtype not in _WHOLE:
            return 0
        rounding = 2 * torch.finfo(self.new.dtype).eps * (1 + self.old.abs())
        up, down = (
            sum(
                token_weights(objective, near, self.old, self.advantages, self.kept, self.share).by_cause.values(),
                torch.zeros_like(self.new),
            )
            for near in (self._now + rounding, self._now - rounding)
        )
        return int(((up - down).abs() > _DECIDED * torch.maximum(up.abs(), down.abs())).sum())

    def ascent(self, weight: Any, parameters: list[Any]) -> list[Any]:
        """Return the gradient of sum weight * log_probs for each parameter; SpecError where there cannot be one."""
        value = (weight * self.log_probs).sum()
        try:
            return list(torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True))
        except RuntimeError as error:
            for words, said in _NO_GRADIENT.items():
                if words in str(error):
                    raise SpecError(said) from error
            raise

    @property
    def _now(self) -> Any:
        """Log pi of the tokens, or what gives the ratios that the objective takes."""
        return self.new if self.log_ratios is None else self.old + self.log_ratios


def read_minibatch(
    log_probs: Any,
    old_log_probs: Any,
    advantages: Any,
    mask: Any,
    *,
    weights: Any,
    scale: float,
    logits: Any,
    actions: Any,
    log_ratios: Any,
    temperature: float,
) -> Minibatch:
    """Read the arguments of `EntropyLedger.minibatch`: tensors, arrays or lists, but for log_probs or logits, which have a graph.

    Raises: ValueError that names the argument, what is wrong with it, and the fix.
    """
    if log_probs is None:
        log_probs = _taken(logits, actions, mask, temperature)
    _refuse_without_graph("log_probs", log_probs)
    shape, device = tuple(log_probs.shape), log_probs.device
    old = _like("old_log_probs", old_log_probs, shape, device).to(log_probs.dtype)
    kept = torch.ones(shape, dtype=torch.bool, device=device) if mask is None else _mask(mask, shape, device)
    for name, value, given in (("log_probs", log_probs, log_probs), ("old_log_probs", old, old_log_probs)):
        not_positive(name, torch.where(kept, value.detach(), -1.0), max(_ABOVE, spacing(given)))
    told = None
    if log_ratios is not None:
        told = torch.where(kept, _like("log_ratios", log_ratios, shape, device).to(log_probs.dtype), 0.0)
    return Minibatch(
        log_probs=log_probs,
        old=torch.where(kept, old, 0.0),
        new=torch.where(kept, log_probs.detach(), 0.0),
        advantages=torch.where(kept, _advantages(advantages, shape, device).to(log_probs.dtype), 0.0),
        kept=kept,
        share=(_share(weights, kept, shape, device) * scale).to(log_probs.dtype),
        log_ratios=told,
    )


def _taken(logits: Any, actions: Any, mask: Any, temperature: float) -> Any:
    """Log pi of the tokens taken, from logits (N, T, V)."""
    if logits is None or actions is None:
        raise ValueError(
            "minibatch() has no log_probs: give those of the tokens taken, or logits= (N, T, V) and actions= (N, T)."
        )
    _refuse_without_graph("logits", logits)
    shape = tuple(logits.shape[:-1])
    taken = _like("actions", actions, shape, logits.device, what="logits without its last axis")
    if mask is not None:
        taken = torch.where(_mask(mask, shape, logits.device), taken, 0)  # padding is often -100
    if bool((taken != taken.round()).any()) or int(taken.min()) < 0 or int(taken.max()) >= logits.shape[-1]:
        raise ValueError(
            f"actions hold {float(taken.min()):g} to {float(taken.max()):g} and V = {logits.shape[-1]}: they are the indices of "
            "the tokens taken, whole numbers in 0..V-1. Mask padding out."
        )
    no_probabilities("logits", logits.detach().reshape(-1, logits.shape[-1]))
    rows = logits if logits.dtype in _WHOLE else logits.float()
    return torch.log_softmax(rows / temperature, dim=-1).gather(-1, taken.long()[..., None])[..., 0]


def _refuse_without_graph(name: str, value: Any) -> None:
    if isinstance(value, torch.Tensor) and value.requires_grad:
        return
    what = "has no graph" if isinstance(value, torch.Tensor) else f"is a {type(value).__name__}"
    raise ValueError(f"{name} {what}: give the tensor that the loss is computed from, before detach() and outside no_grad().")


def _tensor(name: str, value: Any, device: Any) -> Any:
    return (value.detach() if isinstance(value, torch.Tensor) else torch.from_numpy(numbers(name, value))).to(device)


def _like(name: str, value: Any, shape: tuple[int, ...], device: Any, what: str = "log_probs") -> Any:
    tensor = _tensor(name, value, device)
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, {what} {shape}: give one entry per token.")
    return tensor


def _mask(mask: Any, shape: tuple[int, ...], device: Any) -> Any:
    return binary("mask", _like("mask", mask, shape, device)).bool()


def _advantages(given: Any, shape: tuple[int, ...], device: Any) -> Any:
    value = _tensor("advantages", given, device)
    if tuple(value.shape) == shape[:1]:
        value = value.reshape(-1, *(1,) * (len(shape) - 1))
    if value.ndim != len(shape) or any(a not in (1, b) for a, b in zip(value.shape, shape, strict=True)):
        raise ValueError(
            f"advantages has shape {tuple(value.shape)}, log_probs {shape}: give one per response, or one per token."
        )
    return value.expand(shape)


def _share(weights: Any, kept: Any, shape: tuple[int, ...], device: Any) -> Any:
    """What each token counts in the loss."""
    if isinstance(weights, str):
        if weights not in ("token", "sequence"):
            raise ValueError(f'weights = {weights!r}: choose "token" or "sequence", or give a number for each token.')
        return token_share(kept, weights)
    return torch.where(kept, _like("weights", weights, shape, device), 0.0)
