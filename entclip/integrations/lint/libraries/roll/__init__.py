"""ROLL 0.3.0: its RLVR pipeline."""

from __future__ import annotations

from entclip.integrations.lint.libraries.roll import traps
from entclip.integrations.lint.libraries.roll.build import DEFAULTS, build
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.setting import Notation

__all__ = ["ROLL", "traps"]

ROLL = Library(
    name="roll",
    title="ROLL",
    version="0.3.0",
    defaults=DEFAULTS,
    entry=r"start_(rlvr|agentic|sft|dpo|distill)\w*\.py",
    package=__name__,
    build=build,
    write=Notation(
        "pg_clip_low",
        "pg_clip_high",
        capless="it has no dual clip of its own width: dual_clip_loss puts it at 1 + 2 pg_clip.",
        lines={"clip": "use_pg_clip_range: true", "sequence": "importance_sampling: seq"},
    ).write,
    losses=("PPO", "ppo", "cispo", "vanilla", "tis", "topr", "kimi15"),
    deciding=("pg_clip", "pg_clip_low", "pg_clip_high", "use_pg_clip_range", "actor_train.", "actor_infer.", "pg_variant"),
    other_work=r"start_(sft|dpo|distill|rlvr_rollout|agentic_rollout)",
    more_updates="take a smaller gradient_accumulation_steps in actor_train, or raise ppo_epochs",
    std_offset="ddof 1, +1e-6",
    truncation={"actor_infer.generating_args.top_p": (1,), "actor_infer.generating_args.top_k": (0, -1)},
    wrong_for_sequences=("token-mean", "seq-mean-token-sum"),
    right_for_sequences="loss_agg_mode: seq-mean-token-mean",
    precise="set actor_train.model_args.dtype: fp32",
    other_files=lambda values: [key for key in ("config_name", "config_path") if values.get(key) is not None],
)
