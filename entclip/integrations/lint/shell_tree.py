"""The syntax tree of a shell script, as tree-sitter's grammar of bash cuts it up, and what is refused of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

__all__ = ["Unfinished", "compact", "parse", "refuse_unfinished", "text_of", "walk", "without_inner_comments"]

_CLOSED = re.compile(r"""^("(\\.|[^"\\])*"|'[^']*')""", re.DOTALL)


class Unfinished(ValueError):
    """A quotation, an array or an expansion of a script does not end."""


def parse(text: str) -> Any:
    """Return the root of a script's syntax tree."""
    from tree_sitter import Language, Parser
    from tree_sitter_bash import language

    return Parser(Language(language())).parse(text.encode("utf-8", "replace")).root_node


def without_inner_comments(text: str) -> str:
    """Return the text without comment lines inside a continued command: bash ends it there, who wrote it did not mean to."""
    lines = text.split("\n")
    inside = [n.start_point[0] for n in walk(parse(text)) if n.type == "comment" and not _before(lines, n).strip()]
    for row in inside:
        above = row - 1
        while above in inside:
            above -= 1
        if above >= 0 and lines[above].endswith("\\"):
            lines[row] = "\\"
    return "\n".join(lines)


def _before(lines: list[str], node: Any) -> str:
    return lines[node.start_point[0]].encode("utf-8", "replace")[: node.start_point[1]].decode("utf-8", "replace")


def walk(node: Any) -> Iterator[Any]:
    """Yield a node and all below it, in the order of the text."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(node.children))


def text_of(node: Any) -> str:
    """Return the text of a node as it stands in the script."""
    text: str = node.text.decode("utf-8", "replace")
    return text


def compact(node: Any) -> str:
    """Return an expansion that has no value here without the spaces and quotes inside, so that it stays one word."""
    return re.sub(r"[\s'\"]", "", text_of(node))


def refuse_unfinished(root: Any) -> None:
    """Raise Unfinished for a quotation, an array or an expansion that does not end."""
    for node in walk(root):
        start = text_of(node)[:2] if node.type == "ERROR" else node.type if node.is_missing else ""
        if start[:1] in ('"', "'") and not (node.type == "ERROR" and _CLOSED.match(text_of(node))):
            kind = "double" if start[0] == '"' else "single"
            raise Unfinished(f"the command line cannot be split into words: a {kind} quotation does not end.")
        if node.is_missing and node.parent.type == "array":
            raise Unfinished("the script cannot be read: an array NAME=( ... ) has no closing parenthesis.")
        if start in ("${", "$("):
            raise Unfinished(f"the script cannot be read: {text_of(node)[:20]!r} has no closing bracket.")
