"""REPO-R: advantages that are made larger or smaller by how surprising the action was."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import check_widths, outside, width_of_clip
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["RepoR"]


@dataclass()
class RepoR(Objective):
    """REPO-R subtracts zeta |A| log pi_old from the advantage before the clip sees it.

    :Formula: A' = A - zeta |A| log pi_old = A (1 + zeta s) for A > 0 and A (1 - zeta s) for A < 0, s = -log pi_old; then the
        clip, which goes by the sign of A'.
    :Source: [S] arXiv:2603.11682 (ICLR 2026), in a third party's reading; no code. That the log-probability is the rollout's is
        our reading.
    :Defaults: zeta .01 is ours: zeta_0 was not seen. low and high .2. The paper doubles zeta while H < H_0 and halves it above.
    :Random reward: up from r = 1 on: an entropy bonus in disguise, eta kappa zeta Cov_pi(log pi, Q) with kappa = E|A|, and the
        clip.
    :True reward: the reward's drift beside it.
    :Traps: it scales with |A|, so that it vanishes with the advantages where a bonus does not. For s > 1/zeta a negative
        advantage turns positive.
    """

    zeta: float = 0.01
    low: float = 0.2
    high: float = 0.2
    kind: Literal["repo_r"] = "repo_r"

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        check_not_negative(self.kind, "0 is the clip", zeta=self.zeta)

    @property
    def hard(self) -> bool:
        return self.zeta == 0

    @property
    def width(self) -> float:
        return width_of_clip(self.low, self.high)

    def change(self, view: View) -> Change:
        xp, dtype = namespace(view.ratio), view.ratio.dtype
        tiny = float(xp.finfo(dtype).tiny)
        shaped = -self.zeta * xp.log(xp.clip(view.old_probs, tiny))
        below, above = outside(view, self.low, self.high)
        turned = shaped > 1  # A < 0 has become A' > 0, which the high side clips
        low, gone = below & ~turned, above & turned
        plus = (1 + shaped) * xp.astype(~above, dtype)
        minus = (1 - shaped) * xp.astype(~(low | gone), dtype)
        return Change.of(plus, minus, low, above, jumps=(turned,))
