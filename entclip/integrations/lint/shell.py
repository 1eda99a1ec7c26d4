"""Enough of a shell to read a launch script: its commands, with literal variables put in, and those of the texts that it runs.

Nothing is run. A variable is substituted only if the script sets it to text, unconditionally or under a condition that its own
text decides. What only a real shell would know (the environment, `$(command)`, assignments under any other condition or in a
loop) stays as it is written, with its `$`, and what it may be is kept. A text in the script, a here-document for one, is data: it
becomes commands only where the script has it run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from entclip.integrations.lint.shell_documents import cut_documents
from entclip.integrations.lint.shell_either import either_way
from entclip.integrations.lint.shell_roles import Started, assigned, edits, fed, operands, program, same_file, shows, started
from entclip.integrations.lint.shell_tree import Unfinished, parse, refuse_unfinished, text_of, without_inner_comments
from entclip.integrations.lint.shell_truth import both, matches, negated, truth
from entclip.integrations.lint.shell_words import Command, Expander, Held, Script

__all__ = ["Command", "Held", "Script", "read_script"]

MAX_SCRIPT = 250_000  # characters: launch scripts are a hundredth of that
MAX_STARTS = 50  # texts that a script runs, and those that they run in turn
_CONDITIONAL = {
    "while_statement": "in a loop",
    "for_statement": "in a loop",
    "c_style_for_statement": "in a loop",
    "function_definition": "in a function",
    "subshell": "in a subshell",
    "command_substitution": "in a subshell",
    "process_substitution": "in a subshell",
}
_NOT_INSIDE = ("elif_clause", "else_clause", "comment")
_REDIRECTS = ("file_redirect", "heredoc_redirect", "herestring_redirect")


def read_script(text: str) -> Script:
    """Return the commands of a script with literal variables and arrays put in.

    Raises: ValueError for a quotation that does not end, a script longer than MAX_SCRIPT or nested too deeply, or variables that
        multiply beyond MAX_EXPANDED.
    """
    if len(text) > MAX_SCRIPT:
        raise ValueError(f"the script has {len(text):,} characters, over {MAX_SCRIPT:,}: give the file that starts the training.")
    try:
        return _Reader().read(text)
    except RecursionError:
        raise ValueError("the script is nested too deeply to be a launch script.") from None


class _Reader(Expander):
    """Reads statements in order. A name set under a condition has no value until it is set without one.

    outside: names that keep no value whatever is set, as the script that holds this one has put its own in. arguments: those that
    this script is given, None for the script that is read itself.
    """

    def __init__(self, outside: frozenset[str] = frozenset(), arguments: Sequence[str] | None = None) -> None:
        super().__init__(arguments)
        self.outside = outside
        self.variables |= dict.fromkeys(outside)
        self.starts: list[str] = []  # shared with the texts that are run
        self.conditions: list[str] = []  # under which the statement stands that is read
        self.dead = 0

    def read(self, text: str) -> Script:
        plain, documents = cut_documents(text)
        # A sourced text has names for its own documents.
        prefix = f"/{len(self.starts)}"
        self.documents |= {prefix + name: found for name, found in documents.items()}
        root = parse(without_inner_comments(re.sub(r" < (?=/here-document/\d+ )", f" < {prefix}", plain)))
        refuse_unfinished(root)
        self._statement(root)
        return self.script

    def output(self, node: Any) -> Held | None:
        kept, self.script = self.script, Script(defaults=self.script.defaults, files=self.script.files)
        self.conditions.append("in a subshell")
        try:
            inner = [child for child in node.named_children if child.type != "comment"]
            if len(inner) != 1:
                return None
            if inner[0].type == "file_redirect":  # $(<file)
                return self._redirected(inner)[0]
            return self._statement(inner[0]) if inner[0].type in ("command", "redirected_statement", "pipeline") else None
        finally:
            self.conditions.pop()
            kept.passes_on |= self.script.passes_on
            self.script = kept

    def _statement(self, node: Any, given: Held | None = None) -> Held | None:
        """Read a statement that gets `given` on its standard input; return what it writes, where that is known."""
        kind = node.type
        if kind == "command":
            return self._command(node, given)
        if kind == "redirected_statement":
            return self._redirect(node, given)
        if kind == "pipeline":
            return self._pipeline(node, given)
        if kind == "variable_assignment":
            self._assign(node)
        elif kind == "list":
            return self._list(node, given)
        elif kind == "if_statement":
            self._if(node)
        elif kind == "case_statement":
            self._case(node)
        elif kind in _CONDITIONAL:
            for name in (c for c in node.children if c.type == "variable_name"):
                self._set(text_of(name), None)  # a loop's own
            self.functions += kind == "function_definition"
            count = len(self.script.commands)
            said = self._under_condition(node.named_children, f"line {node.start_point[0] + 1}, {_CONDITIONAL[kind]}")
            self.functions -= kind == "function_definition"
            if kind == "function_definition" and all(shows(each.words) for each in self.script.commands[count:]):
                self.script.shows.add(text_of(node.named_children[0]))
            return said if kind == "subshell" else None
        elif kind not in ("string", "raw_string", "word", "comment", *_REDIRECTS):
            return _one([self._statement(child, given) for child in node.named_children])
        return None

    def _list(self, node: Any, given: Held | None) -> Held | None:
        """`first && second`: the second runs where the first succeeds."""
        first, *rest = node.named_children or [node]
        holds = truth(first, self.joined, self.variables)
        self._statement(first)
        by_success = any(child.type == "&&" for child in node.children)
        condition = f"line {first.start_point[0] + 1}, {_short(first)} {'&&' if by_success else '||'}"
        return self._branch(rest, holds if by_success else negated(holds), condition, given)

    def _if(self, node: Any) -> None:
        """The branches of `if`: one is sure where the script's own text decides, and what stands in the others is not set."""
        reached: bool | None = True
        for branch in (node, *(child for child in node.named_children if child.type in ("elif_clause", "else_clause"))):
            line, inner = f"line {branch.start_point[0] + 1}", [c for c in branch.named_children if c.type not in _NOT_INSIDE]
            if branch.type == "else_clause":
                self._branch(inner, reached, f"{line}, else of line {node.start_point[0] + 1}")
                return
            then = next((child.start_byte for child in branch.children if child.type == "then"), branch.end_byte)
            tests = [child for child in inner if child.end_byte <= then]
            self._branch(tests, reached, f"{line}, in a condition")
            holds = truth(tests[-1], self.joined, self.variables) if tests else None
            word = "if" if branch is node else "elif"
            condition = f"{line}, {word} {_short(tests[-1]) if tests else ''}"
            self._branch([child for child in inner if child.start_byte > then], both(reached, holds), condition)
            reached = both(reached, negated(holds))

    def _case(self, node: Any) -> None:
        """The items of `case`: the first whose pattern fits is taken."""
        parts, reached = node.named_children, True if node.named_children else None
        subject = self.joined(parts[0]) if parts else "$"
        for item in (child for child in parts if child.type == "case_item"):
            end = next((child.start_byte for child in item.children if child.type == ")"), item.start_byte)
            patterns = [child for child in item.named_children if child.end_byte <= end]
            fits = [matches(subject, self.joined(pattern)) for pattern in patterns]
            holds = True if True in fits else None if None in fits else False
            condition = f"line {item.start_point[0] + 1}, case {_short(parts[0])} in {_short(patterns[0]) if patterns else ''}"
            self._branch([child for child in item.named_children if child not in patterns], both(reached, holds), condition)
            reached = both(reached, negated(holds))

    def _branch(self, nodes: list[Any], holds: bool | None, condition: str, given: Held | None = None) -> Held | None:
        """Read statements that are run for sure, perhaps, or not: then their commands are read, and nothing is set."""
        if holds is None:
            return self._under_condition(nodes, condition, given)
        self.dead += holds is False
        said = _one([self._statement(node, given if node is nodes[-1] else None) for node in nodes])
        self.dead -= holds is False
        return said

    def _under_condition(self, nodes: list[Any], condition: str, given: Held | None = None) -> Held | None:
        """Read statements that may not be run; the last gets `given`, as a redirection at the end of a list is its own."""
        self.conditions.append(condition)
        before = dict(self.script.files)
        said = _one([self._statement(node, given if node is nodes[-1] else None) for node in nodes])
        for name, held in before.items():
            if self.script.files.get(name) != held:
                self.script.files[name] = None
        self.conditions.pop()
        return said

    def _pipeline(self, node: Any, given: Held | None) -> Held | None:
        parts = [child for child in node.named_children if child.type != "comment"]
        said: Held | None = None
        for number, part in enumerate(parts, 1):
            said = self._statement(part, given if number == len(parts) and given is not None else said)
        return said

    def _redirect(self, node: Any, given: Held | None) -> Held | None:
        redirects = [child for child in node.named_children if child.type in _REDIRECTS]
        source, target, appends = self._redirected(redirects)
        said: Held | None = None
        for child in node.named_children:
            if child.type not in _REDIRECTS:
                said = self._statement(child, source or given)
        if target is None:
            return said
        self._write(target, said, appends)
        return None

    def _redirected(self, redirects: list[Any]) -> tuple[Held | None, str | None, bool]:
        """What comes from a file or here-document, the file that is written, and whether it goes on there."""
        source, target, appends = None, None, False
        for each in redirects:
            sign = next((text_of(c) for c in each.children if not c.is_named), "")
            descriptor = next((text_of(c) for c in each.children if c.type == "file_descriptor"), "")
            words = [w for c in each.named_children if c.type != "file_descriptor" for w in self.words(c)]
            if each.type == "herestring_redirect":
                source = Held("".join(self.joined(c) for c in each.named_children) + "\n")
            elif each.type == "file_redirect" and words and sign == "<":
                source = self.document(words[0]) or self._file(words[0])[1]
            elif each.type == "file_redirect" and words and sign in (">", ">>", ">|", "&>", "&>>") and descriptor != "2":
                target, appends = words[0], sign.endswith(">>")
        return source, target, appends

    def _file(self, word: str) -> tuple[str, Held | None]:
        """The name of the written file that a word means, and its text; empty and None where there is none or more than one."""
        if not word or word.startswith("/dev/"):
            return "", None
        found = [name for name in self.script.files if same_file(name, word)]
        return (found[0], self.script.files[found[0]]) if len(found) == 1 else ("", None)

    def _write(self, word: str, held: Held | None, appends: bool) -> None:
        if word.startswith("/dev/") or self.dead:
            return
        name, before = self._file(word)
        if appends and name:
            known = before is not None and held is not None
            held = Held(before.text + held.text, before.outside | held.outside) if known and before and held else None
        self.script.files[name or word] = held

    def _command(self, node: Any, given: Held | None) -> Held | None:
        words: list[str] = []
        separator: str | None = None
        for child in node.named_children:
            if child.type == "command_name":
                words += [w for part in child.children for w in self.words(part)]
            elif child.type in _REDIRECTS:
                given = self._redirected([child])[0] or given
            elif child.type != "variable_assignment":  # FOO=1 command: the environment of that command only
                words += self.words(child)
            elif text_of(child).startswith("IFS="):
                separator = text_of(child)[4:].strip("'\"")
        name = program(words)
        if name == "read":
            self._read(words, given, separator)
        elif name in ("mapfile", "readarray") and words[-1].isidentifier():
            self._set_array(words[-1], given.text.splitlines() if given else [f"${{{words[-1]}[@]}}"])
        elif name == "set" and "--" in words and not self.dead:
            given_words = words[words.index("--") + 1 :]
            self.arguments = ["$@"] if self.conditions else given_words
            self.variables |= {str(n): None if self.conditions else word for n, word in enumerate(given_words, 1)}
        elif name == "xargs" and given is not None:
            words += given.text.split()
        self.script.commands.append(Command(words, unreadable=node.has_error))
        if edits(words):
            self.script.files |= {name: None for word in words[1:] if (name := self._file(word)[0])}
        self._start(words, given)
        return self._said(name, words, given)

    def _start(self, words: list[str], given: Held | None) -> None:
        """Read the text that a command runs: a file that was written, or what it is fed."""
        for at, word in enumerate(words):
            name, held = self._file(word)
            how = started(words, at, name) if held is not None else None
            if how is not None and held is not None:
                self.script.started.add(name)
                self._run(how, held)
                return
        how = fed(words) if given is not None else None
        if how is not None and given is not None:
            self._run(how, given)

    def _run(self, how: Started, held: Held) -> None:
        self.starts.append(how.kind)
        if len(self.starts) > MAX_STARTS:
            raise ValueError(f"the script runs over {MAX_STARTS} texts that it holds: give the one that starts the training.")
        if how.kind == "python":
            self.script.python.append(held)
        elif how.kind == "table":
            self.script.tables.append(held.text)
        elif how.sourced:
            self._inner(self, held)
        else:
            inner, own = _Reader(held.outside, how.arguments), self.script
            inner.script = replace(own, passes_on=False)  # the same lists, files and defaults
            inner.starts, inner.expanded = self.starts, self.expanded
            self._inner(inner, held)
            self.expanded = inner.expanded

    def _inner(self, reader: _Reader, held: Held) -> None:
        try:
            reader.read(held.text)
        except Unfinished:
            self.script.commands.append(Command([], unreadable=True))

    def _said(self, name: str, words: list[str], given: Held | None) -> Held | None:
        """What a command that writes texts out writes, None for all others."""
        at = next((n for n, word in enumerate(words) if word.rpartition("/")[2] == name), len(words))
        rest = words[at + 1 :]
        files = operands(rest)
        if name == "cat" and files and files != ["-"]:
            return _one([self._file(word)[1] for word in files])
        if name in ("cat", "envsubst"):
            return given
        if name == "tee":
            for word in files:
                self._write(word, given, "-a" in rest)
            return given
        if name in ("cp", "mv") and len(files) == 2:
            self._write(files[1], self._file(files[0])[1], appends=False)
        if name == "echo":
            options = [word for word in rest[:1] if re.fullmatch(r"-[neE]+", word)]
            text = " ".join(rest[len(options) :])
            return Held((_unescaped(text) if "e" in "".join(options) else text) + ("" if "n" in "".join(options) else "\n"))
        if name == "printf" and rest and rest[0] in ("%s", r"%s\n", "%s\n"):
            return Held("".join(f"{word}\n" if "n" in rest[0] else word for word in rest[1:]))
        if name == "printf" and rest and "%" not in rest[0]:
            return Held(_unescaped(rest[0]))
        return None

    def _read(self, words: list[str], given: Held | None, separator: str | None) -> None:
        names, array, parts = assigned(words, None if given is None else given.text, separator)
        if array:
            self._set_array(array, [f"${{{array}[@]}}"] if parts is None else parts)
        for at, name in enumerate(names):
            self._set(name, None if parts is None else parts[at] if at < len(parts) else "")

    def _set(self, name: str, text: str | None) -> None:
        """Give a variable its value. What is set under a condition has none, nor what the script around has put in."""
        if self.dead:
            return
        if not self.conditions:
            self.variables[name] = None if name in self.outside else text
            self.script.reasons.pop(f"${name}", None)
            self.either.pop(name, None)
            return
        condition, before = self.conditions[-1], self.variables.get(name)
        if text is not None and name not in self.outside:
            known = self.script.reasons.get(f"${name}") or before
            self.script.reasons[f"${name}"] = f"{known or 'not set before'} or {text} ({condition})"
        options = None
        if before is not None and text is not None:
            options = either_way(before.split(), text.split(), condition, self.script.reasons)
        self.variables[name] = None
        self.either.pop(name, None)
        if options is not None:
            self.either[name] = options[0]
            self.script.reasons |= options[1]

    def _set_array(self, name: str, words: list[str]) -> None:
        if self.dead:
            return
        if self.conditions:
            options = either_way(self.arrays.get(name, []), words, self.conditions[-1], self.script.reasons)
            words = [f"${{{name}[@]}}"] if options is None else options[0]
            self.script.reasons |= {} if options is None else options[1]
        self.arrays[name] = words

    def _assign(self, node: Any) -> None:
        target, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        append = any(child.type == "+=" for child in node.children)
        if target is None or target.type != "variable_name":
            return
        name = text_of(target)
        if value is not None and value.type == "array":
            words = [word for item in value.named_children if item.type != "comment" for word in self.words(item)]
            self._set_array(name, [*self.arrays.get(name, []), *words] if append else words)
            return
        text = "" if value is None else self.joined(value)
        self._count([text])
        before_text = self.variables.get(name, "") if append else ""
        self._set(name, None if before_text is None else before_text + text)


def _short(node: Any) -> str:
    """A condition as the script has it, on one line."""
    text = " ".join(text_of(node).split())
    return text if len(text) <= 50 else f"{text[:47]}..."


def _one(said: list[Held | None]) -> Held | None:
    """Several texts in one, None where one of them is not known or there is none."""
    known = [held for held in said if held is not None]
    if not known or len(known) < len(said):
        return None
    return Held("".join(held.text for held in known), frozenset().union(*(held.outside for held in known)))


def _unescaped(text: str) -> str:
    return re.sub(r"\\([nt\\])", lambda m: {"n": "\n", "t": "\t", "\\": "\\"}[m[1]], text)
