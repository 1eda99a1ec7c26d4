"""What a Python script has from outside where nothing is given to it: defaults of argparse, tyro and of the environment.

Calls such as `parser.parse_args()` are taken out of the syntax tree, and a name for the table of their defaults is put in.
"""

from __future__ import annotations

import ast
from typing import Any

from entclip.integrations.lint.python_values import Table, evaluated, name_of
from entclip.integrations.lint.tables import leaf
from entclip.integrations.lint.values import Unresolved

__all__ = ["arguments_of"]

_PARSED = "__arguments__"
_CLI = ("tyro.cli", "simple_parsing.parse", "draccus.parse", "pyrallis.parse")
_ENVIRONMENT = ("os.environ.get", "environ.get", "os.getenv", "getenv")
_FLAGS = {"store_true": False, "store_false": True, "count": None}


def arguments_of(tree: ast.Module) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Put names in the place of calls that read the command line or the environment, where they have defaults.

    Returns: the tables by their names, and "NAME=value" of what the environment may override.
    """
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {**_argparse(calls), **_dataclasses(tree, calls)}
    taken = _Taken(tree, names)
    taken.visit(tree)
    return names, tuple(taken.environment)


def _argparse(calls: list[ast.Call]) -> dict[str, Any]:
    """The defaults of the one parser of a script, none where there are several."""
    if sum(_last(call) == "ArgumentParser" for call in calls) != 1 or any(_last(call) == "add_subparsers" for call in calls):
        return {}
    table = Table(outside=True)
    for call in calls:
        options = {k.arg: k.value for k in call.keywords if k.arg is not None}
        if _last(call) == "set_defaults":
            table.values |= {name: evaluated(value, {}) for name, value in options.items()}
        if _last(call) != "add_argument":
            continue
        flags = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        if len(flags) < max(len(call.args), 1):
            table.loose.append(ast.unparse(call)[:60])
            continue
        long = next((flag for flag in flags if flag.startswith("--")), flags[0])
        written = options.get("dest")
        name = written.value if isinstance(written, ast.Constant) else long.lstrip("-").replace("-", "_")
        table.values[str(name)] = _default(long, options)
    return {_PARSED: table}


def _default(flag: str, options: dict[str, ast.expr]) -> Any:
    """What an argument is that is not given."""
    needed = getattr(options.get("required"), "value", False)
    action = getattr(options.get("action"), "value", "store")
    if needed or (not flag.startswith("-") and "default" not in options):
        return Unresolved(f"{flag} of its command line")
    if "default" not in options:
        return _FLAGS.get(action)
    value = evaluated(options["default"], {})
    return leaf(value) if isinstance(value, str) and name_of(options.get("type", ast.Constant(0))) in ("int", "float") else value


def _dataclasses(tree: ast.Module, calls: list[ast.Call]) -> dict[str, Any]:
    """The defaults of classes that are filled in from the command line."""
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    used = {name_of(call.args[0]) for call in calls if name_of(call.func) in _CLI and call.args}
    out: dict[str, Any] = {}
    for name in used & set(classes):
        table = Table(outside=True)
        for node in [*(classes[name_of(base)] for base in classes[name].bases if name_of(base) in classes), classes[name]]:
            for each in node.body:
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                    table.values[each.target.id] = _of_field(each)
        out[f"{_PARSED}{name}"] = table
    return out


def _of_field(node: ast.AnnAssign) -> Any:
    value = node.value
    if isinstance(value, ast.Call) and _last(value) == "field":
        value = next((k.value for k in value.keywords if k.arg == "default"), None)
    return Unresolved(ast.unparse(node.target)) if value is None else evaluated(value, {})


def _last(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else name_of(call.func)


class _Taken(ast.NodeTransformer):
    """Puts the names in, from the parser's own calls to those of functions that return what it gives."""

    def __init__(self, tree: ast.Module, names: dict[str, Any]) -> None:
        self._names = names
        self.environment: dict[str, None] = {}
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        self._returning = {node.name for node in functions if _PARSED in names and _returns_parsed(node)}

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called, given = name_of(node.func), [*node.args, *node.keywords]
        table = ast.Name(_PARSED, ast.Load())
        if called in self._returning:
            return ast.copy_location(table, node)
        nothing = not given or (len(given) == 1 and isinstance(given[0], ast.List) and not given[0].elts)
        if _PARSED in self._names and nothing and _last(node) in ("parse_args", "parse_known_args"):
            self._names[_PARSED].outside = not given
            rest = ast.Tuple([table, ast.Constant("the rest")], ast.Load())
            return ast.copy_location(table if _last(node) == "parse_args" else rest, node)
        if called in _CLI and node.args and (name := f"{_PARSED}{name_of(node.args[0])}") in self._names:
            return ast.copy_location(ast.Name(name, ast.Load()), node)
        if called in _ENVIRONMENT and len(node.args) == 2 and all(isinstance(each, ast.Constant) for each in node.args):
            name, value = (each.value for each in node.args)  # type: ignore[attr-defined]
            self.environment[f"{name}={value}"] = None
            return ast.copy_location(ast.Constant(value), node)
        return node


def _returns_parsed(function: ast.FunctionDef) -> bool:
    """Whether a function returns what a parser of arguments gives, and changes none of it."""
    held: set[str] = set()
    returned: list[ast.expr | None] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _last(node.value) == "parse_args":
            held |= {name_of(target) for target in node.targets}
        if isinstance(node, ast.Return):
            returned.append(node.value)
    changed = {
        name_of(node.value) for node in ast.walk(function) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    one = returned[0] if len(returned) == 1 else None
    if isinstance(one, ast.Call):
        return _last(one) == "parse_args" and not one.args
    return one is not None and name_of(one) in held - changed
