"""Unsloth 2026.8.19: TRL's GRPO, whose configuration class it replaces by one with defaults of its own."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.libraries.trl import TRL
from entclip.integrations.lint.libraries.unsloth import traps
from entclip.integrations.lint.libraries.unsloth.build import DEFAULTS, build

__all__ = ["UNSLOTH", "traps"]

UNSLOTH = replace(
    TRL,
    name="unsloth",
    title="Unsloth",
    version="2026.8.19",
    defaults=DEFAULTS,
    entry="",
    package=__name__,
    build=build,
    deciding=("unsloth_num_chunks", "unsloth_grpo_mini_batch", "unsloth_logit_chunk_multiplier", "vllm_sampling_params"),
    python_modules=("unsloth",),
    older_list=None,
    passes_on=TRL,
)
