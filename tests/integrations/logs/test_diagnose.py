"""What diagnose says: the noise behind shares, the bound on the clip's effect, and the answers that must not be wrong."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq
from typer.testing import CliRunner

from entclip import diagnose as public
from entclip.cli.app import app
from entclip.integrations.diagnose import diagnose
from entclip.integrations.diagnose.diagnosis import ORDER
from entclip.integrations.diagnose.finding import claim, claims
from entclip.integrations.diagnose.law import at_other_high, clip_effect
from entclip.integrations.diagnose.noise import ceiling, from_kl, mean_square_share, shares, sigma_of
from entclip.integrations.diagnose.run import Run, mean_and_error
from entclip.integrations.logs import read_rows
from entclip.support.errors import SpecError
from entclip.support.files import to_json
from tests.integrations.logs.corpus.cases import CASES, FOLDER, answered
from tests.integrations.logs.corpus.truth import Situation, updates_of

ROOT = Path(__file__).parents[3]


def invoke(*arguments: object):
    return CliRunner().invoke(app, ["diagnose", *map(str, arguments)])


# From shares to noise


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.2), (0.2, 0.28), (0.1, math.inf), (1.0, 0.2)])
@pytest.mark.parametrize("updates", [2, 4, 16])
def test_shares_are_those_of_sampled_random_walks(low, high, updates):
    """200,000 walks, against the closed form; and back from the shares to sigma."""
    rng = np.random.default_rng(5)
    sigma, shift, n = 0.25, -0.03, 200_000
    walk = np.zeros(n)
    low_count, high_count = 0, 0
    for k in range(updates):
        sd2 = sigma**2 * k / updates
        x = walk - sd2 / 2 + (shift if k else 0)
        up = rng.random(n) < 0.5
        low_count += int(np.sum(~up & (np.exp(x) < 1 - low)))
        high_count += int(np.sum(up & (np.exp(x) > 1 + high)))
        walk += rng.standard_normal(n) * sigma / math.sqrt(updates)
    got = np.array([low_count, high_count]) / (n * updates)
    expected = np.array(shares(sigma, low, high, updates, shift))
    assert np.all(np.abs(got - expected) <= 5 * np.sqrt(expected / (n * updates) * updates) + 1e-12)
    assert sigma_of(sum(shares(sigma, low, high, updates)), low, high, updates) == pytest.approx(sigma, rel=1e-9)


def test_shares_reach_their_ceiling_and_no_further():
    for updates in (2, 4, 16):
        assert sum(shares(30.0, 1e-6, 1e-6, updates)) == pytest.approx(ceiling(updates), rel=1e-9)
    assert ceiling(4) == 0.375
    assert ceiling(4, gated=False) == 0.75
    assert ceiling(None) == 0.5
    assert sigma_of(0.4, 0.2, 0.2, 4) is None


def test_both_estimates_of_kl_give_the_rms_of_unbiased_noise():
    rng = np.random.default_rng(6)
    sd = 0.3
    x = rng.standard_normal(1_000_000) * sd - sd**2 / 2
    for kl in (-x, np.expm1(x) - x):
        error = kl.std() / 1000
        assert abs(kl.mean() - sd**2 / 2) < 5 * error
    assert from_kl(sd**2 / 2) == pytest.approx(sd)
    assert mean_square_share(4) == pytest.approx(np.mean([0, 1, 2, 3]) / 4)


def test_errors_of_means_cover_the_truth():
    """Of 400 stretches of 100 rows with neighbours that are alike, nine in ten lie within two errors."""
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(400):
        x = np.convolve(rng.standard_normal(103), np.ones(4) / 2, mode="valid")
        mean, error = mean_and_error(x)
        inside += abs(mean) < 2 * error
    assert 0.86 * 400 < inside < 0.98 * 400
    assert mean_and_error(np.array([1.0, np.nan])) == (1.0, None)


# What the clip can do


MEASURED = [
    (name, arm, widths)
    for name in ("llm_headline", "llm_controls", "llm_six")
    for arm, widths in {
        "both": (0.2, 0.2),
        "low_only": (0.2, math.inf),
        "high_only": (1.0, 0.2),
        "clip_higher": (0.2, 0.28),
        "tight_low": (0.1, math.inf),
    }.items()
    if arm in json.loads((ROOT / f"docs/data/llm/{name}.json").read_text())["arms"]
]


@pytest.mark.parametrize(("name", "arm", "widths"), MEASURED)
def test_the_bound_holds_in_every_measured_run_of_a_language_model(name, arm, widths):
    """From entropy, shares and widths alone, as a log has them, against the ledger's clip terms and its noise."""
    run = json.loads((ROOT / f"docs/data/llm/{name}.json").read_text())
    book = run["arms"][arm]
    share = book["clip_fraction_low"], book["clip_fraction_high"]
    flat, steep = (clip_effect(book["entropy_start"], *share, *widths, 16, power) for power in (0.0, -0.25))
    for side in ("low", "high"):
        sign = 1 if side == "low" else -1
        measured, error = sign * book[f"clip_{side}"] / run["rollouts"], book[f"clip_{side}_se"] / run["rollouts"]
        assert measured - 2 * error <= getattr(steep, side), side
        if book[f"gap_{side}"] is not None and run["rollouts"] == 1:
            assert 0.8 * getattr(flat, f"gap_{side}") < book[f"gap_{side}"] < 1.5 * getattr(steep, f"gap_{side}")
    if run["rollouts"] == 1:
        # kl is the mean over updates of a quantity that grows to sigma^2/2.
        assert flat.sigma == pytest.approx(math.sqrt(2 * book["kl"] / mean_square_share(16)), rel=0.35)


# What must not be said


LOW_COLLAPSE = [case for case in CASES if case.name.startswith("collapse-low")]


@pytest.mark.parametrize("case", LOW_COLLAPSE, ids=lambda case: case.name)
def test_a_collapse_is_not_blamed_on_the_low_side(case):
    found = answered(case.name)
    low, high = (e.value for e in found["clip"].evidence[:2])
    assert low > 6 * high
    answer = found["cause"].answer
    assert answer.startswith("Not the low side: clipping there holds entropy up")
    assert "a wider low bound (raising eps_low) would clip less, and entropy would fall by up to" in answer
    assert "covariance of advantage and surprisal" in answer
    change = found["change"].answer
    assert "*raise* eps_high" in change
    assert "*lower* eps_low" in change
    assert "Do not widen the low bound" in change


def test_the_lower_share_of_verl_is_the_dual_clip():
    found = diagnose(FOLDER / "alive.verl.log")
    assert "actor/pg_clipfrac_lower is the share of the dual clip" in found["names"].answer
    run = Run.of(found.log)
    assert run is not None
    assert run.name("dual_clip") == "actor/pg_clipfrac_lower"
    assert not run.has("clip_low")


def test_rows_of_different_batches_are_never_subtracted():
    for case in CASES:
        found = answered(case.name)
        if "differences" in found and found["differences"].labels == ("refused",):
            assert not found["differences"].evidence


def test_rows_of_one_batch_are_subtracted():
    rows = [{"entropy": 1.0 - 0.01 * (i % 4) + 0.1 * (i // 4 % 2), "batch": i // 4, "clip_fraction": 0.0} for i in range(40)]
    finding = diagnose(rows)["differences"]
    assert finding.labels == ("read",)
    assert finding.evidence[0].value == pytest.approx(-0.01)
    assert finding.evidence[0].rows == 30


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.name.startswith(("alive", "sixteen", "two", "eight"))], ids=lambda c: c.name
)
def test_noise_is_found_within_a_factor(case):
    """Half of the tokens move by sigma: rms sigma / sqrt(2); the law's own mixture of tokens is another one."""
    found = answered(case.name)
    if "noise" not in found:
        assert {"prime", "nemo"} & {*case.name.split(".")}
        return
    truth = case.truth.sigma * math.sqrt((1 - case.truth.sure) * case.truth.updates / max(case.truth.updates - 1, 1))
    for low, high in re.findall(r"([\d.]+)(?: to ([\d.]+))? by", found["noise"].answer):
        assert float(low) / 1.6 < truth < float(high or low) * 1.6
    assert "disagree" not in found["noise"].labels


def test_a_leap_is_no_scatter():
    """Entropy that falls to .18 in the middle and comes back: neither steady nor hidden in its own leap."""
    x = np.where((np.arange(40) > 13) & (np.arange(40) < 27), 0.18, 0.6)
    found = diagnose([{"actor/entropy": e, "actor/pg_clipfrac": 0.01, "step": i} for i, e in enumerate(x)])
    assert found["entropy"].labels == ("returns",)
    assert "0.18 in between" in found["entropy"].answer
    assert "change" not in found


def test_a_bound_that_is_larger_than_the_change_is_said_to_be():
    answer = answered("could.trl.jsonl")["cause"].answer
    assert answer.startswith("The high side can have caused all of the")
    assert "times" not in answer


def test_updates_of_which_nobody_knows_how_many_a_rollout_has_are_no_rollouts():
    found = answered("alive.trl4.jsonl")
    assert found.rollouts is None
    assert "rollouts" not in found.heading


def test_a_kl_that_is_not_about_the_ratio_disagrees():
    rows = updates_of(Situation(rollouts=20), 3)
    log = [
        {"clip_fraction_low": r["clip_low"], "clip_fraction_high": r["clip_high"], "entropy": 0.7, "approx_kl": 20 * r["kl3"]}
        for r in rows
    ]
    assert "disagree" in diagnose(log)["noise"].labels


def test_the_configuration_says_why_nothing_is_clipped():
    rows = [{"clip_ratio/low_mean": 0.0, "clip_ratio/high_mean": 0.0, "entropy": 0.5} for _ in range(10)]
    finding = diagnose(rows, config="epsilon: 0.2\ngradient_accumulation_steps: 8")["clip"]
    assert finding.labels == ("none",)
    assert "one update per rollout (" in finding.answer
    with pytest.raises(SpecError, match=r"the log is TRL's and the configuration verl"):
        diagnose(rows, config="actor_rollout_ref.actor.clip_ratio_low=0.2 data.train_batch_size=64")


def test_a_log_without_a_clip_share_is_answered_from_the_configuration():
    rows = [{"completions/mean_length": 5.0, "entropy": 0.5}] * 8
    assert diagnose(rows)["clip"].labels == ("unknown",)
    assert diagnose(rows, config="epsilon: 0.2\nnum_iterations: 2")["clip"].labels == ("unlogged", "yes")


ODD = {
    "nothing but NaN": {"entropy": math.nan, "clip_ratio/low_mean": math.nan},
    "negative shares": {"entropy": 0.5, "clip_ratio/low_mean": -0.1, "clip_ratio/high_mean": 0.1},
    "huge": {"entropy": 1e300, "clip_ratio/low_mean": 1e300, "clip_ratio/high_mean": 0.1},
    "no entropy": {"entropy": 0.0, "clip_ratio/low_mean": 0.01, "clip_ratio/high_mean": 0.01},
    "negative entropy": {"entropy": -1.0, "clip_ratio/low_mean": 0.01, "clip_ratio/high_mean": 0.01},
    "a ratio of 0": {"ratio_mean": 0.0, "entropy": 0.5},
    "a negative ratio": {"ratio_mean": -1.0, "entropy": 0.5},
    "no inner step": {"inner_step": 1e18, "rollout": -3, "entropy": 0.5, "clip_fraction_low": 0.1, "clip_fraction_high": 0.2},
    "a negative one": {"inner_step": -2, "rollout": 1, "entropy": 0.5, "clip_fraction_low": 0.1, "clip_fraction_high": 0.2},
    "a half": {"inner_step": 0.5, "entropy": 0.5, "clip_fraction_low": 0.1, "clip_fraction_high": 0.2},
    "only the third": {"inner_step": 2, "entropy": 0.5, "clip_fraction_low": 0.1, "clip_fraction_high": 0.2},
    "huge KL": {"approx_kl": 1e308, "kl_old_k3": -1e308, "entropy": 0.5, "clip_fraction_low": 0.1},
    "tiny shares": {"clip_fraction_low": 1e-300, "clip_fraction_high": 1e-300, "entropy": 0.01},
    "a width of 5": {"train/clip_range": 5.0, "train/clip_fraction": 0.5, "train/entropy_loss": -1e9},
    "all clipped": {"clip_fraction_low": 1.0, "clip_fraction_high": 1.0, "entropy": 0.5},
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("count", [1, 3, 12])
def test_odd_numbers_are_answered_without_a_warning(name, count):
    found = diagnose([ODD[name] | {"step": i * 10**i} for i in range(count)])
    assert found.findings
    assert to_json(found.to_json())
    assert found.to_text(80)


def test_no_metric():
    with pytest.raises(SpecError, match="no metric that is known"):
        diagnose([{"nonsense": 1.0}])
    with pytest.raises(SpecError, match="there are none"):
        diagnose([])
    with pytest.raises(KeyError):
        diagnose([{"entropy": 1.0}])["ceiling"]


def test_claims_are_registered_once_and_all_are_asked():
    assert set(claims()) == set(ORDER)
    with pytest.raises(ValueError, match="registered already"):
        claim("clip")(lambda run: None)
    assert public is diagnose


# The command


def test_the_page_fits_a_terminal():
    for case in CASES:
        text = answered(case.name).to_text(80)
        assert max(map(len, text.splitlines())) <= 80, case.name
        assert len(text.splitlines()) <= 30, case.name


def test_json_and_all(tmp_path):
    path = FOLDER / "alive.verl.csv"
    got = json.loads(invoke(path, "--json").stdout)
    assert got["library"] == "verl 0.9.1"
    assert {f["claim"] for f in got["findings"]} >= {"clip", "names", "entropy"}
    assert all(f["confidence"] in ("high", "medium", "low") for f in got["findings"])
    both = json.loads(invoke(path, FOLDER / "alive.trl.json", "--json").stdout)
    assert [each["library"] for each in both] == ["verl 0.9.1", "TRL 1.16.0"]
    everything = invoke(path, "--all").stdout
    assert "lines 2 to 25, 24 rows" in everything
    assert "Because:" in everything


def test_html_is_one_file_without_script(tmp_path):
    page = tmp_path / "out" / "run.html"
    assert invoke(FOLDER / "collapse-low.trl.jsonl", "--html", page).exit_code == 0
    text = page.read_text()
    assert "data:image/png;base64," in text
    assert "<script" not in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "Not the low side" in text
    refused = invoke(FOLDER / "alive.verl.csv", FOLDER / "alive.trl.json", "--html", page)
    assert isinstance(refused.exception, SpecError)


def test_fail_on():
    assert invoke(FOLDER / "collapse-low.trl.jsonl").exit_code == 0
    assert invoke(FOLDER / "collapse-low.trl.jsonl", "--fail-on", "error").exit_code == 1
    assert invoke(FOLDER / "alive.trl.jsonl", "--fail-on", "error").exit_code == 0
    assert invoke(FOLDER / "inert.trl.jsonl", "--fail-on", "warn").exit_code == 1


def test_follow_reads_again_when_the_log_grows(tmp_path, monkeypatch):
    path = tmp_path / "run.jsonl"
    whole = (FOLDER / "collapse-low.trl.jsonl").read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:20]))
    slept = []

    def grow(seconds: float) -> None:
        slept.append(seconds)
        assert len(slept) < 5
        if len(slept) == 2:
            path.write_bytes(b"".join(whole))

    monkeypatch.setattr("entclip.cli.logs.time.sleep", grow)
    done = invoke(path, "--follow", "--every", "0.5", "--fail-on", "error")
    assert done.exit_code == 1
    assert len(slept) == 2  # nothing new at the first look, all of it at the second
    assert min(slept) >= 0.5
    assert done.stdout.count("run.jsonl: TRL") == 2


def test_follow_waits_for_the_first_row(tmp_path, monkeypatch):
    path = tmp_path / "run.log"
    path.write_text("")
    texts = iter(["loading weights\n", "loading weights\n" + "step:1 - actor/pg_clipfrac:2.0 - actor/entropy:0.5\n"])
    monkeypatch.setattr("entclip.cli.logs.time.sleep", lambda seconds: path.write_text(next(texts)))
    done = invoke(path, "--follow", "--fail-on", "error")
    assert done.exit_code == 1
    assert done.stderr.count("waiting: ") == 2
    assert "which no share can be" in " ".join(done.stdout.split())
    assert isinstance(invoke(tmp_path / "none", "--follow").exception, SpecError)
    path.write_text("")
    assert isinstance(invoke(path).exception, SpecError)


def test_rows_without_a_file():
    assert read_rows([]).rows == 0


@pytest.mark.parametrize("power", [0.0, -0.25])
def test_another_width_under_the_same_noise(power):
    """What the high side does at .28 is what a log with .28 would show whose noise has the same size."""
    effect = clip_effect(0.5, 0.0, 0.01, 1.0, 0.2, 8, power)
    assert at_other_high(effect, 0.5, 0.2, 0.2, 8, power) == pytest.approx(effect.high)
    found = brentq(lambda share: math.log(clip_effect(0.5, 0.0, share, 1.0, 0.28, 8, power).scale / effect.scale), 1e-4, 0.0099)
    wider = clip_effect(0.5, 0.0, found, 1.0, 0.28, 8, power)
    # The law's own share is the log's here: the side alone sets the size.
    assert at_other_high(effect, 0.5, 0.2, 0.28, 8, power) == pytest.approx(wider.high, rel=1e-4)
    assert wider.high < effect.high


@pytest.mark.parametrize("words", [("clipfrac_low", "clipfrac_high"), ("clip_frac_low", "clip_frac_high")])
def test_spelt_out_shares_that_are_all_zero_are_a_clip_that_never_acted(words):
    rows = [{"step": k, "entropy": 0.5 + 0.003 * k, words[0]: 0.0, words[1]: 0.0} for k in range(60)]
    assert diagnose(rows)["clip"].answer.startswith("No: every share is 0 in all 60 rows")


def test_names_of_clip_shares_that_are_not_known_are_named():
    """To say that the log has none would be wrong, and nobody could find out why it is said."""
    rows = [{"step": k, "entropy": 0.5 - 0.003 * k, "clip_low_pct": 2.5, "clip_high_pct": 1.4} for k in range(60)]
    assert diagnose(rows)["clip"].answer.startswith("No name of a clip share is known here (clip_low_pct, clip_high_pct):")
    bare = [{name: value for name, value in row.items() if "clip" not in name} for row in rows]
    assert diagnose(bare)["clip"].answer.startswith("The log has no clip share:")
