"""The card of an objective: what its docstring says, field by field, for people, for `entclip objectives` and for the site."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from entclip.objectives.catalogue import PUBLISHED, kinds, unknown_objective
from entclip.objectives.not_built import NOT_BUILT

__all__ = ["FIELDS", "LEVELS", "Card", "card", "cards"]

FIELDS = (
    "Formula",
    "Source",
    "Defaults",
    "Needs",
    "Random reward",
    "True reward",
    "Traps",
    "Not built",
    "Report instead",
    "Functions",
)
LEVELS = {
    "C": "official code read",
    "P": "primary paper text read",
    "L": "implementation in a public library read, not by the authors",
    "S": "a third party's reading of the paper",
    "T": "third-party code",
    "U": "not seen anywhere",
}
_FIELD = re.compile(r":([A-Z][a-z ]+): (.*)")


@dataclass(frozen=True)
class Card:
    """What is known about a published objective.

    Attributes:
        name: its kind, or of what is not built the paper's name for it.
        summary: one sentence.
        fields: text by the names of FIELDS.
        parameters: their defaults by name; empty for what is not built.
        built: whether `objective(name)` makes it.
    """

    name: str
    summary: str
    fields: Mapping[str, str]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    built: bool = True

    @property
    def levels(self) -> str:
        """Say how far the formula is verified: the letters of LEVELS that the source names, "-" where it is derived."""
        return " ".join(dict.fromkeys(re.findall(r"\[([A-Z])\]", self.fields["Source"]))) or "-"

    def as_dict(self) -> dict[str, Any]:
        """Return the card as one JSON-able object."""
        texts = {name.lower().replace(" ", "_"): text for name, text in self.fields.items()}
        return {"name": self.name, "built": self.built, "summary": self.summary, "parameters": dict(self.parameters)} | texts


def cards() -> tuple[Card, ...]:
    """Return every card: the published objectives by name, then what is not built."""
    return (*(card(name) for name in PUBLISHED), *(_parsed(name, text, {}, False) for name, text in NOT_BUILT.items()))


def card(name: str) -> Card:
    """Return the card of that name.

    Raises: SpecError for an unknown name.
    """
    if name in NOT_BUILT:
        return _parsed(name, NOT_BUILT[name], {}, False)
    if name not in kinds():
        raise unknown_objective(name, {*kinds(), *NOT_BUILT})
    cls = kinds()[name]
    defaults = {f.name: f.default for f in fields(cls) if f.name != "kind"}
    return _parsed(name, cls.__doc__ or "", defaults, True)


def _parsed(name: str, text: str, defaults: Mapping[str, Any], built: bool) -> Card:
    """The card in a docstring: a sentence, then ":Field: text" with what it goes on with indented below."""
    summary, _, rest = inspect.cleandoc(text).partition("\n\n")
    found: dict[str, str] = {}
    last = ""
    for line in rest.splitlines():
        if start := _FIELD.match(line):
            last, found[start[1]] = start[1], start[2]
        elif last and line.startswith(" "):
            found[last] += " " + line.strip()
    return Card(name, " ".join(summary.split()), found, defaults, built)
