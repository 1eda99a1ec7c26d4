"""Python scripts that build a trainer's configuration: keyword arguments of `GRPOConfig(...)`, read without running anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.values import Unresolved

__all__ = ["cells_of", "is_python", "keywords_of"]


def cells_of(data: Mapping[str, Any]) -> str | None:
    """Return the code of a notebook, None where a table is none; what is no Python in it is left out."""
    cells = data.get("cells")
    if "nbformat" not in data or not isinstance(cells, list):
        return None
    out = []
    for cell in cells:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith(("%", "!")))
        if _tree(code) is not None:
            out.append(code)
    return "\n".join(out)


def is_python(text: str) -> bool:
    """Tell whether a text that was given without a name is Python: it parses, and it imports something."""
    if "import " not in text:
        return False
    tree = _tree(text)
    return tree is not None and any(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)


def _tree(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


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
    constants = _constants(tree)
    values: dict[str, Any] = {}
    # Of positional arguments the first two are a folder, or a policy and its environment.
    loose = [ast.unparse(value)[:40] for value in call.args[2:]]
    for keyword in call.keywords:
        given = {keyword.arg: keyword.value} if keyword.arg is not None else _settings(keyword.value, tree, constants)
        if given is None:
            loose.append(f"**{ast.unparse(keyword.value)}")
        else:
            values |= {name: _literal(value, constants) for name, value in given.items()}
    for other in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        wanted = library.python_calls.get(_name(other.func), ())
        values |= {k.arg: _literal(k.value, constants) for k in other.keywords if k.arg in wanted}
    for attribute, value in _set_later(tree, call):
        if not library.knows(attribute):
            continue
        if value is None:
            loose.append(f"a later {attribute} = ...")
        else:
            values[attribute] = _literal(value, constants)
    return library.name, values, tuple(loose)


def _constants(tree: ast.Module) -> dict[str, ast.expr]:
    """Names that a script sets once, at its top level, outside of functions and conditions, with what they are set to."""
    todo, stored = list[ast.AST](tree.body), list[str]()
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            stored += [name for n in ast.walk(node) if isinstance(n, ast.Global) for name in n.names]
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            stored.append(node.id)
        todo.extend(ast.iter_child_nodes(node))
    plain = [n for n in tree.body if isinstance(n, ast.Assign) and len(n.targets) == 1]
    plain = [n for n in plain if isinstance(n.targets[0], ast.Name) and stored.count(n.targets[0].id) == 1]
    return {n.targets[0].id: n.value for n in plain if isinstance(n.targets[0], ast.Name)}


def _set_later(tree: ast.Module, call: ast.Call) -> Iterator[tuple[str, ast.expr | None]]:
    """Attributes of what a call made that are set afterwards, `config.epsilon = 0.3`; None for a value that not every run has."""
    assigned = [n for n in ast.walk(tree) if isinstance(n, ast.Assign | ast.AnnAssign) and n.value is call]
    made = {target.id for n in assigned for target in _targets(n) if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        for target in _targets(node):
            if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id in made:
                yield target.attr, node.value if isinstance(node, ast.Assign) and node in tree.body else None
        if isinstance(node, ast.Call) and _name(node.func) == "setattr" and len(node.args) == 3:
            of, attribute, _ = node.args
            if isinstance(of, ast.Name) and of.id in made:
                yield str(getattr(attribute, "value", "")), None


def _targets(node: ast.AST) -> list[ast.expr]:
    """What a statement sets, nothing where it is no assignment."""
    if isinstance(node, ast.Assign):
        return node.targets
    return [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []


def _settings(node: ast.expr, tree: ast.Module, constants: dict[str, ast.expr]) -> dict[str, ast.expr] | None:
    """The entries of a table that is given as `**table`: written out, or set once and never changed; None for any other."""
    if isinstance(node, ast.Name):
        used = [n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == node.id]
        plain = {id(k.value) for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords if k.arg is None}
        # A name that is used otherwise than as **table may have been changed: table["epsilon"] = ..., table.update(...).
        if node.id not in constants or sum(id(n) not in plain for n in used) != 1:
            return None
        node = constants[node.id]
    if isinstance(node, ast.Call) and _name(node.func) == "dict" and not node.args:
        return {k.arg: k.value for k in node.keywords if k.arg is not None} if all(k.arg for k in node.keywords) else None
    if isinstance(node, ast.Dict):
        names = [k.value if isinstance(k, ast.Constant) else None for k in node.keys]
        return {str(k): v for k, v in zip(names, node.values, strict=True)} if all(isinstance(k, str) for k in names) else None
    return None


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
