"""Weights that an objective has under a random reward, and its class, on changes made by hand."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace

import numpy as np
import pytest

from entclip.drift.gains import drift_class, own_drift, own_weights
from entclip.objectives.base import Change, Keep, Objective, View
from entclip.policies.softmax import log_softmax
from tests.tolerances import assert_identity

PLUS, MINUS = np.array([0.5, 1.0, 2.0]), np.array([1.5, 0.25, 1.0])
EXTRA_PLUS, EXTRA_MINUS = np.array([0.2, -0.7, 0.1]), np.array([-0.4, 0.3, 0.9])
KEEP = Keep(np.array([0.9, 0.2, 0.6]), np.array([0.3, 0.8, 1.0]))
NEVER = np.zeros(3, bool)


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("dropped", [False, True])
def test_weights_are_those_of_every_sign_that_survives(extra: bool, dropped: bool) -> None:
    """Sample by sample: A = 2 with chance .3 or A = -.75 with chance .4, of mean c/r, times the chance to survive."""
    change = replace(Change.of(PLUS, MINUS, NEVER, NEVER), bonus={"bonus": np.array([0.1, 0.2, 0.4])})
    if extra:
        change = replace(change, extra_plus=EXTRA_PLUS, extra_minus=EXTRA_MINUS)
    if dropped:
        change = replace(change, survival=KEEP)
    want = np.array([0.1, 0.2, 0.4])
    for a in range(3):
        for chance, advantage, gain, added, keep in (
            (0.3, 2.0, PLUS[a], EXTRA_PLUS[a], KEEP.plus[a]),
            (0.4, -1.5, MINUS[a], EXTRA_MINUS[a], KEEP.minus[a]),
        ):
            want[a] += chance * (keep if dropped else 1.0) * (advantage * gain + (added if extra else 0.0))
    assert pytest.approx(0.4 * 1.5) == 0.3 * 2.0  # E A+ = E A-: the mean of A is 0
    assert_identity(own_weights(change, 0.6, 0.3, 0.4), want, 16.0)


def test_signs_are_as_likely_as_each_other_unless_said_otherwise() -> None:
    change = replace(Change.of(PLUS, MINUS, NEVER, NEVER), extra_plus=EXTRA_PLUS, extra_minus=EXTRA_MINUS)
    assert_identity(own_weights(change, 0.6), own_weights(change, 0.6, 0.5, 0.5), 1.0)
    log_probs, options = log_softmax(np.array([0.3, -1.0, 0.1])), {"half_mean": 0.6, "learning_rate": 0.2, "geometry": "natural"}
    want = own_drift(change, log_probs, share_plus=0.5, share_minus=0.5, **options)
    assert_identity(own_drift(change, log_probs, **options), want, 1.0)
    for side in ("share_plus", "share_minus"):
        assert abs(own_drift(change, log_probs, **options, **{side: 0.4}) - want) > 1e-3
        assert inspect.signature(own_drift).parameters[side].default == 0.5


@dataclass
class ByContext(Objective):
    """Weights that are the same for all actions of a context, and differ from context to context."""

    def change(self, view: View) -> Change:
        plus = np.broadcast_to(1 + np.sum(view.old_probs**2, axis=-1, keepdims=True), view.ratio.shape)
        return Change.of(plus, np.ones_like(plus), view.ratio < 0, view.ratio < 0)


@dataclass
class Bonus(Objective):
    """A bonus alone, at every ratio or where the policy has moved."""

    moved_only: bool = False

    def change(self, view: View) -> Change:
        one, never = np.ones_like(view.ratio), view.ratio < 0
        return replace(Change.of(one, one, never, never), bonus={"bonus": view.ratio - 1 if self.moved_only else view.old_probs})


@dataclass
class Balanced(Objective):
    """Gains by the value of the advantage whose weights its bonus takes back: +-1 with chance 1/2 each weigh (r - 1)/2."""

    @property
    def needs(self) -> frozenset[str]:
        return frozenset({"levels", "bonus"})

    def change(self, view: View) -> Change:
        one, never = np.ones_like(view.ratio), view.ratio < 0
        return replace(Change.of(view.ratio, one, never, never), bonus={"bonus": -(view.ratio - 1) / 2})


def test_a_bonus_counts_beside_weights_by_value() -> None:
    assert drift_class(Balanced()) == "none"


def test_classes_are_about_the_actions_of_one_context() -> None:
    assert drift_class(ByContext()) == "constant"
    assert drift_class(Bonus()) == "on_policy"
    assert drift_class(Bonus(moved_only=True)) == "off_policy"
