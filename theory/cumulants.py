"""T3, first half: derivatives of every order along a step, by joint cumulants under pi."""

from __future__ import annotations

import sympy as sp

from theory.proof import Proof
from theory.sums import Action, Cov, H, Mu, S, along, l, mean, pi

CLAIM = "T3"
TITLE = "Derivatives of every order by joint cumulants"
ASSUMES = ("T1", "any step d with finite entries: the moment generating function then exists for every t")


def joint_cumulant(order: int, d: Action, *, with_l: bool) -> sp.Expr:
    """kappa_order(d, ..., d), or kappa_order(l, d, ..., d), from moments, order by order.

    M(t) = E exp(t d) and phi = log M: the coefficients of M' = phi' M give the first, those of E[l exp(t d)] = psi M the second.
    """
    found: list[sp.Expr] = []
    for n in range(order):
        rest = sp.Add(*(sp.binomial(n, k) * value * mean(d ** (n - k)) for k, value in enumerate(found)))
        found.append(sp.expand((mean(l * d**n) if with_l else mean(d ** (n + 1))) - rest))
    return found[-1]


def prove(p: Proof) -> None:
    d = Action("d")
    t, u = sp.symbols("t u", real=True)
    n = sp.Symbol("n", integer=True, positive=True)

    p.say(
        "Generating functions under pi: with a step of length t, pi_t = pi exp(t d)/Z and l_t = l + t d - log Z, Z = E[exp(t d)]."
    )
    z = S(pi * sp.exp(t * d))
    phi = sp.log(z)
    psi = sp.diff(sp.log(S(pi * sp.exp(u * l + t * d))), u).subs(u, 0)
    p.define("phi generates the cumulants of d: phi(t) = sum_n kappa_n(d, ..., d) t^n / n!.", r"\phi(t)", sp.Symbol(r"\log Z"))
    p.equal(
        "psi, the derivative in u of the joint generating function log E[exp(u l + t d)] at u = 0, generates the joint "
        "cumulants with "
        "one l: psi(t) = sum_n kappa_{n+1}(l, d, ..., d) t^n / n!.",
        psi,
        S(pi * l * sp.exp(t * d)) / z,
        "any V",
        name=r"\psi(t)",
    )
    tilted = pi * sp.exp(t * d)
    entropy_t = -(S(tilted * l) + t * S(tilted * d) - phi * S(tilted)) / z
    p.equal(
        "The entropy of pi_t in these functions, for every t and V.",
        entropy_t,
        -psi - t * sp.diff(phi, t) + phi,
        "any V",
        name=r"H(t)",
    )
    k = sp.Symbol(r"\kappa_n")
    term = k * t**n / sp.factorial(n)
    p.equal(
        "The general term: t phi' - phi multiplies the n-th cumulant of d by n - 1. With the n-th term of psi this gives "
        "H^(n) = -kappa_{n+1}(l, d, ..., d) - (n - 1) kappa_n(d, ..., d) for every n >= 1.",
        t * sp.diff(term, t) - term,
        (n - 1) * term,
        "symbolic",
        name=r"t \tfrac{d}{dt} - 1 \text{ on } \kappa_n t^n/n!",
    )

    derivative = H
    for order in range(1, 7):
        derivative = along(derivative, d)
        right = -joint_cumulant(order + 1, d, with_l=True) - (order - 1) * joint_cumulant(order, d, with_l=False)
        p.equal(
            f"Independent check of order {order}: Leibniz's rule {order} times on H, against cumulants expanded in moments.",
            derivative,
            right,
            "any V",
            name=rf"H^{{({order})}}",
        )

    p.conclude("first", "Order 1 is T2.", along(H, d), -Mu(l, d), "any V", name=r"H'")
    p.conclude(
        "second",
        "Order 2 in joint central moments mu: -kappa_3(l, d, d) - Var(d).",
        along(along(H, d), d),
        -Mu(l, d, d) - Mu(d, d),
        "any V",
        name=r"H''",
    )
    p.conclude(
        "third",
        "Order 3: -kappa_4(l, d, d, d) - 2 kappa_3(d, d, d), where kappa_4 = mu(l, d, d, d) - 3 mu(l, d) Var(d).",
        along(along(along(H, d), d), d),
        -(Mu(l, d, d, d) - 3 * Mu(l, d) * Mu(d, d)) - 2 * Mu(d, d, d),
        "any V",
        name=r"H^{(3)}",
    )
    p.conclude("variance", "The variance is the covariance with itself.", Mu(d, d), Cov(d, d), "any V", name=r"\mathrm{Var}(d)")
