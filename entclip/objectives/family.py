"""The published objectives: each says what weight a sample's score gets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from entclip.objectives.base import Objective, Sign
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["CeGppo", "Cispo", "Clip", "DppoTv", "DualClip", "NoClip", "ObjectiveSpec", "Sapo", "objective_named", "surrogate"]
_CONFIG = ConfigDict(extra="forbid")


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


def surrogate(clip: Clip, ratio: Array, advantage: Array) -> Array:
    """min(r A, clip(r, 1 - low, 1 + high) A) of each sample, to be maximised (a loss is its negative). Claim T4."""
    xp = namespace(ratio)
    return xp.minimum(ratio * advantage, xp.clip(ratio, 1 - clip.low, 1 + clip.high) * advantage)
