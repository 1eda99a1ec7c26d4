"""The plug-in that verl loads by itself where entclip is installed: loss_mode = entclip_vanilla.

verl imports every entry point of the group `verl.plugins` in each of its processes (VERL_USE_EXTERNAL_PLUGINS=none stops that).
The loss is verl's own `vanilla` with the same value and gradient; beside its metrics it returns `entclip/...`, the sums of
entclip.integrations.verl.sums.
"""

from __future__ import annotations

from typing import Any

from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla, register_policy_loss

__all__ = ["entclip_vanilla"]


def entclip_vanilla(
    old_log_prob: Any,
    log_prob: Any,
    advantages: Any,
    response_mask: Any,
    loss_agg_mode: str = "token-mean",
    config: Any = None,
    rollout_is_weights: Any = None,
) -> tuple[Any, dict[str, Any]]:
    """Return verl's vanilla loss, and its metrics with those of the ledger of samples."""
    from entclip.integrations.verl.sums import PREFIX, objective_of, sums  # not with every `import verl`

    loss, metrics = compute_policy_loss_vanilla(
        old_log_prob, log_prob, advantages, response_mask, loss_agg_mode, config, rollout_is_weights
    )
    found = sums(objective_of(config), old_log_prob, log_prob, advantages, response_mask, loss_agg_mode, rollout_is_weights)
    return loss, metrics | {PREFIX + name: value for name, value in found.items()}


register_policy_loss("entclip_vanilla")(entclip_vanilla)
