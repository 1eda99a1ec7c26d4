"""ms-swift 4.5.2: TRL's GRPO with defaults, losses and options of its own."""

from __future__ import annotations

from entclip.integrations.lint.libraries.ms_swift import traps
from entclip.integrations.lint.libraries.ms_swift.build import build
from entclip.integrations.lint.libraries.ms_swift.defaults import DEFAULTS
from entclip.integrations.lint.libraries.ms_swift.write import write
from entclip.integrations.lint.libraries.trl import TRL
from entclip.integrations.lint.library import Library

__all__ = ["MS_SWIFT", "traps"]

MS_SWIFT = Library(
    name="ms-swift",
    title="ms-swift",
    version="4.5.2",
    defaults=DEFAULTS,
    entry=r"(swift\s+(rlhf|sft|pt|infer|rollout|deploy|eval|export|sample|merge-lora)|megatron\s+(rlhf|sft|pt|export))",
    package=__name__,
    build=build,
    write=write,
    losses=("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "real", "fipo"),
    deciding=("rlhf_type", "rollout_importance_sampling_mode", "multi_turn_scheduler"),
    other_work=r"swift\s+(sft|pt|infer|rollout|deploy|eval|export|sample|merge-lora)|megatron\s+(sft|pt|export)",
    more_updates="raise num_iterations, or steps_per_generation above gradient_accumulation_steps",
    std_offset="ddof 1, +1e-4",
    truncation={"top_p": (1,), "top_k": (0, -1)},
    wrong_for_sequences=("bnpo", "dr_grpo", "dapo", "cispo"),
    right_for_sequences="loss_type = grpo",
    sapo_keys=("tau_pos", "tau_neg"),
    precise="set --torch_dtype float32 for the model, or --bf16 false",
    passes_on=TRL,
)
