"""T14: under a random reward only the difference of the gains for A > 0 and A < 0 moves entropy; what it says of each member."""

from __future__ import annotations

import sympy as sp

from theory.expected_drift import high, kappas, low, m_minus, m_plus, one_sample
from theory.proof import Proof
from theory.sums import Action, Cov, H, Mu, l, pi, put

CLAIM = "T14"
TITLE = "The difference of the gains"
ASSUMES = (
    "T5 with the weights c/r = A+ g_+ - A- g_- + x_+ 1{A > 0} + x_- 1{A < 0}, each a function of the two policies",
    "a random reward where M stands alone: M+ = M- = M and chances P_+, P_- of either sign that ignore the action (T6)",
)

g_plus, g_minus = Action("g_+"), Action("g_-")
x_plus, x_minus = Action("x_+"), Action("x_-")
half = sp.Symbol("M", positive=True)
share_plus, share_minus = sp.symbols("P_+ P_-", nonnegative=True)


def prove(p: Proof) -> None:
    _rule(p)
    _classes(p)
    _sides(p)
    _on_policy(p)
    _penalties(p)
    _one_sided(p)
    _discriminator(p)


def _rule(p: Proof) -> None:
    chance_plus, chance_minus = Action("P_+"), Action("P_-")
    gradient = pi * (-l - H)
    w = m_plus * g_plus - m_minus * g_minus + chance_plus * x_plus + chance_minus * x_minus
    p.say("The mean of c/r given the action takes A+ and A- to their means M+ and M-, and the signs of A to their chances P.")
    for geometry, kappa in kappas().items():
        p.equal(
            f"T5 with this weight, for any reward ({geometry}).",
            one_sample(geometry, w, gradient),
            Cov(kappa, w),
            "any V",
            name=r"\Delta H/\eta",
        )
        random = w.subs({m_plus: half, m_minus: half, chance_plus: share_plus, chance_minus: share_minus})
        p.conclude(
            f"drift_{geometry}",
            f"A random reward leaves the difference of the gains, and the extra weights ({geometry}).",
            Cov(kappa, random),
            half * Cov(kappa, g_plus - g_minus) + share_plus * Cov(kappa, x_plus) + share_minus * Cov(kappa, x_minus),
            "any V",
            name=r"\Delta H/\eta",
        )


def _classes(p: Proof) -> None:
    kappa, g, k = Action("kappa"), Action("g"), sp.Symbol("k", real=True)
    rule = half * Cov(kappa, g_plus - g_minus)
    p.equal(
        "Equal gains: exactly no drift of its own, at any ratio. No clip (g = 1), REINFORCE (g = 1/r), truncated weights (g = "
        "min(r, cap)/r), CISPO in its three meanings (g = clip(r)/r, min(r, cap)/r, and 1 within the bounds, 0 beyond), SAPO "
        "with equal temperatures, ABC-GRPO with four equal widths, and any factor that both signs share (ERC, the 80/20 mask).",
        put(rule, {g_plus: g, g_minus: g}),
        0,
        "any V",
        name=r"\Delta H/\eta",
    )
    p.equal(
        "A factor f that both signs share multiplies what it finds; over gains that are equal it finds nothing.",
        put(rule, {g_plus: Action("f") * g, g_minus: Action("f") * g}),
        0,
        "any V",
        name=r"\Delta H/\eta",
    )
    p.equal(
        "Gains that differ by a constant: none either. Before a clip acts these are positive-advantage weights and W-REINFORCE.",
        put(rule, {g_plus: g + k, g_minus: g}),
        0,
        "any V",
        name=r"\Delta H/\eta",
    )
    at_one = Action("1_{r=1}")
    p.equal(
        "Gains that differ only where r is not 1, g_+ - g_- = (1 - 1_{r=1}) g: none on the first minibatch of a rollout, where "
        "every ratio is 1. PPO, dual clip, CE-GPPO, SAPO, DPPO, RIPO, Flexible, BAPO and GSPO are of this kind.",
        put(put(rule, {g_plus: (1 - at_one) * g, g_minus: 0}), {at_one: 1}),
        0,
        "any V",
        name=r"\Delta H/\eta|_{r=1}",
    )


def _sides(p: Proof) -> None:
    kappa, cap, r = Action("kappa"), Action("1_{cap}"), Action("r", positive=True)
    eps, beta, slack = sp.symbols("epsilon_low beta_1 delta", positive=True)
    p.conclude(
        "dual_clip",
        "Dual clip: its cap acts on A < 0 beyond r > cap, inside HIGH. There g_+ = g_- = 0: it takes back what clip-high did, "
        "exactly, and leaves the band between.",
        half * Cov(kappa, (1 - high) - (1 - low - cap)),
        half * Cov(kappa, low) - half * Cov(kappa, high - cap),
        "any V",
        name=r"\Delta H/\eta",
    )
    p.equal(
        "A cap at the high bound cancels clip-high whole.",
        put(half * Cov(kappa, (1 - high) - (1 - low - cap)), {cap: high}),
        half * Cov(kappa, low),
        "any V",
        name=r"\Delta H/\eta|_{cap = 1 + \varepsilon_{high}}",
    )
    bounded = beta * (1 - eps) / r
    edge = beta * (1 - eps)
    p.conclude(
        "ce_gppo_low",
        "CE-GPPO on LOW keeps g_- = beta_1 (1 - eps_low)/r beside g_+ = 1. Their difference is that of r and an edge.",
        1 - bounded,
        (r - edge) / r,
        "symbolic",
        name=r"g_+ - g_-",
    )
    inside, width = sp.symbols("rho delta", positive=True)
    above = ((r - edge) / r).subs({r: inside + width, eps: 1 - inside / beta})
    p.positive(
        "It keeps clip-low's sign above the edge r = beta_1 (1 - eps_low) ...",
        sp.simplify(above),
        name=r"(g_+ - g_-)|_{r > edge}",
    )
    below = ((r - edge) / r).subs({r: inside, eps: 1 - (inside + width) / beta})
    p.positive("... and turns it below.", sp.simplify(-below), name=r"-(g_+ - g_-)|_{r < edge}")
    gppo = ((r - edge) / r).subs({beta: 1, eps: 1 - inside - slack, r: inside})
    p.positive(
        "GPPO has beta_1 = 1: the edge is the bound itself, so that all of LOW lies below it, and its low side is reversed "
        "everywhere.",
        sp.simplify(-gppo),
        name=r"-(g_+ - g_-)|_{\beta_1 = 1}",
    )


def _on_policy(p: Proof) -> None:
    zeta, alpha = sp.symbols("zeta alpha", positive=True)
    frequent = Action("1_F")
    p.conclude(
        "repo_r",
        "Some drift already at r = 1. REPO-R has g_+ = 1 + zeta s and g_- = 1 - zeta s: on-policy and natural, the variance of "
        "surprisal, an entropy bonus in disguise.",
        put(half * Cov(-l, g_plus - g_minus), {g_plus: 1 + zeta * -l, g_minus: 1 - zeta * -l}),
        2 * zeta * half * Mu(l, l),
        "any V",
        name=r"\Delta H/\eta|_{r=1}",
    )
    square, first = sp.symbols("s_1 pi_1", positive=True)
    p.nonnegative(
        "A variance is a mean of squares: up for zeta > 0, whatever the policy (the mean is taken term by term; one term).",
        2 * zeta * half * first * square**2,
        name=r"\Delta H/\eta",
    )
    for geometry, kappa in kappas().items():
        p.conclude(
            f"entropic_{geometry}",
            f"EntroPIC has g_+ = 1 + alpha and g_- = 1 - alpha on the set F of frequent actions ({geometry}).",
            put(half * Cov(kappa, g_plus - g_minus), {g_plus: 1 + alpha * frequent, g_minus: 1 - alpha * frequent}),
            2 * alpha * half * Cov(kappa, frequent),
            "any V",
            name=r"\Delta H/\eta|_{r=1}",
        )
    chance, rare = sp.symbols("pi_F pi_R", positive=True)
    top, more, less = sp.symbols("t x y", positive=True)
    p.equal(
        "With F frequent, pi(F) = 1 - pi_R, and means of s at most t on F and at least t elsewhere, the covariance is the "
        "product of both probabilities and the difference of the means.",
        (chance * (top - less) - chance * (chance * (top - less) + rare * (top + more))).subs(rare, 1 - chance),
        (-chance * rare * (more + less)).subs(rare, 1 - chance),
        "symbolic",
        name=r"\mathrm{Cov}(s, 1_F)",
    )
    p.positive(
        "So alpha > 0 lowers entropy in the natural geometry.", chance * rare * (more + less), name=r"-\mathrm{Cov}(s, 1_F)"
    )


def _penalties(p: Proof) -> None:
    kappa, sign, s, k = Action("kappa"), Action("sign"), Action("s_0"), sp.Symbol("beta", positive=True)
    extra = share_plus * Cov(kappa, x_plus) + share_minus * Cov(kappa, x_minus)
    p.conclude(
        "penalty",
        "A penalty that ignores the sign of A has x_+ = x_- = x: it drifts by Cov(kappa, x) times the chance that A is not 0. "
        "KL-Cov has x = -beta sign(log r) on the actions that it picks.",
        put(extra, {x_plus: -k * sign, x_minus: -k * sign}),
        -k * (share_plus + share_minus) * Cov(kappa, sign),
        "any V",
        name=r"\Delta H/\eta",
    )
    p.equal(
        "At r = 1 the sign is 0: KL-Cov does nothing on the first minibatch.",
        put(put(extra, {x_plus: -k * sign, x_minus: -k * sign}), {sign: 0}),
        0,
        "any V",
        name=r"\Delta H/\eta|_{r=1}",
    )
    p.equal(
        "A weight that is minus the log-probability itself, x = beta s (a sampled entropy bonus; CDE's premium on the side of "
        "A > 0 "
        "alone), drifts at r = 1.",
        put(extra, {x_plus: k * s, x_minus: k * s}),
        k * (share_plus + share_minus) * Cov(kappa, s),
        "any V",
        name=r"\Delta H/\eta",
    )


def _one_sided(p: Proof) -> None:
    kappa = Action("kappa")
    w = m_plus * (1 - high) - m_minus * (1 - low)
    p.equal(
        "QAE takes 0 as the baseline of a hard prompt, so that A >= 0 there: M- = 0, and only clip-high can act ...",
        put(Cov(kappa, w), {m_minus: 0, m_plus: half}),
        -half * Cov(kappa, high),
        "any V",
        name=r"\Delta H/\eta|_{M^- = 0}",
    )
    p.equal(
        "... and 1 of an easy one, so that A <= 0: only clip-low can.",
        put(Cov(kappa, w), {m_plus: 0, m_minus: half}),
        half * Cov(kappa, low),
        "any V",
        name=r"\Delta H/\eta|_{M^+ = 0}",
    )


def _discriminator(p: Proof) -> None:
    x, entropy = sp.Symbol("p", positive=True), sp.Symbol("H", positive=True)
    value = x * (sp.log(x) + entropy)
    least = sp.exp(-1 - entropy)
    p.equal(
        "Clip_B drops A < 0 where S = p (H + log p) is far below its mean. S has one stationary point in p, ...",
        sp.diff(value, x),
        sp.log(x) + 1 + entropy,
        "symbolic",
        name=r"dS/dp",
    )
    p.equal(r"... p = exp(-1 - H), ...", sp.diff(value, x).subs(x, least), 0, "symbolic", name=r"dS/dp|_{p = e^{-1-H}}")
    p.positive("... where S is smallest, being convex.", sp.diff(value, x, 2), name=r"d^2S/dp^2")
    p.conclude(
        "clip_b",
        "So S is never below this value, and S < mean - mu sd can hold only where mu sd - mean < exp(-1 - H).",
        sp.expand_log(value.subs(x, least), force=True),
        -least,
        "symbolic",
        name=r"\min_p S",
    )
