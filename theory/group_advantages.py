"""T7: exact moments of group-relative advantages: any law, and Bernoulli rewards for every group size."""

from __future__ import annotations

import itertools

import sympy as sp

from theory.proof import Proof
from theory.sums import Action, S, size

CLAIM = "T7"
TITLE = "Exact moments of group-relative advantages"
ASSUMES = (
    "rewards of a group are independent given the actions",
    "a group whose rewards are all equal has A = 0",
    "Bernoulli part: success probability p, q = 1 - p, k successes among G",
)

G, k, chance = sp.Symbol("G", integer=True, positive=True), sp.Symbol("k", real=True), sp.Symbol("p", positive=True)
other = 1 - chance
PAIRS = G * (G - 1)


def binomial_mean(value: sp.Expr) -> sp.Expr:
    """E[value(k)] for a polynomial in k ~ Bin(G, p) and symbolic G: z d/dz on the generating function (q + p z)^G at z = 1."""
    z = sp.Symbol("z", positive=True)
    generating, total = (other + chance * z) ** G, sp.Integer(0)
    for coefficient in reversed(sp.Poly(sp.expand(value), k).all_coeffs()):
        total += coefficient * generating.subs(z, 1)
        generating = z * sp.diff(generating, z)
    return total


def inner_mean(value: sp.Expr) -> sp.Expr:
    """E[value(k) 1{0 < k < G}]: the two degenerate groups taken out."""
    ends = value.subs(k, 0) * other**G + value.subs(k, G) * chance**G
    return binomial_mean(value) - ends


def prove(p: Proof) -> None:
    _any_law(p)
    _unscaled(p)
    _scaled(p)
    _enumerated(p)


def _any_law(p: Proof) -> None:
    x, pair, square = Action("R"), sp.Symbol("E[A_i A_j]"), sp.Symbol("m_2")
    centred = x - S(x) / size
    p.say("Any law. Here S sums over the G members of a group, and V stands for G.")
    p.equal("Advantages of a group add up to 0.", S(centred), 0, "any G", name=r"\textstyle\sum_i A_i")
    p.equal(
        "Their squares depend on the rewards only through sum R and sum R^2, so one member's advantage depends on the others "
        "only through these two: moments follow by convolution.",
        S(centred**2),
        S(x**2) - S(x) ** 2 / size,
        "any G",
        name=r"\textstyle\sum_i (R_i - \bar R)^2",
    )
    p.conclude(
        "pair",
        "The square of that sum is 0; it has G terms of mean m2 and G (G - 1) of mean E[A_i A_j]. Scaling by a common s changes "
        "nothing here.",
        sp.solve(G * square + PAIRS * pair, pair)[0],
        -square / (G - 1),
        "any G",
        name=r"E[A_i A_j]",
    )


def _unscaled(p: Proof) -> None:
    p.say("Bernoulli(p). Among k successes A = 1 - k/G for a success and -k/G for a failure.")
    win, lose = 1 - k / G, k / G
    pp = k * (k - 1) / PAIRS * win**2
    mm = (G - k) * (G - k - 1) / PAIRS * lose**2
    pm = k * (G - k) / PAIRS * win * lose
    pq = chance * other
    p.conclude(
        "mean_none",
        "A member succeeds with probability k/G: M = E[A+].",
        binomial_mean(k / G * win),
        pq * (G - 1) / G,
        "any G",
        name="M",
    )
    p.equal(
        "E[A-] is the same, as E[A] = 0 requires.", binomial_mean((G - k) / G * lose), pq * (G - 1) / G, "any G", name="E[A^-]"
    )
    p.conclude(
        "square_none",
        "Second moment.",
        binomial_mean(k / G * win**2 + (G - k) / G * lose**2),
        pq * (G - 1) / G,
        "any G",
        name="m_2",
    )
    right_pp = (G - 2) * chance**2 * other * ((G - 3) * other + 1) / G**2
    right_mm = (G - 2) * other**2 * chance * ((G - 3) * chance + 1) / G**2
    right_pm = pq * ((G - 2) * (G - 3) * pq + G - 1) / G**2
    p.conclude(
        "pp_none",
        "Two members: both succeed with probability k (k - 1)/(G (G - 1)) ...",
        binomial_mean(pp),
        right_pp,
        "any G",
        name=r"E[A^+_i A^+_j]",
    )
    p.conclude("mm_none", "... both fail ...", binomial_mean(mm), right_mm, "any G", name=r"E[A^-_i A^-_j]")
    p.conclude(
        "pm_none", "... or the first succeeds and the second fails.", binomial_mean(pm), right_pm, "any G", name=r"E[A^+_i A^-_j]"
    )
    p.equal(
        "They combine to the general identity.",
        right_pp + right_mm - 2 * right_pm,
        -pq * (G - 1) / G / (G - 1),
        "any G",
        name=r"E[A_i A_j]",
    )


def _scaled(p: Proof) -> None:
    eps = sp.Symbol("epsilon", nonnegative=True)
    hits, misses = sp.symbols("k m", positive=True)  # m = G - k, both positive in a group that is not degenerate
    members = hits + misses
    s = sp.sqrt(hits * misses) / members
    p.say("Scaled by the group's standard deviation, ddof 0; m = G - k failures. Only 0 < k < G counts.")
    p.equal("The variance of a group with k ones.", hits / members - (hits / members) ** 2, s**2, "symbolic", name=r"s_k^2")
    win, lose = (misses / members) / s, (hits / members) / s
    p.conclude(
        "mean_std_term",
        "The mean of A+ in such a group is s_k: so M = E[sqrt(k (G - k))]/G.",
        hits / members * win,
        s,
        "symbolic",
        name=r"\tfrac{k}{G} A^+",
    )
    p.equal(
        "The mean of A^2 is 1 ...", hits / members * win**2 + misses / members * lose**2, 1, "symbolic", name=r"E[A^2 \mid k]"
    )
    p.conclude(
        "square_std",
        "... so m2 is the probability of a group that is not degenerate.",
        inner_mean(sp.Integer(1)),
        1 - chance**G - other**G,
        "any G",
        name="m_2",
    )
    pairs = members * (members - 1)
    p.equal("Pairs: the product of a success and a failure is 1 ...", win * lose, 1, "symbolic", name=r"A^+_i A^-_j")
    p.conclude("pm_std", "... hence", inner_mean(k * (G - k) / PAIRS), chance * other, "any G", name=r"E[A^+_i A^-_j]")
    p.equal(
        "Two successes:",
        hits * (hits - 1) / pairs * win**2,
        (hits - 1) * misses / pairs,
        "symbolic",
        name=r"E[A^+_i A^+_j \mid k]",
    )
    p.conclude(
        "pp_std",
        "Summed over groups that are not degenerate.",
        inner_mean((k - 1) * (G - k) / PAIRS),
        chance * other - other * (1 - other ** (G - 1)) / (G - 1),
        "any G",
        name=r"E[A^+_i A^+_j]",
    )
    p.equal(
        "Two failures:",
        misses * (misses - 1) / pairs * lose**2,
        (misses - 1) * hits / pairs,
        "symbolic",
        name=r"E[A^-_i A^-_j \mid k]",
    )
    p.conclude(
        "mm_std",
        "Likewise.",
        inner_mean((G - k - 1) * k / PAIRS),
        chance * other - chance * (1 - chance ** (G - 1)) / (G - 1),
        "any G",
        name=r"E[A^-_i A^-_j]",
    )
    p.equal(
        "ddof 1 divides the sum of squares, G s^2, by G - 1 instead: second moments carry (G - 1)/G and first moments its root.",
        1 / (members * s**2 / (members - 1)),
        (members - 1) / members / s**2,
        "symbolic",
        name=r"1/s_k'^2",
    )
    p.conclude(
        "mean_eps_term",
        "An added eps replaces 1/s_k by 1/(s_k + eps).",
        hits / members * (misses / members) / (s + eps),
        s**2 / (s + eps),
        "symbolic",
        name=r"\tfrac{k}{G} A^+",
    )


def _enumerated(p: Proof) -> None:
    for number in (2, 3, 4):
        totals = dict.fromkeys(("m2", "pp", "mm", "pm"), sp.Integer(0))
        for rewards in itertools.product((0, 1), repeat=number):
            hits = sum(rewards)
            weight = chance**hits * other ** (number - hits)
            if 0 < hits < number:
                s = sp.sqrt(sp.Rational(hits, number) * sp.Rational(number - hits, number))
                a = [(x - sp.Rational(hits, number)) / s for x in rewards]
                first, second = a[0], a[1]
                totals["m2"] += weight * first**2
                totals["pp"] += weight * sp.Max(first, 0) * sp.Max(second, 0)
                totals["mm"] += weight * sp.Min(first, 0) * sp.Min(second, 0)
                totals["pm"] -= weight * sp.Max(first, 0) * sp.Min(second, 0)
        for key, formula in (("m2", "square_std"), ("pp", "pp_std"), ("mm", "mm_std"), ("pm", "pm_std")):
            p.equal(
                f"Independent check: every outcome of a group of {number}, scaled, {key}.",
                totals[key],
                p.formulas[formula].subs(G, number),
                "fixed G",
                name=rf"\mathrm{{{key}}}_{{G={number}}}",
            )
    eight = sp.Add(*(sp.binomial(8, j) * sp.sqrt(j * (8 - j)) for j in range(9))) / 8 / 2**8
    p.equal(
        "G = 8, p = 1/2, unscaled: .21875.",
        p.formulas["mean_none"].subs({G: 8, chance: sp.Rational(1, 2)}),
        sp.Rational(7, 32),
        "instance",
        name="M",
    )
    for why, value, digits in (("ddof 0", eight, "0.46391"), ("ddof 1", eight * sp.sqrt(sp.Rational(7, 8)), "0.43395")):
        p.equal(
            f"Scaled, {why}, to five digits.", sp.Rational(str(round(float(value), 5))), sp.Rational(digits), "instance", name="M"
        )
