"""KL-Cov: a penalty on the log-ratio of the samples whose advantage and log-probability vary together most."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from entclip.objectives.base import Change, Objective, Source, View
from entclip.objectives.clip_cov import covariances, sample_means
from entclip.objectives.limits import check_not_negative
from entclip.objectives.top_share import least_of_top
from entclip.objectives.widths import nowhere
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["KlCov"]


@dataclass()
class KlCov(Objective):
    """KL-Cov clips nothing and holds the samples of largest covariance of advantage and log-probability to their old probability.

    :Formula: c = r A, and - coefficient sign(log r) more for the share `ratio` of samples of largest Cov = (A - mean A)(log pi -
        mean log pi): the loss is - A r + coefficient |log r|.
    :Source: [C] PRIME-RL/Entropy-Mechanism-of-RL and verl; arXiv:2505.22617.
    :Defaults: ratio 2e-3 and coefficient 1, of the authors' 7B run; verl has 2e-4 and .1, SkyRL a ratio of .2.
    :Needs: the advantage of each sample, statistics over samples, and samples for weights that do not scale with |A|. source
        says what they are made of: "policies", "previous" (the minibatch before) or "batch", this minibatch, as published.
    :Random reward: none while r = 1. Then it pulls the chosen actions back.
    :True reward: slows the fall.
    :Traps: inert on the first minibatch. Both parts are of a micro-batch. Samples at the threshold are all chosen. The pull has
        no ratio: natural steps can run away. With "batch" there are no expectations.
    """

    ratio: float = 2e-3
    coefficient: float = 1.0
    source: Source = "policies"
    kind: Literal["kl_cov"] = "kl_cov"
    needs = frozenset({"levels", "statistics", "penalty"})

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise ValueError(f"kl_cov.ratio must be in (0, 1], got {self.ratio}: it is the share of samples that are held.")
        check_not_negative(self.kind, "0 is no clip", coefficient=self.coefficient)

    @property
    def pushes_at_zero(self) -> bool:
        return self.coefficient > 0

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the means of A and log pi over samples, and the least covariance that is held."""
        numbers = sample_means(view, share)
        seen = replace(view, statistics={name: x[:, None, None] for name, x in numbers.items()})
        cov = np.moveaxis(np.broadcast_to(covariances(seen), share.shape), 1, 0).reshape(share.shape[1], -1)
        weight = np.moveaxis(share, 1, 0).reshape(cov.shape)
        threshold = least_of_top(cov, weight, self.ratio)
        # Equal samples differ by rounding alone, which must not decide.
        return numbers | {"threshold": threshold - 1e-9 * np.abs(threshold)}

    def change(self, view: View) -> Change:
        xp, ratio = namespace(view.ratio), view.ratio
        held = xp.astype(covariances(view) >= view.statistics["threshold"], ratio.dtype)
        pull = -self.coefficient * held * xp.sign(xp.log(ratio)) / ratio
        return replace(Change.dropped(view, *nowhere(view)), extra_plus=pull, extra_minus=pull)
