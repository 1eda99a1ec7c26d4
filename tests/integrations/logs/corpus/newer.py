"""Cases of libraries that log the names of others beside their own, and of what they say of the sampling engine."""

from __future__ import annotations

from tests.integrations.logs.corpus.always import Labels
from tests.integrations.logs.corpus.case import DOWN, UP, Case, case

__all__ = ["NEWER"]

_SMALL = {"sigma": 0.07, "rollouts": 12}
_NOT_IT: Labels = ("clip-too-small", "covariance")

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
