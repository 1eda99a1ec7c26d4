"""The gate of Trinity-RFT's SAPO keeps its digits far from the ratio 1, where it is as small as e^-tau."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from entclip.objectives.base import View
from entclip.objectives.sapo_trinity import SapoTrinity


@pytest.mark.parametrize("tau", [1.0, 7.0, 60.0, 700.0])
def test_the_gate_is_as_exact_as_its_argument(tau: float) -> None:
    ratio = np.array([1e-9, 6.1e-5, 0.3, 0.999, 1.0, 1.7, 40.0, 1e300])
    old = np.full(ratio.size, 1 / ratio.size)
    view = View(ratio=ratio, old_probs=old, log_probs=np.log(old), entropy=np.zeros(1), old_entropy=np.zeros(1))
    gains = SapoTrinity(tau_pos=tau, tau_neg=2 * tau).change(view).gains
    for gain, steepness in ((gains.plus, tau), (gains.minus, 2 * tau)):
        wanted = 4 / steepness * expit(steepness * (ratio - 1))
        # Rounding of the argument x moves e^x by |x| ulps, where it is not beyond all numbers.
        ulps = 8 + np.minimum(steepness * np.abs(ratio - 1), 750)
        assert np.all(np.abs(gain * ratio - wanted) <= ulps * np.finfo(float).eps * wanted + 1e-300)
