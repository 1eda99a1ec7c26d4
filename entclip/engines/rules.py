"""An experiment with the advantage rule of an arm's objective in the place of its own."""

from __future__ import annotations

from entclip.experiments.experiment import Experiment
from entclip.objectives.base import Objective
from entclip.rewards.reward import Gaussian
from entclip.support.errors import SpecError

__all__ = ["ruled"]


def ruled(experiment: Experiment, objective: Objective) -> Experiment:
    """Return the experiment as an engine runs it for an objective: its rewards become advantages by the objective's rule.

    Raises: SpecError if the objective has no rule for these advantages or rewards, or goes by the values of continuous ones.
    """
    if "levels" in objective.needs and isinstance(experiment.reward, Gaussian):
        raise SpecError(
            f"the objective {objective.kind!r} looks at the advantage value by value, but reward.kind = 'gaussian' is "
            "continuous: use bernoulli, rademacher or table."
        )
    if "advantage" not in objective.needs:
        return experiment
    try:
        rule = objective.advantage_rule(experiment.advantage, experiment.reward)
    except ValueError as error:
        raise SpecError(f"the objective {objective.kind!r}: {error}") from None
    return experiment.model_copy(update={"advantage": rule})
