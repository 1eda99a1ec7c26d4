"""E[(c/r)^4 | a] of one sample, against every value of its advantage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from entclip.drift.rare_samples import fourth_moment
from entclip.objectives.base import Change, Keep
from tests.tolerances import assert_identity

VALUES = np.array([-1.5, -0.4, 0.0, 0.7, 2.0])
CHANCES = np.array([[0.1, 0.3, 0.2, 0.3, 0.1], [0.5, 0.1, 0.1, 0.1, 0.2], [0.0, 0.2, 0.0, 0.5, 0.3]])  # of each value, by action
GAINS = np.array([0.6, 1.0, 1.7]), np.array([1.3, 0.5, 1.0])
EXTRAS = np.array([0.4, -0.9, 0.2]), np.array([0.3, 0.8, -0.6])


class Law:
    """Moments of an advantage that takes five values, each action with its own chances."""

    def by_action(self, name: str) -> np.ndarray:
        part = np.maximum(VALUES, 0) if "plus" in name else np.maximum(-VALUES, 0)
        power = 0 if name.startswith("share") else {"sq": 2, "fourth": 4}.get(name.rpartition("_")[2], 1)
        return CHANCES @ np.where(part > 0, part**power, 0.0)


def change_of(*gains: np.ndarray) -> Change:
    never = np.zeros(3, bool)
    return Change.of(*gains, never, never)


def every_value(power: int, extras: tuple[np.ndarray, np.ndarray], keep: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """E |c/r|^power of each action by the definition: A+ g + x for A > 0, -A- g + x for A < 0, none for A = 0."""
    out = np.zeros(3)
    for a in range(3):
        for value, chance in zip(VALUES, CHANCES[a], strict=True):
            if value != 0:
                side = 0 if value > 0 else 1
                out[a] += keep[side][a] * chance * abs(value * GAINS[side][a] + extras[side][a]) ** power
    return out


NOTHING, ALWAYS = (np.zeros(3), np.zeros(3)), (np.ones(3), np.ones(3))
SOMETIMES = np.array([0.2, 0.9, 0.5]), np.array([0.7, 0.4, 1.0])


@pytest.mark.parametrize("keep", [ALWAYS, SOMETIMES])
def test_of_gains_it_is_the_mean_over_every_value(keep: tuple[np.ndarray, np.ndarray]) -> None:
    change = replace(change_of(*GAINS), survival=None if keep is ALWAYS else Keep(*keep))
    want = every_value(4, NOTHING, keep)
    assert_identity(fourth_moment(change, Law()), want, 8 * want)


@pytest.mark.parametrize("keep", [ALWAYS, SOMETIMES])
def test_of_extra_weights_it_is_minkowskis_bound(keep: tuple[np.ndarray, np.ndarray]) -> None:
    """(|A g|_4 + |x|_4)^4 of each sign, which the mean over every value never exceeds."""
    change = replace(
        change_of(*GAINS), extra_plus=EXTRAS[0], extra_minus=EXTRAS[1], survival=None if keep is ALWAYS else Keep(*keep)
    )
    got, want = fourth_moment(change, Law()), np.zeros(3)
    for a in range(3):
        for side, sign in enumerate((1, -1)):
            of_sign = [(abs(v), c) for v, c in zip(VALUES, CHANCES[a], strict=True) if v * sign > 0]
            scaled = sum(c * (v * GAINS[side][a]) ** 4 for v, c in of_sign) ** (1 / 4)
            extra = (abs(EXTRAS[side][a]) ** 4 * sum(c for _, c in of_sign)) ** (1 / 4)
            want[a] += keep[side][a] * (scaled + extra) ** 4
    assert_identity(got, want, 32 * want)
    assert np.all(every_value(4, EXTRAS, keep) <= got)


def test_weights_beyond_float64_are_held() -> None:
    """A squared gain is held at 1e100 and an extra weight at 1e50, whose fourth powers are numbers; the rest stays as it is."""
    huge = np.array([1e70, 1.0, 1e60])
    of = Law()
    up = fourth_moment(change_of(huge, np.zeros(3)), of)
    down = fourth_moment(change_of(np.zeros(3), huge), of)
    for got, name in ((up, "plus_fourth"), (down, "minus_fourth")):
        want = np.array([1e200, 1.0, 1e200]) * of.by_action(name)
        assert_identity(got, want, 8 * want)
    extra = replace(change_of(np.zeros(3), np.zeros(3)), extra_plus=-huge, extra_minus=np.zeros(3))
    want = np.array([1e200, 1.0, 1e200]) * of.by_action("share_plus")
    assert_identity(fourth_moment(extra, of), want, 32 * want)
