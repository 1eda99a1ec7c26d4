"""What a script sets and under which condition: sure where its own text decides, kept with its line where it does not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from entclip.integrations.lint.shell_either import alternatives, either_way
from entclip.integrations.lint.shell_tree import text_of
from entclip.integrations.lint.shell_truth import both, either, matches, negated, truth
from entclip.integrations.lint.shell_words import Expander, Held, together

__all__ = ["Branches"]

MAX_CHAIN = 500  # commands joined by && and ||
_SET_BY_ARITHMETIC = re.compile(r"(\w+)\s*(?:[-+*/%|&^]|<<|>>)?=(?!=)|(\w+)\s*(?:\+\+|--)|(?:\+\+|--)\s*(\w+)")
_NOT_INSIDE = ("elif_clause", "else_clause", "comment")


class Branches(Expander):
    """Reads what a condition decides over. A name set under one that is open has no value until it is set without one.

    outside: names that keep no value whatever is set, as the script that holds this one has put its own in. arguments: those that
    this script is given, None for the script that is read itself.
    """

    def __init__(self, outside: frozenset[str] = frozenset(), arguments: Sequence[str] | None = None) -> None:
        super().__init__(arguments)
        self.outside = outside
        self.variables |= dict.fromkeys(outside)
        self.conditions: list[str] = []  # under which the statement stands that is read
        self.dead = 0
        self.ended = False  # by an exit: what follows is not run
        self.texts: dict[str, tuple[str, str]] = {}  # what the branch that is read sets, and its condition
        self.inside: list[str] = []  # functions whose bodies are read
        self.sets: dict[str, set[str]] = {}  # what functions set

    def statement(self, node: Any, given: Held | None = None) -> Held | None:
        """Read a statement that gets `given` on its standard input; return what it writes, where that is known."""
        raise NotImplementedError

    def holds(self, node: Any) -> bool | None:
        """Return whether a condition holds, None where only a real shell would know."""
        self.asking = True
        try:
            variables = dict(self.variables) | ({"#": self.own("#")} if re.search(r"\$(#|\{#\})", text_of(node)) else {})
            return truth(node, self.joined, variables)
        finally:
            self.asking = False

    def loop(self, node: Any) -> None:
        """Read a loop. One over the script's own arguments is not run, as it is read without any."""
        body = next((child.start_byte for child in node.children if child.type == "do_group"), node.end_byte)
        before = [child for child in node.named_children if child.end_byte <= body]
        condition, runs = f"line {node.start_point[0] + 1}, in a loop", None
        if node.type == "while_statement" and before:
            options = text_of(before[-1]).split()[:1] == ["getopts"]
            holds = self.own("#") == "0" if options else self.holds(before[-1])
            inverse = any(child.type == "until" for child in node.children)
            runs = False if (negated(holds) if inverse != options else holds) is False else None
        elif node.type == "for_statement":
            name, values = before[:1], before[1:]
            over_own = not any(child.type == "in" for child in node.children)
            runs = None if (self.own("#") != "0" if over_own else any(map(self.words, values)) or not values) else False
            self.variables |= dict.fromkeys(map(text_of, name))
        self._branch(list(node.named_children), runs, condition)

    def chain(self, node: Any, given: Held | None) -> Held | None:
        """Read `first && second || third` from left to right: each runs where what stands before it succeeds, or fails."""
        chain: list[Any] = []
        while node.type == "list" and len(node.named_children) == 2:
            chain.append(node)
            node = node.named_children[0]
        if len(chain) > MAX_CHAIN:
            raise ValueError(f"the script joins over {MAX_CHAIN} commands by && and ||: this is no launch script.")
        if not chain:
            return together([self.statement(child) for child in node.named_children])
        said, holds = None, self.holds(node)
        self.statement(node)
        for each in reversed(chain):
            before, then = each.named_children
            by_success = any(child.type == "&&" for child in each.children)
            condition = f"line {then.start_point[0] + 1}, {_short(before)} {'&&' if by_success else '||'}"
            said = self._branch([then], holds if by_success else negated(holds), condition, given if each is chain[0] else None)
            this = self.holds(then)
            holds = both(holds, this) if by_success else either(holds, this)
        return said

    def branches(self, node: Any) -> None:
        """Read the branches of `if`: one is sure where the script's own text decides; what stands in the others is not set."""
        reached: bool | None = True
        kept, each_sets = self.texts, list[dict[str, tuple[str, str]]]()
        earlier = {name: len(texts) for name, texts in self.script.among.items()}
        for branch in (node, *(child for child in node.named_children if child.type in ("elif_clause", "else_clause"))):
            line, inner = f"line {branch.start_point[0] + 1}", [c for c in branch.named_children if c.type not in _NOT_INSIDE]
            if branch.type == "else_clause":
                self.texts = {}
                self._branch(inner, reached, f"{line}, else of line {node.start_point[0] + 1}")
                if reached is None:
                    self._whichever(each_sets if _ends(inner) else [*each_sets, self.texts], earlier)
                break
            then = next((child.start_byte for child in branch.children if child.type == "then"), branch.end_byte)
            tests = [child for child in inner if child.end_byte <= then]
            self._branch(tests, reached, f"{line}, in a condition")
            holds = self.holds(tests[-1]) if tests else None
            word = "if" if branch is node else "elif"
            condition = f"{line}, {word} {_short(tests[-1]) if tests else ''}"
            self.texts = {}
            body = [child for child in inner if child.start_byte > then and not _never(tests)]
            self._branch(body, both(reached, holds), condition)
            each_sets += [] if _ends(body) else [self.texts]
            reached = both(reached, negated(holds))
        self.texts = kept

    def _whichever(self, each_sets: list[dict[str, tuple[str, str]]], earlier: dict[str, int]) -> None:
        """Keep what a variable may be that every branch sets: what it was before is of no account.

        earlier: how many texts of a name were known of before the branches.
        """
        for name in set.intersection(*map(set, each_sets)) if each_sets else ():
            self.script.among[f"${name}"] = self.script.among[f"${name}"][earlier.get(f"${name}", 1) :]
            (text, condition), *others = (sets[name] for sets in each_sets)
            known, options = f"{text or 'nothing'} ({condition})", text.split()
            merged: list[str] | None = options
            for text, condition in others:
                both_ways = None if merged is None else either_way(merged, text.split(), condition, self.script.reasons)
                merged = None if both_ways is None else both_ways[0]
                self.script.reasons |= {} if both_ways is None else both_ways[1]
                known = alternatives(known, text or "nothing", condition)
            self.script.reasons[f"${name}"] = known
            if merged is not None:
                self.either[name] = merged

    def case(self, node: Any) -> None:
        """Read the items of `case`: the first whose pattern fits is taken."""
        parts, reached = node.named_children, True if node.named_children else None
        self.asking = True
        subject = self.joined(parts[0]) if parts else "$"
        self.asking = False
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
            return self.under_condition(nodes, condition, given)
        self.dead += holds is False
        said = together([self.statement(node, given if node is nodes[-1] else None) for node in nodes])
        self.dead -= holds is False
        return said

    def under_condition(self, nodes: list[Any], condition: str, given: Held | None = None) -> Held | None:
        """Read statements that may not be run; the last gets `given`, as a redirection at the end of a list is its own."""
        self.conditions.append(condition)
        before = dict(self.script.files)
        said = together([self.statement(node, given if node is nodes[-1] else None) for node in nodes])
        for name, held in before.items():
            if self.script.files.get(name) != held:
                self.script.files[name] = None
        self.conditions.pop()
        return said

    def set_variable(self, name: str, text: str | None) -> None:
        """Give a variable its value. What is set under a condition has none, nor what the script around has put in."""
        if self.dead:
            return
        self._of_function(name)
        if not self.conditions:
            self.variables[name] = None if name in self.outside else text
            self.script.reasons.pop(f"${name}", None)
            self.script.among.pop(f"${name}", None)
            self.either.pop(name, None)
            return
        condition, before = self.conditions[-1], self.variables.get(name)
        self.script.among.setdefault(f"${name}", [before]).append(None if name in self.outside else text)
        if text is None or name in self.outside:
            self.texts.pop(name, None)
        else:
            self.texts[name] = text, condition
        if text is not None and name not in self.outside:
            known = self.script.reasons.get(f"${name}") or before
            self.script.reasons[f"${name}"] = alternatives(known or "not set before", text or "nothing", condition)
        options = None
        if before is not None and text is not None:
            options = either_way(before.split(), text.split(), condition, self.script.reasons)
        self.variables[name] = None
        self.either.pop(name, None)
        if options is not None:
            self.either[name] = options[0]
            self.script.reasons |= options[1]

    def set_array(self, name: str, words: list[str]) -> None:
        """Give an array its words; under a condition those that are the same either way."""
        if self.dead:
            return
        self._of_function(name)
        if self.conditions:
            options = either_way(self.arrays.get(name, []), words, self.conditions[-1], self.script.reasons)
            words = [f"${{{name}[@]}}"] if options is None else options[0]
            self.script.reasons |= {} if options is None else options[1]
        self.arrays[name] = words

    def _of_function(self, name: str) -> None:
        if self.inside:
            self.sets.setdefault(self.inside[-1], set()).add(name)

    def called(self, function: str, line: int) -> None:
        """Take the value from what a function of the script sets, which is called here."""
        for name in self.sets.get(function, ()):
            if name in self.variables:
                self.script.among.pop(f"${name}", None)
                before = self.script.reasons.get(f"${name}") or self.variables[name] or "nothing"
                self.script.reasons[f"${name}"] = alternatives(before, f"what {function} sets", f"line {line}")
                self.variables[name] = None
                self.either.pop(name, None)
            if name in self.arrays:
                self.arrays[name] = [f"${{{name}[@]}}"]

    def arithmetic(self, text: str) -> None:
        """Take the value from what `(( n++ ))` or `let n=2` sets."""
        for names in _SET_BY_ARITHMETIC.findall(text):
            self.set_variable("".join(names), None)

    def assign(self, node: Any) -> None:
        """Read `NAME=value`, `NAME+=value` and `NAME=( ... )`."""
        target, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        append = any(child.type == "+=" for child in node.children)
        if target is not None and target.type == "subscript" and not self.dead:
            changed = text_of(target.named_children[0])
            self.arrays[changed] = [f"${{{changed}[@]}}"]
        if target is None or target.type != "variable_name":
            return
        name = text_of(target)
        if value is not None and value.type == "array":
            words = [word for item in value.named_children if item.type != "comment" for word in self.words(item)]
            self.set_array(name, [*self.arrays.get(name, []), *words] if append else words)
            return
        text = "" if value is None else self.joined(value)
        self._count([text])
        before_text = self.variables.get(name, "") if append else ""
        self.set_variable(name, None if before_text is None else before_text + text)


def _ends(body: list[Any]) -> bool:
    """Whether the script ends with a branch, so that nothing which it sets is used."""
    return any(node.type == "command" and text_of(node).split()[0] == "exit" for node in body)


def _never(tests: list[Any]) -> bool:
    """Whether a branch is a way to comment a part of a script out."""
    return bool(tests) and text_of(tests[-1]) == "false"


def _short(node: Any) -> str:
    """A condition as the script has it, on one line."""
    text = " ".join(text_of(node).split())
    return text if len(text) <= 50 else f"{text[:47]}..."
