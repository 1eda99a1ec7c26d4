"""T1: gradient and Hessian of entropy in the logits."""

from __future__ import annotations

import sympy as sp

from theory.explicit import Softmax
from theory.proof import Proof
from theory.sums import Action, Cov, H, Mu, S, along, at_size, l, mean, pi, pick, put, slope

CLAIM = "T1"
TITLE = "Gradient and Hessian of entropy in the logits"
ASSUMES = ("pi = softmax(theta) with finite logits, so every probability is positive", "natural logarithm")


def prove(p: Proof) -> None:
    u, v, d = Action("u"), Action("v"), Action("d")
    theta, t = Action("theta"), sp.Symbol("t", real=True)

    p.say("Move the logits along any direction, theta + t d. With log pi = theta - log Z and Z = sum_a exp(theta_a):")
    z = S(sp.exp(theta + t * d))
    tilted = sp.diff(sp.log(z), t).subs(t, 0)
    p.equal(
        "The rate of log Z is the mean of d under pi = exp(theta)/Z, so log pi changes by d - E d and pi by pi (d - E d). This "
        "is "
        "the only property of the softmax that the proofs use.",
        tilted,
        S(sp.exp(theta) * d) / S(sp.exp(theta)),
        "any V",
        name=r"\left.\tfrac{d}{dt} \log Z\right|_0",
    )
    p.equal("Probabilities stay normalised.", along(mean(1), d), 0, "any V", name=r"\tfrac{d}{dt} \sum_a \pi_a")

    rate = along(H, d)
    gradient = p.conclude(
        "gradient",
        "Leibniz's rule on H = -sum pi l. What multiplies d_a is the gradient; the derivative of the logarithm drops out because "
        "probabilities sum to 1.",
        slope(rate, d),
        pi * (-l - H),
        "any V",
        name=r"\partial H/\partial \theta_a",
    )
    p.equal(
        "The gradient is orthogonal to a common shift of all logits.",
        S(gradient),
        0,
        "any V",
        name=r"\textstyle\sum_a \partial_a H",
    )

    second = along(along(H, u), v)
    diagonal = -pi * (l + H + 1)
    # sum_ab u_a v_b pi_a pi_b (l_a + l_b + 2H + 1), written as products of sums over a and over b
    outer = mean(l * u) * mean(v) + mean(u) * mean(l * v) + (2 * H + 1) * mean(u) * mean(v)
    p.equal(
        "Differentiate once more, along v. The sums with u_a v_a are the diagonal part -pi_a (l_a + H + 1), the products of a "
        "sum in u and a sum in "
        "v the rest, pi_a pi_b (l_a + l_b + 2H + 1).",
        second,
        S(diagonal * u * v) + outer,
        "any V",
        name=r"u^\top \nabla^2 H\, v",
    )
    p.conclude(
        "form",
        "The same form in joint central moments, mu(f, g, ...) = E[(f - E f)(g - E g) ...], which lose nothing to cancellation.",
        second,
        -Mu(l, u, v) - Mu(u, v),
        "any V",
        name=r"u^\top \nabla^2 H\, v",
    )
    p.conclude(
        "product",
        "What multiplies u_a is the product of the Hessian with v.",
        slope(second, u),
        -pi * ((v - mean(v)) * (l + H + 1) - Cov(l, v)),
        "any V",
        name=r"(\nabla^2 H\, v)_a",
    )
    unit, x = Action("e"), l + H
    p.conclude(
        "diagonal",
        "At u = v = e_a every sum with u or v has one term: the diagonal.",
        pick(put(second, {u: unit, v: unit}), unit),
        -pi * (x + 1 - pi * (2 * x + 1)),
        "any V",
        name=r"\partial^2 H/\partial \theta_a^2",
    )

    for number in (2, 3):
        policy = Softmax(number)
        values = {pi: policy.probs, l: policy.log_probs}
        for a in range(number):
            p.equal(
                f"Independent check, V = {number}: sympy differentiates the softmax itself by logit {a + 1}.",
                policy.derivative(policy.entropy, a),
                at_size(gradient, number, values).xreplace(policy.at(a)),
                "fixed V",
                name=rf"\partial H/\partial \theta_{a + 1}",
            )
    policy = Softmax(3)
    for a, b in ((0, 0), (0, 1), (2, 1)):
        ends = {u: [int(i == a) for i in range(3)], v: [int(i == b) for i in range(3)]}
        p.equal(
            f"Independent check of the Hessian, V = 3, entry ({a + 1}, {b + 1}).",
            policy.derivative(policy.derivative(policy.entropy, a), b),
            at_size(second, 3, {pi: policy.probs, l: policy.log_probs} | ends),
            "fixed V",
            name=rf"\partial^2 H/\partial \theta_{a + 1} \partial \theta_{b + 1}",
        )
