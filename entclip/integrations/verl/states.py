"""The exact baseline of each state inside verl: importing this module puts `state_ppo_loss` in the place of verl's ppo_loss.

    VERL_USE_EXTERNAL_MODULES=entclip.integrations.verl.states

verl then imports it in every process before its workers take the loss. With actor.calculate_entropy = true the model's output
has the entropy of each state, and the ledger's parts in the natural geometry have their exact baseline. An engine whose output
also has `sum_pi_squared` and `sum_pi_squared_log_pi` (nested like the log-probabilities; verl's own engines give neither in
training) makes the parts of the euclidean geometry exact, too.
"""

from __future__ import annotations

from typing import Any

from verl.utils.metric import AggregationType, Metric
from verl.workers.utils import losses
from verl.workers.utils.padding import no_padding_2_padding

__all__ = ["state_ppo_loss"]

_STATES = ("entropy", "sum_pi_squared", "sum_pi_squared_log_pi")
_CLIPPED = ("vanilla", "entclip_vanilla")
_plain = losses.ppo_loss


def state_ppo_loss(config: Any, model_output: Any, data: Any, dp_group: Any = None) -> tuple[Any, dict[str, Any]]:
    """Return verl's own PPO loss, and its metrics with the ledger's sums that have the entropy of each state as baseline."""
    from entclip.integrations.verl.sums import PREFIX, objective_of, sums

    loss, metrics = _plain(config, model_output, data, dp_group)
    if model_output.get("entropy") is None or config.policy_loss.get("loss_mode", "vanilla") not in (
        "vanilla",
        "entclip_vanilla",
    ):
        return loss, metrics
    states = {name: no_padding_2_padding(model_output[name], data) for name in _STATES if model_output.get(name) is not None}
    names = ["response_mask", "old_log_probs", "advantages", *(["rollout_is_weights"] if "rollout_is_weights" in data else [])]
    held = data.select(*names).to_padded_tensor()
    found = sums(
        objective_of(config),
        held["old_log_probs"],
        no_padding_2_padding(model_output["log_probs"], data),
        held["advantages"],
        held["response_mask"],
        config.loss_agg_mode,
        held.get("rollout_is_weights", None),
        states,
    )
    return loss, metrics | {PREFIX + k: Metric(AggregationType.MEAN, v) for k, v in found.items()}


losses.ppo_loss = state_ppo_loss
