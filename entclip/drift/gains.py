"""Which objectives move entropy by themselves: only the difference of their gains counts under a random reward. Claim T14."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from entclip.drift.first_order import expected_first_order
from entclip.drift.weighing import ByLevel, SeenLevels
from entclip.objectives.base import Change, Objective, View
from entclip.policies.softmax import Array, Geometry, log_softmax

__all__ = ["DriftClass", "drift_class", "own_drift", "own_weights"]

DriftClass = Literal["none", "constant", "off_policy", "on_policy"]
_ACTIONS, _CONTEXTS, _SPREAD, _WALK = 48, 12, 1.2, 0.5
_MOMENTS = (0.5, 0.4, 0.3)  # M, P(A > 0), P(A < 0): unlike, so that gains and extra weights do not cancel by chance
_ROUNDING = 1e-12  # of weights of order 1


def own_weights(change: Change, half_mean: float, share_plus: float = 0.5, share_minus: float = 0.5) -> Array:
    """Return w(a) = E[c|a]/r(a) of an objective under a reward that ignores the action, and of its bonus, (..., V). Claim T14.

    w = M (g_plus - g_minus) + P_plus x_plus + P_minus x_minus,  each term by its chance to survive a random drop.

    Args:
        change: what the objective makes of the weights: gains g, extra weights x, chances, and the weights of a bonus.
        half_mean: M, half of the mean of |A|.   share_plus, share_minus: P(A > 0) and P(A < 0).
    """
    keep = (1.0, 1.0) if change.survival is None else (change.survival.plus, change.survival.minus)
    out = half_mean * (keep[0] * change.gains.plus - keep[1] * change.gains.minus)
    if change.extra_plus is not None:
        out = out + (keep[0] * share_plus * change.extra_plus + keep[1] * share_minus * change.extra_minus)
    return out + change.bonus_weights


def own_drift(
    change: Change,
    log_probs: Array,
    *,
    half_mean: float,
    learning_rate: float,
    geometry: Geometry,
    share_plus: float = 0.5,
    share_minus: float = 0.5,
) -> Array:
    """Return the expected first-order entropy change that an objective makes by itself, (...), nats. Claim T14.

    dH = eta M Cov_pi(kappa, g_plus - g_minus) + eta Cov_pi(kappa, P_plus x_plus + P_minus x_minus),

    for a reward that ignores the action (T6). Equal gains, and gains that differ by a constant, give exactly 0, whatever the
    ratios. It is the sum of T5's terms without their split by cause; a bonus is counted with it.

    Args:
        log_probs: log pi, (..., V).   learning_rate: eta, logits per unit score.   The others are those of `own_weights`.
    """
    weights = {"own": own_weights(change, half_mean, share_plus, share_minus)}
    return expected_first_order(weights, log_probs, learning_rate=learning_rate, geometry=geometry)["own"]


def drift_class(objective: Objective) -> DriftClass:
    """Say when an objective moves entropy by itself under a random reward. Claim T14.

    Its weights are looked at on fixed policies, at pi = pi_old and after a walk of the logits:

    none        they are the same for all actions at every ratio, and 0 at r = 1: never, beyond rounding.
    constant    they are the same for all actions at r = 1, but not 0: not before a clip acts.
    off_policy  they are 0 at r = 1 alone: not on the first minibatch of a rollout.
    on_policy   they differ by action at r = 1 already.

    It is a statement about these policies and these parameters: an objective whose sets are empty on all of them does nothing.
    Example:
        >>> from entclip.objectives.catalogue import objective
        >>> drift_class(objective("cispo")), drift_class(objective("clip"))
        ('none', 'off_policy')
    """
    rng = np.random.default_rng(0)
    old = log_softmax(_SPREAD * rng.standard_normal((_CONTEXTS, _ACTIONS)) - np.log(np.arange(1, _ACTIONS + 1)))
    old[0] = log_softmax(np.where(np.arange(_ACTIONS) == 0, 8.0, 0.0))  # one action that is nearly certain
    moved = log_softmax(old + _WALK * rng.standard_normal(old.shape))
    here, there = (_own(objective, log_probs, old) for log_probs in (old, moved))
    if _spread(here) > _ROUNDING:
        return "on_policy"
    if float(np.max(np.abs(here))) > _ROUNDING:
        return "constant"
    return "off_policy" if _spread(there) > _ROUNDING else "none"


def _own(objective: Objective, log_probs: np.ndarray, old: np.ndarray) -> Array:
    """The weights of an objective under a random reward; one that goes by the value of the advantage sees 1 and -1."""
    if "levels" not in objective.needs:
        return own_weights(_view_change(objective, log_probs, old, None), *_MOMENTS)
    both = np.array([1.0, -1.0]).reshape(2, 1, 1)
    levels = SeenLevels(both, np.full((2, 1, 1), 0.5), both)
    change = _view_change(objective, log_probs, old, levels)
    weighing = ByLevel(change, change.survival, levels)
    return sum(weighing.expected(None).values()) + change.bonus_weights


def _view_change(objective: Objective, log_probs: np.ndarray, old: np.ndarray, levels: SeenLevels | None) -> Change:
    """What an objective makes of policies of equal shares; the reference of a penalty is flat."""
    flat = np.full_like(old, -np.log(old.shape[-1])) if "reference" in objective.needs else None
    numbers = {}
    if "statistics" in objective.needs:
        share, seen = np.exp(old)[None] / len(old), View.of(log_probs[None], old[None], objective.needs, reference=flat)
        if levels is not None:
            share, seen = share * levels.chances[:, None], replace(seen, advantage=levels.values[:, None])
        found = objective.statistics(seen, share)
        numbers = {name: float(x[0]) for name, x in found.items()}
    view = View.of(log_probs, old, objective.needs, numbers, flat)
    return objective.change(view if levels is None else levels.seen_by(view))


def _spread(x: np.ndarray) -> float:
    """The largest difference between two actions of a context."""
    return float(np.max(np.ptp(x, axis=-1)))
