"""THE objective: importance ratio, clip sets, and the weight c(r, A) on grad log pi of each published surrogate. Claims T4, T10.

Every token-level surrogate is a weight c(r, A) on grad log pi. All members below are positively homogeneous in A, so each is
two functions of the ratio, the gains

    c(r, A) = r (A+ g_plus(r) - A- g_minus(r)),      g = 1 for the unclipped objective r A,

and two sets of actions, LOW and HIGH, that say which side a change of the gain belongs to. A new objective is a new
dataclass here; engines, theory and ledger read only `gain`, `sets` and `gated`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, Protocol

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from entclip.namespace import namespace
from entclip.policy import Array

__all__ = [
    "CAUSES",
    "CeGppo",
    "Cispo",
    "Clip",
    "ClipEvents",
    "DppoTv",
    "DualClip",
    "NoClip",
    "Objective",
    "ObjectiveSpec",
    "Sapo",
    "SignedGains",
    "clip_events",
    "objective_named",
    "signed_gains",
    "split_by_cause",
    "surrogate",
    "weight",
]

CAUSES = ("unclipped", "clip_low", "clip_high", "other")
Sign = Literal["plus", "minus"]
_CONFIG = ConfigDict(extra="forbid")


class Objective(Protocol):
    """What the rest of entclip needs of an objective."""

    @property
    def gated(self) -> bool:
        """True if LOW acts on A < 0 only and HIGH on A > 0 only (PPO); False if both act on either sign (CISPO)."""

    def sets(self, ratio: Array, old_probs: Array) -> tuple[Array, Array]:
        """Boolean masks of LOW and HIGH, the actions beyond the low and the high bound."""

    def gain(self, sign: Sign, ratio: Array, old_probs: Array) -> Array:
        """c(r, A) / (r A) for A > 0 (plus) or A < 0 (minus)."""


def _check_low(low: float) -> None:
    if not 0 <= low <= 1:
        raise ValueError(
            f"clip.low must be in [0, 1], got {low}: it is the width below 1, so the interval is [1 - low, 1 + high]; "
            "1 switches it off."
        )


def _check_high(high: float) -> None:
    if not high >= 0:
        raise ValueError(
            f"clip.high must be at least 0, got {high}: it is the width above 1, so the interval is [1 - low, 1 + high]; "
            "inf switches it off."
        )


def _outside(ratio: Array, low: float, high: float) -> tuple[Array, Array]:
    """r < 1 - low and r > 1 + high, both strict: a ratio exactly on a bound is not clipped."""
    return ratio < 1 - low, ratio > 1 + high


def _none(ratio: Array) -> tuple[Array, Array]:
    never = ratio < 0
    return never, never


@dataclass(frozen=True, config=_CONFIG)
class Clip:
    """PPO/GRPO clip: min(r A, clip(r, 1 - low, 1 + high) A). low = 1 and high = inf switch a side off. Claim T4.

    Clipping at the low bound raises entropy and clipping at the high bound lowers it when the clipped actions have
    above-average entropy value (T6); *raising* high means less clipping there, hence higher entropy.
    """

    low: float = 0.2
    high: float = 0.2
    kind: Literal["clip"] = "clip"
    gated = True

    def __post_init__(self) -> None:
        _check_low(self.low)
        _check_high(self.high)

    def sets(self, ratio: Array, old_probs: Array) -> tuple[Array, Array]:
        return _outside(ratio, self.low, self.high)

    def gain(self, sign: Sign, ratio: Array, old_probs: Array) -> Array:
        xp = namespace(ratio)
        kept = ratio <= 1 + self.high if sign == "plus" else ratio >= 1 - self.low
        return xp.astype(kept, ratio.dtype)


@dataclass(frozen=True, config=_CONFIG)
class NoClip:
    """The plain importance-weighted objective r A."""

    kind: Literal["none"] = "none"
    gated = True

    def sets(self, ratio: Array, old_probs: Array) -> tuple[Array, Array]:
        return _none(ratio)

    def gain(self, sign: Sign, ratio: Array, old_probs: Array) -> Array:
        return namespace(ratio).ones_like(ratio)


@dataclass(frozen=True, config=_CONFIG)
class DualClip:
    """Clip, and for A < 0 also no gradient beyond r > cap (verl's default, cap 3): max(min(...), cap A). arXiv:1912.09729."""

    low: float = 0.2
    high: float = 0.2
    cap: float = 3.0
    kind: Literal["dual_clip"] = "dual_clip"
    gated = True

    def __post_init__(self) -> None:
        _check_low(self.low)
        _check_high(self.high)
        if not self.cap > 1:
            raise ValueError(
                f"dual_clip.cap must be above 1, got {self.cap}: it bounds the ratio of actions with A < 0 from above."
            )

    def sets(self, ratio: Array, old_probs: Array) -> tuple[Array, Array]:
        return _outside(ratio, self.low, self.high)

    def gain(self, sign: Sign, ratio: Array, old_probs: Array) -> Array:
        xp = namespace(ratio)
        kept = ratio <= 1 + self.high if sign == "plus" else (ratio >= 1 - self.low) & (ratio <= self.cap)
        return xp.astype(kept, ratio.dtype)


@dataclass(frozen=True, config=_CONFIG)
class Cispo:
    """Clipped, detached weight: clip(r, 1 - low, 1 + high) A grad log pi; no token is dropped.
    arXiv:2506.13585 (two-sided form)."""

    low: float = 0.2
    high: float = 0.2
    kind: Literal["cispo"] = "cispo"
    gated = False

    def __post_init__(self) -> None:
        _check_low(self.low)
        _check_high(self.high)

    def sets(self, ratio: Array, old_probs: Array) -> tuple[Array, Array]:
        return _outside(ratio, self.low, self.high)

    def gain(self, sign: Sign, ratio: Array, old_probs: Array) -> Array:
        return namespace(ratio).clip(ratio, 1 - self.low, 1 + self.high) / ratio


@dataclass(frozen=True, config=_CONFIG)
class Sapo:
    """Soft gate f(r) = (4/tau) sigmoid(tau (r - 1)), weight r f'(r) = r sech^2(tau (r - 1)/2), tau by the sign of A.
    arXiv:2511.20347."""

    tau_pos: float = 1.0
    tau_neg: float = 1.05
    kind: Literal["sapo"] = "sapo"
    gated = True

    def __post_init__(self) -> None:
        for name, tau in (("tau_pos", self.tau_pos), ("tau_neg", self.tau_neg)):
            if not 0 < tau < math.inf:
                raise ValueError(f"sapo.{name} must be positive and finite, got {tau}: it is the steepness of the gate.")

    def sets(self, ratio: Array, old_probs: Array) -> tuple[Array, Array]:
        return _none(ratio)

    def gain(self, sign: Sign, ratio: Array, old_probs: Array) -> Array:
        xp = namespace(ratio)
        tau = self.tau_pos if sign == "plus" else self.tau_neg
        # sech^2(x) = 4 e^{-2|x|} / (1 + e^{-2|x|})^2 does not overflow where cosh does.
        decay = xp.exp(-tau * xp.abs(ratio - 1))
        return 4 * decay / (1 + decay) ** 2


@dataclass(frozen=True, config=_CONFIG)
class CeGppo:
    """Clipped tokens keep a bounded gradient: beta_low (1 - low) A below, beta_high (1 + high) A above. arXiv:2509.20712."""

    low: float = 0.2
    high: float = 0.2
    beta_low: float = 0.75
    beta_high: float = 1.0
    kind: Literal["ce_gppo"] = "ce_gppo"
    gated = True

    def __post_init__(self) -> None:
        _check_low(self.low)
        _check_high(self.high)
        for name, beta in (("beta_low", self.beta_low), ("beta_high", self.beta_high)):
            if not 0 <= beta < math.inf:
                raise ValueError(f"ce_gppo.{name} must be finite and at least 0, got {beta}: 0 is the hard clip.")

    def sets(self, ratio: Array, old_probs: Array) -> tuple[Array, Array]:
        return _outside(ratio, self.low, self.high)

    def gain(self, sign: Sign, ratio: Array, old_probs: Array) -> Array:
        xp = namespace(ratio)
        one = xp.ones_like(ratio)
        if sign == "plus":
            # An infinite width has an empty set; without this test the gradient of the branch not taken would be 0 times inf.
            return xp.where(ratio > 1 + self.high, self.beta_high * (1 + self.high) / ratio, one) if self.high < math.inf else one
        return xp.where(ratio < 1 - self.low, self.beta_low * (1 - self.low) / ratio, one)


@dataclass(frozen=True, config=_CONFIG)
class DppoTv:
    """Mask by probability difference: drop A > 0 where pi - pi_old > delta, A < 0 where pi - pi_old < -delta.
    arXiv:2602.04879."""

    delta: float = 0.15
    kind: Literal["dppo_tv"] = "dppo_tv"
    gated = True

    def __post_init__(self) -> None:
        if not 0 <= self.delta <= 1:
            raise ValueError(f"dppo_tv.delta must be in [0, 1], got {self.delta}: it is a difference of probabilities.")

    def sets(self, ratio: Array, old_probs: Array) -> tuple[Array, Array]:
        change = old_probs * (ratio - 1)
        return change < -self.delta, change > self.delta

    def gain(self, sign: Sign, ratio: Array, old_probs: Array) -> Array:
        low, high = self.sets(ratio, old_probs)
        return namespace(ratio).astype(~(high if sign == "plus" else low), ratio.dtype)


ObjectiveSpec = Annotated[Clip | NoClip | DualClip | Cispo | Sapo | CeGppo | DppoTv, Field(discriminator="kind")]
_KINDS: dict[str, Callable[..., Objective]] = {c.kind: c for c in (Clip, NoClip, DualClip, Cispo, Sapo, CeGppo, DppoTv)}


def objective_named(name: str, **parameters: float) -> Objective:
    """The objective of that name with its parameters, e.g. `objective_named("clip", low=0.2, high=0.28)`."""
    if name not in _KINDS:
        raise ValueError(f"unknown objective {name!r}: choose one of {', '.join(sorted(_KINDS))}.")
    return _KINDS[name](**parameters)


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


def surrogate(clip: Clip, ratio: Array, advantage: Array) -> Array:
    """min(r A, clip(r, 1 - low, 1 + high) A) of each sample, to be maximised (a loss is its negative). Claim T4."""
    xp = namespace(ratio)
    return xp.minimum(ratio * advantage, xp.clip(ratio, 1 - clip.low, 1 + clip.high) * advantage)
