"""What findings keep of objectives side by side: their own part of the drift, and differences unit by unit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from entclip.ledger.arm import ArmLedger, standard_error
from entclip.runs.comparison import paired_units
from entclip.runs.result import Ledger

__all__ = ["paired_arms"]

_OWN = ("clip_low", "clip_high", "other")


def paired_arms(ledger: Ledger, against: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the summary of every arm, and beside it columns that take each independent unit by itself.

    own: clip_low + clip_high + other, what the objective makes of the unclipped update at first order, nats, with own_se.
    minus_ARM: the entropy change minus that of an arm of `against` over the same contexts and random numbers, with minus_ARM_se.
    policy_reward: expected reward at the end, where it depends on the action.
    """
    arms = {name: ledger.judged(books) for name, books in ledger.arms.items()}
    pair = ledger.experiment.antithetic
    for name, arm in arms.items():
        own = np.sum([ledger.arms[name].totals[part] for part in _OWN], axis=0)
        arm |= {"own": float(own.mean()), "own_se": standard_error(own, pair)} | _reward(ledger.arms[name])
        for other in against:
            if other != name:
                mine, theirs = paired_units((ledger.arms[name], arm), (ledger.arms[other], arms[other]))
                arm |= {
                    f"minus_{other}": float((mine - theirs).mean()),
                    f"minus_{other}_se": standard_error(mine - theirs, pair),
                }
    return arms


def _reward(books: ArmLedger) -> dict[str, float]:
    reward = books.summaries[-1].get("policy_reward")
    return {} if reward is None else {"policy_reward": reward}
