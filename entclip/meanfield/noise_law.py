"""Clip sets, gaps and T6's terms under a given law of the log-ratio noise, without dynamics. Claims T6, T11.

Real models fit neither geometry's table: their log-ratio noise is nearly flat in pi. Here the law is taken as given.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from entclip.initial import start_of
from entclip.meanfield.columns import columns_of
from entclip.meanfield.forecast import POINTS, WIDTH, Forecast, ForecastArm, check_covered
from entclip.meanfield.law import sample_law
from entclip.meanfield.nodes import Nodes, populations
from entclip.meanfield.population import Population
from entclip.objective import Objective
from entclip.spec import Experiment, SpecError

__all__ = ["POWERS", "NoiseLaw", "predict_noise"]

NoiseLaw = Literal["inv_sqrt", "flat", "sqrt"]
POWERS: dict[str, float] = {"inv_sqrt": -0.5, "flat": 0.0, "sqrt": 0.5}
# What depends on how the policy moves, which is not modelled here.
_DYNAMIC = ("expected_measured", "expected_remainder", "entropy")


def predict_noise(experiment: Experiment, law: NoiseLaw, rms: float) -> Forecast:
    """The columns of each inner step of one rollout when log-ratios have the given noise.

    log r_a = x_a - log sum_b pi_b e^x_b, x_a Gaussian with standard deviation proportional to pi0_a^power (inv_sqrt: -1/2,
    flat: 0, sqrt: 1/2); its pi0-weighted root mean square grows as the square root of the updates, to `rms` at the last.
    Normalisation damps likely actions: the variance of log r_a is v_a (1 - 2 pi_a) + sum_b pi_b^2 v_b (T6).

    Args:
        experiment: gives the policy, the arms, the advantage and the geometry of kappa; one rollout is looked at.
        rms: at the end of the rollout, positive.
    Raises: SpecError for an unknown law, rms <= 0, or what `predict` does not cover.
    """
    if law not in POWERS:
        raise SpecError(f"--noise {law!r}: the law must be one of {', '.join(POWERS)}.")
    if not (rms > 0 and np.isfinite(rms)):
        raise SpecError(f"--noise: the root mean square must be positive and finite, got {rms}.")
    forecast = Forecast(experiment, f"noise {law}:{rms:g}")
    for label, case in experiment.cases():
        check_covered(case)
        sample = sample_law(case.reward, case.advantage)
        kinds = populations(start_of(case).old_log_probs[:, 0, :], WIDTH)
        u = case.update
        for arm in case.arm:
            book = ForecastArm(label, arm.name, case, sample, kinds)
            table = []
            for step in range(u.minibatches):
                total: dict[str, float] = {}
                for weight, nodes in kinds:
                    p = _noisy(nodes, arm.build(), law, rms * np.sqrt(step / u.minibatches))
                    columns = columns_of(p, p, sample, u.geometry, u.learning_rate, u.batch)
                    for name in columns.keys() - set(_DYNAMIC):
                        total[name] = total.get(name, 0.0) + weight * columns[name]
                table.append(total)
            book.add(table)
            forecast.arms[f"{label}/{arm.name}" if label else arm.name] = book  # type: ignore[assignment]
    return forecast


def _noisy(nodes: Nodes, objective: Objective, law: NoiseLaw, rms: float) -> Population:
    """Gaussian log-ratios on each node's lattice; at rms 0 (the first minibatch) all mass is at 0 and nothing is clipped."""
    shape = nodes.prob ** POWERS[law]
    variance = rms**2 * shape**2 / np.sum(nodes.count * nodes.prob * shape**2)
    moved = np.maximum(variance * (1 - 2 * nodes.prob) + np.sum(nodes.count * nodes.prob**2 * variance), 0.0)
    sd = np.maximum(np.sqrt(moved), 1e-9)
    step = 16 * sd / POINTS
    lattice = np.arange(POINTS) - POINTS // 2
    mass = np.exp(-((lattice * step[:, None]) ** 2) / (2 * sd[:, None] ** 2))
    mass /= mass.sum(axis=1, keepdims=True)
    shift = -np.log(np.sum(nodes.count[:, None] * mass * nodes.prob[:, None] * np.exp(lattice * step[:, None])))
    return Population(nodes, step, mass, float(shift), objective, np.zeros(len(sd), dtype=bool))
