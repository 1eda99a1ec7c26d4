"""A tiny model, its tokenizer and a GRPOTrainer whose reward is a coin: shared by tests of what stands in trainers."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

trl = pytest.importorskip("trl", reason="needs the trl extra")

from datasets import Dataset  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast  # noqa: E402

__all__ = ["WORDS", "tiny_model", "tiny_tokenizer", "tiny_trainer"]

WORDS = 30


def tiny_model() -> LlamaForCausalLM:
    """One layer over 32 words, from one seed."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=WORDS + 2,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=64,
            initializer_range=0.3,
            tie_word_embeddings=False,
            pad_token_id=0,
            eos_token_id=1,
            bos_token_id=None,
        )
    )


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Words w0, w1, ... apart by spaces."""
    vocabulary = {"<pad>": 0, "<eos>": 1} | {f"w{i}": i + 2 for i in range(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>", padding_side="left")


def tiny_trainer(
    folder: Any,
    *,
    frozen: tuple[str, ...] = (),
    model: Any = None,
    reward: Any = None,
    rollout: Any = None,
    peft: Any = None,
    **options: Any,
) -> trl.GRPOTrainer:
    """A GRPOTrainer on the tiny model; several updates per generation, so that the clip acts."""
    coins = random.Random(0)

    def coin(completions: list[Any], **_: Any) -> list[float]:
        return [float(coins.random() < 0.5) for _ in completions]

    settings = {
        "use_cpu": True,
        "bf16": False,
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "steps_per_generation": 4,
        "gradient_accumulation_steps": 1,
        "max_completion_length": 8,
        "max_steps": 8,
        "learning_rate": 2e-3,
        "logging_steps": 1,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "epsilon": 0.1,
        "seed": 0,
        "lr_scheduler_type": "constant",
    }
    model = model or tiny_model()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(word in name for word in frozen))
    return trl.GRPOTrainer(
        model=model,
        args=trl.GRPOConfig(output_dir=str(folder), **(settings | options)),
        processing_class=tiny_tokenizer(),
        reward_funcs=reward or coin,
        rollout_func=rollout,
        peft_config=peft,
        train_dataset=Dataset.from_dict({"prompt": [f"w{i % 30} w{3 * i % 30}" for i in range(64)]}),
    )
