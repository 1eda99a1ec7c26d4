"""python -m benchmarks.ledger: what the ledger inside TRL's GRPOTrainer adds to training, at its default frequency and at every
update.

A Llama of 1.2 million weights over 8,000 words, groups of 8, 16 completions of 16 tokens a step, four steps to a generation,
AdamW, one thread. Each round trains three times from the same start: without a ledger, at every 17th update (its default), and at
every update. Seconds are over 34 steps, generation included: the user time, which a busy machine disturbs least (time in
the system goes with how pages of memory are handed out), and the wall clock's.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
import warnings
from typing import Any

import torch

STEPS = 34  # two turns of the default frequency
ARMS = {"no ledger": None, "every 17th update (default)": 17, "every update": 1}


def trainer(folder: str, words: int, steps: int) -> Any:
    """A GRPOTrainer whose rewards are coins."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    from entclip.rewards import coin_flip

    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"vocab_size": words, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
    model = LlamaForCausalLM(
        LlamaConfig(**shape, **tokens, max_position_embeddings=64, initializer_range=0.05, tie_word_embeddings=False)
    )
    spelling = Tokenizer(models.WordLevel({f"w{i}": i for i in range(words)}, unk_token="w0"))
    spelling.pre_tokenizer = pre_tokenizers.Whitespace()
    made = GRPOTrainer(
        model=model,
        reward_funcs=coin_flip,
        args=GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            num_generations=8,
            per_device_train_batch_size=16,
            steps_per_generation=4,
            max_steps=steps,
            max_completion_length=16,
            epsilon=0.1,
            learning_rate=2e-3,
            lr_scheduler_type="constant",
            gradient_checkpointing=False,
            report_to=[],
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
        ),
        processing_class=PreTrainedTokenizerFast(tokenizer_object=spelling, pad_token="w0", eos_token="w1", padding_side="left"),
        train_dataset=Dataset.from_dict({"prompt": [f"w{i} w{3 * i + 1}" for i in range(2, 130)]}),
    )
    made.remove_callback(PrinterCallback)
    return made


def seconds(every: int | None, words: int = 8000, steps: int = STEPS) -> tuple[float, float]:
    """User time and wall time of a training, its making left out."""
    from entclip.integrations.trl import EntropyLedger

    with tempfile.TemporaryDirectory() as folder:
        made = trainer(folder, words, steps)
        if every is not None:
            EntropyLedger(every=every).attach(made)
        start, wall = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made.train()
        return resource.getrusage(resource.RUSAGE_SELF).ru_utime - start, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="each trains three times (default 3)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    seconds(1, words=100, steps=2)  # warms up
    ratios: dict[str, list[tuple[float, float]]] = {name: [] for name in ARMS}
    for k in range(rounds):
        found: dict[str, tuple[float, float]] = {}
        for name, every in ARMS.items():
            found[name] = seconds(every)
            user, wall = (a / b for a, b in zip(found[name], found["no ledger"], strict=True))
            ratios[name].append((user, wall))
            print(
                f"round {k + 1}: {name} {found[name][0]:.2f} s user, {found[name][1]:.2f} s wall, {user:.2f} and {wall:.2f}",
                flush=True,
            )
    for name, pairs in ratios.items():
        for kind, values in zip(("user", "wall"), zip(*pairs, strict=True), strict=True):
            if ARMS[name] is not None:
                print(
                    f"{name} / no ledger, {kind}: median {statistics.median(values):.2f}, {min(values):.2f} to {max(values):.2f}"
                )


if __name__ == "__main__":
    main()
