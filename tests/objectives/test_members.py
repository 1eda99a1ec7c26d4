"""Members with more than a ratio to look at, against every outcome of a minibatch (the exact engine) and against samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entclip.drift.expected import expected_entropy_drift
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.start import start_of
from entclip.ledger.columns import PARTS
from entclip.ledger.from_arrays import ledger_from_arrays
from entclip.objectives.base import Change, Objective, View
from entclip.objectives.clip import Clip
from entclip.objectives.flexible import Flexible
from entclip.objectives.high_entropy_mask import HighEntropyMask
from entclip.policies.softmax import SoftmaxPolicy
from entclip.prediction.meanfield import predict
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.objectives.one_update import GROUPS, TABLE, one_update
from tests.tolerances import SIGMAS

geometries = pytest.mark.parametrize("geometry", ["natural", "euclidean"])
settings = pytest.mark.parametrize("setting", [GROUPS, TABLE], ids=["groups", "table"])
# At pi = 0 no action is beyond a bound; with the slopes the likely ones are, .70 at .17 and not at .08 among them.
FLEXIBLE = Flexible(0.34, 0.3, -0.33, -0.25)


def theory(experiment: Experiment, objective: Objective) -> dict[str, float]:
    """T5 and T8 of that update under an objective of the caller's choice."""
    start, update = start_of(experiment), experiment.update
    terms = expected_entropy_drift(
        SoftmaxPolicy(start.log_probs[:, 0]),
        Clip(),
        experiment.reward,
        old_policy=SoftmaxPolicy(start.old_log_probs[:, 0]),
        learning_rate=update.learning_rate,
        geometry=update.geometry,
        advantage=experiment.advantage,
        objective=objective,
        order=2,
        batch=update.batch,
    )
    return {part: float(np.mean(getattr(terms, part))) for part in PARTS}


def differing(found: dict[str, Any], expected: dict[str, float]) -> set[str]:
    """Parts that are over 1e-12 of all terms apart."""
    room = 1e-12 * (1 + sum(abs(found[part]) for part in PARTS))
    return {part for part in PARTS if abs(found[part] - expected[part]) > room}


class OldProbability(Flexible):
    """A wrong member: widths by pi_old."""

    def change(self, view: View) -> Change:
        return super().change(replace(view, log_probs=np.log(view.old_probs)))


WRONG_FLEXIBLE = {
    "no slopes": Clip(0.34, 0.3),
    "no slope below": Flexible(0.34, 0.3, 0.0, -0.25),
    "no slope above": Flexible(0.34, 0.3, -0.33, 0.0),
    "sides swapped": Flexible(0.3, 0.34, -0.25, -0.33),
    "pi_old": OldProbability(0.34, 0.3, -0.33, -0.25),
}


@geometries
@settings
def test_flexible_bounds_against_every_outcome(setting: dict[str, Any], geometry: str) -> None:
    """Each cause is T5's and the curvature T8's to 1e-12; a wrong width would be seen."""
    experiment = one_update(geometry, setting, FLEXIBLE)
    found = run(experiment, "exact").summary()["arms"]["a"]
    assert differing(found, {part: found[f"expected_{part}"] for part in PARTS}) == set()
    assert differing(found, theory(experiment, FLEXIBLE)) == set()
    assert min(abs(found[part]) for part in ("clip_low", "clip_high", "curvature")) > 1e-4, "the test must have something to see"
    for name, wrong in WRONG_FLEXIBLE.items():
        assert differing(found, theory(experiment, wrong)) & {"clip_low", "clip_high"}, name
    flat = {part: 0.0 if part == "curvature" else found[part] for part in PARTS}
    assert differing(found, flat) == {"curvature"}


@pytest.mark.statistical
@geometries
def test_flexible_bounds_on_samples(geometry: str) -> None:
    """Means of the sampled engine over 4,096 replicas, three updates of two rollouts: within five standard errors of theory."""
    rate = {"natural": 0.5, "euclidean": 4.0}[geometry]
    update = {"geometry": geometry, "learning_rate": rate, "batch": 32, "minibatches": 3, "rollouts": 2}
    spec = {"policy": {"kind": "zipf", "vocab": 8}, "replicas": 4096, "update": update, "perturbation": None}
    low = {"kind": "flexible", "low": 0.05, "high": 0.1, "low_slope": -0.05, "high_slope": -0.1}
    found = run(one_update(geometry, GROUPS, FLEXIBLE, **spec, arm=[{"name": "a", "objective": low}])).summary()["arms"]["a"]
    for part in ("clip_low", "clip_high", "curvature"):
        residual, se = found[part] - found[f"expected_{part}"], found[f"residual_{part}_se"]
        assert abs(residual) <= SIGMAS * se, part
        assert abs(found[f"expected_{part}"]) > 2 * SIGMAS * se, "falsifier: a part left out would be seen"


def test_flexible_limits() -> None:
    for wrong, message in (
        ({"low": 1.2}, r"flexible\.low must be in \[0, 1\], got 1\.2"),
        ({"low": 0.3, "low_slope": -0.4}, r"flexible\.low_slope = -0\.4 makes the low width -0\.1 at pi = 1"),
        ({"low": 0.3, "low_slope": 0.8}, r"flexible\.low_slope = 0\.8 makes the low width 1\.1 at pi = 1"),
        ({"high": 0.1, "high_slope": -0.2}, r"flexible\.high_slope = -0\.2 makes the high width -0\.1 at pi = 1"),
        ({"high_slope": float("nan")}, "high_slope"),
    ):
        with pytest.raises(ValueError, match=message):
            Flexible(**wrong)
    assert Flexible(1.0, float("inf"), 0.0, 0.0).width == float("inf")


# ---- 80/20: a quantile over contexts ----------------------------------------------------------------------------------------

MASK = HighEntropyMask(share=0.5, low=0.02, high=0.03)


def mask_of_three(objective: Objective, geometry: str, **changes: Any) -> Experiment:
    """Two minibatches of two samples in three contexts of two actions: what one context draws decides whether another is kept."""
    update = {"geometry": geometry, "learning_rate": 0.3, "batch": 2, "minibatches": 2, "rollouts": 1} | changes.pop("update", {})
    spec = {"policy": {"kind": "dirichlet", "vocab": 2, "contexts": 3}, "weights": [1.0, 2.0, 1.5], "update": update}
    return parse_experiment(spec | GROUPS | {"arm": [{"name": "a", "objective": objective}]} | changes)


@geometries
@pytest.mark.parametrize("normaliser", ["kept", "all"])
@pytest.mark.parametrize("source", ["policies", "previous"])
def test_mask_by_quantile_against_every_joint_outcome(source: Any, normaliser: Any, geometry: str) -> None:
    """All contexts branch together; each cause is T5's and the curvature T8's to 1e-12, given statistics made before."""
    objective = replace(MASK, source=source, normaliser=normaliser)
    found = run(mask_of_three(objective, geometry), "exact").summary()["arms"]["a"]
    assert differing(found, {part: found[f"expected_{part}"] for part in PARTS}) == set()
    assert abs(found["curvature"]) > 1e-3
    if source == "policies":
        assert min(abs(found["clip_low"]), abs(found["clip_high"])) > 1e-5, "the test must have something to see"
    others = {"another share": replace(objective, share=0.8), "no mask": replace(objective, share=1.0)}
    if normaliser == "kept":
        others["the other normaliser"] = replace(objective, normaliser="all")
    for name, other in others.items():
        theirs = run(mask_of_three(other, geometry), "exact").summary()["arms"]["a"]
        assert differing(found, {part: theirs[f"expected_{part}"] for part in PARTS}), name


@geometries
def test_mask_is_what_expected_entropy_drift_says(geometry: str) -> None:
    """One update away from pi_old, three contexts of different entropies: the function, with its own statistics."""
    policy = {"kind": "dirichlet", "vocab": 4, "contexts": 3}
    experiment = one_update(geometry, GROUPS, MASK, policy=policy, update=one_update(geometry, GROUPS, MASK).update)
    found = run(experiment.model_copy(update={"replicas": 1}), "exact").summary()["arms"]["a"]
    assert differing(found, theory(experiment, MASK)) == set()
    assert min(abs(found["clip_low"]), abs(found["clip_high"])) > 1e-4, "the test must have something to see"
    for name, wrong in {"least entropy kept": LeastEntropy(0.5, 0.02, 0.03), "no mask": Clip(0.02, 0.03)}.items():
        assert differing(found, theory(experiment, wrong)), name


class LeastEntropy(HighEntropyMask):
    """A wrong member: the contexts of lowest entropy are kept."""

    needs = frozenset({"entropy", "statistics"})

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        return super().statistics(replace(view, entropy=-view.entropy), share)

    def change(self, view: View) -> Change:
        return super().change(replace(view, entropy=-view.entropy))


@pytest.mark.statistical
@geometries
@pytest.mark.parametrize("engine", ["sampled", "reduced"])
def test_mask_on_samples(engine: str, geometry: str) -> None:
    """Replicas are the units, as contexts decide on each other: residuals within five standard errors over 4,096 of them."""
    rate = {"natural": 0.3, "euclidean": 3.0}[geometry]
    update = {"learning_rate": rate, "batch": 16, "minibatches": 3, "rollouts": 2}
    policy, weights = {"kind": "dirichlet", "vocab": 6, "contexts": 5}, [1.0, 2.0, 1.0, 1.5, 1.0]
    experiment = mask_of_three(replace(MASK, share=0.4), geometry, policy=policy, weights=weights, replicas=4096, update=update)
    found = run(experiment, engine).summary()["arms"]["a"]
    assert found["units"] == 4096
    for part in ("clip_low", "clip_high", "other", "curvature"):
        residual, se = found[part] - found[f"expected_{part}"], found[f"residual_{part}_se"]
        assert abs(residual) <= SIGMAS * se, part
        if part != "other":
            assert abs(found[f"expected_{part}"]) > 2 * SIGMAS * se, "falsifier: a part left out would be seen"


@pytest.mark.parametrize("engine", ["sampled", "exact", "reduced"])
def test_statistics_of_the_same_batch_have_no_expectations(engine: str) -> None:
    """Made of the samples that they weigh, they are correlated with them: the books say so by having nothing to judge."""
    found = run(mask_of_three(replace(MASK, source="batch"), "natural", replicas=64), engine).summary()["arms"]["a"]
    assert {found[f"expected_{part}"] for part in PARTS} == {None}
    assert found["clip_low"] != 0


@geometries
def test_the_same_batch_matters_where_contexts_are_visited_at_random(geometry: str) -> None:
    """On sequences the quantile over the samples is another one than that over all prefixes; without sampling it is the same."""
    sequences = {"policy": {"kind": "autoregressive", "vocab": 2, "length": 2, "contexts": 2}, "weights": None}
    sequences |= {"update": {"minibatches": 1, "batch": 2, "learning_rate": 0.3}}

    def measured(source: Any, **changes: Any) -> float:
        mask = HighEntropyMask(0.3, 0.02, 0.03, source=source)
        return float(run(mask_of_three(mask, geometry, **changes), "exact").summary()["arms"]["a"]["measured"])

    assert abs(measured("batch", **sequences) - measured("policies", **sequences)) > 1e-5
    every = {"reward": {"kind": "rademacher"}, "advantage": {"kind": "independent"}}  # every sample has an advantage
    # A difference of two entropies of at most log 3, each rounded a few times: other releases of numpy add in another order.
    assert abs(measured("batch", **every) - measured("policies", **every)) <= 8 * np.finfo(float).eps


@pytest.mark.parametrize("engine", ["sampled", "reduced"])
def test_statistics_of_the_minibatch_before_outlive_an_interruption(engine: str, tmp_path: Any) -> None:
    experiment = mask_of_three(replace(MASK, source="previous"), "natural", replicas=4, update={"rollouts": 3})
    whole = run(experiment, engine, out=tmp_path / "whole").to_frame()

    def stop(arm: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(experiment, engine, out=tmp_path / "cut", jobs=1, progress=stop)
    resumed = run(experiment, engine, out=tmp_path / "cut", jobs=1).to_frame()
    assert resumed.equals(whole)


@pytest.mark.parametrize(
    "served",
    [
        ("the tokens engine", lambda e: run(e, "tokens")),
        ("predict", predict),
        ("ledger_from_arrays", lambda e: ledger_from_arrays(*[np.zeros((1, 2))] * 2, *[np.zeros(1)] * 4, MASK)),
    ],
    ids=lambda served: served[0],
)
def test_who_cannot_serve_an_objective_says_so(served: Any) -> None:
    who, use = served
    with pytest.raises(SpecError, match=f"'high_entropy_mask' looks at .*numbers made of all contexts.*, which {who} does not"):
        use(mask_of_three(MASK, "natural", weights=None))


def test_mask_limits() -> None:
    for share in (0.0, 1.2, float("nan")):
        with pytest.raises(ValueError, match=r"high_entropy_mask\.share must be in \(0, 1\]"):
            HighEntropyMask(share)
    with pytest.raises(ValueError, match="source"):
        HighEntropyMask(source="tokens")  # type: ignore[arg-type]


def test_ties_of_entropy_are_kept_together() -> None:
    """Equal contexts differ by rounding alone: which of them that is must not decide."""
    entropy = np.array([[1.0, 1.0 + 2e-16, 0.5, 1.0 - 2e-16]])
    view = View(*np.ones((3, 1, 4, 2)), entropy=entropy[..., None])
    numbers = HighEntropyMask(0.25).statistics(view, np.full((1, 4, 2), 1 / 8))
    assert numbers["kept"] == pytest.approx(0.75)
    assert 1 - 2e-9 < numbers["threshold"][0] < 1
