"""Python scripts that build a trainer's configuration: keyword arguments of `GRPOConfig(...)`, read without running anything."""

from __future__ import annotations

import ast
from typing import Any

from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.values import Unresolved

__all__ = ["is_python", "keywords_of"]


def is_python(text: str) -> bool:
    """Tell whether a text that was given without a name is Python: it parses, and it imports something."""
    if "import " not in text:
        return False
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)


def keywords_of(text: str) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    """Return the library, the settings and what else could hold settings (`**kwargs`), from the one configuration that a script
    builds.

    Raises: ValueError if the script does not parse, or builds no configuration known here, or more than one.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the Python script does not parse ({type(error).__name__}): give a YAML or a command line.") from None
    imported = _imported(tree)
    calls = [(n, library) for n in ast.walk(tree) if isinstance(n, ast.Call) if (library := _library(_name(n.func), imported))]
    if not calls:
        known = ", ".join(
            dict.fromkeys(f"{m}'s {c}(...)" for x in LIBRARIES.values() for m in x.python_modules for c in x.python_classes)
        )
        raise ValueError(
            f"this is a Python script that builds no configuration known here ({known}): give the YAML or the command line that "
            "it is started with."
        )
    if len(calls) > 1:
        lines = ", ".join(str(call.lineno) for call, _ in calls)
        raise ValueError(f"the script builds {len(calls)} configurations (lines {lines}): give one at a time.")
    call, library = calls[0]
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    values: dict[str, Any] = {k.arg: _literal(k.value, constants) for k in call.keywords if k.arg is not None}
    for other in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        wanted = library.python_calls.get(_name(other.func), ())
        values |= {k.arg: _literal(k.value, constants) for k in other.keywords if k.arg in wanted}
    loose = tuple(f"**{ast.unparse(k.value)}" for k in call.keywords if k.arg is None)
    return library.name, values, loose


def _imported(tree: ast.Module) -> set[str]:
    """First parts of the modules that a script imports."""
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def _library(name: str, imported: set[str]) -> Library | None:
    """The library that has a class of this name and is imported; one that takes another's place comes before it."""
    found = [x for x in LIBRARIES.values() if name in x.python_classes and not imported.isdisjoint(x.python_modules)]
    return max(found, key=lambda x: x.passes_on is not None, default=None)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _literal(node: ast.expr, constants: dict[str, ast.expr]) -> Any:
    """The value of an expression: a literal, or a name that the script sets to one at its top level; else unresolved."""
    if isinstance(node, ast.Name) and node.id in constants:
        node = constants[node.id]
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return Unresolved(ast.unparse(node)[:80])
    return value if isinstance(value, bool | int | float | str | list | type(None)) else Unresolved(ast.unparse(node)[:80])
