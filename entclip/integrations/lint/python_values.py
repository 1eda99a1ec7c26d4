"""Values of Python expressions that a script writes out itself: literals, arithmetic on numbers, tables of settings.

Nothing is run: a value that only running would give is `Unresolved`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from entclip.integrations.lint.values import Unresolved, is_number

__all__ = ["Names", "Table", "evaluated", "name_of", "put"]

_LARGEST = 1e18
_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ROUNDING: dict[str, Callable[..., Any]] = {"int": int, "float": float, "max": max, "min": min, "round": round, "abs": abs}
_COPIES = ("copy", "deepcopy")
_TABLES = ("dict", "OrderedDict", "SimpleNamespace", "Namespace")


@dataclass(eq=False)  # by identity: two names may be one table
class Table:
    """Settings by name, in a dictionary or an object of a configuration.

    loose: what else may hold or change settings, as the script writes it. outside: whether they are defaults of a command line;
    used: whether some of such were read.
    """

    values: dict[str, Any] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)
    outside: bool = False
    used: bool = False

    def take(self, other: Any, text: str) -> None:
        """Take the settings of another table; of anything else only that it may hold some."""
        if isinstance(other, Table):
            other.used = True
            self.values |= other.values
            self.loose += [each for each in other.loose if each not in self.loose]
        else:
            self.loose.append(text)


Names = MutableMapping[str, Any]  # of variables, `self.args` in one word, with their values


def name_of(node: ast.AST) -> str:
    """Return a name or a chain of attributes as one word, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (owner := name_of(node.value)):
        return owner if node.attr == "__dict__" else f"{owner}.{node.attr}"
    return ""


def evaluated(node: ast.expr, names: Names) -> Any:
    """Return the value of an expression: a literal, a `Table`, or `Unresolved`."""
    value = _evaluated(node, names)
    return Unresolved(ast.unparse(node)[:80]) if value is _UNKNOWN else value


def put(table: Table, keywords: list[ast.keyword], names: Names) -> None:
    """Put keyword arguments into a table, those of `**other` too."""
    for keyword in keywords:
        if keyword.arg is None:
            table.take(evaluated(keyword.value, names), f"**{ast.unparse(keyword.value)[:80]}")
        else:
            table.values[keyword.arg] = evaluated(keyword.value, names)


_UNKNOWN = object()


def _evaluated(node: ast.expr, names: Names) -> Any:
    if (name := name_of(node)) in names:
        return names[name]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Dict):
        return _display(node, names)
    if isinstance(node, ast.Call):
        return _called(node, names)
    if isinstance(node, ast.BinOp):
        return _operated(node, names)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _evaluated(node.operand, names)
        return _UNKNOWN if not is_number(value) else -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Subscript | ast.Attribute):
        table = _evaluated(node.value, names)
        key = node.attr if isinstance(node, ast.Attribute) else str(getattr(node.slice, "value", ""))
        if not isinstance(table, Table) or table.loose:
            return _UNKNOWN
        table.used = True
        return table.values.get(key, _UNKNOWN)
    if isinstance(node, ast.IfExp):
        holds = _holds(node.test, names)
        return _UNKNOWN if holds is None else _evaluated(node.body if holds else node.orelse, names)
    if isinstance(node, ast.BoolOp):
        return _chosen(node, names)
    if isinstance(node, ast.List | ast.Tuple):
        values = [_evaluated(each, names) for each in node.elts]
        simple = all(is_number(value) or isinstance(value, str) for value in values)
        return values if simple and isinstance(node, ast.List) else _UNKNOWN
    return _UNKNOWN


def _holds(test: ast.expr, names: Names) -> bool | None:
    """Whether a condition holds, None where that is not known: a value's own truth, or what it is compared with."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _holds(test.operand, names)
        return None if inner is None else not inner
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        sides = [_evaluated(each, names) for each in (test.left, test.comparators[0])]
        if not all(map(_plain, sides)) or not isinstance(test.ops[0], ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
            return None
        return (sides[0] == sides[1]) == isinstance(test.ops[0], ast.Is | ast.Eq)
    value = _evaluated(test, names)
    return bool(value) if _plain(value) else None


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _chosen(node: ast.BoolOp, names: Names) -> Any:
    """The value of `a or b`, `a and b`."""
    value: Any = None
    for each in node.values:
        value = _evaluated(each, names)
        if not _plain(value):
            return _UNKNOWN
        if bool(value) == isinstance(node.op, ast.Or):
            break
    return value


def _display(node: ast.Dict, names: Names) -> Table:
    table = Table()
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            table.take(_evaluated(value, names), f"**{ast.unparse(value)[:80]}")
        elif isinstance(key, ast.Constant) and isinstance(key.value, str):
            table.values[key.value] = evaluated(value, names)
        else:
            table.loose.append(f"{{{ast.unparse(key)[:40]}: ...}}")
    return table


def _called(node: ast.Call, names: Names) -> Any:
    called = name_of(node.func).rpartition(".")[2]
    arguments = [_evaluated(each, names) for each in node.args]
    if called in _TABLES:
        table = Table()
        for value, text in zip(arguments, node.args, strict=True):
            table.take(value, ast.unparse(text)[:80])
        put(table, node.keywords, names)
        return table
    if called in _COPIES:
        of = arguments[0] if arguments else _evaluated(node.func.value, names) if isinstance(node.func, ast.Attribute) else None
        return Table(dict(of.values), list(of.loose)) if isinstance(of, Table) else _UNKNOWN
    if called in ("vars", "asdict") and len(arguments) == 1 and isinstance(arguments[0], Table):
        return arguments[0]
    if called in _ROUNDING and called not in names and arguments and not node.keywords and all(map(is_number, arguments)):
        try:
            return _ROUNDING[called](*arguments)
        except (TypeError, ValueError, OverflowError):
            return _UNKNOWN
    if called in ("int", "float") and len(arguments) == 1 and isinstance(arguments[0], str):
        try:
            return _ROUNDING[called](arguments[0])
        except ValueError:
            return _UNKNOWN
    return _UNKNOWN


def _operated(node: ast.BinOp, names: Names) -> Any:
    left, right = _evaluated(node.left, names), _evaluated(node.right, names)
    if isinstance(node.op, ast.BitOr) and isinstance(left, Table):
        merged = Table(dict(left.values), list(left.loose))
        merged.take(right, ast.unparse(node.right)[:80])
        return merged
    if type(node.op) not in _OPERATIONS or not (is_number(left) and is_number(right)):
        return _UNKNOWN
    try:
        value = _OPERATIONS[type(node.op)](left, right)
    except (ZeroDivisionError, OverflowError):
        return _UNKNOWN
    return value if abs(value) < _LARGEST else _UNKNOWN
