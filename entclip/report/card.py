"""The card of an objective: what its docstring says, field by field, for people, for `entclip objectives` and for the site."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from entclip.drift.expected import SERVED
from entclip.engines.facts import EngineFacts
from entclip.engines.registry import BACKENDS, ENGINES
from entclip.engines.serving import SEQUENCES, servers
from entclip.objectives.base import Objective
from entclip.objectives.catalogue import PUBLISHED, kinds, unknown_objective
from entclip.objectives.not_built import NOT_BUILT

__all__ = ["FIELDS", "LEVELS", "PLACES", "Card", "card", "cards", "places_of"]

Place = Callable[[Objective], bool]  # whether an objective can be used there

FIELDS = (
    "Formula",
    "Source",
    "Defaults",
    "Needs",
    "Runs on",
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
        fields: text by the names of FIELDS; all but "Runs on" stand in its docstring.
        parameters: their defaults by name; empty for what is not built.
        built: whether `objective(name)` makes it.
        runs_on: engines and backends that can run it, and what else takes it, by the columns of PLACES.
    """

    name: str
    summary: str
    fields: Mapping[str, str]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    built: bool = True
    runs_on: tuple[str, ...] = ()

    @property
    def levels(self) -> str:
        """Say how far the formula is verified: the letters of LEVELS that the source names, "-" where it is derived."""
        return " ".join(dict.fromkeys(re.findall(r"\[([A-Z])\]", self.fields["Source"]))) or "-"

    def as_dict(self) -> dict[str, Any]:
        """Return the card as one JSON-able object."""
        texts = {name.lower().replace(" ", "_"): text for name, text in self.fields.items()}
        own = {"name": self.name, "built": self.built, "summary": self.summary, "parameters": dict(self.parameters)}
        return own | texts | {"runs_on": list(self.runs_on)}


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
    found = _parsed(name, cls.__doc__ or "", defaults, True)
    places = places_of(cls())
    return replace(found, fields={**found.fields, "Runs on": ", ".join(places) + "."}, runs_on=places)


def places_of(objective: Objective) -> tuple[str, ...]:
    """Return where an objective can be used: names of PLACES, worked out from what it needs and what each place serves."""
    return tuple(name for name, (serves, _) in PLACES.items() if serves(objective))


def _by_engine(name: str, policy: str = "") -> Place:
    return lambda objective: name in servers(objective, policy)


def _words(facts: EngineFacts) -> str:
    return facts.short if facts.has_expectations else f"{facts.short}; causes are measured and have no expectations"


# Engines on policies of single tokens, on sequences, a trainer of others, and functions that need no engine.
PLACES: dict[str, tuple[Place, str]] = {
    **{name: (_by_engine(name), _words(facts)) for name, facts in ENGINES.items()},
    **{
        f"{name} on sequences": (_by_engine(name, SEQUENCES), 'policy.kind = "autoregressive"')
        for name, facts in ENGINES.items()
        if SEQUENCES in facts.policies
    },
    **{name: (_by_engine(name), _words(facts)) for name, facts in BACKENDS.items()},
    "expected_entropy_drift": (lambda objective: objective.needs <= SERVED, "theory of one update"),
    "predict": (lambda objective: not objective.needs, "a forecast of a run without simulating it"),
    "ledgers of loops": (lambda objective: not objective.needs, "`ledger_from_arrays`, `ledger_from_samples`, `EntropyLedger`"),
}


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
