"""T11, T12: runs predicted from their configuration, against published numbers, simulations and refinement of the grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

import entclip.prediction.meanfield.forecast as module
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.load import load
from entclip.experiments.start import start_of
from entclip.objectives.clip import Clip
from entclip.policies.laws import dirichlet, zipf
from entclip.policies.softmax import centered_kappa, log_softmax
from entclip.prediction.maps.phase_map import Axis, phase_map
from entclip.prediction.meanfield import predict, predict_noise
from entclip.prediction.meanfield.law import sample_law
from entclip.prediction.meanfield.nodes import Nodes, pool, populations
from entclip.prediction.meanfield.population import Population
from entclip.prediction.meanfield.steps import _TINY, local_step
from entclip.prediction.neutral import neutral_clip
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.statistics.test_reference_a import PUBLISHED

INF = math.inf
ARMS = ("none", "both", "low_only", "high_only")
ZIPF, DIRICHLET = {"kind": "zipf", "vocab": 64, "exponent": 1.0}, {"kind": "dirichlet", "vocab": 64, "alpha": 2.0}
GROUPS = {"advantage": {"kind": "group", "size": 8}, "reward": {"kind": "bernoulli", "p": 0.5}}


def experiment(policy: dict[str, Any], geometry: str, eta: float, batch: int, replicas: int = 1, **more: Any) -> Experiment:
    arms = [
        {"name": "none", "objective": "none"},
        {"name": "both", "low": 0.2, "high": 0.2},
        {"name": "low_only", "low": 0.2, "high": INF},
        {"name": "high_only", "low": 1.0, "high": 0.2},
    ]
    update = {"geometry": geometry, "learning_rate": eta, "batch": batch, "minibatches": 16, "rollouts": 1}
    base = {"name": "x", "replicas": replicas, "policy": policy | {"contexts": 1}, "update": update, "arm": arms}
    return parse_experiment({"reward": {"kind": "rademacher"}, "advantage": {"kind": "independent"}} | base | more)


def size_of_causes(arm: dict[str, Any]) -> float:
    return sum(abs(arm[f"expected_{c}"]) for c in ("unclipped", "clip_low", "clip_high", "other", "curvature"))


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("name", ["headline", "headline_zipf"])
def test_the_headline_is_predicted(name: str) -> None:
    """All five rollouts, six arms, against numbers computed elsewhere: within max(3 s.e., 5 % of the causes, .001 nat)."""
    arms = predict(load(name)).summary()["arms"]
    for arm, (value, se) in PUBLISHED[name].items():
        found = arms[arm]
        assert abs(found["expected_measured"] - value) <= max(3 * se, 0.05 * size_of_causes(found), 0.001), arm
        assert found["discretisation"] < 5e-4
        assert found["outside"] == []


# Reference B: zipf(1), natural, one rollout of 16 minibatches; value and standard error of 4,000 runs made elsewhere.
REFERENCE_B = {
    (64, 0.2828): ((0.0075, 4), (-0.0130, 3), (0.0609, 4), (-0.0657, 4)),
    (256, 0.1414): ((0.0214, 6), (-0.0097, 4), (0.0738, 5), (-0.0615, 5)),
}


@pytest.mark.parametrize(("vocab", "eta"), REFERENCE_B)
def test_natural_runs_made_elsewhere_are_predicted(vocab: int, eta: float) -> None:
    arms = predict(experiment(ZIPF | {"vocab": vocab}, "natural", eta, 2048)).summary()["arms"]
    for arm, (value, error) in zip(ARMS, REFERENCE_B[vocab, eta], strict=True):
        assert abs(arms[arm]["expected_measured"] - value) <= max(3e-4 * error, 0.05 * size_of_causes(arms[arm]), 0.001), arm


# Euclidean runs of one rollout of 16 minibatches from peaked policies, eps .2/.2: none, both, low_only, high_only of 40,960 (the
# first two) or 8,192 runs of the sampled engine with seed 0, value and standard error of the control-variate mean in 1e-5 nat.
PEAKED: dict[str, tuple[dict[str, Any], float, int, tuple[tuple[int, int], ...]]] = {
    "zipf_1": (ZIPF, 1.487, 64, ((-3046, 2), (138, 37), (-3247, 19), (1183, 33))),
    "zipf_1.5": (ZIPF | {"exponent": 1.5}, 0.862, 64, ((-1328, 1), (-900, 25), (-830, 17), (-1122, 23))),
    "zipf_2": (ZIPF | {"exponent": 2.0}, 0.626, 64, ((-322, 1), (-777, 32), (197, 19), (-1320, 24))),
    "zipf_1_twice_the_step": (ZIPF, 2.974, 64, ((-13182, 32), (-415, 224), (-6141, 210), (2100, 202))),
    "zipf_1_batch_8": (ZIPF, 0.5257, 8, ((-3051, 4), (-448, 63), (-3181, 26), (180, 57))),
}


@pytest.mark.statistical
@pytest.mark.parametrize("name", PEAKED)
def test_peaked_policies_are_predicted(name: str) -> None:
    """Euclidean steps: within 3 s.e. of simulation and quadrature or 10 % of the clip effect (the difference to no clip)."""
    policy, eta, batch, values = PEAKED[name]
    arms = predict(experiment(policy, "euclidean", eta, batch)).summary()["arms"]
    none = values[0][0] * 1e-5
    for arm, (value, error) in zip(ARMS, values, strict=True):
        found = arms[arm]
        assert found["outside"] == []
        room = 3 * math.hypot(error * 1e-5, found["discretisation"])
        assert abs(found["expected_measured"] - value * 1e-5) <= max(room, 0.1 * abs(value * 1e-5 - none)), arm


@pytest.mark.statistical
def test_the_distributions_of_a_language_model_are_predicted(tmp_path: Path) -> None:
    """headline_llm, each context cut to its 256 likeliest tokens: 256 runs made once, standard errors over contexts and runs."""
    logits = np.sort(start_of(load("headline_llm")).old_log_probs[:, 0, :], axis=1)[:, :-257:-1]
    np.save(tmp_path / "logits.npy", logits - logits[:, :1])  # logits: what was cut off has no place beside log-probabilities
    policy = {"kind": "file", "path": str(tmp_path / "logits.npy")}
    base = experiment(ZIPF, "euclidean", 1.7, 64).model_dump(exclude_none=True)
    arms = predict(parse_experiment(base | {"policy": policy})).summary()["arms"]
    values = ((-3359, 38), (-1161, 162), (-235, 125), (-2749, 144))
    for arm, (value, error) in zip(ARMS, values, strict=True):
        found = arms[arm]
        assert found["outside"] == []
        assert abs(found["expected_measured"] - value * 1e-5) <= 3 * math.hypot(error * 1e-5, found["discretisation"]), arm


OTHERS: list[dict[str, Any]] = [
    {"name": "dual_clip", "objective": {"kind": "dual_clip", "low": 0.2, "high": 0.2, "cap": 1.3}},
    {"name": "sapo", "objective": {"kind": "sapo", "tau_pos": 1.0, "tau_neg": 3.0}},
    {"name": "cispo", "objective": "cispo", "low": 0.2, "high": 0.2},
    {"name": "ce_gppo", "objective": "ce_gppo", "low": 0.2, "high": 0.2},
    {"name": "dppo_tv", "objective": {"kind": "dppo_tv", "delta": 0.002}},
]
# Replicas: as many as bring 3 standard errors of totals and causes below the stated share of the causes.
CASES = {
    "natural_groups": (experiment(ZIPF, "natural", 0.2828, 2048, 512, **GROUPS), 0.05),
    # B pi0 is .16 for the rarest action: single samples, not Gaussian noise
    "natural_small_counts": (experiment(ZIPF | {"vocab": 256}, "natural", 0.02, 256, 512), 0.05),
    "natural_gaussian_reward": (experiment(ZIPF, "natural", 0.2, 2048, 512, reward={"kind": "gaussian"}), 0.05),
    "euclidean": (experiment(DIRICHLET, "euclidean", 2.664, 64, 1024), 0.10),
    "euclidean_groups": (experiment(DIRICHLET, "euclidean", 5.0, 64, 1024, **GROUPS), 0.10),
    "natural_objectives": (experiment(ZIPF, "natural", 0.2828, 2048, 1024, arm=OTHERS[:2]), 0.05),
    "euclidean_objectives": (experiment(DIRICHLET, "euclidean", 2.664, 64, 1024, arm=OTHERS), 0.10),
    "peaked_groups": (experiment(ZIPF, "euclidean", 2.974, 64, 2048, **GROUPS), 0.10),
}


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("name", CASES)
def test_simulated_runs_are_predicted(name: str) -> None:
    """Total and each cause within max(3 s.e., the stated share of the causes, .001 nat); clip fractions within 3 % and 3 s.e."""
    spec, share = CASES[name]
    predicted, measured = predict(spec).summary()["arms"], run(spec).summary()["arms"]
    for arm, p in predicted.items():
        m = measured[arm]
        room = max(share * size_of_causes(p), 0.001)
        assert p["outside"] == []
        assert abs(p["expected_measured"] - m["measured_cv"]) <= max(3 * m["measured_cv_se"], room), arm
        for cause in ("clip_low", "clip_high", "other", "curvature"):
            assert abs(p[f"expected_{cause}"] - m[cause]) <= max(3 * m[f"{cause}_se"], room), (arm, cause)
        for side in ("low", "high"):
            a, b = p[f"clip_fraction_{side}"], m[f"clip_fraction_{side}"]
            # the shares scatter from run to run about as their clip term does, relative to it
            scatter = m[f"clip_{side}_se"] / abs(m[f"clip_{side}"]) * b if b else 0.0
            assert abs(a - b) <= max(0.03 * b, 3 * scatter), (arm, side)


def test_a_wrong_law_is_not_predicted() -> None:
    """Falsifier: the same check must reject another clip, and clip_low taken for clip_high."""
    arms = predict(experiment(ZIPF, "natural", 0.2828, 2048)).summary()["arms"]
    values = dict(zip(ARMS, REFERENCE_B[64, 0.2828], strict=True))
    for right, wrong in (("both", "none"), ("low_only", "both"), ("high_only", "low_only")):
        value, error = values[wrong]
        assert abs(arms[right]["expected_measured"] - value) > max(3e-4 * error, 0.05 * size_of_causes(arms[right]), 0.001)


def test_the_prediction_converges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes half as wide and lattices twice as fine change little, and the second refinement less than the first."""
    spec = experiment(ZIPF, "natural", 0.2828, 2048)
    values = []
    for width, points in ((0.5, 64), (0.25, 128), (0.125, 256)):
        monkeypatch.setattr(module, "BIN_WIDTH", width)
        monkeypatch.setattr(module, "POINTS", points)
        arms = predict(spec).summary()["arms"]
        values.append(np.array([arms[a]["expected_measured"] for a in ARMS]))
    first, second = np.abs(values[1] - values[0]), np.abs(values[2] - values[1])
    assert np.max(second) < 1e-4
    assert np.max(second) < np.max(first) / 4  # errors of second order or better in both


@pytest.mark.statistical
def test_the_quadrature_converges() -> None:
    """Euclidean: each number of paths agrees with 16 times as many within the stated errors, which fall at least as 1/sqrt."""
    spec = experiment(ZIPF, "euclidean", 1.487, 64)
    values, errors = [], []
    for paths in (512, 8192):
        arms = predict(spec, paths=paths).summary()["arms"]
        values.append(np.array([arms[a]["expected_measured"] for a in ARMS]))
        errors.append(np.array([arms[a]["discretisation"] for a in ARMS]))
    # eight parts: Student's t at 7 degrees of freedom exceeds 5.4 once in 1,000 times
    assert np.all(np.abs(values[1] - values[0]) < 5.4 * np.hypot(*errors))
    # the error of the error over 8 parts is 27 %: the geometric mean over four arms is known to some 20 %
    assert np.exp(np.mean(np.log(errors[1] / errors[0]))) < 1.5 / 4


def test_the_whole_reaches_the_vocabulary_of_a_language_model() -> None:
    """V = 151,936: nodes, not actions, are what costs."""
    spec = experiment(ZIPF | {"vocab": 151_936}, "euclidean", 0.05, 64, arm=[{"name": "none", "objective": "none"}])
    arm = predict(spec).summary()["arms"]["none"]
    assert abs(arm["entropy_start"] - float(zipf(151_936).entropy)) < 1e-3
    assert arm["expected_curvature"] < 0


def test_outside_its_validity_it_says_so() -> None:
    small = experiment(DIRICHLET, "euclidean", 2.664, 4)
    few = predict(small).summary()["arms"]
    assert any("one sample moves a log-ratio" in reason for reason in few["both"]["outside"])
    assert any("second order fails" in reason for reason in few["none"]["outside"])
    with pytest.raises(SpecError, match="paths = 31 are too few"):
        predict(small, paths=31)
    with pytest.raises(SpecError, match="could carry actions of total probability"):
        predict(experiment(ZIPF, "natural", 5.0, 16))


HIDDEN = {"kind": "hidden", "vocab": 64, "contexts": 4, "dim": 8, "sd": 1.0, "exponent": 1.0}
LIMITS: dict[str, tuple[dict[str, Any], str]] = {
    "table": ({"reward": {"kind": "table", "values": [0.0] * 32 + [1.0] * 32}}, "depends on the action"),
    "perturbation": ({"perturbation": {"law": "flat"}}, "perturbation and weights"),
    "sequences": ({"policy": {"kind": "autoregressive", "vocab": 3, "length": 2, "contexts": 1}}, "sequences"),
    "hidden": ({"policy": HIDDEN}, '^predict: policy.kind = "hidden".* engine "head"'),
    "language_model": ({"policy": {"kind": "language_model"}}, '^predict: policy.kind = "language_model".* entclip llm'),
    "adam": ({"update": {"geometry": "euclidean", "optimizer": "adam"}}, "update.optimizer = 'adam'.*\"sgd\""),
    "adamw": ({"update": {"geometry": "euclidean", "optimizer": "adamw"}}, "update.optimizer = 'adamw'.*\"sgd\""),
    "epochs": ({"update": {"epochs": 2}}, "update.epochs = 2"),
    "shuffled": ({"update": {"minibatch": "shuffled"}, **GROUPS}, "whole groups"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_not_covered_is_refused(name: str) -> None:
    """By everything that predicts: runs, given noise, neutral widths and maps."""
    change, message = LIMITS[name]
    base = experiment(ZIPF, "natural", 0.1, 64).model_dump(exclude_none=True)
    if "update" in change:
        change = change | {"update": base["update"] | change["update"]}
    spec = parse_experiment(base | change)
    actions: tuple[Callable[[], Any], ...] = (
        lambda: predict(spec),
        lambda: predict_noise(spec, "flat", 0.1),
        lambda: neutral_clip(spec),
        lambda: phase_map(spec, Axis("batch", (64,)), Axis("eps_low", (0.2,))),
    )
    for act in actions:
        with pytest.raises(SpecError, match=message):
            act()


def test_controls_are_refused() -> None:
    base = experiment(ZIPF, "natural", 0.1, 64).model_dump(exclude_none=True)
    control = {"name": "dropped", "objective": "none", "control": {"kind": "drop", "like": "both"}}
    with pytest.raises(SpecError, match="arm dropped is a control"):
        predict(parse_experiment(base | {"arm": [*base["arm"], control]}))


@pytest.mark.statistical
@pytest.mark.parametrize("law", ["inv_sqrt", "flat", "sqrt"])
def test_clip_sets_under_a_given_noise_are_predicted(law: str) -> None:
    """Against 20,000 draws of it: pi and mass of both sets, within 5 s.e. and 5 % (noise of order .1 squared is dropped)."""
    base = experiment(ZIPF, "natural", 0.1, 2048).model_dump(exclude_none=True)
    change = {"update": base["update"] | {"minibatches": 4}, "arm": [{"name": "both", "low": 0.1, "high": 0.1}]}
    spec = parse_experiment(base | change)
    row = predict_noise(spec, law, 0.1).arms["both"].rows[-1]  # type: ignore[arg-type]
    old = zipf(64).log_probs
    power = {"inv_sqrt": -0.5, "flat": 0.0, "sqrt": 0.5}[law]
    x = np.random.default_rng(0).standard_normal((20_000, 64)) * np.exp(power * old)
    x *= 0.1 * math.sqrt(3 / 4) / math.sqrt(np.sum(np.exp(old + 2 * power * old)))
    now = log_softmax(old + x)
    ratio, probs, kappa = np.exp(now - old), np.exp(now), centered_kappa(now, "natural")
    for side, mark in (("low", ratio < 0.9), ("high", ratio > 1.1)):
        for name, value in (("pi", probs), ("mass", probs * kappa)):
            drawn = np.sum(value * mark, axis=1)
            se = drawn.std(ddof=1) / math.sqrt(len(drawn))
            assert abs(row[f"{name}_{side}"] - drawn.mean()) <= 5 * se + 0.05 * abs(drawn.mean()), (side, name)
    if law != "flat":  # what theory/inequality.py proves
        assert np.sign(row["gap_low"]) == np.sign(row["gap_high"]) == (1 if law == "inv_sqrt" else -1)


def test_a_noise_that_is_none_is_refused() -> None:
    with pytest.raises(SpecError, match="must be a table or one of"):
        predict_noise(load("headline"), "cubic", 0.1)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="positive and finite"):
        predict_noise(load("headline"), "flat", math.nan)


def test_one_counted_step_moves_each_state_by_its_mean() -> None:
    """T11: in the band, above and below it, log r moves by rate (0, -M, +M) on average, up to the common shift."""
    probs, points = np.array([0.4, 0.25, 0.2, 0.15]), 512
    mass = np.zeros((4, points))
    mass[[0, 1, 2, 3], points // 2 + np.array([120, -120, 120, 0])] = 1.0  # HIGH, LOW, HIGH, band
    p = Population(Nodes(np.log(probs), np.ones(4)), np.full(4, 0.002), mass, 0.0, Clip(), np.zeros(4, dtype=bool))
    new = local_step(p, sample_law(Rademacher(), Independent()), 0.1, 64)
    moved = np.sum((new.mass - p.mass) * p.lattice, axis=1)
    # What a transform leaves of mass below _TINY is dropped, at most everywhere on the lattice.
    assert np.all(np.abs(moved - 0.1 * np.array([-0.5, 0.5, -0.5, 0.0])) <= points * _TINY * np.abs(p.lattice).max())


@pytest.mark.parametrize("h", [0.04, 0.02])
def test_sums_over_cells_are_integrals_over_the_true_sets(h: float) -> None:
    """E[r; r < .8], log r Gaussian, wherever the bound lies in its bin."""
    s, bound = 0.1, math.log(0.8)
    exact = math.exp(s**2 / 2) * special.ndtr((bound - s**2) / s)
    for shift in np.linspace(-h / 2, h / 2, 11):
        x = h * (np.arange(128) - 64) + shift
        mass = np.exp(-(x**2) / (2 * s**2)) * h / (s * math.sqrt(2 * math.pi))
        p = Population(Nodes(np.zeros(1), np.ones(1)), np.array([h]), mass[None], float(shift), Clip(), np.zeros(1, dtype=bool))
        # The bound is found to h/64; the bin's moments leave a third order. Shares of the cut bin alone are off by h^2 f'/12.
        f = 0.8 * math.exp(-(bound**2) / (2 * s**2)) / (s * math.sqrt(2 * math.pi))
        room = h * f / 64 + h**3 * f * (bound**2 / s**2 - 1) / s**2 / 16
        assert room < h**2 * f * abs(bound) / s**2 / 12
        for low in (p.binned.low, 1 - p.binned.minus):
            assert abs(p.mean(low) - exact) <= room


def test_pooling_keeps_three_moments_of_each_bin() -> None:
    logp, width = dirichlet(500, 1.0, seed=0).log_probs, 0.5
    nodes = pool(logp, np.ones(500), width)
    assert math.isclose(nodes.count.sum(), 500, rel_tol=1e-12)
    for k in (1, 2, 3):
        assert math.isclose(np.sum(nodes.count * nodes.prob**k), np.sum(np.exp(k * logp)), rel_tol=1e-12)
    # Gauss's error is f^(4)/24 E[(x-a)^2 (x-b)^2], f = -x log x, in a bin of e^width: a node each would lose width^2/24.
    exact = float(-np.sum(np.exp(logp) * logp))
    assert 0 <= nodes.entropy - exact < width**4 / 192 * math.exp(1.5 * width) < width**2 / 24
    two = pool(np.log([0.3, 0.3, 0.4]), np.ones(3), 1.0)
    np.testing.assert_allclose(sorted(zip(two.prob, two.count, strict=True)), [(0.3, 2), (0.4, 1)], rtol=1e-12)
    shares = [share for share, _ in populations(np.stack([logp, zipf(500, 2.0).log_probs]), 0.04)]
    assert shares == [0.5, 0.5]


@pytest.mark.parametrize(
    "advantage", [Independent(), GroupRelative(8), GroupRelative(4, "std")], ids=["independent", "none", "std"]
)
@pytest.mark.parametrize("reward", [Rademacher(), Bernoulli(0.3), Gaussian(0, 2)], ids=lambda r: r.kind)
def test_the_transform_has_the_moments_of_the_advantage(advantage: Any, reward: Any) -> None:
    """Derivatives at 0 of E exp(-i t A'), against T7's moments."""
    if isinstance(reward, Gaussian) and advantage == GroupRelative(4, "std"):
        with pytest.raises(SpecError, match="no closed law"):
            sample_law(reward, advantage)
        return
    law = sample_law(reward, advantage)
    h = 1e-3
    t = np.array([-h, 0.0, h])
    for plus, minus in ((True, True), (True, False), (False, True)):
        f = law.transform(law.halves(np.ones(1), by=t), plus, minus)
        mean = plus * law.moment("plus") - minus * law.moment("minus")
        square = plus * law.moment("plus_sq") + minus * law.moment("minus_sq")
        # central differences: errors of h^2/6 times the third and h^2/12 times the fourth moment, below h^2 |A|^4 of a few sd
        room = h**2 * 20 * max(1.0, square) ** 2
        assert abs((f[2] - f[0]) / (2 * h) + 1j * mean) < room
        assert abs((f[2] - 2 * f[1] + f[0]) / h**2 + square) < room + 1e-8
