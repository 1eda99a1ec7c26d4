"""T12: the defining equation of entropy-neutral clip widths, its slope, and when it has no solution."""

from __future__ import annotations

import sympy as sp

from theory.proof import Proof

CLAIM = "T12"
TITLE = "Entropy-neutral clip widths"
ASSUMES = (
    "one update, random reward (T6), curvature and other terms summed in a constant K",
    "a population: log-ratios have a density, so that masses are smooth in the widths; m(x) is the density of r at x times the "
    "mean of kappa - E[kappa] there",
)


def prove(p: Proof) -> None:
    low, high, x = sp.symbols("epsilon_low epsilon_high x", positive=True)
    half, rest = sp.Symbol("M", positive=True), sp.Symbol("K", real=True)
    mass = sp.Function("m", real=True)
    drift = half * (sp.Integral(mass(x), (x, 0, 1 - low)) - sp.Integral(mass(x), (x, 1 + high, sp.oo))) + rest
    p.define(
        "The drift of one update by T6, its masses written as integrals over the ratio; the neutral curve is F = 0 (or F = a "
        "target).",
        r"F(\varepsilon_{low}, \varepsilon_{high})",
        drift,
    )
    by_low = p.equal(
        "Widening the low bound takes the ratios just above its edge out of LOW ...",
        sp.diff(drift, low).doit(),
        -half * mass(1 - low),
        "symbolic",
        name=r"\partial F/\partial \varepsilon_{low}",
    )
    top = sp.Symbol("X", positive=True)
    finite = half * (sp.Integral(mass(x), (x, 0, 1 - low)) - sp.Integral(mass(x), (x, 1 + high, top))) + rest
    by_high = p.equal(
        "... and widening the high bound takes ratios out of HIGH (upper limit X, any).",
        sp.diff(finite, high).doit(),
        half * mass(1 + high),
        "symbolic",
        name=r"\partial F/\partial \varepsilon_{high}",
    )
    p.conclude(
        "slope",
        "Along the curve dF = 0: the slope is a ratio of edge masses. Where both edges have above-average entropy value it is "
        "positive: a wider high bound asks for a wider low bound.",
        -by_high / by_low,
        mass(1 + high) / mass(1 - low),
        "symbolic",
        name=r"d\varepsilon_{low}/d\varepsilon_{high}",
    )
    edge_low, edge_high = sp.symbols("m_low m_high", positive=True)
    p.positive("That case.", (edge_high / edge_low), name=r"d\varepsilon_{low}/d\varepsilon_{high}")
    p.positive(
        "If m > 0 below 1, F falls strictly as eps_low grows from 0 to 1, so for each eps_high there is at most one neutral "
        "eps_low, and one exists if and only if F(1, eps_high) <= 0 <= F(0, eps_high).",
        -(-half * edge_low),
        name=r"-\partial F/\partial \varepsilon_{low}",
    )
    gain = sp.Symbol("delta", positive=True)
    lowest = sp.Symbol("mu_low", nonnegative=True)
    p.positive(
        "No solution: if F(1, eps_high) = K - M mass_high = delta > 0 and masses on LOW are >= 0, every eps_low gives F >= "
        "delta. This happens from Zipf(1) with the high side off, where noise alone raises entropy (T9).",
        half * lowest + gain,
        name=r"F",
    )
