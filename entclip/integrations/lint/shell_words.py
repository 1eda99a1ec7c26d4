"""What a shell makes of the words of a script: variables, arrays, defaults as `${NAME:-value}`, arithmetic, quotations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from entclip.integrations.lint.arithmetic import evaluate
from entclip.integrations.lint.beside import nothing
from entclip.integrations.lint.shell_documents import Document
from entclip.integrations.lint.shell_tree import compact, parse, text_of, walk

__all__ = ["Command", "Expander", "Held", "Script", "together"]

MAX_EXPANDED = 1_000_000  # characters that variables and arrays may come to, all words together
_REFERENCE = re.compile(r"^\$(?:\{(\w+)(?::?[-=](.*))?\}|(\w+))$", re.DOTALL)
_ARRAY = re.compile(r"^\$\{(\w+)\[[@*]\]\}$")
_ARGUMENTS = re.compile(r"^\$(?:[@*]|\{[@*](:\d+)?\})$")


@dataclass(frozen=True)
class Command:
    """The words of one command, and whether a part of it could not be read as bash."""

    words: list[str]
    unreadable: bool = False


@dataclass(frozen=True)
class Held:
    """A text that a script holds as data. outside: names in it that the script itself would have expanded, and could not here."""

    text: str
    outside: frozenset[str] = frozenset()


def together(said: list[Held | None]) -> Held | None:
    """Return several texts in one, None where one of them is not known or there is none."""
    known = [held for held in said if held is not None]
    if not known or len(known) < len(said):
        return None
    return Held("".join(held.text for held in known), frozenset().union(*(held.outside for held in known)))


@dataclass
class Script:
    """commands, in order, those of texts that the script runs among them. defaults: `NAME=value` taken from `${NAME:-value}`,
    which the environment may override. passes_on: whether a command takes the script's own arguments, as "$@"; asks: whether
    a condition asks for them.

    python, tables: texts that it has Python run, and jobs' files that it starts. files: those that it writes, None where it is
    not known with what; named: these by their name without a folder; started: names of those that it runs. reasons: by `$NAME`,
    or by the name of an option, what it may be under the condition that sets it;
    among: by `$NAME` each text of these, None for one that is not known. shows: functions that only say or keep what they
    get. beside: what finds the text of a file that lies beside the script; found: the settings of those that were read, by name;
    folder: where hydra looks for them.
    """

    commands: list[Command] = field(default_factory=list)
    defaults: dict[str, str] = field(default_factory=dict)
    passes_on: bool = False
    asks: bool = False
    python: list[Held] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    files: dict[str, Held | None] = field(default_factory=dict)
    named: dict[str, list[str]] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    among: dict[str, list[str | None]] = field(default_factory=dict)
    shows: set[str] = field(default_factory=set)
    beside: Callable[[str], str | None] = nothing
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    folder: str = ""


class Expander:
    """Puts literal variables and arrays in. A name whose value only running would give is left as it is written, with its `$`."""

    def __init__(self, arguments: Sequence[str] | None) -> None:
        self.variables: dict[str, str | None] = {}
        self.arrays: dict[str, list[str]] = {}
        self.either: dict[str, list[str]] = {}  # options in a variable that a condition changes
        self.documents: dict[str, Document] = {}
        self.script = Script()
        self.functions = 0
        self.expanded = 0
        self.asking = False  # whether a condition is read, in which a script's own arguments are none
        self.arguments = arguments
        if arguments is not None:
            self.variables |= {str(n): word for n, word in enumerate(arguments, 1)}

    def output(self, node: Any) -> Held | None:
        """Return what a command substitution has for its value, None where that is not known."""
        raise NotImplementedError

    def own(self, name: str) -> str | None:
        """Return what a condition has for `$#`, `$1` or `$@`: nothing is given to the script that is read itself."""
        if self.functions:
            return None
        self.script.asks |= self.arguments is None
        given = self.arguments or ()
        return str(len(given)) if name == "#" else " ".join(given) if name in "@*" else ""

    def document(self, name: str) -> Held | None:
        """Return a here-document as the command gets it that it is fed to."""
        found = self.documents.get(name)
        if found is None or found.quoted:
            return None if found is None else Held(found.text)
        root = parse(found.as_string())
        string = next((node for node in walk(root) if node.type == "string"), None)
        if root.has_error or string is None:
            return Held(found.text, frozenset(re.findall(r"\$\{?(\w+)", found.text)))
        inside = [node for node in walk(string) if node.type in ("simple_expansion", "expansion") and self._value(node) is None]
        names = {text_of(part) for node in inside for part in node.children if part.type == "variable_name"}
        text = "".join(self._quoted(string))
        self._count([text])
        return Held(text, frozenset(names))

    def joined(self, node: Any) -> str:
        """Return the text of a node where a shell would not split it."""
        return "".join(text for text, _ in self._parts(node))

    def words(self, node: Any) -> list[str]:
        """Return the words that one argument becomes: an expansion outside quotes is split at its spaces."""
        bare = node.named_children[0] if node.type == "string" and len(node.named_children) == 1 else node
        source = text_of(bare)
        array = _ARRAY.match(source)
        if array and bare.type == "expansion":
            items = self.arrays.get(array[1], [source])
            self._count(items)
            return items
        if node.type != "string" and (options := self.either.get(source.strip("${}"))) is not None and source.startswith("$"):
            self._count(options)
            return options
        if _ARGUMENTS.match(source):
            if self.functions:  # those of its calls, which stand in the script and are not put in
                return [source]
            if self.arguments is not None:
                return list(self.arguments)
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
            yield (compact(node), False) if value is None else (value, True)
        elif kind == "string":
            yield "".join(self._quoted(node)), False
        elif kind == "raw_string":
            yield text_of(node)[1:-1], False
        elif kind == "ansi_c_string":
            yield text_of(node)[2:-1], False
        elif kind in ("concatenation", "command_name"):
            for child in node.children:
                yield from self._parts(child)
        else:
            yield re.sub(r"\\(\n|.)", lambda m: "" if m[1] == "\n" else m[1], text_of(node), flags=re.DOTALL), False

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
                text = text_of(child).replace("\\\n", "")
                yield re.sub(r'\\(["\\$`])', r"\1", text)
            else:
                yield from (text for text, _ in self._parts(child))

    def _value(self, node: Any) -> str | None:
        """The text of an expansion, None where it has no value here."""
        if node.type == "arithmetic_expansion":
            number = evaluate(text_of(node)[3:-2], self.variables)
            return None if number is None else str(number)
        if node.type == "command_substitution":
            held = self.output(node)
            return None if held is None else held.text.rstrip("\n")
        if self.asking and (own := text_of(node).strip("${}")) not in self.variables and re.fullmatch(r"[1-9#@*]", own):
            return self.own(own)
        match = _REFERENCE.match(text_of(node))
        if match is None:
            return None
        name, fallback = match[1] or match[3], match[2]
        value = self.variables.get(name)
        if name in self.variables and not (value == "" and fallback):
            return value
        if fallback is None:
            return None
        text = "".join(self.joined(child) for child in node.named_children if child.type != "variable_name")
        if "$" not in text and not name.isdigit():
            self.script.defaults[name] = text
        return text
