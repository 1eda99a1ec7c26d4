"""Details of logit steps and their adjoint that the tests of the claims do not see.

Rows of a batch are separate contexts, dtype and array library are kept, limits are allowed or refused exactly where the messages
put them, and arithmetic that must survive an underflow survives it. Expected values come from the definitions.
"""

from __future__ import annotations

import math

import numpy as np

from entclip.drift.steps import expected_step, logit_step, step_adjoint
from tests.contexts import assert_rows, contexts, geometries
from tests.tolerances import assert_identity


def steps_by_hand(w: np.ndarray, log_p: np.ndarray, log_old: np.ndarray, eta: np.ndarray, geometry: str) -> np.ndarray:
    """The two formulas of update.py, context by context and action by action."""
    out = np.zeros_like(w)
    for k in range(len(w)):
        p, old = np.exp(log_p[k]), np.exp(log_old[k])
        for a in range(w.shape[1]):
            if geometry == "natural":
                out[k, a] = eta[k, 0] * w[k, a] / old[a]
            else:
                out[k, a] = eta[k, 0] * (p[a] / old[a] * w[k, a] - p[a] * math.fsum(p / old * w[k]))
    return out


@geometries
def test_steps_of_many_contexts(geometry: str) -> None:
    log_p, log_old = contexts()
    w, eta = np.random.default_rng(1).normal(size=(4, 3)), np.array([[0.1], [0.2], [3.0], [0.0]])
    want = steps_by_hand(w, log_p, log_old, eta, geometry)
    size = 50 * (1 + np.abs(want))
    assert_identity(logit_step(w, log_p, log_old, learning_rate=eta, geometry=geometry), want, size)
    # W_a = pi0_a w_a is what action a gets on average when it carries w_a.
    mean = logit_step(np.exp(log_old) * w, log_p, log_old, learning_rate=1.0, geometry=geometry)
    assert_identity(expected_step(w, log_p, geometry=geometry), mean, np.full((4, 3), 10.0))
    p = np.exp(log_p)
    written = w if geometry == "natural" else p * (w - np.sum(p * w, axis=-1, keepdims=True))
    assert_identity(expected_step(w, log_p, geometry=geometry), written, np.full((4, 3), 10.0))


@geometries
def test_the_adjoint_prices_every_step(geometry: str) -> None:
    """<v, W> = <gradient, step of W> for each unit vector W, so for every W."""
    log_p, log_old = contexts()
    gradient, eta = np.random.default_rng(2).normal(size=(4, 3)), np.array([[0.1], [0.2], [3.0], [1.0]])
    price = step_adjoint(gradient, log_p, log_old, learning_rate=eta, geometry=geometry)
    for a in range(3):
        unit = np.zeros((4, 3))
        unit[:, a] = 1
        step = steps_by_hand(unit, log_p, log_old, eta, geometry)
        assert_identity(price[:, a], np.sum(gradient * step, axis=-1), np.sum(np.abs(gradient) * (np.abs(step) + 10), axis=-1))
    assert_rows(
        price,
        lambda k: step_adjoint(gradient[k], log_p[k], log_old[k], learning_rate=float(eta[k, 0]), geometry=geometry),
        1000.0,
    )


def test_an_action_that_cannot_be_sampled_does_not_move() -> None:
    """exp(-800) is 0 in float64: no sample ever has this action, its weight is 0, and 0 / 0 must not become NaN."""
    log_old = np.array([0.0, -800.0])
    w = np.array([0.5, 0.0])
    assert logit_step(w, log_old, log_old, learning_rate=1.0, geometry="natural").tolist() == [0.5, 0.0]
    assert step_adjoint(np.array([2.0, 0.0]), log_old, log_old, learning_rate=0.5, geometry="natural").tolist() == [1.0, 0.0]
    single = log_old.astype(np.float32)
    for value in (
        logit_step(w.astype(np.float32), single, single, learning_rate=1.0, geometry="natural"),
        step_adjoint(w.astype(np.float32), single, single, learning_rate=1.0, geometry="natural"),
    ):
        assert value.dtype == np.float32
