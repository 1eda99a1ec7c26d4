"""Whether a condition of a shell script holds, where its own text decides: `[[ "$DEBUG" == 1 ]]`, `-z`, `-eq`, `(( n > 2 ))`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from entclip.integrations.lint.arithmetic import evaluate
from entclip.integrations.lint.shell_tree import text_of

__all__ = ["both", "either", "matches", "negated", "truth"]

_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    **{"-eq": operator.eq, "-ne": operator.ne, "-lt": operator.lt, "-le": operator.le, "-gt": operator.gt, "-ge": operator.ge},
    **{"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge},
}
_INNER = ("test_command", "binary_expression", "unary_expression", "parenthesized_expression")
_COMPARISON = re.compile(r"([^<>=!]*)(==|!=|<=|>=|<|>)([^<>=!]*)")
Token = tuple[str, bool]  # its text, and whether it is an operand


def truth(node: Any, joined: Callable[[Any], str], variables: Mapping[str, str | None]) -> bool | None:
    """Return whether a command succeeds that stands for a condition, None where only a real shell would know."""
    kind, inner = node.type, node.named_children
    if kind in ("variable_assignment", "declaration_command"):
        return True
    if kind == "test_command":
        return _Test(list(_tokens(node, joined))[1:-1]).value()
    if kind == "negated_command" and inner:
        return negated(truth(inner[-1], joined, variables))
    if kind == "list" and len(inner) == 2:
        first, second = (truth(each, joined, variables) for each in inner)
        return both(first, second) if any(each.type == "&&" for each in node.children) else either(first, second)
    if kind == "compound_statement" and text_of(node).startswith("(("):
        return _arithmetic(text_of(node)[2:-2], variables)
    if kind == "command" and inner:
        name = joined(inner[0])
        if name == "test":
            words = [joined(each) for each in inner[1:]]
            return _Test([(word, not re.fullmatch(r"!|-\w+|!?==?", word)) for word in words]).value()
        return {"true": True, ":": True, "false": False}.get(name)
    return None


def matches(text: str, pattern: str) -> bool | None:
    """Return whether a text fits a pattern of a shell, None where one of them holds what is not known."""
    if any(mark in text + pattern for mark in "$`"):
        return None
    return fnmatchcase(text, pattern)


def negated(value: bool | None) -> bool | None:
    """Return the negation of what may be unknown."""
    return None if value is None else not value


def both(first: bool | None, second: bool | None) -> bool | None:
    """Return whether two things hold that may be unknown."""
    if first is False or second is False:
        return False
    return None if first is None or second is None else True


def either(first: bool | None, second: bool | None) -> bool | None:
    """Return whether one of two things holds that may be unknown."""
    return negated(both(negated(first), negated(second)))


def _arithmetic(text: str, variables: Mapping[str, str | None]) -> bool | None:
    text = re.sub(r"\$(#|\{#\})", variables.get("#") or "unknown", text)
    match = _COMPARISON.fullmatch(text.strip())
    if match is None:
        value = evaluate(text, variables)
        return None if value is None else value != 0
    left, right = evaluate(match[1], variables), evaluate(match[3], variables)
    return None if left is None or right is None else _NUMBERS[match[2]](left, right)


def _tokens(node: Any, joined: Callable[[Any], str]) -> Iterator[Token]:
    """Operators and operands of a test in the order of its text: the grammar binds `!` and `-a` otherwise than a shell."""
    for each in node.children:
        if each.type in _INNER:
            yield from _tokens(each, joined)
        elif not each.is_named or each.type == "test_operator":
            yield text_of(each), False
        else:
            yield joined(each), True


class _Test:
    """The value of a test by its tokens: or of ands of negations of comparisons."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens

    def value(self) -> bool | None:
        try:
            found = self._or()
        except IndexError:
            return None
        return found if not self.tokens else None

    def _take(self, *operators: str) -> str:
        if self.tokens and not self.tokens[0][1] and self.tokens[0][0] in operators:
            return self.tokens.pop(0)[0]
        return ""

    def _or(self) -> bool | None:
        found = self._and()
        while self._take("||", "-o"):
            found = either(found, self._and())
        return found

    def _and(self) -> bool | None:
        found = self._one()
        while self._take("&&", "-a"):
            found = both(found, self._one())
        return found

    def _one(self) -> bool | None:
        if self._take("!"):
            return negated(self._one())
        if self._take("("):
            found = self._or()
            return found if self._take(")") else None
        text, operand = self.tokens.pop(0)
        if not operand:
            value = self.tokens.pop(0)[0]
            known = text in ("-z", "-n") and not any(mark in value for mark in "$`")
            return (value == "") == (text == "-z") if known else None
        if not self.tokens or self.tokens[0][1] or self.tokens[0][0] in ("&&", "||", "-a", "-o", ")"):
            return None if any(mark in text for mark in "$`") else text != ""
        return self._compared(text, self.tokens.pop(0)[0], self.tokens.pop(0)[0])

    def _compared(self, left: str, by: str, right: str) -> bool | None:
        if by in ("=", "=="):
            return matches(left, right)
        if by == "!=":
            return negated(matches(left, right))
        if by not in _NUMBERS or by in ("<", ">"):
            return None
        try:
            return _NUMBERS[by](int(left), int(right))
        except ValueError:
            return None
