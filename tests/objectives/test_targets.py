"""Members with a target for the entropy: which way their rule moves on either side of it, at values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from entclip import objective
from entclip.objectives.base import Objective, View

# Two contexts of equal share: one coin and one certain action, so that the mean entropy is log(2)/2.
_NOW = np.log(np.array([[[0.5, 0.5], [1 - 1e-300, 1e-300]]]))
_SHARE = np.array([[[0.25, 0.25], [0.5, 0.0]]])
_MEAN = np.log(2) / 2


def _number(member: Objective, name: str) -> float:
    share = _SHARE[None] if "levels" in member.needs else _SHARE  # by value of the advantage, too
    return float(member.statistics(View.of(_NOW, _NOW, member.needs), share)[name][0])


@pytest.mark.parametrize("away", [0.25, -0.05])
def test_adapo_widens_below_its_target_and_narrows_above(away: float) -> None:
    adapo = objective("adapo", target=_MEAN + away, gain=2.0, high=0.2, least=0.05, most=1.0)
    assert _number(adapo, "high") == pytest.approx(0.2 + 2 * away, rel=1e-14)


@pytest.mark.parametrize(("target", "temperature"), [(_MEAN + 0.1, 1.2), (_MEAN - 0.1, 0.8)])
def test_aepo_is_hot_below_its_target_and_cold_above(target: float, temperature: float) -> None:
    aepo = objective("aepo", target=target, hot=1.2, cold=0.8, coefficient=0.06)
    assert _number(aepo, "temperature") == temperature
    assert _number(aepo, "strength") == {1.2: 0.06, 0.8: 0.03}[temperature], "60 rows, or half of them"


@pytest.mark.parametrize(("target", "coefficient"), [(_MEAN + 0.1, 0.01), (_MEAN - 0.1, 0.0)])
def test_aer_takes_its_bonus_below_its_target_alone(target: float, coefficient: float) -> None:
    assert _number(objective("aer", target=target, coefficient=0.01), "coefficient") == coefficient
