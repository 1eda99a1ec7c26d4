"""The probe set of a user's model: fixed contexts at which its entropy is looked at, given by a function of theirs."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from entclip.ledger.batch_values import no_probabilities, same_legal
from entclip.support.errors import SpecError
from entclip.support.random import stream

__all__ = ["UserProbe", "evaluating", "fingerprint"]


@dataclass
class UserProbe:
    """Blocks of contexts, each as large as memory allows at a time, and the function that gives their logits.

    logits: (model, block) to logits (n, V) or (..., V), of softmax(logits / temperature).
    positions: how many contexts to keep, drawn once at random from all; None keeps all.
    actions: how many there are, None before the first look.
    illegal: of each block seen so far where its logits were -inf, None where nowhere; those actions have probability 0.
    """

    logits: Callable[[Any, Any], Any]
    given: Sequence[Any]
    temperature: float = 1.0
    positions: int | None = None
    seed: int = 0
    chosen: list[Any] = field(default_factory=list)
    contexts: int = 0
    seen: str = ""
    illegal: dict[int, Any] = field(default_factory=dict)
    actions: int | None = None

    @property
    def blocks(self) -> range:
        """Return the indices of the blocks, which is what `log_probs` takes."""
        return range(len(self.given))

    def begin(self, model: Any) -> None:
        """Look once, to learn how many contexts there are and to choose among them."""
        with torch.no_grad():
            sizes = [self._size(model, index) for index in self.blocks]
        self.chosen, total = [None] * len(sizes), sum(sizes)
        if total == 0:
            raise SpecError("the probe set holds no context: give contexts at which the function returns logits.")
        if self.positions is not None and self.positions < total:
            kept = torch.from_numpy(stream(self.seed, "probes").permutation(total)[: self.positions]).sort().values
            starts = torch.tensor([0, *sizes]).cumsum(0)
            self.chosen = [kept[(kept >= a) & (kept < b)] - a for a, b in itertools.pairwise(starts)]
        self.contexts, self.seen = min(total, self.positions or total), fingerprint(self.given)

    def log_probs(self, model: Any, block: int) -> Any:
        """Return log pi at a block's contexts, (n, V), in float32 or better."""
        rows = self._rows(model, block)
        if self.chosen[block] is not None:
            rows = rows[self.chosen[block].to(rows.device)]
        return torch.log_softmax(self._finite(rows, block) / self.temperature, dim=-1)

    def check(self) -> None:
        """Raise SpecError if the contexts are not those that the ledger began with."""
        if fingerprint(self.given) != self.seen:
            raise SpecError(
                "the probe set has changed since the ledger began: entropies of other contexts cannot be compared. Give the "
                "ledger contexts that nothing writes to, or begin another ledger."
            )

    def differs(self, state: Mapping[str, Any]) -> bool:
        """Tell whether these contexts are others than those of a saved ledger."""
        return fingerprint(self.given) != state["seen"]

    def _size(self, model: Any, block: int) -> int:
        rows = self._rows(model, block)
        if len(rows):
            no_probabilities("logits of the probe set", rows)
        return len(rows)

    def _finite(self, rows: Any, block: int) -> Any:
        """Logits that are so low at illegal actions (-inf) that their probability is exactly 0: 0 log 0 is then 0."""
        mask = torch.isneginf(rows)
        found = mask if bool(mask.any()) else None
        before = self.illegal.setdefault(block, found)
        if found is None and before is None:
            return rows
        same_legal(*(torch.zeros_like(mask) if x is None else x.to(mask.device) for x in (before, found)))
        lowest = torch.where(mask, torch.inf, rows.detach()).amin(-1, keepdim=True)
        return torch.where(mask, lowest - 1e4, rows)

    def _rows(self, model: Any, block: int) -> Any:
        logits = self.logits(model, self.given[block])
        if not isinstance(logits, torch.Tensor):
            raise SpecError(
                f"the function logits= returned a {type(logits).__name__}: it must return a tensor of logits (..., V), such as "
                "model(...).logits."
            )
        _refuse_without_actions(logits, self.given[block])
        rows = logits.reshape(-1, logits.shape[-1])
        actions = self.actions or rows.shape[-1]
        if rows.shape[-1] != actions:
            raise SpecError(
                f"the function logits= returned logits of {rows.shape[-1]} actions, and of {actions} before: their last axis is "
                "the vocabulary, the same at all contexts."
            )
        self.actions = actions
        return rows if rows.dtype in (torch.float32, torch.float64) else rows.float()


def _refuse_without_actions(logits: Any, contexts: Any) -> None:
    """SpecError for log-probs of the tokens taken, which have an entry per token where logits have one per action."""
    shape = tuple(logits.shape)
    if len(shape) < 2 or shape[-1] < 2:
        raise SpecError(
            f"the function logits= returned a tensor of shape {shape}: logits are (..., V), one row for each context and V "
            "actions, 2 or more. Of a single context return logits[None]."
        )
    if any(tuple(x.shape) == shape for x in _token_ids(contexts)):
        raise SpecError(
            f"the function logits= returned a tensor of shape {shape}, which is that of its contexts: it has no axis for the "
            "vocabulary. Return logits (..., V), not what the tokens taken have of them."
        )


def _token_ids(value: Any) -> Iterator[Any]:
    """Whole numbers of more than one axis among contexts: tokens, one entry each."""
    if isinstance(value, torch.Tensor):
        if value.ndim > 1 and not value.dtype.is_floating_point and value.dtype != torch.bool:
            yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _token_ids(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _token_ids(each)


def fingerprint(value: Any) -> str:
    """Return a checksum of tensors, arrays, numbers and text in lists and dictionaries."""
    digest = hashlib.sha256()

    def add(x: Any) -> None:
        if isinstance(x, torch.Tensor):
            flat = x.detach().cpu().contiguous()
            digest.update(f"{flat.dtype}{tuple(flat.shape)}".encode())
            digest.update((flat.float() if flat.dtype == torch.bfloat16 else flat).numpy().tobytes())
        elif isinstance(x, Mapping):
            for key in x:
                digest.update(repr(key).encode())
                add(x[key])
        elif isinstance(x, list | tuple):
            digest.update(f"{len(x)}[".encode())
            for each in x:
                add(each)
        else:
            digest.update(repr(x).encode())

    add(value)
    return digest.hexdigest()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Put a model into evaluation mode, without dropout, and every part of it back into its own mode."""
    before = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in before:
            part.training = mode
