"""Whole-number arithmetic of a shell, `$((a * b / 2))`, on variables that a script sets to numbers."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping

from entclip.integrations.lint.python_tree import expression_of

__all__ = ["evaluate"]

_LARGEST = 2**63
_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1),  # a shell rounds towards 0
    ast.Mod: lambda a, b: abs(a) % abs(b) * (1 if a >= 0 else -1),
}


def evaluate(text: str, variables: Mapping[str, str | None]) -> int | None:
    """Return the value of an expression of + - * / % and brackets, None where a name in it is no number here or it does not fit
    64 bits.

    Example:
        >>> evaluate("mini * (4 + $n)", {"mini": "8", "n": "1"})
        40
    """
    expression = text.replace("$", "").replace("{", "").replace("}", "").replace("/", "//").strip()
    if len(expression) > 1000:
        return None
    try:
        return _of(expression_of(expression), variables)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def _of(node: ast.expr, variables: Mapping[str, str | None]) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        value = node.value
    elif isinstance(node, ast.Name):
        value = int(variables.get(node.id) or "unknown")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = -_of(node.operand, variables)
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        value = _OPERATIONS[type(node.op)](_of(node.left, variables), _of(node.right, variables))
    else:
        raise ValueError("not arithmetic of whole numbers")
    if abs(value) >= _LARGEST:
        raise ValueError("does not fit 64 bits")
    return value
