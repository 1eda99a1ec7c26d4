"""One decoding step of a causal language model, whatever its version of transformers calls the cache."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["decode"]


def decode(model: Any, ids: Any, cache: Any, **inputs: Any) -> tuple[Any, Any]:
    """Run the model on the tokens `ids`, (N, P), that follow those in the cache (None at first): logits and the cache with them.

    transformers 5.24 renamed `past_key_values` to `cache`, in a model's arguments and in its output. It warns of the old name and
    drops it in 5.40; 5.23 and models written outside the library know no other.
    """
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    out = model(input_ids=ids, use_cache=True, **{name: cache}, **inputs)
    after = getattr(out, "cache", None)
    return out.logits, out.past_key_values if after is None else after
