"""REPO: a multiple of the centred log-probability is taken off the advantage."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import nowhere
from entclip.support.rewording import dataclass

__all__ = ["Repo"]


@dataclass()
class Repo(Objective):
    """REPO subtracts a multiple of the centred log-probability from the advantage, whatever its size.

    :Formula: c = r (A - coefficient L), L = log pi + H, the log-probability less its mean.
    :Source: [S] arXiv:2603.11682 (ICLR 2026), in a third party's reading, which calls the coefficient beta; no code.
    :Defaults: coefficient .01 is ours: the paper's was not seen [U].
    :Needs: the entropy of each context, and samples for weights that do not scale with the advantage.
    :Random reward: up from r = 1 on: coefficient times Cov_pi(kappa, s), with natural steps the variance of the surprisal.
    :True reward: the reward's drift beside it.
    :Traps: no clip is part of this member: the paper's would go by the sign of the new advantage, which depends on its size.
        Unlike REPO-R it does not vanish with the advantages; samples with A = 0 (a group that agrees) have no weight here.
    """

    coefficient: float = 0.01
    kind: Literal["repo"] = "repo"
    needs = frozenset({"entropy", "penalty"})

    def __post_init__(self) -> None:
        check_not_negative(self.kind, "0 is no clip", coefficient=self.coefficient)

    def change(self, view: View) -> Change:
        extra = -self.coefficient * (view.log_probs + view.entropy)
        return replace(Change.dropped(view, *nowhere(view)), extra_plus=extra, extra_minus=extra)
