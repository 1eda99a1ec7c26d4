"""A softmax with its V written out: the independent check of statements proved for every V."""

from __future__ import annotations

import sympy as sp

from theory.sums import Action, l, pi

__all__ = ["Softmax"]


class Softmax:
    """pi_a = x_a / sum x with x_a = exp(theta_a) > 0 as free symbols, so that derivatives stay rational in x and log x."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.x = sp.symbols(f"x1:{number + 1}", positive=True)
        total = sp.Add(*self.x)
        self.probs = [x / total for x in self.x]
        self.log_probs = [sp.log(x) - sp.log(total) for x in self.x]
        self.entropy = -sp.Add(*(q * k for q, k in zip(self.probs, self.log_probs, strict=True)))

    def derivative(self, expr: sp.Expr, a: int) -> sp.Expr:
        """d expr / d theta_a = x_a d expr / d x_a."""
        return self.x[a] * sp.diff(expr, self.x[a])

    def at(self, a: int) -> dict[Action, sp.Expr]:
        """The values of pi and l at action a."""
        return {pi: self.probs[a], l: self.log_probs[a]}
