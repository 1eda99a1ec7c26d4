"""T7, Gaussian rewards: closed forms for every group size."""

from __future__ import annotations

import sympy as sp

from theory.proof import Proof
from theory.sums import Action, S, size

CLAIM = "T7"
TITLE = "Group-relative advantages of Gaussian rewards"
ASSUMES = (
    "rewards N(mean, sd^2), independent",
    "the direction of a Gaussian vector is independent of its length: so A/s is independent of s",
)


def prove(p: Proof) -> None:
    g = sp.Symbol("G", integer=True, positive=True)
    sd, x = sp.Symbol("sd", positive=True), sp.Symbol("x", positive=True)
    variance = sd**2 * (g - 1) / g
    p.equal(
        "Unscaled: A = R - mean of the group is Gaussian; its variance is that of (1 - 1/G) R_1 - (sum of the others)/G.",
        sd**2 * ((1 - 1 / g) ** 2 + (g - 1) / g**2),
        variance,
        "any G",
        name="m_2",
    )
    unit = sp.integrate(x * sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi), (x, 0, sp.oo))
    p.equal(
        "The mean of the positive half of a standard normal variable.", unit, 1 / sp.sqrt(2 * sp.pi), "symbolic", name=r"E[X^+]"
    )
    mean_none = p.conclude(
        "mean_none_gaussian", "Hence", sp.sqrt(variance) * unit, sd * sp.sqrt((g - 1) / (2 * sp.pi * g)), "any G", name="M"
    )

    half = sp.Symbol("n", positive=True)  # degrees of freedom
    density = 2 ** (1 - half / 2) * x ** (half - 1) * sp.exp(-(x**2) / 2) / sp.gamma(half / 2)
    chi = sp.integrate(x * density, (x, 0, sp.oo), conds="none")
    p.equal(
        "The mean length of a Gaussian vector with n = G - 1 degrees of freedom (chi law).",
        chi,
        sp.sqrt(2) * sp.gamma((half + 1) / 2) / sp.gamma(half / 2),
        "symbolic",
        name=r"E[\chi_n]",
    )
    length = sd * chi.subs(half, g - 1) / sp.sqrt(g)
    p.conclude(
        "mean_std",
        "Scaled, ddof 0: s = sd chi_{G-1}/sqrt G is independent of A/s, so M(unscaled) = M(scaled) E[s].",
        mean_none / length,
        sp.sqrt(g - 1) * sp.gamma((g - 1) / 2) / (2 * sp.sqrt(sp.pi) * sp.gamma(g / 2)),
        "any G",
        name="M",
    )
    reward = Action("R")
    centred = reward - S(reward) / size
    p.equal(
        "The squares of scaled advantages add up to G within each group (S sums over its members), so m2 = 1; ddof 1 multiplies "
        "A by sqrt((G - 1)/G), as for any law.",
        S(centred**2) / (S(centred**2) / size),
        size,
        "any G",
        name=r"\textstyle\sum_i A_i^2",
    )

    angle, turn = sp.symbols("alpha phi", real=True)
    rho = sp.cos(angle)
    both = sp.integrate(sp.cos(turn) * sp.cos(turn - angle), (turn, angle - sp.pi / 2, sp.pi / 2))
    radius = sp.integrate(x**2 * x * sp.exp(-(x**2) / 2), (x, 0, sp.oo))
    p.say(
        "Two members are jointly Gaussian with correlation rho = -1/(G - 1). Write them as R cos(phi), R cos(phi - alpha) with "
        "cos(alpha) = rho, phi uniform on the circle and "
        "R^2 of mean 2; both are positive for phi between alpha - pi/2 and pi/2."
    )
    p.equal("The mean of R^2.", radius, 2, "symbolic", name=r"E[R^2]")
    p.conclude(
        "same",
        "So E[X+ Y+] per unit variance, with sin(alpha) = sqrt(1 - rho^2) and alpha = acos(rho):",
        radius * both / (2 * sp.pi),
        (sp.sin(angle) + rho * (sp.pi - angle)) / (2 * sp.pi),
        "symbolic",
        name=r"E[X^+ Y^+]",
    )
    p.conclude(
        "opposite",
        "E[X+ Y-] is E[X+ Y+] at -rho, where alpha becomes pi - alpha.",
        (radius * both / (2 * sp.pi)).subs(angle, sp.pi - angle),
        (sp.sin(angle) - rho * angle) / (2 * sp.pi),
        "symbolic",
        name=r"E[X^+ Y^-]",
    )
    p.equal(
        "2 E[X+ Y+] - 2 E[X+ Y-] is the covariance, rho.",
        2 * p.formulas["same"] - 2 * p.formulas["opposite"],
        rho,
        "symbolic",
        name=r"E[X Y]",
    )
    p.say(
        "Scaled advantages have the same law up to the length, which is common to the group: the pair moments are these times m2."
    )
