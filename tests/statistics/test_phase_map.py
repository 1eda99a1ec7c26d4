"""Phase maps: structure, dimensionless groups against prediction and simulation, both borders simulated, the figure."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from entclip.experiments.experiment import parse_experiment
from entclip.experiments.load import load
from entclip.experiments.sections import Arm
from entclip.prediction.maps.figure import _signed, figure
from entclip.prediction.maps.phase_map import PLANES, ROOM, TERMS, Axis, case_at, groups, phase_map, plane, records
from entclip.prediction.maps.verify import spread, verify
from entclip.prediction.meanfield import predict
from entclip.prediction.neutral import neutral_clip
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.statistics.border import BORDERS, Border, border_points, crossings, simulate_border
from tests.tolerances import SIGMAS

NATURAL = {"geometry": "natural", "batch": 2048, "minibatches": 16, "rollouts": 1}
EUCLIDEAN = {"geometry": "euclidean", "batch": 64, "minibatches": 16, "rollouts": 1}
ZIPF = {"kind": "zipf", "vocab": 64, "exponent": 1.0, "contexts": 1}
DATA = Path(__file__).parents[2] / "docs" / "data" / "map_borders.json"
VERDICTS = ["agree", "reject", "inconclusive"]
DIRICHLET = {"kind": "dirichlet", "vocab": 64, "alpha": 2.0, "contexts": 1}


def at(policy: dict[str, Any], update: dict[str, Any], sigma: float, **more: Any) -> Any:
    """An experiment with the given log-ratio noise, eta being proportional to it."""
    spec = parse_experiment({"policy": policy, "update": update | {"learning_rate": 1.0}} | more)
    eta = sigma / groups(spec)["sigma"]
    return parse_experiment({"policy": policy, "update": update | {"learning_rate": eta}} | more)


@pytest.fixture(scope="module")
def small() -> Any:
    """3 x 3: Zipf exponents by sigma; the largest sigma is beyond the prediction."""
    return phase_map(at(ZIPF, NATURAL, 0.2), Axis("concentration", (0.0, 0.5, 1.25)), Axis("step", (0.1, 0.25, 5.0)))


def test_a_map_is_a_row_per_cell_and_arm(small: Any) -> None:
    assert len(small) == 9
    assert list(zip(small["ix"], small["iy"], strict=True)) == [(i, j) for j in range(3) for i in range(3)]
    found = small[small["status"] == "valid"]
    total = sum(found[f"expected_{t}"] for t in (*TERMS, "remainder"))
    assert np.allclose(found["expected_measured"], total, rtol=0, atol=1e-12)
    assert np.allclose(found["sigma"], found["step"], rtol=1e-12)
    assert (found["expected_clip_low"] > 0).all()
    rows = records(small)
    assert len(rows) == 9
    assert rows[-1]["expected_measured"] is None
    assert rows[0]["verdict"] == ""


def test_a_refused_cell_has_a_reason_and_no_number(small: Any) -> None:
    refused = small[small["iy"] == 2]
    assert (refused["status"] == "refused").all()
    assert refused["reason"].str.contains("could carry actions").all()
    assert refused[["expected_measured", "expected_clip_low", "gap_low", "dominance"]].isna().all(axis=None)
    assert refused["inequality"].isna().all()
    with pytest.raises(SpecError, match="no prediction to verify"):
        verify(small, [(0, 2)])
    with pytest.raises(SpecError, match="no cell"):
        verify(small, [(3, 0)])
    assert all(iy < 2 for _, iy in spread(small, 9))


def test_peaked_euclidean_cells_are_valid() -> None:
    frame = phase_map(at(ZIPF, EUCLIDEAN, 0.2), Axis("concentration", (0.25, 1.5)), Axis("eps_low", (0.2,)))
    assert list(frame["status"]) == ["valid", "valid"]
    assert list(verify(frame, [(1, 0)])["verdict"]) == ["", "agree"]


def test_single_samples_that_cross_the_band_are_marked() -> None:
    """Euclidean B = 4: one sample moves a log-ratio by .69; the Gaussian prediction is off, and the cell says so."""
    base = plane("batch", "euclidean").experiment
    frame = phase_map(base, Axis("batch", (4, 64)), Axis("minibatches", (2,)))
    assert list(frame["status"]) == ["outside", "valid"]
    assert "one sample moves a log-ratio by up to 0.69" in frame["reason"].iloc[0]
    assert list(verify(frame, [(0, 0), (1, 0)])["verdict"]) == ["reject", "agree"]


CASES = {
    "natural_zipf": (ZIPF, NATURAL, {}),
    "natural_groups": (ZIPF, NATURAL, {"advantage": {"kind": "group", "size": 8}, "reward": {"kind": "bernoulli", "p": 0.5}}),
    "euclidean_zipf": (ZIPF, EUCLIDEAN, {}),
    "euclidean_peaked": (ZIPF | {"exponent": 2.0}, EUCLIDEAN, {}),
    "euclidean_dirichlet": (DIRICHLET, EUCLIDEAN, {}),
}


@pytest.mark.parametrize("name", CASES)
def test_sigma_is_the_log_ratio_noise(name: str) -> None:
    """Small sigma: predicted and simulated rms of log r after K - 1 updates is sigma sqrt((K - 1)/K); drift noise_number sigma^2.

    The forecast has KL(pi0 | pi) = E0[(log r)^2]/2 up to third order, sigma/3 of it times the skewness. It is a T11 quantity only
    where euclidean policies are flat enough (P2 < .03), so that the peaked case is left to the simulation.
    """
    policy, update, more = CASES[name]
    spec = at(policy, update, 0.01, arm=[{"name": "none", "objective": "none"}], **more)
    g = groups(spec)
    assert math.isclose(g["sigma"], 0.01, rel_tol=1e-12)
    last = g["sigma"] * math.sqrt(15 / 16)
    if g["P2"] < 0.1:
        forecast = predict(spec)
        rows = forecast.arms["none"].rows
        assert abs(math.sqrt(2 * rows[-1]["kl"]) / last - 1) < 0.02
        drift = math.fsum(r["expected_measured"] for r in rows)
        assert abs(drift / (g["noise_number"] * g["sigma"] ** 2) - 1) < 0.05
    replicas = 512
    simulated = run(spec.model_copy(update={"replicas": replicas})).arms["none"].rows[-1]["log_ratio_rms"]
    # (log r)^2 summed over effectively 1/P2 or more directions: one replica's scatter is at most sqrt(2) of its mean
    assert abs((simulated / last) ** 2 - 1) < SIGMAS * math.sqrt(2 / replicas)


def test_the_other_groups_are_what_they_say() -> None:
    spec = at(ZIPF, NATURAL, 0.2, arm=[{"name": "both", "low": 0.1, "high": 0.28}])
    g, u = groups(spec), spec.update
    assert math.isclose(g["low_in_sigma"], -math.log(0.9) / 0.2)
    assert math.isclose(g["high_in_sigma"], math.log(1.28) / 0.2)
    assert math.isclose(g["samples"], 2048 * 16 / 63)
    assert math.isclose(g["push"], u.learning_rate * 0.5 / 0.1)
    rare = 1 / 64 / sum(1 / a for a in range(1, 65))
    assert math.isclose(g["takeover"], u.learning_rate / (2048 * rare) / -math.log(rare))
    flat = groups(at(ZIPF | {"exponent": 0.0}, EUCLIDEAN, 0.2))
    assert math.isclose(flat["samples"], 64 * 16 * 63 / 64**2)  # the two geometries agree for a uniform policy, up to 1/V
    assert math.isclose(flat["entropy_share"], 1)
    assert flat["takeover"] == 0


def test_what_is_held() -> None:
    spec, axes = at(ZIPF, NATURAL, 0.1), (Axis("batch", (1024, 4096)), Axis("minibatches", (4, 8)))
    fixed = phase_map(spec, *axes)
    assert fixed["eta"].nunique() == 1
    assert np.allclose(fixed["sigma"], 0.1 * np.sqrt(fixed["minibatches"] / 16 * 2048 / fixed["batch"]))
    assert np.allclose(phase_map(spec, *axes, hold="sigma")["sigma"], 0.1)


# One height of two borders: distances, and exponents that the border lies between.
BESIDE: dict[Border, tuple[tuple[float, float], tuple[float, float]]] = {
    "gap_high": ((0.08, 0.16), (0.0, 1.0)),
    "dominance": ((0.08, 0.16), (0.2, 1.0)),
}


@pytest.fixture(scope="module", params=BESIDE)
def beside(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    where, (offsets, between) = plane("concentration"), BESIDE[request.param]
    return where, border_points(where, request.param, (0.2,), offsets, between)


@pytest.mark.statistical
def test_a_border_is_where_simulation_has_it(beside: tuple[Any, Any]) -> None:
    """gap_high changes sign, and clips outweigh noise, on the predicted side of the border, at 5 standard errors."""
    where, points = beside
    assert points["valid"].all()
    assert list(np.sign(points["predicted"])) == [-1, -1, 1, 1]
    found = simulate_border(where, points, most=2048)
    assert list(found["verdict"]) == ["agree"] * 4
    (crossing,) = crossings(found, "concentration", "step").to_dict(orient="records")
    # A tenth of a cell of the shipped map, beside the measurement's own error.
    assert abs(crossing["measured"] - crossing["predicted"]) < SIGMAS * crossing["measured_se"] + 0.02
    assert crossing["measured_se"] < 0.02


@pytest.mark.statistical
def test_a_border_on_the_wrong_side_is_rejected(beside: tuple[Any, Any]) -> None:
    """Falsifier: the signs of the two sides swapped."""
    where, points = beside
    found = simulate_border(where, points.assign(predicted=-points["predicted"]).iloc[[0, 3]], most=2048)
    assert list(found["verdict"]) == ["reject", "reject"]


@pytest.mark.statistical
def test_the_points_beside_the_borders_that_are_published() -> None:
    """Ten on each side, all agree; gap_low's at one height simulated again with another seed, and two predicted again."""
    published = json.loads(DATA.read_text())
    for border, record in published.items():
        points = pd.DataFrame(record["points"])
        assert (points["verdict"] == "agree").all(), border
        assert list(np.sign(points["predicted"]).value_counts()) == [10, 10]
        assert (points["measured"] * points["predicted"] > 0).all()
    assert set(published) == set(BORDERS)
    points = pd.DataFrame(published["gap_low"]["points"])
    points = points[points["step"] == 0.15]
    where = plane("concentration", "euclidean")
    again = dataclasses.replace(where, experiment=where.experiment.model_copy(update={"seed": 7}))
    assert list(simulate_border(again, points, most=1024)["verdict"]) == ["agree"] * 4
    for row in points.iloc[[0, 3]].to_dict(orient="records"):
        place = {"concentration": row["concentration"], "step": row["step"]}
        found = predict(case_at(where.experiment, place, ("both",))).summary()["arms"]["both"]
        room = ROOM["euclidean"] * sum(abs(found[f"expected_{t}"]) for t in TERMS)
        assert found["expected_clip_low"] * row["predicted"] > 0
        assert abs(found["expected_clip_low"] - row["predicted"]) < room


def test_a_search_without_a_border_is_refused() -> None:
    with pytest.raises(SpecError, match="has one sign"):
        border_points(plane("concentration"), "gap_high", (0.2,), (0.1,), (0.8, 1.0))


@pytest.mark.statistical
def test_a_wrong_prediction_is_rejected(small: Any) -> None:
    """Falsifier: the same marks must reject the drift of the opposite sign."""
    wrong = small.copy()
    wrong.attrs = small.attrs
    wrong["expected_measured"] = -wrong["expected_measured"]
    cells = [(0, 1), (1, 1)]
    assert list(verify(small, cells)["verdict"][3:5]) == ["agree", "agree"]
    assert list(verify(wrong, cells)["verdict"][3:5]) == ["reject", "reject"]


def test_a_run_too_small_to_tell_is_inconclusive(small: Any) -> None:
    noisy = small.copy()
    noisy.attrs = small.attrs
    for column in [f"expected_{t}" for t in (*TERMS, "remainder", "measured")]:
        noisy[column] *= 1e-3
    assert verify(noisy, [(2, 1)], units=8)["verdict"].iloc[5] == "inconclusive"


def test_the_neutral_contour_is_the_neutral_curve() -> None:
    """The zero of the map's total, interpolated in log eps_low, is the root that `neutral` finds."""
    base = at(ZIPF, NATURAL, 0.2)
    lows = (0.16, 0.18, 0.2)
    frame = phase_map(base, Axis("eps_high", (0.2,)), Axis("eps_low", lows))
    drift = frame["expected_measured"].to_numpy()
    assert (np.diff(drift) < 0).all()
    (point,) = neutral_clip(base.model_copy(update={"arm": (Arm(name="x"),)}), highs=(0.2,))
    assert point.low is not None
    root = math.exp(np.interp(0, -drift, np.log(lows)))
    assert lows[0] < root < lows[-1]
    assert abs(root - point.low) < 0.003


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize("name", PLANES)
def test_the_planes_that_ship(name: str, geometry: Any) -> None:
    p = plane(name, geometry, 4)
    assert p.experiment.update.geometry == geometry
    assert p.experiment.update.rollouts == 1
    assert len(p.x.values) >= 2
    assert len(p.y.values) >= 2
    assert 0 < groups(p.experiment)["sigma"] < 0.3


def test_bad_planes_are_refused() -> None:
    spec = at(ZIPF, NATURAL, 0.2)
    with pytest.raises(SpecError, match="no plane"):
        plane("nothing")
    with pytest.raises(SpecError, match="at least 2"):
        plane("batch", points=1)
    with pytest.raises(SpecError, match="both axes"):
        phase_map(spec, "step", "step")
    with pytest.raises(SpecError, match="no axis"):
        phase_map(spec, "nothing", "step")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="must increase"):
        Axis("step", (0.2, 0.1))
    with pytest.raises(SpecError, match="no arm"):
        phase_map(spec, "step", "batch", arms=("nothing",))
    with pytest.raises(SpecError, match="grid"):
        phase_map(load("sign_map"), "step", "batch")
    with pytest.raises(SpecError, match="could carry"):
        phase_map(spec, Axis("step", (5.0,)), Axis("batch", (2048,)))


def test_a_coarse_map_has_signs_too() -> None:
    """Where every fourth cell was simulated, signs stand beside its marks, and in the panels of causes in its cells."""
    cells = [{"ix": i, "iy": j, "verdict": "agree" if i % 2 == j % 2 == 0 else ""} for i in range(5) for j in range(4)]
    frame = pd.DataFrame(cells)
    free, simulated = frame[frame["verdict"] == ""], frame[frame["verdict"] != ""]
    assert _signed(frame, "measured").equals(free)
    assert _signed(frame, "clip_low").equals(simulated)
    frame.loc[0, "verdict"] = ""  # one is free, as in the finer maps
    assert list(_signed(frame, "clip_low").index) == [0]


def test_the_figure_is_written(small: Any, tmp_path: Path) -> None:
    marked = small.copy()
    marked.attrs = small.attrs
    marked.loc[[0, 1, 2], "verdict"] = VERDICTS
    points = [{"concentration": 0.5, "step": 0.1 + i / 20, "verdict": v, "measured": (-1) ** i} for i, v in enumerate(VERDICTS)]
    beside = pd.DataFrame(points).assign(border="gap_high")
    figure(marked, tmp_path / "map.png", beside=beside)
    data = (tmp_path / "map.png").read_bytes()
    assert data[:4] == b"\x89PNG"
    assert len(data) > 20_000
    figure(phase_map(at(ZIPF, NATURAL, 0.2), Axis("step", (0.1,)), Axis("eps_low", (0.2,))), tmp_path / "one.png")
    with pytest.raises(ValueError, match="no arm"):
        figure(small, tmp_path / "no.png", arm="none")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.png", "one.png"]
