"""T8: expected curvature of one minibatch update, samples independent or in groups."""

from __future__ import annotations

import sympy as sp

from theory.expected_drift import r
from theory.proof import Proof
from theory.sums import Action, Cov, H, Mu, S, along, l, mean, pi, pick, put, slope

CLAIM = "T8"
TITLE = "Expected curvature of one minibatch update"
ASSUMES = (
    "samples drawn from pi_0 and not used before in this rollout",
    "second order in the step; third order is the ledger's remainder, bounded by T3",
    "q_a = E[(c/r)^2 | a], g the mean and S the second moment of one sample's step, C = E[g_i g_j'] for two samples of one group",
)


def form(u: sp.Expr, v: sp.Expr) -> sp.Expr:
    """u' Hess(H) v of T1."""
    return -Mu(l, u, v) - Mu(u, v)


def prove(p: Proof) -> None:
    _counts(p)
    _traces(p)
    _groups(p)
    _visits(p)
    _variance(p)


def _counts(p: Proof) -> None:
    u, v, w = Action("u"), Action("v"), Action("w")
    eta, b, g, n = sp.symbols("eta B G N", positive=True)
    tr, tr_c, quad = sp.symbols("T_S T_C Q", real=True)
    p.equal(
        "The Hessian form is bilinear, so half of d' Hess d for d = (eta/B) sum_i x_i is a double sum over samples.",
        form(u + v, w),
        form(u, w) + form(v, w),
        "any V",
        name=r"(u+v)^\top \nabla^2 H\, w",
    )
    scale = eta**2 / 2
    p.define("Abbreviate T_S = tr(Hess S), T_C = tr(Hess C), Q = g' Hess g.", "T_S", sp.Symbol(r"\mathrm{tr}(\nabla^2 H\, S)"))
    p.conclude(
        "independent",
        "Independent samples: B pairs i = j have mean T_S, B (B - 1) pairs i != j have Q.",
        scale / b**2 * (b * tr + b * (b - 1) * quad),
        scale * (tr / b + (1 - 1 / b) * quad),
        "symbolic",
        name=r"E\,\tfrac12 d^\top \nabla^2 H\, d",
    )
    grouped = scale / b**2 * (b * tr + b * (g - 1) * tr_c + b * (b - g) * quad)
    p.equal(
        "Whole groups of G: each sample has G - 1 partners in its group and B - G samples elsewhere.",
        grouped,
        scale * (tr / b + (g - 1) / b * tr_c + (1 - g / b) * quad),
        "symbolic",
        name=r"E\,\tfrac12 d^\top \nabla^2 H\, d",
    )
    c = sp.Symbol("c", real=True)
    general = scale * (tr / b + (1 - 1 / b) * (c * tr_c + (1 - c) * quad))
    p.equal(
        "One form for all: c is the probability that two samples of the minibatch share a group. Whole groups: c = (G - 1)/(B - "
        "1).",
        general.subs(c, (g - 1) / (b - 1)),
        grouped,
        "symbolic",
        name=r"E\,\tfrac12 d^\top \nabla^2 H\, d",
    )
    p.equal(
        "A minibatch drawn at random from the N samples of the rollout: of the N (N - 1) ordered pairs N (G - 1) share a group.",
        n * (g - 1) / (n * (n - 1)),
        (g - 1) / (n - 1),
        "symbolic",
        name="c",
    )
    p.equal(
        "If the minibatch is the rollout the two agree.", ((g - 1) / (n - 1)).subs(n, b), (g - 1) / (b - 1), "symbolic", name="c"
    )
    p.formulas["general"] = general


def _traces(p: Proof) -> None:
    u, e, q = Action("u"), Action("e"), Action("q")
    square = along(along(H, u), u)
    x = l + H
    natural = pick(put(square, {u: e / pi}), e)
    p.conclude(
        "trace_natural",
        "Natural step, one sample: c e_a/pi_a with a from pi_0 = pi/r and E[c^2|a] = r^2 q. The factor pi_a of the Hessian "
        "cancels the 1/pi_a: rare actions stay finite.",
        S((pi / r) * (r**2 * q) * natural),
        -S(r * q * (x + 1 - pi * (2 * x + 1))),
        "any V",
        name="T_S",
    )
    euclidean = pick(put(square, {u: e - pi}), e)
    diagonal = -pi * (x + 1 - pi * (2 * x + 1))
    by_probs = -pi * ((pi - mean(pi)) * (x + 1) - Cov(l, pi))
    p.equal("(Hess pi)_a by T1's product formula.", slope(form(u, pi), u), by_probs, "any V", name=r"(\nabla^2 H\, \pi)_a")
    p.conclude(
        "trace_euclidean",
        "Euclidean step, one sample: c (e_a - pi).",
        S((pi / r) * (r**2 * q) * euclidean),
        S(pi * r * q * (diagonal - 2 * by_probs + mean(by_probs))),
        "any V",
        name="T_S",
    )


def _groups(p: Proof) -> None:
    u, v = Action("u_+"), Action("u_-")
    pp, mm, pm = sp.symbols("pp mm pm", nonnegative=True)
    gp_i, gm_i, gp_j, gm_j = sp.symbols("g_+i g_-i g_+j g_-j", real=True)
    a, b, c, d = sp.symbols("A_+i A_-i A_+j A_-j", real=True)
    product = sp.expand((a * gp_i - b * gm_i) * (c * gp_j - d * gm_j))
    expected = product.subs({a * c: pp, b * d: mm, a * d: pm, b * c: pm})
    general = pp * gp_i * gp_j + mm * gm_i * gm_j - pm * (gp_i * gm_j + gm_i * gp_j)
    p.equal(
        "Two samples of a group, c/r = A+ g_+ - A- g_-: the mean of the product of their weights.",
        expected,
        general,
        "symbolic",
        name=r"E[w_i w_j]",
    )
    states = {"band": (1, 1), "HIGH": (0, 1), "LOW": (1, 0)}
    table = {
        ("band", "band"): pp + mm - 2 * pm,
        ("band", "HIGH"): mm - pm,
        ("band", "LOW"): pp - pm,
        ("HIGH", "HIGH"): mm,
        ("HIGH", "LOW"): -pm,
        ("LOW", "LOW"): pp,
    }
    for (s, t), entry in table.items():
        values = dict(zip((gp_i, gm_i, gp_j, gm_j), (*states[s], *states[t]), strict=True))
        p.conclude(
            f"K_{s}_{t}",
            f"For the clip, states {s} and {t}: A+ passes unless HIGH, A- unless LOW.",
            general.subs(values),
            entry,
            "symbolic",
            name=rf"K(\mathrm{{{s}}}, \mathrm{{{t}}})",
        )
    p.equal(
        "Summed over both actions, with u_+ and u_- the mean steps of the gains g_+ and g_-: three forms are enough, whatever "
        "the objective.",
        pp * form(u, u) + mm * form(v, v) - pm * (form(u, v) + form(v, u)),
        pp * form(u, u) + mm * form(v, v) - 2 * pm * form(u, v),
        "any V",
        name="T_C",
    )
    constant = sp.Symbol("k", real=True)
    p.equal(
        "Without clipping, and rewards that ignore the action, u_+ = u_- is the mean step of a constant weight. Natural: a "
        "common shift, on which the form vanishes.",
        form(constant, v),
        0,
        "any V",
        name=r"1^\top \nabla^2 H\, v",
    )
    p.equal(
        "Euclidean: that step itself is 0. So C contributes nothing.",
        pi * (constant - mean(constant)),
        0,
        "any V",
        name=r"E[k (e_a - \pi)]",
    )


def _visits(p: Proof) -> None:
    d, eta, b = sp.symbols("d eta B", positive=True)
    tr, quad = sp.symbols("T_S Q", real=True)
    p.say(
        "Contexts visited at random: a sample reaches this context with probability d, and its step is 0 otherwise. So g -> d "
        "g, S -> d S, C -> d^2 C."
    )
    p.equal(
        "Euclidean steps.",
        p.formulas["independent"].subs({tr: d * tr, quad: d**2 * quad}, simultaneous=True),
        eta**2 / 2 * (d * tr / b + (1 - 1 / b) * d**2 * quad),
        "symbolic",
        name=r"E\,\tfrac12 d^\top \nabla^2 H\, d",
    )
    p.equal(
        "A natural step with the state-weighted Fisher matrix is divided by d.",
        p.formulas["independent"].subs({tr: d * tr / d**2, quad: d**2 * quad / d**2}, simultaneous=True),
        eta**2 / 2 * (tr / (d * b) + (1 - 1 / b) * quad),
        "symbolic",
        name=r"E\,\tfrac12 d^\top \nabla^2 H\, d",
    )


def _variance(p: Proof) -> None:
    d, e, q = Action("d"), Action("e"), Action("q")
    t = sp.Symbol("t", real=True)
    divergence = sp.log(S(pi * sp.exp(t * d))) - t * mean(d)
    p.equal(
        "The KL divergence of a step, KL(pi || pi_t) = log E exp(t d) - t E d, starts at second order with half the variance of "
        "the step.",
        sp.diff(divergence, t, 2).subs(t, 0),
        Mu(d, d),
        "any V",
        name=r"\tfrac{d^2}{dt^2} KL|_0",
    )
    variance = Mu(d, d)
    natural = pick(put(variance, {d: e / pi}), e)
    p.conclude(
        "variance_natural",
        "Its mean over one sample, natural.",
        S((pi / r) * (r**2 * q) * natural),
        S(r * q * (1 - pi)),
        "any V",
        name=r"E\,\mathrm{Var}_\pi(x)",
    )
    euclidean = pick(put(variance, {d: e - pi}), e)
    right = S(pi * r * q * (pi - 2 * pi**2 + S(pi**3) - (pi - S(pi**2)) ** 2))
    p.conclude(
        "variance_euclidean", "Euclidean.", S((pi / r) * (r**2 * q) * euclidean), right, "any V", name=r"E\,\mathrm{Var}_\pi(x)"
    )
