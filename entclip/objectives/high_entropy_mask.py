"""The 80/20 mask: only the contexts of highest entropy are trained on, under a clip."""

from __future__ import annotations

from typing import Literal

import numpy as np

from entclip.objectives.base import Change, Objective, Source, View
from entclip.objectives.top_share import least_of_top
from entclip.objectives.widths import check_widths, outside
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["HighEntropyMask"]

_TIE = 1e-9  # nats; entropies that rounding alone tells apart are kept together


@dataclass()
class HighEntropyMask(Objective):
    """The 80/20 mask trains with the clip on the `share` of samples in contexts of highest entropy; the others have no gradient.

    :Formula: g times 1/share in the kept contexts and 0 elsewhere with normaliser "kept", which divides by the number of kept
        samples as the paper does; g times 1 or 0 with "all", which counts every sample as TRL does.
    :Source: [S] arXiv:2506.01939 (NeurIPS 2025); "all": [L] TRL 1.16.0, top_entropy_quantile.
    :Defaults: share .2; low .2 and high .28.
    :Needs: the entropy of each context and its quantile over samples. source says what that is taken from: "policies", every
        context by its share of the samples; "previous", the samples of the minibatch before (of the first minibatch, the
        policies); "batch", this minibatch's own, as published.
    :Random reward: none of its own: a context is kept or left whatever the sign of A. The clip under it acts where it is kept.
    :True reward: the drift of the contexts of high entropy alone.
    :Traps: the clip's part is that of the kept contexts; what the mask and its normaliser do is `other`. "all" makes the step
        share times as long. With source "batch" the quantile depends on the samples wherever contexts are visited at random, and
        then there are no expectations.
    """

    share: float = 0.2
    low: float = 0.2
    high: float = 0.28
    normaliser: Literal["kept", "all"] = "kept"
    source: Source = "policies"
    kind: Literal["high_entropy_mask"] = "high_entropy_mask"
    needs = frozenset({"entropy", "statistics"})
    by_ratio = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        if not 0 < self.share <= 1:
            raise ValueError(f"high_entropy_mask.share must be in (0, 1], got {self.share}: it is the share of samples kept.")

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the least entropy that is kept, nats, and the share of the samples that are."""
        entropy, weight = view.entropy[..., 0], np.sum(share, axis=-1)
        threshold = least_of_top(entropy, weight, self.share) - _TIE
        return {"threshold": threshold, "kept": np.sum(weight * (entropy >= threshold[:, None]), axis=1)}

    def change(self, view: View) -> Change:
        """Drop what the clip drops of the kept contexts, and all of the others."""
        xp = namespace(view.ratio)
        kept = view.entropy >= view.statistics["threshold"]
        low, high = (side & kept for side in outside(view, self.low, self.high))
        scale: Array = xp.astype(kept, view.ratio.dtype)
        if self.normaliser == "kept":
            scale = scale / view.statistics["kept"]
        plus, minus = (scale * xp.astype(~side, view.ratio.dtype) for side in (high, low))
        return Change.of(plus, minus, low, high)
