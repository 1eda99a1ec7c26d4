"""predict(experiment): the trajectory of a run from its configuration alone, in the columns of a ledger. Claim T11."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from entclip.initial import start_of
from entclip.ledger import Ledger
from entclip.meanfield.columns import columns_of
from entclip.meanfield.law import SampleLaw, sample_law
from entclip.meanfield.nodes import Nodes, pool, populations
from entclip.meanfield.population import Population
from entclip.meanfield.steps import CountedStep, local_step, moments
from entclip.objective import CAUSES, Clip, DppoTv, DualClip, NoClip, Objective
from entclip.spec import Experiment, SpecError

__all__ = ["Forecast", "ForecastArm", "check_covered", "predict"]

WIDTH = 0.05  # of a node, in nats of log pi
POINTS = 256  # of a lattice
MAX_REMAINDER = 0.2  # of the sum of absolute causes
MAX_FROZEN = 1e-3  # probability of actions that sampling noise could carry to the whole policy
_COUNTED = (Clip, NoClip, DualClip, DppoTv)  # gains of 0 or 1


class ForecastArm:
    """The predicted rows of one arm: means over the kinds of contexts."""

    def __init__(self, label: str, arm: str, case: Experiment, law: SampleLaw, kinds: list[tuple[float, Nodes]]) -> None:
        self.key = {"case": label, "arm": arm, "seed": case.seed}
        self.case, self.law, self.kinds = case, law, kinds
        self.rows: list[dict[str, Any]] = []
        self.summaries: list[dict[str, Any]] = []
        self.details: list[dict[str, Any]] = []
        self.pooling = self.frozen = 0.0
        self.outside: list[str] = []

    def fill(self, objective: Objective) -> None:
        """Predict all updates."""
        total: list[dict[str, float]] = []
        for weight, nodes in self.kinds:
            for index, columns in enumerate(self._run(objective, nodes, weight)):
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

    def _run(self, objective: Objective, nodes: Nodes, weight: float) -> Iterator[dict[str, float]]:
        u, law = self.case.update, self.law
        counted = u.geometry == "natural" and isinstance(objective, _COUNTED)
        entropy = nodes.entropy
        frozen = 0.0
        for rollout in range(u.rollouts):
            p = _start(nodes, objective, law, self.case)
            self.pooling += weight * (nodes.entropy - entropy)
            frozen = max(frozen, float(np.sum((nodes.count * nodes.prob)[p.still])))
            if rollout == 0:
                self.outside += [x for x in _outside(p, law, self.case) if x not in self.outside]
            count = CountedStep(law, u.learning_rate, u.batch) if counted else None
            for _ in range(u.minibatches):
                new = local_step(p, law, u.geometry, u.learning_rate, u.batch) if count is None else count(p)
                yield columns_of(p, new, law, u.geometry, u.learning_rate, u.batch)
                p = new
            entropy = p.entropy
            heavy = p.number > 1e-12
            nodes = pool(p.log_probs[heavy], p.number[heavy], WIDTH)
        self.frozen += weight * frozen
        if self.frozen > MAX_FROZEN:
            raise SpecError(
                f"predict: the noise of one rollout could carry actions of total probability {self.frozen:.2g} to the whole "
                "policy (eta/(B pi) is too large): no density describes that. Raise update.batch, lower update.learning_rate, or "
                "simulate."
            )

    def summary(self) -> dict[str, Any]:
        """Sums and means over the run: expected_* where a ledger has both measured and expected."""
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
        out |= {"discretisation": abs(self.pooling), "frozen_probability": self.frozen, "outside": outside}
        return out | {"verdict": "predicted"}


class Forecast(Ledger):
    """A predicted run: `to_frame()` and `summary()` as a ledger has them, with expected_* columns and nothing measured."""

    def judged(self, arm: Any) -> dict[str, Any]:
        """A forecast measures nothing, so nothing is judged."""
        out: dict[str, Any] = arm.summary()
        return out


def predict(experiment: Experiment) -> Forecast:
    """Predict every arm of a random-reward experiment without drawing a sample. Claim T11.

    The density of log r of pooled actions is carried through each minibatch: exact counts for natural steps under hard clips,
    T11's Gaussian moments otherwise; normalisation is a common shift. Between rollouts actions are pooled anew by log pi.

    Returns: a Forecast with the columns of a ledger, expected_* filled. Arms state `discretisation`, the entropy that
        pooling between rollouts lost; `frozen_probability`, that of actions so rare that a rollout's noise could take the policy
        over: they are held still; and `outside`, the conditions of validity that the configuration does not meet.
    Raises: SpecError for what T11 does not cover: rewards that depend on the action, reused samples, control arms, sequences, or
        more than 1e-3 of frozen probability.
    Example:
        >>> from entclip import load, predict
        >>> arm = predict(load("headline", ["update.rollouts=1"])).summary()["arms"]["tight_low"]
        >>> arm["expected_clip_low"] > 0 > arm["expected_curvature"]
        True
    """
    forecast = Forecast(experiment, "meanfield")
    for label, case in experiment.cases():
        check_covered(case)
        law = sample_law(case.reward, case.advantage)
        kinds = populations(start_of(case).old_log_probs[:, 0, :], WIDTH)
        books = [ForecastArm(label, arm.name, case, law, kinds) for arm in case.arm]
        with ThreadPoolExecutor(2) as workers:
            for done in [workers.submit(book.fill, arm.build()) for arm, book in zip(case.arm, books, strict=True)]:
                done.result()
        for arm, book in zip(case.arm, books, strict=True):
            forecast.arms[f"{label}/{arm.name}" if label else arm.name] = book  # type: ignore[assignment]
    return forecast


def check_covered(case: Experiment) -> None:
    """SpecError for what no population prediction covers."""
    if case.update.epochs > 1:
        raise SpecError("predict: update.epochs > 1 reuses samples, which T11 does not cover. Simulate it instead.")
    if case.policy.kind == "autoregressive":
        raise SpecError("predict: sequences are not covered. Simulate it instead.")
    if case.perturbation is not None or case.weights is not None:
        raise SpecError("predict: perturbation and weights are not covered. Simulate it instead.")
    controls = [arm.name for arm in case.arm if arm.control is not None]
    if controls:
        raise SpecError(f"predict: arm {controls[0]} is a control, which copies a simulated arm. Leave it out or simulate.")


def _outside(p: Population, law: SampleLaw, case: Experiment) -> list[str]:
    """Conditions under which the closure was seen to hold that this start does not meet."""
    u, out = case.update, []
    if u.geometry == "euclidean":
        p2, largest = float(np.sum(p.nodes.count * p.nodes.prob**2)), float(p.nodes.prob.max())
        built = [arm.build() for arm in case.arm]
        widths = [w for o in built for w in (getattr(o, "low", 1.0), getattr(o, "high", math.inf)) if w < 1]
        push = u.learning_rate * law.moment("plus") * largest
        if p2 > 0.03:
            out.append(f"sum pi^2 = {p2:.3g} is above .03: likely actions move the others with them")
        if widths and push > min(widths) / 2:
            out.append(
                f"eta M max(pi) = {push:.3g} is above half the clip width {min(widths):g}: one update jumps across the band"
            )
        one = u.learning_rate * law.largest / u.batch
        if widths and one > min(widths):
            out.append(
                f"one sample moves a log-ratio by up to {one:.3g}, more than the clip width {min(widths):g}: no Gaussian noise"
            )
    return out


def _start(nodes: Nodes, objective: Objective, law: SampleLaw, case: Experiment) -> Population:
    """All mass at log r = 0, on lattices wide enough for the rollout's noise and fine enough for one step's."""
    u = case.update
    middle = np.zeros((len(nodes.count), POINTS))
    middle[:, POINTS // 2] = 1.0
    jump = np.zeros(len(nodes.count))
    if u.geometry == "natural":
        jump = u.learning_rate * law.largest / (u.batch * nodes.prob)
    # Five standard deviations of a rollout's noise would take such an action over the whole policy.
    takeover = 5 * jump * np.sqrt(u.batch * nodes.prob * u.minibatches) + jump > -nodes.log_prob
    still = takeover & (u.geometry == "natural")
    draft = Population(nodes, np.full(len(nodes.count), 1e-3), middle, 0.0, objective, still)
    _, variance = moments(draft, law, u.geometry, u.learning_rate, u.batch)
    one = np.sqrt(np.maximum(variance[:, POINTS // 2], 0.0))
    reach = 7 * one * math.sqrt(u.minibatches) + 2 * u.learning_rate * law.moment("plus")
    step = 2 * reach / POINTS
    step = np.where(draft.still, 1e-3, np.maximum(step, 2 * (reach + 6 * jump) / POINTS))
    # Rare actions move by single jumps: their lattice is a fraction of one.
    step = np.where((u.batch * nodes.prob < 4) & (jump > step) & ~draft.still, jump / np.maximum(1, np.floor(jump / step)), step)
    return replace(draft, step=step)
