"""A proof is a list of checked steps: each says why, what is equal to what, and how that was shown.

Nothing is printed as proved unless the check of this file has passed; `same` is the only judge of equality.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import sympy as sp

from theory.sums import H, S, has_sums, l, normal, pi

LONGEST = 700  # characters of LaTeX on the page: beyond it nobody reads an equation, and the check is what counts

__all__ = ["How", "Proof", "ProofError", "Step", "same"]

How = Literal["any V", "any G", "symbolic", "fixed V", "fixed G", "series", "instance"]
HOW: dict[How, str] = {
    "any V": "symbolic, every number of actions V",
    "any G": "symbolic, every group size G",
    "symbolic": "symbolic, no sum over actions involved",
    "fixed V": "symbolic at the stated values of V",
    "fixed G": "symbolic at the stated values of G",
    "series": "series, coefficients compared to the stated order",
    "instance": "exact arithmetic on the stated numbers",
}


class ProofError(AssertionError):
    """A step does not hold."""


@dataclass(frozen=True)
class Step:
    """One line of a proof. Prose has no check; an equation has two sides; a sign is a claim left > 0 (or >= 0)."""

    why: str
    kind: Literal["prose", "definition", "equation", "positive", "nonnegative"] = "prose"
    left: Any = None
    right: Any = None
    name: str = ""
    how: How = "symbolic"

    def holds(self) -> bool:
        """Check this step."""
        if self.kind == "equation":
            return same(self.left, self.right)
        if self.kind == "positive":
            return bool(sp.sympify(self.left).is_positive)
        return self.kind != "nonnegative" or bool(sp.sympify(self.left).is_nonnegative)

    def latex(self) -> str:
        """The step as Markdown with LaTeX."""
        if self.kind == "prose":
            return self.why
        left = self.name or _tex(self.left)
        if self.kind in ("equation", "definition"):
            right = _tex(self.right)
            shown = [left, right] if self.name or self.kind == "definition" else [_tex(self.left), right]
            body = " = ".join(dict.fromkeys(shown))
            if len(body) > LONGEST:
                terms = len(sp.Add.make_args(normal(self.right)))
                return f"{self.why} Both sides, expanded, have the same {terms} terms."
        else:
            value = _tex(self.left)
            chain = value if left == value else f"{left} = {value}"
            relation = ">" if self.kind == "positive" else r"\ge"
            body = f"{chain} {relation} 0"
        return f"{self.why}\n\n$${body}$$"


def _tex(expr: Any) -> str:
    text: str = sp.latex(sp.sympify(expr).xreplace({S(pi * l): -H}))
    return re.sub(r"\s+", " ", text)


def same(left: Any, right: Any) -> bool:
    """Whether left = right is proved: the normal forms agree, or their difference simplifies to 0."""
    stated = sp.sympify(left) - sp.sympify(right)
    if not has_sums(stated) and _refuted(stated):
        return False  # a point is cheaper than an expansion
    difference = normal(stated)
    if difference == 0:
        return True
    free = difference.xreplace({x: sp.Dummy(real=True) for x in difference.atoms(S)})
    if _refuted(free):
        return False
    # Sums and powers with a symbol in the exponent are independent unknowns to sympy's rational arithmetic, once q^(G-1) is
    # written q^G / q (bases here are positive probabilities).
    difference = difference.replace(
        _shifted_power, lambda e: e.base ** e.exp.as_coeff_Add()[1] * e.base ** e.exp.as_coeff_Add()[0]
    )
    unknowns = difference.atoms(S) | {x for x in difference.atoms(sp.Pow) if x.exp.free_symbols and not x.has(S)}
    plain = difference.xreplace({x: sp.Dummy(real=True) for x in sorted(unknowns, key=str)})
    if sp.expand(sp.numer(sp.together(plain))) == 0:
        return True
    return sp.simplify(free) == 0


def _refuted(difference: sp.Expr) -> bool:
    """Whether one point shows that the difference is not 0: cheap, and it spares the algebra what it could never reduce."""
    symbols = sorted(difference.free_symbols, key=str)
    point = {x: sp.Integer(3 + k) if x.is_integer else sp.Rational(2 * k + 3, 7 * k + 11) for k, x in enumerate(symbols)}
    value = difference.xreplace(point).evalf(30)
    return bool(value.is_number and value.is_finite and abs(value) > sp.Float("1e-15"))


def _shifted_power(expr: sp.Expr) -> bool:
    return (
        isinstance(expr, sp.Pow)
        and expr.exp.free_symbols
        and expr.exp.as_coeff_Add()[0].is_integer
        and expr.exp.as_coeff_Add()[0] != 0
    )


@dataclass
class Proof:
    """The proof of (a part of) a claim; its methods check and record one step each."""

    claim: str
    title: str
    assumes: tuple[str, ...]
    steps: list[Step] = field(default_factory=list)
    formulas: dict[str, Any] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Prose: an argument that is not an equation. It must be one a reader can check."""
        self.steps.append(Step(_prose(text)))

    def define(self, why: str, name: str, value: Any) -> Any:
        """Introduce a name; returns the value."""
        self.steps.append(Step(_prose(why), "definition", sp.Symbol(name), value, name))
        return value

    def equal(self, why: str, left: Any, right: Any, how: How, *, name: str = "") -> Any:
        """Prove left = right; returns the right side. `name` is how the left side is shown."""
        self._check(Step(_prose(why), "equation", left, right, name, how))
        return right

    def positive(self, why: str, value: Any, how: How = "symbolic", *, name: str = "") -> None:
        """Prove value > 0 from the signs of its parts: write it so that they show."""
        self._check(Step(_prose(why), "positive", sp.sympify(value), None, name, how))

    def nonnegative(self, why: str, value: Any, how: How = "symbolic", *, name: str = "") -> None:
        """Prove value >= 0 from the signs of its parts."""
        self._check(Step(_prose(why), "nonnegative", sp.sympify(value), None, name, how))

    def _check(self, step: Step) -> None:
        if not step.holds():
            raise ProofError(f"{self.claim}, step {len(self.steps) + 1} does not hold: {step.why}\n  {step.left}\n  {step.right}")
        self.steps.append(step)

    def conclude(self, key: str, why: str, left: Any, right: Any, how: How, *, name: str = "") -> Any:
        """Prove left = right and publish the right side as a formula of the claim, which a test binds to the code."""
        self.formulas[key] = sp.sympify(self.equal(why, left, right, how, name=name))
        return right

    def checked(self) -> Iterator[Step]:
        """The steps that state something that could be false."""
        return (s for s in self.steps if s.kind in ("equation", "positive", "nonnegative"))

    def methods(self) -> list[str]:
        """How the steps were shown, most general first."""
        used = {s.how for s in self.checked()}
        return [HOW[how] for how in HOW if how in used]


def _prose(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
