"""T11: the moment identities of the population prediction: mean and variance of one minibatch's move of log r_a."""

from __future__ import annotations

import sympy as sp

from theory.expected_drift import r
from theory.proof import Proof
from theory.sums import Action, H, S, l, mean, pi, pi0, pick, put

CLAIM = "T11"
TITLE = "Moments of one minibatch's move of the log-ratios"
ASSUMES = (
    "first order in the step: d log r_a = d_a - E_pi d, the common shift being fixed by normalisation",
    "samples drawn from pi_0; m_a = E[c/r | a], q_a = E[(c/r)^2 | a]",
    "what the population closure adds (a density of log r per action, Gaussian or counted steps) is not part of this proof",
)


def prove(p: Proof) -> None:
    m, q, e, y = Action("m"), Action("q"), Action("e"), Action("y")
    unit = Action("delta_a")  # 1 at the action whose log-ratio is followed
    b, g = sp.symbols("B G", positive=True)

    p.say(
        "One sample of action b moves log r_a by its step's component a less the step's mean under pi. Sums below run over b, "
        "drawn from pi_0; delta_a is 1 at b = a."
    )
    natural = (unit - pi) / pi0
    p.equal(
        "Natural step e_b/pi_b with weight c = r y: the factor of y.",
        (r * y * (unit / pi - 1)).subs(pi, r * pi0),
        (y * natural).subs(pi, r * pi0),
        "symbolic",
        name="x",
    )
    p2 = S(pi**2)
    pi_a = sp.Symbol("pi_a", positive=True)
    euclidean = r * (unit + p2 - pi_a - pi)
    step = unit - pi_a - (pi - p2)
    p.equal(
        "Euclidean step e_b - pi: its component a is delta_a - pi_a, its mean under pi is pi_b - P2.",
        put(r * y * step, {}),
        put(y * euclidean, {}),
        "any V",
        name="x",
    )
    p.equal("That mean, for b fixed.", pick(mean(e - pi), e), pi - p2, "any V", name=r"E_\pi[e_b - \pi]")

    p.conclude(
        "mean_natural",
        "Mean move per unit eta, natural: m_a up to a common shift.",
        pick(S(pi0 * m * natural), unit),
        m - mean(m),
        "any V",
        name="E x",
    )
    moved = put(S(pi0 * (pi / pi0) * m * (unit + p2 - pi_a - pi)), {})
    shift = S(pi**2 * m) - mean(m) * p2
    p.conclude(
        "mean_euclidean",
        "Euclidean: pi_a (m_a - W) up to a common shift, W = E_pi[m].",
        pick(moved, unit).subs(pi_a, pi),
        pi * (m - mean(m)) - shift,
        "any V",
        name="E x",
    )

    p.conclude(
        "square_natural",
        "Second moment of one sample's move, natural.",
        pick(S(pi0 * q * natural**2), unit),
        q / pi0 * (1 - 2 * pi) + S(q * pi**2 / pi0),
        "any V",
        name=r"E x^2",
    )
    t0, t1, t2 = (S(pi0 * r**2 * q * pi**k) for k in range(3))
    squared = put(S(pi0 * q * euclidean**2), {})
    p.conclude(
        "square_euclidean",
        "Euclidean, with T_k = sum pi_0 r^2 q pi^k.",
        pick(squared, unit).subs(pi_a, pi),
        pi0 * r**2 * q * (1 + 2 * p2 - 4 * pi) + (p2 - pi) ** 2 * t0 - 2 * (p2 - pi) * t1 + t2,
        "any V",
        name=r"E x^2",
    )

    sq, pair, first = sp.symbols("Ex2 Exx Ex", real=True)
    group = (g * sq + g * (g - 1) * pair - g**2 * first**2) * (b / g) / b**2
    p.conclude(
        "variance",
        "A minibatch of B/G whole groups: the variance of a group's sum, divided by B^2. With G = 1 there are no pairs.",
        group,
        (sq + (g - 1) * pair - g * first**2) / b,
        "symbolic",
        name=r"\mathrm{Var}/\eta^2",
    )
    state = Action("1_s")
    p.conclude(
        "u_natural",
        "E[x_i x_j] = sum_st K_st u_s u_t (T8), u_s the mean move of the samples in state s, per unit weight. Natural:",
        pick(S(pi0 * state * natural), unit),
        state - mean(state),
        "any V",
        name="u_s",
    )
    rho = mean(state)
    p.conclude(
        "u_euclidean",
        "Euclidean, with rho_s = E_pi[1_s].",
        pick(put(S(pi0 * (pi / pi0) * state * (unit + p2 - pi_a - pi)), {}), unit).subs(pi_a, pi),
        pi * state + rho * (p2 - pi) - S(pi**2 * state),
        "any V",
        name="u_s",
    )

    ell = Action("ell")
    p.equal(
        "Entropy in these variables: pi_a = pi_0 exp(ell), log pi_a = ell + log pi_0.",
        put(H, {pi: pi0 * sp.exp(ell), l: ell + sp.log(pi0)}),
        -S(pi0 * sp.exp(ell) * (ell + sp.log(pi0))),
        "any V",
        name="H",
    )
    h, z = sp.symbols("h z", positive=True)
    p.equal(
        "A lattice of width h for ell: rounding uniformly within a bin adds this variance per step.",
        sp.integrate(z**2 / h, (z, -h / 2, h / 2)),
        h**2 / 12,
        "symbolic",
        name=r"\mathrm{Var}",
    )
