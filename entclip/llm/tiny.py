"""The default model: a two-layer Llama of 140 thousand weights, trained on first use on the digits task, then cached.

Its labels have a quarter of their digits replaced at random, so that the trained policy is unsure: .69 nats per token and 36
right answers in a hundred. Training takes about half a minute on one core and is a function of the constants below, up to what
another processor or number of threads rounds differently.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save

from entclip.llm.task import Digits
from entclip.random import stream
from entclip.store import prepare_folder, write_atomic

__all__ = ["CHARACTERS", "cache_folder", "tiny_model"]

CHARACTERS = "_#;+=0123456789 " + "abcdefghijklmnopqrstuvwxyz.,:!?()[]<>/*-'\"%&$@^|"  # "_" pads
_STEPS, _BATCH, _RATE = 1400, 64, 3e-3
_CORRUPTED = 0.25  # share of the answer's digits that are replaced
_SHAPE: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
    "initializer_range": 0.1,  # with the usual .02 a model of this size does not learn the task
}


def cache_folder() -> Path:
    """$ENTCLIP_CACHE, else entclip in $XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("ENTCLIP_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "entclip"


def tiny_model(*, trained: bool = True) -> Any:
    """The tiny model in float32; `trained=False` gives its initial weights."""
    model: Any
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**_SHAPE))
    if not trained:
        return model.eval()
    # Another version of the recipe is another file.
    recipe = inspect.getsource(sys.modules[__name__]) + torch.__version__
    path = cache_folder() / f"tiny-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.safetensors"
    if path.exists():
        model.load_state_dict(load_file(path))
        return model.eval()
    prepare_folder(path.parent)
    _train(model)
    write_atomic(path, save({k: v.contiguous() for k, v in model.state_dict().items()}))
    return model.eval()


def _train(model: Any) -> None:
    from rich.console import Console
    from rich.progress import track

    rng = stream(0, "tasks", 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=_STEPS)
    # One short line in a log, a bar in a terminal.
    for _ in track(range(_STEPS), "training the tiny model, once", console=Console(stderr=True), transient=True):
        ids, start = _examples(rng)
        tokens = torch.from_numpy(ids)
        logits = model(input_ids=tokens[:, :-1]).logits[:, start - 1 :]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, start:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def _examples(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Token ids (batch, length) of prompts with corrupted answers, and where the answers start."""
    questions = Digits().ask(rng, _BATCH)
    number = {c: i for i, c in enumerate(CHARACTERS)}
    ids = np.array([[number[c] for c in q.text + q.answer] for q in questions])
    start = len(questions[0].text)
    digits = ids[:, start + 1 : -1]
    wrong = rng.random(digits.shape) < _CORRUPTED
    digits[wrong] = number["0"] + rng.integers(0, 10, int(wrong.sum()))
    return ids, start
