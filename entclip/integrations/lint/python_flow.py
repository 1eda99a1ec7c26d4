"""From a Python script to the settings that one call in it makes: followed statement by statement to the end, nothing run.

Straight lines are followed: what a condition, a loop or another function may set is unresolved afterwards, and so is what is
handed to a function that may change it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from entclip.integrations.lint.python_tree import expression_of
from entclip.integrations.lint.python_values import Names, Table, evaluated, name_of, put
from entclip.integrations.lint.values import Unresolved

__all__ = ["followed"]

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_MUTATORS = ("update", "setdefault", "pop", "popitem", "clear", "__setitem__", "__setattr__")
# Calls that leave a table as it is.
# fmt: off
_READ = frozenset((
    "print", "pprint", "len", "str", "repr", "list", "sorted", "set", "tuple",
    "isinstance", "type", "cast", "dict", "OrderedDict", "Namespace", "SimpleNamespace", "vars", "asdict",
    "copy", "deepcopy", "replace", "items", "keys", "values", "get", "dump", "dumps",
    "join", "format", "log", "info", "debug", "warning", "init",
))
# fmt: on


def followed(
    tree: ast.Module,
    call: ast.Call,
    start: Callable[[Names], Table],
    position: int | None = None,
    given: Mapping[str, Any] | None = None,
) -> tuple[Table, Names]:
    """Return the settings that `call` makes and what the rest of the script makes of them, and the values of names at its end.

    Args:
        call: the call that builds the configuration.
        start: from the values of names at the call to its settings.
        position: which of the call's results the configuration is, None where it is the result.
        given: names with their values before the script begins.
    """
    return _Flow(tree, call, start, position, given or {}).result()


class _Flow:
    def __init__(
        self, tree: ast.Module, call: ast.Call, start: Callable[[Names], Table], position: int | None, given: Mapping[str, Any]
    ) -> None:
        self._tree, self._call, self._start, self._position = tree, call, start, position
        self._names: dict[str, Any] = dict(given)
        self._made: Table | None = None
        self._functions = {n.name: n for n in ast.walk(tree) if isinstance(n, _FUNCTIONS)}

    def result(self) -> tuple[Table, Names]:
        chain = _scopes_around(self._tree, self._call)
        for scope in (self._tree, *chain):
            if isinstance(scope, _FUNCTIONS):
                handed = self._handed(scope)
                self._names |= {name: handed.get(name, Unresolved(name)) for name in _locals(scope)}
            outer = dict(self._names)
            self._walk(scope.body)
            if isinstance(scope, ast.ClassDef):  # what a class sets, its methods have as self.NAME
                own = {name: value for name, value in self._names.items() if name not in outer or outer[name] is not value}
                self._names = outer | {f"self.{name}": value for name, value in own.items()}
        if self._made is None:  # in a place that is not followed: a decorator, a default of an argument
            self._make()
        self._others()
        return self._made or Table(), self._names

    def _handed(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, Table]:
        """Arguments of a function that are the script's own command line in the one call of it."""
        calls = [n for n in ast.walk(self._tree) if isinstance(n, ast.Call) and name_of(n.func) == function.name]
        if len(calls) != 1:
            return {}
        names = [each.arg for each in [*function.args.posonlyargs, *function.args.args]]
        pairs = [*zip(names, calls[0].args, strict=False), *((k.arg, k.value) for k in calls[0].keywords)]
        found = {name: self._from_outside(node, calls[0]) for name, node in pairs if name is not None}
        return {name: table for name, table in found.items() if table is not None}

    def _from_outside(self, node: ast.expr, call: ast.Call) -> Table | None:
        """The table of a command line that an argument of a call is, where the function that calls sets it no more than once."""
        around = _scopes_around(self._tree, call)
        if around and isinstance(node, ast.Name):
            stores = [n for n in ast.walk(around[-1]) if node.id in {name_of(target) for target in _targets(n)}]
            changed = any(name_of(target).startswith(f"{node.id}.") for n in ast.walk(around[-1]) for target in _targets(n))
            if changed or len(stores) != 1 or not isinstance(stores[0], ast.Assign):
                return None
            node = stores[0].value
        value = self._value(node)
        return value if isinstance(value, Table) and value.outside else None

    def _make(self) -> None:
        self._others()
        self._made = self._start(self._names)

    def _others(self) -> None:
        """Functions that are not those around the call run whenever they are called, before it and after."""
        for function in self._functions.values():
            if not self._builds(function):
                self._perhaps(function.body, _locals(function))

    def _walk(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if isinstance(statement, _SCOPES):
                continue
            if isinstance(statement, ast.If) and _surely(statement.test):
                self._walk(statement.body)
            elif isinstance(statement, ast.If | ast.For | ast.AsyncFor | ast.While) and self._builds(statement):
                # Where the configuration is built under a condition, the question is about runs in which it holds.
                for each in _targets(statement):
                    self._doubt(each, "a loop")
                for body in (statement.body, statement.orelse):
                    if any(map(self._builds, body)):
                        self._walk(body)
                    else:
                        self._perhaps(body)
            elif isinstance(statement, ast.With | ast.AsyncWith):
                self._perhaps([item.optional_vars for item in statement.items if item.optional_vars is not None])
                self._walk(statement.body)
            elif isinstance(statement, ast.Try):
                self._walk(statement.body)
                self._perhaps(statement.handlers)
                self._walk([*statement.orelse, *statement.finalbody])
            elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Expr | ast.Return | ast.Delete):
                self._simple(statement)
            else:
                self._perhaps([statement])

    def _builds(self, statement: ast.AST) -> bool:
        return any(node is self._call for node in ast.walk(statement))

    def _simple(self, statement: ast.stmt) -> None:
        for node in ast.walk(statement):
            if isinstance(node, ast.comprehension | ast.NamedExpr):
                self._doubt(node.target, "a loop")
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                self._call_of(node, surely=True)
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            value = self._value(statement.value)
            for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
                self._set(target, value, statement.value)
        elif isinstance(statement, ast.AugAssign):
            self._changed(statement)
        elif isinstance(statement, ast.Delete):
            for target in statement.targets:
                self._doubt(target, f"del {ast.unparse(target)[:60]}")

    def _value(self, node: ast.expr) -> Any:
        one = isinstance(node, ast.Subscript) and node.value is self._call and self._position is not None
        if one and getattr(node.slice, "value", None) == self._position:  # type: ignore[attr-defined]
            return self._made
        return self._made if node is self._call else evaluated(node, self._names)

    def _table(self, node: ast.expr) -> Table | None:
        """The table that an expression names. One that was read from somewhere has what is put into it, and what it had."""
        value, name = self._value(node), name_of(node)
        if isinstance(value, Unresolved) and name in self._names:
            value = self._names[name] = Table(loose=[f"{name} = {value}"])
        return value if isinstance(value, Table) else None

    def _set(self, target: ast.expr, value: Any, node: ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            parts = node.elts if isinstance(node, ast.Tuple | ast.List) and len(node.elts) == len(target.elts) else []
            for i, each in enumerate(target.elts):
                own = parts[i] if parts else node
                other = self._made if node is self._call and i == self._position else Unresolved(ast.unparse(node)[:80])
                self._set(each, self._value(own) if parts else other, own)
            return
        table, key = self._slot(target)
        if table is not None and key is not None:
            table.values[key] = value
        elif table is not None:
            table.loose.append(f"{ast.unparse(target)[:60]} = ...")
        elif name := name_of(target):
            self._names[name] = self._made if self._replaced(name, node) else value

    def _replaced(self, name: str, node: ast.expr) -> bool:
        """Whether `args = replace(args, epsilon=0.1)` puts settings into the configuration, which may be another after
        `args = f(args)`."""
        made = self._made
        if made is None or not isinstance(node, ast.Call) or not any(self._value(each) is made for each in node.args):
            return False
        same, called = self._names.get(name) is made, name_of(node.func).rpartition(".")[2]
        if same and called == "replace":
            put(made, node.keywords, self._names)
            return True
        if same or called == "replace":
            made.loose.append(ast.unparse(node)[:60])
        return False

    def _slot(self, target: ast.expr) -> tuple[Table | None, str | None]:
        """The table that `table[key]` or `configuration.key` is in, and the key where it is written out."""
        if not isinstance(target, ast.Subscript | ast.Attribute):
            return None, None
        table = self._table(target.value)
        if table is None:
            return None, None
        key = target.attr if isinstance(target, ast.Attribute) else getattr(target.slice, "value", None)
        return table, key if isinstance(key, str) else None

    def _changed(self, statement: ast.AugAssign) -> None:
        target = statement.target
        table, key = self._slot(target)
        of = table.values.get(key) if table is not None and key is not None else self._names.get(name_of(target))
        if isinstance(of, Table) and isinstance(statement.op, ast.BitOr):
            of.take(self._value(statement.value), f"|= {ast.unparse(statement.value)[:60]}")
            return
        both = ast.BinOp(_loaded(target), statement.op, statement.value)
        self._set(target, evaluated(both, self._names), both)

    def _call_of(self, node: ast.Call, *, surely: bool) -> None:
        """What a call does to tables: the one that makes the configuration, methods of tables, and functions that get one."""
        if node is self._call:
            if self._made is None:
                self._make()
            return
        called = name_of(node.func).rpartition(".")[2] or getattr(node.func, "attr", "")
        if called == "setattr" and len(node.args) == 3:
            table, key = self._value(node.args[0]), getattr(node.args[1], "value", None)
            self._store(table, key, node.args[2], "setattr(...)", surely)
            return
        if isinstance(node.func, ast.Attribute) and called in _MUTATORS:
            table = self._table(node.func.value)
            if table is not None:
                self._mutate(table, called, node, surely)
            return
        if called in _READ:
            return
        own = self._functions.get(called)
        for value in [*node.args, *(k.value for k in node.keywords if k.arg is not None)]:
            table = self._value(value) if not isinstance(value, ast.Starred) else None
            # A trainer leaves its configuration as it is; a function of the script may not, nor one that gets a dictionary.
            kept = isinstance(table, Table) and (table is self._made or table.outside)
            writes = own is not None and not self._builds(own) and _writes(own)
            if isinstance(table, Table) and (not kept or writes):
                table.loose.append(f"{called or 'a call'}({ast.unparse(value)[:40]})")

    def _mutate(self, table: Table, called: str, node: ast.Call, surely: bool) -> None:
        first = node.args[0] if node.args else None
        if called == "update" and surely:
            if first is not None:
                table.take(self._value(first), f"update({ast.unparse(first)[:60]})")
            put(table, node.keywords, self._names)
        elif called in ("update", "popitem", "clear") or first is None:
            for key in (k.arg for k in node.keywords) if called == "update" and first is None else [None]:
                self._store(table, key, node, f"{called}(...)", surely=False)
        else:
            key = getattr(first, "value", None)
            if called == "setdefault" and key in table.values:
                return
            to = node.args[1] if called != "pop" and len(node.args) > 1 else None
            if called == "pop" and surely and isinstance(key, str) and not table.loose:
                table.values.pop(key, None)
            else:
                self._store(table, key, to if to is not None else node, f"{called}(...)", surely and to is not None)

    def _store(self, table: Any, key: Any, value: ast.expr, text: str, surely: bool) -> None:
        if not isinstance(table, Table):
            return
        if not isinstance(key, str):
            table.loose.append(text)
        else:
            table.values[key] = self._value(value) if surely else Unresolved(f"a later {key} = ...")

    def _perhaps(self, nodes: list[Any], local: frozenset[str] = frozenset()) -> None:
        """What statements may do that may or may not run."""
        hidden = {name: self._names.pop(name) for name in list(self._names) if name.partition(".")[0] in local}
        for node in (each for statement in nodes for each in ast.walk(statement)):
            if isinstance(node, ast.Call):
                self._call_of(node, surely=False)
            for target in _targets(node):
                self._doubt(target, f"a later {ast.unparse(target)[:60]} = ...")
        self._names |= hidden

    def _doubt(self, target: ast.expr, text: str) -> None:
        for each in target.elts if isinstance(target, ast.Tuple | ast.List) else [target]:
            table, key = self._slot(each)
            if table is not None:
                self._store(table, key, each, text, surely=False)
            elif (name := name_of(each)) in self._names:
                if self._names[name] is self._made and self._made is not None:
                    self._made.loose.append(text)
                self._names[name] = Unresolved(name)


def _scopes_around(tree: ast.Module, call: ast.Call) -> list[Any]:
    """The classes and functions that a call is in, outermost first."""
    chain: list[Any] = []
    body: list[ast.AST] = list(ast.iter_child_nodes(tree))
    while (holder := next((n for n in body if any(each is call for each in ast.walk(n))), None)) is not None:
        if isinstance(holder, _SCOPES):
            chain.append(holder)
        body = list(ast.iter_child_nodes(holder))
    return chain


def _locals(function: ast.FunctionDef | ast.AsyncFunctionDef) -> frozenset[str]:
    """Arguments and names that a function sets for itself."""
    a = function.args
    arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs, *(x for x in (a.vararg, a.kwarg) if x is not None)]
    shared = {name for n in ast.walk(function) if isinstance(n, ast.Global | ast.Nonlocal) for name in n.names}
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return frozenset(({each.arg for each in arguments} - {"self", "cls"} | stored) - shared)


def _writes(function: ast.AST) -> bool:
    """Whether a function sets attributes or entries of anything."""
    for node in ast.walk(function):
        if any(isinstance(target, ast.Attribute | ast.Subscript) for target in _targets(node)):
            return True
        if isinstance(node, ast.Call) and name_of(node.func).rpartition(".")[2] in (*_MUTATORS, "setattr"):
            return True
    return False


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    """What a node sets or deletes."""
    if isinstance(node, ast.Assign | ast.Delete):
        yield from node.targets
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For | ast.AsyncFor | ast.NamedExpr):
        yield node.target


def _surely(test: ast.expr) -> bool:
    """Whether a condition holds in a script that is started: `True`, or `__name__ == "__main__"`."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    return isinstance(test, ast.Compare) and name_of(test.left) == "__name__"


def _loaded(target: ast.expr) -> ast.expr:
    """A target as an expression that is read."""
    return expression_of(ast.unparse(target))
