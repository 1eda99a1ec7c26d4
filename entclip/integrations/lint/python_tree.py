"""The syntax tree of Python text that others wrote, without the warnings that Python has for its style."""

from __future__ import annotations

import ast
import warnings

__all__ = ["expression_of", "module_of"]


def module_of(text: str) -> ast.Module:
    """Return the tree of a program; SyntaxError, ValueError, RecursionError or MemoryError if it does not parse."""
    with warnings.catch_warnings():
        # "\d" in quotation marks and 1if x are warned of on the terminal, or are errors where warnings are.
        warnings.simplefilter("ignore")
        return ast.parse(text)


def expression_of(text: str) -> ast.expr:
    """Return the tree of an expression; the same errors if it does not parse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text, mode="eval").body
