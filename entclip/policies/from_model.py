"""Make a snapshot from a language model: `snapshot_from_model`, the work behind `entclip snapshot`.

Contexts are positions along real rollouts: each prompt goes through the model's chat template (if it has
one), the model samples one response at temperature 1 from its full distribution, as in on-policy training,
and contexts are drawn uniformly from all response positions (and a share from the prompts), so a response
counts by its length, as it does in a token-level loss.
One prompt at a time: without padding, no distribution depends on the length of its neighbours.

torch and transformers are imported when a model is loaded, not before.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.resources
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from entclip.policies.decoding import decode
from entclip.policies.pretrained import SMOLLM2, encode_prompt, load_model, stop_tokens
from entclip.policies.snapshot import Snapshot, compress
from entclip.policies.softmax import log_softmax
from entclip.support.progress import progress as progress_of

__all__ = ["choose_contexts", "read_prompts", "respond", "snapshot_from_model"]

_DTYPES = ("float32", "bfloat16", "float16", "float64")
_Place = tuple[int, int, int]  # prompt, position, response index: the fields of `Snapshot`


def read_prompts(path: str | os.PathLike[str] | None = None) -> tuple[str, ...]:
    """Read prompts, one a line, without empty lines and lines that start with #; by default the shipped list.

    Raises: ValueError if the file cannot be read or holds no prompt.
    Example:
        >>> len(read_prompts())
        40
    """
    try:
        if path is None:
            text = importlib.resources.files("entclip").joinpath("data", "prompts.txt").read_text("utf-8")
        else:
            text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the prompts {str(path)!r}: {error}. Give a text file with one prompt a line.") from None
    prompts = tuple(line for raw in text.splitlines() if (line := raw.strip()) and not line.startswith("#"))
    if not prompts:
        raise ValueError(
            f"the prompts file {str(path)!r} holds no prompt: write one a line (lines starting with # are comments)."
        )
    return prompts


def snapshot_from_model(
    model: str | os.PathLike[str] = SMOLLM2,
    prompts: Sequence[str] | None = None,
    *,
    contexts: int = 256,
    keep: int = 1024,
    bins: int = 128,
    seed: int = 0,
    max_new_tokens: int = 64,
    dtype: str = "float32",
    device: str = "cpu",
    prompt_share: float = 0.25,
    licence: str | None = None,
    progress: bool = True,
) -> Snapshot:
    """Compress the next-token distributions of a language model on prompts and on its own responses.

    Args:
        model: a transformers model id or folder, a .gguf file (dequantised), or "smollm2-135m".
        prompts: texts; default `read_prompts()`.
        contexts: C, distinct contexts to store, in random order.
        keep, bins: tokens stored exactly, and bins for the rest (`entclip.policies.snapshot.compress`).
        seed: of the sampled responses and of the choice of contexts.
        max_new_tokens: length limit of a response; 0 takes contexts from the prompts only.
        dtype: of the model's arithmetic; log-probabilities are computed from its logits in float64.
        device: torch device of the model.
        prompt_share: part of the contexts that lies inside prompts, 0 to 1; where either kind runs short the
            other fills up.
        licence: of the model, noted in the file; default "Apache-2.0" for "smollm2-135m", else "unknown".
        progress: show it on standard error.
    Returns: Snapshot; `.save(path)` writes it.
    Raises: ValueError for bad arguments or a model that cannot be loaded; ImportError if transformers is
        missing.
    """
    texts = read_prompts() if prompts is None else tuple(prompts)
    _validate(texts, contexts, seed, max_new_tokens, dtype, prompt_share)
    with progress_of("sampling responses", len(texts), first="loading the model", quiet=not progress) as advance:
        lm, tokenizer, name = load_model(model, dtype, device)
        prefixes = [encode_prompt(tokenizer, text) for text in texts]
        stop = stop_tokens(lm, tokenizer)
        sequences = []
        for i, ids in enumerate(prefixes):
            # Keyed by prompt, so that adding prompts leaves the responses of the others alone.
            sequences.append(respond(lm, ids, max_new_tokens, stop, np.random.default_rng([seed, i])))
            advance()
    # A third key: a stream apart from every prompt's.
    places = choose_contexts(prefixes, sequences, contexts, prompt_share, np.random.default_rng([seed, 0, 1]))

    rows: dict[int, list[int]] = {}
    for c, place in enumerate(places):
        rows.setdefault(place[0], []).append(c)
    log_probs: npt.NDArray[np.float64] | None = None
    with progress_of("reading distributions", len(rows), quiet=not progress) as advance:
        for i, wanted in rows.items():
            # Logits at index t - 1 are those after t tokens of context.
            values = _log_probs(lm, sequences[i], [places[c][1] - 1 for c in wanted])
            if log_probs is None:
                log_probs = np.empty((len(places), values.shape[-1]))
            log_probs[wanted] = values
            advance()
    assert log_probs is not None  # contexts >= 1

    about = {
        "model": name,
        "licence": licence or ("Apache-2.0" if os.fspath(model) == SMOLLM2 else "unknown"),
        "dtype": dtype,
        "seed": str(seed),
        "max_new_tokens": str(max_new_tokens),
        "prompts": str(len(texts)),
        "prompts_sha256": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
        "libraries": ", ".join(f"{lib} {importlib.metadata.version(lib)}" for lib in ("torch", "transformers")),
    }
    prompt, position, response_index = np.array(places, np.int32).T
    return compress(
        log_probs,
        keep=min(keep, log_probs.shape[-1]),
        bins=bins,
        prompt=prompt,
        position=position,
        response_index=response_index,
        about=about,
    )


def _validate(texts: Sequence[str], contexts: int, seed: int, max_new_tokens: int, dtype: str, prompt_share: float) -> None:
    if not texts or not all(text.strip() for text in texts):
        raise ValueError(f"prompts must be non-empty texts, got {len(texts)} with an empty one or none at all: drop it.")
    if contexts < 1:
        raise ValueError(f"contexts must be at least 1, got {contexts}: it is the number of distributions to store.")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}: any other whole number does.")
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be 0 or more, got {max_new_tokens}: 0 takes contexts from the prompts only.")
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}: it is the model's arithmetic.")
    if not 0 <= prompt_share <= 1:
        raise ValueError(
            f"prompt_share must be in [0, 1], got {prompt_share}: 0.25 puts a quarter of the contexts inside prompts."
        )


def _log_probs(lm: Any, ids: list[int], at: list[int]) -> npt.NDArray[np.float64]:
    """Return the log softmax of the logits at the positions `at` of one sequence, (len(at), V), float64."""
    torch: Any = importlib.import_module("torch")
    with torch.inference_mode():
        logits = lm(input_ids=torch.tensor([ids], device=lm.device), use_cache=False).logits[0, at]
    values: npt.NDArray[np.float64] = log_softmax(logits.double().cpu().numpy())
    return values


def respond(lm: Any, prefix: list[int], limit: int, stop: frozenset[int], rng: np.random.Generator) -> list[int]:
    """Return the prefix with a response to it, sampled at temperature 1, up to `limit` tokens or a stop token.

    Not `generate`: its defaults (top_k = 50, a model's own top_p and penalties) would sample another policy.
    """
    torch: Any = importlib.import_module("torch")
    ids, fresh, cache = list(prefix), list(prefix), None
    with torch.inference_mode():
        for _ in range(limit):
            logits, cache = decode(lm, torch.tensor([fresh], device=lm.device), cache)
            cdf = np.cumsum(np.exp(log_softmax(logits[0, -1].double().cpu().numpy())))
            token = min(int(np.searchsorted(cdf, rng.random() * cdf[-1], side="right")), len(cdf) - 1)
            ids.append(token)
            fresh = [token]
            if token in stop:
                break
    return ids


def choose_contexts(
    prefixes: Sequence[Sequence[int]],
    sequences: Sequence[Sequence[int]],
    contexts: int,
    prompt_share: float,
    rng: np.random.Generator,
) -> list[_Place]:
    """Choose distinct contexts in random order: `prompt_share` of them inside prompts, others along responses."""
    seen: set[tuple[int, ...]] = set()
    inside: list[_Place] = []
    along: list[_Place] = []
    for i, (prefix, ids) in enumerate(zip(prefixes, sequences, strict=True)):
        n = len(prefix)
        # Up to and including the position that predicts the last token; a prompt without a response still
        # predicts its first.
        for t in range(1, max(len(ids), n + 1)):
            context = tuple(ids[:t])
            if context in seen:  # the opening of a chat template is the same for every prompt
                continue
            seen.add(context)
            (inside if t < n else along).append((i, t, max(t - n, -1)))
    found = len(inside) + len(along)
    if contexts > found:
        raise ValueError(
            f"contexts = {contexts}, but {len(prefixes)} prompts and their responses have only {found} "
            "distinct positions: give more prompts, raise max_new_tokens, or ask for fewer contexts."
        )
    k = round(prompt_share * contexts)
    k = min(max(k, contexts - len(along)), len(inside))
    chosen = [inside[j] for j in rng.permutation(len(inside))[:k]]
    chosen += [along[j] for j in rng.permutation(len(along))[: contexts - k]]
    return [chosen[j] for j in rng.permutation(contexts)]
