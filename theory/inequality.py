"""T6, the paper's inequality characterised: which noise of the log-ratios makes the gaps positive."""

from __future__ import annotations

import sympy as sp

from theory.proof import Proof
from theory.sums import Action, Cov, at_size, l, mean, pi

CLAIM = "T6"
TITLE = "When the paper's inequality holds"
ASSUMES = (
    "log r_a = sigma(pi0_a) xi_a; sigma and the clip widths go to 0 together, and gaps are taken to leading order",
    "xi_a independent with one common law, symmetric about 0",
    "averages over xi: a single table scatters around them",
)


def prove(p: Proof) -> None:
    _association(p)
    _laws(p)
    _extreme(p)
    _selection(p)


def _association(p: Proof) -> None:
    f, g = Action("f"), Action("g")
    for number in (2, 3, 4):
        x, y, q = (sp.symbols(f"{name}1:{number + 1}", real=True) for name in "fgp")
        pairs = sp.Add(*(q[a] * q[b] * (x[a] - x[b]) * (y[a] - y[b]) for a in range(number) for b in range(number))) / 2
        # mean(1) = 1 is built into S(pi), so the explicit probabilities must be normalised
        last = {q[-1]: 1 - sp.Add(*q[:-1])}
        p.equal(
            f"Chebyshev's identity, V = {number}: a covariance is a sum over pairs.",
            at_size(Cov(f, g), number, {pi: list(q), f: list(x), g: list(y)}).subs(last), pairs.subs(last), "fixed V",
            name=r"\mathrm{Cov}_\pi(f, g)",
        )  # fmt: skip
    p.equal(
        "For every V: multiply out half the double sum of pi_a pi_b (f_a - f_b)(g_a - g_b); each of its four products is a product of sums. If f and g are ordered the same way every pair "
        "is >= 0, and so is the covariance; if they are ordered oppositely it is <= 0.",
        (mean(f * g) * mean(1) - mean(f) * mean(g) - mean(g) * mean(f) + mean(1) * mean(f * g)) / 2, Cov(f, g), "any V",
        name=r"\tfrac12 \sum_{ab} \pi_a \pi_b (f_a - f_b)(g_a - g_b)",
    )  # fmt: skip


def _laws(p: Proof) -> None:
    q, sigma, c, unit = sp.symbols("pi sigma c varsigma", positive=True)
    tail = sp.Function("T", real=True)  # P(xi > x), non-increasing
    fall = sp.Symbol("f", positive=True)  # the density of xi, -T'
    x = sp.Symbol("x", positive=True)
    slope = sp.diff(tail(c / sigma), sigma).doit()
    slope = slope.replace(lambda e: isinstance(e, sp.Subs), lambda e: -fall)
    p.positive(
        "Action a is in HIGH with probability h = T(c/sigma_a), c = log(1 + eps_high), T the upper tail of xi with density f: h increases with sigma_a. (LOW: the same with c = -log(1 - eps_low).)",
        slope, name=r"\partial h/\partial \sigma",
    )  # fmt: skip
    p.say("Averaged over xi, the mass pi(X) gap_X is Cov_pi(kappa, h) to leading order. (For a uniform policy it is 0 and the selection term below decides.) Natural geometry: kappa = -log pi decreases in pi:")
    p.positive("the entropy value falls with the probability.", -sp.diff(-sp.log(q), q), name=r"-\partial s/\partial \pi")
    for name, power, word in (
        ("inv_sqrt", -sp.Rational(1, 2), "Noise like pi^-1/2 (natural steps on a table) falls with pi, so h and kappa are ordered the same way: both gaps are >= 0 for EVERY policy, "
         "and the paper's inequality holds."),
        ("sqrt", sp.Rational(1, 2), "Noise like pi^1/2 (euclidean steps on a table) grows with pi, so h and s are ordered oppositely: both gaps of the surprisal are <= 0 for every policy."),
    ):  # fmt: skip
        derivative = sp.diff(unit * q**power, q)
        p.positive(word, derivative if name == "sqrt" else -derivative, name=r"\pm\partial \sigma/\partial \pi")
    p.equal(
        "Flat noise: h is the same for all actions and the covariance is 0 at leading order; what decides is the selection term below.",
        Cov(-l, x), 0, "any V", name=r"\mathrm{Cov}_\pi(s, h)",
    )  # fmt: skip
    h0 = sp.Symbol("H", positive=True)
    w = sp.Symbol("w", positive=True)
    value = sp.diff(q * (-sp.log(q) - h0), q)
    p.positive("Euclidean geometry: kappa = pi (s - H) increases in pi where s > H + 1 (log pi = -H - 1 - w) ...",
               sp.expand(sp.expand_log(value.subs(q, sp.exp(-h0 - 1 - w)))), name=r"\partial \kappa/\partial \pi")  # fmt: skip
    p.positive(
        "... and decreases where s < H + 1 (log pi = -H - 1 + w): it is not monotone, so no ordering of the noise alone fixes the sign. The experiment sign_map measures it.",
        -sp.expand(sp.expand_log(value.subs(q, sp.exp(-h0 - 1 + w)))), name=r"-\partial \kappa/\partial \pi",
    )  # fmt: skip


def _extreme(p: Proof) -> None:
    q, gap, w = sp.symbols("q g w", positive=True)
    p.say(
        "If only the most probable action, of probability q, reaches a bound, the gap there is <= 0 in both geometries and for every policy. It has the least surprisal, so "
        "s = H - g with g >= 0: natural kappa is the smallest there. Euclidean kappa = pi (s - H) as well: for an action of probability q' <= q with s' - H = -g', 0 <= g' <= g, "
        "kappa' = -q' g' >= -q g, and one with s' > H has kappa' > 0."
    )
    less, share = sp.symbols("u v", nonnegative=True)
    p.nonnegative("The first case, with q = q' + u, g = g' + v.", sp.expand((q + less) * (gap + share) - q * gap), name=r"q g - q' g'")
    p.positive("The second case.", q * w + q * gap, name=r"\kappa' - \kappa")


def _selection(p: Proof) -> None:
    ell, x = Action("ell"), Action("1_X")
    prior = l - ell  # log pi_0
    p.equal(
        "Natural geometry, exactly and for every perturbation: s = s_0 - ell with ell = log r. A gap is that of the old surprisal less that of the log-ratio itself.",
        Cov(-l, x), Cov(-prior, x) - Cov(ell, x), "any V", name=r"\mathrm{Cov}_\pi(s, 1_X)",
    )  # fmt: skip
    p.say(
        "HIGH is where ell is largest, so the indicator increases with ell and Chebyshev gives Cov(ell, 1_HIGH) >= 0; on LOW it is <= 0. Hence this selection term always speaks FOR the paper's sign at the "
        "low bound and AGAINST it at the high bound: being clipped high means having become common. With flat noise it decides: gap_low > 0 and gap_high < 0."
    )
    c = sp.Symbol("c", real=True)
    inside, outside = sp.symbols("delta_1 delta_2", positive=True)
    p.positive(
        "One pair of that sum, an action in HIGH (ell = c + delta_1) and one outside (ell = c - delta_2), c = log(1 + eps_high).",
        sp.expand(((c + inside) - (c - outside)) * (1 - 0)), name=r"(\ell_a - \ell_b)(1_a - 1_b)",
    )  # fmt: skip
