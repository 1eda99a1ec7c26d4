"""Sums over actions as algebra: proofs that hold for every number of actions V, because V is never chosen.

`Action("x")` is a quantity with one value per action. `S(f)` is its sum over actions. S is linear, so every expression has a
normal form: a polynomial in sums of single monomials. Two expressions with the same normal form are equal for every V and
every value of the quantities; nothing else is assumed except what a proof states, and that pi and pi_0 sum to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import sympy as sp
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE

__all__ = [
    "Action",
    "Cov",
    "H",
    "Mu",
    "S",
    "along",
    "at_size",
    "evaluate",
    "has_sums",
    "l",
    "magnitude",
    "mean",
    "normal",
    "pi",
    "pi0",
    "pick",
    "put",
    "size",
    "slope",
]


class Action(sp.Symbol):
    """A quantity with one value per action, bound wherever it stands under a sum S."""

    def __new__(cls, name: str, **assumptions: bool) -> Action:
        return super().__new__(cls, name, **({"real": True} | assumptions))


pi = Action("pi", positive=True)  # the current policy
pi0 = Action("pi_0", positive=True)  # the policy that drew the samples
l = Action("l")  # log pi
size = sp.Symbol("V", positive=True, integer=True)  # S(1)


class S(sp.Expr):
    """Sum over actions. Linear: sums of sums and factors without an Action come out, so what remains inside is a monomial."""

    is_commutative = True
    is_real = True
    precedence = PRECEDENCE["Mul"]  # so that a power of a sum is printed with parentheses

    def __new__(cls, summand: Any) -> sp.Expr:
        total = sp.Integer(0)
        for term in sp.Add.make_args(sp.expand(sp.sympify(summand))):
            parts = sp.Mul.make_args(term)
            inside = sp.Mul(*(f for f in parts if _acts(f)))
            total += sp.Mul(*(f for f in parts if not _acts(f))) * cls._atom(inside)
        return total

    @classmethod
    def _atom(cls, inside: sp.Expr) -> sp.Expr:
        if inside == 1:
            return size
        return sp.Integer(1) if inside in (pi, pi0) else sp.Expr.__new__(cls, inside)

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        return {x for x in self.args[0].free_symbols if not isinstance(x, Action)}

    def _eval_derivative(self, x: sp.Symbol) -> sp.Expr:
        return S(sp.diff(self.args[0], x))

    def _latex(self, printer: LatexPrinter) -> str:
        (inside,) = self.args
        for law, name in ((pi, r"\pi"), (pi0, r"\pi_0")):
            rest = inside / law
            if rest.is_polynomial(law) and not rest.has(law):
                return rf"\mathrm{{E}}_{{{name}}}\left[{printer.doprint(rest)}\right]"
        return rf"\textstyle\sum_a {printer.doprint(inside)}"


def _acts(factor: sp.Expr) -> bool:
    return any(isinstance(x, Action) for x in factor.free_symbols)


def mean(f: Any, law: Action = pi) -> sp.Expr:
    """E_law[f]."""
    return S(law * f)


class _Named(sp.Expr):
    """An abbreviation that stays as it is written on a page; `normal` replaces it by the sums it stands for."""

    is_commutative = True
    is_real = True

    def __new__(cls, *args: Any) -> _Named:
        return super().__new__(cls, *map(sp.sympify, args))

    @property
    def free_symbols(self) -> set[sp.Symbol]:
        return {x for f in self.args for x in f.free_symbols if not isinstance(x, Action)}

    def meaning(self) -> sp.Expr:
        raise NotImplementedError

    def _eval_derivative(self, x: sp.Symbol) -> sp.Expr:
        return sp.diff(self.meaning(), x)


class Entropy(_Named):
    """H = -E_pi[log pi]: not a symbol, so that its derivative is never forgotten."""

    def meaning(self) -> sp.Expr:
        return -mean(l)

    def _latex(self, printer: LatexPrinter) -> str:
        return "H"


class Cov(_Named):
    """Cov_pi(f, g) = E[f g] - E[f] E[g]."""

    def meaning(self) -> sp.Expr:
        f, g = self.args
        return mean(f * g) - mean(f) * mean(g)

    def _latex(self, printer: LatexPrinter) -> str:
        return rf"\mathrm{{Cov}}_\pi\left({', '.join(map(printer.doprint, self.args))}\right)"


class Mu(_Named):
    """Joint central moment mu(f, g, ...) = E_pi[(f - E f)(g - E g) ...]."""

    def meaning(self) -> sp.Expr:
        return mean(sp.Mul(*(f - mean(f) for f in self.args)))

    def _latex(self, printer: LatexPrinter) -> str:
        return rf"\mu\left({', '.join(map(printer.doprint, self.args))}\right)"


H = Entropy()


def normal(expr: Any) -> sp.Expr:
    """The normal form: names replaced, expanded, sums rebuilt. 0 if and only if the algebra proves the expression 0."""
    return sp.Add(*map(_normal_term, sp.Add.make_args(sp.sympify(expr))))


@lru_cache(maxsize=10_000)  # a proof and its falsifiers meet the same terms again and again
def _normal_term(term: sp.Expr) -> sp.Expr:
    plain = term.replace(lambda e: isinstance(e, _Named), lambda e: e.meaning())
    return sp.expand(plain.replace(lambda e: isinstance(e, S), lambda e: S(*e.args)))


def has_sums(expr: sp.Expr) -> bool:
    """Whether sums over actions, or names that stand for them, are part of the expression."""
    return bool(expr.atoms(S, _Named))


def put(expr: Any, values: Mapping[sp.Symbol, Any]) -> sp.Expr:
    """The expression with other values for some quantities, all at once."""
    return normal(normal(expr).xreplace({x: sp.sympify(v) for x, v in values.items()}))


def along(expr: Any, d: sp.Expr) -> sp.Expr:
    """Derivative of an expression in pi and l along the logit step theta + t d, at t = 0.

    The only rule beyond Leibniz's: log pi = theta - log sum exp theta changes by d - E_pi d (proved in T1), hence pi by
    pi (d - E_pi d). Other quantities, pi_0 and d among them, stay.
    """
    rate = d - mean(d)
    return _leibniz(normal(expr), lambda f: sp.diff(f, l) * rate + sp.diff(f, pi) * pi * rate)


def _leibniz(expr: sp.Expr, change: Callable[[sp.Expr], sp.Expr]) -> sp.Expr:
    atoms = sorted(expr.atoms(S), key=str)
    names = {atom: sp.Dummy() for atom in atoms}
    flat = expr.xreplace(names)
    total = change(flat)
    for atom in atoms:
        total += sp.diff(flat, names[atom]) * S(change(atom.args[0]))
    return total.xreplace({name: atom for atom, name in names.items()})


def slope(expr: Any, d: Action) -> sp.Expr:
    """The vector g with expr = sum_a g_a d_a, for an expression linear in d; with d = e_a it is the partial derivative."""
    expr = normal(expr)
    total = sp.Add(*(expr.coeff(atom) * atom.args[0] / d for atom in expr.atoms(S) if atom.args[0].has(d)))
    if total.has(d) or normal(S(total * d) - expr) != 0:
        raise ValueError(f"{expr} is not linear in {d}")
    return sp.expand(total)


def pick(expr: Any, unit: Action) -> sp.Expr:
    """The expression when `unit` is the basis vector e_a: every sum with it has one term, that of action a."""

    def term(atom: sp.Expr) -> sp.Expr:
        (inside,) = atom.args
        return inside / unit ** sp.degree(inside, unit) if inside.has(unit) else atom

    return sp.expand(normal(expr).replace(lambda e: isinstance(e, S), term))


def at_size(expr: Any, number: int, values: Mapping[sp.Symbol, list[Any]]) -> sp.Expr:
    """The expression with V = number and explicit values for each Action: the same statement without the algebra of sums."""

    def term(inside: sp.Expr, a: int) -> sp.Expr:
        return inside.xreplace({x: values[x][a] for x in inside.free_symbols if isinstance(x, Action)})

    out = normal(expr).replace(lambda e: isinstance(e, S), lambda e: sp.Add(*(term(e.args[0], a) for a in range(number))))
    return out.subs(size, number)


def evaluate(expr: Any, values: Mapping[sp.Symbol, Any]) -> Any:
    """The number an expression has for given arrays: Actions are arrays (..., V), other symbols numbers or arrays (...).

    Actions outside any sum give an array over actions. This is how a test compares a proved formula with the code.
    """
    return _evaluated(expr, values, lambda x: x)


def magnitude(expr: Any, values: Mapping[sp.Symbol, Any]) -> Any:
    """The sum of the absolute values of all terms that `evaluate` adds up: what rounding errors are relative to."""
    return _evaluated(expr, values, abs)


def _evaluated(expr: Any, values: Mapping[sp.Symbol, Any], part: Callable[[Any], Any]) -> Any:
    import numpy as np

    names, total = _with_names(sp.sympify(expr))
    arrays = {x: np.asarray(v, dtype=float) for x, v in values.items()}
    known = {x: v if isinstance(x, Action) or v.ndim == 0 else v[..., None] for x, v in arrays.items()}
    known.setdefault(size, np.asarray(next(v.shape[-1] for x, v in arrays.items() if isinstance(x, Action))))
    known |= {name: np.sum(part(_number(inside, known)), axis=-1, keepdims=True) for inside, name in names.items()}
    value = np.asarray(sum(part(_number(term, known)) for term in sp.Add.make_args(total)))
    return value if _acts(total) or value.ndim == 0 else value[..., 0]


@lru_cache(maxsize=1000)
def _with_names(expr: sp.Expr) -> tuple[dict[sp.Expr, sp.Symbol], sp.Expr]:
    """The normal form with a symbol for each of its sums, and the symbols by what is summed."""
    expr = normal(expr)
    names = {atom: sp.Dummy() for atom in expr.atoms(S)}
    return {atom.args[0]: name for atom, name in names.items()}, expr.xreplace(names)


def _number(expr: sp.Expr, values: Mapping[sp.Symbol, Any]) -> Any:
    symbols, compiled = _compiled(expr)
    return compiled(*(values[x] for x in symbols))


@lru_cache(maxsize=10_000)
def _compiled(expr: sp.Expr) -> tuple[list[sp.Symbol], Callable[..., Any]]:
    symbols = sorted(expr.free_symbols, key=str)
    return symbols, sp.lambdify(symbols, expr, "numpy")
