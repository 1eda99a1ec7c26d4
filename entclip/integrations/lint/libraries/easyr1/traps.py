"""Traps that only EasyR1 has."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.rules import rule

__all__: list[str] = []


@rule("easyr1-clip-metric-names", "warn", "easyr1")
def _names(config: TrainerConfig) -> str | None:
    if config.kind != "dual_clip":
        return None
    return (
        "actor/pg_clipfrac_higher is not the high side: it counts both bounds together (the loss was made higher), and "
        "actor/pg_clipfrac_lower is the dual clip. Neither tells clip-low from clip-high, whose effects on entropy are opposite."
    )


@rule("sampled-entropy-metric", "info", "easyr1")
def _entropy(config: TrainerConfig) -> str | None:
    # With one update per rollout tokens come from the policy itself, and the mean is an estimate of its entropy.
    if config.updates.count is not None and config.updates.count <= 1:
        return None
    return (
        "actor/entropy_loss is the mean of -log pi of the sampled tokens after the updates so far, not an entropy: tokens come "
        "from the old policy, so it is the cross-entropy to it and drifts with the policy even where the entropy stands still."
    )
