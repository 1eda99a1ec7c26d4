"""The contract of an objective: it sees a View of the policies and returns a Change of the weights. Claims T4, T10, T14.

Every token-level surrogate is a weight c(r, A) on grad log pi. Relative to the unclipped r A it is two functions of what is seen,
the gains

    c(r, A) = r (A+ g_plus - A- g_minus),      g = 1 for the unclipped objective r A,

and two sets of actions, LOW and HIGH, that say which side a change of the gain belongs to. Three things more exist for members
that need them: weights of a sample that do not scale with |A| (penalties), chances that a sample is dropped at random, and a
bonus, a step that is taken whatever is drawn. A new objective is a new dataclass, here or in anybody's own file, with a `change`
and the facts that differ from those of `Objective`; engines, theory, prediction and ledger read nothing else of it and know none
by name.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NamedTuple

from entclip.policies.softmax import Array, entropy, importance_ratio
from entclip.rewards.advantage import Advantage
from entclip.rewards.reward import RewardLaw
from entclip.support.namespace import namespace

__all__ = [
    "CAUSES",
    "Change",
    "ClipEvents",
    "Keep",
    "Objective",
    "SignedGains",
    "Source",
    "View",
    "clip_events",
    "kinds",
    "sample_counts",
    "split_by_cause",
    "weight",
    "weights_of",
]

Source = Literal["policies", "previous", "batch"]
CAUSES = ("unclipped", "clip_low", "clip_high", "other")


@dataclass(frozen=True)
class View:
    """What an objective sees of the policies in one update, before any of its samples is drawn.

    The last axis holds the actions of a context, or those of its samples.

    Attributes:
        ratio: pi/pi_old, (..., V).   old_probs: pi_old, (..., V).   log_probs: log pi, nats, (..., V).
        entropy, old_entropy: H of pi and of pi_old in each context, nats, (..., 1); None unless the objective needs "entropy".
        statistics: numbers of this update by name, each one number or (..., 1); see Objective.statistics.
        reference: log-probabilities of the reference policy, (..., V), where a run has one.
        advantage: the advantage of the samples, where the objective needs "levels": one value after the other on a first axis,
            (L, ..., 1), before samples are drawn, or that of each sample, (..., V). What depends on it has that axis, too.
        rewards, chances: own rewards at those values, (L, ..., 1), None where a value does not tell them; P(value | action),
            (L, ..., V) or (L, ..., 1). None of samples.
        share: where the objective needs "sequence", the last axis holds the tokens of a sequence, each with its share of it;
            shares add up to 1, and `ratio` is that of the sequence, exp(sum share log(pi/pi_old)), the same for all its
            tokens; weights are relative to it.
    """

    ratio: Array
    old_probs: Array
    log_probs: Array
    entropy: Array = None
    old_entropy: Array = None
    statistics: Mapping[str, Array] = field(default_factory=dict)
    reference: Array = None
    advantage: Array = None
    rewards: Array = None
    chances: Array = None
    share: Array = None

    @classmethod
    def of(
        cls,
        log_probs: Array,
        old_log_probs: Array,
        needs: Set[str] = frozenset(),
        statistics: Mapping[str, Array] | None = None,
        reference: Array = None,
    ) -> View:
        """Return the view of whole contexts, from log pi and log pi_old over all actions, (..., V)."""
        ratio, old_probs = importance_ratio(log_probs, old_log_probs), namespace(log_probs).exp(old_log_probs)
        now, old = (entropy(x)[..., None] if "entropy" in needs else None for x in (log_probs, old_log_probs))
        return cls(ratio, old_probs, log_probs, now, old, statistics or {}, reference)


class SignedGains(NamedTuple):
    """E[c/(r A)] and E[(c/(r A))^2] for A > 0 and A < 0, each (..., V). The squares differ from the means under random drops."""

    plus: Array
    minus: Array
    plus_sq: Array
    minus_sq: Array


class Keep(NamedTuple):
    """Chances that a sample with A > 0, with A < 0, survives a random drop: numbers, or one for each action, (..., V)."""

    plus: Array | float
    minus: Array | float


@dataclass(frozen=True)
class Change:
    """What an objective makes of the weights r A of the actions in a view.

    Attributes:
        gains: for A > 0 and A < 0, and their squares, (..., V).
        low, high: boolean masks of LOW and HIGH, the actions beyond the low and the high bound, (..., V).
        gated: True if LOW acts on A < 0 only and HIGH on A > 0 only (PPO); False if both act on either sign (CISPO).
        jumps: further boolean masks at whose edges a gain is not smooth, (..., V).
        extra_plus, extra_minus: weights c/r of a sample with A > 0, with A < 0, beside those that scale with |A|, signed,
            (..., V); a sample with A = 0 has none. For members that need "penalty".
        survival: chances that a sample with A > 0, with A < 0, is not dropped at random, (..., V), by a coin of its own, above
            0. For members that need "survival", by `with_drops`; gains are those of samples that survive.
        bonus: by cause, "bonus" or "kl_term", the weights w (..., V) of a step that every update takes beside that of its
            samples: per unit learning rate w in the natural geometry and pi (w - E_pi w) in the euclidean one. To ascend a
            function J of the policy, take the w with pi (w - E_pi w) = dJ/dtheta. For members that need "bonus".
    """

    gains: SignedGains
    low: Array
    high: Array
    gated: bool = True
    jumps: tuple[Array, ...] = ()
    extra_plus: Array = None
    extra_minus: Array = None
    survival: Keep | None = None
    bonus: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of(
        cls, plus: Array, minus: Array, low: Array, high: Array, *, gated: bool = True, jumps: tuple[Array, ...] = ()
    ) -> Change:
        """Return the change of an objective whose gains for A > 0 and A < 0 are `plus` and `minus`.

        A bounded weight (CISPO, CE-GPPO) has gain bound/r, whose square leaves float64 for r < 1e-154. The square is held at the
        largest finite number: it enters only curvature, which at such a ratio is beyond any second-order theory.
        """
        xp = namespace(plus)
        top = float(xp.finfo(plus.dtype).max) ** 0.5 * 0.99
        return cls(SignedGains(plus, minus, *(xp.clip(g, -top, top) ** 2 for g in (plus, minus))), low, high, gated, jumps)

    @classmethod
    def dropped(cls, view: View, low: Array, high: Array, *, beyond: Array | None = None) -> Change:
        """Return the change of a hard clip: no gradient for A > 0 on HIGH, for A < 0 on LOW (and on `beyond`, no side's)."""
        xp = namespace(view.ratio)
        below = low if beyond is None else low | beyond
        plus, minus = (xp.astype(~gone, view.ratio.dtype) for gone in (high, below))
        return cls(SignedGains(plus, minus, plus, minus), low, high, jumps=() if beyond is None else (beyond,))

    def with_drops(self, plus: Array, minus: Array) -> Change:
        """Return the change of samples that survive with these chances, for A > 0 and A < 0, (..., V).

        Samples that never survive have gains and extra weights of 0 and no coin: they are drawn and counted, so that the books
        still know what they would have done.
        """
        xp = namespace(self.low)
        signs = []
        for chance in (plus, minus):
            some = chance > 0
            signs.append((xp.where(some, chance, xp.ones_like(chance)), xp.astype(some, chance.dtype)))
        (keep_plus, any_plus), (keep_minus, any_minus) = signs
        g = self.gains
        gains = SignedGains(g.plus * any_plus, g.minus * any_minus, g.plus_sq * any_plus, g.minus_sq * any_minus)
        dropped = replace(self, gains=gains, survival=Keep(keep_plus, keep_minus))
        if self.extra_plus is None:
            return dropped
        return replace(dropped, extra_plus=self.extra_plus * any_plus, extra_minus=self.extra_minus * any_minus)

    def at(self, some: slice) -> Change:
        """Return the change of some of the actions of a view with one axis."""
        gains = SignedGains(*(g[some] for g in self.gains))
        plus, minus = (None if x is None else x[some] for x in (self.extra_plus, self.extra_minus))
        survival = None if self.survival is None else Keep(self.survival.plus[some], self.survival.minus[some])  # type: ignore[index]
        bonus = {cause: w[some] for cause, w in self.bonus.items()}
        jumps = tuple(mask[some] for mask in self.jumps)
        return Change(gains, self.low[some], self.high[some], self.gated, jumps, plus, minus, survival, bonus)

    @property
    def bonus_weights(self) -> Array:
        """Return the weights of the whole bonus, (..., V)."""
        return sum(self.bonus.values())

    @property
    def piece(self) -> Array:
        """Return an integer per action that names its smooth piece: the gains jump or bend only from one piece to another."""
        xp = namespace(self.low)
        masks = (self.low, self.high, *self.jumps)
        return sum(2**k * xp.astype(mask, xp.int64) for k, mask in enumerate(masks))


class Objective(ABC):
    """An objective: a frozen dataclass of its parameters with a `kind`, which names it in experiment files.

    A member has a `change`, and states those of the facts below that differ from what stands here.
    """

    kind: str
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}  # for dataclasses that state no configuration
    __dataclass_fields__: ClassVar[dict[str, Any]]  # every member is a dataclass

    def __init_subclass__(cls) -> None:
        if "change" in cls.__dict__ and any("change" in parent.__dict__ for parent in cls.__mro__[1:] if parent is not Objective):
            # With a change of its own, a class does not inherit what its parent states about the parent's change.
            for fact in _FACTS - cls.__dict__.keys():
                setattr(cls, fact, Objective.__dict__[fact])
        kind = cls.__dict__.get("kind")
        if not isinstance(kind, str):
            return
        if "Literal" not in str(cls.__annotations__.get("kind")):
            raise TypeError(f'{cls.__qualname__}: write its kind as a field, kind: Literal["{kind}"] = "{kind}".')
        known = _KINDS.get(kind)
        if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(
                f"the kind {kind!r} is {known.__module__}.{known.__qualname__}: give {cls.__qualname__} another name, since "
                "experiment files choose an objective by its kind."
            )
        _KINDS[kind] = cls

    @abstractmethod
    def change(self, view: View) -> Change:
        """Say what the objective makes of the weights of the actions in a view."""

    @property
    def needs(self) -> Set[str]:
        """Say what the objective looks at beside ratios and probabilities, by the names of needs.NEEDS."""
        return frozenset()

    @property
    def source(self) -> Source:
        """Say what `statistics` are made of: the policies, the samples of the minibatch before, or this minibatch's own.

        The first two are known before the samples of an update are drawn, so that T5 and T8 hold given them; the last is not,
        and its updates have no expectations.
        """
        return "policies"

    def statistics(self, view: View, share: Array) -> dict[str, Array]:
        """Return numbers of this update by name, one for each replica, (R,), for members that need "statistics".

        Args:
            view: all contexts of each replica, (R, S, V), numpy arrays.
            share: of the samples of a replica that are of each action in each context, (R, S, V), adding up to 1; of those with
                each value of the advantage, (L, R, S, V), where the objective needs "levels".
        """
        raise NotImplementedError

    def advantage_rule(self, given: Advantage, reward: RewardLaw) -> Advantage:
        """Return the rule that makes rewards into advantages, from the experiment's, for members that need "advantage".

        Raises: ValueError where the member has none for such advantages or rewards.
        """
        return given

    @property
    def hard(self) -> bool:
        """Tell whether every gain is 0 or 1."""
        return False

    @property
    def by_ratio(self) -> bool:
        """Tell whether the change depends on an action by its ratio alone; numbers of its context may enter."""
        return False

    @property
    def pushes_at_zero(self) -> bool:
        """Tell whether c(r, A) stays away from 0 as r falls to 0, so that the weight c/r of a vanishing action has no bound."""
        return False

    @property
    def idle(self) -> tuple[float, float]:
        """Return the ratios between which, both included, every gain is 1 and no action is in a set, whatever the action.

        NaN where there is no such range. One that is too narrow costs time and changes nothing.
        """
        return math.nan, math.nan

    @property
    def width(self) -> float:
        """Say how far the ratio moves until a gain changes by about one half; inf where none ever does."""
        low, high = self.idle
        sides = [w for w in (1 - low, high - 1) if w < 1]
        return min(sides, default=math.inf)

    def widths(self, old_probs: Array) -> Array:
        """Return `width` for actions of probability pi_old, same shape: it differs by action where ratios do not decide."""
        return namespace(old_probs).full_like(old_probs, self.width)


_FACTS = {"by_ratio", "hard", "idle", "needs", "pushes_at_zero", "width", "widths"}
_KINDS: dict[str, type[Objective]] = {}


def kinds() -> Mapping[str, type[Objective]]:
    """Return the class of every kind of objective that has been defined, by name."""
    return dict(_KINDS)


class ClipEvents(NamedTuple):
    """Samples whose gradient a side removed or bounded: low if A < 0 and in LOW, high if A > 0 and in HIGH (PPO's gating)."""

    low: Array
    high: Array


def weights_of(change: Change, plus: Array, minus: Array, n_plus: Array = None, n_minus: Array = None) -> Array:
    """Return c/r of each action, (..., V), summed or expected: A+ g_plus - A- g_minus, and the extra weights. Claim T4.

    Args:
        plus, minus: sums or means of A+ and A- of the samples of each action, (..., V).
        n_plus, n_minus: how many of the samples had A > 0 and A < 0, as shares of B or as chances, (..., V): asked for where the
            change has extra weights.
    """
    scaled = plus * change.gains.plus - minus * change.gains.minus
    return scaled if change.extra_plus is None else scaled + (n_plus * change.extra_plus + n_minus * change.extra_minus)


def split_by_cause(change: Change, plus: Array, minus: Array, n_plus: Array = None, n_minus: Array = None) -> dict[str, Array]:
    """Return the weights c/r by cause from summed or expected A+ and A- per action, each (..., V). Claims T4, T5, T10.

    unclipped: A+ - A-, as if nothing were clipped. clip_low, clip_high: the change (g - 1) on LOW, on HIGH. other: every other
    change (dual clip's cap, soft gates, extra weights). They add up to c/r; the arguments are those of `weights_of`.
    """
    up, down = plus * (change.gains.plus - 1), minus * (1 - change.gains.minus)
    both = up + down
    by_low, by_high = (down * change.low, up * change.high) if change.gated else (both * change.low, both * change.high)
    other = both - by_low - by_high
    if change.extra_plus is not None:
        other = other + (n_plus * change.extra_plus + n_minus * change.extra_minus)
    return {"unclipped": plus - minus, "clip_low": by_low, "clip_high": by_high, "other": other}


def weight(objective: Objective, view: View, advantage: Array) -> Array:
    """Return c(r, A) = r A g, and the extra weight by the sign of A: the factor on grad log pi of each sample. Claim T4."""
    xp, change = namespace(view.ratio), objective.change(replace(view, advantage=advantage))
    out = view.ratio * advantage * xp.where(advantage > 0, change.gains.plus, change.gains.minus)
    if change.extra_plus is None:
        return out
    extra = xp.where(advantage > 0, change.extra_plus, change.extra_minus)
    return out + view.ratio * xp.where(advantage == 0, xp.zeros_like(extra), extra)


def clip_events(change: Change, advantage: Array) -> ClipEvents:
    """Say which samples a side acts on, boolean, from the change at each sample and its advantage, same shapes."""
    if change.gated:
        return ClipEvents(change.low & (advantage < 0), change.high & (advantage > 0))
    return ClipEvents(change.low & (advantage != 0), change.high & (advantage != 0))


def sample_counts(change: Change, n_plus: Array, n_minus: Array) -> dict[str, Array]:
    """Return the ledger's counts of samples from how many had A > 0 and A < 0, of each action (..., V) or each sample.

    clip_count_low, clip_count_high: those that a side acted on. removed_plus, removed_minus: those whose gradient was removed
    whole, by sign, whatever removed it; a drop control takes its shares from them.
    """
    either, gains = n_plus + n_minus, change.gains
    of_low, of_high = (n_minus, n_plus) if change.gated else (either, either)
    return {
        "clip_count_low": of_low * change.low,
        "clip_count_high": of_high * change.high,
        "count_plus": n_plus,
        "count_minus": n_minus,
        "removed_plus": n_plus * (gains.plus == 0),
        "removed_minus": n_minus * (gains.minus == 0),
    }
