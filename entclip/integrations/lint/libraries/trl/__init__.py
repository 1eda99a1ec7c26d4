"""TRL 1.16.0."""

from __future__ import annotations

from entclip.integrations.lint.libraries.trl import traps
from entclip.integrations.lint.libraries.trl.build import build
from entclip.integrations.lint.libraries.trl.defaults import DEFAULTS
from entclip.integrations.lint.libraries.trl.write import write
from entclip.integrations.lint.library import Library

__all__ = ["TRL", "traps"]

TRL = Library(
    name="trl",
    title="TRL",
    version="1.16.0",
    defaults=DEFAULTS,
    entry=r"trl(\s+|\.scripts\.)(grpo|rloo)",
    other_trainers=dict.fromkeys(
        ("rloo", "normalize_advantages", "reward_clip_range", "rloo_k"),
        "TRL's RLOO trainer: its ratio is that of a whole sequence, the product of its tokens' ratios, so that nothing "
        "that holds for GRPO's widths holds for its own",
    ),
    package=__name__,
    build=build,
    write=write,
    losses=("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    deciding=(
        "epsilon",
        "epsilon_high",
        "num_generations",
        "num_iterations",
        "steps_per_generation",
        "scale_rewards",
        "loss_type",
        "importance_sampling_level",
        "top_entropy_quantile",
        "mask_truncated_completions",
        "generation_batch_size",
    ),
    python_classes=("GRPOConfig",),
    python_modules=("trl",),
    more_updates="raise num_iterations, or steps_per_generation above gradient_accumulation_steps",
    std_offset="ddof 1, +1e-4",
    truncation={"top_p": (1,), "top_k": (0, -1), "min_p": (0,)},
    wrong_for_sequences=("bnpo", "dr_grpo", "dapo", "cispo"),
    right_for_sequences="loss_type = grpo",
    sapo_keys=("sapo_temperature_pos", "sapo_temperature_neg"),
    precise="set cast_lm_head_to_fp32 (untied heads) or bf16: false",
    renamed={"use_liger_loss": "use_liger_kernel", "torch_dtype": "dtype"},
    older_list="older_keys.txt",
    other_files=lambda values: ["config"] if values.get("config") is not None else [],
)
