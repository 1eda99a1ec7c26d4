"""Python scripts that build a trainer's configuration: keyword arguments of `GRPOConfig(...)`, read without running anything.

`python_flow` follows the script to that call and on; `python_values` has what its expressions are worth.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.other_work import of_class, refusal
from entclip.integrations.lint.python_arguments import arguments_of
from entclip.integrations.lint.python_flow import followed
from entclip.integrations.lint.python_parser import Parsed, parsed_by
from entclip.integrations.lint.python_tree import module_of
from entclip.integrations.lint.python_values import Names, Table, name_of, put
from entclip.integrations.lint.values import Unresolved

__all__ = ["OUTSIDE", "Keywords", "builds", "cells_of", "is_python", "keywords_of", "refuse_other_program"]

# A variable of the shell script that holds a Python program, as a name that no program has.
OUTSIDE = "__shell_{}__"
_OUTSIDE = re.compile(r"__shell_(\w+?)__")


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
        return module_of(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def builds(text: str) -> bool:
    """Tell whether a Python program builds a configuration of a library that is known here."""
    tree = _tree(text)
    if tree is None:
        return False
    classes = _Classes(tree)
    if any(isinstance(node, ast.Call) and classes.of(node.func) is not None for node in ast.walk(tree)):
        return True
    return parsed_by(tree, classes.of) is not None


_SETS = ("__init__", "__post_init__", "train")  # methods by which a class of the script's own may change its settings


@dataclass(frozen=True)
class _Class:
    """A class of a library, or what a script makes of it: settings that it has of its own, and methods that may change them."""

    library: Library
    settings: tuple[ast.keyword, ...] = ()
    loose: tuple[str, ...] = ()


@dataclass(frozen=True)
class Keywords:
    """The library and the settings of the one configuration that a script builds, and what else could hold settings (`**kwargs`).

    by_command_line: whether the script's own command line could set them. environment: "NAME=value" that is taken for what the
    environment has.
    """

    library: str
    values: dict[str, Any]
    loose: tuple[str, ...]
    by_command_line: bool = False
    environment: tuple[str, ...] = ()


def keywords_of(text: str) -> Keywords:
    """Return the settings of the one configuration that a script builds, or has a parser of arguments fill in.

    Raises: ValueError if the script does not parse, or builds no configuration known here, or more than one.
    """
    try:
        tree = module_of(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the Python script does not parse ({type(error).__name__}): give a YAML or a command line.") from None
    given, environment = arguments_of(tree)
    classes = _Classes(tree)
    calls = [(n, used) for n in ast.walk(tree) if isinstance(n, ast.Call) if (used := classes.of(n.func)) is not None]
    if len(calls) > 1:
        lines = ", ".join(str(call.lineno) for call, _ in calls)
        raise ValueError(f"the script builds {len(calls)} configurations (lines {lines}): give one at a time.")
    parsed = parsed_by(tree, classes.of) if not calls else None
    if not calls and parsed is None:
        _refuse_other_work(tree)
        known = ", ".join(
            dict.fromkeys(f"{m}'s {c}(...)" for x in LIBRARIES.values() for m in x.python_modules for c in x.python_classes)
        )
        raise ValueError(
            f"this is a Python script that builds no configuration known here ({known}): give the YAML or the command line that "
            "it is started with."
        )
    call, used = (parsed.call, parsed.used) if parsed is not None else calls[0]
    position = None if parsed is None else parsed.position
    try:
        made, names = followed(tree, call, lambda names: _settings(call, used, names, parsed), position, given)
        for other in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
            wanted = used.library.python_calls.get(name_of(other.func).rpartition(".")[2], ())
            put(made, [k for k in other.keywords if k.arg in wanted], names)
    except RecursionError:
        raise ValueError("the Python script is nested too deeply to be read: give a YAML or a command line.") from None
    values = {key: Unresolved("{...}") if isinstance(value, Table) else _inside(value) for key, value in made.values.items()}
    if parsed is not None and parsed.by_command_line and not values and not made.loose:
        raise ValueError(
            f"the script takes its settings from its command line (line {parsed.line}, {parsed.parser}) and sets none itself: "
            "give the command, or the YAML, that it is started with."
        )
    loose = tuple(dict.fromkeys([*made.loose, *_own_losses(tree)]))
    outside = any(table.used for table in given.values() if table.outside)
    by_command_line = outside or (parsed is not None and parsed.by_command_line)
    return Keywords(used.library.name, values, loose, by_command_line, environment)


def refuse_other_program(text: str) -> None:
    """Raise ValueError where a Python program builds what is no policy gradient, or one whose clip is not read here."""
    tree = _tree(text)
    if tree is not None:
        _refuse_other_work(tree)


def _refuse_other_work(tree: ast.Module) -> None:
    for node in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        name = name_of(node.func).rpartition(".")[2]
        word = re.sub(r"(Config|Trainer)$", "", name).lower()
        if name.endswith(("Config", "Trainer")) and (what := _other_trainer(word)):
            raise ValueError(f"this configures {what}: it is not read here.")
        if kind := of_class(name):
            raise ValueError(refusal(f"{name}(...)", kind))


def _other_trainer(word: str) -> str | None:
    """What another trainer of a library is that a class is named after."""
    return next((text for x in LIBRARIES.values() if (text := x.other_trainers.get(word))), None)


def _inside(value: Any) -> Any:
    """A value as the program has it: open where a variable of the shell script around it is in it."""
    text = value.text if isinstance(value, Unresolved) else value
    return Unresolved(_OUTSIDE.sub(r"$\1", text)) if isinstance(text, str) and _OUTSIDE.search(text) else value


def _settings(call: ast.Call, used: _Class, names: Names, parsed: Parsed | None) -> Table:
    """The settings of a call where it stands."""
    table = Table()
    put(table, list(used.settings), names)
    if parsed is not None:
        table.loose += used.loose
        parsed.fill(table, names)
        return table
    # Of positional arguments the first two are a folder, or a policy and its environment.
    table.loose += [*used.loose, *(ast.unparse(value)[:40] for value in call.args[2:])]
    put(table, call.keywords, names)
    return table


class _Classes:
    """Names by which a script has classes of configurations: the libraries', imported, renamed, derived or half filled in."""

    def __init__(self, tree: ast.Module) -> None:
        self._imported = _imported(tree)
        self._own: dict[str, _Class] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._add(alias.asname, self._library(alias.name))
            elif isinstance(node, ast.Assign) and len(node.targets) == 1:
                self._add(name_of(node.targets[0]), self._made_from(node.value))
            elif isinstance(node, ast.ClassDef):
                base = next((found for each in node.bases if (found := self.of(each)) is not None), None)
                self._add(node.name, None if base is None else _derived(base, node))

    def of(self, node: ast.expr) -> _Class | None:
        """Return the class that an expression names, None for any other."""
        name = name_of(node)
        return self._own.get(name) or self._library(name.rpartition(".")[2] or getattr(node, "attr", ""))

    def _add(self, name: str | None, found: _Class | None) -> None:
        if name and found is not None:
            self._own[name] = found

    def _made_from(self, node: ast.expr) -> _Class | None:
        """`Class`, or `partial(Class, epsilon=.1)`."""
        if isinstance(node, ast.Name | ast.Attribute):
            return self.of(node)
        if isinstance(node, ast.Call) and name_of(node.func).rpartition(".")[2] == "partial" and node.args:
            base = self.of(node.args[0])
            return None if base is None else replace(base, settings=(*base.settings, *node.keywords))
        return None

    def _library(self, name: str) -> _Class | None:
        """The library that has a class of this name and is imported; one that takes another's place comes before it."""
        fitting = [x for x in LIBRARIES.values() if name in x.python_classes and not self._imported.isdisjoint(x.python_modules)]
        library = max(fitting, key=lambda x: x.passes_on is not None, default=None)
        return None if library is None else _Class(library)


def _derived(base: _Class, node: ast.ClassDef) -> _Class:
    """A class with defaults of its own, `epsilon: float = 0.1`, written out or as `field(default=0.1)`."""
    settings, loose = list(base.settings), list(base.loose)
    for each in node.body:
        if isinstance(each, ast.FunctionDef) and (each.name in _SETS or "loss" in each.name):
            loose.append(f"{node.name}.{each.name}")
        target = each.target if isinstance(each, ast.AnnAssign) else each.targets[0] if isinstance(each, ast.Assign) else None
        if isinstance(each, ast.AnnAssign | ast.Assign) and isinstance(target, ast.Name) and each.value is not None:
            value = each.value
            if isinstance(value, ast.Call) and name_of(value.func).rpartition(".")[2] == "field":
                value = next((k.value for k in value.keywords if k.arg == "default"), value)
            settings.append(ast.keyword(target.id, value))
    return _Class(base.library, tuple(settings), tuple(loose))


def _own_losses(tree: ast.Module) -> list[str]:
    """Methods of a trainer derived in the script that put another loss or another advantage in the place of the library's."""
    return [
        f"{node.name}.{method.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and any(name_of(base).endswith("Trainer") for base in node.bases)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and ("loss" in method.name or "advantages" in method.name)
    ]


def _imported(tree: ast.Module) -> set[str]:
    """First parts of the modules that a script imports."""
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names]
    names += [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}
