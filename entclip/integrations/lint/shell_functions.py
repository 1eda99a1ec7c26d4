"""Functions of a script: one that is called once is read at its call, with what it is given; any other where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from entclip.integrations.lint.shell_branches import Branches
from entclip.integrations.lint.shell_roles import shows
from entclip.integrations.lint.shell_tree import text_of, walk
from entclip.integrations.lint.shell_words import Held, together

__all__ = ["Functions"]

_LOCAL = ("local", "declare", "typeset")


class Functions(Branches):
    """Reads bodies of functions: inside, what they set is known; outside, it is what the place of the call makes of it."""

    def __init__(self, outside: frozenset[str] = frozenset(), arguments: Sequence[str] | None = None) -> None:
        super().__init__(outside, arguments)
        self.bodies: dict[str, list[Any]] = {}  # of functions that have one call
        self.root: Any = None

    def define(self, node: Any) -> None:
        """Read a function where it stands, unless its one call is known: what it sets, and whether it only says what it gets."""
        function, *body = node.named_children
        name = text_of(function)
        calls = [n for n in walk(self.root) if n.type == "command_name" and text_of(n) == name]
        one = len(calls) == 1 and not node.start_byte <= calls[0].start_byte < node.end_byte
        if one and not self.conditions and name not in self.bodies:
            self.bodies[name] = body
            return
        count = len(self.script.commands)
        self.functions += 1
        self.inside.append(name)
        later = {n for each in walk(self.root) if each.start_byte >= node.end_byte for n in _set_in(each)}
        self._framed(body, [f"line {node.start_point[0] + 1}, in a function"], frozenset(later))
        self.inside.pop()
        self.functions -= 1
        if all(shows(each.words) for each in self.script.commands[count:]):
            self.script.shows.add(name)

    def call(self, name: str, words: list[str]) -> Held | None:
        """Read a function at its one call, with the words that it is given; return what it writes, where that is known."""
        body = self.bodies.pop(name)
        arguments, functions = self.arguments, self.functions
        own = {str(n): self.variables.pop(str(n), None) for n in range(1, 10)}
        self.arguments, self.functions = tuple(words), 0
        self.variables |= dict.fromkeys(own, "") | {str(n): word for n, word in enumerate(words, 1)}
        said = self._framed(body, self.conditions)
        self.arguments, self.functions = arguments, functions
        for n in {*own, *map(str, range(1, len(words) + 1))}:
            self.variables.pop(n, None)
        self.variables |= {n: value for n, value in own.items() if value is not None}
        return said

    def _framed(self, body: list[Any], conditions: list[str], later: frozenset[str] = frozenset()) -> Held | None:
        """Read a body as if it were run; afterwards its local names are gone, and the others are set under the conditions.

        later: names that are set after the definition, so that what they are at a call is not known.
        """
        local = {n for node in body for each in walk(node) if text_of(each).startswith(_LOCAL) for n in _set_in(each)}
        shared = {n for node in body for n in _set_in(node)} - local
        before, arrays, ended = dict(self.variables), dict(self.arrays), self.ended
        around, self.conditions = self.conditions, []
        if conditions:  # it may be run more than once
            self.variables |= dict.fromkeys((shared | later) & self.variables.keys())
        said = together([self.statement(node) for node in body])
        changed = {n: v for n, v in self.variables.items() if n not in before or before[n] != v}
        changed_arrays = {n: v for n, v in self.arrays.items() if arrays.get(n) != v}
        for n in changed if conditions else local & changed.keys():
            self.variables.pop(n)
            self.either.pop(n, None)
        for n in changed_arrays if conditions else local & changed_arrays.keys():
            self.arrays.pop(n)
        self.variables |= {n: v for n, v in before.items() if n not in self.variables}
        self.arrays |= {n: v for n, v in arrays.items() if n not in self.arrays}
        self.conditions = conditions
        if conditions:
            self.ended = ended
            for n in sorted(shared & changed.keys()):
                self.set_variable(n, changed[n])
            for n in sorted(changed_arrays.keys() - local):
                self.set_array(n, changed_arrays[n])
        self.conditions = around
        return said


def _set_in(node: Any) -> set[str]:
    """Names that are set in a statement."""
    return {
        text_of(child)
        for each in walk(node)
        if each.type in ("variable_assignment", "for_statement", "declaration_command")
        for child in each.children
        if child.type == "variable_name"
    }
