"""T5: expected first-order drift of one update, split by cause, for any reward."""

from __future__ import annotations

import sympy as sp

from theory.proof import Proof
from theory.sums import Action, Cov, H, S, l, mean, pi, put, slope

CLAIM = "T5"
TITLE = "Expected first-order drift of one update, by cause, for any reward"
ASSUMES = (
    "samples drawn from pi_0 and not used before in this rollout",
    "first order in the step: T3 bounds the rest, T8 gives its mean",
    "the law of the advantage given the action is arbitrary; only its means M+ = E[A+|a] and M- = E[A-|a] enter",
)

r = Action("r", positive=True)  # pi / pi_0
m_plus, m_minus = Action("M^+"), Action("M^-")
low, high = Action("1_L"), Action("1_H")  # indicators of LOW and HIGH


def kappas() -> dict[str, sp.Expr]:
    """The entropy value of an action in both geometries."""
    return {"natural": -l, "euclidean": pi * (-l - H)}


def one_sample(geometry: str, w: sp.Expr, value: sp.Expr) -> sp.Expr:
    """sum_a pi0_a r_a w_a <value, phi_a>: mean over one sample of pi_0 whose weight c on grad log pi has mean r_a w_a.

    phi_a = e_a/pi_a (natural) or e_a - pi (euclidean); pi_0 = pi/r.
    """
    inner = value / pi if geometry == "natural" else value - mean(value)
    return S((pi / r) * (r * w) * inner)


def prove(p: Proof) -> None:
    w, d, b, eta = Action("w"), Action("d"), Action("Abar"), sp.Symbol("eta", positive=True)
    gradient = pi * (-l - H)

    p.say(
        "Natural step. The expected euclidean step of weights w is g_a = pi_a (w_a - E w), and the Fisher matrix is F = "
        "diag(pi) - pi pi'."
    )
    fisher = slope(S(pi * w * d) - mean(w) * mean(d), d)
    p.equal(
        "F w = g: so w solves F d = g, uniquely up to a common shift, which is the null space of F and moves no probability. "
        "Hence F^+ g is w up to a shift.",
        fisher,
        pi * (w - mean(w)),
        "any V",
        name=r"(F w)_a",
    )
    p.equal(
        "Its one-sample form: a drawn from pi_0 with mean weight r_a w_a, step c e_a/pi_a. Its mean is w exactly.",
        slope(one_sample("natural", w, d), d),
        w,
        "any V",
        name=r"E[c\, e_a/\pi_a]",
    )
    p.equal(
        "And the euclidean one-sample step c (e_a - pi) has mean g.",
        slope(one_sample("euclidean", w, d), d),
        pi * (w - mean(w)),
        "any V",
        name=r"E[c\,(e_a - \pi)]",
    )
    for geometry, kappa in kappas().items():
        p.conclude(
            f"drift_{geometry}",
            f"First-order entropy change per unit eta, {geometry}: T1's gradient against the mean step is a covariance with "
            "kappa.",
            one_sample(geometry, w, gradient),
            Cov(kappa, w),
            "any V",
            name=r"\langle \nabla H, E d \rangle/\eta",
        )

    split = b + m_minus * low - m_plus * high
    p.equal(
        "The weight by cause. T4 keeps A+ outside HIGH and A- outside LOW; with Abar = M+ - M- the mean of c/r is the unclipped "
        "weight, plus what clipping at LOW "
        "removes, less what clipping at HIGH removes.",
        m_plus * (1 - high) - m_minus * (1 - low),
        split.subs(b, m_plus - m_minus),
        "symbolic",
        name="w",
    )
    for geometry, kappa in kappas().items():
        parts = Cov(kappa, b), Cov(kappa, m_minus * low), Cov(kappa, m_plus * high)
        p.equal(
            f"The covariance is linear, so each cause has its own term ({geometry}).",
            eta * Cov(kappa, split),
            eta * (parts[0] + parts[1] - parts[2]),
            "any V",
            name=r"E\,\Delta H",
        )
        for cause, term in zip(("unclipped", "clip_low", "clip_high"), (parts[0], parts[1], -parts[2]), strict=True):
            p.formulas[f"{cause}_{geometry}"] = put(term, {b: m_plus - m_minus})

    advantage = Action("A")
    p.equal(
        "Without clipping and with the natural step this is the covariance law of Cui et al.: -eta Cov(log pi, A).",
        one_sample("natural", advantage, gradient),
        -Cov(l, advantage),
        "any V",
        name=r"\Delta H/\eta",
    )
    visits = sp.Symbol("d_s", positive=True)
    p.equal(
        "Several contexts: the objective weights context s by d_s, so its euclidean step carries d_s ...",
        one_sample("euclidean", visits * w, gradient),
        visits * Cov(kappas()["euclidean"], w),
        "any V",
        name=r"\Delta H_s/\eta",
    )
    p.equal(
        "... and a Fisher matrix weighted by d_s as well solves (d_s F) d = d_s g: the weight cancels.",
        visits * pi * (w - mean(w)),
        visits * fisher,
        "any V",
        name=r"d_s g",
    )
