"""A case of the corpus: a situation, how it was logged, and the right answer of every claim."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.integrations.logs.corpus.always import ALWAYS, Labels
from tests.integrations.logs.corpus.newer_writers import NEWER_WRITERS
from tests.integrations.logs.corpus.truth import Situation, updates_of
from tests.integrations.logs.corpus.writers import WRITERS, Rows

__all__ = ["DOWN", "UP", "Case", "case"]


@dataclass(frozen=True)
class Case:
    """A log of the corpus. config: the configuration given with it. right: claim to the labels that are right, empty where the
    claim must not be made."""

    name: str
    truth: Situation
    config: str | None = None
    right: dict[str, Labels] = field(default_factory=dict)
    change: Callable[[Rows], Rows] | None = None

    @property
    def writer(self) -> str:
        return self.name.partition(".")[2]

    def data(self) -> bytes:
        rows = updates_of(self.truth, seed=sum(map(ord, self.name)))
        return (WRITERS | NEWER_WRITERS)[self.writer](self.change(rows) if self.change else rows)


UP, DOWN = ("lower-high", "raise-low"), ("raise-high", "lower-low")
_ONE_WIDTH = ("sb3", "cleanrl", "cleanrlepisodes", "trlppo", "trlppolater")  # one setting is the width of both sides
_BASE = Situation(rollouts=24)
_NO_ENTROPY_LAW = ("sb3", "cleanrl")  # actions are no tokens: nothing bounds what the clip did


def case(
    name: str,
    config: str | None = None,
    change: Callable[[Rows], Rows] | None = None,
    /,
    right: dict[str, Labels] | None = None,
    **truth: object,
) -> Case:
    """A case with what its library's log always has, what its entropy does, and what is given."""
    situation = replace(_BASE, **truth)
    library = name.partition(".")[2].partition(".")[0]
    moved = situation.end / situation.start
    entropy = "steady" if moved == 1 else "rises" if moved > 1 else "collapses" if moved < 0.45 else "falls"
    found: dict[str, Labels] = {"entropy": (entropy,), "differences": ("refused",), **ALWAYS[library]}
    known = ("prime", "plain", "trl", "trl4", "verl", "openrlhf", "torchrl", "skyrl", "commas", "trlppo", "plainreversed")
    known += ("swift", "easyr1", "verlkept", "verlold", "areal", "roll", "openinstruct")
    if library not in known or entropy == "steady":
        found["cause"] = () if entropy == "steady" else ("unbounded",)
    if library not in ("prime", "nemo"):  # without a clip share nothing is advised
        up, down = (("lower-width",), ("raise-width",)) if library in _ONE_WIDTH else (UP, DOWN)
        found["change"] = {"steady": ("nothing",), "rises": up}.get(entropy, down)
    found |= right or {}
    # Where nobody knows how much the clip did, no width is advised in earnest.
    if {"clip-could", "unbounded"} & set(found.get("cause", ())) and set(found.get("change", ())) & {
        *UP,
        *DOWN,
        "lower-width",
        "raise-width",
    }:
        found["change"] = (*found["change"], "not-settled")
    return Case(name, situation, config, found, change)
