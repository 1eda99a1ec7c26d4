"""The words of a report, for a reader who has never seen one."""

from __future__ import annotations

from collections.abc import Iterable

from entclip.ledger.columns import COLUMNS

__all__ = ["READING", "glossary"]

READING = (
    "Each panel is one arm, each group one rollout: samples drawn from one old policy, and all updates made with them.",
    "The black bar is the entropy change that was measured. The stack beside it says where it came from: up what raised "
    "entropy, down what lowered it. The line across the stack is its sum, and it always meets the end of the black bar.",
    "So read off the stack what moved entropy. Blue and orange are the clip's doing; yellow is what the same updates would have "
    "done had nothing been clipped; green is the second-order effect of sampling noise, which no clip causes; dark red is "
    "momentum, what earlier minibatches left in the optimiser, of every cause.",
)

_WORDS = {
    "entropy": "mean surprisal of the policy, -log pi, in nats (natural logarithm): how undecided it is.",
    "arm": "one setting of the clip. All arms share everything else, random numbers included.",
    "clip": "PPO and GRPO drop the gradient of a sample whose probability has moved too far since it was drawn: below 1 - "
    "eps_low times its old value with a negative advantage (clip low), above 1 + eps_high with a positive one (clip high). At "
    "the first update of a rollout nothing has moved, so nothing is clipped.",
    **{c.label: c.description for c in COLUMNS if c.look is not None},
    "theory along the path": "the expected value of a part, given the policies that the run visited.",
    "verdict": "agree: theory is large against the error and within five standard errors. reject: more than five off. "
    "inconclusive: too little data to tell.",
    "gap": "entropy value of the actions beyond a bound, minus the policy's mean. A positive gap gives the clip its usual sign.",
    "clip fraction": "share of samples whose gradient was dropped.",
    "standard error": "in brackets, in units of the last digits: -.0340(6) = -.0340 +- .0006. Intervals are 95 % (Student's t "
    "over independent units).",
}


def glossary(columns: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return every word and what it means; parts of the change only if the tables have a column of theirs."""
    shown, parts = set(columns), {c.label for c in COLUMNS if c.look is not None} | {"verdict"}
    return tuple((word, text) for word, text in _WORDS.items() if word in shown or word not in parts)
