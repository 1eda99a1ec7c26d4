"""open-instruct at commit e6c3044: GRPO of grpo_fast.py and grpo.py."""

from __future__ import annotations

from entclip.integrations.lint.libraries.open_instruct import traps
from entclip.integrations.lint.libraries.open_instruct.build import DEFAULTS, build
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.setting import Notation

__all__ = ["OPEN_INSTRUCT", "traps"]

OPEN_INSTRUCT = Library(
    name="open-instruct",
    title="open-instruct",
    version="of 2026-08-20",
    defaults=DEFAULTS,
    entry=r"open_instruct[/.](grpo|grpo_fast|finetune|dpo|dpo_tune_cache|reward_modeling)(\.py)?",
    package=__name__,
    build=build,
    write=Notation("clip_lower", "clip_higher", form="--{key} {value}").write,
    losses=("dapo", "cispo"),
    deciding=("clip_lower", "clip_higher", "num_unique_prompts_rollout", "num_samples_per_prompt_rollout", "num_mini_batches"),
    other_work=r"finetune|dpo|reward_modeling",
    more_updates="raise num_mini_batches or num_epochs",
    std_offset="numpy's ddof 0, +1e-8",
    truncation={"vllm_top_p": (1,)},
    precise="set --model_dtype float32",
    clip_metric=("policy/clipfrac_avg", "merged"),
)
