"""Enough of a shell to read a launch script: words, literal variables, arrays, defaults as `${NAME:-value}`, arithmetic on them.

Nothing is run; tree-sitter's grammar of bash cuts the text up. A variable is substituted only if the script sets it
unconditionally, to text. What only a real shell would know (the environment, `$(command)`, assignments under `if`, `case`, `&&`,
`||` or in a loop) stays as it is written, with its `$`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from entclip.integrations.lint.arithmetic import evaluate

__all__ = ["Command", "Script", "read_script"]

MAX_SCRIPT = 250_000  # characters: launch scripts are a hundredth of that
MAX_EXPANDED = 1_000_000  # characters that variables and arrays may come to, all words together
_REFERENCE = re.compile(r"^\$(?:\{(\w+)(?::?[-=](.*))?\}|(\w+))$", re.DOTALL)
_ARRAY = re.compile(r"^\$\{(\w+)\[[@*]\]\}$")
_CLOSED = re.compile(r"""^("(\\.|[^"\\])*"|'[^']*')""", re.DOTALL)
_KEY = re.compile(r"^\+{0,2}([\w.@/-]+)=")
_ARGUMENTS = re.compile(r"^\$(?:[@*]|\{[@*](:\d+)?\})$")
_CONDITIONAL = {
    "if_statement",
    "while_statement",
    "for_statement",
    "c_style_for_statement",
    "case_statement",
    "function_definition",
    "subshell",
    "command_substitution",
    "process_substitution",
}


@dataclass(frozen=True)
class Command:
    """The words of one command, and whether a part of it could not be read as bash."""

    words: list[str]
    unreadable: bool = False


@dataclass
class Script:
    """commands, in order. documents: texts of here-documents. defaults: `NAME=value` taken from `${NAME:-value}`, which the
    environment may override. passes_on: whether a command takes the script's own arguments, as "$@"."""

    commands: list[Command] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    defaults: dict[str, str] = field(default_factory=dict)
    passes_on: bool = False


def read_script(text: str) -> Script:
    """Return the commands of a script with literal variables and arrays put in.

    Raises: ValueError for a quotation that does not end, a script longer than MAX_SCRIPT or nested too deeply, or variables that
        multiply beyond MAX_EXPANDED.
    """
    if len(text) > MAX_SCRIPT:
        raise ValueError(f"the script has {len(text):,} characters, over {MAX_SCRIPT:,}: give the file that starts the training.")
    try:
        return _Reader(text).read()
    except RecursionError:
        raise ValueError("the script is nested too deeply to be a launch script.") from None


def _parse(text: str) -> Any:
    from tree_sitter import Language, Parser
    from tree_sitter_bash import language

    return Parser(Language(language())).parse(text.encode("utf-8", "replace")).root_node


def _without_inner_comments(text: str) -> str:
    """The text without comment lines inside a continued command: bash ends the command there, who wrote it did not mean to."""
    lines = text.split("\n")
    inside = [n.start_point[0] for n in _walk(_parse(text)) if n.type == "comment" and not _before(lines, n).strip()]
    for row in inside:
        above = row - 1
        while above in inside:
            above -= 1
        if above >= 0 and lines[above].endswith("\\"):
            lines[row] = "\\"
    return "\n".join(lines)


def _before(lines: list[str], node: Any) -> str:
    return lines[node.start_point[0]].encode("utf-8", "replace")[: node.start_point[1]].decode("utf-8", "replace")


def _walk(node: Any) -> Iterator[Any]:
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(node.children))


def _text(node: Any) -> str:
    text: str = node.text.decode("utf-8", "replace")
    return text


def _compact(node: Any) -> str:
    """An expansion that has no value here, without the spaces and quotes inside, so that it stays one word."""
    return re.sub(r"[\s'\"]", "", _text(node))


def _either_way(name: str, before: list[str], after: list[str]) -> list[str]:
    """The words of an array that is changed under a condition: a key=value in one case only has no known value."""
    if not all(_KEY.match(word) for word in (*before, *after)):
        return [f"${{{name}[@]}}"]
    cases = [{word.partition("=")[0]: word for word in words} for words in (before, after)]
    keys = dict.fromkeys([*cases[0], *cases[1]])
    same = {key for key in keys if cases[0].get(key) == cases[1].get(key)}
    return [cases[0][key] if key in same else f"{key}=$(set-under-a-condition)" for key in keys]


def _refuse_unfinished(node: Any) -> None:
    """ValueError for a quotation, an array or an expansion that does not end."""
    start = _text(node)[:2] if node.type == "ERROR" else node.type if node.is_missing else ""
    if start[:1] in ('"', "'") and not (node.type == "ERROR" and _CLOSED.match(_text(node))):
        kind = "double" if start[0] == '"' else "single"
        raise ValueError(f"the command line cannot be split into words: a {kind} quotation does not end.")
    if node.is_missing and node.parent.type == "array":
        raise ValueError("the script cannot be read: an array NAME=( ... ) has no closing parenthesis.")
    if start in ("${", "$("):
        raise ValueError(f"the script cannot be read: {_text(node)[:20]!r} has no closing bracket.")


class _Reader:
    """Puts literal variables and arrays in, in order. A name set under a condition has no value until it is set without one."""

    def __init__(self, text: str) -> None:
        self.root = _parse(_without_inner_comments(text))
        self.variables: dict[str, str | None] = {}
        self.arrays: dict[str, list[str]] = {}
        self.script = Script()
        self.depth = self.functions = 0
        self.expanded = 0

    def read(self) -> Script:
        for node in _walk(self.root):
            _refuse_unfinished(node)
        self._statement(self.root)
        return self.script

    def _statement(self, node: Any) -> None:
        kind = node.type
        if kind == "command":
            self._command(node)
        elif kind == "variable_assignment":
            self._assign(node)
        elif kind == "heredoc_body":
            self.script.documents.append(_text(node))
        elif kind == "list":
            first, *rest = node.named_children or [node]
            self._statement(first)
            self._under_condition(rest)
        elif kind in _CONDITIONAL:
            for name in (c for c in node.children if c.type == "variable_name"):
                self.variables[_text(name)] = None  # a loop's own
            self.functions += kind == "function_definition"
            self._under_condition(node.named_children)
            self.functions -= kind == "function_definition"
        elif kind not in ("string", "raw_string", "word", "comment"):
            for child in node.named_children:
                self._statement(child)

    def _under_condition(self, nodes: list[Any]) -> None:
        self.depth += 1
        for node in nodes:
            self._statement(node)
        self.depth -= 1

    def _command(self, node: Any) -> None:
        words: list[str] = []
        for child in node.named_children:
            if child.type == "command_name":
                words += [w for part in child.children for w in self._words(part)]
            elif child.type in ("heredoc_redirect", "herestring_redirect", "file_redirect"):
                self._statement(child)
            elif child.type != "variable_assignment":  # FOO=1 command: the environment of that command only
                words += self._words(child)
        if words and words[0] == "read":
            self.variables |= dict.fromkeys((w for w in words[1:] if not w.startswith("-")), None)
        self.script.commands.append(Command(words, unreadable=node.has_error))

    def _assign(self, node: Any) -> None:
        target, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        append = any(child.type == "+=" for child in node.children)
        if target is None or target.type != "variable_name":
            return
        name = _text(target)
        if value is not None and value.type == "array":
            words = [word for item in value.named_children if item.type != "comment" for word in self._words(item)]
            before = self.arrays.get(name, [])
            after = [*before, *words] if append else words
            self.arrays[name] = _either_way(name, before, after) if self.depth > 0 else after
            return
        text = "" if value is None else self._joined(value)
        self._count([text])
        before_text = self.variables.get(name, "") if append else ""
        self.variables[name] = None if self.depth > 0 or before_text is None else before_text + text

    def _joined(self, node: Any) -> str:
        return "".join(text for text, _ in self._parts(node))

    def _words(self, node: Any) -> list[str]:
        """The words that one argument becomes: an expansion outside quotes is split at its spaces."""
        bare = node.named_children[0] if node.type == "string" and len(node.named_children) == 1 else node
        source = _text(bare)
        array = _ARRAY.match(source)
        if array and bare.type == "expansion":
            items = self.arrays.get(array[1], [source])
            self._count(items)
            return items
        if _ARGUMENTS.match(source):
            if self.functions:  # those of its calls, which stand in the script and are not put in
                return [source]
            self.script.passes_on = True
            return []
        words: list[str] = []
        current: str | None = None
        for text, splits in self._parts(node):
            if not splits:
                current = (current or "") + text
                continue
            if text[:1].isspace() and current is not None:
                words.append(current)
                current = None
            for index, piece in enumerate(text.split()):
                if index and current is not None:
                    words.append(current)
                    current = None
                current = (current or "") + piece
            if text[-1:].isspace() and current is not None:
                words.append(current)
                current = None
        if current is not None:
            words.append(current)
        self._count(words)
        return words

    def _count(self, words: list[str]) -> None:
        self.expanded += sum(map(len, words)) + len(words)
        if self.expanded > MAX_EXPANDED:
            raise ValueError(f"the script's variables multiply to over {MAX_EXPANDED:,} characters: this is no launch script.")

    def _parts(self, node: Any) -> Iterator[tuple[str, bool]]:
        """(text, whether a shell would split it at its spaces)."""
        kind = node.type
        if kind in ("simple_expansion", "expansion", "arithmetic_expansion", "command_substitution", "process_substitution"):
            value = self._value(node)
            yield (_compact(node), False) if value is None else (value, True)
        elif kind == "string":
            yield "".join(self._quoted(node)), False
        elif kind == "raw_string":
            yield _text(node)[1:-1], False
        elif kind == "ansi_c_string":
            yield _text(node)[2:-1], False
        elif kind in ("concatenation", "command_name"):
            for child in node.children:
                yield from self._parts(child)
        else:
            yield re.sub(r"\\(\n|.)", lambda m: "" if m[1] == "\n" else m[1], _text(node), flags=re.DOTALL), False

    def _quoted(self, node: Any) -> Iterator[str]:
        source, end = node.text, 0
        for child in node.children:
            # The grammar cuts a text of several lines up and leaves the ends of lines out.
            gap = source[end : child.start_byte - node.start_byte]
            end = child.end_byte - node.start_byte
            if gap:
                yield gap.decode("utf-8", "replace").replace("\\\n", "")
            if child.type == '"':
                continue
            if child.type == "string_content":
                text = _text(child).replace("\\\n", "")
                yield re.sub(r'\\(["\\$`])', r"\1", text)
            else:
                yield from (text for text, _ in self._parts(child))

    def _value(self, node: Any) -> str | None:
        """The text of an expansion, None where it has no value here."""
        if node.type == "arithmetic_expansion":
            number = evaluate(_text(node)[3:-2], self.variables)
            return None if number is None else str(number)
        match = _REFERENCE.match(_text(node))
        if match is None:
            return None
        name, fallback = match[1] or match[3], match[2]
        value = self.variables.get(name)
        if name in self.variables and not (value == "" and fallback):
            return value
        if fallback is None:
            return None
        text = "".join(self._joined(child) for child in node.named_children if child.type != "variable_name")
        if "$" not in text:
            self.script.defaults[name] = text
        return text
