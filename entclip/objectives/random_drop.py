"""A random drop: samples are removed by a coin, sign by sign."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import nowhere
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["RandomDrop"]


@dataclass()
class RandomDrop(Objective):
    """A random drop removes samples by a coin of their own, with a chance for each sign of the advantage, and clips nothing.

    :Formula: c = r A for a sample that survives, else 0; with A > 0 it is dropped with chance drop_pos, with A < 0 with drop_neg.
    :Source: derived; the random clipping of positive tokens of arXiv:2511.05993 is drop_neg = 0 [S].
    :Defaults: both .1, ours.
    :Needs: samples that it may drop.
    :Random reward: none of its own: the mean gains 1 - drop_pos and 1 - drop_neg do not vary with the action.
    :True reward: that of the reward, less what is dropped.
    :Traps: fewer samples make more noise, hence curvature. To drop what another arm's clip removed, update by update, use an arm
        with control = { kind = "drop", like = ARM }.
    """

    drop_pos: float = 0.1
    drop_neg: float = 0.1
    kind: Literal["random_drop"] = "random_drop"
    needs = frozenset({"survival"})
    by_ratio = True

    def __post_init__(self) -> None:
        for name, chance in (("drop_pos", self.drop_pos), ("drop_neg", self.drop_neg)):
            if not 0 <= chance <= 1:
                raise ValueError(
                    f"random_drop.{name} must be in [0, 1], got {chance}: it is the chance that a sample is dropped."
                )

    def change(self, view: View) -> Change:
        kept = (namespace(view.ratio).full_like(view.ratio, 1 - chance) for chance in (self.drop_pos, self.drop_neg))
        return Change.dropped(view, *nowhere(view)).with_drops(*kept)
