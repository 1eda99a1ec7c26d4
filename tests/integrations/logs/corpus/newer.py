"""Cases of libraries that log the names of others beside their own, and of what they say of the sampling engine."""

from __future__ import annotations

from tests.integrations.logs.corpus.always import Labels
from tests.integrations.logs.corpus.case import DOWN, UP, Case, case
from tests.integrations.logs.corpus.writers import Rows

__all__ = ["NEWER"]

_SMALL = {"sigma": 0.07, "rollouts": 12}
_NOT_IT: Labels = ("clip-too-small", "covariance")


def louder(rows: Rows) -> Rows:
    """A second half with three times the clip share, as a larger learning rate makes it."""
    names = ("clip_low", "clip_high", "clip_any")
    return [row | {n: row[n] * 3 for n in names} if i >= len(rows) / 2 else row for i, row in enumerate(rows)]


NEWER: tuple[Case, ...] = (
    case("alive.swift.jsonl"),
    case(
        "rises.swift.jsonl",
        end=1.5,
        sigma=0.08,
        right={"clip": ("high",), "cause": _NOT_IT, "change": (*UP, "not-enough")},
    ),
    case("hard-prompts.swift.jsonl", positive=0.1, right={"clip": ("low",)}),
    case("alive.easyr1.jsonl"),
    case(
        "collapse.easyr1.jsonl",
        start=0.9,
        end=0.2,
        right={"cause": (*_NOT_IT, "side-unknown"), "change": (*DOWN, "not-enough")},
        **_SMALL,
    ),
    case("alive.areal.jsonl"),
    case(
        "collapse.areal.jsonl",
        start=0.9,
        end=0.2,
        right={"cause": (*_NOT_IT, "side-unknown"), "change": (*DOWN, "not-enough")},
        **_SMALL,
    ),
    case("alive.roll.jsonl"),
    case("inert.roll.jsonl", updates=1, rollouts=40, right={"clip": ("none",), "inner-steps": (), "cause": (), "change": ()}),
    case("alive.openinstruct.csv"),
    case("rises.openinstruct.csv", end=1.5, right={"cause": ("clip-could", "open", "side-unknown")}),
    # A share that trebles half-way, and widths of sequences that drop three quarters of what can be dropped
    case("louder.trl.jsonl", None, louder, right={"clip": ("both", "changing")}, rollouts=48, sigma=0.15, sure=0.0),
    case("louder.verl.jsonl", None, louder, right={"clip": ("merged", "changing")}, rollouts=48, sigma=0.15, sure=0.0),
    case("louder.sb3.csv", None, louder, right={"clip": ("ungated", "changing")}, rollouts=48, sigma=0.15, sure=0.0),
    case(
        "sequences.trl.jsonl",
        "importance_sampling_level: sequence\nepsilon: 3.0e-2\nepsilon_high: 4.0e-2\ngradient_accumulation_steps: 1\n"
        "steps_per_generation: 4\nnum_generations: 8",
        low=0.03,
        high=0.04,
        sigma=0.13,
        sure=0.0,
        right={"ceiling": ("high",), "change": ("not-settled",)},
    ),
    # The engine reports the probabilities of its truncated sampling; it is old, but reports what it sampled from
    case("alive.verlkept.jsonl", right={"bias": ("ratio-below-one", "engine")}),
    case("alive.verlold.jsonl"),
    case(
        "collapse.verlkept.jsonl",
        start=0.8,
        end=0.2,
        right={
            "bias": ("ratio-below-one", "engine"),
            "cause": (*_NOT_IT, "side-unknown"),
            "change": (*DOWN, "not-enough"),
        },
        **_SMALL,
    ),
)
