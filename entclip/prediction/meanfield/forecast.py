"""predict(experiment): the trajectory of a run from its configuration alone, in the columns of a ledger. Claim T11."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from entclip.engines.serving import refuse_needs
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import Arm, UpdateSpec
from entclip.experiments.start import start_of
from entclip.objectives.base import CAUSES, Objective
from entclip.prediction.meanfield.columns import columns_of
from entclip.prediction.meanfield.jumps import counted, lopsided
from entclip.prediction.meanfield.law import SampleLaw, sample_law
from entclip.prediction.meanfield.nodes import Nodes, pool, populations
from entclip.prediction.meanfield.paths import Noise, Paths, block_size, path_step, paths_of, representatives
from entclip.prediction.meanfield.population import Population
from entclip.prediction.meanfield.steps import FEW, local_step, moments
from entclip.prediction.size import refuse_large_forecast
from entclip.runs.result import Ledger
from entclip.support.errors import SpecError
from entclip.support.workers import in_threads

if TYPE_CHECKING:
    from entclip.ledger.arm import ArmLedger

__all__ = ["Forecast", "ForecastArm", "check_covered", "coarse", "predict", "takes_over"]

_LOG = logging.getLogger(__name__)  # says what is going on: an arm of many updates takes minutes

BIN_WIDTH = 0.25  # nats of log pi: actions of one bin are pooled
# A lattice has POINTS points, and twice as many where actions expected fewer than FEW times hold more than RARE_PROBABILITY.
POINTS = 128
RARE_PROBABILITY = 0.05
PATHS = 4096  # paths of the noise of euclidean steps, all contexts together
_LEAST_PATHS = 32  # paths that one context has at least
_PARTS = 8  # the paths of a context are taken in so many parts, whose means give the error of the whole
SKEWED = 0.1  # skewness of a log-ratio at the clip width from which on samples are counted
MAX_REMAINDER = 0.2  # largest share of the sum of absolute causes that a remainder may be
MAX_FROZEN = 1e-3  # largest probability of actions that sampling noise could carry to the whole policy


class ForecastArm:
    """The predicted rows of one arm: means over the kinds of contexts."""

    def __init__(
        self,
        label: str,
        arm: str,
        case: Experiment,
        law: SampleLaw,
        kinds: list[tuple[float, Nodes]],
        paths: int = PATHS,
        contexts: int = 1,
    ) -> None:
        self.key = {"case": label, "arm": arm, "seed": case.seed}
        self.case, self.law, self.kinds, self.paths, self.contexts = case, law, kinds, paths, contexts
        self.rows: list[dict[str, Any]] = []
        self.summaries: list[dict[str, Any]] = []
        self.details: list[dict[str, Any]] = []
        self.pooling = self.frozen = 0.0
        self._parts = np.zeros(_PARTS)  # total change, by the means over each part of the paths
        self._kinds = np.zeros(len(kinds))  # total change of each kind of context
        self.outside: list[str] = []

    @property
    def euclidean(self) -> bool:
        return self.case.update.geometry == "euclidean"

    def fill(self, objective: Objective) -> None:
        """Predict all updates."""
        total: list[dict[str, float]] = []
        arm, count = self.key["arm"], self.case.update.rollouts * self.case.update.minibatches
        for part, (weight, updates) in enumerate((self._paths if self.euclidean else self._lattices)(objective), 1):
            for index, columns in enumerate(updates):
                _LOG.info("%s, part %d, update %d of %d", arm, part, index + 1, count)
                if len(total) == index:
                    total.append(dict.fromkeys(columns, 0.0))
                for name, value in columns.items():
                    total[index][name] += weight * value
        self.add(total)

    def add(self, table: list[dict[str, float]]) -> None:
        """Make rows of the columns of successive updates."""
        per = self.case.update.minibatches
        for index, columns in enumerate(table):
            for side in ("low", "high"):
                prob = columns[f"pi_{side}"]
                columns[f"gap_{side}"] = columns[f"mass_{side}"] / prob if prob > 0 else math.nan
            place = {"rollout": index // per, "step": index, "inner_step": index % per}
            self.rows.append(self.key | place | columns)

    def _paths(self, objective: Objective) -> Iterator[tuple[float, Iterator[dict[str, float]]]]:
        """Each context's paths in blocks, with their weights."""
        u = self.case.update
        self.outside = coarse(self.law, self.case, objective, self.kinds)
        size = 1 << int(math.log2(max(self.paths / len(self.kinds), _LEAST_PATHS)))
        noise = Noise(u.rollouts, u.minibatches)
        jumps = self._jumps(objective)
        for index, (weight, nodes) in enumerate(self.kinds):
            p = paths_of(nodes, objective, size)
            block = block_size(size, len(p.count))
            for start in range(0, size, block):
                # Each part has other stretches of the Sobol points in each context: a short stretch alone is uneven.
                place = (np.arange(start, start + block) * _PARTS // size + index) % _PARTS
                yield weight * block / size, self._along(p.first(block), noise, jumps, index, size, place)

    def _jumps(self, objective: Objective) -> bool:
        """Tell whether rewards are so rare that samples have to be counted."""
        u = self.case.update
        skewness = [lopsided(self.law, objective, nodes.prob, u.learning_rate / u.batch) for _, nodes in self.kinds]
        return bool(max(float(np.max(x)) for x in skewness) > SKEWED)

    def _along(self, p: Paths, noise: Noise, jumps: bool, index: int, size: int, place: np.ndarray) -> Iterator[dict[str, float]]:
        u, law = self.case.update, self.law
        before = p.level
        paths, entries = p.log_probs.shape
        for normals in noise.block(paths, entries * (len(law.atoms) if jumps else 1)):
            p = p.restarted()
            for normal in normals:
                if jumps:
                    normal = counted(p, law, u.batch, normal)
                new = path_step(p, law, u.learning_rate, u.batch, normal)
                yield columns_of(p, new, law, u.geometry, u.learning_rate, u.batch)
                p = new
        moved = (p.level - before)[:, 0] / size
        np.add.at(self._parts, place, self.kinds[index][0] * _PARTS * moved)
        self._kinds[index] += moved.sum()

    def _lattices(self, objective: Objective) -> Iterator[tuple[float, Iterator[dict[str, float]]]]:
        for weight, nodes in self.kinds:
            yield weight, self._run(objective, nodes, weight)

    def _run(self, objective: Objective, nodes: Nodes, weight: float) -> Iterator[dict[str, float]]:
        u, law = self.case.update, self.law
        entropy = nodes.entropy
        frozen = 0.0
        for _ in range(u.rollouts):
            p = _start(nodes, objective, law, self.case)
            self.pooling += weight * (nodes.entropy - entropy)
            frozen = max(frozen, float(np.sum((nodes.count * nodes.prob)[p.still])))
            for _ in range(u.minibatches):
                new = local_step(p, law, u.learning_rate, u.batch)
                yield columns_of(p, new, law, "natural", u.learning_rate, u.batch)
                p = new
            entropy = p.entropy
            heavy = p.number > 1e-12
            nodes = pool(p.log_probs[heavy], p.number[heavy], BIN_WIDTH)
        self.frozen += weight * frozen
        if self.frozen > MAX_FROZEN:
            raise SpecError(
                f"predict: the noise of one rollout could carry actions of total probability {self.frozen:.2g} to the whole "
                "policy (eta/(B pi) is too large): no density describes that. Raise update.batch, lower update.learning_rate, or "
                "simulate."
            )

    def _left_out(self) -> float:
        """Estimate the standard error of taking one context of each group of like entropy: by differences of neighbours."""
        each = np.array([weight for weight, _ in self.kinds])
        if len(each) < 2 or self.contexts == len(each):
            return 0.0
        other = 1 - 1 / (each * self.contexts)  # the share of a group that was left out
        variance = np.mean(np.diff(self._kinds) ** 2) / 2
        return float(np.sqrt(variance * np.sum(each**2 * other)))

    def summary(self) -> dict[str, Any]:
        """Return sums and means over the run: expected_* where a ledger has both measured and expected."""
        rows = self.rows
        out: dict[str, Any] = {}
        for name in (n for n in rows[0] if n.startswith("expected_")):
            out |= {name.removeprefix("expected_"): None, name: math.fsum(r[name] for r in rows)}
        for name in ("pi_low", "pi_high", "kl", "clip_fraction_low", "clip_fraction_high"):
            out[name] = math.fsum(r[name] for r in rows) / len(rows)
        for side in ("low", "high"):
            mass, prob = (math.fsum(r[f"{k}_{side}"] for r in rows) for k in ("mass", "pi"))
            out[f"gap_{side}"] = mass / prob if prob > 0 else None
        out |= {"entropy_start": rows[0]["entropy_before"], "entropy_end": rows[-1].get("entropy")}
        causes = sum(abs(out[f"expected_{c}"]) for c in (*CAUSES, "curvature"))
        left = abs(out.get("expected_remainder", 0.0))
        outside = list(self.outside)
        if left > max(MAX_REMAINDER * causes, 0.001):
            outside.append(
                f"the predicted remainder, {left:.2g} nats, is above {MAX_REMAINDER:g} of the causes: second order fails"
            )
        error = abs(self.pooling)
        if self.euclidean:
            error = math.hypot(float(np.std(self._parts, ddof=1)) / math.sqrt(_PARTS), self._left_out())
        out |= {"discretisation": error, "frozen_probability": self.frozen, "outside": outside}
        return out | {"verdict": "predicted"}


class Forecast(Ledger):
    """A predicted run: `to_frame()` and `summary()` as a ledger has them, with expected_* columns and nothing measured."""

    def judged(self, arm: ArmLedger) -> dict[str, Any]:
        """Return the summary as it is: a forecast measures nothing, so nothing is judged."""
        return arm.summary()


def predict(experiment: Experiment, *, paths: int = PATHS, progress: Callable[[], None] | None = None) -> Forecast:
    """Predict every arm of a random-reward experiment without drawing a sample. Claim T11.

    Natural steps: the density of log r of pooled actions is carried through each minibatch, by the law of the counts where gains
    are 0 or 1 or samples are few, and by T11's Gaussian moments otherwise; normalisation is a common shift, and between rollouts
    actions are pooled anew by log pi. Euclidean steps: the likeliest actions are followed one by one along quadrature points of
    the noise, the others pooled; where rewards are rarely 1 or rarely 0 it is made of counted samples, else it is Gaussian.

    Args:
        paths: quadrature points of euclidean steps, all contexts together; at least 32 for each of up to paths/32 contexts. The
            error of the quadrature falls like one over their square root or faster, the cost grows in proportion.
        progress: called after each arm of each case.
    Returns: a Forecast with the columns of a ledger, expected_* filled. Arms state `discretisation`: the entropy that pooling
        between rollouts lost (natural) or the standard error over eight parts of the quadrature, and of contexts that are left
        out where there are more than paths/32 (euclidean);
        `frozen_probability`, that of actions so rare that a rollout's noise could take the policy over: they are held still; and
        `outside`, the conditions of validity that the configuration does not meet.
    Raises: SpecError for what T11 does not cover: rewards that depend on the action, reused samples, groups cut apart, optimisers
        other than sgd, control arms, sequences, shared parameters, or more than 1e-3 of frozen probability; for paths < 32; and
        for what this machine's memory does not hold or what would take over a month.
    Example:
        >>> from entclip import load, predict
        >>> arm = predict(load("headline", ["update.rollouts=1"])).summary()["arms"]["tight_low"]
        >>> arm["expected_clip_low"] > 0 > arm["expected_curvature"]
        True
    """
    if paths < _LEAST_PATHS:
        raise SpecError(f"predict: paths = {paths} are too few to follow one context: use at least {_LEAST_PATHS}.")
    forecast, cases = Forecast(experiment, "meanfield"), experiment.cases()
    for _, case in cases:
        check_covered(case)
    refuse_large_forecast(experiment, paths)
    for label, case in cases:
        law = sample_law(case.reward, case.advantage)
        start = start_of(case).old_log_probs[:, 0, :]
        if case.update.geometry == "euclidean":
            kinds = representatives(start, paths // _LEAST_PATHS)
        else:
            kinds = populations(start, BIN_WIDTH)
        books = [ForecastArm(label, arm.name, case, law, kinds, paths, len(start)) for arm in case.arm]

        def fill(pair: tuple[ForecastArm, Arm]) -> None:
            pair[0].fill(pair[1].build())
            if progress is not None:
                progress()

        in_threads(fill, zip(books, case.arm, strict=True), 2)
        for arm, book in zip(case.arm, books, strict=True):
            forecast.arms[f"{label}/{arm.name}" if label else arm.name] = book  # type: ignore[assignment]
    return forecast


def check_covered(case: Experiment) -> None:
    """Raise SpecError for what no population prediction covers."""
    u, kind = case.update, case.policy.kind
    if kind == "language_model":
        raise SpecError(
            'predict: policy.kind = "language_model" is a network, not a table of probabilities. Take its next-token '
            'distributions (entclip snapshot, policy.kind = "snapshot" or "file"), or run it with entclip llm.'
        )
    if kind == "hidden":
        raise SpecError(
            'predict: policy.kind = "hidden" moves every context by the updates of all others, which T11 does not cover. '
            'Run it on the engine "head".'
        )
    if kind == "autoregressive":
        raise SpecError('predict: policy.kind = "autoregressive": sequences are not covered. Simulate it instead.')
    if u.optimizer != "sgd":
        raise SpecError(
            f"predict: update.optimizer = {u.optimizer!r} makes a step depend on all before it, which T11 does not cover. Use "
            '"sgd", or simulate it on the engine "reduced" or "tokens".'
        )
    if u.epochs > 1:
        raise SpecError(f"predict: update.epochs = {u.epochs} reuses samples, which T11 does not cover. Simulate it instead.")
    if u.minibatch == "shuffled" and case.advantage.size > 1:
        raise SpecError(
            'predict: update.minibatch = "shuffled" cuts groups apart, and T11 is for whole groups. Use "groups", or simulate it.'
        )
    if case.perturbation is not None or case.weights is not None:
        raise SpecError("predict: perturbation and weights are not covered. Simulate it instead.")
    for arm in case.arm:
        refuse_needs(arm.build(), frozenset(), "predict")
    controls = [arm.name for arm in case.arm if arm.control is not None]
    if controls:
        raise SpecError(f"predict: arm {controls[0]} is a control, which copies a simulated arm. Leave it out or simulate.")
    if steered := [arm.name for arm in case.arm if arm.controller is not None]:
        raise SpecError(f"predict: arm {steered[0]} has a controller, which goes by a simulated run. Leave it out or simulate.")


def coarse(law: SampleLaw, case: Experiment, objective: Objective, kinds: list[tuple[float, Nodes]]) -> list[str]:
    """Return the conditions under which the closure was seen to hold that a euclidean case does not meet.

    Where the clip width depends on the action, it is the one that actions of half of the probability do not exceed.
    """
    one = case.update.learning_rate * law.largest / case.update.batch
    width = np.concatenate([objective.widths(nodes.prob) for _, nodes in kinds])
    mass = np.concatenate([weight * nodes.count * nodes.prob for weight, nodes in kinds])
    order = np.argsort(width)
    half = np.searchsorted(np.cumsum(mass[order]), 0.5 * mass.sum() * (1 - 1e-12))
    median = float(width[order[half]])
    if one > median / 2:
        return [f"one sample moves a log-ratio by up to {one:.3g}, over half the clip width {median:.3g}: no Gaussian noise"]
    return []


def takes_over(nodes: Nodes, law: SampleLaw, update: UpdateSpec) -> np.ndarray:
    """Tell which nodes five standard deviations of a rollout's natural steps would carry to the whole policy, (K,)."""
    jump = update.learning_rate * law.largest / (update.batch * nodes.prob)
    out: np.ndarray = 5 * jump * np.sqrt(update.batch * nodes.prob * update.minibatches) + jump > -nodes.log_prob
    return out


def _start(nodes: Nodes, objective: Objective, law: SampleLaw, case: Experiment) -> Population:
    """All mass at log r = 0, on lattices wide enough for the rollout's noise and fine enough for one step's."""
    u = case.update
    rare = u.batch * nodes.prob < FEW
    # Single jumps leave peaks between which a bound acts: they need a finer lattice than smooth densities do.
    points = 2 * POINTS if np.sum((nodes.count * nodes.prob)[rare]) > RARE_PROBABILITY else POINTS
    middle = np.zeros((len(nodes.count), points))
    middle[:, points // 2] = 1.0
    jump, still = u.learning_rate * law.largest / (u.batch * nodes.prob), takes_over(nodes, law, u)
    draft = Population(nodes, np.full(len(nodes.count), 1e-3), middle, 0.0, objective, still)
    _, variance = moments(draft, law, u.learning_rate, u.batch)
    one = np.sqrt(np.maximum(variance[:, points // 2], 0.0))
    reach = 5.5 * one * math.sqrt(u.minibatches) + 2 * u.learning_rate * law.moment("plus")
    step = 2 * reach / points
    step = np.where(draft.still, 1e-3, np.maximum(step, 2 * (reach + 6 * jump) / points))
    # Rare actions move by single jumps: their lattice is a fraction of one.
    single = jump * (1 - nodes.prob)
    few = rare & (single > step) & ~draft.still
    step = np.where(few, single / np.maximum(1, np.floor(single / step)), step)
    return replace(draft, step=step)
