"""Forecasts, neutral widths and maps without an end are refused at once; what takes long is announced."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from entclip.experiments.load import experiment_names, load
from entclip.prediction.maps.phase_map import Axis, map_size, phase_map, plane
from entclip.prediction.meanfield import predict, predict_noise
from entclip.prediction.meanfield.forecast import PATHS
from entclip.prediction.neutral import neutral_clip, neutral_size
from entclip.prediction.noise_table import measure_noise
from entclip.prediction.size import forecast_size
from entclip.support.errors import SpecError
from entclip.support.foresight import Size, announced

GIB = 2**30
EUCLIDEAN = "update.geometry=euclidean"


@pytest.fixture(autouse=True)
def _usual_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("prediction.size", "prediction.neutral", "prediction.maps.phase_map", "runs.foresight", "experiments.start"):
        monkeypatch.setattr(f"entclip.{place}.available_bytes", lambda: 16 * GIB)


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: predict(load("headline", ["update.minibatches=1000000"])), r"most of it for 30,000,000 rows"),
        (lambda: predict(load("headline", ["update.rollouts=1000000"])), r"most of it for 384,000,000 rows"),
        (lambda: predict(load("headline", [EUCLIDEAN, "update.minibatches=100000"])), r"for the noise of 100,000 minibatches"),
        (lambda: predict(load("headline", ["policy.contexts=10000000"])), r"the policies of 10,000,000 contexts x 64 actions"),
        (lambda: predict_noise(load("headline", ["update.rollouts=1000000"]), "flat", 0.1), r"384,000,000 rows"),
        (lambda: neutral_clip(load("headline", ["update.rollouts=30000", EUCLIDEAN])), r"over the limit of 30 days: use fewer"),
        (lambda: measure_noise(load("headline", ["update.minibatches=1000000000000"])), r"1,000,000,000,000 rows"),
        (lambda: plane("batch", points=10**9), r"1,000,000,000 points on the axis minibatches: choose from 1 to 1,000"),
        (lambda: Axis.default("step", 0), r"0 points on the axis step"),
        (lambda: phase_map(load("headline", [EUCLIDEAN]), "eps_low", "eps_high", points=1000), r"1,000,000 times\), over"),
    ],
)
def test_work_without_an_end_is_refused_at_once(work: Callable[[], object], message: str) -> None:
    tracemalloc.start()
    with pytest.raises(SpecError, match=message):
        work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


@pytest.mark.parametrize("name", [n for n in experiment_names() if n.startswith(("headline", "knob", "sign_map", "noise_only"))])
def test_what_ships_is_possible(name: str) -> None:
    size = forecast_size(load(name), PATHS)
    assert size.memory < 4 * GIB
    assert size.seconds < 3600


def test_what_takes_long_is_announced() -> None:
    chosen = plane("concentration")
    assert announced(map_size(chosen.experiment, chosen.x, chosen.y)) in ("", "about 1 minute", "about 2 minutes")
    large = map_size(chosen.experiment, Axis.default("concentration", 1000), Axis.default("step", 1000))
    assert announced(large).startswith("about")
    assert announced(large).endswith(("hours", "GiB of memory"))
    assert announced(neutral_size(load("headline"), 4)).endswith(("minute", "minutes"))
    assert announced(Size({"a table": 1e9}, 59.0, "updates")) == ""
    assert announced(Size({"a table": 1e9, "rows": 1e9}, 5.0, "updates")) == "about 1.9 GiB of memory"
    assert announced(Size({"a table": 3e9}, 7200.0, "updates")) == "about 2 hours, about 2.8 GiB of memory"
