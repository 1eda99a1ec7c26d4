"""Python scripts that have a parser of arguments fill a configuration in: `TrlParser((GRPOConfig,))`, `HfArgumentParser`.

What the script sets itself, `parser.set_defaults(epsilon=0.1)` and what it does to the result, is read; the rest is on the
command line that the script is started with.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from entclip.integrations.lint.python_values import Names, Table, evaluated, name_of, put

__all__ = ["Parsed", "parsed_by"]

_PARSERS = ("TrlParser", "HfArgumentParser", "H4ArgumentParser")


@dataclass(frozen=True)
class Parsed:
    """The call that fills a configuration in, which of its results that is, and the defaults that are set before.

    used: the class of the configuration. loose: what else may set something. parser, line: the parser's class, and where it is.
    """

    call: ast.Call
    used: Any
    position: int
    defaults: tuple[ast.Call, ...]
    loose: tuple[str, ...]
    parser: str
    line: int

    @property
    def by_command_line(self) -> bool:
        """Tell whether the settings are those of the command line that starts the script."""
        return _method(self.call).startswith("parse_args") and not _given(self.call)

    def fill(self, table: Table, names: Names) -> None:
        """Put in what the parser has by default, and what it is given in the script."""
        for each in self.defaults:
            table.loose += [ast.unparse(value)[:40] for value in each.args]
            put(table, each.keywords, names)
        table.loose += self.loose
        if self.by_command_line:
            return
        given = _given(self.call)
        value = evaluated(given[0], names) if given else None
        what = f"{_method(self.call)}({ast.unparse(given[0])[:40] if given else ''})"
        table.take(value if _method(self.call) == "parse_dict" else None, what)


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _given(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(k.value for k in call.keywords if k.arg in ("args", "args_filename", "json_file", "yaml_file"))]


def parsed_by(tree: ast.Module, of: Callable[[ast.expr], Any]) -> Parsed | None:
    """Return how a parser of arguments fills a known configuration in, None where none does.

    Args:
        of: from an expression to the class of a configuration that it names, None for any other.
    """
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for maker in (c for c in calls if name_of(c.func).rpartition(".")[2] in _PARSERS):
        classes = list(_classes(tree, maker))
        position = next((n for n, each in enumerate(classes) if of(each) is not None), None)
        if position is None:
            continue
        holder = parents.get(maker)
        targets = holder.targets if isinstance(holder, ast.Assign) else []
        names = {name for target in targets if (name := name_of(target))}
        own = [
            c for c in calls if isinstance(c.func, ast.Attribute) and (c.func.value is maker or name_of(c.func.value) in names)
        ]
        fills = [c for c in own if _method(c).startswith("parse_")]
        if not fills:
            continue
        defaults = [c for c in own if _method(c).startswith("set_defaults")]
        sure = tuple(c for c in defaults if not _under_condition(c, parents))
        loose = [f"{_method(c)}(...) under a condition" for c in defaults if c not in sure]
        loose += [f"{_method(c)}(...)" for c in fills[:-1]]
        # A function that gets the parser may set defaults of its own.
        loose += [
            f"{name_of(c.func)}({name_of(each)})" for c in calls for each in c.args if name_of(each) in names and c not in own
        ]
        name = name_of(maker.func).rpartition(".")[2]
        return Parsed(fills[-1], of(classes[position]), position, sure, tuple(loose), name, maker.lineno)
    return None


def _classes(tree: ast.Module, maker: ast.Call) -> Iterator[ast.expr]:
    """The classes that a parser is made for: one, several, or a name of several."""
    given = [*maker.args[:1], *(k.value for k in maker.keywords if k.arg == "dataclass_types")]
    first = given[0] if given else None
    if isinstance(first, ast.Name):
        assigned = [
            n.value for n in ast.walk(tree) if isinstance(n, ast.Assign) and any(name_of(t) == first.id for t in n.targets)
        ]
        first = assigned[0] if len(assigned) == 1 and isinstance(assigned[0], ast.Tuple | ast.List) else first
    if isinstance(first, ast.Tuple | ast.List):
        yield from first.elts
    elif first is not None:
        yield first


def _under_condition(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    while (node := parents.get(node)) is not None:  # type: ignore[assignment]
        if isinstance(node, ast.For | ast.While | ast.ExceptHandler | ast.Lambda):
            return True
        if isinstance(node, ast.If) and not (isinstance(node.test, ast.Compare) and name_of(node.test.left) == "__name__"):
            return True
    return False
