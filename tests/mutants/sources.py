"""The mutants of a file: mutmut's changes of one operator, number, argument or name, applied to every function and constant."""

from __future__ import annotations

import hashlib
import itertools
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation.mutators import mutation_operators

ROOT = Path(__file__).resolve().parents[2]
# Names for types: what they stand for is checked by mypy and by the tests of experiment files, not by arithmetic.
_ALIASES = {"__all__", "Array", "Geometry", "Advantage", "Form"}
_NEVER_CALLED = {"len", "isinstance"}  # as in mutmut: their mutants do nothing but raise
_REFUSALS = {"check_not_negative", "check_steepness"}  # what they are given without a name is the text of their error


@dataclass(frozen=True)
class Mutant:
    """One change: the lines it removes and adds, without indentation.

    Attributes:
        where: function, Class.method, Class or "module".
        in_body: whether a function's body changes, and nothing that is run when the module is imported.
        message: whether nothing but the text of an error changes.
        source: the whole file, changed.
    """

    file: str
    where: str
    was: str
    now: str
    name: str
    in_body: bool
    message: bool
    source: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.file, self.where, self.was, self.now

    @property
    def place(self) -> str:
        return f"{self.file}:{self.where}"


@cache
def settings() -> dict[str, Any]:
    """Return [tool.mutants] of pyproject.toml: files, without, tests, pytest."""
    config: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutants"]
    return config


def formula_files() -> list[str]:
    """Return the files that are mutated, relative to the repository."""
    chosen = {str(p.relative_to(ROOT)) for pattern in settings()["files"] for p in ROOT.glob(pattern)}
    return sorted(chosen - set(settings()["without"]))


def group_of(file: str) -> str:
    """Return policies, rewards, objectives or drift."""
    return Path(file).parts[1]


def mutants_of(file: str) -> Iterator[Mutant]:
    """Yield every mutant of a file: of function bodies, and of what runs when the module is imported."""
    source = (ROOT / file).read_text()
    module = cst.parse_module(source)
    spliced = _Splicer(source, module)
    seen: Counter[str] = Counter()
    for statement in module.body:
        for where, root, in_body in _roots(statement, "module"):
            for node, message in _nodes(root, False):
                for changed in _changes(node):
                    whole = spliced(statement, node, changed)
                    lines = _changed_lines(source, whole)
                    name = hashlib.sha256(f"{file} {where} {lines}".encode()).hexdigest()[:16]
                    seen[name] += 1
                    text = message or (_refusal(node) and _named(node) == _named(changed))
                    yield Mutant(file, where, *lines, f"{name}-{seen[name]}", in_body, text, whole)


class _Splicer:
    """Puts a changed node into the text of its module."""

    def __init__(self, source: str, module: cst.Module) -> None:
        self.source, self.module = source, module
        self.places = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
        ends = itertools.accumulate(len(line) for line in source.splitlines(keepends=True))
        self.starts = [0, *ends]

    def __call__(self, statement: cst.CSTNode, node: cst.CSTNode, changed: cst.CSTNode) -> str:
        if place := self.places.get(node):
            first, last = (self.starts[p.line - 1] + p.column for p in (place.start, place.end))
            old, new = (self.module.code_for_node(x) for x in _bare(node, changed))
            if self.source[first:last] == old:
                return self.source[:first] + new + self.source[last:]
        # A node over several lines is printed without the indentation of its place: print the whole file, which takes longer.
        at = next(k for k, x in enumerate(self.module.body) if x is statement)
        body = [*self.module.body[:at], statement.deep_replace(node, changed), *self.module.body[at + 1 :]]
        return self.module.with_changes(body=body).code


def _bare(node: cst.CSTNode, changed: cst.CSTNode) -> tuple[cst.CSTNode, cst.CSTNode]:
    """Return both without the parentheses around them, if they have the same: for libcst they are outside of it."""
    around = getattr(node, "lpar", ())
    if not around or getattr(changed, "lpar", None) != around:
        return node, changed
    return node.with_changes(lpar=[], rpar=[]), changed.with_changes(lpar=[], rpar=[])


def _roots(statement: cst.CSTNode, where: str) -> Iterator[tuple[str, cst.CSTNode, bool]]:
    """Yield what is mutated of a statement, each with the name of its place, and whether it is the body of a function."""
    name = statement.name.value if isinstance(statement, (cst.ClassDef, cst.FunctionDef)) else ""
    inside = name if where == "module" else f"{where}.{name}"
    if isinstance(statement, cst.ClassDef) and isinstance(statement.body, cst.IndentedBlock):
        for inner in statement.body.body:
            yield from _roots(inner, inside)
    elif isinstance(statement, cst.FunctionDef):
        yield inside, statement.body, True
        yield inside, statement.params, False
    elif isinstance(statement, cst.SimpleStatementLine):
        for small in statement.body:
            if isinstance(small, (cst.Assign, cst.AnnAssign)) and not _alias(small):
                yield where, small, False


def _alias(statement: cst.Assign | cst.AnnAssign) -> bool:
    """Tell whether a statement names a type, or what a module exports."""
    target = statement.targets[0].target if isinstance(statement, cst.Assign) else statement.target
    value = statement.value.value if isinstance(statement.value, cst.Subscript) else None
    return getattr(target, "value", "") in _ALIASES or getattr(value, "value", "") == "Literal"


def _nodes(root: cst.CSTNode, message: bool) -> Iterator[tuple[cst.CSTNode, bool]]:
    """Yield what is below a node, and whether it is the text of an error: what is inside the parentheses of raise X(...), or
    given without a name to a function that does nothing but refuse."""
    if isinstance(root, (cst.Annotation, cst.Decorator)):
        return
    if isinstance(root, cst.Call) and isinstance(root.func, cst.Name) and root.func.value in _NEVER_CALLED:
        return
    yield root, message
    for child in root.children:
        raised = isinstance(root, cst.Raise) and child is root.exc and isinstance(child, cst.Call)
        told = _refusal(root) and isinstance(child, cst.Arg) and child.keyword is None
        yield from _nodes(child, message or raised or told)


def _refusal(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value in _REFUSALS


def _named(call: cst.CSTNode) -> list[tuple[str, str]]:
    """Return the arguments of a call that have names, each with its value as text."""
    code = cst.Module([]).code_for_node
    return [(arg.keyword.value, code(arg.value)) for arg in getattr(call, "args", ()) if arg.keyword is not None]


def _changes(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            yield from operator(node)


def _changed_lines(before: str, after: str) -> tuple[str, str]:
    """Return the lines that differ, from the first to the last, without indentation: a mutant changes one place."""
    old, new = before.splitlines(), after.splitlines()
    same = list(map(str.__eq__, old, new)), list(map(str.__eq__, reversed(old), reversed(new)))
    first, last = (x.index(False) if False in x else len(x) for x in same)
    last = min(last, len(old) - first, len(new) - first)
    return tuple("\n".join(line.strip() for line in x[first : len(x) - last]) for x in (old, new))  # type: ignore[return-value]
