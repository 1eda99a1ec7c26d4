"""T16: a ratio of the whole sequence (GSPO, GMPO) gives each token its share of one weight; a ceiling on clip shares."""

from __future__ import annotations

import sympy as sp

from theory.expected_drift import kappas, one_sample
from theory.proof import Proof
from theory.sums import Action, Cov, H, l, pi

CLAIM = "T16"
TITLE = "Ratios of whole sequences"
ASSUMES = (
    "a tree of prefixes, each with a softmax of its own; the sequence's advantage is shared by its tokens",
    "sequences drawn from pi_0 and not used before in this rollout",
    "for the ceiling: either sign of A has chance 1/2 whatever the ratios; for the normal share: independent token noise",
)


def prove(p: Proof) -> None:
    _weights(p)
    _drift(p)
    _shares(p)


def _weights(p: Proof) -> None:
    length = sp.Symbol("T", positive=True, integer=True)
    first, rest, advantage = sp.symbols("rho_t rho_other A", real=True)
    gspo = sp.exp((first + rest) / length) * advantage
    p.conclude(
        "gspo",
        "GSPO: the ratio is s = exp(mean of the T log-ratios rho_t). Its derivative in the log-probability of one token is s/T: "
        "every token gets the same share of one weight, whatever its own ratio.",
        sp.diff(gspo, first),
        sp.exp((first + rest) / length) * advantage / length,
        "symbolic",
        name=r"\partial (s A)/\partial \log\pi_t",
    )
    slope, inside = sp.Symbol("c_t", real=True), sp.Symbol("1_{in}", real=True)
    clamped = sp.Function("clamp")
    gmpo = sp.exp((clamped(first) + rest) / length) * advantage
    p.conclude(
        "gmpo",
        "GMPO clamps each log-ratio first: tokens beyond the bound (on the side that the sign of A gates) have no gradient, the "
        "others the same share. c_t is the clamped log-ratio, whose derivative is 1 inside and 0 beyond.",
        sp.diff(gmpo, first).subs(sp.Derivative(clamped(first), first), inside).subs(clamped(first), slope),
        sp.exp((slope + rest) / length) * advantage * inside / length,
        "symbolic",
        name=r"\partial (\rho A)/\partial \log\pi_t",
    )
    p.equal(
        "One token is a sequence of length 1: s = r, and PPO's weight r A is back.",
        sp.diff(gspo, first).subs({length: 1, rest: 0}),
        sp.exp(first) * advantage,
        "symbolic",
        name=r"\partial (s A)/\partial \log\pi_t|_{T=1}",
    )


def _drift(p: Proof) -> None:
    w, gradient, visits = Action("w"), pi * (-l - H), sp.Symbol("d_s", positive=True)
    p.say(
        "At one prefix s let r_a w_a be the mean of the token's weight over all sequences of pi_0 that pass s and go on with "
        "a: an "
        "average over what comes before and after, which couples the tokens. A sequence passes s with probability d_s."
    )
    for geometry, kappa in kappas().items():
        share = visits if geometry == "euclidean" else sp.Integer(1)
        p.conclude(
            f"drift_{geometry}",
            f"Then T5 holds at each prefix ({geometry}; a natural step with the state-weighted Fisher matrix divides by d_s).",
            share / visits * visits * one_sample(geometry, w, gradient),
            share * Cov(kappa, w),
            "any V",
            name=r"\Delta H_s/\eta",
        )
    half, gain, kappa = sp.Symbol("M", positive=True), Action("E[s g]"), Action("kappa")
    p.equal(
        "Unclipped, with a reward that ignores the sequence, M+ = M- meets the same mean of s on either side: no drift.",
        Cov(kappa, half * gain - half * gain),
        0,
        "any V",
        name=r"\Delta H_s/\eta",
    )


def _shares(p: Proof) -> None:
    up, down, k = sp.symbols("P(HIGH) P(LOW) K", positive=True)
    slack = sp.Symbol("P(band)", nonnegative=True)
    gated = (up + down) / 2
    p.equal(
        "The share of sequences that a clip acts on: A > 0 on HIGH and A < 0 on LOW, each sign with chance 1/2.",
        up * sp.Rational(1, 2) + down * sp.Rational(1, 2),
        gated,
        "symbolic",
        name=r"\text{share}",
    )
    p.nonnegative(
        "Both sets are disjoint, so that their chances add up to at most 1 and the share to at most 1/2, however narrow the "
        "clip.",
        sp.expand(sp.Rational(1, 2) - gated.subs(up, 1 - down - slack)),
        name=r"\tfrac12 - \text{share}",
    )
    ceiling = p.conclude(
        "ceiling",
        "The first of K minibatches never clips: over a rollout the share is at most this.",
        (0 + (k - 1) * sp.Rational(1, 2)) / k,
        (1 - 1 / k) / 2,
        "symbolic",
        name=r"\text{ceiling}",
    )
    p.equal("Four minibatches.", sp.sympify(ceiling).subs(k, 4), sp.Rational(3, 8), "instance", name=r"\text{ceiling}|_{K=4}")
    length, sigma = sp.symbols("T sigma", positive=True)
    p.equal(
        "A mean of T independent log-ratios of variance sigma^2 has variance sigma^2/T: a width that clips tokens does nothing "
        "to "
        "long sequences, which is why GSPO's widths are a thousandth of PPO's.",
        length * sigma**2 / length**2,
        sigma**2 / length,
        "symbolic",
        name=r"\mathrm{Var}(\log s)",
    )
    low, high, z = sp.Symbol("epsilon_low", positive=True), sp.Symbol("epsilon_high", positive=True), sp.Symbol("z", real=True)
    phi = (1 + sp.erf(z / sp.sqrt(2))) / 2
    p.equal(
        "Normal: the chance beyond z standard deviations on one side is Phi(-z) = 1 - Phi(z).",
        phi.subs(z, -z),
        1 - phi,
        "symbolic",
        name=r"\Phi(-z)",
    )
    scale = sp.sqrt(length) / sigma
    beyond = (phi.subs(z, -scale * sp.log(1 + high)) + phi.subs(z, scale * sp.log(1 - low))) / 2
    p.conclude(
        "normal_share",
        "So with log s normal about 0 half of both tails is clipped.",
        beyond,
        (1 - sp.erf(scale * sp.log(1 + high) / sp.sqrt(2))) / 4 + (1 + sp.erf(scale * sp.log(1 - low) / sp.sqrt(2))) / 4,
        "symbolic",
        name=r"\text{share}",
    )
