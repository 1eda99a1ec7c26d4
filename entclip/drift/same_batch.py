"""What it costs to take a statistic from the very samples that it weighs. Claim T17."""

from __future__ import annotations

from entclip.drift.first_order import expected_first_order
from entclip.policies.softmax import Array, Geometry
from entclip.support.errors import SpecError
from entclip.support.namespace import namespace

__all__ = ["same_batch_cost"]


def same_batch_cost(
    log_probs: Array,
    old_log_probs: Array,
    slope: Array,
    influence: Array,
    *,
    samples: int,
    learning_rate: float,
    geometry: Geometry,
) -> Array:
    """Say how much the expected drift changes when a statistic is made of the same samples, (...), nats. Claim T17.

    dH(same) - dH(others) = (eta/N) Cov_pi(kappa, w' (x - E_pi0[x])),

    w' the derivative of the weight w(a) in the statistic tau, x its influence: N times what one more sample of action a adds.
    It is exact where tau is the mean of x over the N samples and w is linear in it, and the first term in 1/N otherwise. A
    baseline that is the batch's mean reward has w' = -1 and x = R: it shrinks the drift by the factor 1 - 1/N.

    Args:
        log_probs, old_log_probs: log pi and log pi_old, (..., V).
        slope, influence: w' and x, (..., V) or numbers.
        samples: N, independent samples of pi_old, at least 1.
    Raises: SpecError for fewer samples.
    Notes: tau scatters by O(1/sqrt N) from minibatch to minibatch; that is noise, and no part of this mean.
    """
    if samples < 1:
        raise SpecError(f"samples must be at least 1, got {samples}: the statistic is made of them.")
    xp = namespace(log_probs)
    centre = xp.sum(xp.exp(old_log_probs) * influence, axis=-1, keepdims=True)
    weights = {"cost": slope * (influence - centre) / samples}
    return expected_first_order(weights, log_probs, learning_rate=learning_rate, geometry=geometry)["cost"]
