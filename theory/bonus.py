"""T15: a deterministic step beside the sampled one: a first-order cause of its own, and what it adds to second order."""

from __future__ import annotations

import sympy as sp

from theory.curvature import form
from theory.expected_drift import kappas, one_sample
from theory.proof import Proof
from theory.sums import Action, Cov, H, Mu, S, along, l, mean, normal, pi, put, slope

CLAIM = "T15"
TITLE = "A bonus: a deterministic step beside the sampled one"
ASSUMES = (
    "the step of an update is eta (sampled step + b), b the same whatever is drawn",
    "b = w in the natural geometry and pi (w - E w) in the euclidean one: for the entropy w = beta s, for the KL penalty w = "
    "-beta "
    "(log pi - log pi_ref)",
    "second order in the step, as T8",
)


def prove(p: Proof) -> None:
    _first(p)
    _second(p)


def _first(p: Proof) -> None:
    w, d, beta, ref = Action("w"), Action("d"), sp.Symbol("beta", real=True), Action("l_{ref}")
    gradient = pi * (-l - H)
    for geometry, kappa in kappas().items():
        step = w if geometry == "natural" else pi * (w - mean(w))
        p.conclude(
            f"first_{geometry}",
            f"First order: <grad H, b> is again a covariance with kappa ({geometry}); no sampling, so no noise.",
            S(gradient * step),
            Cov(kappa, w),
            "any V",
            name=r"\langle \nabla H, b \rangle",
        )
        p.equal(
            f"It is the drift of weights w of samples: a bonus moves the mean as a sampled penalty of the same weight would "
            f"({geometry}).",
            S(gradient * step),
            one_sample(geometry, w, gradient),
            "any V",
            name=r"\langle \nabla H, b \rangle",
        )
    p.equal(
        "The entropy's own gradient is the euclidean step of w = s.",
        slope(along(H, d), d),
        pi * (-l - mean(-l)),
        "any V",
        name=r"(\nabla H)_a",
    )
    divergence = mean(l - ref)
    p.equal(
        "The gradient of KL(pi || pi_ref) = E_pi[log pi - log pi_ref] is the euclidean step of w = log pi - log pi_ref: a "
        "penalty "
        "has minus beta times it.",
        slope(along(divergence, d), d),
        pi * ((l - ref) - mean(l - ref)),
        "any V",
        name=r"(\nabla KL)_a",
    )
    p.conclude(
        "entropy_natural",
        "An entropy bonus raises entropy to first order by beta times the variance of surprisal (natural) ...",
        put(Cov(-l, w), {w: beta * -l}),
        beta * Mu(l, l),
        "any V",
        name=r"\langle \nabla H, b \rangle",
    )
    p.conclude(
        "entropy_euclidean",
        "... or by beta times the squared length of the gradient (euclidean).",
        put(Cov(pi * (-l - H), w), {w: beta * -l}),
        beta * S(gradient**2),
        "any V",
        name=r"\langle \nabla H, b \rangle",
    )
    p.equal(
        "A KL penalty at pi = pi_ref does nothing to first order.",
        put(Cov(-l, -beta * (l - ref)), {ref: l}),
        0,
        "any V",
        name=r"\langle \nabla H, b \rangle|_{\pi = \pi_{ref}}",
    )


def _second(p: Proof) -> None:
    d, b = Action("d"), Action("b")
    eta, tr, quad, cross, own, batch = sp.symbols("eta T_S Q X Y B", real=True)
    p.equal(
        "Second order: the form of T1 is bilinear and symmetric, so the step d + b has the sampled part's, twice the mixed one "
        "and "
        "the bonus's own.",
        form(d + b, d + b),
        form(d, d) + 2 * form(d, b) + form(b, b),
        "any V",
        name=r"(d+b)^\top \nabla^2 H\, (d+b)",
    )
    p.equal("Symmetric: so the mixed parts are two equal ones.", form(d, b), form(b, d), "any V", name=r"d^\top \nabla^2 H\, b")
    gain, mark = Action("g"), sp.Symbol("k", real=True)
    p.equal(
        "It is linear in d: over the samples its mean is that of their mean step g.",
        normal(form(mark * gain, b)),
        mark * form(gain, b),
        "any V",
        name=r"E[d]^\top \nabla^2 H\, b",
    )
    p.conclude(
        "second",
        "With T8 for the sampled part, X = g' Hess b and Y = b' Hess b: T8 gains 2 X + Y, which no batch size makes smaller.",
        eta**2 / 2 * (tr / batch + (1 - 1 / batch) * quad) + eta**2 / 2 * (2 * cross + own),
        eta**2 / 2 * (tr / batch + (1 - 1 / batch) * quad + 2 * cross + own),
        "symbolic",
        name=r"E\,\tfrac12 d^\top \nabla^2 H\, d",
    )
    p.conclude(
        "form", "The form itself, for the code.", form(d, b), -Mu(l, d, b) - Mu(d, b), "any V", name=r"d^\top \nabla^2 H\, b"
    )
