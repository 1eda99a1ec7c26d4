"""An experiment in the words of TRL's GRPOConfig, and what TRL has no word for."""

from __future__ import annotations

from typing import Any

from entclip.engines.llm.facts import TRL
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import Arm
from entclip.objectives.base import Objective
from entclip.objectives.cispo_trl import CispoTrl
from entclip.objectives.clip import Clip
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.gspo import Gspo
from entclip.objectives.none import NoClip
from entclip.objectives.sapo import Sapo
from entclip.rewards.advantage import GroupRelative
from entclip.support.errors import SpecError

__all__ = ["AS_TRL", "settings"]

# What TRL does whatever it is asked: entclip llm sets these keys whatever the file says, and refuses a --set that says otherwise.
AS_TRL = {"update.minibatch": "shuffled", "ledger.momentum": "line"}
_WHY = {
    "update.minibatch": "TRL shuffles responses over the minibatches of a rollout",
    "ledger.momentum": "under TRL the ledger has one line for what earlier minibatches left in the optimiser",
}
_STD_OFFSET = 1e-4  # what TRL adds to the standard deviation of a group
_OFF = 1.0, float("inf")


def settings(experiment: Experiment, arm: Arm, processes: int = 1) -> dict[str, Any]:
    """Return the keys of GRPOConfig that decide what an arm's updates are.

    A mean over tokens is TRL's `dapo`: over those of the rollout, divided by its updates, so that processes and micro-batches do
    not matter. entclip's own engine takes the mean over the minibatch.

    Args:
        processes: that share each minibatch.
    Raises: SpecError for what TRL cannot express.
    """
    u, rules, size = experiment.update, experiment.rollout_rules, experiment.advantage.size
    _refuse_rules(experiment, arm)
    share = u.batch // processes
    if u.batch % processes or (share * u.minibatches) % size:
        raise SpecError(
            f"update.batch = {u.batch} on {processes} processes: each takes the same number of responses of a minibatch, and "
            f"whole groups of {size} of a rollout. Use a batch that {processes} x {size} divides, or other processes."
        )
    each = min(rules.micro_batch or share, share)
    if share % each:
        raise SpecError(f"rollout.micro_batch = {each}: TRL's passes are of one size, so that it has to divide {share}.")
    return {
        **_objective(arm, arm.build(), rules.aggregation),
        "scale_rewards": _scale(experiment),
        "num_generations": size,
        "per_device_train_batch_size": each,
        "gradient_accumulation_steps": share // each,
        "steps_per_generation": u.minibatches * (share // each),
        "num_iterations": u.epochs,
        "max_steps": u.rollouts * u.minibatches * u.epochs,
        "max_completion_length": rules.max_new_tokens,
        "temperature": rules.temperature,
        "beta": 0.0,
        "learning_rate": u.learning_rate,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "shuffle_dataset": False,
    }


def _refuse_rules(experiment: Experiment, arm: Arm) -> None:
    if experiment.grid:
        raise SpecError("[grid]: TRL runs one experiment at a time. Leave the grid out, or use the backend entclip.")
    given = {"update.minibatch": experiment.update.minibatch, "ledger.momentum": experiment.ledger.momentum}
    for key, value in given.items():
        if value != AS_TRL[key]:
            raise SpecError(f"{key} = {value!r}: {_WHY[key]}. Use {AS_TRL[key]!r}, or the backend entclip.")
    if experiment.rollout_rules.staleness:
        raise SpecError(
            f"rollout.staleness = {experiment.rollout_rules.staleness}: TRL samples from the policy as it is. Use 0, or the "
            "backend entclip."
        )
    for kind, own in (("control", arm.control), ("controller", arm.controller)):
        if own is not None:
            raise SpecError(f"arm {arm.name}: TRL has no {kind} of that kind. Choose other arms, or the backend entclip.")


def _scale(experiment: Experiment) -> str:
    advantage = experiment.advantage
    if not isinstance(advantage, GroupRelative):
        raise SpecError(
            f"advantage.kind = {advantage.kind!r}: TRL's advantages are relative to a group. Use kind = 'group', or the backend "
            "entclip."
        )
    if advantage.scale == "none":
        return "none"
    if (advantage.ddof, advantage.eps) != (1, _STD_OFFSET):
        raise SpecError(
            f"advantage.ddof = {advantage.ddof}, advantage.eps = {advantage.eps:g}: TRL divides by the standard deviation with "
            f"ddof 1 plus {_STD_OFFSET:g}. Use those, or scale = 'none'."
        )
    return "group"


def _objective(arm: Arm, objective: Objective, aggregation: str) -> dict[str, Any]:
    """The loss type with its parameters."""
    mean = {"loss_type": {"token": "dapo", "sequence": "grpo"}[aggregation]}
    made: tuple[dict[str, Any], str] | None = None  # its keys, and the aggregation that TRL has it with
    if isinstance(objective, NoClip):
        made = mean | _clip(*_OFF), aggregation
    elif isinstance(objective, Clip):
        made = mean | _clip(objective.low, objective.high), aggregation
    elif isinstance(objective, DualClip):
        made = mean | _clip(objective.low, objective.high) | {"delta": objective.cap}, aggregation
    elif isinstance(objective, CispoTrl):
        made = {"loss_type": "cispo", "epsilon_high": objective.high}, "token"
    elif isinstance(objective, Gspo):
        made = mean | _clip(objective.low, objective.high) | {"importance_sampling_level": "sequence"}, "sequence"
    elif isinstance(objective, Sapo):
        steep = {"sapo_temperature_pos": objective.tau_pos, "sapo_temperature_neg": objective.tau_neg}
        made = {"loss_type": "sapo", **steep}, "sequence"
    if made is None:
        known = ", ".join(sorted(TRL.objectives or ()))
        raise SpecError(
            f"arm {arm.name}: TRL has no objective {objective.kind!r}. Choose among {known}, or use the backend entclip."
        )
    keys, own = made
    if own != aggregation:
        raise SpecError(
            f"arm {arm.name}: TRL has {objective.kind} with rollout.aggregation = {own!r} only. Use that, or the backend entclip."
        )
    return keys


def _clip(low: float, high: float) -> dict[str, float]:
    return {"epsilon": low, "epsilon_high": high}
