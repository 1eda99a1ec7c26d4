"""The settings of TRL's GRPOTrainer in the benchmarks that set our updates beside its own: one model, one clip, nothing else."""

from __future__ import annotations

from typing import Any

__all__ = ["trl_settings"]


def trl_settings(folder: str, **sizes: Any) -> Any:
    """Return a GRPOConfig on the CPU with a clip of .2/.2 and AdamW, that logs and saves nothing; sizes and rates are given."""
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        beta=0.0,
        epsilon=0.2,
        scale_rewards="none",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        gradient_checkpointing=False,
        temperature=1.0,
        report_to=[],
        logging_steps=1000,
        save_strategy="no",
        disable_tqdm=True,
        **sizes,
    )
