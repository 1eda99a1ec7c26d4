"""T13: the chain rule for shared parameters, and the split by cause under an adaptive optimiser."""

from __future__ import annotations

import sympy as sp

from theory.explicit import Softmax
from theory.proof import Proof
from theory.sums import Action, Cov, H, Mu, S, l, pi

CLAIM = "T13"
TITLE = "Shared parameters and adaptive optimisers"
ASSUMES = (
    "logits are differentiable functions of the parameters, twice for the second order",
    "Adam: the preconditioner of the step that was taken is held fixed; momentum is a line of its own",
)


def prove(p: Proof) -> None:
    _chain_rule(p)
    _second_order(p)
    _model(p)
    _adam(p)


def _chain_rule(p: Proof) -> None:
    j1, j2 = Action("J_1"), Action("J_2")
    x1, x2 = sp.symbols("delta_1 delta_2", real=True)
    gradient = pi * (-l - H)
    p.equal(
        "Column J_k holds the derivatives of the logits of one context in parameter k. The parameter gradient of its entropy "
        "against a parameter step is the covariance of surprisal with the logit "
        "step d = sum_k J_k delta_k (two parameters shown; each further one adds a term of the same form, since both sides are "
        "linear).",
        S(gradient * j1) * x1 + S(gradient * j2) * x2,
        Cov(-l, j1 * x1 + j2 * x2),
        "any V",
        name=r"\langle \nabla_x H, \delta \rangle",
    )
    c1, c2 = sp.symbols("c_1 c_2", real=True)
    p.equal(
        "A step that is a sum over causes has a change that is a sum over causes.",
        Cov(-l, j1 * (c1 + c2)),
        Cov(-l, j1 * c1) + Cov(-l, j1 * c2),
        "any V",
        name=r"\Delta H",
    )


def _second_order(p: Proof) -> None:
    d, bend = Action("d"), Action("d_2")
    t = sp.Symbol("t", real=True)
    move = t * d + t**2 / 2 * bend
    tilted = pi * sp.exp(t * d) * sp.exp(t**2 / 2 * bend)
    z = S(tilted)
    entropy = sp.log(z) - (S(tilted * l) + t * S(tilted * d) + t**2 / 2 * S(tilted * bend)) / z
    p.define("Along a straight line in parameters the logits move on a curve, t d + t^2/2 d_2 + ...", r"\theta(t) - \theta", move)
    p.equal(
        "Second derivative: T3's curvature along d, and a first-order term for the bend of the logits.",
        sp.diff(entropy, t, 2).subs(t, 0),
        -Mu(l, d, d) - Mu(d, d) + Cov(-l, bend),
        "any V",
        name=r"H''",
    )
    p.equal("To first order only d counts.", sp.diff(entropy, t).subs(t, 0), Cov(-l, d), "any V", name=r"H'")


def _model(p: Proof) -> None:
    weight, bias, h1, h2 = sp.symbols("w b h_1 h_2", real=True)
    for name, hidden in (("first", h1), ("second", h2)):
        logits = [weight * hidden, sp.tanh(bias) * hidden, weight * bias]
        policy = Softmax(3)
        at = dict(zip(policy.x, map(sp.exp, logits), strict=True))
        direct = sp.diff(policy.entropy.subs(at), weight)
        chained = sp.Add(*(policy.derivative(policy.entropy, a).subs(at) * sp.diff(logits[a], weight) for a in range(3)))
        point = {weight: sp.Rational(1, 3), bias: sp.Rational(1, 2), h1: 1, h2: -2}
        p.equal(
            f"Independent check: a model with two shared parameters, V = 3, its {name} context; sympy differentiates through "
            "the model.",
            sp.nsimplify((direct - chained).subs(point).evalf(40), rational=True, tolerance=sp.Rational(1, 10**30)),
            0,
            "instance",
            name=r"\partial_w H - \langle \nabla_\theta H, \partial_w \theta \rangle",
        )


def _adam(p: Proof) -> None:
    beta, rate, decay, x, momentum = sp.symbols("beta_1 eta lambda x m", real=True)
    scale = sp.Symbol("D", positive=True)  # bias corrections over sqrt(v) + eps, of the step that was taken
    g1, g2, g3 = sp.symbols("g_un g_low g_high", real=True)
    total = rate * scale * (beta * momentum + (1 - beta) * (g1 + g2 + g3)) - rate * decay * x
    lines = [rate * scale * beta * momentum, *(rate * scale * (1 - beta) * g for g in (g1, g2, g3)), -rate * decay * x]
    p.equal(
        "With D, the inverse root of the second moment, held fixed, an AdamW step is linear: momentum, one line per cause, "
        "weight decay.",
        total,
        sp.Add(*lines),
        "symbolic",
        name=r"\delta",
    )
    one, two = sp.symbols("a b", positive=True)
    p.positive(
        "Without that convention there is no split: the step of a sum is not the sum of the steps. At the first step, "
        "bias-corrected and with eps = 0, each part a, b > 0 alone would make a step of size 1, and "
        "together they make one of size 1, not 2.",
        one / sp.sqrt(one**2) + two / sp.sqrt(two**2) - (one + two) / sp.sqrt((one + two) ** 2),
        name=r"\hat a + \hat b - \widehat{a + b}",
    )
