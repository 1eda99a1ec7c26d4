"""AER, by the rule of it that has a source: an entropy bonus that is taken while the entropy is below a target."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from entclip.objectives.base import Change, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import Bounded, outside
from entclip.support.rewording import dataclass

__all__ = ["Aer"]


@dataclass()
class Aer(Bounded):
    """AER takes an entropy bonus in the updates that begin with a mean entropy of at most `target`, and none in others.

    :Formula: the clip; and, while the mean entropy H of the contexts is at most target, weights coefficient s for the bonus,
        s = -log pi, as `entropy_bonus` has them.
    :Source: [L] Skywork-OR1's rule as TRL 1.16.0 has it (use_adaptive_entropy), in the place of arXiv:2510.10959 [S], whose own
        update rule, step and threshold were not seen [U].
    :Defaults: coefficient .005, the size of TRL's step; target .2 nats, TRL's; low and high .2.
    :Needs: the entropy of each context and its mean over samples; all actions of a context for the bonus.
    :Random reward: towards the target from below, from r = 1 on; above it the clip.
    :True reward: holds the entropy near the target where the coefficient outweighs the reward.
    :Traps: the paper's weights by difficulty are left out. TRL also moves the coefficient by .005 in each step: that is the
        controller "adaptive_bonus". The paper's target is a share of the initial entropy, about .4 of it.
    """

    coefficient: float = 0.005
    target: float = 0.2
    kind: Literal["aer"] = "aer"
    needs = frozenset({"entropy", "statistics", "bonus"})
    hard = True
    by_ratio = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self.kind, "it multiplies the entropy", coefficient=self.coefficient)
        check_not_negative(self.kind, "it is an entropy in nats", target=self.target)

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the coefficient in force."""
        mean = np.sum(np.sum(share, axis=-1) * view.entropy[..., 0], axis=1)
        return {"coefficient": np.where(mean <= self.target, self.coefficient, 0.0)}

    def change(self, view: View) -> Change:
        clipped = Change.dropped(view, *outside(view, self.low, self.high))
        return replace(clipped, bonus={"bonus": -view.statistics["coefficient"] * view.log_probs})
