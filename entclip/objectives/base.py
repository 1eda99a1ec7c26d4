"""THE objective: importance ratio, clip sets, and the weight c(r, A) on grad log pi of each published surrogate. Claims T4, T10.

Every token-level surrogate is a weight c(r, A) on grad log pi. All members below are positively homogeneous in A, so each is
two functions of the ratio, the gains

    c(r, A) = r (A+ g_plus(r) - A- g_minus(r)),      g = 1 for the unclipped objective r A,

and two sets of actions, LOW and HIGH, that say which side a change of the gain belongs to. A new objective is a new
dataclass here; engines, theory and ledger read only `gain`, `sets` and `gated`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

from entclip.policies.softmax import Array
from entclip.support.namespace import namespace

__all__ = [
    "CAUSES",
    "ClipEvents",
    "Objective",
    "SignedGains",
    "clip_events",
    "signed_gains",
    "split_by_cause",
    "weight",
]

CAUSES = ("unclipped", "clip_low", "clip_high", "other")
Sign = Literal["plus", "minus"]


class Objective(Protocol):
    """What the rest of entclip needs of an objective."""

    @property
    def gated(self) -> bool:
        """True if LOW acts on A < 0 only and HIGH on A > 0 only (PPO); False if both act on either sign (CISPO)."""

    def sets(self, ratio: Array, old_probs: Array) -> tuple[Array, Array]:
        """Boolean masks of LOW and HIGH, the actions beyond the low and the high bound."""

    def gain(self, sign: Sign, ratio: Array, old_probs: Array) -> Array:
        """c(r, A) / (r A) for A > 0 (plus) or A < 0 (minus)."""


class SignedGains(NamedTuple):
    """E[c/(r A)] and E[(c/(r A))^2] for A > 0 and A < 0, each (..., V). The squares differ from the means under random drops."""

    plus: Array
    minus: Array
    plus_sq: Array
    minus_sq: Array


class ClipEvents(NamedTuple):
    """Samples whose gradient a side removed or bounded: low if A < 0 and in LOW, high if A > 0 and in HIGH (PPO's gating)."""

    low: Array
    high: Array


def signed_gains(objective: Objective, ratio: Array, old_probs: Array) -> SignedGains:
    """The gains of a deterministic objective for both signs of A.

    A bounded weight (CISPO, CE-GPPO) has gain bound/r, whose square leaves float64 for r < 1e-154. The square is held at the
    largest finite number: it enters only curvature, which at such a ratio is beyond any second-order theory.
    """
    xp = namespace(ratio)
    plus, minus = objective.gain("plus", ratio, old_probs), objective.gain("minus", ratio, old_probs)
    top = float(xp.finfo(ratio.dtype).max) ** 0.5 * 0.99
    return SignedGains(plus, minus, xp.clip(plus, 0, top) ** 2, xp.clip(minus, 0, top) ** 2)


def split_by_cause(
    objective: Objective, gains: SignedGains, ratio: Array, old_probs: Array, plus: Array, minus: Array
) -> dict[str, Array]:
    """Weights c/r by cause from summed or expected A+ (plus) and A- (minus) per action, each (..., V). Claims T4, T5, T10.

    unclipped: A+ - A-, as if nothing were clipped. clip_low, clip_high: the change (g - 1) on LOW, on HIGH. other: every other
    change (dual clip's cap, soft gates). They add up to c/r.
    """
    low, high = objective.sets(ratio, old_probs)
    up, down = plus * (gains.plus - 1), minus * (1 - gains.minus)
    change = up + down
    by_low, by_high = (down * low, up * high) if objective.gated else (change * low, change * high)
    return {"unclipped": plus - minus, "clip_low": by_low, "clip_high": by_high, "other": change - by_low - by_high}


def weight(objective: Objective, ratio: Array, advantage: Array, old_probs: Array) -> Array:
    """c(r, A) = r A g(r): the factor on grad log pi of each sample. Claim T4."""
    xp = namespace(ratio)
    gain = xp.where(advantage > 0, objective.gain("plus", ratio, old_probs), objective.gain("minus", ratio, old_probs))
    return ratio * advantage * gain


def clip_events(objective: Objective, ratio: Array, advantage: Array, old_probs: Array) -> ClipEvents:
    """Which samples a side acts on, boolean, same shape as ratio."""
    low, high = objective.sets(ratio, old_probs)
    if objective.gated:
        return ClipEvents(low & (advantage < 0), high & (advantage > 0))
    return ClipEvents(low & (advantage != 0), high & (advantage != 0))
