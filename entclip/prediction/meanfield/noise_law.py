"""Clip sets, gaps and T6's terms under a given law of the log-ratio noise, without dynamics. Claims T6, T11.

Real models fit neither geometry's table: their log-ratio noise is nearly flat in pi. Here the law is taken as given.
"""

from __future__ import annotations

import logging
import math

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.experiments.start import start_of
from entclip.objectives.base import CAUSES, Objective
from entclip.prediction.meanfield.columns import columns_of
from entclip.prediction.meanfield.forecast import (
    BIN_WIDTH,
    MAX_FROZEN,
    POINTS,
    Forecast,
    ForecastArm,
    check_covered,
    coarse,
    takes_over,
)
from entclip.prediction.meanfield.law import sample_law
from entclip.prediction.meanfield.nodes import Nodes, populations
from entclip.prediction.meanfield.population import Population
from entclip.prediction.noise_table import NoiseTable
from entclip.prediction.noise_words import POWERS, Gauss, LogRatioRms, NoiseLaw, Tail
from entclip.prediction.size import refuse_large_forecast
from entclip.support.errors import SpecError

__all__ = ["logit_rms", "noisy", "predict_noise", "share_kept", "variance_of"]

_LOG = logging.getLogger(__name__)

_LARGEST_TERMS = 0.25  # terms that add up to more of the entropy over a rollout are beyond first order
_LARGEST_SPREAD = 0.25  # log sum_b pi_b e^x_b is taken to be a number; this is the most that it may scatter
_ROUNDING = 1e-9  # an action whose probability is that of a table's end up to rounding is not beyond it
_LARGEST_LOG_RATIO = 350.0  # the ratio of a larger one has no square in float64
_LARGEST_TOTAL = 10.0  # of pi: another engine or temperature, or a table of another policy, leaves it near 1
_NO_NOISE = 1e-12  # width in nats of a lattice that stands for one point
# These columns depend on how the policy moves, which is not modelled here.
_DYNAMIC = ("expected_measured", "expected_remainder", "entropy")


def predict_noise(
    experiment: Experiment,
    law: NoiseLaw | NoiseTable,
    rms: float | LogRatioRms | None = None,
    tail: Tail | None = None,
    outside: tuple[str, ...] = (),
) -> Forecast:
    """Return the columns of each inner step of one rollout when log-ratios have the given noise.

    A named law: log r_a = x_a - log sum_b pi_b e^x_b, x_a of mean 0 with standard deviation proportional to pi0_a^power
    (inv_sqrt: -1/2, flat: 0, sqrt: 1/2); its pi0-weighted root mean square grows as the square root of the updates, to `rms`
    at the last. Normalisation damps likely actions: the variance of log r_a is v_a (1 - 2 pi_a) + sum_b pi_b^2 v_b (T6). A
    LogRatioRms is the pi0-weighted rms of log r itself, over all contexts.

    A table: mean and standard deviation of log r_a itself, normalisation included, at the end of the rollout. The variance grows
    likewise and takes the mean that noise has along; what the mean has beyond that (`NoiseTable.bias`) is there from the first
    update on, as that of another engine or temperature is.

    Args:
        experiment: gives the policy, the arms, the advantage and the geometry of kappa; one rollout is looked at.
        law: a name with `rms`, at the end of the rollout and positive; or a NoiseTable without.
        tail: the shape of the law, Gaussian by default; see noise_words.
        outside: what is amiss with where the noise is from, said with the other conditions of validity.
    Returns: a Forecast. `outside` says how much of the policy lies beyond a table, where it is held constant; that a mean is no
        noise's; and where the noise, the steps or the terms are so large that first order and curvature mean nothing.
    Raises: SpecError for an unknown law, rms <= 0 or missing, noise whose ratios are beyond float64, or what `predict` does not
        cover.
    """
    if isinstance(law, NoiseTable):
        if rms is not None:
            raise SpecError("--noise: a table has its own rms: give none.")
        name = "noise table"
    else:
        if law not in POWERS:
            raise SpecError(f"--noise {law!r}: the law must be a table or one of {', '.join(POWERS)}.")
        size = rms.rms if isinstance(rms, LogRatioRms) else rms
        if size is None or not (size > 0 and np.isfinite(size)):
            raise SpecError(f"--noise: the root mean square must be positive and finite, got {size}.")
        name = f"noise {law}:{size:g}"
    forecast = Forecast(experiment, name)
    cases = experiment.cases()
    for _, case in cases:
        check_covered(case)
    refuse_large_forecast(experiment, 0)
    shape = tail or Gauss()
    for label, case in cases:
        sample = sample_law(case.reward, case.advantage)
        kinds = populations(start_of(case).old_log_probs[:, 0, :], BIN_WIDTH)
        moved = logit_rms(kinds, law, rms) if isinstance(rms, LogRatioRms) and not isinstance(law, NoiseTable) else rms
        assert not isinstance(moved, LogRatioRms)
        _refuse_beyond_numbers(name, kinds, law, moved, shape)
        u = case.update
        for arm in case.arm:
            book, objective = ForecastArm(label, arm.name, case, sample, kinds), arm.build()
            table = []
            for step in range(u.minibatches):
                _LOG.info("%s, update %d of %d", arm.name, step + 1, u.minibatches)
                total: dict[str, float] = {}
                for weight, nodes in kinds:
                    p = noisy(nodes, objective, law, variance_of(nodes, law, moved) * step / u.minibatches, shape)
                    columns = columns_of(p, p, sample, u.geometry, u.learning_rate, u.batch)
                    for column in (c for c in columns if c not in _DYNAMIC):
                        total[column] = total.get(column, 0.0) + weight * columns[column]
                table.append(total)
            book.add(table)
            book.outside += outside
            if isinstance(law, NoiseTable):
                book.outside += _beyond(law, kinds) + _biased(law)
            book.outside += _too_large(book, objective, kinds, [variance_of(nodes, law, moved) for _, nodes in kinds])
            forecast.arms[f"{label}/{arm.name}" if label else arm.name] = book  # type: ignore[assignment]
    return forecast


def _refuse_beyond_numbers(
    name: str, kinds: list[tuple[float, Nodes]], law: NoiseLaw | NoiseTable, rms: float | None, tail: Tail
) -> None:
    """Raise SpecError for noise whose largest ratios cannot be computed with."""
    limit = f"over the limit of {_LARGEST_LOG_RATIO:g} where ratios are numbers: use a smaller rms, or another law."
    largest = float(law.rms.max()) if isinstance(law, NoiseTable) else rms or 0.0
    if largest > _LARGEST_LOG_RATIO:  # its square may be no number either
        raise SpecError(f"--noise: {name} gives actions log-ratios of {largest:.3g} and more, {limit}")
    for _, nodes in kinds:
        reach = tail.reach * np.sqrt(variance_of(nodes, law, rms))
        if isinstance(law, NoiseTable) and law.mean is not None:
            mean = law.mean_at(nodes.log_prob)
            reach += np.abs(mean)
            # By Jensen's inequality at most sum_a pi_a.
            total = float(np.sum(nodes.count * nodes.prob * np.exp(np.minimum(mean, _LARGEST_LOG_RATIO))))
            if total > _LARGEST_TOTAL:
                raise SpecError(
                    f"--noise: {name} gives probabilities that add up to {total:.3g} or more: mean is that of log(pi/pi_old)."
                )
        at = int(np.argmax(reach))
        if reach[at] > _LARGEST_LOG_RATIO:
            where = f"actions of pi_old = {nodes.prob[at]:.2g}"
            raise SpecError(f"--noise: {name} gives {where} log-ratios of up to {reach[at]:.3g}, {limit}")


def _too_large(
    book: ForecastArm, objective: Objective, kinds: list[tuple[float, Nodes]], variances: list[np.ndarray]
) -> list[str]:
    """What in the noise, the steps or the terms is beyond the first order and curvature that are reported."""
    u, out = book.case.update, []
    # Var sum_b pi_b e^x_b, E e^x_b = 1, for a Gaussian x; e^v is held finite.
    spread = [
        float(np.sum(n.count * n.prob**2 * np.expm1(np.minimum(v, 500)))) for (_, n), v in zip(kinds, variances, strict=True)
    ]
    worst = math.sqrt(max(spread))
    if worst > _LARGEST_SPREAD:
        out.append(f"the noise moves sum_b pi_b e^x_b, which is taken as a number, by {worst:.2g} of itself (sd)")
    if u.geometry == "natural":
        held = sum(w * float(np.sum((n.count * n.prob)[takes_over(n, book.law, u)])) for w, n in kinds)
        if held > MAX_FROZEN:
            out.append(
                f"a rollout's natural steps could carry actions of total probability {held:.2g} to the whole policy: the "
                "curvature is no forecast (update.learning_rate over update.batch is too large)"
            )
    else:
        out += coarse(book.law, book.case, objective, kinds)
    terms = sum(abs(math.fsum(r[f"expected_{c}"] for r in book.rows)) for c in (*CAUSES, "curvature"))
    entropy = book.rows[0]["entropy_before"]
    if not terms <= _LARGEST_TERMS * entropy:
        out.append(f"the terms of one rollout add up to {terms:.2g} nats, the entropy is {entropy:.2g}: no small change")
    return out


def _biased(table: NoiseTable) -> list[str]:
    """What is said of a mean that noise does not have."""
    bias = table.bias
    if not np.any(bias):
        return []
    at = int(np.argmax(np.abs(bias)))
    return [
        f"the table's mean log-ratio is not that of noise (off by {bias[at]:+.3g} at pi_old = {table.prob[at]:.2g}): taken as "
        "a shift that is there from the first update on, as another engine, temperature or truncation makes it"
    ]


def variance_of(nodes: Nodes, law: NoiseLaw | NoiseTable, rms: float | None) -> np.ndarray:
    """Return the variance of log r at the end of the rollout, (K,)."""
    if isinstance(law, NoiseTable):
        return law.at(nodes.log_prob) ** 2
    assert rms is not None
    shape = nodes.prob ** POWERS[law]
    variance = rms**2 * shape**2 / np.sum(nodes.count * nodes.prob * shape**2)
    moved: np.ndarray = variance * (1 - 2 * nodes.prob) + np.sum(nodes.count * nodes.prob**2 * variance)
    return np.maximum(moved, 0.0)


def share_kept(kinds: list[tuple[float, Nodes]], law: NoiseLaw) -> float:
    """Return the mean square of log(pi/pi_old) over that of the logits' noise, over all contexts with their weights.

    Normalisation takes the rest; at most 1 under a flat law: 1 - sum_a pi_a^2.
    """
    return sum(w * float(np.sum(n.count * n.prob * variance_of(n, law, 1.0))) for w, n in kinds)


def logit_rms(kinds: list[tuple[float, Nodes]], law: NoiseLaw, size: LogRatioRms) -> float:
    """Return the rms of the logits' noise under which log(pi/pi_old) has the given one."""
    kept = share_kept(kinds, law)
    if not kept > 0:
        raise SpecError("--noise: a policy that is certain everywhere has no log-ratio but 0, whatever its logits do.")
    return size.rms / math.sqrt(kept)


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
                f"probability, lie {side} it; their noise is held constant"
            )
    return out


def noisy(nodes: Nodes, objective: Objective, law: NoiseLaw | NoiseTable, variance: np.ndarray, tail: Tail) -> Population:
    """Return log-ratios on each node's lattice; at variance 0 (the first minibatch, a table without noise) all mass is at one
    point."""
    sd = np.maximum(np.sqrt(variance), _NO_NOISE)
    points = int(POINTS * tail.reach / Gauss.reach)
    step = 2 * tail.reach * sd / points
    units = (np.arange(points) - points // 2) * 2 * tail.reach / points
    one = tail.density(units)
    # Beyond its reach a heavy law is cut off; its variance there is given back.
    one = one / one.sum()
    step = step / math.sqrt(float(one @ units**2))
    mass = np.tile(one, (len(sd), 1))
    lattice = (np.arange(points) - points // 2) * step[:, None]
    shift: np.ndarray | float
    if isinstance(law, NoiseTable) and law.mean is not None:
        bias = np.interp(nodes.log_prob, np.log(law.prob), law.mean + law.sd**2 / 2)
        # A shift to a bound is not beyond it: bounds are compared strictly, and a lattice has a width.
        shift = (bias * (1 - 1e-9) - variance / 2)[:, None]
    else:
        shift = -float(np.log(np.sum(nodes.count[:, None] * mass * nodes.prob[:, None] * np.exp(lattice))))
    return Population(nodes, step, mass, shift, objective, np.zeros(len(sd), dtype=bool))
