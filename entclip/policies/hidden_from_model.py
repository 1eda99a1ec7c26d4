"""Hidden states and the output head of a real language model, for policies of kind "hidden": `entclip snapshot --hidden`."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from entclip.policies.from_model import choose_contexts, read_prompts, respond
from entclip.policies.pretrained import SMOLLM2, encode_prompt, load_model, stop_tokens
from entclip.support.files import write_atomic
from entclip.support.progress import progress as progress_of

__all__ = ["hidden_from_model"]


def hidden_from_model(
    out: str | os.PathLike[str],
    model: str | os.PathLike[str] = SMOLLM2,
    prompts: Sequence[str] | None = None,
    *,
    contexts: int = 256,
    seed: int = 0,
    max_new_tokens: int = 64,
    prompt_share: float = 0.25,
    progress: bool = True,
) -> tuple[int, int, int]:
    """Write `hidden` (T, d), `head` (V, d) and `base` (V,) to a .npz file; contexts are chosen as for a snapshot.

    hidden is what the output layer reads, so logits = base + hidden head' (checked on every context, to 1e-3). `progress` shows
    on standard error how far the responses are.
    Returns: T, V, d.
    Raises: ValueError for a model whose logits are not linear in its last hidden states, or bad arguments.
    """
    texts = read_prompts() if prompts is None else tuple(prompts)
    with progress_of("sampling responses", len(texts), first="loading the model", quiet=not progress) as advance:
        lm, tokenizer, _ = load_model(model, "float32", "cpu")
        torch: Any = importlib.import_module("torch")
        prefixes = [encode_prompt(tokenizer, text) for text in texts]
        stop = stop_tokens(lm, tokenizer)
        sequences = []
        for i, ids in enumerate(prefixes):
            sequences.append(respond(lm, ids, max_new_tokens, stop, np.random.default_rng([seed, i])))
            advance()
    places = choose_contexts(prefixes, sequences, contexts, prompt_share, np.random.default_rng([seed, 0, 1]))
    layer = lm.get_output_embeddings()
    head = layer.weight.detach().float().numpy()
    bias = getattr(layer, "bias", None)
    base = np.zeros(len(head), np.float32) if bias is None else bias.detach().float().numpy()
    hidden = np.empty((len(places), head.shape[1]), np.float32)
    rows: dict[int, list[int]] = {}
    for c, place in enumerate(places):
        rows.setdefault(place[0], []).append(c)
    seen: list[Any] = []
    watch = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        for i, wanted in rows.items():
            at = [places[c][1] - 1 for c in wanted]
            seen.clear()
            with torch.inference_mode():
                logits = lm(input_ids=torch.tensor([sequences[i]]), use_cache=False).logits[0, at].float().numpy()
            hidden[wanted] = seen[-1][0, at].float().numpy()
            worst = float(np.max(np.abs(base + hidden[wanted] @ head.T - logits)))
            if not worst < 1e-3 * max(1.0, float(np.max(np.abs(logits)))):
                raise ValueError(
                    f"the logits of {os.fspath(model)!r} are not linear in its last hidden states (off by {worst:.3g}): it "
                    "scales or caps them. Use a model whose output layer is linear, such as a Llama."
                )
    finally:
        watch.remove()
    buffer = io.BytesIO()
    np.savez(buffer, hidden=hidden, head=head, base=base)
    write_atomic(Path(out), buffer.getvalue())
    return (len(places), *head.shape)
