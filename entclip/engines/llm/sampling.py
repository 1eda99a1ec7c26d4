"""Responses: batched generation with a key-value cache, and log-probabilities of what was generated.

A batch of sequences is (N, P + R): prompts padded on the left to P tokens, responses on the right to R. Positions count real
tokens, so padding changes no distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from entclip.policies.decoding import decode
from entclip.support.errors import SpecError

if TYPE_CHECKING:  # it needs transformers, and a plain training loop may have none
    from entclip.engines.llm.language import Language

__all__ = ["Sequences", "generate", "grouped_log_probs", "pad_prompts", "response_log_probs"]


@dataclass(frozen=True)
class Sequences:
    """Token ids (N, P + R), attention mask of the same shape, and which response positions count, (N, R) bool."""

    ids: Any
    attention: Any
    mask: Any

    def __getitem__(self, rows: Any) -> Sequences:
        return Sequences(self.ids[rows], self.attention[rows], self.mask[rows])

    @property
    def length(self) -> int:
        """Return R, tokens of the longest response."""
        return int(self.mask.shape[1])


def pad_prompts(language: Language, texts: Sequence[str], new_tokens: int) -> tuple[Any, Any]:
    """Return ids and attention mask (N, P) of prompts, padded on the left; SpecError if one leaves no room for its response."""
    encoded = [language.encode(text) for text in texts]
    longest = max(map(len, encoded))
    if longest + new_tokens > language.limit:
        raise SpecError(
            f"a prompt has {longest} tokens; with rollout.max_new_tokens = {new_tokens} that is over the model's "
            f"{language.limit}: use shorter prompts or fewer new tokens."
        )
    window = getattr(language.model.config.get_text_config(), "sliding_window", None)
    if window and longest + new_tokens > window and min(map(len, encoded)) < longest:
        # The mask of padded prompts is ours (`_inputs`), and it has no window.
        raise SpecError(
            f"the model attends to the last {window} tokens only; prompts of different lengths, up to {longest} tokens, and "
            f"rollout.max_new_tokens = {new_tokens} are more: use fewer new tokens, or prompts of one length."
        )
    ids = torch.full((len(encoded), longest), language.pad)
    attention = torch.zeros_like(ids)
    for row, tokens in enumerate(encoded):  # ragged: one assignment per prompt
        if not tokens:
            raise SpecError("a prompt has no token: give the model something to read.")
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        attention[row, longest - len(tokens) :] = 1
    device = language.model.device
    return ids.to(device), attention.to(device)


def _inputs(attention: Any, queries: int, dtype: Any) -> dict[str, Any]:
    """Positions of the last `queries` tokens and the attention mask of a batch, (N, P) of 0 and 1.

    A padded position on the left has no token to attend to; transformers' own mask makes its row -inf in float64, hence NaN for
    all. Here it sees itself.
    """
    positions = (attention.cumsum(-1) - 1).clamp(min=0)[:, -queries:]
    if bool(attention[:, 0].all()):
        return {"attention_mask": attention, "position_ids": positions}
    place = torch.arange(attention.shape[1], device=attention.device)
    row = place[-queries:, None]
    seen = ((place <= row) & attention[:, None].bool()) | (place == row)
    blocked = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, -1e30)
    return {"attention_mask": blocked[:, None], "position_ids": positions}


def generate(language: Language, prompts: tuple[Any, Any], *, new_tokens: int, temperature: float, seed: int) -> Sequences:
    """Sample a response to each prompt from softmax(logits / temperature), up to a stop token or `new_tokens`.

    Gumbel noise in float64 from a generator of its own: in float32 it distorts tokens of probability below 1e-7. A response
    holds at least its first token, so none is empty.
    """
    ids, attention = prompts
    count, model = len(ids), language.model
    generator = torch.Generator(device=ids.device).manual_seed(seed)
    stop = torch.tensor(sorted(language.stop), device=ids.device, dtype=ids.dtype)
    alive = torch.ones(count, dtype=torch.bool, device=ids.device)
    taken, masks, fresh, cache = [], [], ids, None
    with torch.inference_mode():
        for _ in range(new_tokens):
            where = _inputs(attention, fresh.shape[1], model.dtype)
            last, cache = decode(model, fresh, cache, logits_to_keep=1, **where)
            logits = last[:, -1].double() / temperature
            minus_gumbel = torch.empty_like(logits).exponential_(generator=generator).log_()
            token = torch.where(alive, (logits - minus_gumbel).argmax(-1), language.pad)
            taken.append(token)
            masks.append(alive)
            attention = torch.cat([attention, alive[:, None].to(attention.dtype)], dim=1)
            alive = alive & ~torch.isin(token, stop)
            if not bool(alive.any()):
                break
            fresh = token[:, None]
    return Sequences(torch.cat([ids, torch.stack(taken, 1)], 1).clone(), attention.clone(), torch.stack(masks, 1).clone())


def response_log_probs(logits_of: Any, batch: Sequences, temperature: float, dtype: Any, *, full: bool = False) -> Any:
    """Return log pi of the response tokens, (N, R), or with `full` of all tokens at their positions, (N, R, V).

    In float32 or better whatever the model computes in: in bfloat16 ratios are biased (arXiv:2603.11682). Positions that do not
    count hold 0.

    Args:
        logits_of: the model, or a function with its signature; dtype is that of its weights.
    """
    where = _inputs(batch.attention, batch.ids.shape[1], dtype)
    logits = logits_of(input_ids=batch.ids, use_cache=False, logits_to_keep=batch.length + 1, **where).logits[:, :-1]
    values = _log_softmax(logits, temperature)
    return values if full else _taken(values, batch)


def grouped_log_probs(model: Any, batch: Sequences, temperature: float, dtype: Any) -> Any:
    """Return log pi of the response tokens, (N, R), as `response_log_probs` does up to rounding, for less where responses share
    prompts.

    Rows that follow each other with the same prompt share its keys and values, so that each prompt is run once, forward and
    backward: a group of 8 responses of 24 tokens to a prompt of 45 runs 237 tokens instead of 552.
    """
    start = batch.ids.shape[1] - batch.length
    head = torch.stack([batch.ids[:, :start], batch.attention[:, :start]])
    changes = (head[:, 1:] != head[:, :-1]).any(-1).any(0)
    group = torch.cat([changes.new_zeros(1), changes]).cumsum(0)
    first = torch.cat([changes.new_ones(1), changes]).nonzero()[:, 0]
    ids, attention = (x[first] for x in head)
    logits, cache = decode(model, ids, None, logits_to_keep=1, **_inputs(attention, start, dtype))
    parts = [logits[group]]
    if batch.length > 1:
        cache.batch_select_indices(group)
        where = _inputs(batch.attention[:, :-1], batch.length - 1, dtype)
        parts.append(decode(model, batch.ids[:, start:-1], cache, **where)[0])
    return _taken(_log_softmax(torch.cat(parts, dim=1), temperature), batch)


def _log_softmax(logits: Any, temperature: float) -> Any:
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    return torch.log_softmax(logits / temperature, dim=-1)


def _taken(values: Any, batch: Sequences) -> Any:
    taken = values.gather(-1, batch.ids[:, -batch.length :, None])[..., 0]
    return torch.where(batch.mask, taken, 0.0)
