"""From the arguments of PPOConfig to facts, as trl/trainer/ppo_trainer.py of 0.11.4 and of 0.15.2 reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig, Updates
from entclip.integrations.lint.one_width import one_width

__all__ = ["DEFAULTS", "build"]

DEFAULTS: dict[str, Any] = {
    "cliprange": 0.2,
    # Up to 0.11.
    "batch_size": 128,
    "mini_batch_size": 128,
    "gradient_accumulation_steps": 1,
    "ppo_epochs": 4,
    "early_stopping": False,
    "target_kl": 1.0,
    "init_kl_coef": 0.2,
    # From 0.12 on.
    "num_mini_batches": 1,
    "num_ppo_epochs": 4,
    "kl_coef": 0.05,
    "temperature": 0.7,
}
_EARLIER = frozenset(
    (
        "ppo_epochs",
        "init_kl_coef",
        "adap_kl_ctrl",
        "early_stopping",
        "target_kl",
        "steps",
        "log_with",
        "ratio_threshold",
        "horizon",
    )
)


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what PPO computes from its arguments: one width for both sides, advantages whitened over the tokens of a rollout."""
    earlier = not _EARLIER.isdisjoint(read.values)
    updates = _earlier_updates(read) if earlier else read.updates(("num_mini_batches", "num_ppo_epochs"))
    return replace(
        one_width(read, evidence, read.bound("cliprange"), Fact("batch", "advantages"), updates),
        kl_coef=read.number("init_kl_coef" if earlier else "kl_coef"),
        temperature=Fact(1.0, "") if earlier else read.number("temperature"),
    )


def _earlier_updates(read: Reader) -> Updates:
    """An optimiser step for each mini_batch_size x gradient_accumulation_steps samples; early_stopping looks after each."""
    batch, mini, steps, epochs = (
        read.count(k) for k in ("batch_size", "mini_batch_size", "gradient_accumulation_steps", "ppo_epochs")
    )
    formula = "batch_size / (mini_batch_size x gradient_accumulation_steps) x ppo_epochs"
    if batch is None or mini is None or steps is None or epochs is None:
        missing = read.text("batch_size", "mini_batch_size", "gradient_accumulation_steps", "ppo_epochs")
        updates = Updates(None, f"{formula} with {missing}")
    else:
        updates = Updates(batch / (mini * steps) * epochs, f"{formula} = {batch:g} / ({mini:g} x {steps:g}) x {epochs:g}")
    stops = read("early_stopping")
    return updates if stops.value is False else updates.stopped(read.number("target_kl"), 1.5)
