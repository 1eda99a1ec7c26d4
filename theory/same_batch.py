"""T17: a statistic of the sampled batch: T14 holds given one made of other samples; of the same samples the cost is O(1/N)."""

from __future__ import annotations

import sympy as sp

from theory.expected_drift import kappas, one_sample
from theory.proof import Proof
from theory.sums import Action, Cov, H, l, mean, pi, pi0, put

CLAIM = "T17"
TITLE = "What a statistic of the same batch costs"
ASSUMES = (
    "N independent samples of pi_0, each counted once in the statistic tau",
    "the weight c/r of a sample is smooth in tau, w + w' (tau - t) near t, the statistic's value for many samples",
    "tau is a mean of x over the samples, or has an influence function x (a quantile, a standard deviation) to first order in "
    "1/N",
)


def prove(p: Proof) -> None:
    w, slope, x = Action("w"), Action("w'"), Action("x")
    n = sp.Symbol("N", positive=True)
    gradient = pi * (-l - H)
    tau = x / n + (1 - 1 / n) * mean(x, pi0)
    p.say(
        "Made of other samples (the policies, or the minibatch before), tau is a number that is known before this minibatch is "
        "drawn: given tau its samples are independent, T5, T8 and T14 hold as they stand."
    )
    p.conclude(
        "shift",
        "Made of the same samples, tau depends on the sample it weighs: given that this one took action a, its mean is x_a/N + "
        "(1 - "
        "1/N) E x, not E x. The mean weight of a shifts by",
        (w + slope * (tau - mean(x, pi0))) - w,
        slope * (x - mean(x, pi0)) / n,
        "any V",
        name=r"E[c/r\,|\,a] - w_a",
    )
    shift = slope * (x - mean(x, pi0)) / n
    for geometry, kappa in kappas().items():
        p.conclude(
            f"cost_{geometry}",
            f"and the drift by its covariance with kappa ({geometry}): exact for a mean and a weight linear in it, of order 1/N.",
            one_sample(geometry, w + shift, gradient) - one_sample(geometry, w, gradient),
            Cov(kappa, slope * x) / n - mean(x, pi0) * Cov(kappa, slope) / n,
            "any V",
            name=r"(\Delta H^{same} - \Delta H)/\eta",
        )
    kappa, constant = Action("kappa"), sp.Symbol("k", real=True)
    p.equal(
        "It vanishes where the weight does not depend on the statistic, and where the influence is the same for all actions.",
        put(Cov(kappa, slope * x) / n - mean(x, pi0) * Cov(kappa, slope) / n, {x: constant}),
        0,
        "any V",
        name=r"\text{cost}",
    )
    reward = Action("R")
    p.conclude(
        "baseline",
        "The best known case: a baseline that is the mean reward of the same N samples, w = R - tau. The mean weight is that "
        "of the "
        "exact baseline times 1 - 1/N, which leave-one-out mends.",
        reward - (reward / n + (1 - 1 / n) * mean(reward, pi0)),
        (1 - 1 / n) * (reward - mean(reward, pi0)),
        "any V",
        name=r"E[c/r\,|\,a]",
    )
    spread = sp.Symbol("v", positive=True)
    p.equal(
        "What tau itself scatters is larger: a mean of N has variance v/N, so that from one minibatch to the next the drift "
        "moves by O(1/sqrt N) about a mean that is off by O(1/N).",
        n * spread / n**2,
        spread / n,
        "symbolic",
        name=r"\mathrm{Var}(\tau)",
    )
