"""What an objective sees and makes of ratios and probabilities that a test gives it."""

from __future__ import annotations

from typing import Any

from entclip.objectives.base import Change, Objective, View
from entclip.support.namespace import namespace


def seen(ratio: Any, old_probs: Any) -> View:
    """The view of actions with these ratios, numpy or torch."""
    return View(ratio, old_probs, namespace(ratio).log(ratio * old_probs))


def changed(objective: Objective, ratio: Any, old_probs: Any) -> Change:
    """What the objective makes of them."""
    return objective.change(seen(ratio, old_probs))


def sets(objective: Objective, ratio: Any, old_probs: Any) -> tuple[Any, Any]:
    """LOW and HIGH."""
    change = changed(objective, ratio, old_probs)
    return change.low, change.high
