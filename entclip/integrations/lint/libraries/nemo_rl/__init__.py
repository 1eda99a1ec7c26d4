"""NeMo-RL 0.7.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entclip.integrations.lint.libraries.nemo_rl.build import build
from entclip.integrations.lint.libraries.nemo_rl.defaults import DEFAULTS
from entclip.integrations.lint.libraries.nemo_rl.write import write
from entclip.integrations.lint.library import Library

__all__ = ["NEMO_RL"]


_BASE = "grpo_math_1B.yaml"  # whose values are the defaults here


def _other_files(values: Mapping[str, Any]) -> list[str]:
    """Keys that name the configuration on which this one builds, where it is no other than that of the library's defaults."""
    named = {key: values[key] for key in ("defaults", "config") if values.get(key) is not None}
    return [key for key, name in named.items() if str(name).rpartition("/")[2] != _BASE]


NEMO_RL = Library(
    name="nemo-rl",
    title="NeMo-RL",
    version="0.7.0",
    defaults=DEFAULTS,
    entry=r"run_grpo\w*\.py",
    package=__name__,
    build=build,
    write=write,
    losses=("clipped", "cispo"),
    deciding=("loss_fn.", "grpo.num_prompts_per_step", "grpo.num_generations_per_prompt"),
    more_updates="set policy.train_global_batch_size below grpo.num_prompts_per_step x grpo.num_generations_per_prompt",
    std_offset="leave-one-out unless use_leave_one_out_baseline is false",
    truncation={"policy.generation.top_p": (1,), "policy.generation.top_k": (-1,)},
    wrong_for_sequences=("token-mean",),
    right_for_sequences="loss_fn.token_level_loss = false",
    precise="set policy.precision: float32",
    other_files=_other_files,
)
