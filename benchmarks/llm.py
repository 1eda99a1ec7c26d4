"""python -m benchmarks.llm: the llm engine on the tiny model against TRL's GRPOTrainer and transformers' generate, one thread.

Four ratios in one run: an update (generation apart) over TRL's, with TRL left out when it is not installed; generation over
transformers' own; an update with the ledger at every step, as in `entclip llm`, and at one in 19 over one without. Rounds
alternate, so that a machine that slows down slows all; the median over rounds of each ratio is what counts, not the seconds.
"""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.trl_settings import trl_settings
from entclip.engines.base import Directive
from entclip.engines.llm.engine import LlmEngine
from entclip.engines.llm.language import Language, load_language
from entclip.engines.llm.sampling import generate, pad_prompts
from entclip.experiments.load import load

ROUNDS, BATCH, MINIBATCHES, TOKENS = 7, 16, 16, 6
PROMPT = "1234+5678="
SPARSE = 19  # coprime with the minibatches, so that it visits all inner steps


class Updates:
    """One model in training: seconds per update, the whole rollout after its generation."""

    def __init__(self, every: int, minibatches: int = MINIBATCHES) -> None:
        shape = [f"update.batch={BATCH}", f"update.minibatches={minibatches}", "replicas=1", "antithetic=false"]
        momentum = "cause" if every == 1 else "line"  # as entclip llm has it
        spec = load("llm", [*shape, f"ledger.every={every}", f"ledger.momentum={momentum}", "update.rollouts=1000"])
        self.engine = LlmEngine(dtype="float32")
        self.state = self.engine.start(spec, spec.arm[1].build())

    def seconds(self) -> float:
        self.state, rollout = self.engine.roll_out(self.state)
        start = time.perf_counter()
        for minibatch in rollout.minibatches:
            self.state, _ = self.engine.step(self.state, rollout, minibatch, Directive())
        self.state.rollout += 1
        return (time.perf_counter() - start) / len(rollout.minibatches)


def trl_updates() -> Callable[[], float] | None:
    """Seconds per update of TRL's trainer at the same batch, lengths, optimiser and clip, steps with generation left out."""
    if importlib.util.find_spec("trl") is None:
        return None
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOTrainer

    language = load_language("tiny", "cpu", "float32")
    steps: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if (state.global_step - 1) % MINIBATCHES:  # the first of a rollout generates
                steps.append(time.perf_counter() - self.start)

    def run() -> float:
        steps.clear()
        with tempfile.TemporaryDirectory() as folder:
            config = trl_settings(
                folder,
                num_generations=8,
                per_device_train_batch_size=BATCH,
                steps_per_generation=MINIBATCHES,
                max_steps=2 * MINIBATCHES,
                max_completion_length=TOKENS,
                learning_rate=2e-4,
                weight_decay=0.0,
            )
            trainer = GRPOTrainer(
                model=language.model,
                args=config,
                processing_class=language.tokenizer,
                reward_funcs=lambda completions, **_: [float(len(c) % 2) for c in completions],
                train_dataset=Dataset.from_dict({"prompt": [PROMPT] * 64}),
                callbacks=[Clock()],
            )
            trainer.train()
        return statistics.median(steps)

    return run


def generation(language: Language) -> tuple[float, float]:
    """Seconds of a rollout's generation: ours and transformers' own, at the same settings."""
    ids, attention = pad_prompts(language, [PROMPT] * (BATCH * MINIBATCHES), TOKENS)
    start = time.perf_counter()
    generate(language, (ids, attention), new_tokens=TOKENS, temperature=1.0, seed=0)
    middle = time.perf_counter()
    with torch.inference_mode():
        language.model.generate(
            ids,
            attention_mask=attention,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=TOKENS,
            eos_token_id=sorted(language.stop),
            pad_token_id=language.pad,
        )
    return middle - start, time.perf_counter() - middle


def main() -> None:
    torch.set_num_threads(1)
    plain, full, sparse = Updates(10**6), Updates(1), Updates(SPARSE, minibatches=SPARSE)  # one accounted update each rollout
    trl, language = trl_updates(), load_language("tiny", "cpu", "float32")
    ratios: dict[str, list[float]] = {}
    for k in range(ROUNDS + 1):
        base = plain.seconds()
        seconds = {
            "ledger at every update / none": full.seconds(),
            f"ledger at every {SPARSE}th update / none": sparse.seconds(),
        }
        found = {name: value / base for name, value in seconds.items()}
        if trl is not None:
            found["update / TRL's"] = base / trl()
        ours, theirs = generation(language)
        found["generation / transformers' generate"] = ours / theirs
        if k:  # the first round warms up
            for name, value in found.items():
                ratios.setdefault(name, []).append(value)
            print(f"round {k}: update {1e3 * base:.1f} ms, " + ", ".join(f"{n} {v:.2f}" for n, v in found.items()), flush=True)
    for name, values in ratios.items():
        print(f"{name}: median {statistics.median(values):.2f}, from {min(values):.2f} to {max(values):.2f}")
    if trl is None:
        print("TRL is not installed: its ratio is left out (pip install '.[trl]').")


if __name__ == "__main__":
    main()
