"""SkyRL 0.3.0, commit a956457."""

from __future__ import annotations

from entclip.integrations.lint.libraries.skyrl import traps
from entclip.integrations.lint.libraries.skyrl.build import DEFAULTS, build
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.setting import Notation

__all__ = ["SKYRL", "traps"]

_A = "trainer.algorithm."

SKYRL = Library(
    name="skyrl",
    title="SkyRL",
    version="0.3.0",
    defaults=DEFAULTS,
    entry=r"skyrl(_train|\.train)?\.entrypoints\.main_\w+",
    package=__name__,
    build=build,
    write=Notation(
        f"{_A}eps_clip_low",
        f"{_A}eps_clip_high",
        cap=f"{_A}clip_ratio_c",
        form="{key}={value}",
        lines={"sequence": f"{_A}policy_loss_type=gspo", "cap": f"{_A}policy_loss_type=dual_clip"},
    ).write,
    losses=(
        "regular",
        "dual_clip",
        "gspo",
        "clip_cov",
        "kl_cov",
        "cispo",
        "sapo",
        "rollout_is",
        "dppo",
        "cross_entropy",
        "importance_sampling",
    ),
    deciding=(_A, "generator.inference_engine.", "trainer.policy.", "trainer.placement.", "trainer.policy_mini_batch_size"),
    other_work=r"main_(generate|sft|eval)",
    more_updates="set trainer.policy_mini_batch_size below trainer.train_batch_size, or trainer.update_epochs_per_batch above 1",
    std_offset="ddof 1, +1e-6",
    truncation={
        "generator.sampling_params.top_p": (1,),
        "generator.sampling_params.top_k": (0, -1),
        "generator.sampling_params.min_p": (0,),
    },
    wrong_for_sequences=("token_mean", "token_mean_legacy"),
    right_for_sequences=f"{_A}loss_reduction = sequence_mean",
    sapo_keys=(f"{_A}sapo.tau_pos", f"{_A}sapo.tau_neg"),
    precise="set trainer.bf16 = false",
    clip_metric=("clip_ratio", "merged"),
)
