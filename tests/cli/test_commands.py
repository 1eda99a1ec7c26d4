"""The command line as a user meets it: exit codes, messages, JSON, files."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.called import entclip

SMALL = ["--vocab", "8", "--contexts", "8", "--batch", "32", "--minibatches", "3", "--rollouts", "2"]


def test_import_is_light():
    code = (
        "import sys, entclip; print([m for m in ('torch', 'sympy', 'matplotlib', 'triton', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_what_they_say():
    """A submodule with the name of a function would hide it after an import: runner.py and snapshots.py avoid that."""
    import entclip
    import entclip.policies.snapshot
    import entclip.runs.runner

    for name in entclip.__all__:
        assert callable(getattr(entclip, name)), name
        assert getattr(entclip, name).__doc__, name


def test_drift_json_has_every_documented_key(tmp_path):
    words = [sys.executable, "-m", "entclip", "drift", *SMALL, "--json", "--out", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # an interpreter of its own, as a user has it
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert {"experiment", "digest", "engine", "seed", "rollouts", "arms"} <= set(value)
    assert list(value["arms"]) == ["none", "both", "low_only", "high_only", "clip_higher", "tight_low"]
    arm = value["arms"]["both"]
    for cause in ("unclipped", "clip_low", "clip_high", "other", "curvature"):
        assert {cause, f"{cause}_se", f"expected_{cause}"} <= set(arm)
    more = {"remainder", "measured", "measured_cv", "measured_cv_se", "pi_low", "pi_high", "kl", "gap_low", "gap_high"}
    assert more | {
        "clip_fraction_low",
        "clip_fraction_high",
        "ratio_max",
        "collapses",
        "entropy_start",
        "entropy_end",
        "verdict",
    } <= set(arm)
    names = {p.name for p in tmp_path.iterdir()}
    written = {"experiment.toml", "ledger.parquet", "rollouts.parquet", "summary.json", "manifest.json", "figure.png"}
    assert names == {*written, ".lock"}


def test_custom_arm_and_report_and_compare(tmp_path):
    one = entclip(
        "drift",
        *SMALL,
        "--eps-low",
        ".2",
        "--eps-high",
        "inf",
        "--group-size",
        8,
        "--reward",
        "bernoulli:.5",
        "--out",
        tmp_path / "a",
    )
    assert one.returncode == 0, one.stderr
    assert "custom" in one.stdout
    two = entclip("drift", *SMALL, "--eps-low", ".2", "--out", tmp_path / "b", "--seed", 1)
    assert two.returncode == 0, two.stderr
    assert entclip("report", tmp_path / "a").returncode == 0
    assert (tmp_path / "a" / "report.md").stat().st_size > 0
    assert "custom" in (tmp_path / "a" / "report.html").read_text()
    done = entclip("compare", tmp_path / "a", tmp_path / "b")
    assert done.returncode == 0, done.stderr


def test_objectives_and_controllers_of_drift():
    """An arm for each objective, and for each controller one more, which starts as the objective does."""
    done = entclip("drift", *SMALL, "--objective", "gppo(low=.1),abc_grpo", "--json", "-q")
    assert done.returncode == 0, done.stderr
    assert list(json.loads(done.stdout)["arms"]) == ["gppo-low-.1", "abc_grpo"]
    done = entclip("drift", *SMALL, "--controller", "thermostat(band=0)", "--rollouts", 3, "--json", "-q")
    assert done.returncode == 0, done.stderr
    arms = json.loads(done.stdout)["arms"]
    assert list(arms) == ["clip", "clip-thermostat-band-0"]
    assert arms["clip"]["entropy_start"] == arms["clip-thermostat-band-0"]["entropy_start"]
    assert arms["clip"]["measured"] != arms["clip-thermostat-band-0"]["measured"]


def test_list_and_exact_check():
    assert "headline_zipf" in entclip("list").stdout
    small = ["policy.vocab=3", "policy.contexts=2", "update.batch=2", "update.minibatches=2", "update.rollouts=1"]
    options = [x for s in small for x in ("--set", s)]
    done = entclip("check", "headline", "--engine", "exact", "--json", *options)
    assert done.returncode == 0, done.stderr
    assert {a["verdict"] for a in json.loads(done.stdout)["arms"].values()} == {"agree"}
    done = entclip("check", "headline", "--engine", "exact", "--quiet", *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), "agreement is silent"


def test_plan_says_how_many_units_it_takes():
    small = ["--set", "policy.contexts=8", "--set", "update.rollouts=1", "--set", "update.minibatches=8"]
    done = entclip("check", "headline", "--plan", "--json", *small)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert {"curvature", "clip_low"} <= {r["part"] for r in rows}
    assert all(r["units"] == 8 and r["units_needed"] >= 2 for r in rows)


def test_takeovers_are_announced_and_collapses_reported():
    options = [
        "--policy",
        "zipf:1",
        "--contexts",
        "16",
        "--batch",
        "8",
        "--minibatches",
        "4",
        "--rollouts",
        "1",
        "--learning-rate",
        "1",
    ]
    done = entclip("drift", *options)
    assert done.returncode == 0, done.stderr
    assert "take the policy over" in done.stderr
    assert "the median change is" in done.stdout
    assert "take the policy over" not in entclip("drift", *SMALL).stderr


def test_samples_too_rare_to_be_drawn_are_announced_and_leave_a_reason():
    """Below the step at which one sample takes the policy over, and above the one from which rare samples carry curvature."""
    steps = ["--batch", "8", "--minibatches", "16", "--rollouts", "3", "--learning-rate", ".69"]
    policy = ["--policy", "zipf:1", "--vocab", "8", "--contexts", "16"]
    done = entclip("drift", *policy, *steps, "--check")
    assert done.returncode == 3, done.stdout + done.stderr
    told = " ".join(done.stderr.split())
    assert "a single sample of the rarest action moves its logit by eta/(B pi_min) = 1.9" in told
    assert "take the policy over" not in told
    said = " ".join(done.stdout.split())
    assert "no verdict on curvature: the expectation is carried by samples that this run has hardly drawn" in said
    assert "single sample" not in entclip("drift", *SMALL).stderr


def test_small_run_is_inconclusive_and_says_so():
    small = ("--set", "policy.contexts=4", "--set", "update.rollouts=1", "--set", "update.minibatches=4")
    done = entclip("check", "headline", "--quiet", *small)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Verdict: inconclusive" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["drift", "--eps-low", "1.2"], "clip.low must be in"),
        (["drift", "--objective", "gpo"], "'gpo'"),
        (["drift", "--objective", "gppo(low)"], "--objective: 'low' is no parameter: write name=value."),
        (["drift", "--objective", "gppo", "--eps-low", ".1"], "leave --eps-low, --eps-high and --arm out"),
        (["drift", "--objective", "clip,gppo", "--controller", "pi"], "--controller moves one objective"),
        (["drift", "--objective", "none", "--controller", "pi"], "controller 'pi' sets low, but the objective 'none' has no low"),
        (["drift", "--controller", "cruise"], "'cruise'"),
        (["drift", "--eps-low", "-0.1"], "clip.low must be in"),
        (["drift", "--set", "update.learning_rte=1"], "did you mean update.learning_rate"),
        (["drift", "--set", "update.batch=abc"], "update.batch = 'abc'"),
        (["drift", "--vocab", "1"], "policy.vocab = 1"),
        (["drift", "--group-size", "7"], "not divisible by advantage.size = 7"),
        (["drift", "--group-size", "1"], "at least 2"),
        (["drift", "--reward", "bernoulli:1"], "zero variance"),
        (["drift", "--policy", "unknown:3"], "must be one of"),
        (["drift", "--learning-rate", "nan"], "update.learning_rate"),
        (["drift", "--bogus"], "No such option"),
        (["run", "headlin"], "did you mean headline"),
        (["run", "headline", "--engine", "exact"], "over its limit of 1,000,000"),
        (["run", "headline", "--engine", "warp"], "unknown engine"),
        (["report", "no-such-folder"], "does not exist"),
    ],
)
def test_bad_input_exits_2_with_cause_and_fix(arguments, message):
    done = entclip(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_bad_files_exit_2(tmp_path):
    np.save(tmp_path / "nan.npy", np.array([0.0, np.nan, 1.0]))
    (tmp_path / "bad.toml").write_text("name = [")
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "file").write_text("not a folder")
    cases = [
        (["drift", "--policy", tmp_path / "nan.npy"], "NaN or infinite"),
        (["drift", "--policy", tmp_path / "cut.npy"], "cannot be read"),
        (["run", tmp_path / "bad.toml"], "not valid TOML"),
        (["drift", "--out", tmp_path / "file"], "cannot write to the output folder"),
    ]
    for arguments, message in cases:
        done = entclip(*arguments)
        assert (done.returncode, message in done.stderr) == (2, True), (arguments, done.stderr)


def test_truncated_ledger_is_reported(tmp_path):
    assert entclip("drift", *SMALL, "--out", tmp_path).returncode == 0
    path = tmp_path / "ledger.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    done = entclip("report", tmp_path)
    assert done.returncode == 2
    assert "truncated or damaged" in done.stderr
