"""The default model: a two-layer Llama of 140 thousand weights, trained on the digits task; its weights ship with the package.

Its labels had a quarter of their digits replaced at random, so that the trained policy is unsure: .69 nats per token and 36
right answers in a hundred. `python -m entclip.engines.llm.tiny FILE` trains it again (half a minute on one core); the weights
are a function of the constants below, up to what another processor, version of torch or number of threads rounds differently.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load, save

from entclip.engines.llm.task import Digits
from entclip.support.files import write_atomic
from entclip.support.progress import progress
from entclip.support.random import stream

__all__ = ["CHARACTERS", "tiny_model", "tiny_tokenizer", "train"]

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


def tiny_model(*, trained: bool = True) -> Any:
    """Build the tiny model in float32; `trained=False` gives its initial weights."""
    model: Any
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**_SHAPE))
    if trained:
        model.load_state_dict(load(resources.files("entclip").joinpath("data", "tiny.safetensors").read_bytes()))
    return model.eval()


def tiny_tokenizer() -> Any:
    """Build a tokenizer of transformers that spells as the tiny model reads: one token for each character."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    spelling = Tokenizer(models.WordLevel({c: i for i, c in enumerate(CHARACTERS)}, unk_token="_"))
    spelling.pre_tokenizer = pre_tokenizers.Split(Regex(""), "isolated")
    made: Any = transformers.PreTrainedTokenizerFast
    return made(tokenizer_object=spelling, pad_token="_", eos_token=";", unk_token="_", padding_side="left")


def train(model: Any, steps: int = _STEPS) -> None:
    """Teach the model the task in place, from its corrupted labels."""
    rng = stream(0, "tasks", 0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    with progress("training the tiny model", steps) as advance:
        for _ in range(steps):
            ids, start = _examples(rng)
            tokens = torch.from_numpy(ids)
            logits = model(input_ids=tokens[:, :-1]).logits[:, start - 1 :]
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, start:].flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            advance()


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


if __name__ == "__main__":
    fresh = tiny_model(trained=False)
    train(fresh)
    write_atomic(Path(sys.argv[1]), save({k: v.contiguous() for k, v in fresh.state_dict().items()}))
