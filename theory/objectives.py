"""T10: every token-level surrogate is a weight on grad log pi; the published family, its limits and its symmetries."""

from __future__ import annotations

import sympy as sp

from theory.expected_drift import high, low, m_minus, m_plus, one_sample, r
from theory.proof import Proof
from theory.sums import Action, Cov, H, l, pi, put

CLAIM = "T10"
TITLE = "Other token-level objectives as weights"
ASSUMES = (
    "T5 with w(a) = E[c(r, A)|a]/r(a)",
    "weights positively homogeneous in A: c = r (A+ g_plus - A- g_minus)",
    "ratios of single tokens",
)


def prove(p: Proof) -> None:
    half = sp.Symbol("M", positive=True)
    g_plus, g_minus = Action("g_+"), Action("g_-")
    gradient = pi * (-l - H)
    w = m_plus * g_plus - m_minus * g_minus
    p.equal(
        "T5 holds with any gains: nothing in its proof used what the weight is.",
        one_sample("natural", w, gradient),
        Cov(-l, w),
        "any V",
        name=r"\Delta H/\eta",
    )
    p.say(
        "Below, w under a random reward (M+ = M- = M, T6). Each follows from the derivative of the published surrogate in log pi."
    )
    random = w.subs({m_plus: half, m_minus: half})
    _hard(p, half, g_plus, g_minus, random)
    _bounded(p, half, g_plus, g_minus, random)
    _soft(p, half)
    _limits(p, half)


def _hard(p: Proof, half: sp.Symbol, g_plus: Action, g_minus: Action, random: sp.Expr) -> None:
    cap = Action("1_{cap}")
    p.conclude(
        "clip",
        "Clip (T4): g_plus = 1 off HIGH, g_minus = 1 off LOW.",
        random.subs({g_plus: 1 - high, g_minus: 1 - low}),
        half * low - half * high,
        "symbolic",
        name="w_{clip}",
    )
    size, c, slack = sp.symbols("|A| c delta", positive=True)
    p.positive(
        "Dual clip takes max(clipped surrogate, cap A) for A < 0; at r = cap + delta the second is larger and constant in r: "
        "the gradient vanishes beyond the cap.",
        sp.expand(-c * size + (c + slack) * size),
        name=r"cap\,A - rA",
    )
    p.conclude(
        "dual_clip",
        "So g_minus is also 0 there: a third piece, booked as `other`.",
        random.subs({g_plus: 1 - high, g_minus: 1 - low - cap}),
        half * low - half * high + half * cap,
        "symbolic",
        name="w_{dual}",
    )
    p.equal(
        "DPPO-TV drops the same signs on other sets, LOW = {pi - pi_0 < -delta}, HIGH = {pi - pi_0 > delta}, both at the "
        "current probabilities: the weight has the form of the clip's.",
        random.subs({g_plus: 1 - high, g_minus: 1 - low}),
        half * (low - high),
        "symbolic",
        name="w_{TV}",
    )


def _bounded(p: Proof, half: sp.Symbol, g_plus: Action, g_minus: Action, random: sp.Expr) -> None:
    bounded = Action("rbar", positive=True)
    p.conclude(
        "cispo",
        "CISPO detaches the bounded ratio: c = clip(r) A, so both gains are clip(r)/r, and under a random reward they cancel: "
        "no first-order drift, whatever the widths.",
        random.subs({g_plus: bounded / r, g_minus: bounded / r}),
        0,
        "symbolic",
        name="w_{CISPO}",
    )
    eps_low, eps_high, b1, b2 = sp.symbols("epsilon_low epsilon_high beta_1 beta_2", positive=True)
    up = 1 - high + high * b2 * (1 + eps_high) / r
    down = 1 - low + low * b1 * (1 - eps_low) / r
    right = half * (1 - b1 * (1 - eps_low) / r) * low - half * (1 - b2 * (1 + eps_high) / r) * high
    p.conclude(
        "ce_gppo",
        "CE-GPPO keeps a bounded gradient, beta_1 (1 - eps_low) A below and beta_2 (1 + eps_high) A above.",
        random.subs({g_plus: up, g_minus: down}),
        right,
        "symbolic",
        name="w_{CE}",
    )
    slack = sp.Symbol("delta", positive=True)
    inside = sp.Symbol("rho", positive=True)
    factor = (1 - b1 * (1 - eps_low) / r).subs({b1: 1, eps_low: 1 - inside - slack, r: inside})
    p.positive(
        "With beta_1 = 1 the factor on LOW, r = 1 - eps_low - delta, is negative: where gap_low > 0 its low side LOWERS "
        "entropy, unlike the clip's.",
        sp.simplify(-factor),
        name=r"(1-\varepsilon_{low})/r - 1",
    )
    top = (1 - b2 * (1 + eps_high) / r).subs({b2: 1, eps_high: inside - 1 - slack, r: inside})
    p.positive(
        "With beta_2 = 1 the factor on HIGH, r = 1 + eps_high + delta, keeps the clip's sign.",
        sp.simplify(top),
        name=r"1 - (1+\varepsilon_{high})/r",
    )


def _soft(p: Proof, half: sp.Symbol) -> None:
    x, tau, t1, t2 = sp.symbols("r tau tau_p tau_n", positive=True)
    gate = 4 / tau / (1 + sp.exp(-tau * (x - 1)))
    square = (1 / sp.cosh(tau * (x - 1) / 2) ** 2).rewrite(sp.exp)
    p.equal(
        "SAPO's surrogate is f(r) A with f = (4/tau) sigmoid(tau (r - 1)); its gain is f'(r).",
        sp.diff(gate, x),
        square,
        "symbolic",
        name=r"f'(r)",
    )
    g = lambda t: 1 / sp.cosh(t * (x - 1) / 2) ** 2  # noqa: E731
    weight = half * g(t1) - half * g(t2)
    p.conclude("sapo", "So w is the difference of the two gates.", weight, half * (g(t1) - g(t2)), "symbolic", name=r"w_{SAPO}")
    p.equal(
        "It vanishes for equal tau: a symmetric soft gate has no first-order drift under a random reward.",
        weight.subs(t2, t1),
        0,
        "symbolic",
        name=r"w_{SAPO}|_{\tau_p = \tau_n}",
    )


def _limits(p: Proof, half: sp.Symbol) -> None:
    eps = sp.Symbol("epsilon", positive=True)
    rho = sp.Symbol("rho", positive=True)
    kappa, up = Action("kappa"), Action("1_{r>1}")
    p.say(
        "Limits of the clip. With eps_low = 1 the set LOW = {r < 0} is empty; with eps_high to infinity r <= 1 + eps_high in "
        "the end for every r:"
    )
    p.positive(
        "any finite ratio is inside once eps_high = r.", (1 + eps - rho).subs(eps, rho), name=r"1 + \varepsilon_{high} - r"
    )
    p.equal(
        "So wide clips do nothing.",
        put(Cov(kappa, half * low - half * high), {low: 0, high: 0}),
        0,
        "any V",
        name=r"\lim_{\varepsilon \to \infty}",
    )
    p.equal(
        "With both widths 0 every ratio other than 1 is in a set, LOW = 1 - HIGH, and the two sides have the same sign of "
        "drift: -2 M Cov(kappa, 1{r > 1}).",
        put(Cov(kappa, half * low - half * high), {low: 1 - up, high: up}),
        -2 * half * Cov(kappa, up),
        "any V",
        name=r"\lim_{\varepsilon \to 0}",
    )
    p.equal(
        "Mirror symmetry: A -> -A exchanges A+ and A-. The unclipped term changes sign ...",
        put(Cov(kappa, m_plus - m_minus), {m_plus: m_minus, m_minus: m_plus}),
        -Cov(kappa, m_plus - m_minus),
        "any V",
        name=r"\text{unclipped}(-A)",
    )
    clip = m_minus * low - m_plus * high
    mirrored = clip.subs({m_plus: m_minus, m_minus: m_plus}, simultaneous=True)
    p.equal(
        "... while under a random reward, M+ = M-, the clip terms stay: the mean over a run and its mirror image keeps them and "
        "cancels the unclipped walk. That is what antithetic pairs use.",
        Cov(kappa, mirrored.subs({m_plus: half, m_minus: half})),
        Cov(kappa, clip.subs({m_plus: half, m_minus: half})),
        "any V",
        name=r"\text{clip}(-A)",
    )
