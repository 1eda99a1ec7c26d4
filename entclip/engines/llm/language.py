"""A language model with its words: the module, how text becomes tokens, where a response ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from entclip.engines.llm.precision import Float32Head
from entclip.engines.llm.tiny import CHARACTERS, tiny_model, tiny_tokenizer
from entclip.policies.pretrained import encode_prompt, load_model, stop_tokens
from entclip.support.errors import SpecError

__all__ = ["Language", "load_language"]


@dataclass(frozen=True)
class Language:
    """encode(text) -> ids of the whole prompt, chat template included; decode(ids) -> text of a response."""

    model: Any
    encode: Callable[[str], list[int]]
    decode: Callable[[Sequence[int]], str]
    stop: frozenset[int]
    pad: int
    limit: int  # longest sequence that the model takes
    tokenizer: Any = None  # of transformers, for trainers that want one


def load_language(name: str, device: str, dtype: str) -> Language:
    """Load the tiny built-in model ("tiny"), or any that `entclip snapshot` takes. dtype bfloat16 trains float32 weights in
    autocast, logits in float32.

    Raises: SpecError if it cannot be loaded, or the device is not there.
    """
    if device != "cpu" and not torch.cuda.is_available():
        raise SpecError(f"device = {device!r}: torch sees no CUDA device here. Use the cpu, or a machine with a GPU.")
    weights = "float32" if dtype == "bfloat16" else dtype
    if name in ("tiny", "untrained"):
        model = tiny_model(trained=name == "tiny").to(device=device, dtype=getattr(torch, weights))
        number = {c: i for i, c in enumerate(CHARACTERS)}
        return Language(
            _float32_logits(model, dtype),
            _spell,
            lambda ids: "".join(CHARACTERS[i] for i in ids),
            frozenset({number[";"]}),
            number["_"],
            model.config.max_position_embeddings,
            tiny_tokenizer(),
        )
    try:
        model, tokenizer, _ = load_model(name, weights, device)
    except (ValueError, ImportError) as error:
        raise SpecError(f"policy.model: {error}") from None
    stop = stop_tokens(model, tokenizer)

    # A model without a padding token needs none: padded positions are masked everywhere.
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    limit = getattr(model.config, "max_position_embeddings", None) or 2**31

    def decode(ids: Sequence[int]) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True))

    return Language(
        _float32_logits(model, dtype), lambda text: encode_prompt(tokenizer, text), decode, stop, pad, limit, tokenizer
    )


def _spell(text: str) -> list[int]:
    unknown = sorted(set(text) - set(CHARACTERS))
    if unknown:
        raise SpecError(
            f"the tiny model has no character {unknown[0]!r}, which is in the prompt {text[:40]!r}: it knows the task digits; "
            "for others choose a model, for example policy.model = 'smollm2-135m'."
        )
    return [CHARACTERS.index(c) for c in text]


def _float32_logits(model: Any, dtype: str) -> Any:
    head = model.get_output_embeddings()
    if dtype == "bfloat16" and type(head) is torch.nn.Linear:
        head.__class__ = Float32Head  # in place: its weight may be tied to the embedding
    return model
