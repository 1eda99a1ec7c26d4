"""T6: under a random reward the two gaps decide the signs; our form of Theorems 1 and 2 of Park et al., and their
condition. Their print was not compared line by line."""

from __future__ import annotations

import sympy as sp

from theory.expected_drift import high, kappas, low, m_minus, m_plus
from theory.explicit import Softmax
from theory.proof import Proof
from theory.sums import Action, Cov, at_size, l, mean, pi, put

CLAIM = "T6"
TITLE = "Random reward: the two gaps decide the signs"
ASSUMES = ("T5", "the advantage does not depend on the action, and E[A] = 0; no symmetry of its law")


def prove(p: Proof) -> None:
    _moments(p)
    _gaps(p)
    _paper(p)
    _counterexample(p)


def _moments(p: Proof) -> None:
    plus, minus = sp.symbols("EA^+ EA^-", nonnegative=True)
    half = sp.Symbol("M", positive=True)
    p.say("A = A+ - A- and |A| = A+ + A-. From E[A] = 0 alone:")
    p.equal("the two halves have equal means ...", sp.solve(sp.Eq(plus - minus, 0), plus)[0], minus, "symbolic", name=r"E[A^+]")
    p.equal(
        "... which are half of E|A|: M = E|A|/2.",
        (plus + minus).subs({plus: half, minus: half}) / 2,
        half,
        "symbolic",
        name=r"E|A|/2",
    )
    law = ((sp.Integer(2), sp.Rational(1, 3)), (sp.Integer(-1), sp.Rational(2, 3)))
    p.equal(
        "The paper assumes a symmetric law. Mean zero is weaker and enough: A = 2 with probability 1/3, else -1, is not "
        "symmetric, and",
        sp.Add(*(chance * sp.Max(a, 0) for a, chance in law)),
        sp.Add(*(chance * sp.Max(-a, 0) for a, chance in law)),
        "instance",
        name=r"E[A^+]",
    )
    p.equal("for the same law:", sp.Add(*(chance * sp.Abs(a) for a, chance in law)) / 2, sp.Rational(2, 3), "instance", name=r"M")


def _gaps(p: Proof) -> None:
    k, x = Action("kappa"), Action("1_X")
    half = sp.Symbol("M", positive=True)
    for geometry, kappa in kappas().items():
        p.equal(
            f"With M+ = M- = M the unclipped term of T5 is a covariance with a constant ({geometry}).",
            put(Cov(kappa, m_plus - m_minus), {m_plus: half, m_minus: half}),
            0,
            "any V",
            name=r"\text{unclipped}",
        )
    chance = mean(x)
    p.equal(
        "A covariance with the indicator of a set X is its probability times the gap E[kappa|X] - E[kappa], E[kappa|X] = "
        "E[kappa 1_X]/pi(X).",
        Cov(k, x),
        chance * (mean(k * x) / chance - mean(k)),
        "any V",
        name=r"\mathrm{Cov}_\pi(\kappa, 1_X)",
    )
    for geometry, kappa in kappas().items():
        right = half * (
            mean(low) * (mean(kappa * low) / mean(low) - mean(kappa))
            - mean(high) * (mean(kappa * high) / mean(high) - mean(kappa))
        )
        p.conclude(
            f"drift_{geometry}",
            f"So the drift per unit eta is M times probability times gap, with a plus at LOW and a minus at HIGH ({geometry}). "
            "M and the probabilities are positive: "
            "clip-low raises entropy if and only if gap_low > 0, clip-high lowers it if and only if gap_high > 0.",
            Cov(kappa, half * low - half * high),
            right,
            "any V",
            name=r"E\,\Delta H/\eta",
        )
    p.equal(
        "At pi = pi_0 every ratio is 1, both sets are empty and the drift is 0: the first minibatch never clips.",
        put(Cov(-l, half * low - half * high), {low: 0, high: 0}),
        0,
        "any V",
        name=r"\Delta H",
    )


def _paper(p: Proof) -> None:
    mu, nu, pk, qk, eta, visits = sp.symbols("mu nu p_k q_k eta d", positive=True)
    mean_q, q_low, q_high = sp.symbols("EQ EQ_X EQ_Y", real=True)
    p.say(
        "Our form of the paper's Theorems 1 and 2, in its symbols and not compared line by line with its print: mu = P(A > 0), "
        "nu = E[A | A > 0], so mu nu = E[A+] = M, Q = -kappa, p_k = pi(LOW), q_k = pi(HIGH), X and Y the clipped sets; the "
        "condition for the slogan is E[Q] >= E[Q|X] and E[Q] >= E[Q|Y]. Theorem 1 (policy gradient) has d(s) beside eta, "
        "Theorem 2 (natural) has not."
    )
    theirs = eta * visits * mu * nu * (pk * (mean_q - q_low) - qk * (mean_q - q_high))
    ours = eta * visits * mu * nu * (pk * (-q_low - -mean_q) - qk * (-q_high - -mean_q))
    p.equal("That form and T6 are the same expression, term by term.", theirs, ours, "symbolic", name=r"\Delta H")


def _counterexample(p: Proof) -> None:
    p.say(
        "The condition can fail. V = 2, pi_0 = (1/2, 1/2), pi = (3/4, 1/4), widths .2/.2: the ratios are 3/2 and 1/2, so HIGH "
        "is the common action and LOW the rare one."
    )
    policy = Softmax(2)
    probs = dict(zip(policy.x, (sp.Integer(3), sp.Integer(1)), strict=True))
    values = {pi: policy.probs, l: policy.log_probs, low: [0, 1], high: [1, 0]}
    for geometry, kappa in kappas().items():
        drift = {side: at_size(Cov(kappa, mark), 2, values).subs(probs) for side, mark in (("low", low), ("high", high))}
        p.positive(
            f"Clip-low raises entropy here ({geometry}, per unit eta M).",
            sp.logcombine(sp.expand_log(drift["low"]), force=True),
            "instance",
            name=r"\mathrm{Cov}(\kappa, 1_{LOW})",
        )
        p.positive(
            f"And clip-high raises it as well, against the slogan ({geometry}): gap_high is negative.",
            sp.logcombine(sp.expand_log(-drift["high"]), force=True),
            "instance",
            name=r"-\mathrm{Cov}(\kappa, 1_{HIGH})",
        )
