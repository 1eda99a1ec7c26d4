"""Noise laws: measured from runs and arrays with the slopes that T11 proves, written, read, and used by predict_noise."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.load import load
from entclip.experiments.start import start_of
from entclip.policies.laws import zipf
from entclip.policies.softmax import log_softmax
from entclip.prediction.meanfield import predict_noise
from entclip.prediction.meanfield.noise_law import POWERS
from entclip.prediction.noise_table import NoiseTable, ledger_rms, measure_noise, noise_law_of, read_noise_table
from entclip.runs.runner import run
from entclip.support.errors import DamagedFileError, SpecError
from tests.tolerances import SIGMAS, assert_within_se

# Flat enough that T11's corrections to the power laws, of order pi, are below a standard error.
WIDE = {"kind": "dirichlet", "vocab": 1024, "alpha": 2.0, "contexts": 48}


def experiment(geometry: str, policy: dict[str, Any], rate: float, batch: int, **more: Any) -> Experiment:
    update = {"geometry": geometry, "learning_rate": rate, "batch": batch, "minibatches": 4, "rollouts": 1}
    return parse_experiment({"name": "x", "policy": policy, "update": update} | more)


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
        (old, old, "no bin of pi_old"),
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


def test_tables_are_interpolated_in_logs_and_held_beyond() -> None:
    table = NoiseTable(np.array([0.1, 0.001]), np.array([0.4, 0.04]))
    assert list(table.prob) == [0.001, 0.1]
    assert np.allclose(table.at(np.log([0.001, 0.01, 0.1])), [0.04, math.sqrt(0.04 * 0.4), 0.4])
    assert np.allclose(table.at(np.log([1e-9, 1.0])), [0.04, 0.4])


@pytest.mark.parametrize(
    ("prob", "rms", "message"),
    [
        ([], [], "at least one"),
        ([0.1, 0.2], [0.1], "shape"),
        ([0.0, 0.1], [0.1, 0.1], r"\(0, 1\]"),
        ([0.1, 1.1], [0.1, 0.1], r"\(0, 1\]"),
        ([0.1, 0.2], [0.1, 0.0], "positive"),
        ([0.1, 0.2], [0.1, math.nan], "positive"),
        ([0.1, 0.1], [0.1, 0.2], "same prob"),
    ],
)
def test_bad_tables_are_refused(prob: list[float], rms: list[float], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        NoiseTable(np.array(prob), np.array(rms))


def test_files_are_read_and_bad_ones_refused(tmp_path: Path) -> None:
    table = NoiseTable(np.array([0.01, 0.1]), np.array([0.1, 0.2]), np.array([0.01, 0.02]), np.array([5.0, 6.0]))
    table.to_frame().to_csv(tmp_path / "t.csv", index=False)
    back = read_noise_table(tmp_path / "t.csv")
    assert np.array_equal(back.prob, table.prob)
    assert np.array_equal(back.rms_se, table.rms_se)  # type: ignore[arg-type]
    np.save(tmp_path / "t.npy", np.stack([table.prob, table.rms], axis=1))
    assert np.array_equal(read_noise_table(tmp_path / "t.npy").rms, table.rms)
    np.save(tmp_path / "wide.npy", np.ones((2, 3)))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "t.npy").read_bytes()[:20])
    (tmp_path / "no.csv").write_text("p,rms\n0.1,0.2\n")
    (tmp_path / "words.csv").write_text("prob,rms\n0.1,much\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "unnamed.csv").write_text("prob,rms\n0.01,0.1,0.02\n0.1,0.2,0.03\n")  # pandas takes prob for an index
    (tmp_path / "comma.csv").write_text("prob,rms\n0.01,0.1\n\n0.1,0,2\n")
    (tmp_path / "hole.csv").write_text("prob,rms\n0.01,\n")
    (tmp_path / "twice.csv").write_text("prob,rms,rms\n0.01,0.1,0.1\n")
    (tmp_path / "claims.npy").write_bytes((tmp_path / "t.npy").read_bytes().replace(b"(2, 2)", b"(9**9,"[:6]))
    for name, message in (
        ("wide.npy", r"expected \(K, 2\)"),
        ("cut.npy", r"cannot be read as a \.npy file of numbers"),
        ("claims.npy", r"cannot be read as a \.npy file of numbers"),
        ("unnamed.csv", "line 2: 3 values under 2 names"),
        ("comma.csv", "line 4: 3 values under 2 names"),
        ("hole.csv", "line 2 has rms = '', which is no finite number"),
        ("twice.csv", "has 2 column rms"),
        ("no.csv", "no column prob"),
        ("words.csv", "not a CSV file of numbers"),
        ("empty.csv", "not a CSV file of numbers"),
        ("absent.csv", "cannot be read"),
    ):
        with pytest.raises((SpecError, DamagedFileError), match=message):
            read_noise_table(tmp_path / name)


def _tabulated(law: str, rms: float) -> NoiseTable:
    """The rms of log r that a named law has on Zipf(1), V = 64, normalisation included, action by action."""
    p = np.exp(zipf(64).log_probs)
    v = rms**2 * p ** (2 * POWERS[law]) / np.sum(p ** (1 + 2 * POWERS[law]))
    return NoiseTable(p, np.sqrt(v * (1 - 2 * p) + np.sum(p**2 * v)))


@pytest.mark.parametrize("law", ["inv_sqrt", "flat", "sqrt"])
def test_a_table_of_a_law_predicts_what_the_law_predicts(law: Any) -> None:
    """Fine enough, a table is the law: differences come from interpolating between actions, a few times 1e-3 of the terms."""
    spec = experiment("natural", {"kind": "zipf", "vocab": 64, "exponent": 1.0, "contexts": 1}, 0.1, 64)
    named, given = predict_noise(spec, law, 0.2), predict_noise(spec, _tabulated(law, 0.2))
    rows = [f.arms["both"].rows[-1] for f in (named, given)]
    for column in ("pi_low", "pi_high", "expected_clip_low", "expected_clip_high", "clip_fraction_low"):
        assert math.isclose(rows[0][column], rows[1][column], rel_tol=0.02), column
    other = predict_noise(spec, "sqrt" if law != "sqrt" else "flat", 0.2).arms["both"].rows[-1]
    assert not math.isclose(other["expected_clip_low"], rows[1]["expected_clip_low"], rel_tol=0.1)


def test_what_lies_beyond_a_table_is_said() -> None:
    spec = experiment("natural", {"kind": "zipf", "vocab": 64, "exponent": 1.0, "contexts": 1}, 0.1, 64)
    arm = predict_noise(spec, NoiseTable(np.array([0.01, 0.02]), np.array([0.2, 0.2]))).summary()["arms"]["both"]
    low, high = (next(r for r in arm["outside"] if side in r) for side in ("below", "above"))
    assert "held constant" in low
    p = np.exp(zipf(64).log_probs)
    for text, where in ((low, p < 0.01), (high, p > 0.02)):
        count, share = (float(x) for x in re.findall(r"(\S+) actions per context, with (\S+) of", text)[0])
        # Actions within a bin of the edge are on either side of it.
        assert abs(count - where.sum()) < 0.15 * where.sum()
        assert abs(share - p[where].sum()) < 0.05
    assert predict_noise(spec, _tabulated("flat", 0.2)).summary()["arms"]["both"]["outside"] == []
    with pytest.raises(SpecError, match="its own rms"):
        predict_noise(spec, _tabulated("flat", 0.2), 0.1)
    with pytest.raises(SpecError, match="positive and finite"):
        predict_noise(spec, "flat")


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


def test_the_commands(tmp_path: Path) -> None:
    """noise writes what predict --noise reads; bad options exit with 2 and one line."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "entclip", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    small = ["--set", "policy.contexts=40", "--set", "update.rollouts=1", "--set", "update.minibatches=4"]
    made = call("noise", "headline", *small, "--out", str(tmp_path / "table.csv"))
    assert made.returncode == 0, made.stderr
    assert "slope of log rms in log pi_old: -0." in made.stdout
    forecast = call("predict", "headline", *small, "--noise", str(tmp_path / "table.csv"), "--json")
    assert forecast.returncode == 0, forecast.stderr
    assert json.loads(forecast.stdout)["arms"]["both"]["expected_clip_low"] > 0
    log_probs, (old, new) = np.log(np.full((50, 4), 0.25)), (str(tmp_path / f"{n}.npy") for n in ("old", "new"))
    np.save(old, log_probs)
    np.save(new, log_probs - 0.1)
    arrays = call("noise", "--old", old, "--new", new, "--json")
    assert np.allclose(json.loads(arrays.stdout)["rms"], [0.1])
    for bad, message in (
        (["noise", "--old", old], "go together"),
        (["noise", "--old", old, "--new", str(tmp_path / "table.csv")], "cannot be read as a .npy file"),
        (["predict", "--noise", "absent.csv"], "cannot be read"),
        (["predict", "--noise", "flat:much"], "not a number"),
    ):
        found = call(*bad)
        assert found.returncode == 2, found.stderr
        assert message in found.stderr
        assert "Traceback" not in found.stderr
