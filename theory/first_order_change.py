"""T2: to first order, the entropy change of any logit step is a covariance with surprisal."""

from __future__ import annotations

from theory.proof import Proof
from theory.sums import Action, Cov, H, S, along, l, mean, pi

CLAIM = "T2"
TITLE = "First-order entropy change is a covariance with surprisal"
ASSUMES = ("T1", "any step d, whatever made it; the rest is of order |d|^2 (T3)")


def prove(p: Proof) -> None:
    d, c = Action("d"), Action("c")
    s = -l
    p.conclude(
        "first",
        "By T1 the first-order change is sum_a pi_a (s_a - H) d_a, which is E[s d] - E[s] E[d].",
        S(pi * (s - H) * d),
        Cov(s, d),
        "any V",
        name=r"\langle \nabla H, d \rangle",
    )
    p.equal("It is the derivative along d.", along(H, d), Cov(s, d), "any V", name=r"H'(0)")
    p.equal(
        "It is linear in the step, so the parts that different causes add to a step have parts of the change that add up.",
        along(H, c + d),
        along(H, c) + along(H, d),
        "any V",
        name=r"H'_{c+d}",
    )
    p.equal("A common shift of all logits changes nothing.", along(H, mean(c)), 0, "any V", name=r"H'_{\mathrm{const}}")
