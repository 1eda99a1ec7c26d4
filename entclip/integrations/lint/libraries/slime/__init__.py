"""slime 0.3.1. Its commands are scripts called train.py, so it is recognised by its keys."""

from __future__ import annotations

from entclip.integrations.lint.libraries.slime import traps
from entclip.integrations.lint.libraries.slime.build import DEFAULTS, build
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.setting import Notation

__all__ = ["SLIME", "traps"]

SLIME = Library(
    name="slime",
    title="slime",
    version="0.3.1",
    defaults=DEFAULTS,
    package=__name__,
    build=build,
    write=Notation(
        "eps_clip",
        "eps_clip_high",
        form="--{key} {value}",
        dashes=True,
        lines={"sequence": "--advantage-estimator gspo", "cispo": "--advantage-estimator cispo"},
    ).write,
    losses=("grpo", "gspo", "cispo", "reinforce_plus_plus", "reinforce_plus_plus_baseline", "ppo"),
    deciding=(
        "hf_checkpoint",
        "num_rollout",
        "rollout_function_path",
        "rollout_num_gpus_per_engine",
        "rollout_max_response_len",
        "eps_clip_high",
        "num_steps_per_rollout",
        "rm_type",
        "custom_rm_path",
        "rollout_temperature",
        "colocate",
    ),
    more_updates="set num_steps_per_rollout above 1",
    std_offset="ddof 1, +1e-6",
    truncation={"rollout_top_k": (0, -1)},
    wrong_for_sequences=("token-mean",),
    right_for_sequences="no calculate_per_token_loss",
    clip_metric=("pg_clipfrac", "merged"),
    free_prefixes=("sglang_",),
    other_files=lambda values: [key for key in ("custom_config_path", "megatron_config_path") if values.get(key) is not None],
)
