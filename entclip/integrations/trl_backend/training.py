"""An experiment about a language model, run by TRL's GRPOTrainer with the ledger inside: every arm and replica in turn.

Questions, rewards, the starting policy, the probe contexts and the optimiser are those of the llm engine, from the same random
streams; responses are TRL's own. Under `accelerate launch` all processes share each minibatch, and the first writes the run.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from entclip.engines.llm.engine import LlmEngine
from entclip.engines.llm.language import Language
from entclip.engines.llm.probe import Probe
from entclip.engines.llm.replica import make_optimizer
from entclip.engines.llm.sampling import pad_prompts
from entclip.engines.llm.task import Question, Task, task_named
from entclip.engines.registry import BACKENDS
from entclip.experiments.experiment import Experiment
from entclip.integrations.recording.history import History, pooled
from entclip.integrations.trl_backend.rewards import process, reward_function
from entclip.integrations.trl_backend.settings import settings
from entclip.runs.folder import run_folder
from entclip.runs.foresight import refuse_too_large
from entclip.runs.result import Ledger
from entclip.runs.save import save_run
from entclip.runs.versions import ALWAYS
from entclip.support.errors import SpecError
from entclip.support.extras import not_installed
from entclip.support.files import version_of
from entclip.support.random import stream

try:
    import torch
    import transformers
    import trl
    from datasets import Dataset

    from entclip.integrations.trl import EntropyLedger
except ImportError as error:
    raise SpecError(not_installed("entclip llm --backend trl", "TRL", "trl")) from error

__all__ = ["train_with_trl"]

Progress = Callable[[str, int, int], None]
_FACTS = BACKENDS["trl"]


def train_with_trl(
    experiment: Experiment,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    out: str | Path | None = None,
    progress: Progress | None = None,
) -> Ledger:
    """Train every arm of an experiment with TRL and return its ledger, which each process has.

    Args:
        out: folder for the ledger, as that of `run`; the first process writes it when all arms are done, and nothing is resumed.
        progress: called with (arm, finished updates, all updates of that arm).
    Raises: SpecError for what TRL cannot express, before anything is loaded, and for a folder that cannot be used.
    """
    rank, processes = process()
    if dtype not in _FACTS.dtypes:
        raise SpecError(f"dtype = {dtype!r}: the backend trl trains in {' or '.join(_FACTS.dtypes)}. Use that.")
    engine = LlmEngine(device, dtype)
    options = {arm.name: settings(experiment, arm, processes) for arm in experiment.arm}
    for arm in experiment.arm:
        engine.refuse(experiment, arm.build())
    refuse_too_large(experiment, _FACTS.name, device, dtype)
    ledger = Ledger(experiment, _FACTS.name, device, dtype)
    if out is None or rank:
        _train_arms(ledger, engine, options, progress)
        return ledger
    versions = {name: version_of(name) or "not installed" for name in (*ALWAYS, *_FACTS.packages)}
    with run_folder(Path(out), ledger.name, versions) as checkpoints:
        _train_arms(ledger, engine, options, progress)
        save_run(ledger, Path(out), versions)
        checkpoints.clear()
    return ledger


def _train_arms(ledger: Ledger, engine: LlmEngine, options: dict[str, dict[str, Any]], progress: Progress | None) -> None:
    experiment, task = ledger.experiment, task_named(ledger.experiment.rollout_rules.task)
    begun = engine.begin(experiment)
    pairs = experiment.replicas // 2 if experiment.antithetic else experiment.replicas
    asked = [_questions(experiment, task, begun.language, key) for key in range(pairs)]
    with engine.computing(begun.language.model):
        for arm in experiment.arm:
            runs = []
            for index in range(experiment.replicas):
                key, mirror = index % pairs, index >= pairs
                rewards = reward_function(experiment, task, begun.language.decode, asked[key], key, mirror=mirror)
                ticks = [] if progress is None else [_Ticks(progress, arm.name, index, experiment.replicas)]
                seed = int(stream(experiment.seed, "actions", key).integers(2**31))
                given = (begun.language, begun.probe, rewards, asked[key])
                runs.append(_train(experiment, given, options[arm.name] | {"seed": seed}, ticks))
            ledger.arms[arm.name] = pooled(runs, experiment, arm)


def _questions(experiment: Experiment, task: Task, language: Language, key: int) -> list[Question]:
    """Questions of all rollouts of a replica, in their order."""
    u, asked = experiment.update, []
    for rollout in range(u.rollouts):
        count = u.batch * u.minibatches // experiment.advantage.size
        asked += task.ask(stream(experiment.seed, "tasks", rollout, key), count)
    pad_prompts(language, [q.text for q in asked], experiment.rollout_rules.max_new_tokens)  # refuses those that are too long
    return asked


def _train(
    experiment: Experiment,
    given: tuple[Language, Probe, Callable[..., list[float]], list[Question]],
    options: dict[str, Any],
    ticks: list[Any],
) -> History:
    """One replica of one arm."""
    language, probe, rewards, asked = given
    model, tokenizer, history = copy.deepcopy(language.model), copy.deepcopy(language.tokenizer), History()
    chat = getattr(tokenizer, "chat_template", None) is not None
    rows = [
        {"prompt": [{"role": "user", "content": q.text}] if chat else q.text, "question": place} for place, q in enumerate(asked)
    ]
    surroundings = {
        "use_cpu": next(model.parameters()).device.type == "cpu",
        "bf16": False,
        "gradient_checkpointing": False,  # which TRL turns on
        "report_to": [],
        "logging_strategy": "no",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # TRL's own words that have a new name
        trainer = trl.GRPOTrainer(
            model=model,
            reward_funcs=rewards,
            args=trl.GRPOConfig(output_dir=folder, **options, **surroundings),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            optimizers=(make_optimizer(experiment.update, model), None),
            callbacks=ticks,
        )
        trainer.remove_callback(transformers.PrinterCallback)
        EntropyLedger(every=experiment.ledger.every, probe=_blocks(probe), history=history).attach(trainer)
        trainer.train()
    return history


class _Ticks(transformers.TrainerCallback):
    """Tells of finished updates of an arm, each of which is one of every replica."""

    def __init__(self, progress: Progress, arm: str, before: int, replicas: int) -> None:
        self.progress, self.arm, self.before, self.replicas = progress, arm, before, replicas

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        done = self.before * state.max_steps + state.global_step
        if done % self.replicas == 0:
            self.progress(self.arm, done // self.replicas, state.max_steps)


def _blocks(probe: Probe) -> list[dict[str, Any]]:
    """Probe contexts as TRL holds completions."""
    blocks = []
    for block in probe.blocks:
        start = block.ids.shape[1] - block.length
        ids, masks = (block.ids[:, :start], block.ids[:, start:]), (block.attention[:, :start], block.mask.to(torch.long))
        names = (("prompt_ids", ids[0]), ("prompt_mask", masks[0]), ("completion_ids", ids[1]), ("completion_mask", masks[1]))
        blocks.append(dict(names))
    return blocks
