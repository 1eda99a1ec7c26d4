"""T4: the gradient of the clipped surrogate min(r A, clip(r, 1 - eps_low, 1 + eps_high) A)."""

from __future__ import annotations

import sympy as sp

from theory.proof import Proof

CLAIM = "T4"
TITLE = "Gradient of the clipped surrogate"
ASSUMES = (
    "0 <= eps_low <= 1, eps_high >= 0",
    "a ratio exactly on a bound counts as not clipped: there the surrogate has a kink",
)


def prove(p: Proof) -> None:
    rho = sp.Symbol("rho", real=True)  # log r
    size, slack = sp.symbols("|A| delta", positive=True)
    low, high = sp.Symbol("epsilon_low", nonnegative=True), sp.Symbol("epsilon_high", nonnegative=True)
    r = sp.Symbol("r", positive=True)

    p.equal(
        "The derivative of the ratio in log pi is the ratio itself (pi_0 is fixed), so r A has gradient r A grad log pi: c = r "
        "A.",
        sp.diff(sp.exp(rho) * size, rho),
        sp.exp(rho) * size,
        "symbolic",
        name=r"\partial (r A)/\partial \log\pi",
    )
    p.say(
        "Six cases: the sign of A, and r below, inside or above the band. delta > 0 is the distance from the bound. First A = "
        "|A| > 0."
    )
    p.positive(
        "Above: the clipped branch is smaller than r A, so the minimum is (1 + eps_high) |A|, which does not depend on r: c = 0 "
        "(HIGH).",
        sp.expand((1 + high + slack) * size - (1 + high) * size),
        name=r"rA - (1+\varepsilon_{high})A",
    )
    p.positive(
        "Below: r A is smaller than (1 - eps_low) |A|, so the minimum is r A: c = r A.",
        sp.expand((1 - low) * size - (1 - low - slack) * size),
        name=r"(1-\varepsilon_{low})A - rA",
    )
    p.say("Inside the band both branches are r A. Now A = -|A| < 0.")
    p.positive(
        "Below: the clipped branch is smaller than r A, so the minimum does not depend on r: c = 0 (LOW).",
        sp.expand(-(1 - low - slack) * size + (1 - low) * size),
        name=r"rA - (1-\varepsilon_{low})A",
    )
    p.positive(
        "Above: r A is smaller than the clipped branch: c = r A. A negative advantage is never clipped at the high bound, a "
        "positive one never at the low bound.",
        sp.expand(-(1 + high) * size + (1 + high + slack) * size),
        name=r"(1+\varepsilon_{high})A - rA",
    )

    advantage = sp.Symbol("A", real=True)
    p.say("In one line: c = 0 where A > 0 and r > 1 + eps_high, or A < 0 and r < 1 - eps_low; otherwise c = r A.")
    p.formulas["weight"] = sp.Piecewise(
        (0, (advantage > 0) & (r > 1 + high)), (0, (advantage < 0) & (r < 1 - low)), (r * advantage, True)
    )
    lo, hi = sp.Rational(1, 5), sp.Rational(7, 25)
    surrogate = sp.Min(r * advantage, sp.Max(1 - lo, sp.Min(r, 1 + hi)) * advantage)
    for sign in (1, -1):
        for value, word in ((sp.Rational(1, 2), "below"), (sp.Integer(1), "inside"), (sp.Rational(3, 2), "above")):
            dropped = (sign > 0 and word == "above") or (sign < 0 and word == "below")
            slope = r * sp.diff(surrogate.subs(advantage, sign), r)
            p.equal(
                f"Instance of .2/.28 by differentiating Min and Max themselves: A = {sign}, r = {value} ({word}).",
                slope.subs(r, value).doit(),
                0 if dropped else value * sign,
                "instance",
                name=rf"c({value}, {sign})",
            )
            p.equal(
                "The one line says the same.",
                p.formulas["weight"].subs({advantage: sign, low: lo, high: hi, r: value}),
                slope.subs(r, value).doit(),
                "instance",
                name=rf"c({value}, {sign})",
            )
