"""Noise laws as tables, files and words: written, read, interpolated, refused, and used by predict_noise."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entclip.policies.laws import zipf
from entclip.prediction.meanfield import predict_noise
from entclip.prediction.noise_table import NoiseTable, read_noise_table
from entclip.prediction.noise_words import POWERS, Gauss, LogRatioRms, Mixture, StudentT, noise_words
from entclip.support.errors import DamagedFileError, SpecError
from tests.called import entclip
from tests.prediction.wide import experiment


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


@pytest.mark.parametrize("tail", [StudentT(5), StudentT(2.5), Mixture(0.2, 4)], ids=str)
def test_heavy_tails_have_the_size_and_the_shares_of_their_law(tail: Any) -> None:
    """Shares beyond bounds at two standard deviations, against the law's distribution function; flat noise on a flat policy."""
    rms = 0.05
    spec = experiment(
        "natural", {"kind": "uniform", "vocab": 4096, "contexts": 1}, 1e-4, 2048, arm=[{"name": "both", "low": 0.1, "high": 0.1}]
    )
    row = predict_noise(spec, "flat", rms, tail).arms["both"].rows[-1]
    sd = rms * math.sqrt(3 / 4)
    x = np.linspace(-tail.reach, tail.reach, 400_001)
    density = tail.density(x)
    density /= density.sum()
    x = x / math.sqrt(float(density @ x**2))  # what is beyond the reach is cut off, and its variance given back
    shift = -math.log(float(density @ np.exp(sd * x)))
    for side, beyond in (("low", sd * x + shift < math.log(0.9)), ("high", sd * x + shift > math.log(1.1))):
        exact = float(density[beyond] @ np.exp(sd * x + shift)[beyond])
        assert math.isclose(row[f"pi_{side}"], exact, rel_tol=0.01), side
    normal = predict_noise(spec, "flat", rms).arms["both"].rows[-1]
    assert abs(row["pi_low"] / normal["pi_low"] - 1) > 0.05
    assert math.isclose(row["kl"], sd**2 / 2, rel_tol=0.1)


@pytest.mark.parametrize("law", ["inv_sqrt", "flat", "sqrt"])
def test_a_size_of_the_log_ratio_is_that_of_the_log_ratio(law: Any) -> None:
    """KL = rms^2/2 up to its fourth power, after k of K updates k/K of it; the logits' own rms leaves a third less here."""
    spec = experiment("natural", {"kind": "zipf", "vocab": 64, "exponent": 2.0, "contexts": 1}, 0.1, 64)
    updates = spec.update.minibatches
    kl, of_logits = (
        predict_noise(spec, law, size).arms["both"].rows[-1]["kl"] * 2 * updates / (updates - 1)
        for size in (LogRatioRms(0.01), 0.01)
    )
    assert math.isclose(kl, 0.01**2, rel_tol=2e-3)
    if law != "inv_sqrt":  # whose noise is that of rare actions, which nothing damps
        assert abs(of_logits / kl - 1) > 0.2


def test_words_for_noise(tmp_path: Path) -> None:
    assert noise_words("flat:.25") == ("flat", 0.25, Gauss())
    assert noise_words("kl:.0024") == ("flat", LogRatioRms(math.sqrt(0.0048)), Gauss())
    assert noise_words("sqrt:.1:t:5") == ("sqrt", 0.1, StudentT(5))
    assert noise_words("kl:.00125:mixture:.2:4") == ("flat", LogRatioRms(0.05), Mixture(0.2, 4))
    assert noise_words(f"flat:{tmp_path}") == ("flat", tmp_path, Gauss())
    for text, message in (
        ("kl:0", "positive and finite"),
        ("kl:inf", "positive and finite"),
        ("kl:nan", "positive and finite"),
        ("flat", "is not a number"),
        ("cubic:.1", "the law must be"),
        ("flat:.1:t:2", "more than 2"),
        ("flat:.1:t:nan", "more than 2"),
        ("flat:.1:t", "tails are"),
        ("flat:.1:mixture:1:4", "share between 0 and 1"),
        ("flat:.1:mixture:.2:1", "scale above 1"),
    ):
        with pytest.raises(SpecError, match=message):
            noise_words(text)


def test_the_commands(tmp_path: Path) -> None:
    """noise writes what predict --noise reads; bad options exit with 2 and one line."""

    small = ["--set", "policy.contexts=40", "--set", "update.rollouts=1", "--set", "update.minibatches=4"]
    made = entclip("noise", "headline", *small, "--out", str(tmp_path / "table.csv"))
    assert made.returncode == 0, made.stderr
    assert "slope of log rms in log pi_old: -0." in made.stdout
    forecast = entclip("predict", "headline", *small, "--noise", str(tmp_path / "table.csv"), "--json")
    assert forecast.returncode == 0, forecast.stderr
    assert json.loads(forecast.stdout)["arms"]["both"]["expected_clip_low"] > 0
    log_probs, (old, new) = np.log(np.full((50, 4), 0.25)), (str(tmp_path / f"{n}.npy") for n in ("old", "new"))
    np.save(old, log_probs)
    np.save(new, log_probs - 0.1)
    arrays = entclip("noise", "--old", old, "--new", new, "--json")
    assert np.allclose(json.loads(arrays.stdout)["rms"], [0.1])
    for bad, message in (
        (["noise", "--old", old], "go together"),
        (["noise", "--old", old, "--new", str(tmp_path / "table.csv")], "cannot be read as a .npy file"),
        (["predict", "--noise", "absent.csv"], "cannot be read"),
        (["predict", "--noise", "flat:much"], "not a number"),
        (["predict", "--length", "100"], "needs the noise of a token"),
    ):
        found = entclip(*bad)
        assert found.returncode == 2, found.stderr
        assert message in found.stderr
        assert "Traceback" not in found.stderr
