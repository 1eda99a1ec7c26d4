"""What an objective may need beside ratios and probabilities, and the refusal of whoever cannot serve it."""

from __future__ import annotations

from collections.abc import Set

from entclip.objectives.base import Objective
from entclip.support.errors import SpecError

__all__ = ["NEEDS", "refuse_unserved"]

NEEDS = {
    "entropy": "the entropy of each context",
    "statistics": "numbers made of all contexts of a replica",
    "sequence": "the ratio of a whole sequence",
    "prefixes": "all prefixes of a sequence",
    "levels": "the advantage value by value",
    "advantage": "rewards, which it makes into advantages by a rule of its own",
    "reference": "a reference policy",
    "penalty": "samples for weights that do not scale with the advantage",
    "survival": "samples that it drops at random, each action's with a chance of its own",
    "bonus": "all actions of a context for a step beside that of the samples",
}


def refuse_unserved(objective: Objective, serves: Set[str], who: str, instead: str = "") -> None:
    """Raise SpecError if the objective needs what `who`, an engine or a function, does not serve; instead: what does."""
    unknown, missing = objective.needs - NEEDS.keys(), sorted(objective.needs - serves)
    if unknown:
        raise SpecError(f"{type(objective).__name__} needs {', '.join(sorted(unknown))}: choose from {', '.join(NEEDS)}.")
    if missing:
        raise SpecError(
            f"the objective {_name(objective)} looks at {' and '.join(NEEDS[need] for need in missing)}, which {who} does not "
            f"offer: {instead or 'use another objective'}."
        )


def _name(objective: Objective) -> str:
    return repr(getattr(objective, "kind", type(objective).__name__))
