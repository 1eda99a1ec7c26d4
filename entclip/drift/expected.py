"""expected_entropy_drift: the expected entropy change of one update, by cause. Claims T5, T6, T8, T10."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from entclip.drift.first_order import expected_first_order
from entclip.drift.second_order import curvature_of
from entclip.drift.weighing import SeenLevels, weighing_of
from entclip.objectives.base import Objective, View
from entclip.objectives.catalogue import objective as objective_of
from entclip.objectives.catalogue import parameters
from entclip.objectives.clip import Clip
from entclip.objectives.needs import refuse_unserved
from entclip.policies.softmax import Array, Geometry, SoftmaxPolicy
from entclip.rewards.advantage import Advantage, GroupRelative, Independent
from entclip.rewards.levels import LevelLaw, level_law
from entclip.rewards.reward import RewardLaw
from entclip.support.namespace import namespace

__all__ = ["SERVED", "DriftTerms", "expected_entropy_drift"]

SERVED = frozenset({"entropy", "statistics", "reference", "penalty", "survival", "bonus", "levels", "advantage"})


@dataclass(frozen=True)
class DriftTerms:
    """Expected entropy change of one update in nats, each (...); gaps in units of kappa.

    Attributes:
        unclipped, clip_low, clip_high, other: first order, by cause.   bonus, kl_term: likewise; None where there is none.
        curvature: second order, None when only the first was asked for.
        gap_low, gap_high: E[kappa|X] - E[kappa] of the clip sets, NaN where a set is empty (it has no mean).
        total: the sum of all terms computed.
    """

    unclipped: Array
    clip_low: Array
    clip_high: Array
    other: Array
    curvature: Array | None
    gap_low: Array
    gap_high: Array
    total: Array
    bonus: Array | None = None
    kl_term: Array | None = None


def expected_entropy_drift(
    policy: SoftmaxPolicy,
    clip: Clip,
    reward: RewardLaw,
    *,
    old_policy: SoftmaxPolicy,
    learning_rate: float,
    geometry: Geometry = "natural",
    advantage: Advantage = Independent(),
    objective: Objective | str | None = None,
    order: int = 1,
    batch: int | None = None,
    reference: SoftmaxPolicy | None = None,
) -> DriftTerms:
    """Return the expected entropy change of one update on fresh samples of the old policy, by cause, in nats. Claims T5, T8.

    dH = eta Cov_pi(kappa, w),  kappa = s (natural) or pi (s - H) (euclidean),  s = -log pi,
    w(a) = E[A|a] + E[A-|a] 1_LOW(a) - E[A+|a] 1_HIGH(a); each summand of w gives one returned term. Order 2 adds the
    expected curvature of a minibatch of `batch` samples in whole groups.

    Args:
        policy, old_policy: SoftmaxPolicy, logits (..., V); current, and the one that made the rollout.
        clip: Clip(low, high), the widths eps_low in [0, 1] (1: off) and eps_high >= 0 (inf: off).
        reward: Bernoulli, Gaussian, Rademacher or TableReward (one value per action).
        learning_rate: eta > 0, logits per unit score.
        geometry: "natural" or "euclidean" step.
        advantage: Independent() or GroupRelative(...).
        objective: None for the clip; a name ("none", "cispo", "dual_clip", ...: takes the clip's widths); or an Objective.
        order: 1, or 2 with batch, the samples per context and minibatch.
        reference: the policy that a KL penalty holds on to, for objectives that look at one.
    Returns: DriftTerms, each (...), nats per update.
    Raises: ValueError if the policies differ in shape, eta <= 0, order is not 1 or 2, or order 2 lacks a batch; if the
        objective looks at a reference that is not given or has another shape.
    Notes: the clip terms vanish when policy == old_policy; their signs are not universal (T6). The expectation holds for
        samples not used before in this rollout.
    References: Park et al. 2025, arXiv:2509.26114, whose Theorems 1 and 2 are T6 in our form; Cui et al. 2025, arXiv:2505.22617.
    Example:
        >>> from entclip import Clip, Rademacher, SoftmaxPolicy, zipf
        >>> old = zipf(4)
        >>> terms = expected_entropy_drift(old, Clip(), Rademacher(), old_policy=old, learning_rate=0.1)
        >>> float(terms.clip_low), float(terms.clip_high)  # at pi = pi_old nothing is clipped
        (0.0, 0.0)
    """
    _check_arguments(policy, old_policy, learning_rate, geometry, advantage, order, batch)
    chosen = _objective_of(objective, clip)
    log_probs, old_log_probs = policy.log_probs, old_policy.log_probs
    refuse_unserved(chosen, SERVED, "expected_entropy_drift")
    if "advantage" in chosen.needs:
        advantage = chosen.advantage_rule(advantage, reward)
    old_probs = np.exp(_plain(old_log_probs))
    moments, law = advantage.moments(reward, old_probs), _law(chosen, advantage, reward, old_probs)
    view = replace(_view(chosen, log_probs, old_log_probs, law), reference=_reference_of(chosen, reference, policy))
    levels = None if law is None else SeenLevels.of(law, tuple(old_probs.shape[:-1]))
    weighing = weighing_of(chosen, view, None, levels)
    weights = weighing.expected(moments) | dict(weighing.change.bonus)
    terms = expected_first_order(weights, log_probs, learning_rate=learning_rate, geometry=geometry)
    curvature = None
    if order == 2:
        assert batch is not None
        shared = (advantage.size - 1) / (batch - 1) if isinstance(advantage, GroupRelative) else 0.0
        curvature = curvature_of(
            log_probs,
            view.ratio,
            weighing.of_a_sample(moments),
            learning_rate=learning_rate,
            geometry=geometry,
            batch=batch,
            shared_group=shared,
        )
    stats = weighing.sets(log_probs, geometry)
    total = sum(terms.values()) + (0 if curvature is None else curvature)
    gaps = (_gap(stats.mass_low, stats.pi_low), _gap(stats.mass_high, stats.pi_high))
    return DriftTerms(**terms, curvature=curvature, gap_low=gaps[0], gap_high=gaps[1], total=total)


def _plain(x: Array) -> np.ndarray:
    """An array of any library as numpy's."""
    return np.asarray(x.tolist() if hasattr(x, "cpu") else x)


def _law(objective: Objective, advantage: Advantage, reward: RewardLaw, old_probs: np.ndarray) -> LevelLaw | None:
    """The values of the advantage in each context, for an objective that goes by them."""
    if "levels" not in objective.needs:
        return None
    return level_law(advantage, reward, old_probs.reshape(-1, old_probs.shape[-1]))


def _view(objective: Objective, log_probs: Array, old_log_probs: Array, law: LevelLaw | None) -> View:
    """The view of the two policies; statistics are made of all their contexts, each with the same share of the samples."""
    view = View.of(log_probs, old_log_probs, objective.needs)
    if "statistics" not in objective.needs:
        return view
    now, old = (_plain(x).reshape(1, -1, x.shape[-1]) for x in (log_probs, old_log_probs))
    share, seen = np.exp(old) / old.shape[1], View.of(now, old, objective.needs)
    if law is not None:
        levels = SeenLevels.of(law, (1, old.shape[1]))
        share, seen = share * levels.chances, replace(seen, advantage=levels.values)
    numbers = objective.statistics(seen, share)
    return replace(view, statistics={name: float(value[0]) for name, value in numbers.items()})


def _reference_of(objective: Objective, reference: SoftmaxPolicy | None, policy: SoftmaxPolicy) -> Array:
    """Log-probabilities of the reference, or None for an objective that looks at none."""
    if "reference" not in objective.needs:
        return None
    if reference is None or tuple(reference.logits.shape) != tuple(policy.logits.shape):
        given = "none is given" if reference is None else f"it has shape {tuple(reference.logits.shape)}"
        raise ValueError(
            f"{type(objective).__name__} holds on to a reference policy, but {given}: give reference, a SoftmaxPolicy of shape "
            f"{tuple(policy.logits.shape)}."
        )
    return reference.log_probs


def _gap(mass: Array, prob: Array) -> Array:
    xp = namespace(mass)
    empty = prob == 0
    return xp.where(empty, xp.full_like(mass, math.nan), mass / xp.where(empty, xp.ones_like(prob), prob))


def _objective_of(objective: Objective | str | None, clip: Clip) -> Objective:
    if objective is None:
        return clip
    if not isinstance(objective, str):
        return objective
    # Some objectives have no widths; those that do take the clip's.
    return objective_of(objective, **{side: getattr(clip, side) for side in ("low", "high") if side in parameters(objective)})


def _check_arguments(
    policy: SoftmaxPolicy,
    old_policy: SoftmaxPolicy,
    learning_rate: float,
    geometry: str,
    advantage: Advantage,
    order: int,
    batch: int | None,
) -> None:
    if tuple(policy.logits.shape) != tuple(old_policy.logits.shape):
        raise ValueError(
            f"policy has shape {tuple(policy.logits.shape)} and old_policy {tuple(old_policy.logits.shape)}: they must be equal, "
            "contexts and actions in the same order."
        )
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ValueError(
            f"learning_rate must be positive and finite, got {learning_rate}: it is the step in logits per unit score."
        )
    if geometry not in ("natural", "euclidean"):
        raise ValueError(f'geometry must be "natural" or "euclidean", got {geometry!r}.')
    if order not in (1, 2):
        raise ValueError(f"order must be 1 (first order) or 2 (with curvature), got {order!r}.")
    if order == 2 and (batch is None or batch < 1):
        raise ValueError(
            f"order = 2 needs batch >= 1, the samples per context and minibatch, got {batch!r}: "
            "curvature comes from sampling noise, which falls as 1/batch."
        )
    if order == 2 and batch is not None and batch % advantage.size:
        raise ValueError(
            f"batch = {batch} is not divisible by advantage.size = {advantage.size}: a minibatch holds whole groups."
        )
