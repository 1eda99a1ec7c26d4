"""Everything that an update adds up over all points, whatever the objective: the numpy kernels, and what they return.

fused_sums.py has the same three functions compiled. Points are those of a chunk: nodes with the weights given, then `count`
tracked actions, then room that nothing looks at.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from entclip.engines.reduced.point_policy import Points, ratio_of, total, whole_weight

__all__ = ["Policies", "PolicySums", "StepSums", "largest_third", "measure", "move", "trace_terms"]


class Policies(NamedTuple):
    """A policy beside the old one, (u, c) each; weight and number of nodes, (u, n); how many are tracked, (u,)."""

    log_probs: np.ndarray
    probs: np.ndarray
    old_log_probs: np.ndarray
    old_probs: np.ndarray
    weight: np.ndarray
    number: np.ndarray
    tracked: np.ndarray


class PolicySums(NamedTuple):
    """Sums over the actions of a policy beside pi_old, (u,) each; x = l + H, s = pi - P2, E over pi.

    entropy           H
    excess_0          E[x + 1],        of which, with the next two, quadratic forms of mean steps are made
    p2                P2 = E[pi]
    kappa             E[-pi x] of T5
    excess_1          E[(x + 1) s]
    excess_2          E[(x + 1) s^2]
    surplus           E[s x]
    probs_form        -pi' Hess(H) pi
    trace             tr(Hess S) for (c/r)^2 = 1 (see trace_terms)
    kl                KL(pi_old | pi)
    log_ratio_sq      E_old[log^2 ratio]
    ratio_max         largest ratio of a point that stands for actions

    Natural steps need neither p2 nor the five after it: they are 0 there.
    """

    entropy: np.ndarray
    excess_0: np.ndarray
    p2: np.ndarray
    kappa: np.ndarray
    excess_1: np.ndarray
    excess_2: np.ndarray
    surplus: np.ndarray
    probs_form: np.ndarray
    trace: np.ndarray
    kl: np.ndarray
    log_ratio_sq: np.ndarray
    ratio_max: np.ndarray


class StepSums(NamedTuple):
    """Sums along a step d of the logits, (u,) each.

    entropy           H after the step
    second, third     H'' and H''' along it at its start;   end_third: H''' at its end
    variance          Var_pi(d)
    inner             <grad H, d>;   scale: the sum of the absolute terms of that
    """

    entropy: np.ndarray
    second: np.ndarray
    third: np.ndarray
    end_third: np.ndarray
    variance: np.ndarray
    inner: np.ndarray
    scale: np.ndarray


def trace_terms(
    euclidean: bool,
    probs: np.ndarray,
    excess: np.ndarray,
    mass: np.ndarray,
    number: np.ndarray,
    ratio: np.ndarray,
    means: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> np.ndarray:
    """Return what each point's mean squared (c/r)^2 adds to tr(Hess S), same shape as all arguments; see drift.second_order.

    means: `p2`, `surplus` and `probs_form` of PolicySums, at each point. number: weights of sums without a factor of pi.
    """
    if not euclidean:
        out: np.ndarray = ratio * (mass * (2 * excess + 1) - number * (excess + 1))
        return out
    p2, spread, total_form = means
    # Hess pi = -pi b with b = s (l + H + 1) - Cov(l, pi); the form is Hess_aa - 2 (Hess pi)_a + pi' Hess pi.
    b = (probs - p2) * (excess + 1) - spread
    form = probs * (2 * excess + 1)
    form -= excess + 1
    form += 2 * b
    form *= probs
    form -= total_form
    form *= mass
    form *= ratio
    return form


def measure(
    log_probs: np.ndarray,
    probs: np.ndarray,
    old_log_probs: np.ndarray,
    old_probs: np.ndarray,
    weight: np.ndarray,
    number: np.ndarray,
    count: np.ndarray,
    euclidean: bool,
    idle: tuple[float, float],
) -> tuple[PolicySums, np.ndarray, np.ndarray]:
    """Return sums of Policies, and the points whose ratio is outside of `idle` (ends in it): unit and point, (D,) each, in
    order."""
    n, width = weight.shape[1], log_probs.shape[1]
    every = whole_weight(weight, count, width)
    now, ratio = Points.of(log_probs, every, probs), ratio_of(probs, old_probs)
    x, zero = now.excess, np.zeros(len(count))
    p2 = kappa = first = second = spread = form = zero
    pushed = now.mass * (x + 1)
    whole = np.sum(pushed, axis=1)
    if euclidean:
        p2, kappa = now.mean(probs), -now.mean(probs * x)
        s = probs - p2[:, None]
        pushed *= s
        first, second = np.sum(pushed, axis=1), total(pushed, s)
        b = s * x
        spread = now.mean(b)
        form = total(now.mass, probs * (b + s - spread[:, None]))
    means = (p2[:, None], spread[:, None], form[:, None])
    trace = np.sum(
        trace_terms(euclidean, probs, x, now.mass, np.concatenate([number, every[:, n:]], axis=1), ratio, means), axis=1
    )
    old_mass, log_ratio = every * old_probs, log_probs - old_log_probs
    kl = -total(old_mass, log_ratio)
    old_mass *= log_ratio
    used = np.concatenate([np.ones(weight.shape, dtype=bool), every[:, n:] != 0], axis=1)
    unit, point = np.nonzero(used & ~((ratio >= idle[0]) & (ratio <= idle[1])))
    standing = PolicySums(
        now.entropy,
        whole,
        p2,
        kappa,
        first,
        second,
        spread,
        form,
        trace,
        kl,
        total(old_mass, log_ratio),
        np.max(ratio, axis=1, where=every != 0, initial=0.0),
    )
    return standing, unit, point


def move(
    log_probs: np.ndarray, probs: np.ndarray, step: np.ndarray, weight: np.ndarray, count: np.ndarray, entropy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, StepSums]:
    """Return log pi and pi (u, c) after a logit step (u, c), what was taken off the logits to normalise them (u,), and sums
    along it.

    entropy: H before, as `measure` has it.
    """
    now = Points.of(log_probs, whole_weight(weight, count, log_probs.shape[1]), probs)
    after, shift = now.moved(step)
    slopes, gradient = now.slopes(step), now.mass * (log_probs + entropy[:, None])
    gradient *= step
    along = StepSums(
        after.entropy,
        slopes.second,
        slopes.third,
        after.slopes(step).third,
        slopes.variance,
        -np.sum(gradient, axis=1),
        np.sum(np.abs(gradient), axis=1),
    )
    return after.log_probs, after.probs, shift, along


def largest_third(
    log_probs: np.ndarray, step: np.ndarray, weight: np.ndarray, count: np.ndarray, points: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return largest and smallest |H'''| over evenly spaced points of the path, (u,) each; see drift/cumulants.py."""
    start = Points.of(log_probs, whole_weight(weight, count, log_probs.shape[1]))
    values = [np.abs(start.slopes(step).third)]
    for k in range(1, points):  # points of the path
        there, _ = start.moved(k / (points - 1) * step)
        values.append(np.abs(there.slopes(step).third))
    stacked = np.stack(values)
    return stacked.max(axis=0), stacked.min(axis=0)
