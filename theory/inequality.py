"""T6, the paper's inequality characterised: which noise of the log-ratios makes the gaps positive."""

from __future__ import annotations

import sympy as sp

from theory.proof import Proof
from theory.sums import Action, Cov, S, at_size, l, mean, pi, pick, put

CLAIM = "T6"
TITLE = "When the paper's inequality holds"
ASSUMES = (
    "log pi_a = log pi0_a + x_a, normalised; x_a independent Gaussian noise of variance v_a, a function of pi0_a",
    "noise and clip widths go to 0 together, and gaps are taken to leading order, where pi may stand for pi_0",
    "averages over the noise: a single table scatters around them",
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
            at_size(Cov(f, g), number, {pi: list(q), f: list(x), g: list(y)}).subs(last),
            pairs.subs(last),
            "fixed V",
            name=r"\mathrm{Cov}_\pi(f, g)",
        )
    p.equal(
        "For every V: multiply out half the double sum of pi_a pi_b (f_a - f_b)(g_a - g_b); each of its four products is a "
        "product of sums. If f and g are ordered the same way every pair "
        "is >= 0, and so is the covariance; if they are ordered oppositely it is <= 0.",
        (mean(f * g) * mean(1) - mean(f) * mean(g) - mean(g) * mean(f) + mean(1) * mean(f * g)) / 2,
        Cov(f, g),
        "any V",
        name=r"\tfrac12 \sum_{ab} \pi_a \pi_b (f_a - f_b)(g_a - g_b)",
    )


def _laws(p: Proof) -> None:
    _tails(p)
    unit, v = Action("delta_a"), Action("v")
    c = sp.Symbol("c", positive=True)
    spread = S(v * (unit - pi) ** 2)
    variance = p.equal(
        "Normalisation takes part: to first order log r_a = x_a - E_pi x for noise x_b of variance v_b. A likely action moves "
        "log Z with "
        "itself, which damps it (sum over b, delta_a is 1 at b = a).",
        pick(spread, unit),
        v * (1 - 2 * pi) + S(pi**2 * v),
        "any V",
        name=r"\sigma_a^2",
    )
    p.say("Natural geometry: kappa = -log pi falls with pi. So what matters is how sigma_a^2 depends on pi_a.")
    q, rest = sp.Symbol("pi", positive=True), sp.Symbol("P", positive=True)
    laws = {"inv_sqrt": c / pi, "flat": c, "sqrt": c * pi}
    slopes = {}
    for name, law in laws.items():
        found = put(variance, {v: law})
        # what is summed over all actions is the same constant for each of them
        one = found.xreplace(dict.fromkeys(found.atoms(S), rest)).xreplace({pi: q})
        slopes[name] = sp.diff(one, q)
    p.positive(
        "Noise like pi^-1/2 (natural steps on a table): sigma^2 = c (1/pi - 1) falls with pi, so h and kappa are ordered the "
        "same way: both "
        "gaps are >= 0 for EVERY policy at this order, and the paper's inequality holds.",
        -slopes["inv_sqrt"],
        name=r"-\partial \sigma^2/\partial \pi",
    )
    p.positive(
        "Flat noise: sigma^2 = c (1 - 2 pi + P_2) falls with pi as well, but only by normalisation. Both gaps are >= 0 at this "
        "order, by "
        "little where all probabilities are small: there the selection term below, of the order of the width, decides.",
        -slopes["flat"],
        name=r"-\partial \sigma^2/\partial \pi",
    )
    below = sp.Symbol("w", positive=True)
    p.positive(
        "Noise like pi^1/2 (euclidean steps on a table): sigma^2 = c (pi - 2 pi^2 + P_3) grows with pi below pi = 1/4 (pi = 1/4 "
        "- w). If no "
        "probability exceeds 1/4, both gaps of the surprisal are <= 0: the inequality is reversed ...",
        sp.expand(slopes["sqrt"].subs(q, sp.Rational(1, 4) - below)),
        name=r"\partial \sigma^2/\partial \pi",
    )
    p.positive(
        "... and it falls above 1/4 (pi = 1/4 + w): one dominant action can turn both gaps positive again.",
        -sp.expand(slopes["sqrt"].subs(q, sp.Rational(1, 4) + below)),
        name=r"-\partial \sigma^2/\partial \pi",
    )
    _euclidean(p)


def _tails(p: Proof) -> None:
    sigma, c = sp.symbols("sigma c", positive=True)
    tail, fall = sp.Function("T", real=True), sp.Symbol("f", positive=True)  # P(xi > x) and the density -T'
    slope = sp.diff(tail(c / sigma), sigma).doit().replace(lambda e: isinstance(e, sp.Subs), lambda e: -fall)
    p.positive(
        "Action a is in HIGH with probability h = T(c/sigma_a), c = log(1 + eps_high), T the upper tail of a standard normal "
        "variable and f its "
        "density: h increases with sigma_a. (LOW: the same with c = -log(1 - eps_low).)",
        slope,
        name=r"\partial h/\partial \sigma",
    )
    p.say(
        "Averaged over the noise, the mass pi(X) gap_X is Cov_pi(kappa, h) to leading order: >= 0 where h falls with pi as the "
        "surprisal does."
    )


def _euclidean(p: Proof) -> None:
    q, h0, w = sp.symbols("pi H w", positive=True)
    value = sp.diff(q * (-sp.log(q) - h0), q)
    for sign, word in (
        (-1, "Euclidean geometry: kappa = pi (s - H) increases in pi where s > H + 1 (log pi = -H - 1 - w) ..."),
        (
            1,
            "... and decreases where s < H + 1 (log pi = -H - 1 + w): it is not monotone, so the ordering of the noise alone "
            "does not fix the sign. "
            "The experiments inequality and sign_map measure it.",
        ),
    ):
        slope = sp.expand(sp.expand_log(value.subs(q, sp.exp(-h0 - 1 + sign * w))))
        p.positive(word, -sign * slope, name=r"\partial \kappa/\partial \pi" if sign < 0 else r"-\partial \kappa/\partial \pi")


def _extreme(p: Proof) -> None:
    q, gap, w = sp.symbols("q g w", positive=True)
    p.say(
        "If only the most probable action, of probability q, reaches a bound, the gap there is <= 0 in both geometries and for "
        "every policy. It has the least surprisal, so "
        "s = H - g with g >= 0: natural kappa is the smallest there. Euclidean kappa = pi (s - H) as well: for an action of "
        "probability q' <= q with s' - H = -g', 0 <= g' <= g, "
        "kappa' = -q' g' >= -q g, and one with s' > H has kappa' > 0."
    )
    less, share = sp.symbols("u v", nonnegative=True)
    p.nonnegative(
        "The first case, with q = q' + u, g = g' + v.", sp.expand((q + less) * (gap + share) - q * gap), name=r"q g - q' g'"
    )
    p.positive("The second case.", q * w + q * gap, name=r"\kappa' - \kappa")


def _selection(p: Proof) -> None:
    ell, x = Action("ell"), Action("1_X")
    prior = l - ell  # log pi_0
    p.equal(
        "Natural geometry, exactly and for every perturbation: s = s_0 - ell with ell = log r. A gap is that of the old "
        "surprisal less that of the log-ratio itself.",
        Cov(-l, x),
        Cov(-prior, x) - Cov(ell, x),
        "any V",
        name=r"\mathrm{Cov}_\pi(s, 1_X)",
    )
    p.say(
        "HIGH is where ell is largest, so the indicator increases with ell and Chebyshev gives Cov(ell, 1_HIGH) >= 0; on LOW it "
        "is <= 0. Hence this selection term always speaks FOR the paper's sign at the "
        "low bound and AGAINST it at the high bound: being clipped high means having become common. With flat noise it decides: "
        "gap_low > 0 and gap_high < 0."
    )
    c = sp.Symbol("c", real=True)
    inside, outside = sp.symbols("delta_1 delta_2", positive=True)
    p.positive(
        "One pair of that sum, an action in HIGH (ell = c + delta_1) and one outside (ell = c - delta_2), c = log(1 + eps_high).",
        sp.expand(((c + inside) - (c - outside)) * (1 - 0)),
        name=r"(\ell_a - \ell_b)(1_a - 1_b)",
    )
