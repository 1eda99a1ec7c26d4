"""T9: what sampling alone does to entropy, on-policy, unclipped, under a random reward."""

from __future__ import annotations

import sympy as sp

from theory.curvature import form
from theory.expected_drift import r
from theory.proof import Proof
from theory.sums import Action, H, S, along, at_size, l, pi, pick, put, size

CLAIM = "T9"
TITLE = "Entropy drift from sampling noise alone"
ASSUMES = ("T8 with pi = pi_0 (r = 1), no clipping, a random reward of second moment m_2", "second order in the step")


def prove(p: Proof) -> None:
    u, e, q = Action("u"), Action("e"), Action("q")
    m2 = sp.Symbol("m_2", positive=True)
    square = along(along(H, u), u)
    p.equal(
        "The mean step is 0: E[A] = 0 for every action. So Q = 0, and by T8 the groups contribute nothing either.",
        form(sp.Integer(0), u),
        0,
        "any V",
        name="Q",
    )

    one = {"natural": pick(put(square, {u: e / pi}), e), "euclidean": pick(put(square, {u: e - pi}), e)}
    trace = {g: put(S((pi / r) * (r**2 * q) * x), {r: 1, q: m2}) for g, x in one.items()}
    natural = S(-l) - size * H - (size - 1)
    p.conclude(
        "natural",
        "Natural: tr(Hess S)/m_2. The drift is eta^2 m_2/(2B) times this.",
        trace["natural"] / m2,
        natural,
        "any V",
        name=r"T_S/m_2",
    )
    c = {k: S(pi**k * (l + H)) for k in (2, 3)}
    power = {k: S(pi**k) for k in (2, 3)}
    euclidean = -c[2] * (1 + 2 * power[2]) + 3 * c[3] + 2 * power[3] - power[2] - power[2] ** 2
    p.conclude(
        "euclidean",
        "Euclidean, with c_k = sum pi^k (l + H) and P_k = sum pi^k.",
        trace["euclidean"] / m2,
        euclidean,
        "any V",
        name=r"T_S/m_2",
    )

    x = sp.Symbol("x", positive=True)
    for number in (2, 3, 4):
        flat = {pi: [sp.Rational(1, number)] * number, l: [-sp.log(number)] * number}
        p.equal(
            f"At the uniform policy, V = {number}, natural noise lowers entropy by V - 1 units.",
            at_size(natural, number, flat),
            1 - number,
            "fixed V",
            name=r"T_S/m_2",
        )
    peaked = {pi: [1 - x, x], l: [sp.log(1 - x), sp.log(x)]}
    p.equal(
        "At a peaked policy (V = 2, probabilities 1 - x and x, x to 0) it raises entropy without bound: the sign depends on the "
        "policy.",
        sp.limit(1 / at_size(natural, 2, peaked), x, 0, "+"),
        0,
        "fixed V",
        name=r"\lim\, m_2/T_S",
    )
    p.positive(
        "Positive already at x = 1/1000.", at_size(natural, 2, peaked).subs(x, sp.Rational(1, 1000)), "instance", name=r"T_S/m_2"
    )
