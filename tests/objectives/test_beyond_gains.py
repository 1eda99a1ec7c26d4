"""What an objective does beside scaling advantages - a bonus, extra weights, random drops of its own - against the exact engine.

Each is T5's and T8's to 1e-12 of the terms where every outcome of a minibatch is listed, the bonus is the derivative of what it
claims to ascend, and samples agree within five standard errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest

from entclip.drift.expected import expected_entropy_drift
from entclip.engines.accounting import Scheme, account
from entclip.engines.base import Directive
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.samples import Samples, Sums
from entclip.engines.tabular.sampled import SampledEngine
from entclip.experiments.experiment import Experiment
from entclip.experiments.start import start_of
from entclip.ledger.columns import OPTIONAL_CAUSES, PARTS
from entclip.objectives.base import Change, Keep, Objective, View
from entclip.objectives.clip import Clip
from entclip.objectives.entropy_bonus import EntropyBonus
from entclip.objectives.reference_kl import ReferenceKl
from entclip.objectives.widths import outside
from entclip.policies.softmax import SoftmaxPolicy, log_softmax
from entclip.prediction.meanfield import predict
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.objectives.one_update import GROUPS, MOVE, TABLE, one_update
from tests.tolerances import SIGMAS

geometries = pytest.mark.parametrize("geometry", ["natural", "euclidean"])
SINGLE = {"reward": {"kind": "bernoulli", "p": 0.3}, "advantage": {"kind": "independent"}}
SETTINGS = {"groups": GROUPS, "table": TABLE, "single": SINGLE}
settings = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
WIDTHS = {"low": 0.2, "high": 0.1}


@dataclass(frozen=True)
class Penalised(Clip):
    """The clip and weights that grow with the log-ratio, whatever |A| is, as in KL-Cov; they differ by the sign of A."""

    size: float = 0.5
    kind: Literal["penalised"] = "penalised"  # type: ignore[assignment]
    needs = frozenset({"penalty"})
    by_ratio = True

    def change(self, view: View) -> Change:
        clipped = Change.dropped(view, *outside(view, self.low, self.high))
        moved = np.log(view.ratio)
        return replace(clipped, extra_plus=-self.size * moved, extra_minus=-self.size * (moved + 0.3 * np.sign(moved)))


@dataclass(frozen=True)
class RareDropped(Clip):
    """The clip, and samples of an action dropped at random, the likelier the action the more; they differ by the sign of A."""

    size: float = 0.8
    kind: Literal["rare_dropped"] = "rare_dropped"  # type: ignore[assignment]
    needs = frozenset({"survival"})
    by_ratio = False

    def change(self, view: View) -> Change:
        clipped = Change.dropped(view, *outside(view, self.low, self.high))
        drop = self.size * np.exp(view.log_probs)
        return replace(clipped, survival=Keep(1 - drop, 1 - drop**2))


@dataclass(frozen=True)
class AllAtOnce(Clip):
    """A bonus of each kind, extra weights and a random drop together."""

    kind: Literal["all_at_once"] = "all_at_once"  # type: ignore[assignment]
    needs = frozenset({"penalty", "survival", "bonus", "reference"})

    def change(self, view: View) -> Change:
        change = Penalised(self.low, self.high).change(view)
        bonus = {"bonus": -0.3 * view.log_probs, "kl_term": -0.4 * (view.log_probs - view.reference)}
        return replace(change, bonus=bonus, survival=RareDropped().change(view).survival)


MEMBERS: dict[str, Objective] = {
    "entropy_bonus": EntropyBonus(0.3, **WIDTHS),
    "reference_kl": ReferenceKl(0.4, **WIDTHS),
    "forward_kl": ReferenceKl(0.4, **WIDTHS, direction="forward"),
    "penalised": Penalised(**WIDTHS),
    "rare_dropped": RareDropped(**WIDTHS),
    "all_at_once": AllAtOnce(**WIDTHS),
}
members = pytest.mark.parametrize("member", MEMBERS.values(), ids=MEMBERS)
WRONG: dict[str, list[Objective]] = {
    "entropy_bonus": [Clip(**WIDTHS), EntropyBonus(-0.3, **WIDTHS)],
    "reference_kl": [Clip(**WIDTHS), ReferenceKl(0.38, **WIDTHS)],
    "forward_kl": [ReferenceKl(0.4, **WIDTHS)],
    "penalised": [Clip(**WIDTHS), Penalised(**WIDTHS, size=-0.5)],
    "rare_dropped": [Clip(**WIDTHS), RareDropped(**WIDTHS, size=0.76)],
    "all_at_once": [Penalised(**WIDTHS), RareDropped(**WIDTHS)],
}


def theory(experiment: Experiment, objective: Objective) -> dict[str, float]:
    """T5 and T8 of that update under an objective of the caller's choice."""
    start, update = start_of(experiment), experiment.update
    old = SoftmaxPolicy(start.old_log_probs[:, 0])
    terms = expected_entropy_drift(
        SoftmaxPolicy(start.log_probs[:, 0]),
        Clip(),
        experiment.reward,
        old_policy=old,
        learning_rate=update.learning_rate,
        geometry=update.geometry,
        advantage=experiment.advantage,
        objective=objective,
        order=2,
        batch=update.batch,
        reference=old,
    )
    named = {part: getattr(terms, part) for part in (*PARTS, "bonus", "kl_term")}
    return {part: float(np.mean(value)) for part, value in named.items() if value is not None}


def differing(found: dict[str, Any], expected: dict[str, float]) -> set[str]:
    """Parts that are over 1e-12 of all terms apart."""
    names = {*PARTS, *(c for c in OPTIONAL_CAUSES if found.get(c) is not None)} | expected.keys()
    room = 1e-12 * (1 + sum(abs(found[part]) for part in PARTS))
    return {part for part in names if abs((found.get(part) or 0.0) - expected.get(part, 0.0)) > room}


@geometries
@settings
@members
def test_every_outcome_of_a_minibatch(member: Objective, setting: dict[str, Any], geometry: str) -> None:
    """Means over all outcomes are T5's and T8's to 1e-12; a wrong member would be seen, and T8 without the bonus, too."""
    experiment = one_update(geometry, setting, member)
    found = run(experiment, "exact").summary()["arms"]["a"]
    assert differing(found, theory(experiment, member)) == set()
    name = next(n for n, m in MEMBERS.items() if m == member)
    for wrong in WRONG[name]:
        assert differing(found, theory(experiment, wrong))
    if "bonus" in member.needs:
        flat = theory(experiment, member) | {"curvature": theory(experiment, Clip(**WIDTHS))["curvature"]}
        assert differing(found, flat), "falsifier: T8 without the bonus's part"


@geometries
@members
def test_three_minibatches_close_their_books(member: Objective, geometry: str) -> None:
    """Identities hold at every update along every branch, expectations are the means of what they expect, from pi_old on."""
    update = {"geometry": geometry, "learning_rate": 0.3, "batch": 1, "minibatches": 2, "rollouts": 1}
    changes = {"perturbation": None, "update": update, "policy": {"kind": "zipf", "vocab": 3}}
    found = run(one_update(geometry, SINGLE, member, **changes), "exact").summary()["arms"]["a"]
    assert differing(found, {part: found[f"expected_{part}"] for part in PARTS} | _optional(found)) == set()


def _optional(found: dict[str, Any]) -> dict[str, float]:
    return {c: found[c] for c in OPTIONAL_CAUSES if found.get(c) is not None}


# ---- the bonus is the gradient of what it claims ------------------------------------------------------------------------------


def _entropy(logits: np.ndarray) -> float:
    l = log_softmax(logits)
    return -float(np.exp(l) @ l)


def _kl(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.exp(a) @ (a - b))


@pytest.mark.parametrize("name", ["entropy_bonus", "reference_kl", "forward_kl"])
def test_a_bonus_is_a_gradient(name: str) -> None:
    """J's central difference with a spacing of 1e-5, whose error is 1e-10 J''' and 1e-11 of rounding, along each logit."""
    logits, reference = np.array([0.4, -1.0, 0.2, 0.9]), log_softmax(np.array([0.0, 0.3, -0.8, 0.1]))
    objectives = {
        "entropy_bonus": lambda x: 0.3 * _entropy(x),
        "reference_kl": lambda x: -0.4 * _kl(log_softmax(x), reference),
        "forward_kl": lambda x: -0.4 * _kl(reference, log_softmax(x)),
    }
    l, h = log_softmax(logits), 1e-5
    (w,) = MEMBERS[name].change(View.of(l, l, reference=reference)).bonus.values()
    claimed = np.exp(l) * (w - np.exp(l) @ w)
    differences = [(objectives[name](logits + h * e) - objectives[name](logits - h * e)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(claimed, differences, rtol=0, atol=1e-8)
    assert np.max(np.abs(claimed)) > 1e-2


@pytest.mark.parametrize("name", ["entropy_bonus", "reference_kl", "forward_kl"])
@geometries
def test_a_bonus_alone_moves_entropy_as_its_column_says(name: str, geometry: Any) -> None:
    """Without samples, (H(eta) - H(-eta))/2 is the column up to eta^3 H'''/6 = 1e-9, whatever the curvature."""
    old = log_softmax(np.array([0.0, 0.3, -0.8, 0.1]))
    log_probs, none = log_softmax(old + np.array(MOVE)), Sums(*np.zeros((4, 4)))
    scheme = Scheme(MEMBERS[name], geometry, batch=2, shared_group=0.0)
    there, back = (account(scheme, log_probs, old, none, None, learning_rate=rate, reference=old)[1] for rate in (1e-3, -1e-3))
    column = "bonus" if name == "entropy_bonus" else "kl_term"
    assert float(there["measured"] - back["measured"]) / 2 == pytest.approx(float(there[column]), rel=0, abs=1e-9)
    assert abs(there[column]) > 1e-6
    assert [float(there[part]) for part in ("unclipped", "clip_low", "clip_high", "other")] == [0, 0, 0, 0]


# ---- samples -------------------------------------------------------------------------------------------------------------------


@pytest.mark.statistical
@geometries
@pytest.mark.parametrize("engine", ["sampled", "reduced"])
@members
def test_on_samples(member: Objective, engine: str, geometry: str) -> None:
    """Means over 4,096 replicas of three updates of two rollouts: within five standard errors of theory along the path."""
    rate = {"natural": 0.1, "euclidean": 1.0}[geometry]
    update = {"geometry": geometry, "learning_rate": rate, "batch": 16, "minibatches": 3, "rollouts": 2}
    spec = {"policy": {"kind": "zipf", "vocab": 8}, "replicas": 4096, "update": update, "perturbation": None}
    narrow = replace(member, low=0.05, high=0.05)  # type: ignore[type-var]
    found = run(one_update(geometry, GROUPS, narrow, **spec), engine).summary()["arms"]["a"]
    for part in PARTS:
        residual, se = found[part] - found[f"expected_{part}"], found[f"residual_{part}_se"]
        assert abs(residual) <= SIGMAS * se, part
    assert abs(found["expected_curvature"]) > 2 * SIGMAS * found["residual_curvature_se"]
    if "bonus" not in member.needs:  # what a penalty and a drop do is `other`
        assert abs(found["expected_other"]) > SIGMAS * found["residual_other_se"]


@pytest.mark.slow
@geometries
@pytest.mark.parametrize("name", ["entropy_bonus", "reference_kl"])
def test_reduced_follows_the_unsampled_actions(name: str, geometry: str) -> None:
    """6,000 actions, few of them tracked: on the same samples the sampled engine, which lists them all, has the same columns."""

    rate = {"natural": 0.02, "euclidean": 2.0}[geometry]
    update = {"geometry": geometry, "learning_rate": rate, "batch": 8, "minibatches": 3, "rollouts": 1}
    member = replace(MEMBERS[name], low=1e-3, high=1e-3)  # type: ignore[type-var]
    spec = {"policy": {"kind": "zipf", "vocab": 6000}, "replicas": 2, "perturbation": None, "update": update}
    experiment = one_update(geometry, GROUPS, member, **spec)
    rng = np.random.default_rng(4)
    samples = [Samples(rng.integers(0, 6000, (2, 8)), rng.normal(size=(2, 8))) for _ in range(3)]
    columns = []
    for engine in (SampledEngine(), ReducedEngine(tracked=16, whole=64)):
        state, rollout = engine.roll_out(engine.start(experiment, member))  # type: ignore[attr-defined]
        seen = []
        for minibatch, drawn in zip(rollout, samples, strict=True):
            state, entry = engine.step(state, rollout, replace(minibatch, samples=drawn), Directive())  # type: ignore[attr-defined]
            assert entry is not None
            seen.append(entry.columns)
        columns.append(seen)
    for one, two in zip(*columns, strict=True):
        scale = 1 + one["entropy_before"] + one["_scale"]
        for column in ("bonus", "kl_term", *PARTS, *(f"expected_{p}" for p in PARTS), "entropy", "remainder", "kl"):
            if column in one:
                np.testing.assert_allclose(two[column], one[column], rtol=0, atol=1e-11 * float(scale.max()), err_msg=column)


# ---- who serves them -----------------------------------------------------------------------------------------------------------


def test_who_cannot_take_a_bonus_says_so() -> None:
    experiment = one_update("euclidean", GROUPS, EntropyBonus(), perturbation=None)
    for who, use in (("the tokens engine", lambda: run(experiment, "tokens")), ("predict", lambda: predict(experiment))):
        with pytest.raises(SpecError, match=f"'entropy_bonus' looks at all actions of a context .*, which {who} does not"):
            use()


def test_a_reference_is_asked_for() -> None:
    policy = SoftmaxPolicy(np.zeros(4))
    arguments = {"old_policy": policy, "learning_rate": 0.1, "objective": ReferenceKl()}
    reward = one_update("natural", GROUPS, Clip()).reward
    with pytest.raises(ValueError, match="holds on to a reference policy, but none is given"):
        expected_entropy_drift(policy, Clip(), reward, **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"but it has shape \(3,\)"):
        expected_entropy_drift(policy, Clip(), reward, reference=SoftmaxPolicy(np.zeros(3)), **arguments)  # type: ignore[arg-type]


def test_sequences_drop_no_single_tokens() -> None:
    experiment = one_update("natural", SINGLE, RareDropped(), policy={"kind": "autoregressive", "vocab": 2, "length": 2})
    for engine in ("sampled", "exact"):
        with pytest.raises(SpecError, match="'rare_dropped' drops tokens at random"):
            run(experiment.model_copy(update={"perturbation": None}), engine)


def test_limits() -> None:
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"entropy_bonus\.coefficient|finite"):
            EntropyBonus(wrong)
    with pytest.raises(ValueError, match=r"reference_kl\.coefficient must be finite and at least 0, got -1"):
        ReferenceKl(-1)
