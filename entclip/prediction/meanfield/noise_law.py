"""Clip sets, gaps and T6's terms under a given law of the log-ratio noise, without dynamics. Claims T6, T11.

Real models fit neither geometry's table: their log-ratio noise is nearly flat in pi. Here the law is taken as given.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.experiments.start import start_of
from entclip.objectives.base import Objective
from entclip.prediction.meanfield.columns import columns_of
from entclip.prediction.meanfield.forecast import BIN_WIDTH, POINTS, Forecast, ForecastArm, check_covered
from entclip.prediction.meanfield.law import sample_law
from entclip.prediction.meanfield.nodes import Nodes, populations
from entclip.prediction.meanfield.population import Population
from entclip.prediction.noise_table import NoiseTable
from entclip.prediction.size import refuse_large_forecast
from entclip.support.errors import SpecError

__all__ = ["POWERS", "NoiseLaw", "predict_noise"]

NoiseLaw = Literal["inv_sqrt", "flat", "sqrt"]
POWERS: dict[str, float] = {"inv_sqrt": -0.5, "flat": 0.0, "sqrt": 0.5}
_ROUNDING = 1e-9  # of a probability: an action at a table's end is not beyond it
# What depends on how the policy moves, which is not modelled here.
_DYNAMIC = ("expected_measured", "expected_remainder", "entropy")


def predict_noise(experiment: Experiment, law: NoiseLaw | NoiseTable, rms: float | None = None) -> Forecast:
    """Return the columns of each inner step of one rollout when log-ratios have the given noise.

    A named law: log r_a = x_a - log sum_b pi_b e^x_b, x_a Gaussian with standard deviation proportional to pi0_a^power (inv_sqrt:
    -1/2, flat: 0, sqrt: 1/2); its pi0-weighted root mean square grows as the square root of the updates, to `rms` at the last.
    Normalisation damps likely actions: the variance of log r_a is v_a (1 - 2 pi_a) + sum_b pi_b^2 v_b (T6).

    A table: the rms of log r_a itself, normalisation included, at the end of the rollout; it grows likewise.

    Args:
        experiment: gives the policy, the arms, the advantage and the geometry of kappa; one rollout is looked at.
        law: a name with `rms`, at the end of the rollout and positive; or a NoiseTable without.
    Returns: a Forecast; `outside` says how much of the policy lies beyond a table, where rms is held constant.
    Raises: SpecError for an unknown law, rms <= 0 or missing, or what `predict` does not cover.
    """
    if isinstance(law, NoiseTable):
        if rms is not None:
            raise SpecError("--noise: a table has its own rms: give none.")
        name = "noise table"
    else:
        if law not in POWERS:
            raise SpecError(f"--noise {law!r}: the law must be a table or one of {', '.join(POWERS)}.")
        if rms is None or not (rms > 0 and np.isfinite(rms)):
            raise SpecError(f"--noise: the root mean square must be positive and finite, got {rms}.")
        name = f"noise {law}:{rms:g}"
    forecast = Forecast(experiment, name)
    cases = experiment.cases()
    for _, case in cases:
        check_covered(case)
    refuse_large_forecast(experiment, 0)
    for label, case in cases:
        sample = sample_law(case.reward, case.advantage)
        kinds = populations(start_of(case).old_log_probs[:, 0, :], BIN_WIDTH)
        u = case.update
        for arm in case.arm:
            book = ForecastArm(label, arm.name, case, sample, kinds)
            if isinstance(law, NoiseTable):
                book.outside += _beyond(law, kinds)
            table = []
            for step in range(u.minibatches):
                total: dict[str, float] = {}
                for weight, nodes in kinds:
                    p = _noisy(nodes, arm.build(), _variance(nodes, law, rms) * step / u.minibatches)
                    columns = columns_of(p, p, sample, u.geometry, u.learning_rate, u.batch)
                    for column in (c for c in columns if c not in _DYNAMIC):
                        total[column] = total.get(column, 0.0) + weight * columns[column]
                table.append(total)
            book.add(table)
            forecast.arms[f"{label}/{arm.name}" if label else arm.name] = book  # type: ignore[assignment]
    return forecast


def _variance(nodes: Nodes, law: NoiseLaw | NoiseTable, rms: float | None) -> np.ndarray:
    """Of log r at the end of the rollout, (K,)."""
    if isinstance(law, NoiseTable):
        return law.at(nodes.log_prob) ** 2
    assert rms is not None
    shape = nodes.prob ** POWERS[law]
    variance = rms**2 * shape**2 / np.sum(nodes.count * nodes.prob * shape**2)
    moved: np.ndarray = variance * (1 - 2 * nodes.prob) + np.sum(nodes.count * nodes.prob**2 * variance)
    return np.maximum(moved, 0.0)


def _beyond(table: NoiseTable, kinds: list[tuple[float, Nodes]]) -> list[str]:
    """What is said of actions that the table does not reach."""
    out, edges = [], (table.prob[0] * (1 - _ROUNDING), table.prob[-1] * (1 + _ROUNDING))
    for side, edge in zip(("below", "above"), edges, strict=True):
        beyond = [n.prob < edge if side == "below" else n.prob > edge for _, n in kinds]
        share = sum(w * float(np.sum((n.count * n.prob)[x])) for (w, n), x in zip(kinds, beyond, strict=True))
        actions = sum(w * float(np.sum(n.count[x])) for (w, n), x in zip(kinds, beyond, strict=True))
        if share > 0:
            out.append(
                f"the noise table ends at pi_old = {edge:.2g}: {actions:.3g} actions per context, with {share:.2g} of the "
                f"probability, lie {side} it; their rms is held constant"
            )
    return out


def _noisy(nodes: Nodes, objective: Objective, variance: np.ndarray) -> Population:
    """Gaussian log-ratios on each node's lattice; at variance 0 (the first minibatch) all mass is at 0 and nothing is clipped."""
    sd = np.maximum(np.sqrt(variance), 1e-9)
    step = 16 * sd / POINTS
    lattice = np.arange(POINTS) - POINTS // 2
    mass = np.exp(-((lattice * step[:, None]) ** 2) / (2 * sd[:, None] ** 2))
    mass /= mass.sum(axis=1, keepdims=True)
    shift = -np.log(np.sum(nodes.count[:, None] * mass * nodes.prob[:, None] * np.exp(lattice * step[:, None])))
    return Population(nodes, step, mass, float(shift), objective, np.zeros(len(sd), dtype=bool))
