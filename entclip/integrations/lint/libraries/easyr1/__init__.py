"""EasyR1 0.3.3.dev0, commit b44b311: a fork of verl with keys and defaults of its own."""

from __future__ import annotations

from entclip.integrations.lint.libraries.easyr1 import traps
from entclip.integrations.lint.libraries.easyr1.build import DEFAULTS, build
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.setting import Notation

__all__ = ["EASYR1", "traps"]

_A = "worker.actor."

EASYR1 = Library(
    name="easyr1",
    title="EasyR1",
    version="0.3.3.dev0",
    defaults=DEFAULTS,
    entry=r"verl\.trainer\.main",
    package=__name__,
    build=build,
    write=Notation(
        f"{_A}clip_ratio_low",
        f"{_A}clip_ratio_high",
        cap=f"{_A}clip_ratio_dual",
        cap_always=True,
        form="{key}={value}",
        lines={"sequence": f"{_A}loss_type=gspo", "cispo": f"{_A}loss_type=cispo"},
    ).write,
    losses=("default", "gspo", "gspo_token", "cispo", "sapo"),
    deciding=("worker.actor.", "worker.rollout."),
    more_updates="set worker.actor.global_batch_size below data.rollout_batch_size, or worker.actor.ppo_epochs above 1",
    std_offset="ddof 1, +1e-6",
    truncation={"worker.rollout.top_p": (1,), "worker.rollout.top_k": (0, -1)},
    wrong_for_sequences=("token",),
    right_for_sequences=f"{_A}loss_avg_mode = seq",
    sapo_keys=(f"{_A}tau_positive", f"{_A}tau_negative"),
    precise=f"set {_A}fsdp.mp_param_dtype to fp32",
    cap_note=" It is on in every loss that clips, and only a large value switches it off.",
    other_files=lambda values: ["config"] if values.get("config") is not None else [],
)
