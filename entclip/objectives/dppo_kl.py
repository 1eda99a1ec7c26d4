"""DPPO with a binary KL divergence in place of a difference of probabilities."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.limits import check_not_negative
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["DppoKl"]

_FLOOR = 1e-8  # of the authors' code, beside 1 - pi


@dataclass()
class DppoKl(Objective):
    """DPPO-KL drops a sample that moves its action further once the action's binary KL divergence exceeds a bound.

    :Formula: no gradient for A > 0 where pi > pi_old and for A < 0 where pi < pi_old, if D > delta, with
        D = pi_old log(pi_old/pi) + (1 - pi_old) log((1 - pi_old)/(1 - pi)); else r A.
    :Source: [C] sail-sg/Stable-RL core_algos.py, loss mode dppo_binary_kl; arXiv:2602.04879.
    :Defaults: delta .05, of the authors' example.
    :Random reward: none while r = 1. Then no fixed sign: a bound on D lets rare actions move far in ratio and holds likely ones.
    :True reward: the reward's drift, less that through likely actions.
    :Traps: three references bear this name. The authors compare with the probability that the rollout engine reports, verl with
        the recomputed old policy, prime-rl with the inference engine's (and adds a penalty). entclip has one rollout policy, so
        that the three are the same here; in a trainer their difference is the mismatch of two engines. The authors also cap the
        detached ratio (10, in examples 10,000; verl's configuration 3): not part of this member.
    """

    delta: float = 0.05
    kind: Literal["dppo_kl"] = "dppo_kl"
    hard = True

    def __post_init__(self) -> None:
        check_not_negative(self.kind, "it is a divergence, in nats", delta=self.delta)

    def widths(self, old_probs: Array) -> Array:
        """Return where D = delta to second order in r - 1: D = pi_old (r - 1)^2/(2 (1 - pi_old))."""
        xp = namespace(old_probs)
        return xp.sqrt(2 * self.delta * (1 - old_probs) / old_probs)

    def change(self, view: View) -> Change:
        beyond = _binary_kl(view) > self.delta
        return Change.dropped(view, beyond & (view.ratio < 1), beyond & (view.ratio > 1))


def _binary_kl(view: View) -> Array:
    """KL of Bernoulli(pi_old) from Bernoulli(pi), nats; a ratio that underflowed to 0 counts as the smallest number."""
    xp, old = namespace(view.ratio), view.old_probs
    tiny = float(xp.finfo(view.ratio.dtype).tiny)
    rest_old, rest = (xp.clip(1 - p, 0.0) + _FLOOR for p in (old, view.ratio * old))
    return (1 - old) * xp.log(rest_old / rest) - old * xp.log(xp.clip(view.ratio, tiny))
