"""T3, second half: bounds on what the first and second order leave out, for every step and every policy."""

from __future__ import annotations

import sympy as sp

from theory.proof import Proof
from theory.sums import Action, Cov, H, Mu, along, l, mean, size

CLAIM = "T3"
TITLE = "Remainder bounds"
ASSUMES = (
    "T3's derivatives, along the whole path theta + t d, 0 <= t <= 1",
    "Taylor's theorem with Lagrange's remainder",
    "D = max d - min d; the bounds say little beyond D = 1",
)


def prove(p: Proof) -> None:
    _range_bounds(p)
    _third_cumulant(p)
    _surprisal(p)
    _assembled(p)


def _range_bounds(p: Proof) -> None:
    x = Action("x")
    lo, hi, m = sp.symbols("a b m", real=True)
    p.equal(
        "A quantity with values in [a, b]: its variance is (b - E x)(E x - a) less a mean of non-negative numbers ...",
        mean(x**2) - mean(x) ** 2,
        (hi - mean(x)) * (mean(x) - lo) - mean((x - lo) * (hi - x)),
        "any V",
        name=r"\mathrm{Var}(x)",
    )
    p.nonnegative(
        "... and that product is at most (b - a)^2/4: so Var(x) <= (b - a)^2/4 and the standard deviation is at most half the "
        "range.",
        sp.factor((hi - lo) ** 2 / 4 - (hi - m) * (m - lo)),
        name=r"\tfrac{(b-a)^2}{4} - (b-m)(m-a)",
    )
    a, b = sp.symbols("a b", nonnegative=True)
    p.say(
        "Let c = d - E d, with values in [-a, b], a + b = D. Then c^2 lies in [0, D^2], so its standard deviation is at most "
        "D^2/2; "
        "c^3 lies in [-a^3, b^3], a range of at most D^3:"
    )
    p.nonnegative(
        "The cubes of two parts are less than the cube of the whole.",
        sp.factor((a + b) ** 3 - a**3 - b**3),
        name=r"D^3 - a^3 - b^3",
    )


def _third_cumulant(p: Proof) -> None:
    c, a, b = sp.Symbol("c", real=True), sp.Symbol("a", positive=True), sp.Symbol("b", positive=True)
    q = sp.Symbol("q", positive=True)
    p.say("The third cumulant E[c^3] of a centred quantity in [-a, b]. Case b >= 2a: compare with the chord through both ends.")
    p.equal(
        "c^3 minus its chord factors; on [-a, b] the first two factors have product <= 0 and the third is >= 0 because b >= 2a, "
        "so c^3 <= chord and, E[c] "
        "being 0, E[c^3] <= a b (b - a).",
        c**3 - (a**2 + b**2 - a * b) * c - a * b * (b - a),
        (c + a) * (c - b) * (c - (a - b)),
        "symbolic",
        name=r"c^3 - \text{chord}",
    )
    share = q * (1 - q) * (1 - 2 * q)
    peak = (3 - sp.sqrt(3)) / 6
    p.equal(
        "With a = q D this is D^3 q (1 - q)(1 - 2q), stationary at q = (3 - sqrt 3)/6 ...",
        sp.diff(share, q).subs(q, peak),
        0,
        "symbolic",
        name=r"\tfrac{d}{dq}",
    )
    p.conclude(
        "third_cumulant",
        "... where it is largest.",
        share.subs(q, peak),
        1 / (6 * sp.sqrt(3)),
        "symbolic",
        name=r"\max_q q(1-q)(1-2q)",
    )
    p.nonnegative(
        "For every q in [0, 1/2] it is no larger: the difference is a square times a positive factor.",
        _square_form(share, q, peak),
        name=r"\tfrac{1}{6\sqrt3} - q(1-q)(1-2q)",
    )
    p.say("Case b < 2a: compare with the tangent at c = -b/2, which lies in [-a, b].")
    p.equal(
        "c^3 minus the tangent factors; (c - b) <= 0, so E[c^3] <= b^3/4.",
        c**3 - sp.Rational(3, 4) * b**2 * c - b**3 / 4,
        (c + b / 2) ** 2 * (c - b),
        "symbolic",
        name=r"c^3 - \text{tangent}",
    )
    p.positive(
        "There b <= 2D/3, so b^3/4 <= 2 D^3/27, which is below 1/(6 sqrt 3). The same holds for -c, so |kappa_3(d, d, d)| <= "
        "D^3/(6 sqrt 3).",
        1 / (6 * sp.sqrt(3)) - sp.Rational(2, 27),
        name=r"\tfrac{1}{6\sqrt3} - \tfrac{2}{27}",
    )


def _square_form(share: sp.Expr, q: sp.Symbol, peak: sp.Expr) -> sp.Expr:
    """1/(6 sqrt 3) - share as (q - peak)^2 times a linear factor that is positive for 0 < q <= 1/2, with q = 1/2 - w, w >= 0."""
    w = sp.Symbol("w", nonnegative=True)
    quotient, rest = sp.div(sp.expand(1 / (6 * sp.sqrt(3)) - share), sp.expand((q - peak) ** 2), q)
    assert sp.simplify(rest) == 0
    return (q - peak) ** 2 * sp.simplify(quotient.subs(q, sp.Rational(1, 2) - w))


def _surprisal(p: Proof) -> None:
    x, y, c, big = sp.symbols("x y c L", real=True)
    q = sp.Symbol("q", positive=True)
    p.say(
        "The standard deviation of surprisal is at most sigma = sqrt(log(V - 1)^2/4 + 1). Var(l) is continuous on the simplex, "
        "so it has a maximum; "
        "on the boundary fewer actions are left, and sigma grows with V, so an interior maximum for each V is enough."
    )
    lam = sp.Symbol("lambda", real=True)
    lagrange = sp.diff(q * sp.log(q) ** 2, q) - 2 * c * sp.diff(q * sp.log(q), q) - lam
    p.equal(
        "At a maximum of E[l^2] - E[l]^2 with sum pi = 1, Lagrange's condition with c = E[l] is a quadratic in log pi_a, the "
        "same for all actions: "
        "at most two different probabilities occur.",
        sp.expand(lagrange).subs(sp.log(q), x),
        x**2 + 2 * (1 - c) * x - 2 * c - lam,
        "symbolic",
        name=r"\partial_{\pi_a}",
    )
    k, number = sp.symbols("k n", positive=True)
    m = sp.log(q / k) * q + sp.log((1 - q) / number) * (1 - q)
    two_valued = q * (sp.log(q / k) - m) ** 2 + (1 - q) * (sp.log((1 - q) / number) - m) ** 2
    p.equal(
        "With probability q spread over k actions and 1 - q over n = V - k, the variance is that of two values at distance y + "
        "L, y = log(q/(1 - q)), "
        "L = log(n/k), and |L| <= log(V - 1).",
        sp.expand_log(two_valued, force=True),
        sp.expand_log(q * (1 - q) * (sp.log(q / k) - sp.log((1 - q) / number)) ** 2, force=True),
        "symbolic",
        name=r"\mathrm{Var}(l)",
    )
    logistic = 1 / (1 + sp.exp(-y))
    p.equal(
        "The weight q (1 - q) in y.",
        (logistic * (1 - logistic)).rewrite(sp.exp),
        (1 / (4 * sp.cosh(y / 2) ** 2)).rewrite(sp.exp),
        "symbolic",
        name=r"q(1-q)",
    )
    p.nonnegative(
        "Cauchy and Schwarz: (L + y)^2 <= (L^2 + 4)(1 + y^2/4), since the difference is a square.",
        sp.factor((big**2 + 4) * (1 + y**2 / 4) - (big + y) ** 2),
        name=r"(L^2+4)(1+\tfrac{y^2}{4}) - (L+y)^2",
    )
    n = sp.Symbol("n", integer=True, nonnegative=True)
    p.positive(
        "And 1 + y^2/4 <= cosh(y/2)^2: cosh(y/2) >= 1 + y^2/8, because every coefficient of its power series in y^2 is "
        "positive. Hence Var(l) <= L^2/4 + 1 <= sigma^2.",
        1 / (sp.factorial(2 * n) * 4**n),
        name=r"[y^{2n}] \cosh(y/2)",
    )
    p.equal("Its first coefficients.", sp.series(sp.cosh(y / 2), y, 0, 4).removeO(), 1 + y**2 / 8, "series", name=r"\cosh(y/2)")
    p.nonnegative(
        "The square of 1 + y^2/8 exceeds 1 + y^2/4.",
        sp.factor((1 + y**2 / 8) ** 2 - 1 - y**2 / 4),
        name=r"(1+\tfrac{y^2}{8})^2 - 1 - \tfrac{y^2}{4}",
    )


def _assembled(p: Proof) -> None:
    d = Action("d")
    sigma, big = sp.symbols("sigma D", positive=True)
    p.equal(
        "kappa_4(l, d, d, d) is a covariance with c^3 less three times a covariance with c times a variance.",
        -along(along(along(H, d), d), d) - 2 * Mu(d, d, d),
        Cov(l, (d - mean(d)) ** 3) - 3 * Cov(l, d) * Mu(d, d),
        "any V",
        name=r"\kappa_4(l,d,d,d)",
    )
    deviation = {1: big / 2, 2: big**2 / 2, 3: big**3 / 2}  # of c, c^2, c^3: half the range
    p.say(
        "Every covariance with l is at most sigma times a standard deviation: D/2 for c, D^2/2 for c^2, D^3/2 for c^3; Var(d) "
        "<= D^2/4."
    )
    second = sigma * deviation[2] + deviation[1] ** 2
    third = sigma * deviation[3] + 3 * sigma * deviation[1] * deviation[1] ** 2 + 2 * big**3 / (6 * sp.sqrt(3))
    p.conclude(
        "after_first",
        "|H''| along the whole path, and Taylor: |dH - H'| <= max |H''|/2.",
        second / 2,
        big**2 * (sigma / 2 + sp.Rational(1, 4)) / 2,
        "symbolic",
        name=r"|\Delta H - H'| \le \tfrac12 \max|H''|",
    )
    p.conclude(
        "after_second",
        "|H'''| likewise: |dH - H' - H''/2| <= max |H'''|/6.",
        third / 6,
        big**3 * (7 * sigma / 8 + 1 / (3 * sp.sqrt(3))) / 6,
        "symbolic",
        name=r"|\Delta H - H' - \tfrac12 H''| \le \tfrac16 \max|H'''|",
    )
    p.define("The bound on the standard deviation of surprisal.", r"\sigma", sp.sqrt(sp.log(size - 1) ** 2 / 4 + 1))
    p.formulas["sigma"] = sp.sqrt(sp.log(size - 1) ** 2 / 4 + 1)
