"""Noise laws are measured from runs and arrays with the slopes that T11 proves, and give the sets of a run."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entclip.experiments.experiment import parse_experiment
from entclip.experiments.load import load
from entclip.experiments.start import start_of
from entclip.policies.laws import zipf
from entclip.policies.softmax import log_softmax
from entclip.prediction.meanfield import predict_noise
from entclip.prediction.meanfield.nodes import populations
from entclip.prediction.noise_table import NoiseTable, ledger_rms, measure_noise, noise_law_of
from entclip.prediction.sequence_noise import sequence_shares, sequence_terms
from entclip.report.forecast import lone_log_ratios
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.prediction.wide import WIDE, experiment
from tests.tolerances import SIGMAS, assert_within_se


@pytest.mark.statistical
@pytest.mark.parametrize(("geometry", "rate", "batch", "power"), [("euclidean", 1.0, 256, 0.5), ("natural", 0.02, 2048, -0.5)])
def test_the_law_measured_from_a_run_has_its_slope(geometry: str, rate: float, batch: int, power: float) -> None:
    """rms of log r goes like pi_old to the 1/2 (euclidean) and to the -1/2 (natural), and not like the other's."""
    slope, se = measure_noise(experiment(geometry, WIDE, rate, batch), per_decade=4).slope()
    assert_within_se(slope, power, se)
    assert abs(slope + power) > SIGMAS * se
    assert se < 0.02


@pytest.mark.statistical
def test_a_flat_perturbation_has_slope_0() -> None:
    start = start_of(experiment("natural", WIDE, 0.1, 64, perturbation={"law": "flat", "rms": 0.2}))
    table = noise_law_of(start.old_log_probs[:, 0], start.log_probs[:, 0], per_decade=4)
    slope, se = table.slope()
    assert_within_se(slope, 0.0, se)
    assert se < 0.005
    assert_within_se(table.at(np.log([1e-3]))[0], 0.2, float(np.max(table.rms_se)))  # type: ignore[arg-type]


@pytest.mark.statistical
@pytest.mark.parametrize("geometry", ["euclidean", "natural"])
def test_each_action_has_the_variance_of_its_law(geometry: str) -> None:
    """Zipf(1), fine bins of single actions: T11's variance at r = 1, times the updates, likely actions included."""
    rate, batch, policy = (0.2, 256, {"kind": "zipf", "vocab": 16, "exponent": 1.0, "contexts": 2048})
    rate = rate if geometry == "euclidean" else 0.01
    table = measure_noise(experiment(geometry, policy, rate, batch), per_decade=40)
    p = np.sort(np.exp(zipf(16).log_probs))
    p2, p3 = (np.sum(p**k) for k in (2, 3))
    bracket = 1 / p - 1 if geometry == "natural" else p + 2 * p * p2 - 3 * p**2 + p3 - p2**2
    expected = np.sqrt(4 * rate**2 / batch * bracket)
    assert len(table.prob) == 16
    assert np.allclose(table.prob, p, rtol=1e-12)
    # Later updates start from moved policies: relative to the first that is of second order in log r, below .01 here.
    assert table.rms_se is not None
    assert np.all(np.abs(table.rms - expected) <= SIGMAS * table.rms_se + 0.01 * expected)


def test_bins_pool_by_probability() -> None:
    """Two bins by hand: rms, geometric centres, counts, and a standard error of the mean square over units."""
    old = np.log(np.array([[0.5, 0.4, 0.02], [0.5, 0.4, 0.03]]))
    moved = np.array([[0.1, -0.2, 0.3], [0.3, 0.2, np.nan]])
    old[1, 2] = np.nan
    table = noise_law_of(old, old + np.minimum(moved, -old), least=1)
    assert np.allclose(table.prob, [0.02, math.sqrt(0.2)])
    assert np.allclose(table.rms, [0.3, math.sqrt((0.01 + 0.04 + 0.09 + 0.04) / 4)])
    assert table.count is not None
    assert table.rms_se is not None
    assert list(table.count) == [1, 4]
    squares = np.array([0.025, 0.065])  # of each unit
    assert math.isclose(table.rms_se[1], squares.std(ddof=1) / math.sqrt(2) / (2 * table.rms[1]))
    assert list(noise_law_of(old, old + np.minimum(moved, -old), least=2).count) == [4]  # type: ignore[arg-type]


def test_standard_errors_run_over_units() -> None:
    """Entries of a unit that move together are no more evidence than one of them."""
    rng = np.random.default_rng(0)
    old = np.full((400, 50), math.log(0.02))
    together = np.repeat(rng.normal(size=(400, 1)), 50, axis=1) * 0.1
    apart = rng.normal(size=(400, 50)) * 0.1
    for shift, units in ((together, 400), (apart, 20_000)):
        table = noise_law_of(old, np.minimum(old + shift, 0))
        assert table.rms_se is not None
        # rms of n normals: sd/sqrt(2 n); its own estimate scatters by about 1/sqrt(400)
        assert math.isclose(table.rms_se[0], 0.1 / math.sqrt(2 * units), rel_tol=0.25)


def test_log_probabilities_that_cannot_be_measured_are_refused() -> None:
    old = np.log(np.full((40, 4), 0.25))
    padded = old.copy()
    padded[0, 0] = np.nan
    cases: list[tuple[Any, Any, str]] = [
        (old, old[:, :3], "must be equal"),
        (old, padded, "NaN at different places"),
        (old, old, "hold the same numbers: no probability has moved"),
        (old[:3], old[:3] - 0.1, "30 units and noise, the fullest has 3"),
        (old[:0], old[:0], "holds no number"),
        (old, old + 2, "at most 0"),
        (np.full_like(old, np.nan), np.full_like(old, np.nan), "nothing to measure"),
        (np.array([["a"]]), old, "expected log-probabilities"),
    ]
    for before, after, message in cases:
        with pytest.raises(ValueError, match=message):
            noise_law_of(before, after)
    with pytest.raises(ValueError, match="per_decade"):
        noise_law_of(old, old, per_decade=0)
    base = experiment("natural", WIDE, 0.02, 2048).model_dump(exclude_none=True)
    for change, message in (
        ({"perturbation": {"law": "flat"}}, "perturbation"),
        ({"policy": {"kind": "autoregressive", "vocab": 3, "length": 2, "contexts": 1}}, "sequences"),
        ({"policy": WIDE | {"contexts": 2}}, "more contexts"),
    ):
        with pytest.raises(SpecError, match=message):
            measure_noise(parse_experiment(base | change))
    with pytest.raises(SpecError, match="grid"):
        measure_noise(load("sign_map"))


@pytest.mark.statistical
def test_the_clip_sets_under_a_measured_law_are_those_of_the_run() -> None:
    """An unclipped euclidean run, its measured table, and the prediction of who is beyond the bounds at its last update."""
    policy = {"kind": "dirichlet", "vocab": 64, "alpha": 2.0, "contexts": 1024}
    spec = experiment("euclidean", policy, 5.0, 256, arm=[{"name": "both", "low": 0.1, "high": 0.1}])
    table = measure_noise(spec, per_decade=6)
    row = predict_noise(spec, table).arms["both"].rows[-1]
    unclipped = run(spec.model_copy(update={"seed": 1, "arm": (load("headline").arm[0],)}))
    measured_rms = unclipped.arms["none"].rows[-1]["log_ratio_rms"]
    start = start_of(spec).old_log_probs[:, 0]
    rng = np.random.default_rng(0)
    drawn = log_softmax(start + rng.normal(size=start.shape) * table.at(start) * math.sqrt(3 / 4))
    ratio, probs = np.exp(drawn - start), np.exp(drawn)
    for side, beyond in (("low", ratio < 0.9), ("high", ratio > 1.1)):
        share = np.sum(probs * beyond, axis=1)
        # Pooling actions, and the normalisation that the table has already, cost a few percent.
        assert abs(row[f"pi_{side}"] - share.mean()) < SIGMAS * share.std(ddof=1) / 32 + 0.06 * share.mean()
    predicted_rms = math.sqrt(float(np.mean(np.sum(np.exp(start) * table.at(start) ** 2, axis=1))) * 3 / 4)
    assert math.isclose(predicted_rms, measured_rms, rel_tol=0.05)  # 1,024 contexts: rms to about .01 of itself


@pytest.mark.statistical
def test_a_ledger_gives_the_size_of_a_law(tmp_path: Path) -> None:
    """ledger_rms: sigma of the run, of the arm without clipping; refused where it means nothing."""
    policy = {"kind": "zipf", "vocab": 64, "exponent": 0.0, "contexts": 512}
    spec = experiment("natural", policy, 0.05, 2048)
    arms = [{"name": "tight", "low": 0.01, "high": 0.01}, {"name": "none", "objective": "none"}]
    spec = parse_experiment(spec.model_dump(exclude_none=True) | {"arm": arms})
    run(spec, out=tmp_path / "run")
    sigma = 0.05 * math.sqrt(4 * 63 / 2048)
    # A mean of 512 x 63 nearly independent squares, K = 4: half a percent; expansion in the step: another.
    assert math.isclose(ledger_rms(tmp_path / "run"), sigma, rel_tol=0.03)
    one = spec.model_copy(update={"update": spec.update.model_copy(update={"minibatches": 1})})
    run(one, out=tmp_path / "one")
    with pytest.raises(SpecError, match="one update per rollout"):
        ledger_rms(tmp_path / "one")
    with pytest.raises(SpecError, match="not the folder of a finished run"):
        ledger_rms(tmp_path)


def test_a_shift_is_no_noise() -> None:
    """All log-ratios exactly log .9: mean -.105, sd 0, and nothing lies beyond .9 and 1.1; noise of that rms would clip 4 %."""
    old = np.log(np.random.default_rng(0).dirichlet(np.full(64, 2.0), 64))
    table = noise_law_of(old, old + math.log(0.9))
    assert table.mean is not None
    assert np.allclose(table.mean, math.log(0.9))
    assert np.all(table.sd == 0)
    assert np.all(table.beyond == 0)
    assert np.allclose(table.bias, math.log(0.9))
    exact = NoiseTable(np.array([0.01, 0.1]), np.array([0.2, 0.2]), np.zeros(2))
    assert table.slope()[0] == pytest.approx(0.0, abs=1e-9)
    assert exact.slope() == pytest.approx((0.0, 0.0), abs=1e-12)  # rows without an error are no division by 0
    widths = [{"name": "both", "low": 0.1, "high": 0.1}, {"name": "tight", "low": 0.09, "high": 0.1}]
    spec = experiment("euclidean", WIDE | {"vocab": 64}, 1.0, 256, arm=widths)
    found = predict_noise(spec, table).summary()["arms"]
    assert found["both"]["clip_fraction_low"] == found["both"]["clip_fraction_high"] == 0
    assert any("is not that of noise" in reason for reason in found["both"]["outside"])
    # Beyond a narrower bound lie all samples with A < 0, a half, at all of the four updates.
    assert math.isclose(found["tight"]["clip_fraction_low"], 0.5, rel_tol=1e-9)
    alone = predict_noise(spec, NoiseTable(table.prob, table.rms)).summary()["arms"]["both"]
    assert alone["clip_fraction_low"] > 0.02 < alone["clip_fraction_high"]


@pytest.mark.statistical
def test_means_and_spreads_are_told_apart() -> None:
    """Shift and noise of known size: mean and sd within 5 s.e., the noise's own -sd^2/2 is no bias, a temperature is one."""
    rng = np.random.default_rng(1)
    old = np.full((2000, 20), math.log(0.02))
    for shift, biased in ((0.0, False), (0.13, True)):
        table = noise_law_of(old, np.minimum(old + rng.normal(shift - 0.02, 0.2, old.shape), 0))
        assert table.mean is not None and table.mean_se is not None  # noqa: PT018
        assert_within_se(float(table.mean[0]), shift - 0.02, float(table.mean_se[0]))
        assert math.isclose(table.mean_se[0], 0.2 / math.sqrt(40_000), rel_tol=0.1)
        assert math.isclose(table.sd[0], 0.2, rel_tol=0.02)
        assert table.beyond is not None
        assert math.isclose(table.beyond[0], 0.0455, rel_tol=0.15)  # 40,000 draws of a share of 4.6 %: 2.3 % of it
        assert (table.bias[0] != 0) == biased
    scores = rng.standard_normal((400, 64)) * 2
    hot, cold = log_softmax(scores), log_softmax(scores / 0.6)
    assert np.any(noise_law_of(hot, cold).bias != 0)


@pytest.mark.parametrize(("law", "lone"), [("normal", False), ("laplace", False), ("t2", True), ("one", True), ("shift", False)])
def test_a_size_that_is_of_a_few_log_ratios_is_called_that(law: str, lone: bool) -> None:
    rng, size = np.random.default_rng(0), (2000, 1)
    moved = {
        "normal": rng.normal(size=size),
        "laplace": rng.laplace(size=size),
        "t2": rng.standard_t(2, size=size),
        "one": np.where(np.arange(2000)[:, None] == 7, 40.0, rng.normal(size=size)),
        "shift": np.full(size, -1.0),
    }[law]
    table = noise_law_of(old := np.full(size, -15.0), old + 0.03 * moved)
    assert bool(table.lone[0]) is lone
    assert table.largest is not None
    square = (moved - moved.mean()) ** 2
    assert table.largest[0] == pytest.approx(square.max() / square.sum() if law != "shift" else 0.0)
    assert not lone or "one log-ratio of 2000 has" in lone_log_ratios(table)


def test_what_first_order_cannot_say_is_outside() -> None:
    """The reported cases: curvature of hundreds of nats, and terms of 1e14."""
    snapshot = load("headline", ["policy={kind='snapshot', name='smollm2-135m', contexts=4}", "update.minibatches=2"])
    natural = predict_noise(snapshot, "flat", 0.05).summary()["arms"]["both"]
    assert any("the curvature is no forecast" in r for r in natural["outside"])
    few = ["policy.contexts=4", "update.minibatches=2"]
    huge = predict_noise(load("headline_llm", few), "flat", 2.0).summary()["arms"]["both"]
    assert any("which is taken as a number" in r for r in huge["outside"])
    assert any("add up to" in r for r in huge["outside"])
    for name, law, rms in (("headline", "inv_sqrt", 0.1), ("headline", "flat", 0.1), ("headline_llm", "flat", 0.1)):
        arms = predict_noise(load(name, few), law, rms).summary()["arms"]  # type: ignore[arg-type]
        assert all(arm["outside"] == [] for arm in arms.values()), (name, law)
    coarse = predict_noise(load("headline_llm", [*few, "update.batch=8", "update.learning_rate=4"]), "flat", 0.1)
    assert any("one sample moves" in r for r in coarse.summary()["arms"]["both"]["outside"])


def test_noise_beyond_all_numbers_is_refused() -> None:
    """Ratios of e^800 were NaN in every column, with exit code 0."""
    spec = experiment("natural", {"kind": "zipf", "vocab": 8, "exponent": 1.0}, 0.05, 2048)
    for law, rms in (("flat", 100.0), ("sqrt", 60.0), ("inv_sqrt", 40.0)):
        with pytest.raises(SpecError, match=rf"{law}:{rms:g} gives actions of pi_old .* over the limit of 350"):
            predict_noise(spec, law, rms)
    for law, rms in (("flat", 1e300), ("sqrt", 1e200), ("inv_sqrt", 1e155)):  # their squares are no numbers
        with pytest.raises(
            SpecError, match=rf"{re.escape(f'{law}:{rms:g}')} gives actions log-ratios of .* over the limit of 350"
        ):
            predict_noise(spec, law, rms)
    prob = np.array([0.04, 0.5])
    for first in (1e3, 1e200):
        with pytest.raises(SpecError, match="noise table gives actions"):
            predict_noise(spec, NoiseTable(prob, np.array([first, 0.1])))
    with pytest.raises(SpecError, match=r"log-ratios of up to 362, over"):  # a shift adds to noise
        predict_noise(spec, NoiseTable(prob, np.array([300.1, 300.1]), mean=np.array([-300.0, -300.0])))
    with pytest.raises(SpecError, match=r"noise table gives probabilities that add up to .* or more"):
        predict_noise(spec, NoiseTable(prob, np.array([5.0, 5.0]), mean=np.array([5.0, 5.0])))
    for law in ("flat", "sqrt", "inv_sqrt"):  # just below the limit of the likeliest or rarest action
        row = predict_noise(spec, law, 10.0).arms["both"].rows[-1]
        assert all(math.isfinite(v) for v in row.values() if isinstance(v, float))


@pytest.mark.statistical
def test_ratios_of_sequences_are_clipped_as_drawn() -> None:
    """GSPO's shares at .05 a token, 200 and 1,000 tokens, published widths: 20,000 sequences an update, 5 s.e."""
    rng, sd, updates = np.random.default_rng(0), 0.05, 4
    for length in (200, 1000):
        found = sequence_shares(sd, length, 3e-4, 4e-4, updates)
        low, high = [0.0], [0.0]  # the first update has ratio 1
        for k in range(1, updates):
            v = sd**2 * k / updates
            mean = rng.normal(-v / 2, math.sqrt(v), (4000, length)).mean(axis=1)
            low.append(float(np.mean(np.exp(mean) < 1 - 3e-4)) / 2)
            high.append(float(np.mean(np.exp(mean) > 1 + 4e-4)) / 2)
        for share, drawn in ((found.low, low), (found.high, high)):
            se = math.sqrt(sum(2 * p * (1 - 2 * p) / 4 / 4000 for p in drawn)) / updates
            assert abs(share - np.mean(drawn)) < SIGMAS * se
        assert found.low > found.high  # the mean of -sd^2/2 does not average out
        assert found.ceiling == 0.375
    off = sequence_shares(sd, 1000, 1.0, math.inf, updates)
    assert (off.low, off.high) == (0, 0)
    for bad in (lambda: sequence_shares(0, 10, 0.1, 0.1, 4), lambda: sequence_shares(0.1, 0.5, 0.1, 0.1, 4)):
        with pytest.raises(SpecError):
            bad()


@pytest.mark.statistical
def test_terms_of_sequences_are_those_of_drawn_ones() -> None:
    """Both sides, natural and euclidean: 12,000 sequences of 16 tokens of 64 actions with noise of their own, within 5 s.e.

    The term of a side is E[s 1(clipped) kappa(a)] over actions drawn from pi_old, so that it is a plain mean of samples."""
    rng, sd, length, low, high = np.random.default_rng(0), 0.3, 16, 0.05, 0.005
    probs = np.arange(1, 65) ** -0.5
    probs /= probs.sum()
    kinds = populations(np.log(probs)[None, :], 0.25)
    moved = 1 - 2 * probs + np.sum(probs**2)
    size = sd**2 / 2 / np.sum(probs * moved)  # the second of two minibatches, of the drawn actions
    drawn: dict[Any, list[np.ndarray]] = {"natural": [], "euclidean": []}
    for _ in range(12):
        x = rng.normal(0, math.sqrt(size), (1000, length, 64))
        log_probs = np.log(probs) + x
        log_probs -= np.log(np.exp(log_probs).sum(axis=-1, keepdims=True))
        actions = rng.choice(64, size=(1000, length, 1), p=probs)
        taken = np.take_along_axis(log_probs, actions, -1)[..., 0]
        log_s = (taken - np.log(probs)[actions[..., 0]]).mean(axis=-1)
        p = np.exp(log_probs)
        entropy = -(p * log_probs).sum(axis=-1)
        kappa = {"natural": -taken - entropy}
        kappa["euclidean"] = np.exp(taken) * kappa["natural"] - (p**2 * (-log_probs - entropy[..., None])).sum(axis=-1)
        for geometry, value in kappa.items():
            worth = np.exp(log_s) * value.mean(axis=-1)
            drawn[geometry].append(np.stack([worth * (np.exp(log_s) < 1 - low), -worth * (np.exp(log_s) > 1 + high)]))
    for geometry, parts in drawn.items():
        samples = np.concatenate(parts, axis=-1)
        mean, se = samples.mean(axis=-1), samples.std(axis=-1) / math.sqrt(samples.shape[-1])
        found, swapped = sequence_terms(kinds, geometry, sd, length, [(low, high), (high, low)], 2)
        assert np.all(np.abs(mean - found) < SIGMAS * se), (geometry, mean, se, found)
        assert np.any(np.abs(mean - swapped) > SIGMAS * se), "the check has no power"


def test_a_sequence_of_one_side_has_one_term() -> None:
    kinds = populations(np.log(np.full((1, 32), 1 / 32)), 0.25)
    ((low, high),) = sequence_terms(kinds, "natural", 0.05, 500, [(1.0, math.inf)], 4)
    assert low == high == 0
    for bad in ((0.0, 500), (0.05, 1), (math.inf, 500), (0.05, math.inf)):
        with pytest.raises(SpecError):
            sequence_terms(kinds, "natural", *bad, [(0.1, 0.1)], 4)
